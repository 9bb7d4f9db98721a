"""Tables as files hold them: their rows, and which columns are labels, parts and groups."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graft.core.errors import DataError, nearest
from graft.data import tables

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
CALLED = ("label", "class", "target", "category", "y", "labels", "classname", "class_name")  # as labels alone are
LABELS = (*CALLED, "species", "diagnosis", "tags", "topic", "topics", "sentiment", "intent")
PART_NAMES = ("split", "part", "subset", "set", "partition")
TIMES = ("date", "datetime", "timestamp", "time", "taken_at", "recorded_at", "created_at")
DEVICES = ("device", "camera", "scanner", "microphone", "recorder", "instrument", "machine", "site")


class Roles(NamedTuple):
    """Which columns of a table say what."""

    labels: tuple[str, ...]  # one, or several quantities
    part: str | None
    group: str | None
    time: str | None = None
    device: str | None = None

    def beside(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """When a row was taken, and with what, where columns say so."""
        device = row.get(self.device) if self.device else None
        when = moment(row.get(self.time)) if self.time else None
        return {"time": when, "device": "" if device is None or device != device else str(device).strip()}


def records(place: Path) -> list[dict[str, Any]]:
    """The rows of a table as dicts.

    Raises:
        DataError: the table cannot be read.
    """
    return tables.read(place).records()


def roles(
    place: Path,
    rows: Sequence[Mapping[str, Any]],
    asked: Mapping[str, Any],
    grouped: Sequence[str] = (),
    taken: Sequence[str] = (),
) -> Roles:
    """The columns of labels, parts and groups: those asked for, else those with a usual name.

    Args:
        asked: "label" may name several columns, with commas between them; "group" and "time" one.
        grouped: usual names, in lower case, of a column that says who or what an example comes from.
        taken: columns that hold the examples themselves.

    Raises:
        DataError: a column that was asked for is not there or holds no times, or the labels' cannot be told.
    """
    columns = [column for column in rows[0] if column is not None and column not in taken]
    part = _part(place, rows, [c for c in columns if c.lower() in PART_NAMES])
    group = named(place, columns, asked.get("group"), grouped)
    told = {part, group, *str(asked.get("label") or "").split(",")}
    time = _time(place, rows, [c for c in columns if c not in told], asked.get("time"))
    device = named(place, [c for c in columns if c not in (*told, time)], None, DEVICES)
    label, every = asked.get("label"), [column for column in rows[0] if column is not None]
    if label in taken:
        raise DataError(f"The column {label!r} of {place} holds the examples themselves: another one holds the labels.")
    if label and label not in every and "," not in label:
        named(place, every, label, ())  # says what there is
    names = _labels(place, rows, [c for c in columns if c not in (part, group, time)], label)
    return Roles(names, part, group, time, None if device in names else device)


def moment(value: Any) -> float | None:
    """Seconds since 1970 of a date or time as ISO 8601 writes it (UTC where it says nothing); a number as it is."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    try:
        if not isinstance(value, datetime) and (not isinstance(value, str) or _number(value)):
            return None if value is None or value != value else float(value)
        told = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip().replace("/", "-"))
    except (TypeError, ValueError):
        return None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()


def _time(place: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], asked: str | None) -> str | None:
    """The column that says when each row was taken: the one asked for, or one of dates throughout with a usual name.

    Raises:
        DataError: the column asked for holds something else.
    """
    column = named(place, columns, asked, TIMES)
    if column is None:
        return None
    odd = [row.get(column) for row in rows if moment(row.get(column)) is None]
    if asked and odd:
        raise DataError(
            f"{len(odd)} of {len(rows)} values of {column!r} in {place} are no times, such as {odd[0]!r}. Write them "
            "as 2026-01-31, as 2026-01-31T09:30, or as numbers that grow."
        )
    # A number under such a name may be a quantity: the time that something took.
    dated = all(isinstance(row.get(column), date) or not _number(str(row.get(column))) for row in rows)
    return column if asked or (dated and not odd) else None


def _part(place: Path, rows: Sequence[Mapping[str, Any]], named: Sequence[str]) -> str | None:
    """The column that says which part each row stands in."""
    for column in named:
        said = {str(row.get(column)).lower() for row in rows}
        if said <= PARTS.keys():
            return column
        if "train" in said:
            others = ", ".join(repr(one) for one in sorted(said - PARTS.keys())[:3])
            raise DataError(
                f"The column {column!r} of {place} says which part a row stands in, but holds {others} too. "
                f"Known are {', '.join(PARTS)}: mend these rows, or rename the column if it says something else."
            )
    return None


