"""CORAL (Sun & Saenko, 2016, arXiv 1607.01719): how far apart two sets lie in how their features vary together."""

from numpy.typing import ArrayLike

from graft.model.gram import gram
from graft.model.rows import magnified, sets


def coral(a: ArrayLike, b: ArrayLike) -> float:
    """|cov(a) - cov(b)|² / (4 D²), the Frobenius norm, covariances over N - 1: it does not see the means.

    Shape: a (N, D), b (M, D). Range: 0, where they are alike, up; in the features' unit to the fourth power.
    Raises:
        DataError: fewer than two rows, columns that differ, values that are not finite, or a unit whose fourth power no
            number holds.
    """
    x, y, k = sets(a, b)
    apart = gram(x, x.mean(0)) / (len(x) - 1) - gram(y, y.mean(0)) / (len(y) - 1)
    return magnified(float((apart**2).sum() / (4 * x.shape[1] ** 2)), 4 * k)
