"""Task, Run, Report → Artifact: write what the report ships, reload it in a fresh process, compare."""

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import graft
from graft.adapt import belongs, finished
from graft.core import home
from graft.core.card import SCHEMA, Card, opened
from graft.core.codec import to_dict, to_json
from graft.core.errors import DataError, GraftError, PlanError
from graft.core.examples import called, placeless
from graft.core.exhibits import FILES
from graft.core.keys import file_sha256, key
from graft.core.nouns import Artifact, Group, Report, Row, Run, Task
from graft.core.shelf import names, take
from graft.forms import bounded, chosen, judged, written
from graft.groups import groups, named
from graft.known import remember, spanned
from graft.parity import expected, faithful, proven

log = logging.getLogger("graft")


def export(
    task: Task,
    run: Run,
    report: Report,
    out: str | os.PathLike[str] = "artifact",
    examples: bool = True,
    formats: Sequence[str] = (),
) -> Artifact:
    """Write the artifact folder that ships, and prove that it computes what was trained.

    After a negative verdict this is not the adapted model but the better row. The folder holds card.json, weights
    (safetensors), an ONNX file unless a baseline ships, and no pickle. Where the same artifact stands there already,
    whole, it stays as it is.

    Args:
        examples: whether the folder keeps names, small previews and features of training examples, so that an answer
            can show what it resembles; False where these are nobody else's business.
        formats: what else to write, files of the `formats` shelf; one that loses accuracy is kept within its bound.

    Raises:
        ExportMismatch: a fresh process computes something else.
        DataError: `out` exists and is not an artifact.
        PlanError: the run or the report belongs to other data, or there is no such format.
    """
    belongs(task, run)
    if report.task != task.key or report.run != run.key:
        raise PlanError("The report is of another run or other data. Run `graft verify` on these.")
    row = next(row for row in report.rows if row.name == report.ships)
    forms = () if row.name in names("baselines") else chosen(formats)
    made = key("artifact", graft.__version__, SCHEMA, task.key, task.name, report, forms, examples)
    with held(out) as place:
        card = _standing(place, made)
        if card is None:
            with drafted(place) as draft:
                card = {**_written(task, row, report, draft, forms, examples), "made": made}
                keep(card, draft)
    return Artifact(
        path=str(out), ships=report.ships, verdict=report.verdict, sentence=report.sentence,
        labels=tuple(card["labels"]), groups=_found(task, row),
        files={**card["files"], "card.json": file_sha256(place / "card.json")}, parity=card["parity"],
        predict=f"graft predict {out} {example(task)}",
    )  # fmt: skip


def example(task: Task) -> str:
    """What stands for a new example in a command: a file like those that were learned from."""
    return f"new{PurePath(task.train.items[0].partition('#')[0]).suffix}"


def _standing(place: Path, made: str) -> Card | None:
    """The card of the artifact in a place, if it is whole and made of the same things."""
    try:
        card = opened(place)
    except (GraftError, OSError):
        return None
    return card if card.get("made") == made else None


@contextlib.contextmanager
def held(out: str | os.PathLike[str]) -> Iterator[Path]:
    """Where an artifact is to stand; two that write one folder do so one after the other."""
    check_out(out)
    place = Path(os.path.realpath(out))  # a name of its own, also for "."
    with home.storage():
        place.parent.mkdir(parents=True, exist_ok=True)
    with home.lock("results", f"out-{key(str(place))}"):
        _restored(place)
        yield place


