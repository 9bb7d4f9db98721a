"""The regularisers of one phase: what they are shown of a training step, and what they keep beside the network.

A file on the shelf holds `STRENGTH`, its default, `NEEDS`, what it cannot do without, and one of

    penalty(seen) -> scalar                     a term of the loss, which the strength multiplies
    blend(x, strength, rng) -> Blend            what the network is fed instead of a batch
    share(strength, step) -> float              of the average of weights that a step leaves as it was
    settle(chain, batches)                      done to the network once, not in the loss

and, where a term learns something itself, `own(width) -> Module`; where it weighs the stages' channels by what they
mean to the loss as the phase begins, `weigh(outputs, gradients) -> weights`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.model.adamw import AdamW
from graft.model.chain import Rest
from graft.model.contrast import watched
from graft.model.cuts import first, replaced
from graft.model.modes import precision

Tensors = dict[str, torch.Tensor]
Draw = Callable[[np.ndarray, int], Tensors]


@dataclass(frozen=True)
class Seen:
    """One training step. Vectors are what the head is given; stages are told by name.

    Shape: vectors (B, D), target (B, D), now and before (B, …) each.
    """

    network: nn.Module
    vectors: torch.Tensor
    origin: Mapping[str, torch.Tensor] = field(default_factory=dict)  # pretrained weights, by parameter
    now: Mapping[str, torch.Tensor] = field(default_factory=dict)  # outputs of the stages that learn
    before: Mapping[str, torch.Tensor] = field(default_factory=dict)  # what the pretrained network made of the same
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)  # of the channels of those, (C,) each
    target: torch.Tensor | None = None  # vectors of examples of the target domain
    own: Any = None  # what the term itself learns
    progress: float = 0.0  # share of the phase's steps that are done


@dataclass(frozen=True)
class Blend:
    """What the network is fed instead of a batch, and with whose target each example's own is mixed."""

    x: torch.Tensor
    partner: torch.Tensor | None = None  # (B,) rows of the batch
    share: float = 1.0  # of the example's own target


