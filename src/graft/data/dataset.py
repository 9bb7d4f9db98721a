"""Datasets: functions of (row, view). Raw examples, the same examples through a frozen prefix, stored or streamed."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from graft.core.errors import DataError
from graft.core.keys import content_id, key
from graft.core.nouns import Input, Part
from graft.data.store import Store

Batch = dict[str, torch.Tensor]
T = TypeVar("T")


class Modality(Protocol):
    """What a file on the `modalities` shelf gives."""

    __name__: str
    VERSION: str  # of what `prepare` and `vary` compute: part of every feature's key

    def decode(self, source: Any, short: int | None = None) -> Any:
        """A raw file (path or bytes) to an example."""

    def prepare(self, example: Any, input: Input) -> dict[str, np.ndarray]:
        """The plain view of an example, as the backbone wants it."""

    def vary(self, example: Any, input: Input, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """An augmented view of an example."""


class Dataset(Protocol):
    """Examples with targets. View 0 is the plain one; the others are seeded by content and view number."""

    targets: np.ndarray  # (n,) int64

    def __len__(self) -> int: ...

    def keys(self, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
        """The 16-byte name of each (row, view): what features are stored under."""

    def read(self, rows: np.ndarray, views: np.ndarray) -> Batch:
        """These rows, each in its view, as far as another thread may fetch them ahead."""

    def map(self, batch: Batch) -> Batch:
        """What was read, as the rest of the network wants it: "x" or "h", and "y"."""


class Examples:
    """Raw files of a part, decoded and prepared on demand by a few threads (PIL works outside Python's lock)."""

    def __init__(self, part: Part, modality: Modality, input: Input, seed: int = 0) -> None:
        self.part, self.modality, self.input, self.seed = part, modality, input, seed
        self.targets = np.asarray(part.targets, np.int64)
        self._preparation = key(modality.__name__, modality.VERSION, input)

    def __len__(self) -> int:
        return len(self.part)

    def keys(self, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
        """Content, preparation and view; the seed counts only where it makes a difference."""
        return [
            bytes.fromhex(key(self.part.ids[row], self._preparation, int(view), self.seed if view else 0))
            for row, view in zip(rows, views, strict=True)
        ]

    def example(self, row: int, view: int) -> dict[str, np.ndarray]:
        """One prepared example."""
        raw = self.modality.decode(content(self.part, row), short=round(min(self.input.size) / self.input.crop))
        if not view:
            return self.modality.prepare(raw, self.input)
        seed = [self.seed, view, *bytes.fromhex(self.part.ids[row])]
        return self.modality.vary(raw, self.input, np.random.default_rng(seed))

    def read(self, rows: np.ndarray, views: np.ndarray) -> Batch:
        """See `Dataset.read`."""
        made = list(self._pool.map(self.example, rows.tolist(), views.tolist()))
        stacked = {name: torch.from_numpy(np.stack([one[name] for one in made])) for name in made[0]}
        return {**stacked, "y": torch.from_numpy(self.targets[rows])}

    def map(self, batch: Batch) -> Batch:
        """See `Dataset.map`."""
        return batch

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(os.cpu_count() or 1)


def content(part: Part, row: int) -> bytes:
    """The bytes of an example's file, which must be those that it was loaded with: everything is kept under their hash.

    Raises:
        DataError: the file is gone, or holds something else by now.
    """
    item = part.items[row]
    try:
        data = Path(item).read_bytes()
    except OSError as error:
        raise DataError(f"{item} cannot be read: {error.strerror}.") from None
    if part.ids[row] and content_id(data) != part.ids[row]:
        raise DataError(f"{item} has changed since it was loaded. Load the data again.")
    return data


class Stored:
    """A dataset mapped through a frozen prefix, read from the store."""

    def __init__(self, base: Dataset, store: Store) -> None:
        self.base, self.store, self.targets = base, store, base.targets

    def __len__(self) -> int:
        return len(self.base)

    def keys(self, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
        """See `Dataset.keys`."""
        return self.base.keys(rows, views)

    def read(self, rows: np.ndarray, views: np.ndarray) -> Batch:
        """See `Dataset.read`."""
        h = torch.from_numpy(self.store.rows(self.keys(rows, views)))
        return {"h": h, "y": torch.from_numpy(self.targets[rows])}

    def map(self, batch: Batch) -> Batch:
        """See `Dataset.map`."""
        return batch


class Streamed:
    """A dataset mapped through a frozen prefix, computed whenever it is asked for."""

    def __init__(self, base: Dataset, prefix: Callable[[Mapping[str, torch.Tensor]], torch.Tensor]) -> None:
        self.base, self.prefix, self.targets = base, prefix, base.targets

    def __len__(self) -> int:
        return len(self.base)

    def keys(self, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
        """See `Dataset.keys`."""
        return self.base.keys(rows, views)

    def read(self, rows: np.ndarray, views: np.ndarray) -> Batch:
        """See `Dataset.read`."""
        return self.base.read(rows, views)

    def map(self, batch: Batch) -> Batch:
        """See `Dataset.map`: the prefix shares its modules with the rest, so it runs in the caller's thread."""
        y = batch.pop("y")
        return {"h": self.prefix(batch), "y": y}


def table(data: Dataset, views: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A small dataset as one table of vectors: (n·views, …) features and (n·views,) targets."""
    rows = np.repeat(np.arange(len(data)), views)
    batch = data.map(data.read(rows, np.tile(np.arange(views), len(data))))
    return batch["h"].flatten(1).numpy(), batch["y"].numpy()


def chunks(count: int, size: int) -> Iterator[np.ndarray]:
    """Row numbers 0 … count-1 in runs of `size`."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def ahead(make: Callable[[Any], T], asks: Sequence[Any]) -> Iterator[T]:
    """`map(make, asks)`, with the next result being made while the caller works on this one."""
    if not asks:
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(make, asks[0])
        for ask in asks[1:]:
            ready, coming = coming, pool.submit(make, ask)
            yield ready.result()
        yield coming.result()
