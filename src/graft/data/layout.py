"""Where labelled examples stand: folders of classes, folders of parts, tables with a path and a label column."""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft.core.errors import DataError, nearest

PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
PATH_NAMES = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "img",
    "photo",
    "picture",
)
LABEL_NAMES = ("label", "class", "target", "category", "y", "labels", "classname", "class_name", "species", "diagnosis")
PART_NAMES = ("split", "part", "subset", "set", "partition")


@dataclass
class Found:
    """Examples as they were found: (path, label, part or ""), and what was left out."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(data: str | os.PathLike[str], suffixes: tuple[str, ...], path: str | None, label: str | None) -> Found:
    """The examples under a folder or in a table.

    Args:
        suffixes: lower-case endings of the files that are examples.
        path, label: a table's columns, where their names do not tell.

    Raises:
        DataError: nothing is there, or a table's columns cannot be told apart.
    """
    place = Path(data).expanduser()
    if place.is_file():
        if place.suffix.lower() not in TABLES:
            raise DataError(f"{place} is neither a folder nor a table ({', '.join(TABLES)}).")
        return _table(place, suffixes, path, label)
    if place.is_dir() and (path or label):
        option = "--path" if path else "--label"
        raise DataError(f"{option} names a column of a table, but {place} is a folder: its folders are the labels.")
    if not place.is_dir():
        beside = list(place.parent.iterdir()) if place.parent.is_dir() else []
        known = [str(entry) for entry in beside if entry.is_dir() or entry.suffix.lower() in TABLES]
        raise DataError(f"There is no {place}.{nearest(str(place), known)}")
    folders = sorted(entry for entry in _entries(place) if entry.is_dir())
    tables = [entry for entry in _entries(place) if entry.suffix.lower() in TABLES]
    if not folders and len(tables) == 1:
        return _table(tables[0], suffixes, path, label)
    found = Found()
    parts = [entry for entry in folders if entry.name.lower() in PARTS]
    # A folder called train may also be a class, of vehicles say: as a part it holds folders.
    if any(PARTS[e.name.lower()] == "train" and any(inner.is_dir() for inner in _entries(e)) for e in parts):
        for entry in parts:
            _classes(entry, PARTS[entry.name.lower()], suffixes, found)
        found.skipped += [
            (str(entry), "stands beside the folders of the parts") for entry in _entries(place) if entry not in parts
        ]
    else:
        _classes(place, "", suffixes, found)
    if not found.rows:
        shown = ", ".join(suffixes[:6])
        raise DataError(
            f"No examples were found in {place}. It should hold one folder per class with files ({shown}, …), or "
            f"train/, val/ and test/ with such folders, or be a table ({', '.join(TABLES)})."
            + (
                f" {len(found.skipped)} entries were left out, such as {found.skipped[0][0]}: {found.skipped[0][1]}."
                if found.skipped
                else ""
            )
        )
    return found


def _entries(place: Path) -> list[Path]:
    try:
        return sorted(entry for entry in place.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror}.") from None


def _classes(place: Path, part: str, suffixes: tuple[str, ...], found: Found) -> None:
    for entry in _entries(place):
        if not entry.is_dir():
            found.skipped.append((str(entry), "stands in no class folder"))
            continue
        count = len(found.rows)
        for file in _walk(entry, found):
            if file.suffix.lower() in suffixes:
                found.rows.append((str(file.absolute()), entry.name, part))
            else:
                found.skipped.append((str(file), f"its ending {file.suffix!r} is not that of an example"))
        if count == len(found.rows):
            found.skipped.append((str(entry), "the folder holds no examples"))


def _walk(place: Path, found: Found) -> Iterator[Path]:
    """Files below a folder, in a fixed order, links followed but never in a circle."""
    seen = set(place.resolve().parents)
    waiting = [place]
    while waiting:
        here = waiting.pop(0)
        real = here.resolve()
        if real in seen:
            found.skipped.append((str(here), "a link back to a folder that is read anyway"))
            continue
        seen.add(real)
        try:
            entries = _entries(here)
        except DataError as error:
            found.skipped.append((str(here), str(error)))
            continue
        for entry in entries:
            try:
                is_folder = entry.is_dir()
            except OSError as error:  # a link to itself
                found.skipped.append((str(entry), f"cannot be followed: {error.strerror}"))
                continue
            if is_folder:
                waiting.append(entry)
            else:
                yield entry


def records(place: Path) -> list[dict[str, Any]]:
    """The rows of a table as dicts.

    Raises:
        DataError: the table cannot be read.
    """
    kind = place.suffix.lower()
    try:
        if kind == ".parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_table(place).to_pylist()  # type: ignore[no-any-return]
        with place.open(encoding="utf-8-sig", newline="") as file:
            if kind in (".jsonl", ".ndjson"):
                return [_object(place, number, line) for number, line in enumerate(file, 1) if line.strip()]
            lines = file.readlines()
            return list(csv.DictReader(lines, delimiter="\t" if kind == ".tsv" else _mark(lines)))
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{place} cannot be read as a table: {error}.") from None


def _mark(lines: list[str]) -> str:
    """What parts the columns: a comma, or else the semicolon of spreadsheets where the comma is the decimal mark."""
    for mark in ",;\t":
        widths = {len(row) for row in csv.reader(lines[:20], delimiter=mark) if row}
        if len(widths) == 1 and max(widths) > 1:
            return mark
    return ","


def _object(place: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place} cannot be read as a table: line {number} is not JSON ({error.msg}).") from None
    if not isinstance(row, dict):
        raise DataError(f"Every line of {place} must be a JSON object; line {number} is {row!r}.")
    return row


def locations(place: Path, suffixes: tuple[str, ...], path: str | None = None) -> list[str]:
    """The files that a table's rows name, its labels not looked at."""
    rows = records(place)
    if not rows:
        raise DataError(f"The table {place} is empty.")
    column = _path_column(place, rows, path, suffixes)
    return [str(_where(place, row.get(column))) for row in rows]


