"""Short measurements on this machine: seconds per stage, and whether bfloat16 is faster and as faithful here."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from graft.core.errors import PlanError
from graft.core.nouns import Form
from graft.model import openvino
from graft.model.chain import Chain
from graft.model.cuts import first
from graft.model.modes import learning, precision, sent
from graft.model.prefix import Prefix, Tensors

log = logging.getLogger("graft")
FASTER = 0.8  # another form must take at most this share of the time: less is within what timing can tell
ENOUGH = 0.5  # of eager's time: a graph that takes less and is as faithful is taken without a look at finer ones
ROUNDS = 4  # of a layer alone, of which the first one warms up
TIMED = 16  # examples in a timing: as fast for each as a full batch, and over sooner
FAITHFUL = 0.999  # least centred cosine between the two, at the first percentile of examples
ALIGNED = 0.95  # least cosine between the two's gradients over one batch


@cache
def rough(device: str) -> bool:
    """Whether bfloat16 runs a layer clearly faster than float32 here: where it runs none so, it runs no network so."""
    if device != "cpu":
        return True
    layers = (nn.Conv2d(64, 64, 3, padding=1), torch.zeros(4, 64, 28, 28)), (nn.Linear(512, 512), torch.zeros(256, 512))
    for layer, x in layers:
        taken = dict.fromkeys(("float32", "bfloat16"), math.inf)
        for _ in range(ROUNDS):
            for dtype in taken:
                began = time.process_time()
                with torch.no_grad(), precision(dtype, device):
                    layer(x)
                taken[dtype] = min(taken[dtype], time.process_time() - began)
        if taken["bfloat16"] < FASTER * taken["float32"]:
            return True
    return False


def stage_seconds(prefix: Prefix, inputs: Tensors, rounds: int = 2) -> list[float]:
    """Wall seconds of every stage for one example, the least of some rounds over one batch; the first one warms up."""
    network, cuts = prefix.chain.network, prefix.chain.stages
    moved = sent(few(inputs), prefix.form.device)
    best = np.full(len(cuts), np.inf)
    for _ in range(rounds):
        stamps: list[float] = []

        def mark(*_: object, stamps: list[float] = stamps) -> None:
            if prefix.form.device != "cpu":
                torch.cuda.synchronize()
            stamps.append(time.perf_counter())

        hooks = [network.get_submodule(cut.name).register_forward_hook(mark) for cut in cuts]
        began = time.perf_counter()
        try:
            prefix.capture(moved, [cuts[-1]])
        finally:
            for hook in hooks:
                hook.remove()
        best = np.minimum(best, np.diff([began, *stamps[: len(cuts)]]))
    return [float(seconds) / len(moved.get("length", next(iter(moved.values())))) for seconds in best]


def few(inputs: Tensors, count: int = TIMED) -> dict[str, torch.Tensor]:
    """The first examples of a batch."""
    if "length" not in inputs:
        return {name: value[:count] for name, value in inputs.items()}
    rows = int(inputs["length"][:count].sum())
    return {name: value[: count if name == "length" else rows] for name, value in inputs.items()}


def saved_bytes(chain: Chain) -> list[int]:
    """Bytes that one row (an example, or its token or window) makes each stage keep for the backward pass.

    Weights are not counted.
    """
    network, rows = chain.network, len(chain.example[chain.main])
    seen = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    kept = [0]

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in seen:
            seen.add(place)
            kept[-1] += tensor.numel() * tensor.element_size()
        return tensor

    hooks = [network.get_submodule(c.name).register_forward_hook(lambda *_: kept.append(0)) for c in chain.stages]
    with learning(network), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = network(**chain.example)  # held until the end: what it keeps alive is what is counted
    del out
    for hook in hooks:
        hook.remove()
    return [size // rows for size in kept[:-1]]


def choose_form(chain: Chain, inputs: Tensors, form: Form) -> Form:
    """bfloat16 if it runs the prefix clearly faster here and every stage's output stays the same direction.

    The cosine is taken after subtracting the mean example: outputs of one network share a large mean, beside which any
    two look alike.
    """
    if not rough(form.device):
        return form
    last = len(chain.stages)
    exact, other = (chain.split(last, f)[0] for f in (form, replace(form, dtype="bfloat16")))
    if sum(stage_seconds(other, inputs)) > FASTER * sum(stage_seconds(exact, inputs)):
        return form
    a, b = (prefix.run(inputs, chain.stages) for prefix in (exact, other))
    worst = min(centred_cosine(a[cut.name], b[cut.name]) for cut in chain.stages)
    return other.form if worst > FAITHFUL else form


def choose_graph(chain: Chain, inputs: Tensors, form: Form, rounds: int = 2) -> tuple[Form, float]:
    """OpenVINO's compiled graph if it runs the prefix clearly faster here and as faithfully; and its share of the time.

    The coarsest numbers come first, and where they are as faithful at half of the time nothing finer is tried. Else a
    finer graph is left for a coarser one, as eager for a graph, only where that is clearly faster. CPU seconds: they
    tell two apart on a busy machine, too. The first round warms up; `form` itself (eager, in float32), of which a pass
    was timed before, is warm in the first.
    """
    dtypes = openvino.dtypes()
    if not dtypes:
        return form, 1.0
    at = torch.arange(form.batch) % len(inputs[chain.main])
    full, last = {name: value[at] for name, value in inputs.items()}, len(chain.stages)

    def timed(prefix: Prefix) -> tuple[dict[str, torch.Tensor], float]:
        began = time.process_time()
        return prefix.capture(full, chain.stages), time.process_time() - began

    faithful, (exact, eager) = list[tuple[Form, float]](), timed(chain.split(last, form)[0])
    try:
        for dtype in reversed(dtypes):
            graph = chain.split(last, replace(form, runtime="openvino", dtype=dtype))[0]
            tries = [timed(graph) for _ in range(rounds)]
            alone = graph.capture(full, chain.stages[-1:])  # as it will run: more of it is rounded
            outputs = [*tries[0][0].items(), *alone.items()]
            if min(centred_cosine(exact[name], said) for name, said in outputs) > FAITHFUL:
                faithful.append((graph.form, min(seconds for _, seconds in tries) / eager))
                if faithful[-1][1] < ENOUGH:
                    break
    except PlanError as error:
        log.info("%s", error)
    best = form, 1.0
    for one, share in reversed(faithful):
        if share < FASTER * best[1]:
            best = one, share
    return best


def centred_cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """First percentile over examples of the cosine between two versions of the same features, means taken off."""
    mean, cosines = a.flatten(1).mean(0), list[torch.Tensor]()
    for one, other in zip(a.flatten(1), b.flatten(1), strict=True):  # all maps at once would be gigabytes
        x, y = (one - mean).double(), (other - mean).double()
        cosines.append(x @ y / (x.norm() * y.norm()).clamp(min=1e-300))
    return float(torch.quantile(torch.stack(cosines), 0.01))


def choose_training(
    chain: Chain,
    inputs: Tensors,
    targets: torch.Tensor,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = cross_entropy,
    steps: int = 2,
) -> tuple[float, str]:
    """Wall seconds of one example, forward and backward through the whole network, and the faster faithful dtype.

    Two steps each, of which the first one warms up; nothing is updated. bfloat16 is taken only where its gradient
    points the same way, and not tried where it runs nothing faster.
    """
    device = str(next(chain.network.parameters()).device)
    moved = sent(few(inputs), device)
    count, targets = len(moved.get("length", next(iter(moved.values())))), targets.to(device)
    taken, gradients = {}, {}
    with learning(chain.network) as wanted:
        for dtype in ("float32", "bfloat16") if rough(device.partition(":")[0]) else ("float32",):
            best = float("inf")
            for _ in range(steps):
                began = time.perf_counter()
                with precision(dtype, device):
                    logits = first(chain.network(**moved))
                error = loss(logits.float(), targets[: len(logits)])  # one for every row that is looked at
                grads = torch.autograd.grad(error, wanted, allow_unused=True)
                if device != "cpu":
                    torch.cuda.synchronize()
                best = min(best, time.perf_counter() - began)
            taken[dtype] = best / count
            gradients[dtype] = torch.cat([g.flatten().float() for g in grads if g is not None])
    if taken.get("bfloat16", math.inf) >= FASTER * taken["float32"]:
        return taken["float32"], "float32"
    aligned = torch.nn.functional.cosine_similarity(gradients["float32"], gradients["bfloat16"], dim=0)
    dtype = "bfloat16" if aligned > ALIGNED else "float32"
    return taken[dtype], dtype
