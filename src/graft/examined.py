"""Task, Row → the shipped model examined: which examples it gets wrong, and what its answers hang on."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from graft.adapt import finished
from graft.build import build, reading
from graft.core.errors import GraftError
from graft.core.examples import called
from graft.core.exhibits import Closeup, Region
from graft.core.figures import number
from graft.core.nouns import Part, Row, Task
from graft.core.shelf import names, take
from graft.data.batches import stacked
from graft.data.dataset import content
from graft.model.chain import Chain
from graft.model.entities import OUTSIDE
from graft.model.gaze import gaze
from graft.occlusion import explained
from graft.parity import spoken
from graft.rivals import answering

BATCH = 32
SECONDS = 40.0  # that hiding pieces may take in all: then the rest is shown without
STRONGEST = 12  # words or columns that are marked in an example
CELLS = 8  # columns of a row that are shown, the strongest first


class Examiner:
    """What ships, asked of raw examples, whole or in part."""

    def __init__(self, task: Task, row: Row, labels: Sequence[str], trust: dict[str, Any]) -> None:
        self.task, self.labels, self.trust = task, labels, trust
        self.modality, self.head = take("modalities", task.modality), take("heads", task.head)
        self.reading = reading(task)
        self.chain: Chain | None = None
        self.input: Any = None
        if row.name in names("baselines"):
            self.say = answering(row.name, row.run)
        elif run := finished(row.run):
            backbone = run.plan.backbone
            self.chain, _ = build(backbone, task.head, len(task.outputs), run.seed, pretrained=False, on="cpu")
            self.chain.network.load_state_dict(load_file(run.weights))
            self.chain.network.eval()
            self.input = self.modality.parse(backbone.input)
        self.until = time.monotonic() + SECONDS

    def closeup(self, part: Part, row: int, truth: str = "", look: bool = True) -> Closeup:
        """An example as it is shown: with its answer, and what that hangs on where there is time to ask."""
        one = self._seen(part, row, truth, look)
        strength = {region.name: abs(region.weight) for region in one.regions}
        return replace(one, cells=tuple(sorted(one.cells, key=lambda cell: -strength.get(cell[0], 0.0))[:CELLS]))

    def _seen(self, part: Part, row: int, truth: str, look: bool) -> Closeup:
        """The same with every cell of a row."""
        one = Closeup(called(part.items[row]), "", truth)
        try:
            raw = content(part, row, self.modality, self.reading)
            pieces = self.modality.pieces(raw, self.reading, self.input)
            one = replace(one, **pieces.shown())
        except GraftError:
            return one
        answer = self._told([lambda: raw])[0]
        if "error" in answer:
            return one
        one = replace(one, answer=said(answer), probability=answer.get("probability"))
        if not look or time.monotonic() > self.until:
            return one
        if pieces.kind == "grid" and (seen := self._gazed(raw)) is not None:
            return replace(one, looked="gradients", grid=tuple(map(tuple, seen.round(3).tolist())))
        found = explained(pieces, self.answers)
        regions = [r for r in found["regions"] if r["weight"]]
        if pieces.kind == "grid":
            rows, columns = found["regions"][0]["rows"], found["regions"][0]["columns"]
            weights = np.array([r["weight"] for r in found["regions"]]).reshape(rows, columns)
            return replace(one, looked="hiding", grid=tuple(map(tuple, weights.round(4).tolist())))
        if pieces.kind != "spans":
            regions = sorted(regions, key=lambda r: -abs(r["weight"]))[:STRONGEST]
        kept = tuple(Region(r["weight"], r.get("start", 0.0), r.get("end", 0.0), r.get("name", "")) for r in regions)
        return replace(one, looked="hiding", regions=kept)

    def answers(self, raws: Iterable[Any]) -> list[dict[str, Any]]:
        """As a Predictor answers."""
        return self._told([partial(self.modality.given, raw, self.reading) for raw in raws])

    def _told(self, fetches: Sequence[Callable[[], bytes]]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        for fetch in fetches:
            try:
                told.append({"example": self.modality.decode(fetch(), self.reading, self.input)})
            except GraftError as error:
                told.append({"error": str(error)})
        good = [one for one in told if "example" in one]
        step = 1 if self.head.ROWS else BATCH
        for at in range(0, len(good), step):
            some = good[at : at + step]
            for one, logits in zip(some, self._logits([each["example"] for each in some]), strict=True):
                more = [one["example"]] if self.head.ROWS else [self.trust] if self.trust else []
                one |= self.head.answer(logits, self.labels, *more)
        return told

    def _logits(self, examples: list[Any]) -> Iterable[np.ndarray]:
        if self.chain is None:
            said = self.say(examples)
            return [np.broadcast_to(said, (len(examples[0]), said.shape[1]))] if self.head.ROWS else said
        made = [self.modality.prepare(example, self.input) for example in examples]
        with torch.no_grad():
            logits = self.chain.network(**_tensors(stacked(made, self.modality.RAGGED))).numpy()
        return [spoken(logits, made[0])] if self.head.ROWS else logits

    def _gazed(self, raw: bytes) -> np.ndarray | None:
        """By the network's gradients, where it is a network that tells classes apart."""
        if not self.chain or self.head.ROWS or self.head.KIND == "squared":
            return None
        made = self.modality.prepare(self.modality.decode(raw, self.reading, self.input), self.input)
        fed = _tensors(stacked([made], self.modality.RAGGED))
        with torch.no_grad():
            best = int(self.chain.network(**fed).argmax())
        return gaze(self.chain, fed["x"], [best])[0]


def _tensors(batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}


def wrong(head: Any, logits: np.ndarray, y: np.ndarray, heat: float = 1.0) -> np.ndarray:
    """How badly each example is answered, 0 where rightly: how sure the wrong answer is, how far a number is off."""
    if not getattr(head, "LABELLED", True):
        return np.zeros(len(logits))
    if head.ROWS:
        missed = (logits.argmax(1) != y[:, 0]) & (y[:, 0] >= 0)
        return np.bincount(y[:, 1], weights=missed)
    if head.KIND == "squared":
        return np.asarray((np.abs(logits - y) / np.maximum(y.std(0), 1e-12)).max(1))
    if head.KIND == "sigmoid":
        return np.asarray(np.where((logits > 0) != (y > 0), np.abs(logits), 0).max(1))
    from scipy.special import softmax  # loading it takes longer than all else where everything is stored

    p = softmax(np.asarray(logits, np.float64) / heat, axis=1)
    return np.where(p.argmax(1) == y, 0.0, p.max(1))


def truth(head: Any, target: Any, labels: Sequence[str]) -> str:
    """A target in words."""
    several = target if isinstance(target, tuple) else (target,)
    if head.KIND == "squared":
        return ", ".join(number(float(value)) for value in several)
    if not getattr(head, "LABELLED", True):
        return ""
    return ", ".join(labels[at] for at in several if not head.ROWS or labels[at] != OUTSIDE) or "none"


def said(answer: dict[str, Any]) -> str:
    """An answer in words."""
    if "label" in answer:
        return str(answer["label"])
    if "labels" in answer:
        return ", ".join(answer["labels"]) or "none"
    if "group" in answer:
        return str(answer["group"])
    if "tags" in answer:
        return ", ".join(f"{one['word']} {one['tag']}" for one in answer["tags"] if one["tag"] != OUTSIDE) or "none"
    values = [answer["value"]] if "value" in answer else answer["values"].values()
    return ", ".join(number(float(value)) for value in values)
