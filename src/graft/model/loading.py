"""Weights into a network, key by key, with an account of what fitted."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from graft.core.errors import BackboneError
from graft.core.nouns import Loading

Convert = Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]]


def load(module: nn.Module, state: Mapping[str, Tensor], convert: Convert | None = None) -> Loading:
    """Copy into `module` every tensor of `state` whose name and shape fit, and say what did not.

    A prefix that the names share ("module.", "backbone.") is taken off. `convert` is the library's own rule for older
    names and other image sizes; it is tried where the names as they are leave something open, and kept if it fits more.

    Raises:
        BackboneError: less than half of the network's tensors were found, or one of them holds NaN.
    """
    wanted = module.state_dict()
    prefix = _prefix(state, wanted)
    inner = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    outer = tuple(name for name in state if not name.startswith(prefix))
    if convert is not None and len(_fitting(inner, wanted)) < len(wanted):
        with contextlib.suppress(Exception):  # a rule written for published files may choke on this one
            inner = max(inner, convert(dict(inner), module), key=lambda one: len(_fitting(one, wanted)))
    fitting = _fitting(inner, wanted)
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]  # absent from older files; unused
    if 2 * sum(name in fitting for name in needed) < len(needed):
        raise BackboneError(_misfit(module, state, wanted, len(fitting)))
    for name, tensor in fitting.items():
        if tensor.is_floating_point() and bool(torch.isnan(tensor).any()):
            raise BackboneError(f"{name} in these weights holds values that are not numbers: the file is damaged.")
    with torch.no_grad():  # not load_state_dict: some networks' own version of it wants more than names and tensors
        for name, tensor in fitting.items():
            wanted[name].copy_(tensor)
    return Loading(
        matched=len(fitting),
        missing=tuple(name for name in needed if name not in inner),
        unused=tuple(name for name in inner if name not in wanted) + outer,
        shape=tuple(name for name in inner if name in wanted and name not in fitting),
    )


def _fitting(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name in wanted and wanted[name].shape == tensor.shape}


def _prefix(state: Iterable[str], wanted: Mapping[str, Tensor]) -> str:
    """What to take off the names in the file so that most of them are names of the network."""
    counts: Counter[str] = Counter({"": 0})
    for name in state:
        parts = name.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in wanted:
                counts["".join(f"{part}." for part in parts[:depth])] += 1
    return max(counts, key=lambda prefix: (counts[prefix], -len(prefix)))


def _misfit(module: nn.Module, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], found: int) -> str:
    def some(names: Iterable[str], of: Mapping[str, Tensor]) -> str:
        shown = [f"{name} {tuple(of[name].shape)}" for name in names if not name.endswith("num_batches_tracked")]
        return ", ".join(shown[:3]) + (" …" if len(shown) > 3 else "")

    return (
        f"These weights do not fit the network ({type(module).__name__}): {found} of its {len(wanted)} tensors were "
        f"found. It has {some(wanted, wanted)}; the file has {some(state, state)}. Name the architecture that they "
        "were trained with."
    )
