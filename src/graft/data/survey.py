"""Which columns of a table are values to learn from: numbers, and words with few levels; the rest is said."""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.core.errors import DataError
from graft.data import near, tables
from graft.data.columns import CALLED, LABELS, PART_NAMES, PARTS, Roles, label, moment, named, roles, shown
from graft.data.layout import Found, Row, entries, noted
from graft.data.numbers import MISSING, decimal_mark, misplaced, numbers, robust
from graft.data.shortcuts import ALONE

OPTIONS = ("columns", "categories", "log", "decimal", "missing")  # of how a table is read, that a person may set
LEVELS = 20  # of a column of words; with more of them it is free text or a list of names
STRAYS = 0.1  # share of a column of numbers that may be something else; it counts as missing
NAMED = re.compile(r"(.*[\s_.-])?(ids?|uuid|key)")  # a column that names the rows by numbers
COUNTED = re.compile(r"(.*[\s_.-])?(idx|index|nr|no|row|number)|column 1|unnamed: 0")  # one that counts them
ABSENT = {"", "na", "n/a", "nan", "null"}  # in place of a label; "-" and "?" may well be labels
FEW = 10  # rows up to which labels may be 1, 2, 3 …
BLOCK = 1 << 22  # values in memory at once while looking for mistaken units

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Options:
    """What a person, or a task, states about how a table is read."""

    decimal: str
    missing: tuple[str, ...]
    log: bool
    columns: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]


def find(
    place: Path, suffixes: Sequence[str], asked: Mapping[str, Any], grouped: Sequence[str] = (), labelled: bool = True
) -> Found:
    """The rows of a table, or of a folder's train, val and test tables, as examples "file#row"; how they are read.

    Args:
        asked: "label", "group", "time", and any of OPTIONS, where the table does not tell.
        grouped: usual names of a column that says who or what a row comes from.
        labelled: False: labels are not looked for, and columns that were asked for may be lacking.

    Raises:
        DataError: there is no table, a column is not there, none holds values, or the labels only count the rows.
    """
    asked = {name: value for name, value in asked.items() if value is not None}
    if strange := [name for name in asked if name not in (*OPTIONS, "label", "group", "time")]:
        known = ", ".join(("label", "group", "time", *OPTIONS))
        raise DataError(f"A table of numbers has no use for --{strange[0]}; it takes {known}.")
    found, columns, where = Found(), Columns(), list[tuple[str, str]]()
    read = [(path, part, tables.read(path)) for path, part in _places(place, suffixes)]
    for path, part, table in read:
        for name in read[0][2].values:
            columns.setdefault(name, []).extend(table.values.get(name, [None] * table.rows))
        where += [(f"{path.absolute()}#{number}", part) for number in range(1, table.rows + 1)]
        found.notes += table.notes
    if not read[0][2].rows:
        raise DataError(f"The table {read[0][0]} is empty: it has no rows.")
    options = _options(asked, columns, read[0][2].mark)
    if labelled:
        role = roles(place, read[0][2].records(), asked, grouped)
        found.names, part_column, group_column = role.labels, role.part, role.group
        if not asked.get("label") and found.names[0].lower().strip() not in CALLED:
            found.notes.append(f"The labels are taken from the column {found.names[0]!r}.")
        noted(found, role)
        taken = {*found.names, part_column, group_column, role.time}
    else:
        role, part_column, group_column = Roles((), None, None), None, None
        taken = {named(place, [*columns], None, usual) for usual in (LABELS, PART_NAMES, grouped)}
    if not labelled and (options.columns or options.categories):
        _expect(place, found, columns, options)
    else:
        _choose(place, found, columns, {name for name in taken if name}, options)
    labels = _labels(place, columns, found.names, options.decimal) if labelled else [None] * len(where)
    found.notes += [
        f"The column {name!r} {ALONE} of every row: it says what the label says. Leave it out (--read columns=…), "
        "unless it is known before the label is."
        for name in (*found.reading["columns"], *found.reading["categories"])
        if labelled and _same(columns[name], labels)
    ]
    for index, (item, part) in enumerate(where):
        stated = PARTS.get(word(columns[part_column][index], ()).lower(), "") if part_column else ""
        group = word(columns[group_column][index], ABSENT) if group_column else ""
        when = moment(columns[role.time][index]) if role.time else None
        device = word(columns[role.device][index], ABSENT) if role.device else ""
        found.rows.append(Row(item, labels[index], stated or part, group, when, device))
    return found


