"""Imports without torch's compiler, which timm, torchvision and transformers load in passing: half of their cost."""

import importlib
import os
import sys
from collections.abc import Callable
from threading import RLock
from types import ModuleType
from typing import Any

NAMES = ("torch._dynamo", "torch._dynamo.utils", "torch._dynamo._trace_wrapped_higher_order_op")
CALLED = ("is_compile_supported", "TransformGetItemToIndex")  # what is taken of them and called later, if at all
MARKS = ("assume_constant_result", "allow_in_graph")  # told to a compiler that is not there
CLUSTER = ("is_torch_distributed_available", "is_torch_flex_attn_available")  # what transformers asks before loading it
PARTS = ("transformers.generation.utils", "transformers.modeling_layers")  # what all its networks load
_alone = RLock()
_own = False


def own() -> None:
    """This process is graft's alone: nobody else in it asks a library for what it is not told to load."""
    global _own
    _own = True


def transformers() -> None:
    """In a process of graft's own, load what all networks of transformers load, without what it would load for clusters
    and for compiled attention: the compiler comes with either. To be called before any of them is imported."""
    if not _own or "WORLD_SIZE" in os.environ or "transformers.modeling_utils" in sys.modules:
        return
    utils = importlib.import_module("transformers.utils")
    asked = [(place, name, getattr(place, name)) for place in (utils, utils.import_utils) for name in CLUSTER]
    try:
        for place, name, _ in asked:
            setattr(place, name, lambda: False)
        for part in PARTS:
            lean(part)
    finally:
        for place, name, known in asked:
            setattr(place, name, known)


def lean(name: str) -> Any:
    """A module, for whose import the compiler is loaded only if something uses it."""
    import torch

    with _alone:
        if NAMES[0] in sys.modules:
            return importlib.import_module(name)
        known = torch.compiler.disable
        sys.modules.update({name: _Later(name) for name in NAMES})
        torch.compiler.disable = _marked
        try:
            return importlib.import_module(name)
        finally:
            torch.compiler.disable = known
            _give_way()


class _Later(ModuleType):
    """Stands for a module until something of it is used."""

    __path__ = []  # a package  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name in CALLED:
            return lambda *args: getattr(_real(self.__name__), name)(*args)
        if name in MARKS:
            return lambda fn: fn
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


def _real(name: str) -> ModuleType:
    _give_way()
    return importlib.import_module(name)


def _give_way() -> None:
    for name in NAMES:
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]


def _marked(fn: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """As `torch.compiler.disable`, which loads the compiler in order to set this mark."""
    if fn is None:
        return lambda fn: _marked(fn, recursive, reason=reason)
    fn._torchdynamo_disable = True  # type: ignore[attr-defined]
    return fn
