"""Tables as files hold them, read once: cells by the column's name and the row's number.

    read("lab.csv")                                  the table, kept until the file changes
    row("lab.csv#17", ("age", "crp"))                b'{"age":"63","crp":"5.1"}': the raw bytes of an example

Only the columns that an example consists of are in its bytes, in the order of their names: what else the file holds,
and in which order, does not make it another example.
"""

import csv
import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft.core.errors import DataError, nearest

KEPT = 4  # tables in memory at once: a training, a validation and a test one, and one to answer for
MARKS = ",;\t|"  # a comma, or else the semicolon of spreadsheets where the comma is the decimal mark, a tab, a bar
LONGEST = 1 << 27  # characters of one cell; csv's own limit of 131,072 is less than a long text
NAMES = ("columns", "names", "feature_names", "genes")  # of the array that names the columns of another one
FAULTS = (OSError, ValueError, NotImplementedError, csv.Error, EOFError)

_kept: "OrderedDict[str, tuple[tuple[int, ...], Table]]" = OrderedDict()
_alone = threading.Lock()


@dataclass(frozen=True, eq=False)
class Table:
    """Cells by column: texts where the file holds texts, else what it holds; None where a row has none."""

    values: dict[str, Sequence[Any]]
    rows: int
    mark: str = ""  # what parts the columns, in a file of text
    notes: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """The table row by row."""
        return [dict(zip(self.values, cells, strict=True)) for cells in zip(*self.values.values(), strict=True)]


def read(place: str | os.PathLike[str]) -> Table:
    """The table in a file: CSV, TSV, JSON lines, Parquet, or NumPy arrays (never pickled ones).

    Raises:
        DataError: there is no such file, or it is no table.
    """
    path = os.path.abspath(place)
    try:
        at = os.stat(path)
        stamp = (at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino)
        with _alone:
            if path not in _kept or _kept[path][0] != stamp:
                _kept[path] = (stamp, _read(Path(path)))
            _kept.move_to_end(path)
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
            return _kept[path][1]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except FAULTS as error:
        what = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise DataError(f"{path} cannot be read as a table: {what}.") from None


def row(item: str, columns: Iterable[str]) -> bytes:
    """The raw bytes of an example "path#row", rows counted from 1: the JSON of these columns, sorted by name.

    Raises:
        DataError: the table cannot be read, or has no such row or column.
    """
    path, _, number = item.rpartition("#")
    table = read(path)
    if not number.isdecimal() or not 1 <= int(number) <= table.rows:
        raise DataError(
            f"{path} has no row {number}: it has the rows 1 to {table.rows}. Has it changed? Load it again."
        )
    wanted = list(columns)
    for column in wanted:
        if column not in table.values:
            raise DataError(f"{path} has no column {column!r}.{nearest(column, table.values)}")
    return canonical({column: table.values[column][int(number) - 1] for column in wanted})


def canonical(record: dict[str, Any]) -> bytes:
    """The JSON of a row, the same for the same cells."""
    plain = {column: None if _is_nan(cell) else cell for column, cell in record.items()}
    text = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_plain)
    return text.encode("utf-8", "surrogatepass")


def _is_nan(cell: Any) -> bool:
    return isinstance(cell, (float, np.floating)) and math.isnan(cell)


def _plain(cell: Any) -> Any:
    """What JSON does not know: NumPy's numbers as numbers, dates and the like as they are written."""
    return cell.tolist() if isinstance(cell, (np.generic, np.ndarray)) else str(cell)


def _read(place: Path) -> Table:
    kind = place.suffix.lower()
    if kind == ".parquet":
        import pyarrow.parquet

        arrow = pyarrow.parquet.read_table(place)
        return _table(arrow.column_names, [column.to_pylist() for column in arrow.columns], arrow.num_rows)
    if kind in (".npz", ".npy"):
        return _arrays(place, kind)
    if kind not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        raise DataError(f"{place} is no table: its name ends in none of .csv .tsv .jsonl .parquet .npz .npy.")
    with place.open(encoding="utf-8-sig", newline="") as file:
        lines = file.readlines()
    return _objects(place, lines) if kind in (".jsonl", ".ndjson") else _text(place, lines, "\t" * (kind == ".tsv"))


