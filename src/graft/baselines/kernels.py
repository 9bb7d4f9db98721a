"""Many convolutions that nobody trained, after MiniRocket (Dempster, Schmidt & Webb 2021), and a linear head.

The 84 kernels of nine weights, three of them 2 and six -1, at dilations that double. Of what each makes of a signal:
the share that is positive, the share that is beyond a threshold, and how strong it is.
"""

from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.traces import Trace
from graft.model import linear

MODALITIES = ("signal",)
CALLED = "a linear model on random convolutions"
RAGGED = False
TAPS = 9  # weights of a kernel
DILATIONS = tuple(2**i for i in range(10))  # samples; a kernel then spans 9 to 4097
TOGETHER = 9  # channels that a kernel listens to at most
BEYOND = (0.25, 1.5)  # standard deviations, between which the thresholds lie
LONGEST = 1 << 16  # samples that are heard at once; a longer trial is the mean of its stretches
LEAST = 1e-12  # size that counts as none, in the signal's unit


def describe(example: Trace) -> NDArray[np.float32]:
    """Three numbers for each kernel at each dilation; dilations that a short trial has no room for give zeros.

    Channels keep their sizes, which may be what tells: a muscle that is active is louder than one that is not.

    Shape: (2520,).
    """
    stretches = np.array_split(example.x, -(-example.x.shape[1] // LONGEST), axis=1)
    return np.asarray(np.mean([_heard(x) for x in stretches], axis=0), np.float32)


def _heard(x: np.ndarray) -> NDArray[np.float64]:
    z = (x - x.mean(1, keepdims=True, dtype=np.float64)).astype(np.float32)
    found = []
    for at, dilation in enumerate(DILATIONS):
        weights, thresholds = _kernels(len(z), at)
        count = z.shape[1] - (TAPS - 1) * dilation
        if count < 1:
            found.append(np.zeros((3, len(weights))))
            continue
        shifted = np.stack([z[:, tap * dilation : tap * dilation + count] for tap in range(TAPS)], 1)
        heard = weights @ shifted.reshape(-1, count)
        size = np.sqrt((heard**2).mean(1))
        beyond = (heard > (thresholds * size)[:, None]).mean(1)
        found.append(np.stack([(heard > 0).mean(1), beyond, np.log(np.maximum(size, LEAST))]))
    return np.stack(found).ravel()


@cache
def _kernels(channels: int, at: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (84, channels · taps) and thresholds (84,) of one dilation, always the same ones."""
    rng = np.random.default_rng([channels, at])
    taps = np.full((84, TAPS), -1.0, np.float32)
    for kernel, three in enumerate(combinations(range(TAPS), 3)):
        taps[kernel, list(three)] = 2.0
    weights = np.zeros((84, channels, TAPS), np.float32)
    for kernel in range(84):
        several = int(2 ** rng.uniform(0, np.log2(min(channels, TOGETHER) + 1)))
        weights[kernel, rng.choice(channels, several, replace=False)] = taps[kernel]
    return weights.reshape(84, -1), rng.uniform(*BEYOND, 84).astype(np.float32)


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
