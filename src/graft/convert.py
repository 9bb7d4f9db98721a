"""Artifact → the same artifact in further formats, each compared before it is kept."""

import logging
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

import graft
from graft.adapt import finished
from graft.core import home
from graft.core.card import Card
from graft.core.codec import from_dict
from graft.core.errors import ExportMismatch, PlanError
from graft.core.exhibits import FILES
from graft.core.keys import file_sha256
from graft.core.nouns import Artifact, Group, Row, Run, Task
from graft.core.shelf import take
from graft.export import drafted, held, keep, listed, prove
from graft.forms import added, chosen, needing, shipped, shown
from graft.known import FILES as KNOWN
from graft.parity import BATCHES, TOLERANCE, drawn
from graft.predict import Predictor

log = logging.getLogger("graft")


class Origin(NamedTuple):
    """What an artifact was made of, where this home still holds it."""

    task: Task
    run: Run
    row: Row  # of the report: what ships


def convert(
    artifact: str | os.PathLike[str],
    formats: Sequence[str],
    out: str | os.PathLike[str] | None = None,
    examples: bool = True,
) -> Artifact:
    """Write an artifact that stands in further formats too; nothing is trained again, and what it holds stays.

    Where the home knows the run and the examples that it learned from, all that `export` proves is proven again, on raw
    files in a fresh process. Where it does not, what the ONNX file alone makes is compared with that, on random
    examples, and the card says so.

    Args:
        formats: files of the `formats` shelf; none where only `out` or `examples` is to differ.
        out: another folder, in which a copy is then made; by default the artifact's own.
        examples: False leaves out the training examples that it remembers, and the report, which may show some.

    Raises:
        PlanError: there is no such format; it cannot be made of this artifact, or only where its data are; what to do.
        ExportMismatch: a fresh process computes something else, or the artifact is damaged.
        DataError: there is no artifact, or `out` is somebody else's.
    """
    asked, source = chosen(formats) if formats else (), Path(os.path.realpath(artifact))
    with held(artifact if out is None else out) as place:
        predictor = graft.open(source)
        card = predictor.card
        if asked and "baseline" in card:
            raise PlanError(
                f"{artifact} ships the baseline {card['baseline']}, which is no network: it has no other formats."
            )
        new = [name for name in asked if name not in card["formats"]]
        kept = [name for name in card["files"] if examples or name not in KNOWN]
        for name in () if examples else ("ranges", "slack", "made"):
            card.pop(name, None)  # by "made" an export knows that it has nothing to do
        if new or place != source or not examples:
            origin = _origin(card, new, str(artifact), str(out or artifact)) if new else None
            with drafted(place) as draft:
                _written(predictor, origin, new, kept, draft)
                with home.storage():
                    for name in (one for one in FILES if examples and (source / one).is_file()):
                        shutil.copyfile(source / name, draft / name)
    report = card["report"]
    return Artifact(
        path=str(out or artifact), ships=card["ships"], verdict=report.get("verdict", ""), sentence=report["sentence"],
        labels=tuple(card["labels"]), groups=tuple(from_dict(Group, one) for one in card.get("groups", [])),
        files={**card["files"], "card.json": file_sha256(place / "card.json")}, parity=card.get("parity", 0.0),
        predict=f"graft predict {out or artifact} {predictor.modality.WORD[0].upper()}",
    )  # fmt: skip


def _written(predictor: Predictor, origin: Origin | None, new: Sequence[str], kept: Sequence[str], draft: Path) -> None:
    """Write the artifact anew with what is added, and in its card how that was compared."""
    card, source = predictor.card, predictor.folder
    with home.storage():
        for name in kept:
            shutil.copyfile(source / name, draft / name)
        if origin:
            network = partial(shipped, origin.task, origin.run)
            card["formats"] |= added(draft, new, network, shown(origin.task, origin.run, card["schema_in"]))
        else:
            card["formats"] |= added(draft, new)
        card["files"] = listed(draft)
    if origin:
        prove(origin.task, origin.row, card, draft)
    else:
        _compare(predictor, new, draft)
    keep(card, draft)


def _origin(card: Card, new: Sequence[str], artifact: str, out: str) -> Origin | None:
    """What the artifact was made of; None where that is gone, and what is to be written does without.

    Raises:
        PlanError: it does not.
    """
    name, named = next(filter(needing, new), ""), " ".join(new)
    if "tasks" in card:
        if name:
            raise PlanError(f"{artifact} answers several tasks, and {name} is not made of its ONNX file alone.")
        return None
    run, task = finished(card["run"]), home.recall("load", card["task"]["key"], Task)
    lost = _lost(task) if task else "this home knows none of them"
    if run and task and not lost:
        row = next(row for row in card["report"]["rows"] if row["name"] == card["ships"])
        return Origin(task, run, from_dict(Row, row))
    if name and not run:
        raise PlanError(
            f"{name} needs the run {card['run']}, which is not in this home ({home.home()}). `graft export DATA "
            f"--format {named} --out {out}`, DATA being what it learned from, trains it again."
        )
    if name:
        raise PlanError(
            f"{name} is proven on the examples that {artifact} learned from, and {lost}. Run `graft load DATA`, DATA "
            f"being these, with the options of then, and `graft export {artifact} --format {named}` again."
        )
    return None


def _lost(task: Task) -> str:
    """Which of a task's files is gone, if one is; an item that is no file is one of many in a file."""
    gone = (item for item in (*task.train.items, *task.val.items) if not os.path.exists(item))
    return next((f"{item} is gone" for item in gone if not os.path.exists(item.rpartition("#")[0])), "")


def _compare(predictor: Predictor, new: Sequence[str], draft: Path) -> None:
    """Compare forms that were made of the ONNX file with it, and say so in the card.

    Raises:
        ExportMismatch: one answers otherwise.
    """
    card = predictor.card
    for name in new:
        files = ((one, draft / card["formats"][one]["files"][0]) for one in ("onnx", name))
        exact, made = (take("formats", one).read(file) for one, file in files)
        worst = 0.0
        for batch in BATCHES:
            fed = drawn(predictor, batch)
            right, said = exact(fed), made(fed)
            for output in filter(lambda one: one.startswith("logits"), right):
                unit = np.maximum(1.0, np.abs(right[output]).max(0))  # of quantities: float32 rounds large ones off
                difference = float((np.abs(said[output] - right[output]) / unit).max())
                if not difference <= TOLERANCE:
                    raise ExportMismatch(f"{name} differs from the ONNX file by {difference:.2g} in a logit: not kept.")
                worst = max(worst, difference)
        note = f"{name} was made of the ONNX file, and compared with it on random examples."
        card["notes"] = [*card["notes"], note]
        card["parity"] = max(card.get("parity", 0.0), worst)
        log.info("%s", note)
