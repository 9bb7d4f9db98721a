"""Examples in pieces, any of which can be hidden: what an answer hangs on is seen by what hiding it changes.

Pieces are squares of a picture, words of a text, stretches of a recording, columns of a row. What is hidden is put
where it says least: the picture's mean colour, no word, silence, a straight line, a missing value.
"""

import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from graft.data import pictures
from graft.data.writing import BROAD, decoded

GRID = 7  # squares along a picture's long side: small enough to point, large enough to be missed
FEWEST = 3  # along the other
LONGEST = 512  # pixels of a photo's long side, or twice what the network sees
SPANS = 20  # stretches of a recording
LEAST = 4  # samples of a stretch
GONE = "…"  # stands for a word where every word has an answer, so that their count stays
WORDS = re.compile(rf"[{chr(BROAD)}-\U0010ffff]|[^\s{chr(BROAD)}-\U0010ffff]+")  # such characters are words


@dataclass(frozen=True)
class Pieces:
    """An example that can be shown in part."""

    kind: str  # grid, words, spans, columns
    regions: tuple[dict[str, Any], ...]  # where each piece lies
    without: Callable[[Sequence[int]], Any]  # these hidden: the rest, as a modality's `given` takes it
    text: str = ""  # that the regions of words point into


def squares(raw: bytes, reading: Any = None, input: Any = None) -> Pieces:
    """A photo in squares, looked at no larger than needed."""
    picture = pictures.decode(raw, LONGEST)
    longest = max(LONGEST, *(2 * side for side in input.size)) if input else LONGEST
    picture.thumbnail((longest, longest))
    x = np.asarray(picture)
    share = GRID / max(picture.size)
    columns, rows = (max(FEWEST, round(share * side)) for side in picture.size)
    across, down = (
        np.linspace(0, side, count + 1).astype(int) for side, count in zip(picture.size, (columns, rows), strict=True)
    )
    places = [(row, column) for row in range(rows) for column in range(columns)]

    def without(hidden: Sequence[int]) -> bytes:
        left = x.copy()
        for row, column in (places[at] for at in hidden):
            left[down[row] : down[row + 1], across[column] : across[column + 1]] = x.mean((0, 1))
        stream = io.BytesIO()
        Image.fromarray(left).save(stream, "BMP")
        return stream.getvalue()

    return Pieces("grid", tuple({"row": r, "column": c, "rows": rows, "columns": columns} for r, c in places), without)


def words(raw: bytes, reading: Any, input: Any = None) -> Pieces:
    """A text, or the texts of a row, in words; their places are those in all texts with a line break between them."""
    columns, tagged = reading.columns, reading.words
    cells: dict[str, Any] = json.loads(raw) if columns else {"": decoded(raw)[0]}
    found: list[tuple[str, int, int]] = []  # cell, where the word begins and ends in it; or its number, twice
    regions: list[dict[str, Any]] = []
    text = ""
    for name in columns or ("",):
        value = cells[name]
        if isinstance(value, list):
            at = len(text)
            for number, word in enumerate(map(str, value)):
                found.append((name, number, number))
                regions.append({"text": word, "start": at, "end": at + len(word)})
                at += len(word) + 1
            text += " ".join(map(str, value)) + "\n"
            continue
        cells[name] = value = "" if value is None else str(value)
        for match in re.finditer(r"\S+", value) if tagged else WORDS.finditer(value):
            found.append((name, *match.span()))
            regions.append({"text": match[0], "start": len(text) + match.start(), "end": len(text) + match.end()})
        text += value + "\n"

    def without(hidden: Sequence[int]) -> Any:
        left: dict[str, Any] = {name: value[:] for name, value in cells.items()}
        for name, start, end in (found[at] for at in sorted(hidden, reverse=True)):  # from behind: places stay
            if isinstance(left[name], list):
                left[name][start] = GONE
            else:
                left[name] = left[name][:start] + (GONE if tagged else "") + left[name][end:]
        return left if columns else left[""].encode("utf-8", "surrogatepass")

    return Pieces("words", tuple(regions), without, text.removesuffix("\n"))


def heard(raw: bytes, reading: Any = None, input: Any = None) -> Pieces:
    """A clip in stretches; a hidden one is silent."""
    from graft.data import sound  # what only some kinds need is loaded where it is

    rate = input.rate if input else sound.RATE
    samples = sound.decode(raw, rate).samples
    edges = _edges(len(samples))

    def without(hidden: Sequence[int]) -> bytes:
        left = samples.copy()
        for at in hidden:
            left[edges[at] : edges[at + 1]] = 0
        return sound.encoded(left, rate)

    return Pieces("spans", _spans(edges, rate), without)


def traced(raw: bytes, reading: Any, input: Any = None) -> Pieces:
    """A trial in stretches; through a hidden one each channel runs straight from end to end."""
    from graft.data import recordings
    from graft.data.traces import pack

    trace = recordings.trace(raw, reading.channels, reading.layout)
    count = trace.x.shape[1]
    edges = _edges(count)

    def without(hidden: Sequence[int]) -> bytes:
        seen = np.ones(count, bool)
        for at in hidden:
            seen[edges[at] : edges[at + 1]] = False
        left = trace.x.astype(np.float64)
        if seen.any():
            there = np.flatnonzero(seen)
            left[:, ~seen] = [np.interp(np.flatnonzero(~seen), there, channel[there]) for channel in left]
        else:
            left[:] = left.mean(1, keepdims=True)
        return pack(replace(trace, x=left))

    return Pieces("spans", _spans(edges, trace.rate or reading.rate or 1.0), without)


def cells(raw: bytes, reading: Any = None, input: Any = None) -> Pieces:
    """A row in columns; a hidden one is missing."""
    row: dict[str, Any] = json.loads(raw)
    names = list(row)

    def without(hidden: Sequence[int]) -> dict[str, Any]:
        gone = {names[at] for at in hidden}
        return {name: None if name in gone else value for name, value in row.items()}

    return Pieces("columns", tuple({"name": name} for name in names), without)


def _edges(count: int) -> np.ndarray:
    return np.linspace(0, count, max(1, min(SPANS, count // LEAST)) + 1).astype(int)


def _spans(edges: np.ndarray, rate: float) -> tuple[dict[str, Any], ...]:
    at = [round(float(edge) / rate, 4) for edge in edges]
    return tuple({"start": start, "end": end} for start, end in pairwise(at))
