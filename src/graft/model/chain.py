"""A network as a chain of stages, parted at the freeze boundary into a frozen prefix and the rest.

    rest(prefix(x)) == network(x)        at every boundary, to the bit

The boundary is never configured: it is the first stage with something to learn. The prefix runs without gradient, in
eval mode, always at one batch size; the rest is the same untouched module, its finished stages answered for by the
stored output.
"""

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn

from graft.core.costs import stages
from graft.core.errors import PlanError, nearest
from graft.core.nouns import Form
from graft.model.cuts import Cut, find, first, group, replaced
from graft.model.modes import detached, evaluating, is_norm, laid, layout
from graft.model.packing import Lay
from graft.model.prefix import Prefix, Tensors, reached

log = logging.getLogger("graft")
MOMENTUM = (
    0.1  # least share of a batch in a norm's statistics: 0.01, made for long training, never arrives in a short one
)


class Found(NamedTuple):
    """What watching a network run has shown, none of which hangs on its weights."""

    lay: Lay | None  # of the example that it ran on
    cuts: tuple[Cut, ...]
    stages: tuple[Cut, ...]
    layouts: dict[str, list[int]]
    filled: bool


class Chain:
    """A network, its cuts, and its stages.

    Args:
        network: any module; the one part it may name is `head`, which is never frozen as part of a stage.
        example: keyword arguments for one forward pass of two examples, as the network is really fed.
        main: the argument that carries the example itself; the others (masks) only accompany it. "length" says how
            many rows of it belong to each example, where they are ragged.
        like: a chain's `found`, of a network that differs from this one in its weights alone: nothing is tried again.
    """

    def __init__(self, network: nn.Module, example: Tensors, main: str = "x", like: Found | None = None) -> None:
        self.network, self.main = network.eval(), main
        self.example = dict(example) if "length" in example else {name: value[:2] for name, value in example.items()}
        self.boundary = 0
        self.inserted: frozenset[str] = frozenset()  # names of the adapters' parameters, where there are adapters
        self._templates: dict[Any, dict[str, Any]] = {}
        lay = self.lay(self.example)
        if like and like.lay == lay:
            self.cuts, self.stages = list(like.cuts), list(like.stages)
            self.layouts, self._filled = like.layouts, like.filled
        else:
            found = find(network, self.example, main, lay)
            self.cuts = [cut for cut in found if cut.name.split(".")[0] != "head"]
            self.layouts = {name: layout(first(out)) for name, out in self._record(self.example).items()}
            self._filled = False  # whether the blank input has as many rows as the batch: some networks count its rows
            self.stages = self._sound()
        self.found = Found(lay, tuple(self.cuts), tuple(self.stages), self.layouts, self._filled)

    def _sound(self) -> list[Cut]:
        """The stages, every one of which the network resumes from exactly; a cut that fails is taken off the list."""
        sound: set[str] = set()
        with torch.no_grad(), evaluating(self.network):
            whole = first(self.network(**self.example))
        while True:
            stages = group(self.cuts)
            found = Prefix(self, stages[-1], Form()).outputs(self.example, stages) if stages else {}
            failed = {c.name for c in stages if c.name not in sound and not self.exact(c, whole, found[c.name])}
            if not failed:
                return stages
            if not self._filled:
                self._filled, sound = True, set()
                self._templates.clear()
                continue
            log.info("no cut at %s: the network does not resume there exactly", ", ".join(sorted(failed)))
            sound = {cut.name for cut in stages} - failed
            self.cuts = [cut for cut in self.cuts if cut.name not in failed]

    def lay(self, batch: Tensors) -> Lay | None:
        """How the rows of a batch lie in the network; None where every example is one row."""
        if "length" not in batch:
            return None
        own = getattr(getattr(self.network, "backbone", None), "lay", None)
        length = batch["length"]
        return own(length) if own else Lay(length.tolist(), [1] * int(length.sum()))

    @property
    def window(self) -> int:
        """Rows of a piece, where the network fills its pieces up to one length; else 0."""
        lay, body = self.lay(self.example), getattr(self.network, "backbone", None)
        return int(body.window) if lay and lay.padded and body is not None else 0

    def exact(self, cut: Cut, whole: torch.Tensor | None = None, h: torch.Tensor | None = None) -> bool:
        """Whether resuming from a cut (`h`) gives the network's own output (`whole`), bit for bit, on the example."""
        rest = Rest(self, cut)
        with torch.no_grad(), evaluating(self.network):
            whole = first(self.network(**self.example)) if whole is None else whole
            others = {name: value for name, value in self.example.items() if name != self.main}
            h = Prefix(self, cut, Form()).outputs(self.example, [cut])[cut.name] if h is None else h
            try:
                return torch.equal(first(rest({"h": h, **others})), whole)
            except Exception:  # of whatever kind the network's own code raises on what it did not expect
                return False

    def stage_parameters(self, index: int) -> frozenset[str]:
        """Names of the parameters that stage `index` is the first to use."""
        before = self.stages[index - 1].parameters if index else frozenset()
        return self.stages[index].parameters - before

    def select(self, selectors: Iterable[str]) -> set[str]:
        """Names of the parameters that these selectors mean.

        Selectors: "head", "stages[2]", "stages[1:3]", "stages[4:]", "norm" (of every norm layer), "bias". Where
        adapters are inserted, of a stage only they are meant.

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
            elif (asked := stages(selector, len(self.stages))) is not None:
                if max(asked.start, asked.stop) > len(self.stages):
                    raise PlanError(
                        f"{selector} is asked for, but the backbone has {len(self.stages)} stages, "
                        f"stages[0] to stages[{len(self.stages) - 1}]: {', '.join(s.name for s in self.stages)}."
                    )
                own = {name for index in asked for name in self.stage_parameters(index)}
                chosen |= own & self.inserted if self.inserted else own
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

    def split(self, boundary: int | None = None, form: Form = Form()) -> tuple[Prefix, "Rest"]:
        """The frozen prefix before the boundary, and the rest."""
        at = self.boundary if boundary is None else boundary
        cut = self.stages[at - 1] if at else None
        return Prefix(self, cut, form), Rest(self, cut)

    def template(self, batch: Tensors, rows: int) -> tuple[dict[str, torch.Tensor], dict[str, Any], Lay | None]:
        """Inputs without content in this batch's shape, every cut's output for some such, and how its rows lie."""
        inputs = {name: batch[name] for name in self.example if name != self.main and name in batch}
        shape, lay = list(self.example[self.main].shape), self.lay(batch)
        device, few = next(iter(batch.values())).device, inputs
        if lay:
            # A token more costs nothing; of windows one is enough, unless the network counts them.
            shape[0] = lay.rows if len(shape) == 1 or self._filled else 1
            size: tuple[int, ...] = (lay.padded,)
            one = (lay.padded or 4) if len(shape) == 1 else 1  # rows of one piece of this batch's length
            few = {"length": torch.tensor([one], device=device)}
        else:
            for name, value in inputs.items():  # a mask tells the length of this batch
                if value.ndim > 1 and self.example[name].shape[1] == shape[1]:
                    shape[1] = value.shape[1]
            # Alone, one row is usually enough: the stored output brings the others.
            shape[0] = rows if inputs or self._filled else 1
            size, one, few = tuple(shape[1:]), 1, {name: value[:1] for name, value in inputs.items()}
        blank = torch.zeros(shape, dtype=self.example[self.main].dtype, device=device)
        beside = [name for name in self.example if name not in (self.main, *inputs)]
        inputs |= {name: torch.zeros(shape[0], dtype=self.example[name].dtype, device=device) for name in beside}
        if size not in self._templates:
            few |= {name: inputs[name][:1].expand(one) for name in beside}
            self._templates[size] = self._record(
                {self.main: torch.zeros_like(blank[:1]).expand(one, *shape[1:]), **few}
            )
        return {self.main: blank, **inputs}, self._templates[size], lay

    def _record(self, inputs: Tensors) -> dict[str, Any]:
        """The output at every cut; what comes behind the last is not run, since others may be watching it."""
        plain = torch.autocast(inputs[self.main].device.type, enabled=False)  # of whichever batch it is the first
        with torch.no_grad(), evaluating(self.network), plain:
            return reached(self.network, [cut.name for cut in self.cuts], inputs, lambda _, output: detached(output))


class Rest:
    """The network from the boundary on: the same module, fed with the cut's stored output."""

    def __init__(self, chain: Chain, cut: Cut | None) -> None:
        self.chain, self.cut, self.network = chain, cut, chain.network
        names = [c.name for c in chain.cuts]
        done = {c.name: c for c in chain.cuts[: names.index(cut.name) + 1]} if cut else {}
        # A module inside another finished one is never called.
        self._done = {n: c for n, c in done.items() if not any(n.startswith(f"{other}.") for other in done)}

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
        if "length" in self.chain.example and "length" not in batch:  # one vector an example: as if each had one row
            batch = {**batch, "length": torch.ones(len(h), dtype=torch.int64, device=h.device)}
        inputs, outputs, lay = self.chain.template(batch, len(h))
        if lay:
            h = lay.put(h, self.cut.unit)
        h = laid(h, self.chain.layouts[self.cut.name])  # stored rows lie plainly; the network goes on in its own layout
        stubs = []
        for name, cut in self._done.items():
            out = first(outputs[name])
            # What is finished and dead is blank, but of this batch's size where masks are made by it.
            if lay:
                dead = lay.blank(cut.shape, cut.unit, out)
            else:
                dead = torch.zeros_like(out).expand(len(inputs[self.chain.main]), *out.shape[1:])
            value = replaced(outputs[name], h if name == self.cut.name else dead)
            module = self.network.get_submodule(name)
            module.forward = lambda *_a, _value=value, **_k: _value
            stubs.append(module)
        try:
            return self.network(**inputs)
        finally:
            for module in stubs:
                del module.forward
