"""A network as a chain of stages, parted at the freeze boundary into a frozen prefix and the rest.

    rest(prefix(x)) == network(x)        at every boundary, to the bit

The boundary is never configured: it is the first stage with something to learn. The prefix runs without gradient, in
eval mode, always at one batch size; the rest is the same untouched module, its finished stages answered for by the
stored output.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from graft.core.errors import BackboneError, PlanError, nearest
from graft.core.keys import installed, key
from graft.core.nouns import Form
from graft.model.cuts import Cut, find, first, group, replaced
from graft.model.modes import content, detached, evaluating, is_channels_last, is_norm, precision

Tensors = Mapping[str, torch.Tensor]
MOMENTUM = (
    0.1  # least share of a batch in a norm's statistics: 0.01, made for long training, never arrives in a short one
)


class Chain:
    """A network, its cuts, and its stages.

    Args:
        network: any module; the one part it may name is `head`, which is never frozen as part of a stage.
        example: keyword arguments for one forward pass, two rows or more, as the network is really fed.
        main: the argument that carries the example itself; the others (masks) only accompany it.
    """

    def __init__(self, network: nn.Module, example: Tensors, main: str = "x") -> None:
        self.network, self.main = network.eval(), main
        self.example = {name: value[:2] for name, value in example.items()}
        self.cuts = [cut for cut in find(network, self.example, main) if cut.name.split(".")[0] != "head"]
        self.stages = group(self.cuts)
        self.boundary = 0
        self._templates: dict[Any, dict[str, Any]] = {}
        for cut in self.stages:
            if not self.exact(cut):
                raise BackboneError(
                    f"{type(network).__name__} does not resume exactly at {cut.name}: its forward pass keeps state "
                    "outside its tensors. Please report the architecture."
                )

    def exact(self, cut: Cut) -> bool:
        """Whether resuming from this cut gives the network's own output, bit for bit, on the example."""
        prefix, rest = Prefix(self, cut, Form(batch=len(self.example[self.main]))), Rest(self, cut)
        with torch.no_grad(), evaluating(self.network):
            whole = first(self.network(**self.example))
            others = {name: value for name, value in self.example.items() if name != self.main}
            return torch.equal(first(rest({"h": prefix.forward(self.example), **others})), whole)

    def stage_parameters(self, index: int) -> frozenset[str]:
        """Names of the parameters that stage `index` is the first to use."""
        before = self.stages[index - 1].parameters if index else frozenset()
        return self.stages[index].parameters - before

    def select(self, selectors: Iterable[str]) -> set[str]:
        """Names of the parameters that these selectors mean.

        Selectors: "head", "stages[2]", "stages[1:3]", "stages[4:]", "norm" (of every norm layer), "bias".

        Raises:
            PlanError: a selector is unknown or names a stage that the backbone does not have.
        """
        names = {name for name, _ in self.network.named_parameters()}
        chosen: set[str] = set()
        for selector in selectors:
            if selector == "head":
                chosen |= {name for name in names if name.split(".")[0] == "head"}
            elif selector == "bias":
                chosen |= {name for name in names if name.endswith("bias")}
            elif selector == "norm":
                chosen |= {
                    f"{n}.{p}"
                    for n, m in self.network.named_modules()
                    if is_norm(m)
                    for p, _ in m.named_parameters(recurse=False)
                }
            elif found := re.fullmatch(r"stages\[(\d+)(:)?(\d+)?\]", selector):
                start = int(found[1])
                stop = int(found[3] or len(self.stages)) if found[2] else start + 1
                if start > len(self.stages) or stop > len(self.stages):
                    raise PlanError(
                        f"{selector} is asked for, but the backbone has {len(self.stages)} stages, "
                        f"stages[0] to stages[{len(self.stages) - 1}]: {', '.join(s.name for s in self.stages)}."
                    )
                chosen |= {name for index in range(start, stop) for name in self.stage_parameters(index)}
            else:
                raise PlanError(
                    f"There is no selector {selector!r}.{nearest(selector, ('head', 'stages[0:]', 'norm', 'bias'))}"
                )
        return chosen

    def freeze(self, selectors: Iterable[str]) -> int:
        """Let these parameters learn and no others; returns the boundary: the first stage with something to learn.

        A parameter that several stages share belongs to the first one that uses it.
        """
        chosen = self.select(selectors)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in chosen)
        learning = (index for index in range(len(self.stages)) if self.stage_parameters(index) & chosen)
        self.boundary = next(learning, len(self.stages))
        return self.boundary

    def split(self, boundary: int | None = None, form: Form = Form()) -> tuple["Prefix", "Rest"]:
        """The frozen prefix before the boundary, and the rest."""
        at = self.boundary if boundary is None else boundary
        cut = self.stages[at - 1] if at else None
        return Prefix(self, cut, form), Rest(self, cut)

    def template(self, batch: Tensors, rows: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Inputs without content in this batch's shape, and every cut's output for one row of them."""
        inputs = {name: batch[name] for name in self.example if name != self.main}
        shape = list(self.example[self.main].shape)
        for name, value in inputs.items():  # a mask tells the length of this batch
            if value.ndim > 1 and self.example[name].shape[1] == shape[1]:
                shape[1] = value.shape[1]
        shape[0] = rows if inputs else 1  # alone, one row is enough: the stored output brings the others
        device = next(iter(batch.values())).device
        blank = torch.zeros(shape, dtype=self.example[self.main].dtype, device=device)
        size = tuple(shape[1:])
        if size not in self._templates:
            self._templates[size] = self._record({self.main: blank[:1], **{n: v[:1] for n, v in inputs.items()}})
        return {self.main: blank, **inputs}, self._templates[size]

    def _record(self, inputs: Tensors) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        hooks = [
            self.network.get_submodule(cut.name).register_forward_hook(
                lambda _m, _i, out, name=cut.name: outputs.__setitem__(name, detached(out))
            )
            for cut in self.cuts
        ]
        try:
            with torch.no_grad(), evaluating(self.network):
                self.network(**inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs


class Prefix:
    """Everything before a cut, as a pure function of one example at a time."""

    def __init__(self, chain: Chain, cut: Cut | None, form: Form) -> None:
        self.chain, self.cut, self.form = chain, cut, form

    def __bool__(self) -> bool:
        """Whether there is anything to run: full fine-tuning is the empty prefix."""
        return self.cut is not None

    def ids(self) -> dict[str, str]:
        """Content key of every stage's output up to the cut: weights, buffers, code versions, configuration, form."""
        network = self.chain.network
        name, seen, ids = key("prefix", torch.__version__, self.form), set[str](), {}
        parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
        for stage in self.chain.stages:
            modules = {n: network.get_submodule(n) for n in sorted(stage.modules)}
            packages = sorted({type(m).__module__.split(".")[0] for m in modules.values()})
            state: dict[str, torch.Tensor] = {n: parameters[n] for n in stage.parameters if n in parameters}
            state |= {n: b for n, b in buffers.items() if n.rpartition(".")[0] in modules}
            fresh = sorted(state.keys() - seen)
            seen |= state.keys()
            name = key(
                name,
                [installed(package) for package in packages],
                [(n, type(m).__qualname__, m.extra_repr()) for n, m in modules.items()],
                *(part for n in fresh for part in (n, content(state[n]))),
            )
            ids[stage.name] = name
            if self.cut and stage.name == self.cut.name:
                break
        return ids

    @property
    def id(self) -> str:
        """Content key of the cut's output."""
        return self.ids()[self.cut.name] if self.cut else ""

    def forward(self, inputs: Tensors) -> torch.Tensor:
        """The cut's output for exactly these rows, detached, float32."""
        assert self.cut is not None
        return self.capture(inputs, [self.cut])[self.cut.name]

    def capture(self, inputs: Tensors, cuts: list[Cut]) -> dict[str, torch.Tensor]:
        """Outputs of several cuts (in order, none after this prefix's own) from one forward pass."""
        network, found = self.chain.network, dict[str, torch.Tensor]()

        def keep(name: str, last: bool) -> Callable[[Any, Any, Any], None]:
            def hook(_module: Any, _inputs: Any, output: Any) -> None:
                # Cloned: a later layer may work in place on what is kept here.
                found[name] = first(output).float().clone(memory_format=torch.contiguous_format)
                if last:
                    raise _Reached

            return hook

        hooks = [network.get_submodule(cut.name).register_forward_hook(keep(cut.name, cut is cuts[-1])) for cut in cuts]
        # no_grad and not inference_mode, whose tensors could not be trained on.
        with torch.no_grad(), evaluating(network), precision(self.form.dtype, self.form.device):
            try:
                network(**inputs)
            except _Reached:
                pass
            finally:
                for hook in hooks:
                    hook.remove()
        return found

    def run(self, inputs: Tensors, cuts: list[Cut] | None = None) -> dict[str, torch.Tensor]:
        """Outputs for any number of rows, always computed `form.batch` at a time, a short last batch filled up.

        At one fixed batch size a row's bits do not depend on the rows beside it; at varying sizes they do.
        """
        assert self.cut is not None
        cuts = cuts or [self.cut]
        pieces: list[dict[str, torch.Tensor]] = []
        total = len(inputs[self.chain.main])
        for start in range(0, total, self.form.batch):
            chunk = {name: value[start : start + self.form.batch] for name, value in inputs.items()}
            rows = len(chunk[self.chain.main])
            if rows < self.form.batch:
                at = torch.arange(self.form.batch).clamp(max=rows - 1)
                chunk = {name: value[at.to(value.device)] for name, value in chunk.items()}
            moved = {name: value.to(self.form.device) for name, value in chunk.items()}
            pieces.append({name: out[:rows].cpu() for name, out in self.capture(moved, cuts).items()})
        return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


class Rest:
    """The network from the boundary on: the same module, fed with the cut's stored output."""

    def __init__(self, chain: Chain, cut: Cut | None) -> None:
        self.chain, self.cut, self.network = chain, cut, chain.network
        names = [c.name for c in chain.cuts]
        done = names[: names.index(cut.name) + 1] if cut else []
        # A module inside another finished one is never called.
        self._done = [n for n in done if not any(n.startswith(f"{other}.") for other in done)]

    def train(self, batch_stats: bool = True) -> "Rest":
        """Training mode for what learns; what is frozen stays in eval mode, its statistics untouched.

        Without `batch_stats` so do all batch norms: their scale and shift may learn, their statistics stay.
        """
        self.network.train()
        for name in self.cut.modules if self.cut else ():
            self.network.get_submodule(name).training = False
        for module in self.network.modules():
            own = list(module.parameters(recurse=False))
            if batch_stats and (getattr(module, "momentum", None) or 1.0) < MOMENTUM:
                module.momentum = MOMENTUM  # type: ignore[assignment]
            kept = not batch_stats and hasattr(module, "running_mean")
            if kept or (is_norm(module) and own and not any(p.requires_grad for p in own)):
                module.training = False
        return self

    def eval(self) -> "Rest":
        """Evaluation mode throughout."""
        self.network.eval()
        return self

    def __call__(self, batch: Tensors) -> Any:
        """The network's output for a batch that carries "h" (or, without a prefix, the input itself)."""
        if self.cut is None:
            return self.network(**{name: batch[name] for name in self.chain.example})
        h = batch["h"]
        inputs, outputs = self.chain.template(batch, len(h))
        if is_channels_last(first(outputs[self.cut.name])):
            # Stored rows lie plainly; the network goes on in its own layout.
            h = h.contiguous(memory_format=torch.channels_last)
        stubs = []
        for name in self._done:
            out = outputs[name]
            # What is finished and dead is blank, but of this batch's size where masks are made by it.
            dead = torch.zeros_like(first(out)).expand(len(inputs[self.chain.main]), *first(out).shape[1:])
            value = replaced(out, h if name == self.cut.name else dead)
            module = self.network.get_submodule(name)
            module.forward = lambda *_a, _value=value, **_k: _value
            stubs.append(module)
        try:
            return self.network(**inputs)
        finally:
            for module in stubs:
                del module.forward


class _Reached(Exception):
    """The forward pass has reached the last cut asked for."""
