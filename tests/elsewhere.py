"""A second device, pretended: its tensors say that they lie elsewhere, and torch refuses them beside those of the CPU.

What they hold lies on the CPU, and is computed there. So a machine without a GPU shows whether all of a computation
finds its way to the device and back, and to the same bits; not how fast, and not what a GPU's own kernels make of it.
Of the CPU's tensors, a device takes single numbers, and positions to look up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "elsewhere"
INDEXING = ("index", "index_put", "index_put_")
ROUNDED = ("linear", "conv1d", "conv2d", "matmul", "bmm", "addmm", "scaled_dot_product_attention")  # by autocast
_autocast = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
_kept: list[torch.library.Library] = []  # what is registered lasts as long as its library


class There(torch.Tensor):
    """A tensor of the device."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "There":
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=torch.device(NAME, 0),
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    @property
    def data(self) -> torch.Tensor:
        return self.detach()

    @data.setter
    def data(self, value: "There") -> None:
        torch.Tensor.data.__set__(self, value)
        self.held = value.held

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()


class Mode(TorchDispatchMode):
    """Tensors that are made for the device, and all that is done to them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    name = func.overloadpacket.__name__
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, There)]
    here = [tensor for tensor in tensors if not isinstance(tensor, There) and tensor.ndim]
    if name in INDEXING and there and not isinstance(args[0], There):
        raise RuntimeError(f"{func}: positions on {NAME} in a tensor of the CPU")
    if there and here and name not in (*INDEXING, "copy_"):
        shapes = [[tuple(tensor.shape) for tensor in each] for each in (there, here)]
        raise RuntimeError(f"{func}: {shapes[0]} are on {NAME}, and {shapes[1]} are not")
    asked = kwargs.get("device")
    goes = bool(there) if asked is None else torch.device(asked).type == NAME
    if name == "copy_":
        goes = isinstance(args[0], There)
    inside = {**kwargs, **({"device": torch.device("cpu")} if asked is not None else {})}
    found = func(*tree_map(_held, tuple(args)), **tree_map(_held, inside))
    own = {id(tensor.held): tensor for tensor in there}  # what worked in place gives back what it was given

    def placed(leaf: Any) -> Any:
        if not goes or not isinstance(leaf, torch.Tensor):
            return leaf
        return own[id(leaf)] if id(leaf) in own else There(leaf)

    return tree_map(placed, found)


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, There) else leaf


def _rounding(name: str) -> Callable[..., Any]:
    """An operation as autocast runs it: in bfloat16."""
    plain = getattr(torch.ops.aten, name).default

    def rounded(*args: Any, **kwargs: Any) -> Any:
        def low(leaf: Any) -> Any:
            return leaf.bfloat16() if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float32 else leaf

        with torch._C._ExcludeDispatchKeyGuard(_autocast):
            return plain(*tree_map(low, args), **tree_map(low, kwargs))

    return rounded


def _moving(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`torch.tensor` and its like, which fill the device's memory without any operation that could be seen."""

    def made(data: Any, dtype: torch.dtype | None = None, device: Any = None, **more: Any) -> torch.Tensor:
        if isinstance(data, torch.Tensor):
            return data.to(device=device or data.device, dtype=dtype or data.dtype)
        return make(data, dtype=dtype, **more).to(device or "cpu")

    return made


class _Device(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


def register() -> None:
    """Make the device known to torch, for the rest of the process."""
    _setup_privateuseone_for_python_backend(NAME, _Device())
    _kept[:] = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    _kept[0].fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in ROUNDED:
        _kept[1].impl(name, _rounding(name), "AutocastPrivateUse1")
    torch.tensor, torch.as_tensor = _moving(torch.tensor), _moving(torch.as_tensor)
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a parameter that moves is a new object


@contextmanager
def pretended() -> Iterator[None]:
    """Within the block, graft takes the device for this machine's own."""
    place = import_module("graft.build")
    real, place.device = place.device, lambda: NAME
    wait, torch.cuda.synchronize = torch.cuda.synchronize, lambda *_: None
    try:
        with Mode():
            yield
    finally:
        place.device, torch.cuda.synchronize = real, wait
