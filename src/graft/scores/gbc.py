"""Gaussian Bhattacharyya coefficient (Pándy et al., 2022, arXiv 2111.12780): how far the classes overlap."""

import math

import numpy as np
from numpy.typing import ArrayLike

from graft.model.gram import sums
from graft.model.rows import classes, rows, unit

FLOOR = 1e-4  # least variance: a class of one row has none
WIDEST = 450  # powers of two that features' unit is from 1: beyond them the least variance is all or nothing


def gbc(features: ArrayLike, labels: ArrayLike, spherical: bool = False) -> float:
    """-Σ_{i≠j} exp(-B_ij), B = ⅛ Δμᵀ S⁻¹ Δμ + ½ ln(|S| / √(|S_i| |S_j|)), S = (S_i + S_j) / 2, S_i of class i alone.

    Each class is a Gaussian with a variance for each column. Every column adds to B, noise too, so that wide features
    seem apart: compare backbones of one width (the paper reduces all to 64 principal components first).

    Args:
        spherical: one variance for all of a class' columns, their mean; then rotations change nothing.

    Shape: features (N, D), labels (N,). Range: -C (C - 1) to 0; below a variance of 1e-4 the scale counts.
    Raises:
        DataError: fewer than two rows, or values that are not finite.
    """
    f = rows(features, "features")
    y, sizes = classes(labels, len(f))
    f, k = unit(f)
    floor = math.ldexp(FLOOR, -2 * min(max(k, -WIDEST), WIDEST))
    centre = f.mean(0)  # large offsets would cancel in the variances
    means = sums(f - centre, y, len(sizes)) / sizes[:, None]
    own = np.maximum(sums((f - centre - means[y]) ** 2, y, len(sizes)) / sizes[:, None], floor)
    if spherical:
        own = np.repeat(own.mean(1, keepdims=True), f.shape[1], axis=1)
    overlap, logs = 0.0, np.log(own).sum(1)
    for label in range(len(sizes) - 1):
        mean, later = (own[label] + own[label + 1 :]) / 2, means[label + 1 :]
        apart = ((means[label] - later) ** 2 / mean).sum(1) / 8
        apart += (np.log(mean).sum(1) - (logs[label] + logs[label + 1 :]) / 2) / 2
        overlap += 2 * float(np.exp(-apart).sum())
    return -overlap
