"""What of a row training has not seen: cells that are no numbers, values out of range, words that are no level."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graft.data.numbers import number

SLACK = 0.1  # of a column's range by which a value may lie outside it: now and then a new row does, by a little
USUAL = 0.95  # share of other rows in which no value lies further outside; of a thousand columns, one easily may
SHOWN = 5  # sentences about one row
LONGEST = 40  # characters of a cell that are repeated

Ranges = Mapping[str, Sequence[float]]  # column → its lowest and its highest value


class Odd(NamedTuple):
    """What of a row training has not seen."""

    told: list[str]  # in sentences
    beyond: bool  # whether a number lies beyond those of the training rows: nothing is known there


def ranges(rows: Iterable[Any], reading: Any) -> dict[str, tuple[float, float]]:
    """From where to where the numbers of decoded rows lie, by column; a column in which none stands is not there."""
    low, high = (np.full(len(reading.columns), bound) for bound in (np.inf, -np.inf))
    for row in rows:
        values = _plain(row, reading)
        low, high = np.fmin(low, values), np.fmax(high, values)
    found = zip(reading.columns, low.tolist(), high.tolist(), strict=True)
    return {name: (least, most) for name, least, most in found if least <= most}


def slack(rows: Iterable[Any], reading: Any, known: Ranges) -> float:
    """How far outside the ranges the values of other rows like those lie by themselves, in widths; SLACK at least."""
    low, high, width = _bounds(reading, known)
    each = (_plain(row, reading) for row in rows)
    with np.errstate(invalid="ignore"):  # a column in which no training row has a number has no width
        furthest = [float(np.fmax.reduce(np.fmax(low - values, values - high) / width, initial=0.0)) for values in each]
    return max(SLACK, float(np.quantile(furthest, USUAL, method="lower"))) if furthest else SLACK


def odd(reading: Any, known: Ranges, slack: float = SLACK) -> Callable[[Any], Odd]:
    """What tells of a decoded row which of its values were not learned from and how they are taken."""
    low, high, width = _bounds(reading, known)
    least, most = low - float(slack) * width, high + float(slack) * width

    def told(row: Any) -> Odd:
        values = _plain(row, reading)
        large = {name: number(cell, reading.decimal, ()) is not None for name, cell in row.strays.items()}
        said = [
            f"{name}: {_short(cell)} is {'too large a' if large[name] else 'no'} number, taken as missing"
            for name, cell in row.strays.items()
        ]
        beyond = np.flatnonzero((values < least) | (values > most))
        said += [
            f"{reading.columns[at]}: {values[at]:g} lies beyond the {low[at]:g} to {high[at]:g} of the training rows"
            for at in beyond
        ]
        said += [
            f"{name}: {_short(word)} was in no training row"
            for name, word in row.words.items()
            if word and word not in reading.categories[name]
        ]
        shown = said if len(said) <= SHOWN else [*said[:SHOWN], f"and {len(said) - SHOWN} values more"]
        return Odd(shown, len(beyond) > 0 or any(large.values()))

    return told


def _bounds(reading: Any, known: Ranges) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each column the lowest and the highest value, and the width between; of one value, its size."""
    bounds = [known.get(name, (-math.inf, math.inf)) for name in reading.columns]
    low, high = np.array(bounds, np.float64).reshape(len(bounds), 2).T
    return low, high, np.where(high > low, high - low, np.where(high == 0, 1.0, np.abs(high)))


def _plain(row: Any, reading: Any) -> NDArray[np.float64]:
    """A row's numbers as its table has them; NaN where missing."""
    values: NDArray[np.float64] = row.values[: len(reading.columns)]
    return np.sign(values) * np.expm1(np.abs(values)) if reading.log else values


def _short(cell: Any) -> str:
    """A cell as it is repeated; of what is no cell at all, which may be of any depth, its kind."""
    text = repr(cell) if isinstance(cell, str | int | float) else f"a {type(cell).__name__}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
