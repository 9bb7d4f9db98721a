"""What of a row training has not seen: cells that are no numbers, values out of range, words that are no level."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLACK = 0.1  # of a column's range by which a value may lie outside it: now and then a new row does, by a little
SHOWN = 5  # sentences about one row
LONGEST = 40  # characters of a cell that are repeated

Ranges = Mapping[str, Sequence[float]]  # column → its lowest and its highest value


def ranges(rows: Iterable[Any], reading: Any) -> dict[str, tuple[float, float]]:
    """From where to where the numbers of decoded rows lie, by column; a column in which none stands is not there."""
    low, high = (np.full(len(reading.columns), bound) for bound in (np.inf, -np.inf))
    for row in rows:
        values = _plain(row, reading)
        low, high = np.fmin(low, values), np.fmax(high, values)
    found = zip(reading.columns, low.tolist(), high.tolist(), strict=True)
    return {name: (least, most) for name, least, most in found if least <= most}


def odd(reading: Any, known: Ranges) -> Callable[[Any], list[str]]:
    """What tells of a decoded row, in sentences, which of its values were not learned from and how they are taken."""
    bounds = [known.get(name, (-np.inf, np.inf)) for name in reading.columns]
    low, high = np.array(bounds, np.float64).reshape(len(bounds), 2).T
    slack = SLACK * (high - low)

    def told(row: Any) -> list[str]:
        values = _plain(row, reading)
        said = [f"{name}: {_short(cell)} is {_why(cell)}, taken as missing" for name, cell in row.strays.items()]
        said += [
            f"{reading.columns[at]}: {values[at]:g} lies beyond the {low[at]:g} to {high[at]:g} of the training rows"
            for at in np.flatnonzero((values < low - slack) | (values > high + slack))
        ]
        said += [
            f"{name}: {_short(word)} was in no training row"
            for name, word in row.words.items()
            if word and word not in reading.categories[name]
        ]
        return said if len(said) <= SHOWN else [*said[:SHOWN], f"and {len(said) - SHOWN} values more"]

    return told


def _plain(row: Any, reading: Any) -> NDArray[np.float64]:
    """A row's numbers as its table has them; NaN where missing."""
    values: NDArray[np.float64] = row.values[: len(reading.columns)]
    return np.sign(values) * np.expm1(np.abs(values)) if reading.log else values


def _why(cell: Any) -> str:
    return "too large a number" if isinstance(cell, int | float) else "no number"


def _short(cell: Any) -> str:
    """A cell as it is repeated; of what is no cell at all, which may be of any depth, its kind."""
    text = repr(cell) if isinstance(cell, str | int | float) else f"a {type(cell).__name__}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
