"""Task, Run → the forms of its network in a folder: safetensors always, ONNX, and others where they are asked for."""

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file

import graft
from graft.adapt import finished
from graft.build import build, reading
from graft.confidence import familiar, said, strangers
from graft.core.codec import to_dict
from graft.core.errors import PlanError, nearest
from graft.core.examples import placeless
from graft.core.nouns import Row, Run, Task
from graft.core.shelf import names, take
from graft.data.batches import unstacked
from graft.data.dataset import content
from graft.model import stats
from graft.model.network import Shipped
from graft.rank import learned
from graft.runtime import WHOLE

ALWAYS = ("onnx",)  # what answers without torch
SHOWN = 64  # training examples that show a quantiser how large activations become
JUDGED = 2000  # validation examples, at most, by which a lossy form is judged


def chosen(asked: Sequence[str]) -> tuple[str, ...]:
    """The formats to write, those that others are made from first.

    Raises:
        PlanError: there is none of that name.
    """
    for name in asked:
        if name not in names("formats"):
            known = names("formats")
            raise PlanError(f"There is no format {name!r}.{nearest(name, known)} There are: {', '.join(known)}.")
    return (*ALWAYS, *(name for name in dict.fromkeys(asked) if name not in ALWAYS))


def needing(name: str) -> bool:
    """Whether a format is made of more than the ONNX file: of the network itself, or judged on examples."""
    return hasattr(take("formats", name), "write") or bounded(name) is not None


def bounded(name: str) -> float | None:
    """How much of the metric a format may lose; None where it is to be exact."""
    return getattr(take("formats", name), "BOUND", None)


class Network(NamedTuple):
    """A run's network as it ships, and what it takes."""

    form: Shipped
    example: dict[str, torch.Tensor]
    fed: dict[str, Any]  # what the modality says of each of its inputs
    unlike: float  # the novelty beyond which little stands; infinite where that is not known


def written(task: Task, run_key: str, folder: Path, formats: Sequence[str]) -> tuple[Run, dict[str, Any]]:
    """Write a run's network in these formats; returns the run, and what the card says of it.

    Raises:
        PlanError: the run is no longer in the home, or a format wants a package that is not installed.
    """
    run = finished(run_key)
    if run is None:
        raise PlanError(
            f"The run {run_key} is no longer in the home. Run `graft adapt` again: it takes as long as before."
        )
    network, kept = shipped(task, run), replace(run.plan.backbone, id=f"checkpoint/{run.key}")
    form, by_row = network.form, network.form.by_row
    shutil.copyfile(run.weights, folder / "weights.safetensors")
    forms = added(folder, formats, lambda: network, shown(task, run, network.fed))
    modality = take("modalities", task.modality)
    input = modality.parse(run.plan.backbone.input)
    assets = modality.assets(input) if hasattr(modality, "assets") else {}  # a tokenizer, say
    for name, file in assets.items():
        shutil.copyfile(file, folder / f"{name}{Path(file).suffix}")
    whole = ["piece", "token"] if by_row else ["batch"]
    return run, {
        "backbone": to_dict(run.plan.backbone), "input": to_dict(run.plan.backbone.input),
        "plan": to_dict(replace(run.plan, suspects=placeless(run.plan.suspects))),
        "run": run.key, "seed": run.seed, "learned": sorted(learned(kept)),
        "loading": to_dict(run.loading), "license": run.plan.backbone.license,
        "schema_in": network.fed, "assets": {n: f"{n}{Path(file).suffix}" for n, file in assets.items()},
        "schema_out": {
            "logits": {"dtype": "float32", "shape": [*whole, len(task.outputs)]},
            **({} if by_row else {"features": {"dtype": "float32", "shape": ["batch", "feature"]}}),
            **({} if form.known is None else {"novelty": {"dtype": "float32", "shape": ["batch"]}}),
        },
        "formats": forms,
        **({"unlike": network.unlike} if math.isfinite(network.unlike) else {}),
        "notes": [] if by_row else strangers(task),
    }  # fmt: skip


def shipped(task: Task, run: Run) -> Network:
    """A finished run's network as it ships."""
    chain, _ = build(run.plan.backbone, task.head, len(task.outputs), run.seed, pretrained=False, on="cpu")
    chain.network.load_state_dict(load_file(run.weights))
    modality, by_row = take("modalities", task.modality), take("heads", task.head).ROWS
    input = modality.parse(run.plan.backbone.input)
    sample = modality.ship(unstacked({n: value.numpy() for n, value in chain.example.items()}), input)
    fed = {name: entry for name, entry in modality.schema(input).items() if name not in WHOLE * by_row}
    known, unlike = (None, math.inf) if by_row else familiar(task, run)
    example = {name: torch.from_numpy(sample[name]) for name in fed}
    return Network(Shipped(chain.network, by_row, known), example, fed, unlike)


def added(
    folder: Path,
    formats: Sequence[str],
    network: Callable[[], Network] | None = None,
    samples: Iterable[dict[str, np.ndarray]] = (),
) -> dict[str, Any]:
    """Write these formats into a folder, some from the network, some from its ONNX file; what the card says of them."""
    for name in formats:
        shelf = take("formats", name)
        place = folder / shelf.FILES[0]
        if hasattr(shelf, "write"):
            assert network
            form, example, fed, _ = network()
            free = {name: entry["shape"] for name, entry in fed.items()}
            shelf.write(form, example, place, free, form.outputs)
        else:
            shelf.convert(folder / take("formats", ALWAYS[0]).FILES[0], place, samples)
    return {name: {"files": list(take("formats", name).FILES)} for name in formats}


def judged(task: Task, row: Row, folder: Path, name: str, bound: float) -> tuple[tuple[float, float, float], bool]:
    """What a lossy form of an artifact gains on validation (mean, low, high, paired), and whether that is enough."""
    head, part = take("heads", task.head), task.val.select(range(min(JUDGED, len(task.val))))
    exact, y = said(task, row, part, on="cpu")
    if head.ROWS:
        exact, y = exact[y[:, 0] >= 0], y[y[:, 0] >= 0]
    lossy = graft.open(folder, name).logits(part.items)
    each = [np.asarray(head.outcomes(logits, y, task.metric, task.outputs))[None] for logits in (lossy, exact)]
    groups = part.groups if len(set(part.groups)) > 1 else ()
    gain = stats.paired(each[0], each[1], head.share(y, task.metric), groups=groups)
    return gain, gain[1] >= -bound * (1.0 if abs(each[1].mean()) <= 1 else float(abs(each[1].mean())))


def shown(task: Task, run: Run, names: Iterable[str]) -> Iterator[dict[str, np.ndarray]]:
    """Training examples as the exported network takes them, its inputs by these names, a few at a time."""
    modality, read = take("modalities", task.modality), reading(task)
    input = modality.parse(run.plan.backbone.input)
    rows = range(0, len(task.train), max(1, len(task.train) // SHOWN))
    for at in range(0, len(rows), 8):
        made = [
            modality.prepare(modality.decode(content(task.train, row, modality, read), read, input), input)
            for row in rows[at : at + 8]
        ]
        fed = modality.ship(made, input)
        yield {name: fed[name] for name in names}
