"""Where an unfinished run stands, on disk: written whole or not at all, without pickle."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from graft.core import home
from graft.core.codec import from_dict, to_json
from graft.core.nouns import Epoch


class Saved:
    """Where an unfinished run stands: written whole or not at all, without pickle."""

    def __init__(
        self,
        phase: int,
        epoch: int,
        record: tuple[float, float],
        waited: int,
        history: tuple[Epoch, ...],
        untrained: tuple[str, ...],
        now: dict[str, torch.Tensor],
        best: dict[str, torch.Tensor],
        engine: dict[str, torch.Tensor],
    ) -> None:
        self.phase, self.epoch, self.record, self.waited = phase, epoch, record, waited
        self.history, self.untrained, self.now, self.best, self.engine = history, untrained, now, best, engine

    def write(self, place: Path) -> None:
        facts = {
            "phase": self.phase, "epoch": self.epoch, "record": self.record, "waited": self.waited,
            "history": [asdict(epoch) for epoch in self.history], "untrained": self.untrained,
        }  # fmt: skip
        groups = {"now": self.now, "best": self.best, "engine": self.engine}
        tensors = {
            f"{group}/{n}": t.detach().contiguous().cpu() for group, held in groups.items() for n, t in held.items()
        }
        home.folder("runs", place.name, "checkpoint")
        with home.placed(place / "checkpoint" / "state.safetensors") as part:
            save_file(_unshared(tensors), part, metadata={"facts": to_json(facts)})

    @classmethod
    def read(cls, place: Path) -> "Saved | None":
        from safetensors import SafetensorError, safe_open

        path = place / "checkpoint" / "state.safetensors"
        try:
            with safe_open(path, "pt") as file:
                facts: dict[str, Any] = json.loads(file.metadata()["facts"])
            tensors = load_file(path)
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        groups: dict[str, dict[str, torch.Tensor]] = {"now": {}, "best": {}, "engine": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        first, second = (-np.inf if value is None else value for value in facts["record"])
        history = tuple(from_dict(Epoch, epoch) for epoch in facts["history"])
        return cls(
            facts["phase"],
            facts["epoch"],
            (first, second),
            facts["waited"],
            history,
            tuple(facts["untrained"]),
            **groups,
        )


def _unshared(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies where two names share memory (tied weights), which safetensors refuses."""
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        address = tensor.untyped_storage().data_ptr()
        out[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    return out


def state_of(engine: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {f"{i}/{n}": t for i, slot in engine.state_dict()["state"].items() for n, t in slot.items()}


def restore(engine: torch.optim.Optimizer, held: dict[str, torch.Tensor]) -> None:
    """Put the moments back, each in the memory layout of its parameter: the fused step walks both side by side."""
    parameters = [parameter for group in engine.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in held.items():
        index, _, slot = name.partition("/")
        like = parameters[int(index)]
        laid = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor) if tensor.shape == like.shape else tensor
        state.setdefault(int(index), {})[slot] = laid
    engine.load_state_dict({**engine.state_dict(), "state": state})
