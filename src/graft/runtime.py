"""Which runtime answers an artifact: ONNX Runtime, another format that was exported, or a baseline's own arithmetic."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graft.core.card import Card
from graft.core.errors import ExportMismatch, GraftError, PlanError
from graft.core.shelf import take

WHOLE = ("share",)  # what makes one answer of an example's pieces: not asked for where every word has one
FIRST = ("openvino", "onnx")  # formats that answer unasked, the fastest first: others lose accuracy, or want torch
Said = Mapping[str, np.ndarray]  # of one example: logits, and perhaps features and novelty; logits.TASK of several
Runtime = Callable[[Sequence[Any], Sequence[list[str]]], list[Said]]  # prepared examples, and the words of each


def runtime(folder: Path, card: Card, input: Any, asked: str = "") -> Runtime:
    """What computes the answers of an artifact whose card was checked.

    Args:
        input: what the network is fed, as its modality parses it.
        asked: a format; by default the fastest that is there and installed.

    Raises:
        PlanError: the artifact has no such format.
        ExportMismatch: its file cannot be read.
    """
    by_word = any(take("heads", one["head"]).ROWS for one in card.get("tasks", {"": card}).values())
    if "baseline" in card:
        return _baseline(_guarded(folder / "weights.safetensors", _state), card["baseline"], by_word)
    name = _chosen(card, asked)
    place = folder / card["formats"][name]["files"][0]
    run = _guarded(place, take("formats", name).read)
    modality = take("modalities", card["modality"])

    def compute(prepared: Sequence[Any], words: Sequence[list[str]]) -> list[Said]:
        fed = modality.ship(prepared, input)
        if by_word:
            logits = run({name: array for name, array in fed.items() if name not in WHOLE})["logits"]
            return [{"logits": rows} for rows in modality.told(logits, prepared, input)]
        found = run(fed)
        return [{name: array[row] for name, array in found.items()} for row in range(len(prepared))]

    return compute


def _chosen(card: Card, asked: str) -> str:
    there = list(card["formats"])
    if asked and asked not in there:
        raise PlanError(f"The artifact holds no {asked}. It holds: {', '.join(there)}.")
    installed = [name for name in FIRST if name in there and (name == "onnx" or importlib.util.find_spec(name))]
    return asked or next(iter(installed), there[0])


def _guarded(place: Path, read: Callable[[Path], Any]) -> Any:
    """What a reader makes of a file; whatever it raises on a strange one names the file."""
    try:
        return read(place)
    except GraftError:
        raise
    except ImportError as error:
        raise PlanError(f"{place.name} needs a package that is not installed: {error}.") from error
    except Exception as error:  # each runtime has its own kinds
        first = str(error).strip().splitlines()
        raise ExportMismatch(f"{place} cannot be used: {first[0] if first else type(error).__name__}") from error


def _state(place: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(place)


def _baseline(state: dict[str, np.ndarray], name: str, by_word: bool) -> Runtime:
    method = take("baselines", name)
    ragged = getattr(method, "RAGGED", False)

    def compute(seen: Sequence[Any], words: Sequence[list[str]]) -> list[Said]:
        answers = np.asarray(method.predict(state, seen if ragged else np.stack(seen)))
        if not by_word:
            return [{"logits": row} for row in answers]
        counts = [len(each) for each in words]  # a baseline may have one answer for all words of an example
        answers = np.repeat(answers, counts, 0) if len(answers) < sum(counts) else answers
        return [{"logits": rows} for rows in np.split(answers, np.cumsum(counts)[:-1])]

    return compute
