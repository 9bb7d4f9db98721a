"""NCE (Tran et al., 2019, arXiv 1908.08142): how much a source task's labels leave open about the labels."""

import numpy as np
from numpy.typing import ArrayLike

from graft.core.errors import DataError
from graft.model.rows import array, classes


def nce(source_labels: ArrayLike, labels: ArrayLike) -> float:
    """-H(Y | Z) = Σ P(y, z) ln P(y | z), in nats: Z are labels of the same examples in the source task.

    They may be given, or be a source model's most probable class. All is in sample: the more source labels, the higher.

    Shape: source_labels (N,), labels (N,). Range: -H(labels), where they are independent, to 0.
    Raises:
        DataError: no rows, more than one source label a row, missing labels, or lengths that differ.
    """
    given = array(source_labels, "source_labels")
    if given.ndim != 1 or not given.size:
        raise DataError(
            f"NCE needs source_labels (N,), one for each example, not an array of shape {given.shape}: of a source "
            "model's probabilities take the argmax of each row, or call leep with them."
        )
    count = len(given)
    z, there = classes(given, count, "source_labels")
    y, sizes = classes(labels, count)
    joint = np.zeros((len(there), len(sizes)))
    np.add.at(joint, (z, y), 1.0)
    share = joint / there[:, None]
    return float((joint * np.log(share, out=np.zeros_like(share), where=share > 0)).sum() / count)
