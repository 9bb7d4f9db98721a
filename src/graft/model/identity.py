"""Whether features tell whom an example is of (a speaker, a subject, a site), however well they tell its label."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graft.model.linear import cross_predict

MOST, GROUPS, FEWEST = 1000, 20, 5  # examples and groups that are looked at; examples of a group, one for each fold
SURE = 2.0  # standard errors above naming the commonest, from which it is no chance
STRENGTHS = (10**-1.5, 10**-2.5, 10**-3.5)  # of the penalty: which one hardly matters here


def told(features: NDArray[np.floating], groups: Sequence[str], seed: int = 0) -> tuple[str, ...]:
    """A sentence: how often a linear probe names the group of an example that it did not learn from, beside chance.

    None where fewer than two groups have enough examples. Shape: features (N, D), one group for each row or no groups.
    """
    order = np.random.default_rng(seed).permutation(len(groups))[:MOST]
    counts = Counter(groups[row] for row in order if groups[row])
    kept = {name: at for at, (name, count) in enumerate(counts.most_common(GROUPS)) if count >= FEWEST}
    if len(kept) < 2:
        return ()
    rows = [row for row in order if groups[row] in kept]
    y = np.array([kept[groups[row]] for row in rows])
    right = float((cross_predict(features[rows], y, len(kept), strengths=STRENGTHS, seed=seed).argmax(1) == y).mean())
    chance = float(np.bincount(y).max()) / len(y)
    known = right - chance > SURE * math.sqrt(chance * (1 - chance) / len(y))
    return (
        f"Whom an example is of, out of {len(kept)}, is told from its features with an accuracy of {right:.2f}, by "
        f"naming the commonest {chance:.2f}" + (": one who stood in two parts would be recognised." if known else "."),
    )
