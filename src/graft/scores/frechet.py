"""Fréchet distance of two Gaussians (Dowson & Landau, 1982; on features Heusel et al., 2017, arXiv 1706.08500)."""

import numpy as np
from numpy.typing import ArrayLike

from graft.model.rows import magnified, sets


def frechet(a: ArrayLike, b: ArrayLike) -> float:
    """The squared distance |μ_a - μ_b|² + tr(S_a + S_b - 2 (S_a S_b)^½), covariances S over N - 1.

    The last trace is the sum of the singular values of A Bᵀ, A and B being the centred sets: nothing is lost where
    covariances are singular. It is biased upwards: compare at equal numbers of rows.

    Shape: a (N, D), b (M, D). Range: 0, where they are alike, up; in the features' unit squared.
    Raises:
        DataError: fewer than two rows, columns that differ, values that are not finite, or a unit whose square no
            number holds.
    """
    x, y, k = sets(a, b)
    means = x.mean(0) - y.mean(0)
    x, y = ((one - one.mean(0)) / np.sqrt(len(one) - 1) for one in (x, y))
    a, b = (np.asarray(np.linalg.qr(one, mode="r")) for one in (x, y))  # (≤ D, D), with the same covariance
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return magnified(max(float((means**2).sum() + (x**2).sum() + (y**2).sum() - 2 * shared), 0.0), 2 * k)
