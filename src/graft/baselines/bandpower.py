"""Band powers: how strong each channel is in delta, theta, alpha, beta and gamma (Welch 1967), and a linear head."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.traces import Trace
from graft.model import linear

MODALITIES = ("signal",)
CALLED = "a linear model on band powers"
RAGGED = False
BANDS = (0.5, 4.0, 8.0, 13.0, 30.0, 45.0)  # Hz: delta, theta, alpha, beta, gamma; above, each band is an octave wide
OCTAVES = 8  # below half the sampling rate, where that is not known in Hz or lies below these bands
SECONDS = 2.0  # of a stretch: frequencies half a Hz apart are told apart
LEAST = 1e-30  # power that counts as none: a millionth of what electrodes hear of themselves, in V²


def describe(example: Trace) -> NDArray[np.float32]:
    """Log power of each channel in each band; how many bands there are depends on the sampling rate alone.

    Shape: (channels · bands,).
    """
    from scipy.signal import welch

    x, edges = example.x.astype(np.float64), bands(example.rate)
    rate = example.rate or 2.0  # where it is not known, frequencies are shares of half of it
    long = round(SECONDS * rate) if example.rate else 256
    # Filled up with zeros, so that a short trial too has a frequency in every band.
    f, density = welch(x, rate, nperseg=min(x.shape[1], long), nfft=max(long, min(x.shape[1], long)))
    within = [(f >= low) & (f < high) for low, high in pairwise(edges)]
    power = [density[:, band].sum(1) * (f[1] - f[0]) for band in within]
    return np.asarray(np.log10(np.maximum(np.stack(power, 1), LEAST)), np.float32).ravel()


def bands(rate: float) -> tuple[float, ...]:
    """The edges of the bands in Hz, up to half the sampling rate; at one that is not known (0), in halves of it."""
    half = rate / 2 if rate else 1.0
    if half < BANDS[2]:
        return (*(half / 2**octave for octave in range(OCTAVES, 0, -1)), half)
    edges = [edge for edge in BANDS if edge < half]
    while len(edges) >= len(BANDS) and edges[-1] * 2 < half:
        edges.append(edges[-1] * 2)
    return (*edges, half)


def fit(x: np.ndarray, y: np.ndarray, head: Any, outputs: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """The exact linear head on descriptions x (N, D).

    Raises:
        DataError: fewer than two examples.
    """
    made = head.solve(x, y, outputs, seed=seed)
    return {"weight": made.weight.astype(np.float32), "bias": made.bias.astype(np.float32)}


def predict(state: dict[str, NDArray[np.float32]], x: np.ndarray) -> NDArray[np.float64]:
    """Logits or values (N, outputs) of descriptions (N, D)."""
    return linear.logits(state["weight"], state["bias"], x)
