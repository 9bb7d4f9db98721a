"""A backbone with what prepares its input before it and a head behind it: one module, three parts."""

from typing import Any, cast

import torch
from torch import nn

from graft.model.novelty import novelty


class Affine(nn.Module):
    """x · scale + shift: a normalisation as part of the network, so that it is never lost."""

    def __init__(self, scale: torch.Tensor, shift: torch.Tensor) -> None:
        super().__init__()
        # Not persistent: the backbone's input is what states them.
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        self.scale: torch.Tensor
        self.shift: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float() * self.scale + self.shift


class Network(nn.Module):
    """front → backbone → head."""

    def __init__(self, front: nn.Module, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.front, self.backbone, self.head = front, backbone, head

    def forward(self, x: torch.Tensor, **rows: torch.Tensor) -> torch.Tensor:
        """Prepared examples (and, where they are ragged, how their rows lie) → logits."""
        return self.head(self.backbone(self.front(x), **rows))  # type: ignore[no-any-return]


class Windows(nn.Module):
    """A backbone over windows, and the mean of an example's windows."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.mean = body, Mean()

    def forward(self, x: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """(P, …) windows, and how many of them each example has (B,) → (B, width)."""
        return self.mean(self.body(x), length)  # type: ignore[no-any-return]

    def vectors(self, x: torch.Tensor) -> torch.Tensor:
        """One vector a window: the form that is exported."""
        return self.body(x)  # type: ignore[no-any-return]

    def after(self, x: torch.Tensor) -> torch.Tensor:
        """Nothing follows the mean."""
        return x


class Mean(nn.Module):
    """The mean over each example's rows."""

    def forward(self, rows: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """(sum of lengths, D) and (B,) → (B, D)."""
        owner = torch.arange(len(length), device=rows.device).repeat_interleave(length)
        return rows.new_zeros(len(length), rows.shape[1]).index_add(0, owner, rows) / length[:, None]


class Shipped(nn.Module):
    """A network as it is exported: an example's pieces are weighed by a matrix, so that no shape depends on values.

    Beside the logits it gives the features that they were made of, one vector an example; by row there is none.

    Args:
        known: features of training examples (M, D), of length 1; with them, answers come with their novelty.
    """

    def __init__(self, network: nn.Module, by_row: bool = False, known: torch.Tensor | None = None) -> None:
        super().__init__()
        self.network, self.by_row = network, by_row
        self.register_buffer("known", known)
        self.known: torch.Tensor | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """What it gives, by name, in order."""
        if self.by_row:
            return ("logits",)
        return ("logits", "features") if self.known is None else ("logits", "features", "novelty")

    def forward(
        self, x: torch.Tensor, share: torch.Tensor | None = None, **more: torch.Tensor
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Pieces (P, …), what each counts for in each example (B, P), and what goes with them → logits (B, outputs).

        By row, pieces (P, L) and what goes with them → logits of every token (P, L, outputs).
        """
        network, backbone = self.network, cast(Any, self.network.backbone)
        if share is None and not self.by_row:
            return self._answered(backbone(network.front(x), **more))  # type: ignore[operator]
        pieces = backbone.vectors(network.front(x), **more)  # type: ignore[operator]
        if share is None:
            return network.head(pieces)  # type: ignore[no-any-return,operator]
        return self._answered(backbone.after(share @ pieces))

    def _answered(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits, flat = cast(torch.Tensor, self.network.head(features)), features.flatten(1)  # type: ignore[operator]
        return (logits, flat) if self.known is None else (logits, flat, novelty(features, self.known))
