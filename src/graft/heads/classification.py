"""One label for each example."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

METRICS = ("accuracy", "balanced_accuracy")


def head(width: int, outputs: int) -> "torch.nn.Module":
    """(B, width) features → (B, outputs) logits."""
    from torch import nn

    return nn.Linear(width, outputs)


def loss(
    logits: "torch.Tensor", targets: "torch.Tensor", weights: "torch.Tensor | None" = None, smoothing: float = 0.0
) -> "torch.Tensor":
    """Cross-entropy, mean over the batch; optionally weighted by class, with smoothed labels."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits.float(), targets, weights, label_smoothing=smoothing)


def metric(logits: np.ndarray, targets: np.ndarray, name: str = "accuracy") -> float:
    """Share of examples whose largest logit is the target's; balanced: the mean of that share over the classes."""
    right = logits.argmax(1) == targets
    if name == "balanced_accuracy":
        return float(np.mean([right[targets == label].mean() for label in np.unique(targets)]))
    return float(right.mean())


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    shares: np.ndarray = shifted / shifted.sum(-1, keepdims=True)
    return shares


def answer(probability: np.ndarray, outputs: Sequence[str]) -> dict[str, Any]:
    """What a person is told about one example: label, its probability, and every label's."""
    best = int(probability.argmax())
    return {
        "label": outputs[best],
        "probability": round(float(probability[best]), 6),
        "probabilities": {name: round(float(p), 6) for name, p in zip(outputs, probability, strict=True)},
    }
