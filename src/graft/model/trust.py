"""What answers are worth: set on validation, measured on test, and how an answer for one example says it.

The validation part has also chosen the epoch and the temperature. That is little freedom, but with it the promised
coverage is approximate; what was reached is measured on the test part and stated.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.core.reports import Calibration
from graft.model import calibration, conformal, stats

Array = NDArray[np.float64]
Said = tuple[np.ndarray, np.ndarray]  # answers of a part, and the targets beside them

LEVEL = 0.9  # of the sets: it takes nine validation examples, and 95 % would take nineteen


def classes(row: str, val: Said, test: Said) -> Calibration:
    """Of logits (n, K) and class indices (n,): the temperature, sets of labels, and who is answered for."""
    from scipy.special import softmax

    found = calibration.temperature(*val)
    heat = found if calibration.warranted(*val, found) else 1.0  # of few examples it would be a guess
    known, p = softmax(val[0] / heat, axis=1), softmax(np.asarray(test[0], np.float64) / heat, axis=1)
    y, raw = test[1], softmax(np.asarray(test[0], np.float64), axis=1)
    right = (p.argmax(1) == y).astype(np.float64)
    threshold = conformal.quantile(conformal.strangeness(known, val[1]), LEVEL)
    held = conformal.sets(p, threshold)
    alone = held.sum(1) == 1
    return Calibration(
        row=row, count=len(val[1]), level=LEVEL, thresholds=_finite([threshold]),
        coverage=stats.interval(held[np.arange(len(y)), y], shares=True), temperature=heat,
        seen=calibration.ece(p.max(1), right), before=calibration.ece_interval(raw.max(1), right),
        after=calibration.ece_interval(p.max(1), right), answered=float(alone.mean()),
        right=stats.interval(right[alone], shares=True) if alone.any() else (),
    )  # fmt: skip


def quantities(row: str, val: Said, test: Said) -> Calibration:
    """Of values (n, K) and targets (n, K): a range of one width around each, by absolute errors on validation."""
    errors = np.abs(np.asarray(val[0], np.float64) - val[1])
    half = np.array([conformal.quantile(column, LEVEL) for column in errors.T])
    within = np.abs(np.asarray(test[0], np.float64) - test[1]) <= half
    coverage = stats.interval(within.mean(1), shares=True)
    return Calibration(row, len(val[1]), LEVEL, thresholds=_finite(half), coverage=coverage)


def labels(probability: Array, names: Sequence[str], trust: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of one example beside its label: the set that holds the truth at the level, and whether that is one.

    Shape: probability (K,).
    """
    if not trust["quantiles"]:
        return {"set": list(names), "unsure": True}
    held = conformal.sets(probability, trust["quantiles"][0])
    order = np.argsort(-probability, kind="stable")
    return {"set": [names[k] for k in order if held[k]], "unsure": int(held.sum()) != 1}


def ranges(values: Array, trust: Mapping[str, Any]) -> list[list[float]]:
    """From where to where each of one example's quantities lies at the level (K, 2); nothing if that is not known."""
    halves = trust["quantiles"]
    return [[float(f"{v + sign * half:.6g}") for sign in (-1, 1)] for v, half in zip(values, halves, strict=False)]


def _finite(thresholds: Sequence[float] | Array) -> tuple[float, ...]:
    """All of them, or none where validation is too small for the level."""
    return tuple(map(float, thresholds)) if all(map(math.isfinite, thresholds)) else ()