def claims(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether most of what a table's rows hold, beside labels and the like, is numbers."""
    told = {*LABELS, *PART_NAMES}
    names = [name for name in rows[0] if isinstance(name, str) and name.strip().lower() not in told]
    count = 0
    for name in names:
        cells = [row.get(name) for row in rows]
        x, odd = min((numbers(cells, mark) for mark in ".,"), key=lambda read: len(read[1]))
        count += bool(np.isfinite(x).any()) and len(odd) <= STRAYS * len(cells) and not _counts(name, x)
    return 2 * count > len(names)


def word(cell: Any, missing: Collection[str] = MISSING) -> str:
    """A cell as a word; "" where it is missing."""
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
    return "" if text.casefold() in {mark.casefold() for mark in missing} else text


def levels(categories: Mapping[str, tuple[str, ...]], words: Mapping[str, str]) -> NDArray[np.float64]:
    """A 1 at the level that stands there, 0 at the others; NaN where nothing does. Columns in order of their names."""
    found: list[float] = []
    for name in sorted(categories):
        said = words.get(name, "")
        found += [float(said == level) if said else math.nan for level in categories[name]]
    return np.array(found, np.float64)


def _places(place: Path, suffixes: Sequence[str]) -> list[tuple[Path, str]]:
    """The tables that a path means, each with the part that its name says."""
    if place.is_dir():
        inside = [entry for entry in entries(place) if entry.suffix.lower() in suffixes]
        names = [entry.stem.lower() for entry in inside]
        if len(inside) > 1 and "train" in (parts := [PARTS.get(name, "") for name in names]) and all(parts):
            return sorted(zip(inside, parts, strict=True), key=lambda found: found[1] != "train")
        if sorted(entry.name.lower() for entry in inside) == ["x.npy", "y.npy"]:
            inside = [inside[names.index("x")]]
        if len(inside) != 1:
            raise DataError(
                f"{place} holds {len(inside)} tables. Name one of them, or call them train, val and test: "
                f"{shown([entry.name for entry in inside], 5) or ', '.join(suffixes)}."
            )
        return [(inside[0], "")]
    if place.is_file() and place.suffix.lower() not in suffixes:
        raise DataError(f"{place} is no table of numbers ({', '.join(suffixes)}).")
    return [(place, "")]


def _options(asked: Mapping[str, Any], columns: Columns, mark: str) -> Options:
    """What was asked for, with what the table shows where nothing was."""
    decimal = asked.get("decimal")
    if decimal is None:
        decimal = decimal_mark(cell for cells in columns.values() for cell in cells) if mark == ";" else "."
    if decimal not in (".", ","):
        raise DataError(f'The decimal mark is "." or ",", not {decimal!r}.')
    log, wanted, missing = asked.get("log", False), asked.get("columns") or (), asked.get("missing") or ()
    if isinstance(wanted, str):
        wanted = (wanted,) if wanted in columns else tuple(name.strip() for name in wanted.split(","))
    missing = missing.split(",") if isinstance(missing, str) else missing
    if isinstance(log, str):
        log = log.lower() in ("true", "yes", "always", "1")
    categories = {name: tuple(map(str, levels)) for name, levels in (asked.get("categories") or {}).items()}
    return Options(decimal, tuple(dict.fromkeys((*MISSING, *missing))), bool(log), tuple(wanted), categories)


def _expect(place: Path, found: Found, columns: Columns, options: Options) -> None:
    """Read a table like the one that was learned from, and say what it lacks of that.

    Raises:
        DataError: it has none of the columns.
    """
    wanted = (*options.columns, *options.categories)
    lacking = [name for name in wanted if name not in columns]
    if len(lacking) == len(wanted):
        raise DataError(f"{place} has none of the columns {shown(wanted)}. It has: {shown([*columns])}.")
    if lacking:
        found.notes.append(f"{place.name} lacks {shown(lacking)}: they count as missing.")
    found.reading = asdict(options)


def _choose(place: Path, found: Found, columns: Columns, taken: Collection[str], options: Options) -> None:
    """Set how the table is read, and say what of it is not.

    Raises:
        DataError: a column that was asked for is not there or holds no values, or no column does.
    """
    free = [name for name in columns if name not in taken]
    wanted = dict.fromkeys(str(named(place, free, name, ())) for name in (*options.columns, *options.categories))
    levels: dict[str, tuple[str, ...]] = {}
    values: dict[str, NDArray[np.float64]] = {}
    left: dict[str, list[str]] = {}
    for name in wanted or free:
        if name in options.categories:
            levels[name] = options.categories[name]
            continue
        x, odd = numbers(columns[name], options.decimal, options.missing)
        known = int(np.isfinite(x).sum())
        words = {text for cell in columns[name] if (text := word(cell, options.missing))} if odd else set()
        if not known and not odd:
            left.setdefault("nothing stands there", []).append(name)
        elif known and len(odd) <= STRAYS * (known + len(odd)):
            if not wanted and _counts(name, x):
                left.setdefault("it only names the rows", []).append(name)
                continue
            values[name] = x
            if odd:
                strays = f"{len(odd)} of {known + len(odd)} values of {name!r} are no finite numbers"
                found.notes.append(f"{strays}, such as {columns[name][odd[0]]!r}: they count as missing.")
        elif len(words) > LEVELS or len(words) == len(columns[name]) > 1:
            left.setdefault(f"texts stand there, one for each row or more than {LEVELS}", []).append(name)
        else:
            levels[name] = tuple(sorted(words))
    for why, names in left.items():
        if wanted:
            raise DataError(f"{place} gives no values in {shown(names)}: {why}. Ask for other columns.")
        found.notes.append(f"Left out: {shown(names)}; {why}.")
    if not values and not levels:
        raise DataError(f"{place} has no column of values to learn from. It has: {shown([*columns])}.")
    found.notes += _oddities(values)
    coded = [_coded(columns[name], levels[name], options.missing) for name in levels]
    found.alike = near.copies([*values.values(), *coded])
    found.reading = asdict(replace(options, columns=tuple(values), categories=levels))


def _coded(cells: Sequence[Any], levels: Sequence[str], missing: Collection[str]) -> NDArray[np.float64]:
    """A column of words as the places of its levels; NaN where nothing stands."""
    place = {level: float(at) for at, level in enumerate(levels)}
    return np.array([place.get(word(cell, missing), math.nan) for cell in cells])


def _same(cells: Sequence[Any], labels: Sequence[Any]) -> bool:
    """Whether each value goes with one label and each label with one value, most of them in several rows."""
    pairs = Counter(zip(map(str, cells), map(str, labels), strict=True))
    values, named = ({pair[side] for pair in pairs} for side in (0, 1))
    return 1 < len(pairs) == len(values) == len(named) < len(labels) / 2


def _counts(name: str, x: NDArray[np.float64]) -> bool:
    """Whether a column names or counts the rows: each has another whole number, under a name that says as much."""
    if len(np.unique(x)) < max(len(x), 2) or not (x == np.floor(x)).all():
        return False
    named = NAMED.fullmatch(name.lower()) is not None or name.endswith(("ID", "Id"))
    return named or (COUNTED.fullmatch(name.lower()) is not None and bool(np.ptp(x) == len(x) - 1))


def _oddities(values: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Sentences about columns that do not vary, values that are missing, and units that may have been mistaken."""
    if not values:
        return []
    names, notes, constant, holes = list(values), [], list[str](), 0
    wrong: list[tuple[str, int, float, float]] = []
    rows = len(values[names[0]])
    step = max(1, BLOCK // max(rows, 1))
    for start in range(0, len(names), step):
        block = np.stack([values[name] for name in names[start : start + step]], 1)
        centre, spread = robust(block)
        constant += [names[start + j] for j in np.flatnonzero(spread == 0)] if rows > 1 else []
        holes += int(np.isnan(block).sum())
        wrong += [(names[start + j], i + 1, block[i, j], centre[j]) for i, j in misplaced(block)]
    if constant:
        notes.append(f"{len(constant)} columns hold one value throughout and tell nothing: {shown(constant, 5)}.")
    if holes:
        notes.append(f"{holes} of {rows * len(names)} values are missing ({holes / (rows * len(names)):.1%}).")
    if wrong:
        some = "; ".join(f"{name} of row {row} is {value:g}, its middle {mid:g}" for name, row, value, mid in wrong[:3])
        notes.append(f"{len(wrong)} values look a thousand or a million times off, as a mistaken unit does: {some}.")
    return notes


def _labels(place: Path, columns: Columns, names: Sequence[str], decimal: str) -> list[Any]:
    """The rows' labels; numbers where they are written with a decimal comma.

    Raises:
        DataError: they only count the rows.
    """
    rows = [{name: columns[name][index] for name in names} for index in range(len(columns[names[0]]))]
    labels = [label(row, names) for row in rows]
    labels = [None if isinstance(value, str) and value.casefold() in ABSENT else value for value in labels]
    if len(names) > 1:
        return labels
    x, odd = numbers(labels, decimal)
    if not odd and len(x) > FEW and np.isin(x[0], (0, 1)) and (np.diff(x) == 1).all():
        raise DataError(
            f"The labels of {place}, in {names[0]!r}, only count the rows: {x[0]:g}, {x[1]:g}, {x[2]:g} and so on. "
            f"Name another column with --label. There are: {shown([name for name in columns if name not in names])}."
        )
    return labels if odd or decimal == "." else [None if value != value else value for value in x.tolist()]
