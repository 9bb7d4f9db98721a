"""H-score (Bao et al., 2019, arXiv 2212.10082): the features' spread between classes in units of their whole spread."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from graft.model.gram import STILL, along, centred, gram, sums, varying
from graft.model.rows import Array, Labels, labelled

LEAST = 1e-6  # of a column's variance that the other columns leave: below it the covariance is not simply inverted


def hscore(features: ArrayLike, labels: ArrayLike, shrink: bool = False) -> float:
    """tr(cov(f)⁺ cov(E[f | y])): what share of each direction's variance the classes explain, summed over directions.

    Classes that are told apart by r independent directions score r. In sample noise explains too: among N rows each
    column of noise adds about (C - 1) / N, and where D ≥ N - 1 every backbone scores C - 1.

    Args:
        shrink: with the covariance (1 - a) cov(f) + a tr(cov(f)) / D · I of Ledoit & Wolf (2004), over N as they
            define it, the whole times 1 - a (Ibrahim et al., 2021, arXiv 2110.06893): for few rows. D counts the
            columns that vary. It sees the scale of single columns. The classes' covariance stays over N - 1, as in the
            published values.

    Shape: features (N, D), labels (N,). Range: 0 to min(D, C - 1), with `shrink` to N / (N - 1) times as much; rotating
    or scaling the features changes nothing, nor, without `shrink`, any other invertible linear map.
    Raises:
        DataError: fewer than two rows, or values that are not finite.
    """
    f, y, sizes = labelled(features, labels)
    if shrink:
        return _shrunk(centred(f), y, sizes)
    if f.shape[1] < len(f) and (found := _by_cholesky(f, y, sizes)) is not None:
        return found
    z = centred(f)
    squares, held = along(z / z.std(0), y, len(sizes))
    return float((held / sizes)[squares > _rounding(f[:, varying(f)], np.asarray(features).dtype) ** 2].sum())


def _rounding(f: Array, given: np.dtype) -> float:
    """The largest singular value that rounding columns of spread 1 to the type they were given in would make.

    A layer's outputs may depend on each other; in single precision they then still differ, in nothing but rounding.
    """
    step = float(np.finfo(given).eps) if given.kind == "f" else 0.0
    return step * float(np.sqrt((1 + (f.mean(0) / f.std(0)) ** 2).mean()) * np.sqrt(f.shape).sum()) if f.size else 0.0


def _by_cholesky(f: Array, y: Labels, sizes: Array) -> float | None:
    """Three times as fast as by eigenvectors; None where columns nearly depend on each other."""
    total = sums(f, y, len(sizes))
    mean = total.sum(0) / len(f)
    whole = gram(f, mean)
    kept = whole.diagonal() > len(f) * (STILL * mean) ** 2
    whole = whole if kept.all() else whole[np.ix_(kept, kept)]
    scale = np.sqrt(whole.diagonal())
    whole /= scale
    whole /= scale[:, None]
    try:
        half = np.linalg.cholesky(whole)
    except np.linalg.LinAlgError:
        return None
    if half.diagonal().min(initial=1.0) ** 2 < LEAST:
        return None
    between = (total - sizes[:, None] * mean)[:, kept] / scale
    return float((solve_triangular(half, between.T, lower=True) ** 2 / sizes).sum())


def _shrunk(z: Array, y: Labels, sizes: Array) -> float:
    """From centred rows; the shrinkage a is the one of least expected squared error."""
    count, width = z.shape
    squares, held = along(z, y, len(sizes))
    own = squares / count  # eigenvalues of the covariance
    mean = own.sum() / max(width, 1)
    spread = (own**2).sum() - width * mean**2
    error = (((z**2).sum(1) ** 2).mean() - (own**2).sum()) / count
    a = min(error / spread, 1.0) if spread > 0 else 1.0
    kept = (1 - a) * own
    shrunk = ((held / sizes).sum(1) * kept / (kept + a * mean)).sum() if a < 1 else 0.0
    return float(count / (count - 1) * shrunk)
