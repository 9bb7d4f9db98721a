"""Tables of numbers, such as gene expression and laboratory values: columns found by name, standardised robustly.

An example is a row of a table. A backbone states the columns that it knows; whatever order another table has them in,
it is fed those: what that table lacks is put at the middle of what the backbone learned from, the rest goes unseen.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.core.codec import from_dict, to_dict
from graft.core.errors import BackboneError, DataError, PlanError
from graft.data import batches, hiding, layout, survey, tables, unseen
from graft.data.columns import cells, places, row, shown
from graft.data.numbers import MISSING, evenly, numbers, robust

if TYPE_CHECKING:
    from torch import nn

WORD = ("row", "rows")
SUFFIXES: tuple[str, ...] = ()  # no file is one example: each row of a table is
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".npz", ".npy")
VERSION = "1"  # of what decode, prepare and vary compute
RAGGED, ROWS, VIEWS, GROUPED = False, 256, (4, 2), layout.PEOPLE
# A row is called by its place; a text is a row, in JSON, unless it names a table; an array of two axes is several rows.
INLINE, FLAT = TABLES, True
pieces = hiding.cells
claims = survey.claims  # whether a table's rows hold such examples
ranges, slack, odd = unseen.ranges, unseen.slack, unseen.odd
CLIP = 8.0  # spreads from the middle, beyond which more is no more: a slip of the pen must not outshout the rest
LEVEL = 0.5  # spread given to a level: its own where half of the rows have it; rarer ones then do not shout
NOISE, DROP = 0.1, 0.1  # of a view: spreads added to each column, share of the columns put at their middle
TOLD = 20  # values from which a column's middle and spread in another table are its own
SEEN = 20_000  # training examples, evenly spread, that the middles are taken from


@dataclass(frozen=True)
class Input:
    """What a backbone is fed: these columns, standardised, and after them one for each level of each category."""

    columns: tuple[str, ...] = ()  # of numbers; empty: all that a task's table has
    centre: tuple[float, ...] = ()  # middle and spread of every entry of x, in the columns' own units
    spread: tuple[float, ...] = ()
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)  # column of words → its levels
    log: bool = False  # whether the numbers are logarithms, log(1 + x), before they are standardised

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each entry of x is; the categories follow in the order of their names."""
        return (
            *self.columns,
            *(f"{name}={level}" for name in sorted(self.categories) for level in self.categories[name]),
        )

    @cached_property
    def scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Middle and spread as arrays; 0 and 1 where they are not set."""
        width = len(self.names)
        return np.array(self.centre or [0.0] * width), np.array(self.spread or [1.0] * width)


@dataclass(frozen=True)
class Reading:
    """How a task's rows are read."""

    columns: tuple[str, ...] = ()  # of numbers
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)  # column of words → its levels
    log: bool = False  # take log(1 + x) of the numbers, on both sides of zero: for counts
    decimal: str = "."  # or ","
    missing: tuple[str, ...] = MISSING  # what stands where there is no value


@dataclass(frozen=True)
class Look:
    """What a row shows at a glance."""

    hash: int  # 0: a row alone does not tell what is near it; see graft.data.near
    notes: tuple[str, ...]
    known: int  # values that are there


@dataclass(frozen=True, eq=False)
class Values:
    """One example: its values by name."""

    names: tuple[str, ...]  # of its numbers
    values: NDArray[np.float64]  # those numbers, then one for each level of each category; NaN where missing
    words: dict[str, str]  # column of words → what stands there; "" where missing
    strays: dict[str, Any] = field(default_factory=dict)  # column of numbers → what stands there and is none

    @property
    def known(self) -> int:
        """How many of its values are there."""
        return int(np.isfinite(self.values[: len(self.names)]).sum()) + sum(map(bool, self.words.values()))


def parse(raw: Mapping[str, Any]) -> Input:
    """A backbone's input.

    Raises:
        PlanError: every field that is unknown, twice there, or of another length than the columns.
    """
    input = from_dict(Input, dict(raw))
    faults = []
    if len(set(input.columns) | set(input.categories)) < len(input.columns) + len(input.categories):
        faults.append("A backbone's columns need names of their own.")
    for name, values in (("centre", input.centre), ("spread", input.spread)):
        if values and len(values) != len(input.names):
            faults.append(f"{name} has {len(values)} entries for {len(input.names)} columns and levels.")
        if not all(math.isfinite(value) for value in values):
            faults.append(f"{name} holds values that are not finite.")
    if any(spread <= 0 for spread in input.spread):
        faults.append("spread must be above 0 throughout.")
    if faults:
        raise PlanError(" ".join(faults))
    return input