@contextlib.contextmanager
def drafted(place: Path) -> Iterator[Path]:
    """An empty folder that takes the place of what stands there when the block ends well, and else vanishes."""
    draft = place.with_name(f".{place.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with home.storage():
            draft.mkdir()
        yield draft
        _placed(draft, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def keep(card: Card, draft: Path) -> None:
    """Write a card beside the files that it lists."""
    with home.storage():
        (draft / "card.json").write_text(to_json(card, indent=1), encoding="utf-8")


def listed(draft: Path) -> dict[str, str]:
    """The files of a folder and their sha256, as a card lists them."""
    return {entry.name: file_sha256(entry) for entry in sorted(draft.iterdir()) if entry.name != "card.json"}


def _written(task: Task, row: Row, report: Report, draft: Path, forms: Sequence[str], examples: bool) -> Card:
    card = _described(task, row, report)
    with home.storage():
        if row.name in names("baselines"):
            card |= _baseline(row.name, row.run, draft)
        else:
            run, more = written(task, row.run, draft, forms)
            card |= more
            if examples and not take("heads", task.head).ROWS:
                remember(task, run, card["labels"], draft)
        if examples:
            card |= spanned(task)
        card["files"] = listed(draft)
    prove(task, row, card, draft)
    return card


def prove(task: Task, row: Row, card: Card, draft: Path) -> None:
    """Compare a draft with what was trained, in a fresh process, and say so in its card; a form that loses goes.

    Raises:
        ExportMismatch: one that is to be exact computes something else.
    """
    keep(card, draft)
    card["proof"] = proven(draft, expected(task, row), torch="baseline" not in card)
    bounds = {name: bound for name in card["formats"] if (bound := bounded(name))}
    card["parity"] = faithful(card["proof"], list(bounds))
    for name, bound in bounds.items():
        _judge(task, row, card, draft, name, bound)


def _described(task: Task, row: Row, report: Report) -> Card:
    """What a card says of any artifact, but not where the data lie: it is shown to whoever asks a server for it."""
    head, found = take("heads", task.head), _found(task, row)
    card = {
        "schema": SCHEMA, "graft": graft.__version__, "modality": task.modality, "head": task.head,
        "reading": task.reading, "labels": named(task, found),
        "groups": to_dict([replace(one, examples=tuple(map(called, one.examples))) for one in found]),
        "task": {"name": task.name, "key": task.key, "metric": task.metric},
        "ships": report.ships, "report": to_dict(unplaced(task, report)), "notes": [],
    }  # fmt: skip
    if head.KIND == "sigmoid":  # folded into the weights: a score above this is a label that is given
        card["thresholds"] = dict.fromkeys(card["labels"], 0.5)
    if worth := report.calibration:
        card["trust"] = worth.trust
    return card


def _found(task: Task, row: Row) -> tuple[Group, ...]:
    """The groups that were found, where nobody named any; their examples by where they lie."""
    run = finished(row.run)
    return groups(task, run) if run else ()


def unplaced(task: Task, report: Report) -> Report:
    """A report that names examples without saying where they lie."""
    return replace(report, notes=bare(task, report.notes), suspects=placeless(report.suspects))


def bare(task: Task, sentences: Sequence[str]) -> tuple[str, ...]:
    """Sentences that name files without saying where they lie."""
    folder = os.path.commonpath([os.path.dirname(item) for item in task.train.items]) + os.sep
    return tuple(sentence.replace(folder, "") for sentence in sentences)


def _judge(task: Task, row: Row, card: Card, draft: Path, name: str, bound: float) -> None:
    """Keep a form that loses accuracy, and say how much; or take it out, and say why."""
    gain, within = judged(task, row, draft, name, bound)
    form, many = card["formats"][name], f"{len(task.val)} validation {take('modalities', task.modality).WORD[1]}"
    told = f"{task.metric} {gain[0]:+.3f} ({gain[1]:+.3f} to {gain[2]:+.3f}) on {many}, against full precision"
    if within:
        form |= {"gain": gain, "bound": bound, "note": f"{told}; at most {bound:g} may be lost."}
        return
    for file in form["files"]:
        (draft / file).unlink()
        del card["files"][file]
    del card["formats"][name], card["proof"][name]
    note = f"{name} was not kept: {told}; that it loses at most {bound:g} is not shown."
    card["notes"] = [*dict.fromkeys([*card["notes"], note])]
    log.warning("%s", note)


def check_out(out: str | os.PathLike[str]) -> None:
    """Refuse a folder that is somebody else's, before anything slow is done.

    Raises:
        DataError: it exists and is not an artifact, or nothing can be written there.
    """
    place = Path(out)
    if place.exists() and not place.is_dir():
        raise DataError(f"{place} exists and is no folder. Choose another --out.")
    writable(place)
    if place.exists() and not (place / "card.json").is_file() and any(place.iterdir()):
        raise DataError(f"{place} exists and holds something other than an artifact. Choose another --out.")


def writable(place: str | os.PathLike[str]) -> None:
    """Refuse a folder that cannot be written, by making another beside it: a right to write does not tell of /proc."""
    above = next(one for one in Path(os.path.realpath(place)).parents if one.exists())
    try:
        os.rmdir(tempfile.mkdtemp(dir=above, prefix=".graft."))
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise DataError(f"{place} cannot be written: {above} takes no folder ({why}). Choose another.") from None


def _baseline(name: str, state_key: str, draft: Path) -> dict[str, Any]:
    weights = home.folder("runs", state_key) / "weights.safetensors"
    if not weights.is_file():
        raise PlanError(f"The fitted {name} baseline is no longer in the home. Run `graft verify` again.")
    shutil.copyfile(weights, draft / "weights.safetensors")
    return {"baseline": name, "license": "Apache-2.0", "formats": {}}


def _placed(draft: Path, place: Path) -> None:
    """Put the draft in its place; of an artifact that stood there, what was not its own is kept."""
    old = _old(place)
    with home.storage():
        if not place.exists():
            draft.rename(place)
            return
        place.rename(old)
        try:
            draft.rename(place)
        except BaseException:
            old.rename(place)
            raise
        _restored(place)


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _restored(place: Path) -> None:
    """What a process that was killed while it replaced an artifact has left behind, put right."""
    old = _old(place)
    if old.is_dir() and not place.exists():
        old.rename(place)
    elif old.is_dir():
        own = {"card.json", *_files(old), *FILES}
        for entry in old.iterdir():
            if entry.name not in own and not (place / entry.name).exists():
                entry.rename(place / entry.name)
        shutil.rmtree(old, ignore_errors=True)


def _files(artifact: Path) -> set[str]:
    """Names that an artifact's card lists."""
    try:
        return set(json.loads((artifact / "card.json").read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()
