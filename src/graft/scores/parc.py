"""PARC (Bolya et al., 2021, arXiv 2111.06977): whether rows that correlate share a label."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from graft.model.gram import coordinates, varying
from graft.model.rows import labelled

AXES = 32  # principal components that wider features are reduced to, as in the paper


def parc(features: ArrayLike, labels: ArrayLike) -> float:
    """100 times Spearman's correlation, over pairs of rows, of 1 - corr(features) with 1 - corr(one-hot labels).

    Columns are standardised first; features of more than 32 columns that vary are first reduced to their 32 principal
    components, each signed so that its farthest row lies at the positive end: then a rotation changes nothing. Of up to
    32 columns nothing is to be reduced (the authors' code refuses fewer), and turning them would make narrow directions
    count like wide ones: they stay as they are, and a rotation changes the score. A row that does not vary correlates
    with none.
    All pairs are held in memory: 2,000 rows take 0.1 GB, twice as many four times that.

    Shape: features (N, D), labels (N,). Range: -100 to 100; 0 for one class.
    Raises:
        DataError: fewer than two rows, or values that are not finite.
    """
    f, y, _ = labelled(features, labels)
    f = f[:, varying(f)]
    z = coordinates(f)[:, :AXES] if f.shape[1] > AXES else f - f.mean(0)
    z = z / z.std(0)
    z = z - z.mean(1, keepdims=True) if z.shape[1] else z
    length = np.sqrt((z**2).sum(1, keepdims=True))
    z = np.divide(z, length, out=np.zeros_like(z), where=length > 1e-12 * length.max(initial=0.0))
    pairs = np.tril_indices(len(z), -1)
    alike = rankdata(np.round((z @ z.T)[pairs], 12))  # copies correlate alike: rounding must not order them
    same = y[pairs[0]] == y[pairs[1]]  # all that corr(one-hot labels) tells
    spread = alike.std() * same.std()
    return float(100 * ((alike - alike.mean()) * same).mean() / spread) if spread else 0.0
