"""Where labelled examples stand: folders of classes, folders of parts, tables with a path and a label column."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from graft.core.errors import DataError, nearest
from graft.data.columns import PARTS, TABLES, Roles, label, named, records, roles, shown

PATH_NAMES = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "img", "photo", "picture", "audio", "audio_path", "clip", "recording_path", "wav"),
)
PEOPLE = ("patient", "patient_id", "subject", "subject_id", "speaker", "speaker_id", "participant", "person", "user")


class Row(NamedTuple):
    """One labelled example as it was found."""

    item: str  # a file, or "file#row"
    label: Any  # as it stands there: a text, a number, several; None where there is none
    part: str = ""  # train, val, test; "" where nothing says so
    group: str = ""  # who or what it comes from
    time: float | None = None  # when it was taken, in s or in whatever grows
    device: str = ""  # what it was taken with


@dataclass
class Found:
    """Examples as they were found, how they are to be read, and what was left out."""

    rows: list[Row] = field(default_factory=list)
    reading: dict[str, Any] = field(default_factory=dict)  # fields of the modality's Reading
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    names: tuple[str, ...] = ()  # of the columns that the labels stand in
    alike: list[tuple[int, int]] = field(default_factory=list)  # places in `rows` of those that are nearly the same


def refuse(asked: Mapping[str, Any], known: Sequence[str], what: str = "There is") -> None:
    """Refuse what is asked for that means nothing here.

    Raises:
        DataError: something is.
    """
    if strange := [name for name, value in asked.items() if value is not None and name not in known]:
        near = nearest(strange[0], known)
        raise DataError(f"{what} no use for {strange[0]}={asked[strange[0]]}.{near} There are {', '.join(known)}.")


def files(
    place: Path,
    suffixes: tuple[str, ...],
    asked: Mapping[str, Any],
    grouped: Sequence[str] = (),
    labelled: bool = True,
    nested: bool = False,
) -> Found:
    """The files under a folder or in a table that are examples.

    Args:
        suffixes: their lower-case endings.
        asked: columns of a table ("path", "label", "group", "time"), where their names do not tell.
        grouped: usual names of a column that says who or what an example comes from.
        labelled: False: labels are not looked for.
        nested: a folder within a class folder is who or what its files come from.

    Raises:
        DataError: nothing is there, or a table's columns cannot be told apart.
    """
    if place.is_file() and not labelled and place.suffix.lower() in suffixes:
        return Found([Row(str(place.absolute()), None)])
    if (one := only_table(place)) is not None:
        return table(one, suffixes, asked, grouped, labelled)
    if place.is_dir() and (named := [name for name in ("path", "label", "group", "time") if asked.get(name)]):
        raise DataError(f"--{named[0]} names a column of a table, but {place} is a folder: its folders are the labels.")
    if not labelled:
        found = Found()
        found.rows = [Row(str(f.absolute()), None) for f in walk(place, found) if f.suffix.lower() in suffixes]
        return found
    return classes(place, suffixes, grouped if nested else ())


def only_table(place: Path, instead: str = "") -> Path | None:
    """The table that a path means: itself, or the only one in a folder without folders; None: class folders.

    Raises:
        DataError: there is nothing, or a file that is no table; `instead` is said where nothing is called alike.
    """
    if place.is_file():
        if place.suffix.lower() not in TABLES:
            raise DataError(f"{place} is neither a folder nor a table ({', '.join(TABLES)}).")
        return place
    if not place.is_dir():
        beside = list(place.parent.iterdir()) if place.parent.is_dir() else []
        known = [str(entry) for entry in beside if entry.is_dir() or entry.suffix.lower() in TABLES]
        raise DataError(f"There is no {place}.{nearest(str(place), known) or instead}")
    tables = [entry for entry in entries(place) if entry.suffix.lower() in TABLES]
    folders = any(entry.is_dir() for entry in entries(place))
    return tables[0] if len(tables) == 1 and not folders else None


def classes(place: Path, suffixes: tuple[str, ...], grouped: Sequence[str] = ()) -> Found:
    """A folder with one folder per class, or with train/, val/ and test/ of such.

    With `grouped`, folders within the class folders say who or what their files come from, where every file has one.
    """
    found = Found()
    folders = sorted(entry for entry in entries(place) if entry.is_dir())
    parts = [entry for entry in folders if entry.name.lower() in PARTS]
    # A folder called train may also be a class, of vehicles say: as a part it holds folders.
    if any(PARTS[e.name.lower()] == "train" and any(inner.is_dir() for inner in entries(e)) for e in parts):
        for entry in parts:
            _classes(entry, PARTS[entry.name.lower()], suffixes, found)
        found.skipped += [
            (str(entry), "stands beside the folders of the parts") for entry in entries(place) if entry not in parts
        ]
    else:
        _classes(place, "", suffixes, found)
    if not found.rows:
        few = ", ".join(suffixes[:6])
        raise DataError(
            f"No examples were found in {place}. It should hold one folder per class with files ({few}, …), or "
            f"train/, val/ and test/ with such folders, or be a table ({', '.join(TABLES)})."
            + (
                f" {len(found.skipped)} entries were left out, such as {found.skipped[0][0]}: {found.skipped[0][1]}."
                if found.skipped
                else ""
            )
        )
    if not grouped or not all(row.group for row in found.rows):
        found.rows = [row._replace(group="") for row in found.rows]
    return found


def _classes(place: Path, part: str, suffixes: tuple[str, ...], found: Found) -> None:
    for entry in entries(place):
        if not entry.is_dir():
            found.skipped.append((str(entry), "stands in no class folder"))
            continue
        count = len(found.rows)
        for file in walk(entry, found):
            if file.suffix.lower() in suffixes:
                inner = file.relative_to(entry).parts
                found.rows.append(Row(str(file.absolute()), entry.name, part, inner[0] if len(inner) > 1 else ""))
            else:
                found.skipped.append((str(file), f"its ending {file.suffix!r} is not that of an example"))
        if count == len(found.rows):
            found.skipped.append((str(entry), "the folder holds no examples"))


def walk(place: Path, found: Found) -> Iterator[Path]:
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
            inside = entries(here)
        except DataError as error:
            found.skipped.append((str(here), str(error)))
            continue
        for entry in inside:
            try:
                is_folder = entry.is_dir()
            except OSError as error:  # a link to itself
                found.skipped.append((str(entry), f"cannot be followed: {error.strerror}"))
                continue
            if is_folder:
                waiting.append(entry)
            else:
                yield entry


def entries(place: Path) -> list[Path]:
    """What stands in a folder, sorted; hidden entries are not."""
    try:
        return sorted(entry for entry in place.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror}.") from None


def table(
    place: Path,
    suffixes: tuple[str, ...],
    asked: Mapping[str, Any],
    grouped: Sequence[str] = (),
    labelled: bool = True,
) -> Found:
    """A table with a column of paths."""
    rows = records(place)
    if not rows:
        raise DataError(f"The table {place} is empty.")
    column = _path_column(place, rows, asked.get("path"), suffixes)
    found = Found()
    if not labelled:
        found.rows = [Row(str(_where(place, row.get(column))), None) for row in rows]
        return found
    role = roles(place, rows, asked, grouped, (column,))
    found.notes.append(
        f"Read {place.name}: paths from the column {column!r}, labels from {' and '.join(map(repr, role.labels))}."
    )
    found.names = role.labels
    noted(found, role)
    for number, row in enumerate(rows, 1):
        where = _where(place, row.get(column))
        if not row.get(column):
            found.skipped.append((f"{place.name} row {number}", "its path is empty"))
        elif not where.is_file():
            found.skipped.append((str(where), f"row {number} names a file that is not there"))
        else:
            part = PARTS[str(row[role.part]).lower()] if role.part else ""
            group = str(row.get(role.group) or "") if role.group else ""
            found.rows.append(Row(str(where.absolute()), label(row, role.labels), part, group, **role.beside(row)))
    if not found.rows:
        raise DataError(
            f"None of the {len(rows)} rows of {place} is usable; the first: "
            f"{found.skipped[0][0]}: {found.skipped[0][1]}."
        )
    return found


def noted(found: Found, role: Roles) -> None:
    """Say which columns decided about the parts."""
    said = (
        (role.part, "which part each row belongs to"),
        (role.group, "who or what each row comes from"),
        (role.time, "when each row was taken"),
    )
    found.notes += [f"The column {column!r} says {what}." for column, what in said if column]


def _where(place: Path, value: Any) -> Path:
    if value is not None and value == value and not isinstance(value, str):
        raise DataError(
            f"The paths of {place} are no texts but {type(value).__name__}. Name another column with --path."
        )
    return place.parent / ("" if value is None or value != value else value.strip())


def _path_column(place: Path, rows: Sequence[Mapping[str, Any]], asked: str | None, suffixes: tuple[str, ...]) -> str:
    columns = [column for column in rows[0] if column is not None]
    if (column := named(place, columns, asked, PATH_NAMES)) is not None:
        return column
    if telling := [c for c in columns if all(str(row.get(c) or "").lower().endswith(suffixes) for row in rows[:50])]:
        return telling[0]
    raise DataError(f"Which column of {place} holds the paths? It has: {shown(columns)}. Name it with --path.")
