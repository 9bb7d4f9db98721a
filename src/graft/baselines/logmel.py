"""Classical hearing: what each mel band holds and how it moves, averaged over the clip, and a linear head."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.mel import Mel, spectrum
from graft.data.sound import RATE, Sound

MODALITIES = ("audio",)
CALLED = "a linear model on log-mel statistics"
RAGGED = False
MEL = Mel(bands=40)  # decibels, of 25 ms every 10 ms


def describe(example: Sound) -> NDArray[np.float32]:
    """Mean and spread over time of the log-mel bands, and of their changes from frame to frame: shape (160,)."""
    samples = example.at(RATE).samples
    bands = spectrum(np.resize(samples, max(len(samples), MEL.frame)), RATE, MEL)
    moves = np.diff(bands, axis=0)
    return np.concatenate([bands.mean(0), bands.std(0), moves.mean(0), moves.std(0)])


def fit(x: NDArray[np.float32], y: np.ndarray, head: Any, outputs: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """The exact linear head on descriptions x (N, 160)."""
    found = head.solve(x, y, outputs, seed=seed)
    return {"weight": found.weight.astype(np.float32), "bias": found.bias.astype(np.float32)}


def predict(state: dict[str, NDArray[np.float32]], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits or values (N, outputs) of descriptions (N, 160)."""
    return np.asarray(x.astype(np.float64) @ state["weight"].T.astype(np.float64) + state["bias"])
