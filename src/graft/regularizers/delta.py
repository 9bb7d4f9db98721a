"""DELTA (Li et al. 2019): the stages that learn go on behaving as they did, the more so in channels that matter."""

from collections.abc import Mapping

import torch

from graft.model.terms import Seen

STRENGTH = 0.1
NEEDS = ("pretrained", "features", "stages", "steady")


def penalty(seen: Seen) -> torch.Tensor:
    """Mean over stages of mean w |m - m₀|² / mean |m₀|²: a stage's output m, the pretrained network's m₀, weights w.

    Range: 0 and up.
    """
    parts = []
    for name, old in seen.before.items():
        new = seen.now[name].float() if name in seen.now else seen.vectors
        away = _channels_last((new - old).square()) * seen.weights.get(name, 1.0)
        parts.append(away.mean() / old.square().mean().clamp_min(1e-12))
    return torch.stack(parts).mean()


def weigh(outputs: Mapping[str, torch.Tensor], gradients: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of mean 1, a softmax of how much the loss would rise without a channel, standardised over the channels.

    The paper leaves each channel out in turn; -Σ m · ∂loss/∂m is the same to first order, from one backward pass.

    Shape: (B, C, H, W), (B, T, C) or (B, C) of each stage → (C,).
    """
    found = {}
    for name, out in outputs.items():
        rise = -_channels_last(out.float() * gradients[name].float()).flatten(0, -2).sum(0)
        score = (rise - rise.mean()) / rise.std().clamp_min(1e-12)
        found[name] = len(score) * score.softmax(0)
    return found


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(1, -1) if x.ndim == 4 else x
