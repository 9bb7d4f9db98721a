"""Cells to numbers: what is missing, which mark is the decimal one, where a column's middle lies and how wide it is."""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Array = NDArray[np.float64]

MISSING = ("", "NA", "N/A", "NaN", "null", "None", "?", "-")  # in any case, with any space around
LARGEST = float(np.finfo(np.float32).max)  # beyond it a network sees infinity
DOTTED = re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?")  # 1.234.567,8
COMMAED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")  # 1,234,567.8
FRACTION = re.compile(r"\s*[<>≤≥~]?\s*[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?\s*")
IQR = 1.349  # interquartile range of a normal distribution, in standard deviations
UNITS = (3.0, 6.0)  # decimal places by which units are mistaken for each other: mg and g, ml and μl
ALIKE = 6  # spreads of a column's logarithms within which a value may well be right
NEAR = 3  # spreads of a column itself within which zero, and whatever is near it, may well be right
APART = 1.5  # decimal places between a mistaken value and the right ones: half the least mistake


def numbers(cells: Iterable[Any], decimal: str = ".", missing: Collection[str] = MISSING) -> tuple[Array, list[int]]:
    """Cells (N,) as numbers, NaN where there is none; and the places of those that are no finite number.

    "<0.5", what laboratories write below what they can measure, counts as 0.5. decimal: "." or ",".
    """
    values = cells if isinstance(cells, Sequence) else list(cells)
    odd: list[int] = []
    try:
        found = np.fromiter(map(float, values), np.float64, len(values))
        if decimal == "," or any(isinstance(cell, str) and "_" in cell for cell in values):
            raise ValueError("to be read with care")
    except (TypeError, ValueError, OverflowError):
        marks = {mark.strip().casefold() for mark in missing}
        each = [number(cell, decimal, marks) for cell in values]
        odd = [i for i, value in enumerate(each) if value is None]
        found = np.array([math.nan if value is None else value for value in each], np.float64)
    beyond = np.abs(found) > LARGEST
    odd = sorted({*odd, *np.flatnonzero(beyond).tolist()})
    found[beyond] = math.nan
    coded = [float(mark) for mark in missing if re.fullmatch(r"\s*[+-]?\d+(\.\d+)?\s*", mark)]  # -999
    found[np.isin(found, coded)] = math.nan
    return found, odd


def number(cell: Any, decimal: str, marks: Collection[str]) -> float | None:
    """One cell as a number: NaN where it is missing, None where it is something else. marks: casefolded."""
    if cell is None:
        return math.nan
    if not isinstance(cell, str):
        try:
            return float(cell)
        except OverflowError:
            return math.inf
        except (TypeError, ValueError):
            return None
    text = cell.strip()
    if text.casefold() in marks:
        return math.nan
    text = text.lstrip("<>≤≥~=").strip().replace("−", "-")
    if (DOTTED if decimal == "," else COMMAED).fullmatch(text):
        text = text.replace("." if decimal == "," else ",", "")
    if decimal == ",":
        text = text.replace(",", ".")
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def decimal_mark(cells: Iterable[Any]) -> str:
    """The decimal mark of a table whose columns are parted by semicolons: a comma where any number has one."""
    return "," if any(isinstance(cell, str) and FRACTION.fullmatch(cell) for cell in cells) else "."


def robust(x: Array) -> tuple[Array, Array]:
    """Median and spread of each column of x (N, D), NaN left out: two arrays (D,).

    The spread is a standard deviation told by the middle half; by all values where that half is but one value, as
    where most counts are zero. 0 where a column does not vary or holds nothing.
    """
    if not len(x):
        return np.zeros(x.shape[1]), np.zeros(x.shape[1])
    sorted_ = np.sort(x, axis=0)  # NaN come last
    count = np.isfinite(x).sum(0)
    quarters = []
    for share in (0.25, 0.5, 0.75):
        at = share * np.maximum(count - 1, 0)
        low, rest = np.floor(at).astype(np.int64), at % 1
        below, above = (np.take_along_axis(sorted_, i[None], 0)[0] for i in (low, np.minimum(low + 1, len(x) - 1)))
        quarters.append(below + np.where(rest > 0, rest * (above - below), 0.0))
    first, centre, third = (np.where(count > 0, value, 0.0) for value in quarters)
    away = np.where(np.isfinite(x), x - centre, 0.0)
    largest = np.abs(away).max(0)
    varies = largest > 1e-12 * np.abs(centre)  # what is left of a constant column is rounding
    unit = np.where(varies, largest, 1.0)  # squares of large numbers overflow
    deviation = unit * np.sqrt(((away / unit) ** 2).sum(0) / np.maximum(count, 1))
    spread = (third - first) / IQR
    return centre, np.where(varies, np.where(spread > 1e-12 * np.abs(centre), spread, deviation), 0.0)


def misplaced(x: Array) -> list[tuple[int, int]]:
    """(row, column) of the values of x (N, D) that stand about 10³ or 10⁶ times off their column: a unit mistaken?

    They must stand alone, nearer to where a mistake would put them than to any right value: a long tail leads there
    step by step. Columns that reach that far by nature, as counts do, are wide in logarithms too, and left in peace; so
    are small values of shares from 0 to 1, and of columns that have negative values or come near zero anyway.
    """
    with np.errstate(divide="ignore"):
        size = np.log10(np.abs(x))
    size[~np.isfinite(size)] = math.nan
    (centre, spread), (middle, width) = robust(size), robust(x)
    away = np.abs(size - centre)
    unit = np.any([np.abs(away - places) < 0.3 for places in UNITS], axis=0)
    few = np.isfinite(size).sum(0) < 8
    found, large = unit & (away > ALIKE * np.maximum(spread, 0.05)) & ~few, size > centre
    for side in (large, size <= centre):
        edge = np.where(side & ~found, away, 0.0).max(0, initial=0.0)  # of the right values, the furthest out
        found &= ~side | (away - edge > APART)
    found &= large | ((middle > NEAR * width) & ~(x < 0).any(0) & (x > 1).any(0))
    return [(int(row), int(column)) for row, column in np.argwhere(found)]


def evenly(items: Iterable[T], most: int) -> list[T]:
    """At most so many of the items, evenly spread over all of them, however many there turn out to be."""
    kept: list[T] = []
    stride = 1
    for index, item in enumerate(items):
        if index % stride == 0:
            kept.append(item)
        if len(kept) > most:
            kept, stride = kept[::2], 2 * stride
    return kept
