"""Classical tables: standardised columns, and which of their values are missing; a linear head."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.numbers import robust

MODALITIES = ("vector",)
CALLED = "a linear model on the columns"
RAGGED = False
CLIP = 8.0  # spreads from the middle, beyond which more is no more
HOLES = (0.01, 0.99)  # share of a column's values that may be missing for their being missing to tell something


def describe(example: Any) -> NDArray[np.float32]:
    """An example's values as they are, NaN where missing: shape (columns,)."""
    return np.asarray(example.values, np.float32)


def fit(x: NDArray[np.float32], y: np.ndarray, head: Any, outputs: int, seed: int) -> dict[str, np.ndarray]:
    """Each column's middle and spread, and the exact linear head on rows x (N, D), which may hold NaN.

    Raises:
        DataError: fewer than two rows.
    """
    centre, spread = robust(np.asarray(x, np.float64))
    holes = np.isnan(x).mean(0)
    state = {
        "centre": centre,
        "spread": np.where(spread > 0, spread, 1.0),
        "holes": np.flatnonzero((holes >= HOLES[0]) & (holes <= HOLES[1])),
    }
    found = head.solve(_filled(state, x), y, outputs, seed=seed)
    # Contiguous: safetensors writes the memory as it lies.
    return state | {"weight": np.ascontiguousarray(found.weight), "bias": np.ascontiguousarray(found.bias)}


def predict(state: dict[str, np.ndarray], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits or values (N, outputs) of rows (N, D)."""
    return np.asarray(_filled(state, x) @ state["weight"].T + state["bias"])


def _filled(state: dict[str, np.ndarray], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rows in spreads from the middle, missing values in it, and a column that says so beside each that has such."""
    missing = np.isnan(x)
    z = np.clip((np.where(missing, state["centre"], x) - state["centre"]) / state["spread"], -CLIP, CLIP)
    return np.hstack([z, missing[:, state["holes"]]])
