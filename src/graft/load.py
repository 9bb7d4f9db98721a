"""Path → Task: read every file once, audit, split, and seal the test part."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

import graft
from graft.core import home
from graft.core.codec import from_dict, from_json, to_dict, to_json
from graft.core.cores import cores
from graft.core.errors import DataError, GraftError
from graft.core.keys import content_id, key
from graft.core.nouns import Audit, Part, Sealed, Task
from graft.core.shelf import names, take
from graft.data import audit, files
from graft.data.columns import LABELS, TABLES, records
from graft.data.layout import Found, entries, only_table, walk
from graft.data.shortcuts import facts_of, warnings
from graft.domains import elsewhere, sourced
from graft.parts import FEWEST, Seen, apart, by_word, dated, enough, legible, lookalikes, parts, remarks, worded

LOOKED, CELLS = 50, 50_000  # rows of a table that show what it holds, fewer where it is wide
ARRAYS = (".npz", ".npy")
MANY = 20  # different numbers from which labels may be quantities
LONGEST = 1000  # characters of the longest path


def load(
    data: str | os.PathLike[str],
    *,
    modality: str | None = None,
    head: str | None = None,
    seed: int = 0,
    target: str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | None = None,
    **asked: Any,
) -> Task:
    """What is to be learned from these files.

    Args:
        data: a folder with one folder per class; a folder with train/, val/ and test/ of such; a CSV, TSV, JSONL or
            Parquet table; or a Task written before.
        modality, head: what the examples and the answers are; by default what the files and labels look like.
        seed: of the split.
        target: examples of the domain that is to be answered for, where it differs: unlabelled, or in class folders.
        source: labelled examples of another domain with the same labels, which may help: see `Task.source`.
        asked: columns of a table, where their names do not tell (path, label, group, time), and how its modality is to
            read an example (columns, rate, …).

    Raises:
        DataError: nothing usable is there; the text says what was found instead.

    Example:
        >>> task = load("photos/")              # doctest: +SKIP
        >>> task.outputs, len(task.train)       # doctest: +SKIP
        (('cat', 'dog'), 130)
    """
    place = Path(data).expanduser()
    if target is not None and source is not None:
        raise DataError("With --source the data are the target domain, with --target they are not: give one of them.")
    if (place / "card.json").is_file():
        use = f"`graft predict {place} INPUT` answers with it, `graft export {place} --format NAME` adds a format to it"
        raise DataError(f"{place} is an artifact, not data: {use}.")
    if place.suffix == ".json" and place.is_file():
        if target is not None or source is not None:
            raise DataError(f"{place} is a Task, which says itself what its other domain is: load the data again.")
        try:
            return from_json(Task, place.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{place} cannot be read as a Task: {error}.") from None
    asked = {name: value for name, value in asked.items() if value is not None}
    modality = modality or _kind(place, head, asked)
    reader = take("modalities", modality)
    labelled = not head or getattr(take("heads", head), "LABELLED", True)
    found = reader.find(place, asked) if labelled else reader.find(place, asked, labelled=False)
    reading = from_dict(reader.Reading, found.reading)
    skipped, notes = list(found.skipped), list(found.notes)
    facts = _read([row.item for row in found.rows], reader, reading)
    rows: list[Seen] = []
    for row in found.rows:
        id, fact = facts[row.item]
        if "error" in fact:
            skipped.append((row.item, fact["error"]))
        else:
            device = {"device": row.device} if row.device else {}
            rows.append(Seen(row.item, row.label, row.part, row.group, id, {**fact, **device}, row.time))
    if not rows:
        reasons = "; ".join(f"{Path(item).name}: {why}" for item, why in skipped[:3])
        raise DataError(f"None of the {len(found.rows)} examples in {place} can be used. {reasons}")
    notes += remarks(rows)

    name, kind = _head(rows, head, notes, lambda row: reader.decode(reader.fetch(row.item, reading), reading))
    rows, empty = legible(rows, kind)
    skipped += empty
    if kind.ROWS:
        reading = by_word(reader, reading)
        rows, odd = worded(rows, kind, reader, reading)
        skipped += odd
    if not rows:
        raise DataError(f"No example in {place} has a label that can be learned. " + _why(skipped))
    if kind.KIND == "softmax" and not kind.ROWS and (twins := audit.case_twins([str(row.label) for row in rows])):
        shown = ", ".join(f"{a!r} and {b!r}" for a, b in twins)
        raise DataError(f"Some labels differ only in case or spaces: {shown}. Are they one class? Give them one name.")
    both = audit.contradictions([repr(row.label) for row in rows], [row.id for row in rows])
    if kind.KIND == "softmax":
        skipped += [
            (row.item, f"the same {reader.WORD[0]} is labelled {' and '.join(both[row.id])}")
            for row in rows
            if row.id in both
        ]
        rows = [row for row in rows if row.id not in both]

    rows, moved = apart(rows)
    if kind.KIND == "softmax" and not kind.ROWS:
        rows, few = enough(rows, given=bool(rows and rows[0].part))
        skipped += few
    own = parts(rows, kind, seed, notes)
    learnt = [row.label for row, part in zip(rows, own, strict=True) if part == "train"]
    outputs = kind.outputs(learnt) if learnt else ()
    if kind.KIND == "squared" and len(found.names) == len(outputs):
        outputs = found.names
    if len(outputs) < (2 if kind.KIND == "softmax" else 1):
        which = f"one class, {outputs[0]!r}," if outputs else "no class"
        raise DataError(f"{place} leaves {which} to learn, and two are needed. " + _why(skipped))
    kept, targets = [], []
    for row, part in zip(rows, own, strict=True):
        try:
            targets.append(kind.encode(row.label, outputs))
            kept.append((row, part))
        except DataError as error:
            skipped.append((row.item, str(error)))

    columns = {}
    for part in ("train", "val", "test"):
        at = [i for i, (_, its) in enumerate(kept) if its == part]
        mine = [kept[i][0] for i in at]
        columns[part] = Part(
            tuple(row.item for row in mine),
            tuple(targets[i] for i in at),
            tuple(row.id for row in mine),
            tuple(row.group for row in mine) if any(row.group for row, _ in kept) else (),
        )
    if absent := [part for part in ("train", "val", "test") if not len(columns[part])]:
        raise DataError(f"The {' and '.join(absent)} part of {place} is empty. " + _why(skipped))
    if kind.KIND == "softmax" and not kind.ROWS:
        known = [row for row, part in kept if part == "train"]
        beside = facts_of([row.item for row in known], [row.facts for row in known])
        notes += warnings(beside, columns["train"].targets, outputs)
    metric, why = kind.choose_metric(kind.array(columns["train"].targets, len(outputs)), outputs)
    notes += [why] if why else []
    pairs = lookalikes(kept, [(found.rows[a].item, found.rows[b].item) for a, b in found.alike], notes)
    ours, aim, origin = [row for row, _ in kept], Part(), Part()
    if target is not None:
        there = reader.find(Path(target).expanduser(), {}, labelled=False).rows
        aim = elsewhere(there, _read([r.item for r in there], reader, reading), ours, kind, outputs, notes)
    if source is not None:
        there = reader.find(Path(source).expanduser(), asked).rows
        origin = sourced(there, _read([r.item for r in there], reader, reading), ours, kind, outputs, notes)
    seen = Audit(
        found=len(found.rows) + len(found.skipped),
        skipped=tuple(skipped),
        moved=tuple(moved),
        near_duplicates=tuple((kept[a][0].item, kept[b][0].item) for a, b in pairs),
        notes=tuple(notes),
        drawn=(not any(row.part for row in rows) or "train" not in {row.part for row in rows}) and not dated(rows),
    )
    read = to_dict(reading)
    label = key(
        modality, name, outputs, metric, read, seen.drawn, [(p.ids, p.targets, p.groups) for p in columns.values()]
    )
    label = key(label, aim.ids, aim.targets) if aim else label
    label = key(label, "source", origin.ids, origin.targets, origin.groups) if origin else label
    task = Task(
        name=place.resolve().stem, modality=modality, head=name, outputs=outputs, metric=metric, reading=read,
        train=columns["train"], val=columns["val"], test=Sealed(columns["test"]), seed=seed, audit=seen, key=label,
        target=aim, source=origin,
    )  # fmt: skip
    # What is adapted to this may be adapted further: then it is asked what was forgotten.
    home.write_text(home.folder("results", "load") / f"{label}.json", to_json(task))
    return task


def _kind(place: Path, head: str | None, asked: Mapping[str, Any]) -> str:
    """The modality that the data look like: by the endings of files, or else by the values in a table."""
    shelf = {name: take("modalities", name) for name in names("modalities")}
    if head and take("heads", head).ROWS:
        return next(name for name, one in shelf.items() if hasattr(one, "told"))  # that has answers word by word
    table = _table(place)
    arrays = table is not None and table.suffix.lower() in ARRAYS
    if holding := [name for name, one in shelf.items() if arrays and hasattr(one, "holds") and one.holds(table)]:
        return holding[0]
    told = (*LABELS, *str(asked.get("label") or "").lower().split(","))
    found = records(table) if table else []
    found = found[: max(5, min(LOOKED, CELLS // len(found[0])))] if found else []
    rows = [{name: cell for name, cell in row.items() if str(name).lower() not in told} for row in found]
    claiming = [name for name, one in shelf.items() if rows and hasattr(one, "claims") and one.claims(rows)]
    if arrays and claiming:
        return claiming[0]
    if table and not arrays:
        values = [value for row in rows for value in row.values() if isinstance(value, str)]
        endings = Counter(os.path.splitext(value)[1].lower() for value in values if len(value) < LONGEST)
    else:
        files = [place] if place.is_file() else walk(place, Found())
        endings = Counter(file.suffix.lower() for file in files)
    score = {name: sum(endings[suffix] for suffix in one.SUFFIXES) for name, one in shelf.items()}
    if (best := max(score, key=score.__getitem__)) and score[best]:
        return best
    return claiming[0] if claiming else "image"  # whose finder says what data should look like


def _table(place: Path) -> Path | None:
    """The table that shows what the data are: the only one, that of the training part, a file of arrays; else None."""
    if place.is_file() and place.suffix.lower() not in TABLES:
        return place if place.suffix.lower() in ARRAYS else None
    if (one := only_table(place, " Name a folder with one folder per class, or a table.")) or place.is_file():
        return one
    tables = {entry.stem.lower(): entry for entry in entries(place) if entry.suffix.lower() in (*TABLES, *ARRAYS)}
    return next((tables[name] for name in ("train", "training", "x") if name in tables), None)


def _head(rows: list[Seen], asked: str | None, notes: list[str], example: Callable[[Seen], Any]) -> tuple[str, Any]:
    """The head: a label for each word are tags, other lists several labels, fractions quantities, all else classes."""
    if asked:
        return asked, take("heads", asked)
    labels = [row.label for row in rows if row.label is not None]
    if lists := [row for row in rows if isinstance(row.label, list)][:LOOKED]:
        words = [example(row) for row in lists]
        fitting = [isinstance(w, list) and len(w) == len(row.label) for w, row in zip(words, lists, strict=True)]
        if 2 * sum(fitting) > len(lists):
            notes.append("Each word has a label of its own (head tagging).")
            return "tagging", take("heads", "tagging")
        notes.append("The labels are lists: several may hold of one example (head multilabel).")
        return "multilabel", take("heads", "multilabel")
    distinct = len({str(label) for label in labels})
    if distinct > MANY and all(_fraction(label) is not None for label in labels):
        if any(_fraction(label) for label in labels):
            notes.append("The labels are numbers with fractions: they are quantities (head regression).")
            return "regression", take("heads", "regression")
        if len(labels) < FEWEST * distinct:
            notes.append(f"{distinct} whole numbers for {len(labels)} examples are quantities (head regression).")
            return "regression", take("heads", "regression")
        notes.append("The labels are whole numbers, taken for classes; for quantities ask for the head regression.")
    if any(isinstance(label, str) and "|" in label for label in labels):
        notes.append("Some labels hold a |, and are taken for classes; for several labels ask for the head multilabel.")
    return "classification", take("heads", "classification")


def _fraction(label: Any) -> bool | None:
    """Whether a label is a number with a fraction; None where it is no number."""
    try:
        return not float(label).is_integer()
    except (TypeError, ValueError, OverflowError):
        return None


def _read(items: list[str], reader: Any, reading: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Content id and facts of every example, or why it cannot be used; unchanged files are not read again."""
    stamps = {}
    result: dict[str, tuple[str, dict[str, Any]]] = {}
    whole = [item for item in dict.fromkeys(items) if os.path.lexists(item)]  # others are rows of a file
    for item in whole:
        try:
            stamps[item] = files.stamp(item)
        except OSError as error:
            result[item] = ("", {"error": f"cannot be read: {error.strerror}"})
    known = files.known(list(stamps.values()))
    by = f"{reader.__name__} {reader.VERSION}, graft {graft.__version__}, {to_json(reading)}"
    seen = {item: known[at.path] for item, at in stamps.items() if known.get(at.path, ("", {}))[1].get("by") == by}
    result |= seen

    def read(item: str) -> tuple[str, str, dict[str, Any]]:
        try:
            data = reader.fetch(item, reading)
        except OSError as error:
            return item, "", {"error": f"cannot be read: {error.strerror}"}
        except GraftError as error:
            return item, "", {"error": str(error)}
        try:
            return item, content_id(data), {"by": by, **to_dict(reader.look(data, reading))}
        except GraftError as error:
            return item, content_id(data), {"error": str(error)}

    todo = [item for item in dict.fromkeys(items) if item not in seen and item not in result]
    with ThreadPoolExecutor(cores()) as pool:
        fresh = list(tqdm(pool.map(read, todo), total=len(todo), desc="reading", unit="file", delay=2, leave=False))
    files.learn((stamps[item], id, fact) for item, id, fact in fresh if "error" not in fact and item in stamps)
    return result | {item: (id, fact) for item, id, fact in fresh}


def _why(skipped: list[tuple[str, str]]) -> str:
    if not skipped:
        return "Nothing was left out."
    shown = "; ".join(f"{Path(item).name}: {why}" for item, why in skipped[:3])
    return f"{len(skipped)} were left out: {shown}{'; …' if len(skipped) > 3 else '.'}"
