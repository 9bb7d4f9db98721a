"""Rows of a table that are nearly the same: copies with noise, with rounding, or made up from another row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graft.data.numbers import robust

Array = NDArray[np.float64]

K = 8  # the 8th and the 16th nearest tell of how many dimensions the rows are
WIDTH = 64  # more columns than that are mixed at random: distances stay (Johnson & Lindenstrauss 1984)
FAR = 10.0  # spreads from the middle; what lies beyond counts as there
ALARMS = 0.01  # tables without any near copy in which one is named
LOOKS = 1 << 24  # distances; of more rows, as many as that allows are compared with all
BLOCK = 1 << 20  # distances at once


def copies(columns: Sequence[Array]) -> list[tuple[int, int]]:
    """Pairs of rows, the earlier first, that lie nearer to each other than chance puts neighbours; equal rows are one.

    Of a point's 16 nearest, the nearer 15 lie at (r / r₁₆)ᵈ evenly between 0 and 1, where d is of how many dimensions
    the rows are: the mean of d log (r₁₆ / r₈) is 1/8 + … + 1/15, which tells d, and (r₁ / r₁₆)ᵈ is below s in at most
    15 s of the rows (after Levina & Bickel 2004). Up to seven near copies do not hide one another.

    Args:
        columns: numbers, each of shape (N,), NaN where one is missing.
    """
    x = np.round(_points(columns), 9)  # equal rows stay equal, however a product of matrices was blocked
    places = np.array(sorted({row.tobytes(): at for at, row in reversed([*enumerate(x)])}.values()), np.int64)
    x, count = x[places], len(places)
    if count <= 2 * K or not x.any():
        return []
    looked = np.arange(count)
    if count * count > LOOKS:
        looked = np.sort(np.random.default_rng(0).choice(count, LOOKS // count, replace=False))
    squares, apart, nearest = (x**2).sum(1), np.empty((len(looked), 2 * K)), np.empty(len(looked), np.int64)
    step = max(1, BLOCK // count)
    for start in range(0, len(looked), step):
        rows = looked[start : start + step]
        square = squares[rows, None] + squares - 2 * x[rows] @ x.T
        square[np.arange(len(rows)), rows] = np.inf
        near = np.argpartition(square, 2 * K - 1, axis=1)[:, : 2 * K]
        exact = np.linalg.norm(x[rows, None] - x[near], axis=2)
        order = np.argsort(exact, axis=1)
        apart[start : start + step] = np.take_along_axis(exact, order, 1)
        nearest[start : start + step] = np.take_along_axis(near, order[:, :1], 1)[:, 0]
    share = apart / apart[:, -1:]
    steps = max(float(-np.log(share[:, K - 1]).mean()), 1e-9)
    dimensions = min((1 / np.arange(K, 2 * K)).sum() / steps, x.shape[1])
    found = np.flatnonzero(share[:, 0] ** dimensions < ALARMS / ((2 * K - 1) * len(looked)))
    pairs = {tuple(sorted((int(looked[at]), int(nearest[at])))) for at in found}
    return sorted((int(places[one]), int(places[other])) for one, other in pairs)


def _points(columns: Sequence[Array]) -> Array:
    """The rows in spreads from the middle, missing ones in the middle: shape (N, at most WIDTH)."""
    x = np.zeros((len(columns[0]), min(WIDTH, len(columns))))
    rng = np.random.default_rng(0)
    for start in range(0, len(columns), WIDTH):
        block = np.stack(columns[start : start + WIDTH], axis=1)
        centre, spread = robust(block)
        z = np.nan_to_num(np.clip((block - centre) / np.where(spread > 0, spread, np.inf), -FAR, FAR))
        x += z if len(columns) <= WIDTH else z @ rng.standard_normal((z.shape[1], WIDTH)) / WIDTH**0.5
    return x