def find(place: Path, asked: Mapping[str, Any], labelled: bool = True) -> layout.Found:
    """The rows of a table, or of a folder's train, val and test tables; for errors too see `graft.data.survey.find`."""
    return survey.find(place, TABLES, asked, GROUPED, labelled)


def fetch(item: str, reading: Reading) -> bytes:
    """The JSON of one row; columns that its table lacks are not in it."""
    there = tables.read(item.rpartition("#")[0]).values
    return tables.row(item, [name for name in (*reading.columns, *reading.categories) if name in there])


def given(value: Any, reading: Reading) -> bytes:
    """A row that was handed over: values by column, as a mapping or JSON; or all the numbers in order.

    Raises:
        DataError: it is no row, names columns that there are not while lacking such, or lacks most of them.
    """
    if isinstance(value, str) and not value.lstrip().startswith(("{", "[")):
        such = row(reading.columns, reading.categories)
        raise DataError(f"{value[:200]} names no table that is there, and is no JSON of a row, such as {such}.")
    if isinstance(value, (bytes, str)):
        value = _json(value)
    wanted = (*reading.columns, *reading.categories)
    if isinstance(value, (list, tuple, np.ndarray)) and len(value) == len(wanted) and not reading.categories:
        value = dict(zip(wanted, value, strict=True))
    if not isinstance(value, Mapping):
        order = "" if reading.categories else f", or those {len(wanted)} numbers in their order"
        raise DataError(f"A row is its values by column, {shown(wanted, 5)}{order}; not {str(value)[:80]}")
    return tables.canonical(cells(value, wanted))


def look(raw: bytes, reading: Reading) -> Look:
    """How much of a row is there; DataError as from `decode`."""
    example = decode(raw, reading)
    width = len(example.names) + len(example.words)
    known = example.known
    return Look(0, ("more than half empty",) if known < width / 2 else (), known)


def decode(raw: bytes, reading: Reading, input: Input | None = None) -> Values:
    """A row's values, in the order of the reading's columns.

    Raises:
        DataError: these bytes are no row, or nothing of it is there.
    """
    cells = _json(raw)
    if not isinstance(cells, dict):
        raise DataError(f"A row is a JSON object of values by column, not {type(cells).__name__}.")
    values, odd = numbers([cells.get(name) for name in reading.columns], reading.decimal, reading.missing)
    strays = {reading.columns[at]: cells.get(reading.columns[at]) for at in odd}
    if reading.log:
        values = np.sign(values) * np.log1p(np.abs(values))
    words = {name: survey.word(cells.get(name), reading.missing) for name in reading.categories}
    made = Values(reading.columns, np.concatenate([values, survey.levels(reading.categories, words)]), words, strays)
    if not made.known:
        raise DataError(f"None of its {len(made.names) + len(words)} values is there.")
    return made


def prepare(example: Values, input: Input) -> dict[str, np.ndarray]:
    """What the network is fed: the backbone's columns, in spreads from their middle; missing ones in the middle.

    Shape: x float32 (columns and levels,).
    """
    centre, spread = input.scale
    with np.errstate(over="ignore"):
        x = (_matched(example, input) - centre) / spread
    return {"x": np.clip(np.where(np.isnan(x), 0.0, x), -CLIP, CLIP).astype(np.float32)}


