"""Predictor: raw files in, answers out, from an artifact's folder alone; needs neither torch nor the home."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graft.core.card import opened
from graft.core.codec import from_dict
from graft.core.cores import cores
from graft.core.errors import DataError, ExportMismatch, GraftError, PlanError
from graft.core.shelf import take
from graft.runtime import Said, runtime

log = logging.getLogger("graft")
BATCH = 32  # examples that are prepared and answered together
SHOWN = 80  # characters of an input that are repeated with its answer
Raw = Any  # a path, the bytes of a file, or what else the modality takes: a text, a row, an array
Example = tuple[str, Callable[[], bytes]]  # what it is called, and what gives its raw bytes


class Taken(NamedTuple):
    """An example that was read."""

    fed: Any  # as the network is fed it, or a GraftError: why it cannot be
    words: list[str]  # of it, where each has an answer
    odd: list[str]  # what of it was not learned from, in sentences
    beyond: bool = False  # whether a value of it lies beyond those that were learned from


def open(path: str | os.PathLike[str], format: str = "") -> "Predictor":
    """The artifact in a folder, every file of it checked against the hash in its card.

    Args:
        format: which form of the network answers, where the folder holds several; by default the fastest faithful one.

    Raises:
        DataError: the folder holds no artifact.
        ExportMismatch: a file is missing or changed, or the card is of a newer schema or names what it must not.
        PlanError: it holds no such format.

    Example:
        >>> graft.open("artifact").predict(["new.jpg"])                    # doctest: +SKIP
        [{'input': 'new.jpg', 'label': 'cat', 'probability': 0.98, ...}]
    """
    return Predictor(Path(path), format)


class Predictor:
    """Answers for raw files: decode → prepare → compute → answer.

    An artifact of several tasks answers each of them by its name, under "tasks".
    """

    def __init__(self, folder: Path, format: str = "") -> None:
        self.folder, self.card = folder, opened(folder)
        self.modality = take("modalities", self.card["modality"])
        self.tasks: dict[str, dict[str, Any]] = self.card.get("tasks", {"": self.card})
        self.by_word = any(take("heads", task["head"]).ROWS for task in self.tasks.values())
        self.labels: tuple[str, ...] = tuple(self.card["labels"])
        try:
            self.reading = from_dict(self.modality.Reading, self.card["reading"])
            files = {name: str(folder / file) for name, file in self.card.get("assets", {}).items()}
            self.input = None if "baseline" in self.card else self.modality.parse({**self.card["input"], **files})
            odd = getattr(self.modality, "odd", None)
            known = [self.card.get("ranges", {}), *([self.card["slack"]] if "slack" in self.card else [])]
            self.odd = odd(self.reading, *known) if odd else lambda example: ([], False)
        except (PlanError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ExportMismatch(f"{folder / 'card.json'} is damaged: {error}") from None
        self.compute = runtime(folder, self.card, self.input, format)

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
        for shown, taken, said in self._computed(found):
            answers.append({"input": shown, **self._told(taken, said)})
        return answers

    def taken(self, value: Any, check: Callable[[bytes], object] = len) -> Taken:
        """An example that was handed over, as `answered` takes it; never a path: a text that names a file is a text.

        Args:
            check: raises DataError where the raw bytes are not to be decoded.
        """

        def fetch() -> bytes:
            check(raw := self._given(value))
            return raw

        return self._read(fetch)

    def answered(self, taken: Sequence[Taken]) -> list[dict[str, Any]]:
        """One answer for each example that was taken, computed together; an "error" for what could not be read."""
        return [self._told(one, said) for one, said in self._said(taken)]

    def _told(self, taken: Taken, said: Said | GraftError) -> dict[str, Any]:
        if isinstance(said, GraftError):
            return {"error": str(said)}
        told = {name: self._answer(name, task, said, taken) for name, task in self.tasks.items()}
        odd = {"odd": taken.odd} if taken.odd else {}
        return {**({"tasks": told} if "tasks" in self.card else told[""]), **odd}

    def _answer(self, name: str, task: dict[str, Any], said: Said, taken: Taken) -> dict[str, Any]:
        head, end = take("heads", task["head"]), f".{name}" if name else ""
        more = [taken.words] if head.ROWS else [task["trust"]] if "trust" in task else []
        told: dict[str, Any] = head.answer(said[f"logits{end}"], tuple(task["labels"]), *more)
        if "unlike" in task and (novelty := said.get(f"novelty{end}")) is not None:
            told["unlike"] = float(novelty) > task["unlike"]
        if taken.beyond:  # a network clips such a value, and its features then look familiar
            told["unlike"] = True
        return told

    def nearest(self, raw: Raw, k: int = 3) -> list[dict[str, Any]]:
        """The training examples that one example resembles most to the network, the likest first.

        Each with "name", "label", "similarity" (the cosine of both feature vectors, at most 1) and "preview" (a small
        JPEG in base64, the beginning of a text, or None). None at all where the artifact remembers none: a baseline
        ships, every word has its own answer, or it was exported without examples.

        Raises:
            DataError: it cannot be read.
        """
        if self.known is None:
            return []
        fed, words, *_ = self._read(self._found(raw)[0][1])
        if isinstance(fed, GraftError):
            raise fed
        examples, known = self.known
        features = self.compute([fed], [words])[0]["features"]
        like = known @ (features / max(float(np.linalg.norm(features)), 1e-12))
        order = np.argsort(-like, kind="stable")[:k]
        return [{**examples[row], "similarity": round(float(like[row]), 6)} for row in order]

    @cached_property
    def known(self) -> tuple[list[dict[str, Any]], np.ndarray] | None:
        """The training examples that the artifact remembers, and their features (M, D), of length 1."""
        if "known.json" not in self.card["files"]:
            return None
        from safetensors.numpy import load_file

        examples = json.loads((self.folder / "known.json").read_text(encoding="utf-8"))["examples"]
        return examples, load_file(self.folder / "known.safetensors")["features"].astype(np.float32)

    def logits(self, items: Iterable[str], task: str = "") -> np.ndarray:
        """What the network says of examples, named as a Task names them, before it is made an answer: (n, labels).

        Raises:
            DataError: one cannot be read.
        """
        rows = []
        for _, _, said in self._computed(self._named(items)):
            if isinstance(said, GraftError):
                raise said
            rows.append(said[f"logits.{task}" if task else "logits"])
        return np.concatenate(rows) if self.by_word else np.stack(rows)

    def prepared(self, items: Iterable[str]) -> list[tuple[Any, list[str]]]:
        """The same examples as the network is fed them, each beside its words, where these have answers of their own.

        Raises:
            DataError: one cannot be read.
        """
        made = [self._read(fetch) for _, fetch in self._named(items)]
        for one in made:
            if isinstance(one.fed, GraftError):
                raise one.fed
        return [(one.fed, one.words) for one in made]

    def pieces(self, raw: Raw) -> Any:
        """The example of an input, the first of several, in pieces that can be hidden: `graft.occlusion` does so."""
        found = self._found(raw)
        if not found:
            raise DataError(f"There is no example in {raw!s}.")
        return self.modality.pieces(found[0][1](), self.reading, self.input)

    def _named(self, items: Iterable[str]) -> list[Example]:
        return [(item, partial(self.modality.fetch, item, self.reading)) for item in items]

    def _computed(self, waiting: list[Example]) -> Iterator[tuple[str, Taken, Said | GraftError]]:
        """Of each example what it is called, how it was read, and what the network says or why it does not."""
        with ThreadPoolExecutor(cores()) as pool:
            for start in range(0, len(waiting), BATCH):
                chunk = waiting[start : start + BATCH]
                read = list(pool.map(self._read, [fetch for _, fetch in chunk]))
                for (shown, _), said in zip(chunk, self._said(read), strict=True):
                    yield shown, *said

    def _said(self, read: Sequence[Taken]) -> Iterator[tuple[Taken, Said | GraftError]]:
        good = [(one.fed, one.words) for one in read if not isinstance(one.fed, GraftError)]
        found = iter(self.compute(*zip(*good, strict=True)) if good else ())
        for one in read:
            yield one, one.fed if isinstance(one.fed, GraftError) else next(found)

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

    def _read(self, fetch: Callable[[], bytes]) -> Taken:
        try:
            try:
                raw = fetch()
            except OSError as error:
                raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from None
            example = self.modality.decode(raw, self.reading, self.input)
            if "baseline" in self.card:
                fed = take("baselines", self.card["baseline"]).describe(example)
            else:
                fed = self.modality.prepare(example, self.input)
            return Taken(fed, example if self.by_word else [], *self.odd(example))
        except GraftError as error:
            return Taken(error, [], [])


def _raised(error: GraftError) -> bytes:
    raise error


def _exists(raw: str | os.PathLike[str]) -> bool:
    try:
        return bool(str(raw).strip()) and Path(raw).exists()
    except (OSError, ValueError):  # too long for a name, or holding a zero byte
        return False
