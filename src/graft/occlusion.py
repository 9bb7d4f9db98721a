"""Predictor, raw example → where it looks: what each piece of the example does for the answer.

Piece after piece is hidden and the example asked again. What is asked is the artifact, as it ships: neither torch nor
gradients are needed, and any model can be asked, a baseline too.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from graft.core.errors import DataError
from graft.data.hiding import Pieces
from graft.predict import Predictor, Raw

MOST = 64  # pieces that are hidden one by one; of more, neighbours are hidden together
CLOSER, PARTS, ROUNDS = 4, 16, 3  # of these the strongest are looked into, in so many parts each, so many times
Answer = dict[str, Any]
Ask = Callable[[list[Raw]], list[Answer]]


def looked(predictor: Predictor, raw: Raw) -> dict[str, Any]:
    """What the answer for one example hangs on.

    Returns:
        {"kind", "label", "regions"}: regions of a "grid" (row, column, rows, columns), of "words" (text, start, end),
        of "spans" (start, end, in seconds) or of "columns" (name), each with a "weight": how much smaller the answered
        label's probability is without it. For a predicted number it is how much smaller that is, in its own unit; for
        groups, how much less clearly the example belongs to its own; for tags, the share of them that changes.
        Of an artifact with several tasks it is {"tasks": these by name}.

    Raises:
        DataError: the example cannot be read.
    """
    pieces = predictor.pieces(raw)

    def of(task: str) -> dict[str, Any]:
        return explained(pieces, lambda some: [one.get("tasks", {}).get(task, one) for one in predictor.predict(some)])

    return {"tasks": {task: of(task) for task in predictor.tasks}} if "tasks" in predictor.card else of("")


def explained(pieces: Pieces, ask: Ask) -> dict[str, Any]:
    """The same of pieces, by whoever is asked: several raw examples in, an answer for each out."""

    def asked(hidden: Sequence[Sequence[int]]) -> list[Answer]:
        return ask([pieces.without(some) for some in hidden])

    first = asked([()])[0]
    if "error" in first:
        raise DataError(first["error"])
    label, measure = measured(first)
    whole = measure(first)

    def drops(hidden: Sequence[Sequence[int]]) -> np.ndarray:
        return np.array([whole - (measure(one) if "error" not in one else 0.0) for one in asked(hidden)])

    count = len(pieces.regions)
    if pieces.kind in ("grid", "spans"):
        regions = [
            {**region, "weight": weight} for region, weight in zip(pieces.regions, _swept(pieces, drops), strict=True)
        ]
    else:
        regions = [{**_joined(pieces, run), "weight": weight} for run, weight in _narrowed(count, drops)]
    regions = [{**region, "weight": round(float(region["weight"]), 6)} for region in regions]
    return {"kind": pieces.kind, "label": label, "regions": regions, **({"text": pieces.text} if pieces.text else {})}


def measured(first: Answer) -> tuple[str, Callable[[Answer], float]]:
    """What an answer says, and how much of that another answer still says."""
    if "probabilities" in first:
        label = first["label"]
        return label, lambda one: float(one["probabilities"][label])
    if "scores" in first:
        best = max(first["scores"], key=first["scores"].__getitem__)
        return best, lambda one: float(one["scores"][best])
    if "tags" in first:
        tags = [word["tag"] for word in first["tags"]]
        names = dict.fromkeys(entity["type"] for entity in first.get("entities", ()))
        at = [i for i, tag in enumerate(tags) if tag != "O"] or range(len(tags))
        return ", ".join(names), lambda one: float(np.mean([one["tags"][i]["tag"] == tags[i] for i in at]))
    if "group" in first:
        return first["group"], lambda one: _clear(one) if one["group"] == first["group"] else -_clear(one)
    if "value" in first:
        return "value", lambda one: float(one["value"])
    name = next(iter(first["values"]))
    return name, lambda one: float(one["values"][name])


def _clear(one: Answer) -> float:
    """How much nearer its group's centre is than the next, 0 to 1."""
    return 1 - one["distance"] / one["next_distance"] if one.get("next_distance") else 1.0


def _swept(pieces: Pieces, drops: Callable[[Sequence[Sequence[int]]], np.ndarray]) -> np.ndarray:
    """Of neighbours in time or place: windows two pieces wide, one piece apart; a piece has the mean of its windows.

    What is wider than a piece is not missed so, and what is smaller is still told from its neighbour.
    """
    first = pieces.regions[0]
    rows, columns = (first["rows"], first["columns"]) if pieces.kind == "grid" else (1, len(pieces.regions))
    corners = [(row, column) for row in range(-1 if rows > 1 else 0, rows) for column in range(-1, columns)]
    windows = [
        [r * columns + c for r in {row, row + 1} for c in (column, column + 1) if 0 <= r < rows and 0 <= c < columns]
        for row, column in corners
    ]
    weights, seen = np.zeros(rows * columns), np.zeros(rows * columns)
    for window, drop in zip(windows, drops(windows), strict=True):
        weights[window] += drop
        seen[window] += 1
    return weights / seen


def _narrowed(count: int, drops: Callable[[Sequence[Sequence[int]]], np.ndarray]) -> list[tuple[range, float]]:
    """Runs of pieces and what hiding each does, in order; where there are many, the strongest runs in parts."""
    runs = _parted(range(count), MOST)
    weights = dict(zip(runs, drops(runs), strict=True))
    for _ in range(ROUNDS):
        strongest = sorted((run for run in weights if len(run) > 1), key=lambda run: -abs(weights[run]))[:CLOSER]
        parts = [part for run in strongest for part in _parted(run, PARTS)]
        if not parts:
            break
        for run in strongest:
            del weights[run]
        weights |= zip(parts, drops(parts), strict=True)
    return sorted(weights.items(), key=lambda one: one[0].start)


def _parted(run: range, parts: int) -> list[range]:
    edges = np.linspace(run.start, run.stop, min(parts, len(run)) + 1).astype(int).tolist()
    return [range(start, stop) for start, stop in pairwise(edges)]


def _joined(pieces: Pieces, run: range) -> dict[str, Any]:
    """The region of a run of words or columns."""
    first, last = pieces.regions[run.start], pieces.regions[run.stop - 1]
    if pieces.kind == "words":
        return {**first, "text": pieces.text[first["start"] : last["end"]], "end": last["end"]}
    return dict(first) if len(run) == 1 else {"name": f"{first['name']} … {last['name']}"}
