"""TransRate (Huang et al., 2022, arXiv 2106.09362): how many nats the features take, less what they take in a class."""

import numpy as np
from numpy.typing import ArrayLike

from graft.model.gram import centred, decomposed
from graft.model.rows import Array, classes, rows, unit

PRECISION = 1e-4  # ε of the paper: the squared error to which features are coded


def transrate(features: ArrayLike, labels: ArrayLike) -> float:
    """R(Z) - Σ_c n_c / N · R(Z_c), with the coding rate R(Z) = ½ ln det(I + Zᵀ Z / (n ε)) of centred features.

    Classes weigh as much as they have rows, as in the paper's equation; its listing weighs them alike, which is the
    same where they are balanced. Rates grow with the features' scale and width, and noise is coded too: compare
    backbones of one width.

    Shape: features (N, D), labels (N,). Range: 0 up; rotating the features changes nothing.
    Raises:
        DataError: fewer than two rows, or values that are not finite.
    """
    f, k = unit(rows(features, "features"))
    y, sizes = classes(labels, len(f))
    z, scale = centred(f), 2 * k * np.log(2) - np.log(PRECISION)
    within = sum(size * _rate(z[y == label], scale) for label, size in enumerate(sizes)) / len(z)
    return max(_rate(z, scale) - float(within), 0.0)


def _rate(z: Array, scale: float) -> float:
    """From the squared singular values, whose logarithms no unit makes overflow."""
    squares = decomposed(z)[0]
    return float(np.logaddexp(0.0, np.log(squares / len(z)) + scale).sum()) / 2
