"""CKA (Kornblith et al., 2019, arXiv 1905.00414): how alike two backbones see the same examples."""

import numpy as np
from numpy.typing import ArrayLike

from graft.core.errors import DataError
from graft.model.gram import centred
from graft.model.rows import Array, rows, unit


def cka(a: ArrayLike, b: ArrayLike, debiased: bool = False) -> float:
    """Linear centred kernel alignment: |AᵀB|² / (|AᵀA| |BᵀB|), Frobenius norms of centred features.

    With fewer rows than columns it is high for unrelated features too; then debias it.

    Args:
        debiased: the Hilbert-Schmidt criterion's unbiased estimator in all three places (Song et al., 2012): zero in
            the mean for unrelated features. Needs 4 rows.

    Shape: a (N, D), b (N, E): the same examples through two backbones. Range: 0 to 1, debiased about 0 to 1;
    0 where one of them does not vary. Rotating or scaling either changes nothing.
    Raises:
        DataError: too few rows, different numbers of them, or values that are not finite.
    """
    x, y = rows(a, "a"), rows(b, "b")
    if len(x) != len(y):
        raise DataError(f"CKA compares two backbones on the same examples, not on {len(x)} and {len(y)}.")
    if debiased and len(x) < 4:
        raise DataError(f"Debiased CKA needs at least 4 examples, not {len(x)}.")
    x, y, criterion = centred(unit(x)[0]), centred(unit(y)[0]), _debiased if debiased else _shared
    own = criterion(x, x), criterion(y, y)
    return float(criterion(x, y) / np.sqrt(own[0] * own[1])) if min(own) > 0 else 0.0


def _shared(x: Array, y: Array) -> float:
    """|XᵀY|², from whichever matrices are smaller."""
    wide = x.shape[1] * y.shape[1] > len(x) ** 2
    return float(((x @ x.T) * (y @ y.T)).sum() if wide else ((x.T @ y) ** 2).sum())


def _debiased(x: Array, y: Array) -> float:
    """n (n - 3) times the estimator, whose kernels have no diagonal: as the features are centred, by rows' lengths."""
    n, k, m = len(x), (x**2).sum(1), (y**2).sum(1)
    return _shared(x, y) - float(n * (k @ m) - k.sum() * m.sum() / (n - 1)) / (n - 2)
