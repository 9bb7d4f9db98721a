"""An artifact → how far it lies from what was trained: raw files, a fresh process, every form of the network."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

import graft
from graft.core.codec import from_dict
from graft.core.errors import ExportMismatch
from graft.core.nouns import Backbone, Row, Task
from graft.core.shelf import names, take
from graft.data.batches import stacked, unstacked
from graft.predict import Predictor

TOLERANCE = 1e-4  # largest difference of a logit between memory and a fresh process, in float32
COMPARED = 200  # real examples that are compared, of the validation and the training part
BATCHES = (1, 7)  # examples that are answered together: alone, and beside longer ones
WEIGHED = 64  # of the examples, that the safetensors weights are asked as well
TIE = 1e-5  # two labels nearer than this are one to float32: which comes first is no answer
CHECK = "from graft.parity import answers; answers()"  # what the fresh process runs, which loads what it needs alone


@dataclass(frozen=True)
class Expected:
    """What the trained model answers for some real examples, in memory."""

    items: tuple[str, ...]
    logits: np.ndarray  # (rows, outputs): one row an example, or a word
    owner: np.ndarray  # (rows,) the number of each row's example
    unit: np.ndarray  # (outputs,) what a difference of 1 is
    kind: str  # of the head: what an answer is


def expected(task: Task, row: Row) -> Expected:
    """The answers of what ships for validation and training examples, computed where a fresh process computes."""
    from graft.confidence import said

    parts = [task.val.select(range(min(COMPARED // 2, len(task.val))))]
    parts.append(task.train.select(range(min(COMPARED - len(parts[0]), len(task.train)))))
    answers: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    for part in parts:
        logits, y = said(task, row, part, on="cpu")  # a GPU rounds otherwise
        owner = np.arange(len(part))
        if take("heads", task.head).ROWS:
            logits = logits[y[:, 0] >= 0] if row.name not in names("baselines") else logits
            owner = y[y[:, 0] >= 0, 1]
        answers.append(logits)
        owners.append(owner + (len(parts[0]) if len(owners) else 0))
    logits = np.concatenate(answers)
    items = tuple(item for part in parts for item in part.items)
    return Expected(items, logits, np.concatenate(owners), _unit(task, logits), take("heads", task.head).KIND)


def proven(folder: Path, right: Expected, torch: bool) -> dict[str, dict[str, Any]]:
    """By form ("weights" are those in torch) the largest difference, over which examples and batches.

    Args:
        torch: whether the folder holds a network, whose safetensors are asked as well.

    Raises:
        ExportMismatch: a fresh process computes something else, or cannot use the folder.
    """
    with TemporaryDirectory() as place:
        file = Path(place, "answers.safetensors")
        ask = json.dumps({"folder": str(folder), "items": right.items, "torch": torch, "answers": str(file)})
        fresh = subprocess.run([sys.executable, "-c", CHECK], input=ask, capture_output=True, text=True, check=False)
        if fresh.returncode:
            last = fresh.stderr.strip().splitlines()[-1] if fresh.stderr.strip() else f"status {fresh.returncode}"
            raise ExportMismatch(f"The artifact could not be used by a fresh process: {last}")
        made = load_file(file)
        sizes = json.loads(fresh.stdout)["sizes"]
    found: dict[str, dict[str, Any]] = {}
    for key, logits in made.items():
        name, _, batch = key.partition("/")
        one = found.setdefault(name, {"difference": 0.0, "flipped": 0, "examples": 0, "batches": []})
        rows = right.owner < (WEIGHED if name == "weights" else len(right.items))
        difference, flipped = _apart(logits, right.logits[rows], right)
        one["difference"], one["flipped"] = max(one["difference"], difference), max(one["flipped"], flipped)
        one["examples"] = int(right.owner[rows].max()) + 1
        one["batches"] = sorted({*one["batches"], int(batch)})
        if sizes[0] != sizes[1]:
            one["lengths"] = sizes
    return found


def drawn(predictor: Predictor, count: int) -> dict[str, np.ndarray]:
    """Random examples as an artifact's network takes them: what can be asked of it where nothing real is at hand."""
    some: Any = unstacked(predictor.modality.example(predictor.input, count, np.random.default_rng(0)))
    fed = predictor.modality.ship(some, predictor.input)
    return {name: fed[name] for name in predictor.card["schema_in"]}


def faithful(found: dict[str, dict[str, Any]], lossy: Sequence[str]) -> float:
    """The largest difference of all forms that are to be exact.

    Raises:
        ExportMismatch: one of them differs, or flips a label.
    """
    for name, one in found.items():
        if name not in lossy and (not one["difference"] <= TOLERANCE or one["flipped"]):
            raise ExportMismatch(
                f"The artifact's {name} differs from what was trained by {one['difference']:.2g} in a logit (at most "
                f"{TOLERANCE:.0e} is allowed) and changes {one['flipped']} answers. It was not kept."
            )
    return float(max(one["difference"] for name, one in found.items() if name not in lossy))


