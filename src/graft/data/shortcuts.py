"""Whether what stands around an example (its size, length, file or device), and not what it shows, tells its label.

Each fact alone is asked by the smallest of models: a table of how often each class shows each of its levels, numbers
being parted into tenths. An example is answered from all others (leave-one-out), every class counting alike, and the
score is compared with the best that any fact reaches on shuffled labels (Westfall & Young 1993), so that a false alarm
is as rare with many facts as with one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 2000  # examples that are looked at
BINS, KINDS = 10, 50  # of a number that has more values; of a text, the commonest, the others being one
SHUFFLES = 199  # of the labels: chance goes beyond all of them once in 200 times
ROOM = 0.2  # share of what chance leaves that a fact must tell: 0.6 with two classes; less is seldom what is learned
SHOWN = 3  # facts and classes that are named
ALONE = "alone tells the class"  # what a warning says of a fact, and is found by
CALLED = {
    "width": "the width", "height": "the height", "shape": "width over height", "format": "the file format",
    "mode": "the colour mode", "ending": "the file's ending", "words": "the number of words",
    "seconds": "the length in seconds", "samples": "the number of samples", "rate": "the sampling rate",
    "channels": "the number of channels", "known": "the number of values that are there",
    "device": "the recording device",
}  # fmt: skip
# Not the size of a compressed file: it hangs on what the file shows, and no network is fed it.


@dataclass(frozen=True)
class Shortcut:
    """A fact that tells the label by itself."""

    fact: str
    score: float  # balanced accuracy, leave-one-out
    chance: float  # mean over shuffled labels
    bound: float  # the best of any fact on any of them


def shortcuts(facts: Mapping[str, Sequence[Any]], labels: Sequence[int] | NDArray[np.int64]) -> list[Shortcut]:
    """The facts that tell the label by themselves, the most telling first.

    Shape: of each fact one text or number an example, and of the labels.
    """
    rng = np.random.default_rng(0)
    at = np.sort(rng.permutation(len(labels))[:MOST])
    _, y = np.unique(np.asarray(labels)[at], return_inverse=True)
    if (counts := np.bincount(y)).size < 2 or counts.min() < 2:
        return []
    tried = {name: level for name, values in facts.items() if (level := levels([values[row] for row in at])).max()}
    if not tried:
        return []
    orders = [rng.permutation(len(y)) for _ in range(SHUFFLES)]
    shuffled = {name: [told(level, y[order]) for order in orders] for name, level in tried.items()}
    bound = max(max(scores) for scores in shuffled.values())
    found = []
    for name, level in tried.items():
        score, chance = told(level, y), float(np.mean(shuffled[name]))
        if score > bound and score >= 1 / counts.size + ROOM * (1 - 1 / counts.size):
            found.append(Shortcut(name, score, chance, bound))
    return sorted(found, key=lambda one: -one.score)


def levels(values: Sequence[Any]) -> NDArray[np.int64]:
    """Which level each value is of: itself, or its tenth where there are many numbers."""
    if any(isinstance(value, str) for value in values):
        common = [name for name, _ in Counter(map(str, values)).most_common(KINDS)]
        place = {name: at for at, name in enumerate(common)}
        return np.array([place.get(str(value), KINDS) for value in values], np.int64)
    column = np.asarray(values, np.float64)
    found, level = np.unique(column, return_inverse=True)
    if len(found) <= BINS:
        return np.asarray(level, np.int64)
    return np.searchsorted(np.unique(np.quantile(column, np.arange(1, BINS) / BINS)), column, side="left")


def told(level: NDArray[np.int64], y: NDArray[np.int64]) -> float:
    """Balanced accuracy of naming, for each example, the class in which its level is most frequent among the others.

    Shape: level, y (N,). Range: 0 to 1; classes in which it is as frequent share the answer.
    """
    sizes = np.bincount(y).astype(np.float64)
    kinds = np.arange(len(sizes))
    count = np.bincount(level * len(sizes) + y, minlength=(level.max() + 1) * len(sizes)).reshape(-1, len(sizes))
    itself = np.eye(len(sizes))  # an example of a class is not among the others of it
    share = np.maximum(count[:, None] - itself, 0) / (sizes - itself)  # (level, class of the example, class)
    best = share >= share.max(2, keepdims=True) - 1e-12
    right = best[:, kinds, kinds] / best.sum(2)
    return float((count * right / sizes).sum()) / len(sizes)


def facts_of(items: Sequence[str], looks: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What is known of these examples beside what they show, where it is known of all of them."""
    rows = [dict(look) for look in looks]
    for item, row in zip(items, rows, strict=True):
        if row.get("width") and row.get("height"):
            row["shape"] = row["width"] / row["height"]
        if "#" not in item:
            row["ending"] = Path(item).suffix.lower()
    return {name: [row[name] for row in rows] for name in CALLED if all(name in row for row in rows)}


def warnings(facts: Mapping[str, Sequence[Any]], y: Sequence[Any], names: Sequence[str]) -> list[str]:
    """What to say to a person of the facts that tell the label; nothing where none does."""
    found = shortcuts(facts, y)
    if not found:
        return []
    best, what = found[0], CALLED[found[0].fact]
    also = " and ".join(f"{CALLED[one.fact]} ({one.score:.2f})" for one in found[1:SHOWN])
    typical = "; ".join(f"{name!r} {_typical(facts[best.fact], y, at)}" for at, name in enumerate(names[:SHOWN]))
    return [
        f"{what[0].upper()}{what[1:]} {ALONE} with a balanced accuracy of {best.score:.2f}, on shuffled "
        f"labels {best.chance:.2f} and at most {best.bound:.2f} (typically {typical})"
        + (f"; telling, too: {also}" if also else "")
        + ". A model may learn that instead of what you mean: see whether it will hold where the model is used."
    ]


def _typical(values: Sequence[Any], y: Sequence[int], at: int) -> str:
    own = [value for value, label in zip(values, y, strict=True) if label == at]
    if any(isinstance(value, str) for value in own):
        return max(sorted(set(own)), key=own.count) or "none"
    return f"{float(np.median(own)):.3g}"
