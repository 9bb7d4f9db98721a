"""LEEP (Nguyen et al., 2020, arXiv 2002.12462): how well a source model's own answers foretell the labels."""

import numpy as np
from numpy.typing import ArrayLike

from graft.core.errors import DataError
from graft.model.gram import sums
from graft.model.rows import classes, numbers

SLACK = 1e-2  # by which probabilities of half precision may miss a sum of one


def leep(source_probabilities: ArrayLike, labels: ArrayLike) -> float:
    """mean_i ln Σ_z P(y_i | z) θ_i(z), P(y, z) = 1/N Σ_{i: y_i = y} θ_i(z): θ are the source model's probabilities.

    Rows are divided by their sums, which may miss 1 by 0.01: half precision does. Source classes that no example has a
    share in are left out. All is in sample: the more source classes, the higher.

    Shape: source_probabilities (N, Z), labels (N,). Range: -H(labels), where the answers tell nothing, to 0.
    Raises:
        DataError: no rows, rows that are no probabilities, lengths that differ.
    """
    theta = numbers(source_probabilities, "source_probabilities")
    if theta.ndim != 2 or not theta.size:
        raise DataError(f"LEEP needs the source model's probabilities, (N, Z), not an array of shape {theta.shape}.")
    wrong = ~(np.isfinite(theta).all(1) & (theta >= 0).all(1) & (np.abs(theta.sum(1) - 1) <= SLACK))
    if wrong.any():
        raise DataError(
            f"{int(wrong.sum())} of {len(theta)} rows of source_probabilities are not probabilities (not negative, sum "
            "1): take the softmax of logits first."
        )
    theta = theta / theta.sum(1, keepdims=True)
    y, sizes = classes(labels, len(theta))
    joint = sums(theta, y, len(sizes))  # (C, Z), N times P(y, z)
    mass = joint.sum(0)
    conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    return float(np.log((conditional[y] * theta).sum(1)).mean())
