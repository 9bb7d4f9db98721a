"""Everything before a cut, as a pure function of one example at a time."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import nn

from graft.core.keys import installed, key
from graft.core.nouns import Form
from graft.model.cuts import Cut, first
from graft.model.modes import content, evaluating, pooled, precision, roundable, sent, standing_in
from graft.model.packing import gathered

if TYPE_CHECKING:
    from graft.model.chain import Chain

Tensors = Mapping[str, torch.Tensor]
T = TypeVar("T")


class Asked(NamedTuple):
    """A stage whose output is asked for: as it is, or of each row the mean over its positions."""

    name: str
    channels: int  # which dimension of a row they are: the mean is over the others
    pool: bool


class Prefix:
    """Everything before a cut, as a pure function of one example at a time."""

    def __init__(self, chain: "Chain", cut: Cut | None, form: Form) -> None:
        self.chain, self.cut, self.form = chain, cut, form
        self._ids: dict[str, str] = {}
        self._marks: list[str] = []  # of each stage up to the cut
        self._coarse: list[tuple[nn.Parameter, torch.Tensor]] = []
        self._graphs: dict[tuple[Asked, ...], Callable[[Tensors], dict[str, torch.Tensor]]] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to run: full fine-tuning is the empty prefix."""
        return self.cut is not None

    def ids(self) -> dict[str, str]:
        """Content key of every stage's output up to the cut: its shape, weights, buffers, code, configuration, form.

        Read once: nothing before the cut learns while a prefix is used.
        """
        if not self._ids:
            names = [stage.name for stage in self.chain.stages]
            self._marks = self._read(0, names.index(self.cut.name) + 1 if self.cut else len(names))
            self._ids = self._named(self.form, self._marks)
        return self._ids

    def _named(self, form: Form, marks: Sequence[str]) -> dict[str, str]:
        made = () if form.runtime == "eager" else (installed(form.runtime),)
        name, ids = key("prefix", torch.__version__, form, *made), {}
        for stage, mark in zip(self.chain.stages, marks, strict=False):
            ids[stage.name] = name = key(name, mark)
        return ids

    def _read(self, start: int, stop: int) -> list[str]:
        """Of each of these stages a key of what it holds that none before it does."""
        network, seen, marks = self.chain.network, set[str](), list[str]()
        parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
        for at, stage in enumerate(self.chain.stages[:stop]):
            modules = {n: network.get_submodule(n) for n in sorted(stage.modules)}
            state: dict[str, torch.Tensor] = {n: parameters[n] for n in stage.parameters if n in parameters}
            state |= {n: b for n, b in buffers.items() if n.rpartition(".")[0] in modules}
            fresh = sorted(state.keys() - seen)
            seen |= state.keys()
            if at < start:
                continue
            packages = sorted({type(m).__module__.split(".")[0] for m in modules.values()})
            configs = {id(c): c for m in modules.values() if (c := getattr(m, "config", None)) is not None}
            mark = key(
                stage.shape,  # which depends on how long a window is, where no weight does
                [installed(package) for package in packages],
                [(n, type(m).__qualname__, m.extra_repr()) for n, m in modules.items()],
                [str(config) for config in configs.values()],  # heads, epsilons: what no tensor shows
                *(part for n in fresh for part in (n, content(state[n]))),
            )
            marks.append(mark)
        return marks

    @property
    def id(self) -> str:
        """Content key of the cut's output."""
        return self.ids()[self.cut.name] if self.cut else ""

    def outputs(self, inputs: Tensors, cuts: list[Cut]) -> dict[str, torch.Tensor]:
        """Several cuts' outputs for exactly these examples, detached, float32; ragged ones row by row."""
        found, lay = self.capture(inputs, cuts), self.chain.lay(inputs)
        return {cut.name: lay.taken(found[cut.name], cut.unit) if lay else found[cut.name] for cut in cuts}

    def halved(self, cut: Cut) -> bool:
        """Whether a cut's output is rounded to bfloat16 and so takes half of the bytes: maps and tokens that ran in it.

        A number is off by 1/256 of itself at most, as those that it came from. What a head reads is not rounded, nor
        are vectors, which take little as they are.
        """
        wide = (len(cut.shape) > 1 or cut.unit != "example") and cut.name != self.chain.stages[-1].name
        return wide and self.form.dtype != "float32"

    def capture(self, inputs: Tensors, cuts: list[Cut], pool: Collection[str] = ()) -> dict[str, torch.Tensor]:
        """Outputs of several cuts (in order, none after this prefix's own) from one forward pass.

        Args:
            pool: names of the cuts of which the mean over positions is asked for, which is less to hand over.
        """
        asked = {cut.name: Asked(cut.name, cut.channels, cut.name in pool) for cut in cuts}
        if self.form.runtime != "eager":
            return self._graph(tuple(asked.values()), inputs)(inputs)
        network = self.chain.network

        def kept(name: str, output: Any) -> torch.Tensor:
            """Cloned: a later layer may work in place on it."""
            h = first(output).float()
            if asked[name].pool and h.ndim > 2:
                return pooled(h, asked[name].channels)
            return h.clone(memory_format=torch.contiguous_format)

        rounded, coarse = self._rounded(), precision(self.form.dtype, self.form.device)
        # no_grad and not inference_mode, whose tensors could not be trained on.
        with torch.no_grad(), evaluating(network), standing_in(rounded), coarse:
            return reached(network, list(asked), inputs, kept)

    def _rounded(self) -> list[tuple[nn.Parameter, torch.Tensor]]:
        """Weights in bfloat16, where it runs in that: autocast would round them anew for every batch."""
        if self.form.dtype == "bfloat16" and not self._coarse:
            self._coarse = [(one, one.data.bfloat16()) for one in roundable(self.chain.network)]
        return self._coarse

    def _graph(self, asked: tuple[Asked, ...], inputs: Tensors) -> Callable[[Tensors], dict[str, torch.Tensor]]:
        """Those outputs from a compiled graph."""
        if asked not in self._graphs:
            from graft.model.openvino import compiled

            self.ids()
            rest = self._read(len(self._marks), len(self.chain.stages))  # which may have learned since
            ids = self._named(Form(), [*self._marks, *rest])
            self._graphs[asked] = compiled(self.chain.network, ids, inputs, asked, self.form.dtype)
        return self._graphs[asked]

    def run(self, inputs: Tensors, cuts: list[Cut] | None = None) -> dict[str, torch.Tensor]:
        """Outputs for any number of examples, in their order; see `batches`."""
        assert self.cut is not None
        cuts = cuts or [self.cut]
        found: dict[str, dict[int, torch.Tensor]] = {cut.name: {} for cut in cuts}
        for members, outputs in self.batches(inputs, cuts):
            for cut in cuts:
                rows = inputs["length"][members].tolist() if "length" in inputs and cut.unit != "example" else 1
                found[cut.name] |= zip(members, outputs[cut.name].split(rows), strict=True)
        return {name: torch.cat([rows[at] for at in sorted(rows)]) for name, rows in found.items()}

    def batches(
        self, inputs: Tensors, cuts: list[Cut], pool: Collection[str] = ()
    ) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
        """Which examples, and their outputs, always computed `form.batch` rows at a time, what is missing filled up.

        At one fixed size a row's bits do not depend on the rows beside it; at varying sizes they do. Ragged examples
        come in the order that leaves little to fill up, and give their rows one behind the other, as many as they
        have, or one where the output is one vector an example.

        Args:
            pool: names of the cuts of which one vector an example is asked for: the mean over positions and rows.
        """
        for members, chunk in self._chunks(inputs):
            moved = sent(chunk, self.form.device)
            lay = self.chain.lay(moved)
            found = self.capture(moved, cuts, () if lay else pool)
            outputs = {}
            for cut in cuts:
                out = lay.taken(found[cut.name], cut.unit) if lay else found[cut.name]
                lengths = lay.lengths[: len(members)] if lay and cut.unit != "example" else None
                out = out[: sum(lengths) if lengths else len(members)].cpu()  # what fills up comes last
                if cut.name not in pool:
                    out = out.bfloat16().float() if self.halved(cut) else out  # stored or not, the same
                elif lay:
                    out = pooled(out, cut.channels, None if lengths is None else torch.tensor(lengths))
                outputs[cut.name] = out
            yield members, outputs

    def _chunks(self, inputs: Tensors) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
        """Batches of one size: which examples, and the inputs, what fills them up behind."""
        size = self.form.batch
        if "length" not in inputs:
            for start in range(0, total := len(inputs[self.chain.main]), size):
                members, short = list(range(start, min(start + size, total))), max(0, start + size - total)
                rows = [*members, *[total - 1] * short] if short else slice(start, start + size)  # which copies nothing
                yield members, {name: value[rows] for name, value in inputs.items()}
            return
        lengths = inputs["length"].tolist()
        starts = [0, *accumulate(lengths)]
        window = self.chain.window
        for members, blank in gathered(lengths, size, window):
            at = torch.cat([torch.arange(starts[one], starts[one + 1]) for one in members])
            chunk = {
                name: torch.cat([value[at], value.new_zeros(sum(blank), *value.shape[1:])])
                for name, value in inputs.items()
                if name != "length"
            }
            yield members, {**chunk, "length": torch.tensor([*(lengths[one] for one in members), *blank])}


def reached(network: nn.Module, names: Sequence[str], inputs: Tensors, kept: Callable[[str, Any], T]) -> dict[str, T]:
    """What is kept, by name, of these modules' outputs in call order; what follows the last is left out."""
    found: dict[str, T] = {}

    def keep(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            found[name] = kept(name, output)
            if name == names[-1]:
                raise Reached

        return hook

    hooks = [network.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        network(**inputs)
    except Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return found


class Reached(Exception):
    """A forward pass has come to the last module that it was for."""
