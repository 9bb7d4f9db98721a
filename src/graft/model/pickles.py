"""Weight files, read without running anything that is in them.

Safetensors hold no code. A pickle may name only tensors: torch reads it with `weights_only`, and the few older files
that torch refuses go through `unpickle`, which knows seven harmless names and no others.
"""

import argparse
import collections
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graft.core.errors import BackboneError

# Where training scripts put the network inside what they save, the plain weights before their moving averages.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "state_dict_ema", "model_ema", "ema")


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file by name: safetensors, or what `torch.save` wrote (.pth, .pt, .bin).

    Raises:
        BackboneError: the file is missing, cut short, damaged, or holds something besides tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise BackboneError(f"There is no weight file {path}.")
    try:
        with path.open("rb") as file:
            head = file.read(9)
        if head[8:] == b"{":  # eight bytes of length, then JSON: safetensors, whatever the file is called
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # training scripts leave their arguments beside
            tree = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has its own dozen ways to say that a file is broken
        raise BackboneError(f"{path} cannot be read as weights: {_reason(error)}") from error
    if found := tensors(tree):
        return found
    raise BackboneError(
        f"{path} holds no named tensors. Give a state dict, as torch.save(model.state_dict(), …) writes."
    )


def tensors(tree: Any) -> dict[str, Tensor]:
    """The state dict in what a training script saved: the first wrapper that holds tensors, else the tree itself."""
    if not isinstance(tree, Mapping):
        return {}
    for name in WRAPPERS:
        if isinstance(tree.get(name), Mapping) and (inner := tensors(tree[name])):
            return inner
    return {name: value for name, value in tree.items() if isinstance(name, str) and isinstance(value, Tensor)}


def unpickle(path: str | Path) -> Any:
    """A pickle of tensors or arrays, with every name it may ask for listed here.

    Raises:
        BackboneError: the file is damaged or asks for anything else.
    """
    try:
        with Path(path).open("rb") as file:
            return _Tensors(file).load()
    except Exception as error:  # a damaged pickle fails in whatever its bytes happen to spell
        raise BackboneError(f"{path} cannot be read as weights: {_reason(error)}") from error


def _storage(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


class _Tensors(pickle.Unpickler):
    _reconstruct = np.empty(0).__reduce__()[0]  # numpy's own way to start an array, under whichever name it has today
    KNOWN = {  # noqa: RUF012
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch.storage", "_load_from_bytes"): _storage,  # torch's own would unpickle anything
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not a tensor")
        return self.KNOWN[module, name]


def _reason(error: Exception) -> str:
    text = str(error)
    if "Weights only load failed" in text or "weights_only" in text:  # torch's advice there is to trust the file
        return "it is not a plain state dict (it names Python objects, or is not a weight file at all)."
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return first if first.endswith(".") else f"{first}."
