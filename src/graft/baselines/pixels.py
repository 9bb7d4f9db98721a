"""Classical vision: small colour pixels and histograms of oriented gradients (Dalal & Triggs, 2005), a linear head."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graft.model import linear

MODALITIES = ("image",)
CALLED = "a linear model on small pixels and edges"
SIDE = 64  # pixels; small objects still show, and two thousand photos fit in seconds
THUMB = 16  # side of the colour thumbnail in pixels
CELL = 8  # side of a cell in pixels
BINS = 9  # orientations over half a turn, the paper's best; the first is centred on vertical edges
CLIP = 0.2  # the paper's bound on one entry of a normalised block
EPS = 0.01  # gradient that counts as contrast, in units of full white: keeps noise in flat patches small


def describe(example: Image.Image) -> NDArray[np.float32]:
    """Thumbnail (768) and gradient histograms (1764) of a photo brought to a square: shape (2532,)."""
    small = example.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    colour = np.asarray(small, np.float32) / 255
    step = SIDE // THUMB
    thumb = colour.reshape(THUMB, step, THUMB, step, 3).mean((1, 3))
    grey = (colour @ np.array([0.299, 0.587, 0.114])).astype(np.float32)
    return np.concatenate([thumb.ravel(), hog(grey).ravel()])


def hog(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Histograms of oriented gradients of a grey picture (H, W): shape (H/8 - 1, W/8 - 1, 4 · BINS).

    Each pixel votes with its gradient for the two nearest orientations and the four nearest cells; each block of 2 x 2
    cells is normalised, clipped and normalised again, flat ones staying near zero.
    """
    down, across = np.gradient(grey)
    strength = np.hypot(across, down)
    turn = np.arctan2(down, across) * (BINS / np.pi)
    bins = np.arange(BINS, dtype=np.float32)[:, None, None]
    away = np.abs((turn - bins + BINS / 2) % BINS - BINS / 2)
    votes = strength * np.maximum(1 - away, 0)
    cells = np.moveaxis(_near(grey.shape[0]) @ votes @ _near(grey.shape[1]).T, 0, -1)
    blocks = np.concatenate([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=-1)
    blocks = np.minimum(_unit(blocks, EPS * CELL**2), CLIP)
    return _unit(blocks, CLIP).astype(np.float32)


def fit(x: NDArray[np.float32], y: np.ndarray, head: Any, outputs: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """The exact linear head on descriptors x (N, D) with targets y.

    Raises:
        DataError: fewer than two examples.
    """
    found = head.solve(x, y, outputs, seed=seed)
    return {"weight": found.weight.astype(np.float32), "bias": found.bias.astype(np.float32)}


def predict(state: dict[str, NDArray[np.float32]], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits (N, K) of descriptors (N, D)."""
    return linear.logits(state["weight"], state["bias"], x)


def _near(side: int) -> NDArray[np.float32]:
    """What each pixel of a line gives to each of its cells (cells, side): all of it in the middle of the cell."""
    centres = (np.arange(side // CELL)[:, None] + 0.5) * CELL - 0.5
    return np.maximum(1 - np.abs(np.arange(side) - centres) / CELL, 0).astype(np.float32)


def _unit(blocks: NDArray[np.float32], eps: float) -> NDArray[np.float32]:
    return np.asarray(blocks / np.sqrt((blocks**2).sum(-1, keepdims=True) + eps**2))