def _table(place: Path, suffixes: tuple[str, ...], path: str | None, label: str | None) -> Found:
    rows = records(place)
    if not rows:
        raise DataError(f"The table {place} is empty.")
    path_column = _path_column(place, rows, path, suffixes)
    columns = [column for column in rows[0] if column is not None]
    part_column = next(
        (c for c in columns if c.lower() in PART_NAMES and {str(r.get(c)).lower() for r in rows} <= PARTS.keys()), None
    )
    label_column = _label_column(place, rows, label, (path_column, part_column))
    found = Found(notes=[f"Read {place.name}: paths from the column {path_column!r}, labels from {label_column!r}."])
    if part_column:
        found.notes.append(f"The column {part_column!r} says which part each row belongs to.")
    for number, row in enumerate(rows, 1):
        where, value = _where(place, row.get(path_column)), row.get(label_column)
        text = "" if value is None or value != value else str(value).strip()
        if isinstance(value, float) and value.is_integer():
            text = str(int(value))
        if not row.get(path_column):
            found.skipped.append((f"{place.name} row {number}", "its path is empty"))
        elif not text:
            found.skipped.append((str(where), f"row {number} has an empty label"))
        elif not where.is_file():
            found.skipped.append((str(where), f"row {number} names a file that is not there"))
        else:
            part = PARTS[str(row[part_column]).lower()] if part_column else ""
            found.rows.append((str(where.absolute()), text, part))
    if not found.rows:
        raise DataError(
            f"None of the {len(rows)} rows of {place} is usable; the first: "
            f"{found.skipped[0][0]}: {found.skipped[0][1]}."
        )
    return found


def _where(place: Path, value: Any) -> Path:
    if value is not None and value == value and not isinstance(value, str):
        raise DataError(
            f"The paths of {place} are no texts but {type(value).__name__}. Name another column with --path."
        )
    return place.parent / ("" if value is None or value != value else value.strip())


def _path_column(place: Path, rows: list[dict[str, Any]], given: str | None, suffixes: tuple[str, ...]) -> str:
    columns = [column for column in rows[0] if column is not None]
    if (column := _named(place, columns, given, PATH_NAMES)) is not None:
        return column
    if telling := [c for c in columns if all(str(row.get(c) or "").lower().endswith(suffixes) for row in rows[:50])]:
        return telling[0]
    raise DataError(f"Which column of {place} holds the paths? It has: {', '.join(columns)}. Name it with --path.")


def _named(place: Path, columns: list[str], given: str | None, usual: tuple[str, ...]) -> str | None:
    """The column that was asked for, else the first with a usual name, if there is one."""
    if given is None:
        return next((c for name in usual for c in columns if c.lower().strip() == name), None)
    if given not in columns:
        raise DataError(f"{place} has no column {given!r}.{nearest(given, columns)} It has: {', '.join(columns)}.")
    return given


def _label_column(place: Path, rows: list[dict[str, Any]], given: str | None, taken: tuple[str | None, ...]) -> str:
    columns = [column for column in rows[0] if column is not None and column not in taken]
    if (column := _named(place, columns, given, LABEL_NAMES)) is not None:
        return column
    if len(columns) == 1:
        return columns[0]
    if not columns:
        raise DataError(f"{place} has no column of labels: what is to be learned stands nowhere.")
    raise DataError(f"Which column of {place} holds the labels? It has: {', '.join(columns)}. Name it with --label.")
