"""Small facts about modules and tensors: norms, layout, content, pooling, eval mode, precision."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

ROUNDED = (nn.Linear, nn.Conv1d, nn.Conv2d)  # and no classes made from them, which may reckon with their weights


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises: batch norm of any kind, layer, group or RMS norm."""
    return "norm" in type(module).__name__.lower() and not any(True for _ in module.children())


def layout(tensor: torch.Tensor) -> list[int]:
    """The dimensions behind the first, from the slowest in memory to the fastest: [1, 2, 3] for plain maps."""
    rest = list(range(1, tensor.ndim))
    return rest if tensor.is_contiguous() else sorted(rest, key=tensor.stride, reverse=True)


def laid(tensor: torch.Tensor, order: list[int]) -> torch.Tensor:
    """The same values in this layout: which kernels run, and so the last bits, depend on it."""
    if order == sorted(order):
        return tensor
    back = [0, *(1 + order.index(at) for at in range(1, tensor.ndim))]
    return tensor.permute(0, *order).contiguous().permute(back)


def content(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor's values, the same in any layout and on any device."""
    return tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data


def detached(output: Any) -> Any:
    """A module's output, whatever its structure, with no gradient attached to its tensors."""
    return torch.utils._pytree.tree_map(lambda leaf: leaf.detach() if isinstance(leaf, torch.Tensor) else leaf, output)


def pooled(h: torch.Tensor, channels: int = -1, lengths: torch.Tensor | None = None) -> torch.Tensor:
    """One vector an example: the mean over positions of maps or tokens, and over its rows.

    Args:
        channels: which dimension of an entry they are; the mean is over the others.

    Shape: (B, …) → (B, D); with `lengths` (B,), the rows of each, (sum of lengths, …) → (B, D).
    """
    if h.ndim > 2:
        h = h.movedim(-1 if channels else 1, 1).flatten(2).mean(2)
    if lengths is None:
        return h
    owner = torch.arange(len(lengths)).repeat_interleave(lengths)
    return h.new_zeros(len(lengths), h.shape[1]).index_add(0, owner, h) / lengths[:, None]


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode within the block; each module's own mode afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def learning(network: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Every parameter asks for a gradient within the block, in eval mode: nothing random, no statistics moved."""
    wanted = [p for p in network.parameters() if p.is_floating_point()]
    states = [p.requires_grad for p in wanted]
    for p in wanted:
        p.requires_grad_(True)
    try:
        with evaluating(network), torch.enable_grad():
            yield wanted
    finally:
        for p, state in zip(wanted, states, strict=True):
            p.requires_grad_(state)


def roundable(network: nn.Module) -> list[nn.Parameter]:
    """Weights that autocast rounds to bfloat16 whenever they are used: those of plain layers that share them with
    nobody, since an embedding, say, reads its own as they are."""
    owners = Counter(id(one) for module in network.modules() for one in module._parameters.values())
    layers = [module for module in network.modules() if type(module) in ROUNDED]
    return [one for layer in layers for one in layer.parameters(recurse=False) if owners[id(one)] == 1]


@contextlib.contextmanager
def standing_in(others: Sequence[tuple[nn.Parameter, torch.Tensor]]) -> Iterator[None]:
    """Parameters with other values within the block."""
    own = [parameter.data for parameter, _ in others]
    try:
        for parameter, other in others:
            parameter.data = other
        yield
    finally:
        for (parameter, _), value in zip(others, own, strict=True):
            parameter.data = value


def precision(dtype: str, device: str) -> contextlib.AbstractContextManager[Any]:
    """Activations in bfloat16 where that is asked for, weights staying float32; or in float32, on a GPU, too."""
    kind = device.split(":")[0]
    if dtype == "bfloat16":
        return torch.autocast(kind, dtype=torch.bfloat16)
    if kind != "cuda":
        return contextlib.nullcontext()
    # All bits of it: by itself torch convolves in the ten of TF32 there, and a CPU's features would be others.
    own = torch.backends.cudnn
    return own.flags(own.enabled, own.benchmark, own.benchmark_limit, own.deterministic, allow_tf32=False)


def pinned(batch: Mapping[str, torch.Tensor], device: str) -> dict[str, torch.Tensor]:
    """A batch where a GPU can fetch it from while this process goes on; for other devices as it is."""
    gpu = device.split(":")[0] == "cuda"
    return {name: value.pin_memory() if gpu and value.device.type == "cpu" else value for name, value in batch.items()}


def sent(batch: Mapping[str, torch.Tensor], device: str | torch.device) -> dict[str, torch.Tensor]:
    """A batch on a device; what is pinned arrives while this process goes on, before what the device does next."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}