def _table(names: Sequence[str], columns: Sequence[Sequence[Any]], rows: int, mark: str = "") -> Table:
    """Columns under names of their own: what stands above two columns cannot name both."""
    values: dict[str, Sequence[Any]] = {}
    twice: list[str] = []
    for index, (given, cells) in enumerate(zip(names, columns, strict=True), 1):
        stem = name = str(given).strip() or f"column {index}"
        count = 1
        while name in values:
            count += 1
            name = f"{stem}.{count}"
        twice += [stem] * (count == 2)
        values[name] = cells
    if not twice:
        return Table(values, rows, mark)
    note = f"Several columns are called {', '.join(twice[:10])}: the later ones are read as {twice[0]}.2 and so on."
    return Table(values, rows, mark, (note,))


def _text(place: Path, lines: list[str], mark: str) -> Table:
    csv.field_size_limit(LONGEST)
    mark = mark or _mark(lines)
    header, *body = [cells for cells in csv.reader(lines, delimiter=mark) if cells] or [[]]
    width = len(header)
    if body and {len(cells) for cells in body} == {width + 1}:
        if any(cells[-1].strip() for cells in body):  # R leaves the name of the rows' names out
            header, width = ["", *header], width + 1
        else:
            body = [cells[:-1] for cells in body]
    for number, cells in enumerate(body, 1):
        if len(cells) > width:
            raise DataError(
                f"Row {number} of {place} has {len(cells)} cells, but there are {width} columns. "
                f"Put quotation marks around cells that hold a {mark!r}."
            )
        cells += [""] * (width - len(cells))
    columns = list(zip(*body, strict=True)) if body else [()] * width
    return _table(header, columns, len(body), mark)


def _mark(lines: list[str]) -> str:
    """What parts the columns: what parts all rows alike, else what parts the header most."""
    widths = {mark: [len(cells) for cells in csv.reader(lines[:20], delimiter=mark) if cells] for mark in MARKS}
    for mark, found in widths.items():
        if len(set(found)) == 1 and found[0] > 1:
            return mark
    return max(MARKS, key=lambda mark: widths[mark][:1] or [0])


def _objects(place: Path, lines: list[str]) -> Table:
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise DataError(f"{place} cannot be read as a table: line {number} is not JSON ({error}).") from None
        if not isinstance(rows[-1], dict):
            raise DataError(f"Every line of {place} must be a JSON object; line {number} is {rows[-1]!r}.")
    names = list(dict.fromkeys(name for cells in rows for name in cells))
    return _table(names, [[cells.get(name) for cells in rows] for name in names], len(rows))


def _arrays(place: Path, kind: str) -> Table:
    """Arrays as a table: the columns of the widest one, X, and every other one that has a value for each row."""
    if kind == ".npz":
        with np.load(place, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    else:
        arrays = {place.stem: np.load(place, allow_pickle=False)}
        beside = [entry for entry in place.parent.iterdir() if entry.name.lower() == "y.npy"]
        if place.stem.lower() == "x" and beside:
            arrays["y"] = np.load(beside[0], allow_pickle=False)
    if len(arrays) == 1 and (only := next(iter(arrays.values()))).dtype.names:
        arrays = {name: only[name] for name in only.dtype.names}
    if not arrays or any(array.dtype.hasobject or array.dtype.names for array in arrays.values()):
        raise DataError(f"{place} holds no plain arrays. Save X (rows × columns) and y (rows) of numbers or texts.")
    main = max(arrays.values(), key=lambda array: array.size if array.ndim == 2 else 0)
    rows = len(main) if main.ndim else 0
    titles = next((arrays[n] for n in NAMES if n in arrays and arrays[n].shape == main.shape[1:]), None)
    names: list[str] = []
    columns: list[Sequence[Any]] = []
    for name, array in arrays.items():
        if array is titles or array.shape[:1] != (rows,) or array.ndim > 2:
            continue
        flat = array.reshape(rows, -1) if rows else array.reshape(0, *array.shape[1:] or (1,))
        named = titles is not None and array is main
        names += [name] if array.ndim == 1 else [str(t) if named else f"{name}{i}" for i, t in _titled(flat, titles)]
        columns += [column.tolist() for column in flat.T]
    return _table(names, columns, rows)


def _titled(flat: np.ndarray, titles: np.ndarray | None) -> Iterable[tuple[int, Any]]:
    return enumerate(titles if titles is not None and len(titles) == flat.shape[1] else range(flat.shape[1]))
