"""Recordings in text tables: one series a row, as the UCR archive has them, or one recording, its columns channels."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graft.core.errors import DataError
from graft.data.arrays import SUBJECTS
from graft.data.columns import LABELS, PART_NAMES, PARTS, shown, unnamed
from graft.data.traces import File, Trace, numbered, span

TIMES = ("time", "t", "seconds", "sec", "timestamp", "timestamps", "ms", "milliseconds")
NUMBERS = ("id", "index", "no", "nr", "number", "row")  # columns that count the rows
MISSING = ("", "nan", "na", "null", "none", "?")
COUNTING = re.compile(r"([A-Za-z_. ]{0,12}?)\d+")  # names of columns that count: t0, t1, …
LEAST, SHARE, FLOWING = 16, 0.9, 0.6  # columns, their share of all, and a row's correlation with itself one step on
UNEVEN = 0.01  # share of a step by which the steps of a time column may differ, as rounded times do


def claimed(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a table's rows are series: columns without names, or with names that count, and values that flow."""
    names = [str(name) for name in rows[0]]
    bare = [name for name in names if unnamed(name)]
    counting = [name for name in names if (found := COUNTING.fullmatch(name)) and found[1].lower()[:3] != "pix"]
    held = bare if len(bare) >= SHARE * len(names) else counting
    if len(held) < max(LEAST, SHARE * len(names)):
        return False
    cells = [[_number(str(row.get(name))) for name in held] for row in rows]
    x = np.array([[np.nan if cell is None else cell for cell in row] for row in cells], np.float64)
    x = x[:, np.isfinite(x).all(0)]
    if x.shape[1] < LEAST:
        return False
    z = (x - x.mean(1, keepdims=True)) / np.maximum(x.std(1, keepdims=True), 1e-12)
    return bool(np.median((z[:, 1:] * z[:, :-1]).mean(1)) > FLOWING)


def opened(source: Path | bytes, layout: str, label: str = "") -> File:
    """A text table.

    Args:
        layout: "series": one series a row, with its label in a column; "channels": one recording.
        label: the column of labels of a table of series; where there is no header, the number of the column, from 0. A
            table without it is one of examples that are to be answered.

    Raises:
        DataError: it is no text, its rows differ, or it holds words where numbers should be.
    """
    called = "The file" if isinstance(source, bytes) else str(source)
    header, rows = _rows(source, called)
    return _recording(header, rows, called) if layout == "channels" else _series(header, rows, called, label)


def _rows(source: Path | bytes, called: str) -> tuple[list[str], list[list[str]]]:
    """Column names (none where there is no header) and rows of cells."""
    raw = source if isinstance(source, bytes) else source.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{called} is no readable text: byte {error.start} is not UTF-8.") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", "%"))]
    if not lines:
        raise DataError(f"{called} is empty.")
    rows = list(_split(lines))
    words = {i: cell.lower() for i, cell in enumerate(rows[0]) if _number(cell) is None}
    usual = {*LABELS, *SUBJECTS, *PART_NAMES, *TIMES}
    header = len(rows) > 1 and any(
        cell in usual or (i < len(rows[1]) and _number(rows[1][i]) is not None) for i, cell in words.items()
    )
    header = header or (
        len(rows) > 1 and rows[0] == [str(i) for i in range(len(rows[0]))] != rows[1]
    )  # as pandas counts
    names = rows.pop(0) if header else []
    if header and len(set(names)) < len(names):
        raise DataError(f"{called} has two columns of one name: {shown([n for n in names if names.count(n) > 1])}.")
    return names, rows


def _split(lines: Sequence[str]) -> Iterator[list[str]]:
    first = lines[0]
    mark = next((mark for mark in "\t;," if mark in first), None)
    for line in lines:
        cells = line.strip("\r\n").split(mark) if mark else line.split()
        if mark == ";":  # spreadsheets where the comma is the decimal mark
            cells = [re.sub(r"^(\s*[+-]?\d*),(\d)", r"\1.\2", cell) for cell in cells]
        yield [cell.strip().strip('"') for cell in cells]


def _number(cell: str) -> float | None:
    if cell.lower() in MISSING:
        return np.nan
    try:
        return float(cell)
    except ValueError:
        return None


def _numbers(row: Sequence[str], called: str, number: int) -> np.ndarray:
    values = [_number(cell) for cell in row]
    if None in values:
        raise DataError(f"{called} row {number} holds {row[values.index(None)]!r} where a number should stand.")
    return np.array(values, np.float64)


