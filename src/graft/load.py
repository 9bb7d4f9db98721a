"""Path → Task: read every file once, audit, split, and seal the test part."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

import graft
from graft.core.codec import from_json
from graft.core.errors import DataError, GraftError
from graft.core.keys import content_id, key
from graft.core.nouns import Audit, Part, Sealed, Task
from graft.core.shelf import take
from graft.data import audit, files, layout
from graft.data.splits import split

FEWEST = 3  # distinct examples a class needs to stand in train, val and test
UNEVEN = 3.0  # largest class over smallest, from which the metric counts every class alike


def load(
    data: str | os.PathLike[str],
    *,
    path: str | None = None,
    label: str | None = None,
    modality: str = "image",
    head: str = "classification",
    seed: int = 0,
) -> Task:
    """What is to be learned from these files.

    Args:
        data: a folder with one folder per class; a folder with train/, val/ and test/ of such; a CSV, TSV, JSONL or
            Parquet table with a path and a label column; or a Task written before.
        path, label: the table's columns, where their names do not tell.
        seed: of the split.

    Raises:
        DataError: nothing usable is there; the text says what was found instead.

    Example:
        >>> task = load("photos/")              # doctest: +SKIP
        >>> task.outputs, len(task.train)       # doctest: +SKIP
        (('cat', 'dog'), 130)
    """
    place = Path(data)
    if place.suffix == ".json" and place.is_file():
        try:
            return from_json(Task, place.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{place} cannot be read as a Task: {error}.") from None
    reader = take("modalities", modality)
    found = layout.find(place, reader.SUFFIXES, path, label)
    skipped, notes = list(found.skipped), list(found.notes)
    facts = _read([item for item, *_ in found.rows], reader)
    rows = []
    for item, name, part in found.rows:
        id, fact = facts[item]
        if "error" in fact:
            skipped.append((item, fact["error"]))
        else:
            rows.append((item, name, part, id, fact))
    if not rows:
        reasons = "; ".join(f"{Path(item).name}: {why}" for item, why in skipped[:3])
        raise DataError(f"None of the {len(found.rows)} files in {place} can be used. {reasons}")

    if twins := audit.case_twins([name for _, name, *_ in rows]):
        shown = ", ".join(f"{a!r} and {b!r}" for a, b in twins)
        raise DataError(f"Some labels differ only in case or spaces: {shown}. Are they one class? Give them one name.")
    both = audit.contradictions([name for _, name, *_ in rows], [id for *_, id, _ in rows])
    skipped += [
        (item, f"the same file is labelled {' and '.join(both[id])}") for item, _, _, id, _ in rows if id in both
    ]
    rows = [row for row in rows if row[3] not in both]

    rows, moved = _apart(rows)
    rows, few = _enough(rows, given=bool(rows and rows[0][2]))
    skipped += few
    parts = _parts(rows, seed, notes)
    outputs = _ordered({name for (_, name, *_), part in zip(rows, parts, strict=True) if part == "train"})
    strangers = [(row[0], f"the class {row[1]!r} is not in the training part") for row in rows if row[1] not in outputs]
    skipped += strangers
    keep = [i for i, row in enumerate(rows) if row[1] in outputs]
    rows, parts = [rows[i] for i in keep], [parts[i] for i in keep]
    if len(outputs) < 2:
        which = f"one class, {outputs[0]!r}," if outputs else "no class"
        raise DataError(f"{place} leaves {which} to learn, and two are needed. " + _why(skipped))

    columns = {
        name: Part(
            tuple(row[0] for row, part in zip(rows, parts, strict=True) if part == name),
            tuple(outputs.index(row[1]) for row, part in zip(rows, parts, strict=True) if part == name),
            tuple(row[3] for row, part in zip(rows, parts, strict=True) if part == name),
        )
        for name in ("train", "val", "test")
    }
    if empty := [name for name in ("val", "test") if not len(columns[name])]:
        raise DataError(f"The {' and '.join(empty)} part of {place} is empty. " + _why(skipped))
    counts = Counter(columns["train"].targets)
    uneven = max(counts.values()) / min(counts.values())
    metric = "balanced_accuracy" if uneven >= UNEVEN else "accuracy"
    if metric != "accuracy":
        big, small = outputs[max(counts, key=lambda c: counts[c])], outputs[min(counts, key=lambda c: counts[c])]
        notes.append(
            f"The classes are uneven ({max(counts.values())} of {big!r}, {min(counts.values())} of {small!r} to train "
            "on), so the metric is balanced accuracy: the mean over the classes."
        )
    pairs = audit.alike([row[4].get("hash", 0) for row in rows], [row[3] for row in rows], parts)
    if pairs:
        notes.append(f"{len(pairs)} pairs in different parts look alike; what is measured may be too good.")
    seen = Audit(
        found=len(found.rows) + len(found.skipped),
        skipped=tuple(skipped),
        moved=tuple(moved),
        near_duplicates=tuple((rows[a][0], rows[b][0]) for a, b in pairs[: audit.SHOWN]),
        notes=tuple(notes),
    )
    name = key(modality, head, outputs, metric, [(p.ids, p.targets) for p in columns.values()])
    return Task(
        name=place.resolve().stem, modality=modality, head=head, outputs=outputs, metric=metric,
        train=columns["train"], val=columns["val"], test=Sealed(columns["test"]), seed=seed, audit=seen, key=name,
    )  # fmt: skip


def _read(items: list[str], reader: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Content id and facts of every file, or the reason why it cannot be used; unchanged files are not read again."""
    stamps = {}
    result: dict[str, tuple[str, dict[str, Any]]] = {}
    for item in dict.fromkeys(items):
        try:
            stamps[item] = files.stamp(item)
        except OSError as error:
            result[item] = ("", {"error": f"cannot be read: {error.strerror}"})
    known = files.known(list(stamps.values()))
    by = f"{reader.__name__} {reader.VERSION}, graft {graft.__version__}"
    seen = {item: known[at.path] for item, at in stamps.items() if known.get(at.path, ("", {}))[1].get("by") == by}
    result |= seen

    def read(item: str) -> tuple[str, str, dict[str, Any]]:
        try:
            data = Path(item).read_bytes()
        except OSError as error:
            return item, "", {"error": f"cannot be read: {error.strerror}"}
        try:
            return item, content_id(data), {"by": by, **asdict(reader.look(data))}
        except GraftError as error:
            return item, content_id(data), {"error": str(error)}

    todo = [item for item in stamps if item not in seen]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        fresh = list(tqdm(pool.map(read, todo), total=len(todo), desc="reading", unit="file", delay=2, leave=False))
    files.learn((stamps[item], id, fact) for item, id, fact in fresh if "error" not in fact)
    return result | {item: (id, fact) for item, id, fact in fresh}


