"""LogME (You et al., 2021, arXiv 2102.11005): how well a Bayesian linear model on the features explains the labels."""

import numpy as np
from numpy.typing import NDArray

GRID = 65  # candidates per round; each round narrows the bracket 32 times
ROUNDS = 5
SPAN = 12.0  # decades of λ to either side of the largest squared singular value: bounds the evidence of a perfect fit


def logme(features: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Log evidence per example, maximised over both variances, as the mean over one-hot columns of the labels.

    A column y has the evidence N(y | 0, (I + F Fᵀ / λ) / β). The best β is known in closed form given λ, so that one
    number is left to search: it is bracketed on a grid over 24 decades and the bracket narrowed. The determinant
    runs over the singular values alone, hence holds for N < D, for lost rank and for columns of zeros.

    Shape: features (N, D), labels (N,). Range: real; scaling or rotating all of the features changes nothing.
    """
    f = np.asarray(features, np.float64)
    y = (np.asarray(labels)[:, None] == np.unique(labels)).astype(np.float64)
    count = len(f)
    left, squares = _left(f)
    along = (left.T @ y) ** 2  # (k, C)
    beyond = np.maximum((y**2).sum(0) - along.sum(0), 0.0)
    largest = squares.max(initial=0.0) or 1.0

    def evidence(log_ratio: NDArray[np.float64]) -> NDArray[np.float64]:
        ratio = squares / largest / 10.0 ** log_ratio[..., None]  # s² / λ: (G, C, k)
        misfit = (along.T / (1 + ratio)).sum(-1) + beyond  # yᵀ (I + F Fᵀ / λ)⁻¹ y = N / β
        fit = np.log(2 * np.pi * np.maximum(misfit, 1e-300) / count) + 1
        return np.asarray(-0.5 * (fit + np.log1p(ratio).sum(-1) / count))

    best, width = np.zeros(y.shape[1]), SPAN
    for _ in range(ROUNDS):
        tried = best + np.linspace(-width, width, GRID)[:, None]
        best = np.take_along_axis(tried, evidence(tried).argmax(0)[None], 0)[0]
        width *= 2 / (GRID - 1)
    return float(evidence(best[None]).mean())


def _left(f: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Left singular vectors (N, k) and squared singular values (k,), from the smaller Gram matrix."""
    wide = f.shape[1] > len(f)
    squares, axes = np.linalg.eigh(f @ f.T if wide else f.T @ f)
    kept = squares > 1e-12 * squares.max(initial=0.0)
    squares, axes = squares[kept], axes[:, kept]
    return (axes if wide else f @ axes / np.sqrt(squares)), squares