def _labels(
    place: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], asked: str | None
) -> tuple[str, ...]:
    several = asked.split(",") if asked and asked not in columns else []
    if len(several) > 1:
        return tuple(str(named(place, columns, one.strip(), ())) for one in several)
    if (column := named(place, columns, asked, LABELS)) is not None:
        return (column,)
    if len(columns) == 1:
        return (columns[0],)
    if not columns:
        raise DataError(
            f"{place} has no column of labels: what is to be learned stands nowhere. It has: {shown(list(rows[0]))}. "
            "Add a column that says it, and name it with --label."
        )
    if len(kinds := [column for column in columns if _kinds(rows, column)]) == 1:
        return (kinds[0],)
    if sum(map(unnamed, columns)) > len(columns) / 2:
        raise DataError(
            f"{place} has no names of columns: its first row holds numbers. Give it a header line; if its rows are "
            "series of samples, add --modality signal."
        )
    every = [column for column in rows[0] if column is not None]
    raise DataError(f"Which column of {place} holds the labels? It has: {shown(every)}. Name it with --label.")


def _kinds(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Whether a column names a few kinds of row, in words: the only such one is what a table is about."""
    values = {str(value).strip() for row in rows if (value := row.get(column)) is not None and value == value}
    return 2 <= len(values) <= len(rows) / 2 and not any(map(_number, values))


def unnamed(name: str) -> bool:
    """Whether what should name a column is a number of the first row, made different from its doubles or not."""
    return _number(name) or _number(name.rpartition(".")[0])


def _number(value: str) -> bool:
    try:
        return float(value.replace(",", ".")) is not None
    except ValueError:
        return False


def named(place: Path, columns: Sequence[str], asked: str | None, usual: Sequence[str]) -> str | None:
    """The column that was asked for, else the first with a usual name, if there is one.

    Raises:
        DataError: there is no column of the name asked for.
    """
    if asked is None:
        return next((c for name in usual for c in columns if c.lower().strip() == name), None)
    if asked not in columns:
        raise DataError(f"{place} has no column {asked!r}.{nearest(asked, columns)} It has: {shown(columns)}.")
    return asked


def shown(columns: Sequence[str], most: int = 20) -> str:
    """Column names for a sentence."""
    return ", ".join(columns[:most]) + (f" and {len(columns) - most} more" if len(columns) > most else "")


def cells(given: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """Of a row that was handed over the columns that are wanted; some may be absent, as if there were no value.

    Raises:
        DataError: a column is misspelt, or most are absent.
    """
    lacking, strange = [c for c in wanted if c not in given], [str(c) for c in given if c not in wanted]
    if hints := [f"{c!r}.{hint}" for c in strange if (hint := nearest(c, lacking))]:
        raise DataError(f"A row has no column {hints[0]}")
    if 2 * len(lacking) > len(wanted):
        raise DataError(
            f"A row has {len(wanted)} columns, and this one lacks {len(lacking)}: {shown(lacking)}. Give them, or null "
            "where a value is not known."
        )
    return {c: given[c] for c in wanted if c in given}


def row(columns: Sequence[str], categories: Mapping[str, Sequence[str]]) -> str:
    """How a row is written at a terminal, by its first columns."""
    values = dict.fromkeys(columns, 1) | {name: levels[0] for name, levels in categories.items()}
    few = dict(list(values.items())[:3])
    return f"'{json.dumps(few, ensure_ascii=False)[:-1]}{', …' if len(values) > len(few) else ''}}}'"


@lru_cache(maxsize=16)
def places(names: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.int64]:
    """Where each wanted column stands among the names; one past their end where it does not."""
    at = {name: index for index, name in enumerate(names)}
    return np.array([at.get(name, len(names)) for name in wanted], np.int64)


def label(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    """A row's label: the value of its column, or of several; None where there is none."""
    values = [None if (value := row.get(name)) is None or value != value else value for name in names]
    values = [value.strip() if isinstance(value, str) else value for value in values]
    if len(values) == 1:
        return values[0]
    return None if None in values else tuple(values)
