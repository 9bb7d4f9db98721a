"""Task, Run → the training examples that an artifact remembers, so that an answer can show what it resembles."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from graft.build import reading
from graft.confidence import vectors
from graft.core.codec import to_json
from graft.core.examples import Target
from graft.core.nouns import Part, Run, Task
from graft.core.shelf import take
from graft.data.dataset import content
from graft.model.novelty import unit

MOST = 500  # examples: 0.5 MB of vectors where features are 512 wide, and some 2 MB of small photos
FILES = ("known.json", "known.safetensors")
SEED = 0  # of the choice among the examples of a class


def remember(task: Task, run: Run, labels: list[str], folder: Path) -> None:
    """Write name, label, small preview and feature vector of training examples, every class as often as the others.

    Names are those of files alone, never their places. Features are directions, in float16.
    """
    head, modality = take("heads", task.head), take("modalities", task.modality)
    part = task.train.select(_balanced(head.strata(task.train.targets)))
    features, said = vectors(task, run, part)
    given = part.targets if getattr(head, "LABELLED", True) else tuple(int(row) for row in said.argmax(1))
    preview, read = getattr(modality, "preview", None), reading(task)
    known: list[dict[str, Any]] = [
        {
            "name": Path(item).name,
            "label": _label(head.KIND, target, labels),
            "preview": preview(modality.decode(content(part, row, modality, read), read)) if preview else None,
        }
        for row, (item, target) in enumerate(zip(part.items, given, strict=True))
    ]
    (folder / FILES[0]).write_text(to_json({"examples": known}), encoding="utf-8")
    (folder / FILES[1]).write_bytes(save({"features": unit(features).numpy().astype(np.float16)}))


def spanned(task: Task) -> dict[str, Any]:
    """From where to where the values of the training examples lie, by name, and how far those of others lie outside,
    as a card says it; nothing where their modality has no such."""
    modality, read = take("modalities", task.modality), reading(task)
    if not hasattr(modality, "ranges"):
        return {}

    def decoded(part: Part) -> Iterator[Any]:
        return (modality.decode(content(part, row, modality, read), read) for row in range(len(part)))

    ranges = modality.ranges(decoded(task.train), read)
    return {"ranges": ranges, "slack": modality.slack(decoded(task.val), read, ranges)}


def _balanced(strata: list[str]) -> list[int]:
    """Rows, ascending: at most MOST, and of every stratum as many as of the others while there are any."""
    turns, rounds = Counter[str](), dict[int, int]()
    for row in np.random.default_rng(SEED).permutation(len(strata)).tolist():
        rounds[row] = turns[strata[row]]
        turns[strata[row]] += 1
    return sorted(sorted(rounds, key=rounds.__getitem__)[:MOST])


def _label(kind: str, target: Target, labels: list[str]) -> str:
    """A training example's label in words."""
    values = target if isinstance(target, tuple) else (target,)
    if kind != "squared":
        return ", ".join(labels[int(index)] for index in values)
    return ", ".join(f"{name} {value:.6g}" for name, value in zip(labels, values, strict=True))
