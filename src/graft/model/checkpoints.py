"""Where an unfinished run stands, on disk: written whole or not at all, without pickle."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from graft.core import home
from graft.core.codec import from_json, to_json
from graft.core.errors import GraftError
from graft.core.nouns import Cost, Epoch

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Progress:
    """How far an unfinished run has come: all but its tensors."""

    phase: int
    epoch: int
    record: tuple[float, float]  # best validation score and negated loss so far
    waited: int  # epochs since then
    history: tuple[Epoch, ...]
    untrained: tuple[str, ...]
    cost: Cost  # so far


@dataclass(frozen=True)
class Saved:
    """Where an unfinished run stands."""

    progress: Progress
    now: Tensors
    best: Tensors
    engine: Tensors  # the optimiser's moments
    terms: Tensors = field(default_factory=dict)  # what regularisers keep beside the network

    def write(self, place: Path) -> None:
        """Put it into the run's folder."""
        groups = {"now": self.now, "best": self.best, "engine": self.engine, "terms": self.terms}
        tensors = {f"{group}/{n}": t.detach().cpu() for group, held in groups.items() for n, t in held.items()}
        home.folder("runs", place.name, "checkpoint")
        with home.placed(place / "checkpoint" / "state.safetensors") as part:
            save_file(unshared(tensors), part, metadata={"progress": to_json(self.progress)})

    @classmethod
    def read(cls, place: Path) -> "Saved | None":
        """What stands in a run's folder; None where nothing whole does."""
        path = place / "checkpoint" / "state.safetensors"
        try:
            with safe_open(path, "pt") as file:
                progress = from_json(Progress, file.metadata()["progress"])
            tensors = load_file(path)
        except (OSError, SafetensorError, KeyError, GraftError):
            return None
        groups: dict[str, Tensors] = {"now": {}, "best": {}, "engine": {}, "terms": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        first, second = (-np.inf if np.isnan(value) else value for value in progress.record)  # JSON knows no infinity
        return cls(replace(progress, record=(first, second)), **groups)


def unshared(tensors: Tensors) -> Tensors:
    """Dense tensors, copied where two names share memory (tied weights): what safetensors asks for."""
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        dense = tensor.contiguous()
        address = dense.untyped_storage().data_ptr()
        out[name] = dense.clone() if address in seen else dense
        seen.add(address)
    return out
