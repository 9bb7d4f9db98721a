"""Supervised contrastive learning (Khosla et al. 2020): examples of one class come together, others move apart.

It is to a sentence encoder what SetFit (Tunstall et al. 2022) trains on pairs, with every pair of a batch used at once:
B examples give B(B-1) pairs in one forward pass, and no pair is ever written down.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

TEMPERATURE = 0.1  # the paper's: lower ones mind the hardest pairs alone


def loss(vectors: torch.Tensor, y: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """Mean over examples of -log of the share that others of their class have in their likeness to all others.

    Shape: vectors (B, D), y (B,) class indices → scalar. An example that is alone in its class has no say.
    """
    z = normalize(vectors.float(), dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    like = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    together = (y[:, None] == y[None]) & ~itself
    share = (like - like.logsumexp(1, keepdim=True)).masked_fill(~together, 0.0)
    counts = together.sum(1)
    heard = counts > 0
    each = -(share.sum(1)[heard] / counts[heard])
    return each.mean() if len(each) else z.sum() * 0.0


def order(y: np.ndarray, seed: int) -> np.ndarray:
    """One epoch's rows in pairs of a class, the pairs shuffled: in a batch hardly anybody is alone.

    Shape: y (n,) → a permutation of 0 … n-1.
    """
    rng = np.random.default_rng(seed)
    pairs = []
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        pairs += [rows[at : at + 2] for at in range(0, len(rows), 2)]
    return np.concatenate([pairs[at] for at in rng.permutation(len(pairs))])


def nearest(known: np.ndarray, y: np.ndarray, asked: np.ndarray, outputs: int) -> np.ndarray:
    """Logits (m, outputs) of vectors (m, D) by likeness to the mean direction of each class of those known (n, D)."""
    known, asked = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (known, asked))
    means = np.stack([known[y == label].sum(0) for label in range(outputs)])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return np.asarray(asked @ means.T / TEMPERATURE)


@contextmanager
def watched(head: nn.Module) -> Iterator[list[torch.Tensor]]:
    """What the head is given within the block, call by call: the vectors of the examples."""
    seen: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()
