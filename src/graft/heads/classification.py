"""One label for each example."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import DataError
from graft.core.reports import Calibration
from graft.model import linear, stats, trust

if TYPE_CHECKING:
    import torch

METRICS = ("accuracy", "balanced_accuracy")
ROWS = False
KIND = "softmax"
SLICED = "accuracy"  # what a slice is judged by: of one class, the share that is right
UNEVEN = 3.0  # largest class over smallest, from which the metric counts every class alike


def outputs(labels: Sequence[Any]) -> tuple[str, ...]:
    """The classes in order: as numbers where all are."""
    found = {_name(label) for label in labels}
    if all(label.lstrip("-").isdigit() for label in found):
        return tuple(sorted(found, key=int))
    return tuple(sorted(found))


def encode(label: Any, outputs: Sequence[str]) -> int:
    """The index of a label's class.

    Raises:
        DataError: it is not among them.
    """
    name = _name(label)
    if name not in outputs:
        raise DataError(f"the class {name!r} is not in the training part")
    return outputs.index(name)


def array(targets: Sequence[Any], outputs: int) -> np.ndarray:
    """Class indices, shape (n,)."""
    return np.asarray(targets, np.int64).reshape(len(targets))


def strata(targets: Sequence[Any]) -> list[str]:
    """The classes: a split keeps their shares."""
    return [str(target) for target in targets]


def choose_metric(y: np.ndarray, names: Sequence[str]) -> tuple[str, str]:
    """Accuracy; where one class has three times as many training examples as another, balanced accuracy."""
    counts = Counter(y.tolist())
    (most, big), (least, small) = counts.most_common()[0], counts.most_common()[-1]
    if big / small < UNEVEN:
        return "accuracy", ""
    return "balanced_accuracy", (
        f"The classes are uneven ({big} of {names[most]!r}, {small} of {names[least]!r} to train on), so the metric is "
        "balanced accuracy: the mean over the classes."
    )


def head(width: int, outputs: int) -> "torch.nn.Module":
    """(B, width) features → (B, outputs) logits."""
    from torch import nn

    return nn.Linear(width, outputs)


def start(module: "torch.nn.Module", y: np.ndarray) -> None:
    """Nothing is taken from the training targets."""


def weigh(y: np.ndarray, outputs: int, balanced: bool) -> np.ndarray | None:
    """One over each class's share of the training part, times one over the number of classes."""
    if not balanced:
        return None
    counts = np.bincount(y, minlength=outputs)  # none of a class, in a sample: then it weighs nothing
    return np.asarray(np.where(counts, len(y) / (outputs * np.maximum(counts, 1)), 0), np.float32)


def loss(
    logits: "torch.Tensor", targets: "torch.Tensor", weights: "torch.Tensor | None" = None, smoothing: float = 0.0
) -> "torch.Tensor":
    """Cross-entropy, mean over the batch; optionally weighted by class, with smoothed labels."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits.float(), targets, weights, label_smoothing=smoothing)


def solve(
    x: np.ndarray,
    y: np.ndarray,
    outputs: int,
    balanced: bool = False,
    metric: str = METRICS[0],
    seed: int = 0,
    groups: Sequence[str] = (),
) -> linear.Linear:
    """The exact head: multinomial logistic regression, its strength chosen within these rows."""
    weights = weigh(y, outputs, balanced)
    fold = linear.grouped(groups) if groups else None
    return linear.fit(x, y, outputs, None if weights is None else weights[y], seed=seed, metric=metric, fold=fold)


def constant(y: np.ndarray, outputs: int, metric: str = METRICS[0]) -> np.ndarray:
    """Log-frequencies of the classes, each seen once more than it was so that none is impossible."""
    counts = np.bincount(y, minlength=outputs) + 1
    return np.asarray(np.log(counts / counts.sum()))


def metric(logits: np.ndarray, y: np.ndarray, name: str = METRICS[0], names: Sequence[str] = ()) -> float:
    """Share of examples whose largest logit is the target's; balanced: the mean of that share over the classes."""
    return float(np.average(outcomes(logits, y, name), weights=share(y, name)))


def outcomes(logits: np.ndarray, y: np.ndarray, name: str = METRICS[0], names: Sequence[str] = ()) -> np.ndarray:
    """Which examples are answered rightly, shape (n,)."""
    return np.asarray(logits.argmax(1) == y, np.float64)


def share(y: np.ndarray, name: str = METRICS[0]) -> np.ndarray:
    """What each example counts for: all alike, or all classes alike."""
    return stats.example_weights(y, name)


def confusion(logits: np.ndarray, y: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """How often which class is answered for which: (truth, answer, count), in order."""
    pairs, counts = np.unique(np.column_stack([y, logits.argmax(1)]), axis=0, return_counts=True)
    return tuple(map(tuple, np.column_stack([pairs, counts]).tolist()))


def said(score: float, metric: str) -> str:
    """The score in words, before "150 photos"."""
    return (
        f"right on {100 * score:.1f} % of"
        if metric == "accuracy"
        else f"right, class by class, on {100 * score:.1f} % of"
    )


def slices(y: np.ndarray, names: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """The examples of each class."""
    return [(name, y == index) for index, name in enumerate(names) if (y == index).any()]


def calibrated(row: str, val: trust.Said, test: trust.Said) -> Calibration:
    """How far probabilities can be trusted: set on validation, measured on test."""
    return trust.classes(row, val, test)


def answer(logits: np.ndarray, names: Sequence[str], trusted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a person is told about one example: label, its probability, and every label's.

    Args:
        trusted: what calibrates them (the card's "trust"); with it, which labels are likely and whether that is one.
    """
    heat = trusted["temperature"] if trusted else 1.0
    shifted = np.exp((logits.astype(np.float64) - logits.max()) / heat)
    probability = shifted / shifted.sum()
    best = int(probability.argmax())
    return {
        "label": names[best],
        "probability": round(float(probability[best]), 6),
        "probabilities": {name: round(float(p), 6) for name, p in zip(names, probability, strict=True)},
        **(trust.labels(probability, names, trusted) if trusted else {}),
    }


def _name(label: Any) -> str:
    """A label's text; a whole number is written as one, however its table holds it."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if label is None or (text := str(label).strip()) == "":
        raise DataError("has an empty label")
    return text
