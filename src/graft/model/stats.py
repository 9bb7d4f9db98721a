import numpy as np


def example_weights(labels, metric="accuracy"):
    labels = np.asarray(labels)
    n = len(labels)
    if metric == "accuracy":
        return np.full(n, 1 / n)
    c = np.bincount(labels)
    return 1 / (c[labels] * (c > 0).sum())


def standard_error(right, share):
    n = 1 / (share @ share)
    p = (right @ share * n + 1) / (n + 2)
    return float(np.sqrt(p * (1 - p) / (n + 2)))