def answers() -> None:
    """In a fresh process: what every form of an artifact answers for raw files, each in several batch sizes."""
    ask = json.load(sys.stdin)
    folder, items = Path(ask["folder"]), ask["items"]
    made: list[Any] = []
    found: dict[str, np.ndarray] = {}
    forms = list(json.loads((folder / "card.json").read_text(encoding="utf-8"))["formats"]) or [""]
    for form in forms:
        predictor = graft.open(folder, form)
        made = made or predictor.prepared(items)
        for batch in BATCHES:
            rows: list[Any] = [None] * len(made)
            for chunk in _mixed([_size(fed) for fed, _ in made], batch):
                told = predictor.compute(*zip(*(made[at] for at in chunk), strict=True))
                for at, one in zip(chunk, told, strict=True):
                    rows[at] = one["logits"]
            found[f"{form or 'baseline'}/{batch}"] = (np.concatenate if predictor.by_word else np.stack)(rows)
    if ask["torch"]:
        found["weights/1"] = rebuilt(folder, [fed for fed, _ in made[:WEIGHED]])
    save_file({name: np.ascontiguousarray(rows, np.float64) for name, rows in found.items()}, ask["answers"])
    sizes = [_size(fed) for fed, _ in made]
    json.dump({"sizes": [min(sizes), max(sizes)]}, sys.stdout)


def rebuilt(folder: str | Path, made: Sequence[Any]) -> np.ndarray:
    """Logits of an artifact's safetensors weights in torch, from the folder alone, for examples that were prepared."""
    import torch
    from safetensors.torch import load_file as load

    from graft.build import build

    predictor, place = graft.open(folder), Path(folder)
    backbone = from_dict(Backbone, predictor.card["backbone"])
    chain, _ = build(backbone, predictor.card["head"], len(predictor.labels), pretrained=False, on="cpu")
    chain.network.load_state_dict(load(place / "weights.safetensors"))
    network = chain.network.eval()
    with torch.no_grad():
        each = [stacked([one], predictor.modality.RAGGED) for one in made]
        told = [network(**{n: torch.from_numpy(a) for n, a in one.items()}).numpy() for one in each]
    return np.concatenate([spoken(rows, one) for rows, one in zip(told, made, strict=True)])


def spoken(logits: np.ndarray, prepared: Any) -> np.ndarray:
    """Of answers for every token of an example (T, K), those for its words; others, (1, K), as they are."""
    return logits[prepared["word"] >= 0] if "word" in prepared and len(logits) == len(prepared["word"]) else logits


def _size(fed: Any) -> int:
    """Rows of a prepared example: tokens of a text, windows of a sound."""
    return len(fed["x"]) if isinstance(fed, dict) and "x" in fed else 1


def _mixed(sizes: Sequence[int], batch: int) -> list[list[int]]:
    """Batches in which short examples stand beside long ones, so that they are filled up."""
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    count = -(-len(order) // batch)
    return [order[at::count] for at in range(count)]


def _apart(logits: np.ndarray, right: np.ndarray, about: Expected) -> tuple[float, int]:
    """The largest difference in units, infinite where one is no number; and how many answers are others."""
    difference = np.abs(logits - right) / about.unit
    if about.kind == "squared":
        flipped = np.zeros(len(right), bool)
    elif about.kind == "sigmoid":
        flipped = ((logits > 0) != (right > 0)) & (np.abs(right) > TIE)
    else:
        top = np.sort(right, axis=1)
        flipped = (logits.argmax(1) != right.argmax(1)) & (top[:, -1] - top[:, -2:].min(1) > TIE)
    return float(np.nan_to_num(difference, nan=np.inf).max()), int(flipped.reshape(len(right), -1).any(1).sum())


def _unit(task: Task, logits: np.ndarray) -> np.ndarray:
    """What a difference of 1 is: 1 for logits; for values and distances their spread; or what float32 rounds off."""
    head, spread = take("heads", task.head), np.asarray(1.0)
    rounding = 4 * np.finfo(np.float32).eps * np.abs(logits).max(0) / TOLERANCE
    if head.KIND == "squared":
        spread = head.array(task.train.targets, len(task.outputs)).std(0)
    elif head.KIND == "groups":  # squared distances, of any size: the difference of two numbers that may be far larger
        spread = logits[logits > -head.FAR / 2].std()
    return np.asarray(np.maximum(spread, rounding))