def _series(header: list[str], rows: list[list[str]], called: str, label: str) -> File:
    """One channel; every row is a trial."""
    at: int | None = header.index(label) if label in header else None
    if not header and label.isdigit() and int(label) < len(rows[0]):
        at = int(label)
    group = _column(header, SUBJECTS)
    part = _column(header, PART_NAMES)
    if at is None:
        at = _column(header, LABELS) if header else (0 if _labels(rows) else None)
    taken = {at, group, part} | {i for i, name in enumerate(header) if name.lower() in NUMBERS}
    taken |= {i for i in range(len(rows[0])) if all(_number(row[i]) is None for row in rows[:20] if i < len(row))}
    held = [i for i in range(len(rows[0])) if i not in taken]
    if not held:
        raise DataError(f"{called} has no columns of numbers beside {shown(header)}.")
    x: list[np.ndarray | DataError] = []
    for number, row in enumerate(rows, 1 + bool(header)):
        try:
            x.append(_numbers([row[i] for i in held if i < len(row)], called, number))
        except DataError as error:  # of one row, which the others need not suffer for
            x.append(error)

    def cut(where: Any = None, wanted: Sequence[str] = (), assumed: float = 0.0) -> Trace:
        if isinstance(where, tuple) or (where is None and len(x) > 1) or (where or 0) >= len(x):
            raise DataError(f"{called} holds {len(x)} series: name one, as in {called}#0.")
        if isinstance(made := x[where or 0], DataError):
            raise made
        return Trace(made[None], ("1",))

    def texts(column: int | None) -> tuple[str, ...]:
        return () if column is None else tuple(row[column] if column < len(row) else "" for row in rows)

    parts = tuple(text.lower() for text in texts(part))
    return File(
        ("1",),
        cut,
        trials=len(x),
        labels=_meant(texts(at)),
        groups=texts(group),
        parts=tuple(PARTS[text] for text in parts) if set(parts) <= PARTS.keys() else (),
        names=tuple(header) or numbered(len(rows[0])),
    )


def _labels(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first column of rows without a header looks like labels: words, or whole numbers that come again."""
    first = [row[0] for row in rows]
    if any(_number(cell) is None for cell in first):
        return True
    values = [_number(cell) for cell in first]
    whole = all(value is not None and value == value and float(value).is_integer() for value in values)
    others = [_number(cell) for row in rows[:20] for cell in row[1:]]
    plain = all(value is None or value != value or float(value).is_integer() for value in others)
    return whole and len(rows[0]) > 1 and (not plain or len(set(values)) <= max(2, len(values) // 2))


def _meant(texts: Sequence[str]) -> tuple[Any, ...]:
    """Labels as numbers where all are: whole where all are whole; missing ones are None."""
    values = [_number(text) for text in texts]
    if None in values:
        return tuple(None if text.lower() in MISSING else text for text in texts)
    known = [value for value in values if value is not None and value == value]
    kind = int if all(value.is_integer() for value in known) else float
    return tuple(None if value is None or value != value else kind(value) for value in values)


def _recording(header: list[str], rows: list[list[str]], called: str) -> File:
    """One trial; every column is a channel, but for one of times, which tells the rate."""
    widths = {len(row) for row in rows}
    if len(widths) > 1 or (header and widths != {len(header)}):
        raise DataError(f"{called}: its rows have {min(widths)} to {max(widths)} cells; all should have as many.")
    first = 1 + bool(header)
    x = np.stack([_numbers(row, called, number) for number, row in enumerate(rows, first)], axis=1)
    names, rate = list(header), 0.0
    time = next((i for i, name in enumerate(header) if re.split(r"[ _(\[]", name.lower())[0] in TIMES), None)
    if time is not None:
        rate = _rate(x[time], header[time], called)
        x = np.delete(x, time, 0)
        names.pop(time)
    if not header and x.shape[1] == 1:  # one row of numbers is one series
        x = x.T
    if not len(x):
        raise DataError(f"{called} holds times but no channels.")
    units = tuple(found[1] if (found := re.search(r"[(\[]([^)\]]+)[)\]]$", name)) else "" for name in names)
    channels = tuple(re.sub(r"\s*[(\[][^)\]]+[)\]]$", "", name) for name in names) or numbered(len(x))

    def cut(where: Any = None, wanted: Sequence[str] = (), assumed: float = 0.0) -> Trace:
        start, stop = where if isinstance(where, tuple) else (0.0, x.shape[1] / (rate or assumed or 1.0))
        a, b = span(start, stop, rate or assumed)
        if not 0 <= a < b <= x.shape[1] or (isinstance(where, int) and where):
            raise DataError(f"{called} has no stretch from {start:g} to {stop:g} s.")
        return Trace(x[:, a:b], channels, rate, units)

    return File(channels, cut, rate, units, seconds=x.shape[1] / (rate or 1.0))


def _rate(times: np.ndarray, name: str, called: str) -> float:
    """Hz, from a column of times in seconds, or in milliseconds where its name says so."""
    steps = np.diff(times)
    if not len(steps) or not np.isfinite(steps).all() or not np.median(steps) > 0:
        raise DataError(f"{called}: the column {name!r} must hold times that rise, in seconds.")
    # The mean step is exact where rounded times make the median coarse.
    step = float((times[-1] - times[0]) / len(steps))
    coarse = 1.01 * 10.0 ** -_digits(times)
    if np.abs(steps - step).max() > max(UNEVEN * step, coarse):
        raise DataError(
            f"{called}: the times in {name!r} step by {steps.min():g} to {steps.max():g}: samples are missing or "
            "unevenly spaced. Resample the recording, or leave it out."
        )
    rate = (1000.0 if re.search(r"\bms\b|milli", name.lower()) else 1.0) / step
    return round(rate) * 1.0 if abs(rate - round(rate)) < 0.005 * rate and rate > 20 else round(rate, 6)


def _digits(times: np.ndarray) -> int:
    """Decimals that the times were written with, at most 9."""
    some = times[:200]
    return next((digits for digits in range(9) if np.abs(some - some.round(digits)).max() < 1e-10), 9)


def _column(header: Sequence[str], usual: Sequence[str]) -> int | None:
    return next((i for word in usual for i, name in enumerate(header) if name.lower().strip() == word), None)
