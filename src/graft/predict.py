"""Predictor: raw files in, answers out, from an artifact's folder alone; needs neither torch nor the home."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from graft.core.codec import from_dict
from graft.core.errors import DataError, ExportMismatch, GraftError
from graft.core.keys import file_sha256
from graft.core.shelf import take

log = logging.getLogger("graft")
SCHEMA = 2  # of card.json
BATCH = 32  # examples that are prepared and answered together
SHOWN = 80  # characters of an input that are repeated with its answer
WHOLE = ("share",)  # what makes one answer of an example's pieces: not asked for where every word has one
Raw = Any  # a path, the bytes of a file, or what else the modality takes: a text, a row, an array

Said = tuple[np.ndarray, float | None]  # logits, and how unlike the training data the example is
Example = tuple[str, Callable[[], bytes]]  # what it is called, and what gives its raw bytes


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
        self.reading = from_dict(self.modality.Reading, self.card["reading"])
        self._input = None if "baseline" in self.card else self.modality.parse({**self.card["input"], **self._files()})
        self._compute = self._runtime()

    def predict(self, inputs: Raw | Iterable[Raw]) -> list[dict[str, Any]]:
        """One answer per example, in order; what cannot be read gets an "error" and stops nothing.

        Args:
            inputs: paths of files (a table or a recording may hold many examples), their bytes, or what else the
                modality takes: texts, rows, arrays. One may be given as it is.
        """
        several = getattr(self.modality, "FLAT", False) and getattr(inputs, "ndim", 1) > 1  # an array of rows
        single = isinstance(inputs, (str, bytes, os.PathLike, Mapping)) or (hasattr(inputs, "dtype") and not several)
        answers: list[dict[str, Any]] = []
        found = [example for raw in ([inputs] if single else inputs) for example in self._found(raw)]
        for shown, *said in self._logits(found):
            answers.append({"input": shown, **self._told(*said)})  # type: ignore[arg-type]
        return answers

    def taken(self, value: Any, check: Callable[[bytes], object] = len) -> tuple[Any, list[str]]:
        """An example that was handed over, as `answered` takes it; never a path: a text that names a file is a text.

        Args:
            check: raises DataError where the raw bytes are not to be decoded.
        """

        def fetch() -> bytes:
            check(raw := self._given(value))
            return raw

        return self._read(fetch)

    def answered(self, taken: Sequence[tuple[Any, list[str]]]) -> list[dict[str, Any]]:
        """One answer for each example that was taken, computed together; an "error" for what could not be read."""
        return [self._told(*said) for said in self._said(taken)]

    def _told(self, logits: np.ndarray | GraftError, words: list[str], novelty: float | None) -> dict[str, Any]:
        if isinstance(logits, GraftError):
            return {"error": str(logits)}
        trust = [self.card["trust"]] if "trust" in self.card else []
        told = self.head.answer(logits, self.labels, *([words] if self.head.ROWS else trust))
        if novelty is not None and "unlike" in self.card:
            told["unlike"] = novelty > self.card["unlike"]
        return dict(told)

    def logits(self, items: Iterable[str]) -> np.ndarray:
        """What the network says of examples, named as a Task names them, before it is made an answer: (n, labels).

        Raises:
            DataError: one cannot be read.
        """
        rows = [logits for _, logits, *_ in self._logits(self._named(items))]
        for row in rows:
            if isinstance(row, GraftError):
                raise row
        return np.concatenate(rows) if self.head.ROWS else np.stack(rows)  # type: ignore[arg-type]

    def prepared(self, items: Iterable[str]) -> list[dict[str, np.ndarray]]:
        """The same examples as the network is fed them."""
        return [self._read(fetch)[0] for _, fetch in self._named(items)]

    def _named(self, items: Iterable[str]) -> list[Example]:
        return [(item, partial(self.modality.fetch, item, self.reading)) for item in items]

    def _logits(self, waiting: list[Example]) -> Iterator[tuple[str, np.ndarray | GraftError, list[str], float | None]]:
        """Of each example what it is called, what the network says or why it does not, and the words answered for.

        And its novelty, where the network tells.
        """
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for start in range(0, len(waiting), BATCH):
                chunk = waiting[start : start + BATCH]
                read = list(pool.map(self._read, [fetch for _, fetch in chunk]))
                for (shown, _), said in zip(chunk, self._said(read), strict=True):
                    yield shown, *said

    def _said(
        self, read: Sequence[tuple[Any, list[str]]]
    ) -> Iterator[tuple[np.ndarray | GraftError, list[str], float | None]]:
        good = [(fed, words) for fed, words in read if not isinstance(fed, GraftError)]
        found = iter(self._compute(*zip(*good, strict=True)) if good else ())
        for fed, words in read:
            said, novelty = (fed, None) if isinstance(fed, GraftError) else next(found)
            yield said, words, novelty

    def _found(self, raw: Raw) -> list[Example]:
        """The examples that one input holds: what each is called, and what gives its raw bytes."""
        file = raw.rpartition("#")[0] if isinstance(raw, str) else ""
        if file and _exists(file) and not _exists(raw):  # one example of the many that it holds
            item = str(Path(file).absolute()) + str(raw)[len(file) :]
            return [(raw, partial(self.modality.fetch, item, self.reading))]
        if isinstance(raw, (str, os.PathLike)) and self._is_file(raw):
            place = Path(raw)
            try:
                found = self.modality.find(place, self.card["reading"], labelled=False)
            except GraftError as error:
                return [(os.fspath(raw), partial(_raised, error))]
            for note in found.notes:  # columns that are lacking, say
                log.info("%s", note)
            rows = found.rows
            alone = len(rows) == 1 and rows[0].item == str(place.absolute())
            return [
                (os.fspath(raw) if alone else row.item, partial(self.modality.fetch, row.item, self.reading))
                for row in rows
            ]
        shown = f"{len(raw)} bytes" if isinstance(raw, bytes) else str(raw)
        return [(shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…", partial(self._given, raw))]

    def _is_file(self, raw: str | os.PathLike[str]) -> bool:
        """Whether this names a file; a text may be an example itself, where its modality says so, but no word.csv."""
        inline: tuple[str, ...] | None = getattr(self.modality, "INLINE", None)
        if isinstance(raw, os.PathLike) or inline is None or _exists(raw):
            return True
        return raw.lower().endswith(inline) and not any(letter.isspace() for letter in raw)

    def _given(self, raw: Raw) -> bytes:
        return self.modality.given(raw, self.reading)  # type: ignore[no-any-return]

    def _read(self, fetch: Callable[[], bytes]) -> tuple[Any, list[str]]:
        """An example as the network is fed it, or why it cannot be; and its words, where each has an answer."""
        try:
            try:
                raw = fetch()
            except OSError as error:
                raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from None
            example = self.modality.decode(raw, self.reading, self._input)
            words = example if self.head.ROWS else []
            if "baseline" in self.card:
                return take("baselines", self.card["baseline"]).describe(example), words
            return self.modality.prepare(example, self._input), words
        except GraftError as error:
            return error, []

    def _files(self) -> dict[str, str]:
        """Where the files that the input needs lie: beside the card."""
        return {name: str(self.folder / file) for name, file in self.card.get("assets", {}).items()}

    def _runtime(self) -> Callable[[Sequence[Any], Sequence[list[str]]], Iterable[Said]]:
        """What answers examples as they are fed, beside their words."""
        if "baseline" in self.card:
            from safetensors.numpy import load_file

            state = load_file(self.folder / "weights.safetensors")
            method = take("baselines", self.card["baseline"])
            ragged = getattr(method, "RAGGED", False)

            def told(seen: Sequence[Any], words: Sequence[list[str]]) -> Iterable[Said]:
                answers = np.asarray(method.predict(state, seen if ragged else np.stack(seen)))
                if not self.head.ROWS:
                    return [(row, None) for row in answers]
                counts = [len(each) for each in words]  # a baseline may have one answer for all words of an example
                answers = np.repeat(answers, counts, 0) if len(answers) < sum(counts) else answers
                return [(rows, None) for rows in np.split(answers, np.cumsum(counts)[:-1])]

            return told
        run = take("formats", "onnx").read_all(self.folder / "model.onnx")

        def compute(prepared: Sequence[Any], words: Sequence[list[str]]) -> Iterable[Said]:
            fed = self.modality.ship(prepared, self._input)
            if not self.head.ROWS:
                found = run(fed)
                novelty = found["novelty"].tolist() if "novelty" in found else [None] * len(prepared)
                return zip(found["logits"], novelty, strict=True)
            logits = run({name: array for name, array in fed.items() if name not in WHOLE})["logits"]
            return [(rows, None) for rows in self.modality.told(logits, prepared, self._input)]

        return compute


def spoken(logits: np.ndarray, prepared: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of answers for every token of an example (T, K), those for its words; others, (1, K), as they are."""
    return logits[prepared["word"] >= 0] if "word" in prepared and len(logits) == len(prepared["word"]) else logits


def _raised(error: GraftError) -> bytes:
    raise error


def _exists(raw: str | os.PathLike[str]) -> bool:
    try:
        return bool(str(raw).strip()) and Path(raw).exists()
    except (OSError, ValueError):  # too long for a name, or holding a zero byte
        return False


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
    if schema != SCHEMA:
        raise ExportMismatch(
            f"{folder} has schema {schema}, and this version reads {SCHEMA}. "
            + ("Upgrade graft-learn." if schema > SCHEMA else "Export it again.")
        )
    for name, expected in files.items():
        if Path(name).name != name:
            raise ExportMismatch(f"{folder / 'card.json'} names {name!r}, which is not a file of the artifact.")
        if not (folder / name).is_file():
            raise ExportMismatch(f"{folder / name} is missing from the artifact.")
        if file_sha256(folder / name) != expected:
            raise ExportMismatch(f"{folder / name} has been changed: its sha256 is not the one in the card.")
    return card
