"""How far apart two sets of examples lie: the proxy A-distance 2 (1 - 2e) (Ben-David et al., 2007)."""

import math

import numpy as np
from numpy.typing import ArrayLike

from graft.model.linear import cross_predict

SURE = 3.0  # standard errors from which a distance between two parts is no chance


def distance(a: ArrayLike, b: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """The distance of features a (N, D) and b (M, D), 0 where they are alike to 2 where they are apart; its error.

    e is the share of wrong answers, both sets counting alike, of a linear classifier that tells which set a row is
    from and that did not learn from this row; above one half it counts as one half. The error is the standard error
    that chance alone would give.
    """
    x = np.concatenate([np.asarray(a, np.float64), np.asarray(b, np.float64)])
    side = np.repeat([0, 1], [len(x) - len(np.asarray(b)), len(np.asarray(b))])
    count = np.bincount(side, minlength=2)
    weights = len(x) / (2 * count[side])
    said = cross_predict(x, side, 2, weights, seed=seed, metric="balanced_accuracy").argmax(1)
    wrong = float(np.mean([(said[side == k] != k).mean() for k in (0, 1)]))
    return max(0.0, 2 * (1 - 2 * min(wrong, 0.5))), 4 * 0.5 * math.sqrt(0.25 * float((1 / count).sum()))


def shift(apart: tuple[float, float] | None) -> tuple[str, ...]:
    """What to say of the distance of the validation part, with its error, where it is no chance."""
    if apart is None or apart[0] <= SURE * apart[1]:
        return ()
    return (
        f"Its features tell validation from training examples (proxy A-distance {apart[0]:.2f}, by chance up to "
        f"{2 * apart[1]:.2f}): the parts differ, as by site, instrument or time.",
    )


def domains(source: tuple[float, float] | None, parts: tuple[float, float] | None) -> tuple[str, ...]:
    """What to say of the distance of the source, beside that of the task's own parts, which are of one domain."""
    if source is None or parts is None:
        return ()
    alike = "they can hardly be told apart" if source[0] <= SURE * source[1] else "they are two domains"
    return (
        f"Source and training examples lie {source[0]:.2f} apart in its features (proxy A-distance, by chance up to "
        f"{2 * source[1]:.2f}; validation and training examples {parts[0]:.2f}): {alike}.",
    )
