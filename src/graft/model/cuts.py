"""Where a network can be cut: found by watching which tensors are alive, for any network.

A **cut** is an instant of the forward pass at which the only tensor that still depends on the input is the output of
one module. Everything before it can be run once and stored; everything after it can resume from what was stored.
Masks, positions and other tensors that do not depend on the input's values do not count: the network's own code
computes them again on resume.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from graft.model.packing import Lay

NEVER, ALWAYS = -1, 1 << 62


@dataclass(frozen=True)
class Cut:
    """One instant at which the network can be parted."""

    name: str  # of the module whose output is all that is alive
    shape: tuple[int, ...]  # of that output, for one row or example
    flops: int  # floating-point operations done so far, for the traced batch
    parameters: frozenset[str]  # reached so far: frozen when the boundary stands here
    modules: frozenset[str]  # whose last call is over
    unit: str = "example"  # what an entry of it is; see `Lay.unit`
    channels: int = -1  # which dimension of `shape` they are, the others being positions: 0 or the last


def first(output: Any) -> torch.Tensor:
    """The first tensor of a module's output, be it a tensor, a tuple or a mapping."""
    if isinstance(output, torch.Tensor):
        return output
    return first(next(iter(output.values())) if isinstance(output, Mapping) else output[0])


def replaced(output: Any, tensor: torch.Tensor) -> Any:
    """The same output with its first tensor replaced."""
    if isinstance(output, torch.Tensor):
        return tensor
    if isinstance(output, Mapping):
        head = next(iter(output))
        return type(output)(**{**output, head: replaced(output[head], tensor)})
    if hasattr(output, "_fields"):
        return type(output)(replaced(output[0], tensor), *output[1:])
    return type(output)([replaced(output[0], tensor), *output[1:]])


def _storages(values: Any) -> Iterator[int]:
    for leaf in tree_leaves(values):
        if isinstance(leaf, torch.Tensor):
            yield leaf.untyped_storage()._cdata


class _Watch(TorchDispatchMode):
    """Notes, per storage, when it was born of the input, when it was last read, and which parameters went into it."""

    def __init__(self, source: torch.Tensor, parameters: dict[int, int]) -> None:
        super().__init__()
        from torch.utils.flop_counter import flop_registry  # with it comes a compiler, which nothing else asks for

        self.known = flop_registry
        self.clock = self.flops = 0
        self.kept: list[Any] = [source]  # storages are told apart by address: none may be freed meanwhile
        self.born = {source.untyped_storage()._cdata: 0}
        self.read: dict[int, int] = {}
        self.reached = dict(parameters)  # storage → bit set of parameters

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch loads its compiler, to tell it to skip this: two seconds, and nothing is compiled

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.clock += 1
        out = op(*args, **kwargs)
        if (count := self.known.get(op._overloadpacket)) is not None:
            self.flops += count(*args, **kwargs, out_val=out)
        sources = set(_storages((args, kwargs)))
        hot = sources & self.born.keys()
        for storage in hot:
            self.read[storage] = self.clock
        bits = 0
        for storage in sources:
            bits |= self.reached.get(storage, 0)
        self.kept.append(out)
        for storage in _storages(out):
            if hot:
                self.born.setdefault(storage, self.clock)
            if bits:
                self.reached[storage] = self.reached.get(storage, 0) | bits
        return out


