"""Covariances, each person's brought to one mean (Zanini et al. 2018; He & Wu 2020), and a linear head.

What differs between people and says nothing of the labels, such as how electrodes sit, is largely taken out by it. It
takes a person's trials together, without their labels: it is there to compare with, and does not answer for one alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graft.model import tangent

MODALITIES = ("signal",)
CALLED = "a linear model on covariances with one mean for all"
RAGGED = False
SHIPS = False  # one trial of a person who was never seen cannot be brought anywhere
describe, fit, predict = tangent.describe, tangent.fit, tangent.predict


def aligned(x: np.ndarray, groups: Sequence[str]) -> NDArray[np.float32]:
    """Descriptions (N, D) of a part seen from the mean of whom each is of."""
    whose, made = np.array(groups or [""] * len(x)), np.empty(x.shape, np.float32)
    for name in np.unique(whose):
        made[whose == name] = tangent.centred(x[whose == name])
    return made
