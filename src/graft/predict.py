"""Predictor: raw files in, answers out, from an artifact's folder alone; needs neither torch nor the home."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from graft.core.codec import from_dict
from graft.core.errors import DataError, ExportMismatch, GraftError
from graft.core.keys import file_sha256
from graft.core.nouns import Input
from graft.core.shelf import take

SCHEMA = 1  # of card.json
BATCH = 32  # files that are prepared and answered together
Raw = str | os.PathLike[str] | bytes


def open(path: str | os.PathLike[str]) -> "Predictor":
    """The artifact in a folder, every file of it checked against the hash in its card.

    Raises:
        DataError: the folder holds no artifact.
        ExportMismatch: a file is missing, changed, or of a newer schema.

    Example:
        >>> graft.open("artifact").predict(["new.jpg"])                    # doctest: +SKIP
        [{'input': 'new.jpg', 'label': 'cat', 'probability': 0.98, ...}]
    """
    return Predictor(Path(path))


class Predictor:
    """Answers for raw files: decode → prepare → compute → answer."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.card = folder, _card(folder)
        self.modality = take("modalities", self.card["modality"])
        self.head = take("heads", self.card["head"])
        self.labels: tuple[str, ...] = tuple(self.card["labels"])
        self._input = from_dict(Input, self.card["input"])
        self._compute = self._runtime()

    def predict(self, inputs: Raw | Iterable[Raw]) -> list[dict[str, Any]]:
        """One answer per input, in order; what cannot be read gets an "error" and stops nothing.

        Args:
            inputs: paths, or the bytes of files; one may be given as it is.
        """
        inputs = [inputs] if isinstance(inputs, (str, bytes, os.PathLike)) else inputs
        answers: list[dict[str, Any]] = []
        for raw, logits in self._logits(inputs):
            shown = f"{len(raw)} bytes" if isinstance(raw, bytes) else os.fspath(raw)
            if isinstance(logits, GraftError):
                answers.append({"input": shown, "error": str(logits)})
            else:
                answers.append({"input": shown, **self.head.answer(self.head.probabilities(logits), self.labels)})
        return answers

    def logits(self, inputs: Iterable[Raw]) -> np.ndarray:
        """What the network says before it is made an answer: (n, labels), float32.

        Raises:
            DataError: an input cannot be read.
        """
        rows = []
        for _, logits in self._logits(inputs):
            if isinstance(logits, GraftError):
                raise logits
            rows.append(logits)
        return np.stack(rows)

    def _logits(self, inputs: Iterable[Raw]) -> Iterator[tuple[Raw, np.ndarray | GraftError]]:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            waiting = list(inputs)
            for start in range(0, len(waiting), BATCH):
                chunk = waiting[start : start + BATCH]
                read = list(pool.map(self._read, chunk))
                good = [example for example in read if not isinstance(example, GraftError)]
                found = iter(self._compute({n: np.stack([e[n] for e in good]) for n in good[0]}) if good else ())
                for raw, example in zip(chunk, read, strict=True):
                    yield raw, example if isinstance(example, GraftError) else next(found)

    def _read(self, raw: Raw) -> dict[str, np.ndarray] | GraftError:
        try:
            if "baseline" in self.card:
                method = take("baselines", self.card["baseline"])
                return {"x": method.describe(self.modality.decode(raw))}
            short = round(min(self._input.size) / self._input.crop)
            prepared: dict[str, np.ndarray] = self.modality.prepare(self.modality.decode(raw, short=short), self._input)
            return prepared
        except GraftError as error:
            return error

    def _runtime(self) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
        if "baseline" in self.card:
            from safetensors.numpy import load_file

            state = load_file(self.folder / "weights.safetensors")
            method = take("baselines", self.card["baseline"])
            return lambda inputs: np.asarray(method.predict(state, inputs["x"]))
        run: Callable[[Mapping[str, np.ndarray]], np.ndarray] = take("formats", "onnx").read(self.folder / "model.onnx")
        return run


def _card(folder: Path) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        schema, files = int(card["schema"]), dict(card["files"])
    except OSError:
        raise DataError(
            f"{folder} holds no artifact: there is no card.json in it. `graft transfer DATA --out {folder}` makes one."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ExportMismatch(f"{folder / 'card.json'} is damaged: {error}.") from None
    if schema > SCHEMA:
        raise ExportMismatch(
            f"{folder} has schema {schema}, and this version reads up to {SCHEMA}. Upgrade graft-learn."
        )
    for name, expected in files.items():
        if Path(name).name != name:
            raise ExportMismatch(f"{folder / 'card.json'} names {name!r}, which is not a file of the artifact.")
        if not (folder / name).is_file():
            raise ExportMismatch(f"{folder / name} is missing from the artifact.")
        if file_sha256(folder / name) != expected:
            raise ExportMismatch(f"{folder / name} has been changed: its sha256 is not the one in the card.")
    return card