@torch.no_grad()
def find(module: nn.Module, inputs: Mapping[str, torch.Tensor], main: str = "x", lay: Lay | None = None) -> list[Cut]:
    """All cuts of `module(**inputs)`, in the order of the forward pass; only `inputs[main]` counts as the input.

    The module must be in eval mode. A network that keeps several tensors alive throughout has no cut. Where examples
    are ragged, `lay` says how they lie, and an output that holds neither rows nor examples is no cut; nor are numbers
    that mean something else (tokens).
    """
    named = list(module.named_parameters(remove_duplicate=False))
    bits: dict[int, int] = {}
    for index, (_, parameter) in enumerate(named):
        storage = parameter.untyped_storage()._cdata
        bits[storage] = bits.get(storage, 0) | 1 << index
    watch = _Watch(inputs[main], bits)
    calls: list[tuple[str, int, int, torch.Tensor]] = []
    hooks = [
        child.register_forward_hook(
            lambda _m, _i, out, name=name: calls.append((name, watch.clock, watch.flops, first(out)))
        )
        for name, child in module.named_modules()
        if name
    ]
    try:
        with watch:
            result = module(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for storage in _storages(dict(result) if isinstance(result, Mapping) else result):
        watch.read[storage] = ALWAYS

    over = {name: clock for name, clock, _, _ in calls}  # the last call's end
    often = {name for name in over if sum(name == other for other, *_ in calls) > 1}
    chosen: dict[int, tuple[int, str, int, torch.Tensor, int]] = {}
    told: dict[int, tuple[int, int]] = {}  # of outputs of so many dimensions: which is the channels', and how many
    for name, clock, flops, out in calls:
        storage = out.untyped_storage()._cdata
        if at := _channels(module.get_submodule(name), out):
            told[out.ndim] = at, out.shape[at]
        alive = {s for s, birth in watch.born.items() if birth <= clock < watch.read.get(s, NEVER)}
        # One cut per tensor: where it is first returned, or the outermost module around that place which returns it
        # too. A later view of it elsewhere is none: what else reads the tensor would miss it on resume.
        if name in often or alive != {storage}:
            continue
        if storage not in chosen or chosen[storage][1].startswith(f"{name}."):
            chosen[storage] = (clock, name, flops, out, _kept(out, *told.get(out.ndim, (-1, 0))))

    cuts = []
    for clock, name, flops, out, channels in sorted(chosen.values(), key=lambda found: found[0]):
        modules = frozenset(n for n, end in over.items() if end <= clock)
        own = {f"{n}.{p}" for n in modules for p, _ in module.get_submodule(n).named_parameters(recurse=False)}
        mask = watch.reached.get(out.untyped_storage()._cdata, 0)
        used = {n for index, (n, _) in enumerate(named) if mask >> index & 1}
        unit = lay.unit(out.shape) if lay else "example"
        if unit and out.is_floating_point():
            shape = tuple(out.shape[2 if unit in ("packed", "padded") else 1 :])
            cuts.append(Cut(name, shape, flops, frozenset(own | used), modules, unit, channels))
    return cuts


def _channels(layer: nn.Module, out: torch.Tensor) -> int:
    """Which dimension of a layer's output its channels are: the one as long as its weight; 0 where nothing tells."""
    if isinstance(layer, nn.RNNBase):
        return out.ndim - 1
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, torch.Tensor) or not weight.ndim or out.ndim < 3:
        return 0
    width = getattr(layer, "out_channels", len(weight))
    # Where both ends are as long: convolutions and batch and group norms have them first, and so have maps.
    before = weight.ndim > 2 or out.ndim > 3 or hasattr(layer, "num_features") or hasattr(layer, "num_groups")
    order = (1, out.ndim - 1) if before else (out.ndim - 1, 1)
    return next((at for at in order if out.shape[at] == width), 0)


def _kept(out: torch.Tensor, at: int, width: int) -> int:
    """Where the channels of the last layer before an output went: 0 or -1, within one example's output."""
    ends = {1: 0, out.ndim - 1: -1}
    if out.ndim > 2 and out.shape[at] != width:  # turned round since, if the other end is as long
        at = next((other for other in ends if other != at and out.shape[other] == width), at)
    return ends.get(at, -1)


def group(cuts: list[Cut], most: int = 8) -> list[Cut]:
    """A handful of the cuts, each the last of a stage: enough for a stage curve and a plan, few enough to probe.

    Cuts without a parameter between them are one stage. Stages follow the network's own containers (`layer3`,
    `blocks.5`), opened only while one holds more than 40 % of the work; then the smallest neighbours are joined.
    """
    if not cuts:
        return []
    runs: list[list[Cut]] = []  # cuts with the same parameters behind them
    for cut in cuts:
        if runs and not cut.parameters - runs[-1][0].parameters:
            runs[-1].append(cut)
        else:
            runs.append([cut])
    runs = [run for run in runs if run[0].parameters] or runs[-1:]
    kept = [run[-1] for run in runs]
    total = max(kept[-1].flops, 1)
    parts = [run[0].name.split(".") for run in runs]
    shared = 0  # leading components that all names but the outermost have in common: "backbone."
    while len({tuple(p[: shared + 1]) for p in parts if len(p) > shared + 1}) == 1:
        shared += 1

    def share(members: list[int]) -> float:
        before = kept[members[0] - 1].flops if members[0] else 0
        return (kept[members[-1]].flops - before) / total

    def split(members: list[int], depth: int) -> list[list[int]]:
        groups: list[list[int]] = []
        for i in members:
            if groups and parts[groups[-1][-1]][:depth] == parts[i][:depth]:
                groups[-1].append(i)
            else:
                groups.append([i])
        deeper = max(len(parts[i]) for i in members) > depth
        return [
            part
            for one in groups
            for part in (split(one, depth + 1) if deeper and len(one) > 1 and share(one) > 0.4 else [one])
        ]

    stages = split(list(range(len(kept))), shared + 1)
    while len(stages) > 1:
        costs = [share(a) + share(b) for a, b in pairwise(stages)]
        at = min(range(len(costs)), key=costs.__getitem__)
        small = min(share(stages[at]), share(stages[at + 1])) < 0.02
        if len(stages) <= most and not small:
            break
        stages[at : at + 2] = [stages[at] + stages[at + 1]]
    return [kept[members[-1]] for members in stages]
