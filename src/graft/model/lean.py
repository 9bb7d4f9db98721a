"""Imports without torch's compiler, which timm and torchvision load in passing: half of what importing them costs."""

import importlib
import sys
from collections.abc import Callable
from threading import RLock
from types import ModuleType
from typing import Any

NAMES = ("torch._dynamo", "torch._dynamo.utils")
ASKED = "is_compile_supported"  # what torchvision takes of it
_alone = RLock()


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
        if name == ASKED:
            return lambda device: getattr(_real(self.__name__), ASKED)(device)
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
