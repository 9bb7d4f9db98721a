"""Look at nothing: the class frequencies of the training part, whatever the example."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def describe(example: Image.Image) -> NDArray[np.float32]:
    """Nothing is read off an example: shape (0,)."""
    return np.zeros(0, np.float32)


def fit(x: NDArray[np.float32], y: NDArray[np.int64], classes: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Log-frequencies of the labels y (N,), each class seen once more than it was so that none is impossible."""
    counts = np.bincount(y, minlength=classes) + 1
    return {"log_prior": np.log(counts / counts.sum()).astype(np.float32)}


def predict(state: dict[str, NDArray[np.float32]], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """The same log-probabilities for every row: (N, C)."""
    return np.tile(state["log_prior"].astype(np.float64), (len(x), 1))
