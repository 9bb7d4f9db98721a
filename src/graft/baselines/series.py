"""The signal itself: the samples of each channel, brought to one number of them, and a linear head."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.traces import Trace
from graft.model import linear

MODALITIES = ("signal",)
CALLED = "a linear model on the samples"
RAGGED = False
MOST = 512  # values of a channel
ALL = 8192  # values of all channels


def describe(example: Trace) -> NDArray[np.float32]:
    """Each channel in equal stretches from a trial's beginning to its end, the mean over each; however long it is.

    Shape: (channels · stretches,), at most 512 stretches and 8192 values.
    """
    x = example.x.astype(np.float64)
    count = max(1, min(MOST, ALL // len(x)))
    # The integral between two times, over how far they lie apart: exact also where a stretch is shorter than a sample.
    area = np.concatenate([np.zeros((len(x), 1)), np.cumsum(x, 1)], 1)
    at = np.linspace(0, x.shape[1], count + 1)
    whole = np.minimum(at.astype(np.int64), x.shape[1] - 1)
    known = area[:, whole] + (at - whole) * x[:, whole]
    return np.asarray(np.diff(known, axis=1) * (count / x.shape[1]), np.float32).ravel()


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
