"""Linear probe: the cross-validated accuracy of the exact linear head (Alain & Bengio, 2016, arXiv 1610.01644)."""

from numpy.typing import ArrayLike

from graft.model.linear import cross_predict
from graft.model.rows import in_order, labelled


def probe(features: ArrayLike, labels: ArrayLike) -> float:
    """Share of the examples that heads which did not learn from them label rightly.

    Unit, offset, constant columns and the order of rows and columns change neither the head nor, but for rows that are
    equally far from the mean, the folds. A rotation leaves the folds but changes the columns, which the head
    standardises.

    Shape: features (N, D), labels (N,). Range: 0 to 1.
    Raises:
        DataError: fewer than two rows, or values that are not finite.
    """
    f, y, sizes = labelled(features, labels)
    if len(sizes) == 1:
        return 1.0  # nothing is left to say wrongly
    return float((cross_predict(in_order(f), y, len(sizes)).argmax(1) == y).mean())
