"""Linear probe: the cross-validated accuracy of the exact linear head (Alain & Bengio, 2016, arXiv 1610.01644)."""

import numpy as np
from numpy.typing import NDArray

from graft.model.linear import cross_predict


def probe(features: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Share of the examples that heads which did not learn from them label rightly.

    Shape: features (N, D), labels (N,). Range: 0 to 1.
    Raises:
        DataError: fewer than two rows, or values that are not finite.
    """
    found, y = np.unique(labels, return_inverse=True)
    return float((cross_predict(features, y, len(found)).argmax(1) == y).mean())
