"""Confident learning (Northcutt et al. 2021, arXiv 1911.00068): which labels are probably wrong.

    t_j = mean of p(j | x) over the examples labelled j          how sure one is of that class where it stands
    suspect: labelled i, but p(j | x) >= t_j for the likeliest class j != i

p comes from a model that did not learn from x. Beside the paper's rule, j must be twice as likely as i: where features
tell nothing, half of all examples would be suspects otherwise. Such a rule cannot tell a wrong label from an example
that is hard. What can is how sure p is where it errs, since an error that is foreseen needs no wrong label:

    label of x  ~  (1 - e) q(y | x) + e (1 - q(y | x)) / (C - 1),      q = softmax(log p / T)

At e = 0 all labels are right, and p is too sure or not sure enough by T. Where some e > 0 gives these labels no better,
no label is called wrong; else the chance that one is wrong is what the second term gives of the sum (label noise as in
Bootkrajang & Kabán 2012, around answers that are there). What is chance by nature, so that no features tell it, looks
just like a wrong label: only where right labels are no matter of chance do these add up to a number of wrong ones.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

ODDS = 2.0  # of the other class against the label's
COLD = np.geomspace(0.1, 4.0, 38)  # temperatures T that are tried
SHARES = np.geomspace(0.002, 0.5, 30)  # of wrong labels that are tried
NEEDED = 2.71  # twice the log-likelihood ratio: 5 of 100 clean sets exceed it, e being at the edge of its range
ASKED = 2000  # rows by which T and e are found, at most


def suspects(held: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows whose label the answers contradict, the surest first: the row, the likelier class, and its probability.

    Shape: held (N, C) log-probabilities, out of fold; labels (N,) → three of (n,).
    """
    p, y = np.exp(np.asarray(held, np.float64)), np.asarray(labels, np.int64)
    rows = np.arange(len(y))
    known = np.bincount(y, minlength=p.shape[1]) > 0
    usual = np.array([p[y == k, k].mean() if known[k] else np.inf for k in range(p.shape[1])])
    likely = p.argmax(1)
    sure = p[rows, likely]
    found = np.flatnonzero((likely != y) & (sure >= usual[likely]) & (sure > ODDS * p[rows, y]))
    order = found[np.argsort(p[found, y[found]] - sure[found], kind="stable")]
    return order, likely[order], sure[order]


def chances(held: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """The chance that each label is wrong; 0 for all where the answers give them as well if all are right.

    Shape: as in `suspects` → (N,).
    """
    logs, y = np.asarray(held, np.float64), np.asarray(labels, np.int64)
    if logs.shape[1] < 2:
        return np.zeros(len(y))
    some = slice(None, None, -(-len(y) // ASKED))
    clean = np.array([_own(logs[some], y[some], heat) for heat in COLD])  # (temperatures, rows)
    others = logs.shape[1] - 1
    fits = np.array([np.log((1 - e) * clean + e * (1 - clean) / others).sum(1) for e in SHARES])
    share, heat = np.unravel_index(fits.argmax(), fits.shape)
    if 2 * (fits.max() - np.log(clean).sum(1).max()) < NEEDED:
        return np.zeros(len(y))
    own, e = _own(logs, y, COLD[heat]), SHARES[share]
    wrong = e * (1 - own) / others
    return np.asarray(wrong / ((1 - e) * own + wrong))


def _own(logs: NDArray[np.float64], y: NDArray[np.int64], heat: float) -> NDArray[np.float64]:
    """The probability of each row's own label at a temperature."""
    from scipy.special import log_softmax

    return np.asarray(np.exp(np.maximum(log_softmax(logs / heat, axis=1)[np.arange(len(y)), y], -700)))