def vary(example: Values, input: Input, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """An augmented view: a little noise, and some columns as if they were missing. The same rng, the same bits.

    Shape: x float32 (columns and levels,).
    """
    x = prepare(example, input)["x"]
    x[: len(input.columns)] += NOISE * rng.standard_normal(len(input.columns), np.float32)
    x[rng.random(len(x)) < DROP] = 0
    return {"x": x}


def example(input: Input, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random prepared examples to trace a network with: x float32 (n, columns and levels)."""
    return {"x": rng.standard_normal((n, len(input.names)), np.float32)}


def ship(examples: Sequence[Mapping[str, np.ndarray]], input: Input) -> dict[str, np.ndarray]:
    """Prepared rows as one batch."""
    return batches.stacked(examples, RAGGED)


def suited(input: Mapping[str, Any], reading: Reading, examples: Iterable[Values]) -> dict[str, Any]:
    """The input for a task: its columns where the backbone names none, and their middles and spreads.

    Columns that do not vary over the training examples are left out: what they would say later was never learned. A
    backbone's own columns are fed in the middles and spreads that they have here, where enough rows tell them: another
    laboratory, batch or unit then looks alike. That is known to the task and takes no labels.

    Raises:
        BackboneError: the task's table has none of the backbone's columns, or only one of them is on logarithms.
        DataError: there are no examples.
    """
    fixed = parse(input)
    chosen = bool(fixed.names)
    if chosen and not {*fixed.columns, *fixed.categories} & {*reading.columns, *reading.categories}:
        theirs, ours = shown(fixed.names, 5), shown((*reading.columns, *reading.categories), 5)
        raise BackboneError(f"The backbone knows the columns {theirs}; the table has none of them, but {ours}.")
    if chosen and fixed.log != reading.log:
        word = ("values as they are", "logarithms")[fixed.log]
        raise BackboneError(f"The backbone learned from {word}: read this table with log={str(fixed.log).lower()}.")
    if not chosen:
        fixed = Input(reading.columns, categories=reading.categories, log=reading.log)
    rows = np.array(evenly((_matched(one, fixed) for one in examples), SEEN))
    if not len(rows):
        raise DataError("There are no training examples to take the columns' middles from.")
    count = len(fixed.columns)
    centre, spread = robust(rows[:, :count])
    varies = spread > 0
    if chosen and fixed.centre and fixed.spread:
        own = np.flatnonzero(varies & (np.isfinite(rows[:, :count]).sum(0) >= TOLD))
        middles, wide = (each.copy() for each in fixed.scale)
        middles[own], wide[own] = centre[own], spread[own]
        return dict(to_dict(asdict(fixed) | {"centre": middles.tolist(), "spread": wide.tolist()}))
    columns = [name for name, does in zip(fixed.columns, varies, strict=True) if does]
    if chosen or not columns:
        columns, varies = list(fixed.columns), np.ones(count, bool)
    share = np.nansum(rows[:, count:], 0) / np.maximum(np.isfinite(rows[:, count:]).sum(0), 1)
    made = asdict(fixed) | {
        "columns": columns,
        "centre": fixed.centre or [*centre[varies].tolist(), *share.tolist()],
        "spread": fixed.spread or [*np.where(spread > 0, spread, 1.0)[varies].tolist(), *[LEVEL] * len(share)],
    }
    return dict(to_dict(made))


def remarks(input: Input, reading: Reading, examples: Iterable[Values]) -> Iterator[str]:
    """Which of the backbone's columns a task's table lacks: they are fed as if in the middle."""
    known, there = {*input.columns, *input.categories}, {*reading.columns, *reading.categories}
    if lost := sorted(known - there):
        yield f"The table lacks {len(lost)} of the backbone's {len(known)} columns, such as {lost[0]!r}."
    if there - known:
        yield f"The backbone does not see {len(there - known)} of the table's {len(there)} columns."


def smaller(input: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing of what another table was like: what learns from this one alone has its own columns and their middles."""
    return {}


def front(input: Input) -> "nn.Module":
    """Nothing: `prepare` has standardised."""
    from torch.nn import Identity

    return Identity()


def schema(input: Input) -> dict[str, dict[str, Any]]:
    """What the exported network takes."""
    what = f"(value - centre) / spread, within ±{CLIP:g}, 0 where missing, of {shown(input.names)}"
    return {"x": {"dtype": "float32", "shape": ["batch", len(input.names)], "what": what}}


def _matched(example: Values, input: Input) -> NDArray[np.float64]:
    """An example's values (columns and levels,) in the backbone's order, in its own units; NaN where it has none."""
    values = np.append(example.values[: len(example.names)], math.nan)[places(example.names, input.columns)]
    return np.concatenate([values, survey.levels(input.categories, example.words)])


def _json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"A row is a JSON object of values by column; this is no JSON ({error}).") from None
