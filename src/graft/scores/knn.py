"""Nearest neighbours: how often an example's nearest others, by cosine, share its label (leave-one-out accuracy)."""

import numpy as np
from numpy.typing import ArrayLike

from graft.model.rows import labelled

K = 5  # odd, and few enough that six examples of a class can carry a vote; one neighbour alone is a noisier score
TIE = 1e-9  # cosines closer than this are equal: rounding must not decide who is a neighbour
ASKED = 2000  # rows: to ask all of them would take time that grows with their square
CELLS = 1 << 20  # cosines held at once: 8 MB


def knn(features: ArrayLike, labels: ArrayLike) -> float:
    """Leave-one-out accuracy of a vote of the k nearest rows, k being K or, in small tasks, a mean class less one.

    The columns are centred, since features behind a ReLU share a mean that hides their angles. Rows as near as the k-th
    vote too, and classes with equally many votes share the hit, so that no order decides. Where there are many rows,
    ASKED of them are asked, at most, evenly in the order of their distance to the mean; all of them answer.

    Shape: features (N, D), labels (N,). Range: 0 to 1.
    Raises:
        DataError: fewer than two rows, or values that are not finite.
    """
    f, y, sizes = labelled(features, labels)
    k = int(np.clip(len(f) // len(sizes) - 1, 1, K))
    f = f - f.mean(0)
    length = np.sqrt((f**2).sum(1, keepdims=True))
    f = f / np.where(length > 1e-12 * length.max(), length, np.inf)
    asked = np.sort(np.argsort(length[:, 0], kind="stable")[:: -(-len(f) // ASKED)])
    hits, step = 0.0, max(1, CELLS // len(f))
    for at in range(0, len(asked), step):
        own = asked[at : at + step]
        near, rows = f[own] @ f.T, np.arange(len(own))
        near[rows, own] = -np.inf
        least = np.partition(near, -k, axis=1)[:, -k, None]
        votes = (near >= least - TIE) @ np.eye(len(sizes))[y]
        most = votes == votes.max(1, keepdims=True)
        hits += float((most[rows, y[own]] / most.sum(1)).sum())
    return hits / len(asked)