def _apart(rows: list[Any]) -> tuple[list[Any], list[tuple[str, str]]]:
    """Copies of one content brought into one part: that of training, where one of them stands there."""
    order = {"train": 0, "val": 1, "test": 2, "": 0}
    home: dict[str, str] = {}
    for *_, part, id, _ in rows:
        home[id] = min(part, home.get(id, part), key=order.__getitem__)
    moved = [
        (item, f"moved from {part} to {home[id]}, where a copy of it stands")
        for item, _, part, id, _ in rows
        if part != home[id]
    ]
    copies = Counter(id for *_, id, _ in rows)
    first: dict[str, str] = {}
    for item, _, part, id, _ in rows:
        source = first.setdefault(id, item)
        if copies[id] > 1 and part == home[id]:
            kept = f"has copies ({copies[id] - 1})" if source == item else f"a copy of {source}"
            moved.append((item, f"{kept}; all of them stand in one part"))
    return [(item, name, home[id], id, fact) for item, name, _, id, fact in rows], moved


def _enough(rows: list[Any], given: bool) -> tuple[list[Any], list[tuple[str, str]]]:
    """Classes with too few distinct examples to stand in every part are left out, file by file, by name."""
    if given:
        return rows, []
    distinct = Counter(name for name, _ in {(row[1], row[3]) for row in rows})
    few = [
        (row[0], f"the class {row[1]!r} has {_count(distinct[row[1]])}, and {FEWEST} are needed")
        for row in rows
        if distinct[row[1]] < FEWEST
    ]
    return [row for row in rows if distinct[row[1]] >= FEWEST], few


def _count(distinct: int) -> str:
    return "1 distinct example" if distinct == 1 else f"{distinct} distinct examples"


def _parts(rows: list[Any], seed: int, notes: list[str]) -> list[str]:
    given = {row[2] for row in rows}
    if given <= {""}:
        return split([row[1] for row in rows], [row[3] for row in rows], seed)
    parts = [row[2] for row in rows]
    wanted = [part for part in ("test", "val") if part not in given]
    if wanted:
        train = [i for i, part in enumerate(parts) if part == "train"]
        cut = split([rows[i][1] for i in train], [rows[i][3] for i in train], seed, wanted)
        for i, part in zip(train, cut, strict=True):
            parts[i] = part
        notes.append(f"There was no {' and no '.join(wanted)} part; it was cut from the training part.")
    return parts


def _ordered(labels: set[str]) -> tuple[str, ...]:
    """Labels in order: as numbers where all are."""
    if all(label.lstrip("-").isdigit() for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))


def _why(skipped: list[tuple[str, str]]) -> str:
    if not skipped:
        return "Nothing was left out."
    shown = "; ".join(f"{Path(item).name}: {why}" for item, why in skipped[:3])
    return f"{len(skipped)} were left out: {shown}{'; …' if len(skipped) > 3 else '.'}"
