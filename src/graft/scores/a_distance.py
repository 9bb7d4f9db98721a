"""Proxy A-distance (Ben-David et al., 2007): how surely a linear classifier tells two sets apart."""

import numpy as np
from numpy.typing import ArrayLike

from graft.model.distance import distance
from graft.model.rows import in_order, sets


def a_distance(a: ArrayLike, b: ArrayLike, seed: int = 0) -> float:
    """2 (1 - 2 e), e the share of wrong answers, both sets counting alike, on rows that were not learned from.

    Above one half e counts as one half. The seed deals the rows to folds, whatever the order of rows and columns.

    Shape: a (N, D), b (M, D). Range: 0, where they are alike, to 2, where no row is mistaken.
    Raises:
        DataError: fewer than two rows, columns that differ, or values that are not finite.
    """
    x, y, _ = sets(a, b)
    both = in_order(np.concatenate([x, y]))
    return distance(both[: len(x)], both[len(x) :], seed)[0]
