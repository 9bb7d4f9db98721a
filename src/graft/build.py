"""Backbone, head → Chain: open the pretrained network, put a head on it, find its stages; and its raw examples."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from graft.core.codec import from_dict
from graft.core.errors import BackboneError, PlanError, nearest
from graft.core.keys import key
from graft.core.nouns import Backbone, Form, Loading, Part, Task
from graft.core.shelf import names, take
from graft.data.dataset import Examples, content
from graft.model.chain import Chain, Found
from graft.model.network import Network, Windows
from graft.model.openvino import dtypes

log = logging.getLogger("graft")
DESCRIBED = ("modality", "family", "architecture", "params", "license", "pretrained_on")  # what a card repeats
FOUND: dict[str, Found] = {}  # of every kind of network that this process has built: runs and folds build many alike
SEEN = 200  # training examples that decide what a backbone's input leaves open


def device() -> str:
    """Where networks run here: the GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def find(id: str) -> Backbone:
    """The backbone of this id, "source/name", known without loading a weight.

    Raises:
        BackboneError: the source or the name is unknown; the nearest ones are offered.
    """
    source, _, name = id.partition("/")
    if source not in names("sources") or not name:
        known = [
            b.id for each in names("sources") for m in names("modalities") for b in take("sources", each).catalog(m)
        ]
        raise BackboneError(
            f"There is no backbone {id!r}.{nearest(id, known)} Write SOURCE/NAME with a source of: "
            f"{', '.join(names('sources'))}; `graft list backbones` shows what is at hand."
        )
    return take("sources", source).find(name)  # type: ignore[no-any-return]


def described(backbone: Backbone) -> None:
    """Refuse a description of a backbone that is not its source's, as a plan may have after an edit by hand.

    Raises:
        PlanError: it is another.
    """
    source = find(backbone.id)
    pairs = {name: (getattr(backbone, name), getattr(source, name)) for name in DESCRIBED}
    # What is not fetched yet has no revision.
    pairs |= {
        name: pair for name in ("revision", "sha256") if all(pair := (getattr(backbone, name), getattr(source, name)))
    }
    if wrong := [f"{name} is {is_!r} and should be {other!r}" for name, (is_, other) in pairs.items() if is_ != other]:
        raise PlanError(
            f"The plan describes {backbone.id} wrongly: {'; '.join(wrong)}. `graft plan --backbone {backbone.id}` "
            "makes a plan for it."
        )


def suited(backbone: Backbone, task: Task) -> Backbone:
    """The backbone with what its input leaves open (a window, columns, their scale) set for a task.

    Raises:
        BackboneError: it is made for another kind of example.
    """
    if backbone.modality != task.modality:
        raise BackboneError(f"{backbone.id} is made for {backbone.modality}, and {task.name} holds {task.modality}.")
    modality = take("modalities", task.modality)
    return replace(backbone, input=modality.suited(backbone.input, reading(task), _some(task)))


def remarks(backbone: Backbone, task: Task) -> tuple[str, ...]:
    """Sentences on how the task's examples fit the backbone: what is longer than it sees at once, what is missing."""
    modality = take("modalities", task.modality)
    if not hasattr(modality, "remarks"):
        return ()
    return tuple(modality.remarks(modality.parse(backbone.input), reading(task), _some(task)))


def views(task: Task) -> tuple[int, ...]:
    """How many augmented views of an example are worth keeping, most first; none where one might change the answer."""
    modality, head = take("modalities", task.modality), take("heads", task.head)
    moves = getattr(modality, "MOVES", False) and head.KIND == "squared"
    return () if moves else modality.VIEWS


def _some(task: Task) -> Iterator[Any]:
    """Decoded training examples: all, or a few hundred evenly from the whole part."""
    modality, read = take("modalities", task.modality), reading(task)
    part = task.train.select(range(0, len(task.train), max(1, len(task.train) // SEEN)))
    return (modality.decode(content(part, row, modality, read), read) for row in range(len(part)))


def reading(task: Task) -> Any:
    """How the task's raw examples are read, in its modality's own words."""
    return from_dict(take("modalities", task.modality).Reading, task.reading)


def examples(task: Task, part: Part, backbone: Backbone, seed: int = 0) -> Examples:
    """The raw examples of a part, as the backbone wants them, with their targets."""
    modality, head = take("modalities", task.modality), take("heads", task.head)
    targets = head.array(part.targets, len(task.outputs)) if part.targets else None
    return Examples(part, modality, reading(task), backbone.input, targets, seed, head.aligned if head.ROWS else None)


def build(
    backbone: Backbone,
    head: str,
    outputs: int,
    seed: int = 0,
    *,
    pretrained: bool = True,
    on: str | None = None,
) -> tuple[Chain, Loading]:
    """The backbone with a fresh head (a file of the `heads` shelf), as a chain on a device: by default this machine's.

    The head (and, without pretrained weights, the whole network) is initialised from the seed alone.
    """
    source, modality = take("sources", backbone.id.split("/")[0]), take("modalities", backbone.modality)
    kind, input = take("heads", head), modality.parse(backbone.input)
    torch.manual_seed(seed)
    body, loading = source.open(backbone, pretrained)
    if left := (*loading.missing, *loading.shape):
        log.warning(
            "%s: %d of its %d tensors are not in the weights or have another shape and stay random: %s%s",
            backbone.id, len(left), loading.matched + len(left), ", ".join(left[:5]), ", …" if len(left) > 5 else "",
        )  # fmt: skip
    example = {
        name: torch.from_numpy(value) for name, value in modality.example(input, 2, np.random.default_rng(0)).items()
    }
    if modality.RAGGED and not hasattr(body, "lay"):
        body = Windows(body)
    if kind.ROWS:
        if not hasattr(body, "by_row"):
            raise PlanError(f"{backbone.id} gives one vector an example, and {head} needs one for every token.")
        body.by_row()
    front = modality.front(input)
    with torch.no_grad():
        beside = {name: value for name, value in example.items() if name != "x"}
        width = body.eval()(front(example["x"]), **beside).shape[-1]
    torch.manual_seed(seed)
    network = Network(front, body, kind.head(width, outputs))
    place = on or device()
    network = network.to(place).to(memory_format=torch.channels_last)
    sizes = [(name, list(value.shape)) for name, value in network.state_dict().items()]
    made = key("found", backbone, head, outputs, place, sizes)
    chain = Chain(network, {name: value.to(place) for name, value in example.items()}, like=FOUND.get(made))
    FOUND[made] = chain.found
    return chain, loading


def form_here(form: Form) -> Form:
    """The form, on this machine's device; exact, where this machine has not its runtime."""
    there = form.runtime == "eager" or (device() == "cpu" and form.dtype in dtypes())
    return replace(form, device=device()) if there else Form(device=device(), batch=form.batch)
