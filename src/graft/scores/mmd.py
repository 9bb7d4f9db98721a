"""Maximum mean discrepancy (Gretton et al., 2012, arXiv 0805.2368): how far apart two sets lie, whatever differs."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from graft.core.errors import DataError
from graft.model.rows import Array, magnified, sets

BLOCK = 1024  # rows compared with all others at once
ROUNDING = 1e-14  # of two rows' squared lengths: a squared distance below it is none
WIDTHS = 1e-150, 1e150  # kernels narrower or wider than these parts of the rows' extent see nothing, or all alike


def mmd(
    a: ArrayLike,
    b: ArrayLike,
    unbiased: bool = False,
    kernel: Literal["rbf", "linear"] = "rbf",
    sigma: float | None = None,
) -> float:
    """The squared discrepancy: mean k(a, a') + mean k(b, b') - 2 mean k(a, b).

    Args:
        unbiased: leave out the pairs of a row with itself; zero in the mean for two draws of one distribution.
        kernel: "rbf" is exp(-|x - x'|² / (2 sigma²)), "linear" is x · x', which sees the means alone.
        sigma: by default such that 2 sigma² is the mean squared distance of two rows of both sets together.

    Shape: a (N, D), b (M, D). Range: 0, where they are alike, to 2 for "rbf"; unbiased it may fall below 0.
    Raises:
        DataError: fewer than two rows, columns that differ, values that are not finite, no such kernel or sigma, or a
            unit whose square no number holds ("linear").
    """
    x, y, k = sets(a, b)
    if kernel not in ("rbf", "linear"):
        raise DataError(f"There is no kernel {kernel!r}: take 'rbf' or 'linear'.")
    if sigma is not None and not 0 < sigma < np.inf:
        raise DataError(f"sigma is a length in the features' own unit, above 0, not {sigma}.")
    both = np.concatenate([x, y])
    x, y = x - both.mean(0), y - both.mean(0)  # a discrepancy does not see where both lie; large offsets would cancel
    with np.errstate(over="ignore"):
        own = float(np.clip(np.ldexp(sigma or 1.0, -k), *WIDTHS))  # sigma in the rows' unit
    gamma = 0.0 if kernel == "linear" else 0.5 / (own**2 if sigma else both.var(0).sum() or 1.0)
    found = sum(_mean(one, one, gamma, without_self=unbiased) for one in (x, y)) - 2 * _mean(x, y, gamma)
    found = found if unbiased else max(found, 0.0)
    return found if gamma else magnified(found, 2 * k)


def _mean(x: Array, y: Array, gamma: float, without_self: bool = False) -> float:
    """The mean of the kernel over pairs of rows; linear where gamma is 0."""
    total, ours, theirs = 0.0, (x**2).sum(1), (y**2).sum(1)
    for at in range(0, len(x), BLOCK):
        near = x[at : at + BLOCK] @ y.T
        if gamma:
            both = ours[at : at + BLOCK, None] + theirs
            apart = both - 2 * near
            near = np.exp(-gamma * np.where(apart > ROUNDING * both, apart, 0.0))
        total += float(near.sum())
    if not without_self:
        return total / (len(x) * len(y))
    return (total - (len(x) if gamma else float(ours.sum()))) / (len(x) * (len(x) - 1))
