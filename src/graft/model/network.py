"""A backbone with its input's normalisation before it and a head behind it: one module, three parts."""

import torch
from torch import nn

from graft.core.nouns import Input


class Normalise(nn.Module):
    """Raw uint8 pixels (B, 3, h, w) to the floats a backbone was pretrained on; part of the network, so never lost."""

    def __init__(self, spec: Input) -> None:
        super().__init__()
        # In one multiply-add: (x / 255 - mean) / std. Not persistent: the Input noun is what states them.
        self.register_buffer("scale", 1 / (255 * torch.tensor(spec.std).view(1, 3, 1, 1)), persistent=False)
        self.register_buffer(
            "shift",
            -torch.tensor(spec.mean).view(1, 3, 1, 1) / torch.tensor(spec.std).view(1, 3, 1, 1),
            persistent=False,
        )
        self.scale: torch.Tensor
        self.shift: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float() * self.scale + self.shift


class Network(nn.Module):
    """normalise → backbone → head."""

    def __init__(self, normalise: nn.Module, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.normalise, self.backbone, self.head = normalise, backbone, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, …) prepared examples → (B, outputs) logits."""
        return self.head(self.backbone(self.normalise(x)))  # type: ignore[no-any-return]