class Terms:
    """The regularisers of one phase, and their state.

    Args:
        chosen: files of the shelf with their strengths; a strength of zero is no regulariser at all.
        rest: what learns.
        moving: every tensor that training changes, by name.
        origin: pretrained weights.
        before: (rows, epoch) → what the pretrained network's stages make of these examples.
        target: (rows, epoch) → a batch of the target domain, of which there are `targets`.
        dtype: of the activations while training.
        every: whether a term looks at each stage that learns.
    """

    def __init__(
        self,
        chosen: Sequence[tuple[Any, float]] = (),
        rest: Rest | None = None,
        moving: Tensors | None = None,
        origin: Tensors | None = None,
        before: Draw | None = None,
        target: Draw | None = None,
        targets: int = 0,
        dtype: str = "float32",
        every: bool = False,
    ) -> None:
        self.rest, self.moving, self.origin = rest, moving or {}, origin or {}
        self.before, self.target, self.targets, self.dtype, self.every = before, target, targets, dtype, every
        chosen = [(file, strength) for file, strength in chosen if strength]
        self.penalties = [pair for pair in chosen if hasattr(pair[0], "penalty")]
        self.blends = [pair for pair in chosen if hasattr(pair[0], "blend")]
        self.averages = [pair for pair in chosen if hasattr(pair[0], "share")]
        self.aside = {name: tensor.detach().clone() for name, tensor in self.moving.items()} if self.averages else {}
        self.weights: Tensors = {}
        self.own: dict[str, nn.Module] = {}
        for file, _ in self.penalties:
            if rest is not None and hasattr(file, "own"):
                place = next(rest.network.parameters()).device
                self.own[file.__name__.rpartition(".")[2]] = file.own(_width(rest)).to(place)

    def join(self, engine: AdamW, lr: float) -> None:
        """Let what the terms themselves learn be learned, at the head's rate."""
        for module in self.own.values():
            engine.add_param_group({"params": list(module.parameters()), "lr": lr, "scale": 1.0, "weight_decay": 0.0})

    def state(self) -> Tensors:
        """What a run that goes on needs of them."""
        owned = {f"own/{name}/{n}": t for name, module in self.own.items() for n, t in module.state_dict().items()}
        named = {"aside": self.aside, "weights": self.weights}
        return owned | {f"{kind}/{name}": tensor for kind, held in named.items() for name, tensor in held.items()}

    def load(self, state: Tensors) -> None:
        """Go on from a state."""
        for name, module in self.own.items():
            module.load_state_dict({n: state[f"own/{name}/{n}"] for n in module.state_dict()})
        for kind, held in {"aside": self.aside, "weights": self.weights}.items():
            for name, tensor in held.items():
                tensor.copy_(state[f"{kind}/{name}"])

    def swap(self) -> None:
        """Exchange the weights that learn and their average; between epochs the network holds the average."""
        with torch.no_grad():
            for name, held in self.aside.items():
                self.aside[name] = self.moving[name].detach().clone()
                self.moving[name].copy_(held)

    def follow(self, step: int) -> None:
        """Move the average after a step, the phase's first being 0."""
        for file, strength in self.averages:
            share = file.share(strength, step)
            with torch.no_grad():
                for name, held in self.aside.items():
                    now = self.moving[name].detach()
                    held.lerp_(now, 1 - share) if held.is_floating_point() else held.copy_(now)

    def fed(self, batch: Tensors, seed: int) -> tuple[Tensors, Blend | None]:
        """The batch as the network is fed it, and how its targets are mixed."""
        blend, rng = None, np.random.default_rng(seed)
        for file, strength in self.blends:
            name = "h" if "h" in batch else "x"
            one = file.blend(batch[name], strength, rng)
            blend, batch = (one if one.partner is not None else blend), {**batch, name: one.x}
        return batch, blend

    @contextmanager
    def stages(self) -> Iterator[Tensors]:
        """Within the block, what the stages that learn put out, where a term asks for it."""
        seen: Tensors = {}
        if not self.every or self.rest is None:
            yield seen
            return
        frozen = self.rest.cut.modules if self.rest.cut else frozenset()

        def kept(_module: nn.Module, _given: Any, out: Any, name: str) -> Any:
            seen[name] = first(out)
            return replaced(
                out, seen[name].clone()
            )  # the network goes on with a copy: its next layer may work in place

        hooks = [
            self.rest.network.get_submodule(cut.name).register_forward_hook(partial(kept, name=cut.name))
            for cut in self.rest.chain.stages
            if cut.name not in frozen
        ]
        try:
            yield seen
        finally:
            for hook in hooks:
                hook.remove()

    def penalty(
        self, vectors: torch.Tensor, now: Tensors, rows: np.ndarray, epoch: int, progress: float, seed: int
    ) -> torch.Tensor:
        """The terms' sum for the batch of these rows, each times its strength."""
        assert self.rest is not None
        network, target, before = self.rest.network, None, dict[str, torch.Tensor]()
        if self.before is not None:
            before = self.before(rows, epoch)
        if self.target is not None:
            drawn = np.random.default_rng(seed).choice(self.targets, len(rows), replace=self.targets < len(rows))
            batch = self.target(drawn, epoch)
            with watched(network.get_submodule("head")) as given, precision(self.dtype, vectors.device.type):
                self.rest(batch)
            target = given[-1].float()
        total = vectors.new_zeros((), dtype=torch.float32)
        for file, strength in self.penalties:
            own = self.own.get(file.__name__.rpartition(".")[2])
            seen = Seen(network, vectors.float(), self.origin, now, before, self.weights, target, own, progress)
            total = total + strength * file.penalty(seen)
        return total


def _width(rest: Rest) -> int:
    """How many numbers the head is given."""
    with torch.no_grad(), watched(rest.network.get_submodule("head")) as vectors:
        rest.network.eval()(**rest.chain.example)
    return vectors[-1].shape[-1]
