"""What a backbone takes on this machine. Measured once and remembered, since plans follow these seconds: a command that
is asked again, or was interrupted, must come to the same plan."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch

import graft
from graft.build import examples, form_here
from graft.core import home
from graft.core.keys import key
from graft.core.nouns import Backbone, Form, Part, Task
from graft.core.shelf import take
from graft.data.dataset import Batch
from graft.model.chain import Chain
from graft.model.probes import choose_form, choose_graph, choose_training, rough, saved_bytes, stage_seconds

PROBED, LEAST = 32, 4  # examples that are looked at, at most and at least
# Seconds of one pass over the data from which on a compiled graph, which takes two to five, may pay: where bfloat16 is
# fast, and where it is not.
WORTH, PLAIN = 8.0, 20.0
WORK = 1e11  # floating-point operations of one pass over them, where that is fewer: about two seconds of a core


@dataclass(frozen=True)
class Forward:
    """What one example takes."""

    prepare: float  # wall seconds of reading and preparing it
    stages: tuple[float, ...]  # wall seconds of each stage, forward
    saved: tuple[int, ...]  # bytes that each stage keeps of it for the backward pass
    rows: float = 1.0  # tokens or windows that it has, in the mean


@dataclass(frozen=True)
class Graph:
    """A compiled graph's form, or the one beside which none stood; and its share of that one's time."""

    form: Form
    share: float


@dataclass(frozen=True)
class Training:
    """Wall seconds of one example, and the dtype in which they were reached."""

    prepare: float  # reading and augmenting it
    step: float  # forward and backward through the whole network
    dtype: str


def forward(task: Task, backbone: Backbone, chain: Chain) -> tuple[Form, Forward]:
    """The form that suits the backbone here, and what it takes in that form."""
    rows = take("modalities", task.modality).ROWS
    here, read = form_here(Form(batch=rows)), cache(partial(_read, task, backbone, chain, 0))
    # A form holds for every task: features are stored under it.
    name = key("form", graft.__version__, torch.__version__, platform.node(), backbone, here)

    def measured(form: Form) -> Forward:
        def measure() -> Forward:
            inputs, _, prepare = read()
            taken = stage_seconds(chain.split(len(chain.stages), form)[0], inputs)
            rows = float(inputs["length"].float().mean()) if "length" in inputs else 1.0
            return Forward(prepare, tuple(taken), tuple(int(rows * size) for size in saved_bytes(chain)), rows)

        return home.remember("forward", key(name, form, task.key, *_here(chain)), Forward, measure)

    if here.device == "cpu" and chain.lay(chain.example) is None:
        exact = measured(here)
        if graph := _graph(task, chain, here, key(name, *_here(chain)), sum(exact.stages), read):
            return graph.form, replace(exact, stages=tuple(graph.share * seconds for seconds in exact.stages))
    form = home.remember("form", name, Form, lambda: choose_form(chain, read()[0], here))
    return form, measured(form)


def _graph(
    task: Task, chain: Chain, here: Form, name: str, each: float, read: Callable[[], tuple[Batch, torch.Tensor, float]]
) -> Graph | None:
    """A compiled graph that suits the backbone here, where the data are worth a look at any.

    Args:
        each: wall seconds of an example without one.
    """
    known = home.recall("graph", name, Graph)  # features of this backbone may be stored in that form by now
    passing = (len(task.train) + len(task.val) + len(task.test)) * each
    if not known and passing < (WORTH if rough(here.device) else PLAIN):
        return None
    found = known or home.remember("graph", name, Graph, lambda: Graph(*choose_graph(chain, read()[0], here)))
    return found if found.form.runtime != "eager" else None


def training(task: Task, backbone: Backbone, chain: Chain, pretrained: bool = True) -> Training:
    """How long a training step takes here, and in which dtype."""

    def measure() -> Training:
        inputs, targets, prepare = _read(task, backbone, chain, view=1)
        return Training(prepare, *choose_training(chain, inputs, targets, take("heads", task.head).loss))

    here = form_here(Form())
    place = (graft.__version__, torch.__version__, platform.node(), here, *_here(chain))
    name = key(*place, backbone, task.key, pretrained)
    return home.remember("training", name, Training, measure)


def _here(chain: Chain) -> tuple[object, ...]:
    """What seconds depend on beside the backbone's name: threads, the GPU, and the network as its library builds it."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return torch.get_num_threads(), gpu, [(cut.name, cut.shape) for cut in chain.stages]


def subset(task: Task, part: Part, size: int) -> Part:
    """The first `size` examples of a fixed order in which the classes take turns: a subset holds the smaller ones."""
    if size >= len(part):
        return part
    turns: dict[str, int] = {}
    order, strata = [], take("heads", task.head).strata(part.targets)
    for row in sorted(range(len(part)), key=lambda row: part.ids[row]):
        stratum = strata[row]
        turns[stratum] = turns.get(stratum, -1) + 1
        order.append((turns[stratum], stratum, row))
    return part.select(row for *_, row in sorted(order)[:size])


def _read(task: Task, backbone: Backbone, chain: Chain, view: int) -> tuple[Batch, torch.Tensor, float]:
    """A few prepared training examples: inputs, targets, and the seconds that one took."""
    part = subset(task, task.train, PROBED)
    raw = examples(task, part, backbone)
    began = time.perf_counter()
    batch = raw.read(np.arange(len(part)), np.full(len(part), view))
    seconds = (time.perf_counter() - began) / len(part)
    if (count := max(LEAST, _within(batch, chain))) < len(part):
        batch = raw.read(_spread(batch, count), np.full(count, view))
    targets = batch.pop("y")
    return batch, targets, seconds


def _within(batch: Batch, chain: Chain) -> int:
    """How many examples can be looked at for that work; a network may hear minutes of each."""
    traced = chain.example.get("length", torch.ones(len(chain.example[chain.main]))).sum()
    rows = batch["length"].float().mean() if "length" in batch else 1.0
    flops = max((cut.flops for cut in chain.stages), default=0) * float(rows / traced)
    return int(WORK / max(flops, 1.0))


def _spread(batch: Batch, count: int) -> np.ndarray:
    """That many of the examples, short and long ones as there are."""
    if "length" not in batch:
        return np.arange(count)
    order = np.argsort(batch["length"].numpy(), kind="stable")
    return np.sort(order[((np.arange(count) + 0.5) * len(order) / count).astype(int)])
