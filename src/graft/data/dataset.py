"""Datasets: functions of (row, view). Raw examples, the same examples through a frozen prefix, stored or streamed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from graft.core.cores import cores
from graft.core.errors import DataError
from graft.core.keys import content_id, key, keys
from graft.core.nouns import Part
from graft.data.batches import stacked
from graft.data.modality import Modality
from graft.data.store import Store

Batch = dict[str, torch.Tensor]
T = TypeVar("T")


class Dataset(Protocol):
    """Examples with targets. View 0 is the plain one; the others are seeded by content and view number."""

    targets: np.ndarray  # (n, …)

    def __len__(self) -> int: ...

    def keys(self, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
        """The 16-byte name of each (row, view): what features are stored under."""

    def read(self, rows: np.ndarray, views: np.ndarray) -> Batch:
        """These rows, each in its view, as far as another thread may fetch them ahead."""

    def map(self, batch: Batch) -> Batch:
        """What was read, as the rest of the network wants it: "x" or "h", "length" where ragged, and "y"."""


class Examples:
    """Raw examples of a part, read and prepared on demand by a few threads (decoders work outside Python's lock).

    Args:
        modality, reading: how the part's items become examples.
        input: what the backbone is fed, as its noun states it.
        targets: what losses and metrics see of the part's targets, one entry an example; none by default.
        aligned: where every row has a target of its own: (the example's target, its arrays, its number) → theirs.
    """

    def __init__(
        self,
        part: Part,
        modality: Modality,
        reading: Any,
        input: Mapping[str, Any],
        targets: np.ndarray | None = None,
        seed: int = 0,
        aligned: Callable[[Any, Mapping[str, np.ndarray], int], np.ndarray] | None = None,
    ) -> None:
        self.part, self.modality, self.reading, self.seed = part, modality, reading, seed
        self.input, self.aligned = modality.parse(input), aligned
        self.targets = np.zeros(len(part), np.int64) if targets is None else targets
        self._preparation = key(modality.__name__, modality.VERSION, reading, input)
        self._names: dict[int, list[bytes]] = {}  # of all rows, by view

    def __len__(self) -> int:
        return len(self.part)

    def keys(self, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
        """Content, preparation and view; the seed counts only where it makes a difference."""
        for view in set(views.tolist()) - self._names.keys():  # once: training asks for them in every epoch
            self._names[view] = keys(self.part.ids, self._preparation, view, self.seed if view else 0)
        return [self._names[view][row] for row, view in zip(rows.tolist(), views.tolist(), strict=True)]

    def example(self, row: int, view: int) -> dict[str, np.ndarray]:
        """One prepared example."""
        raw = self.modality.decode(content(self.part, row, self.modality, self.reading), self.reading, self.input)
        if not view:
            return self.modality.prepare(raw, self.input)
        seed = [self.seed, view, *bytes.fromhex(self.part.ids[row])]
        return self.modality.vary(raw, self.input, np.random.default_rng(seed))

    def read(self, rows: np.ndarray, views: np.ndarray) -> Batch:
        """See `Dataset.read`."""
        made = list(self._pool.map(self.example, rows.tolist(), views.tolist()))
        batch = {name: torch.from_numpy(array) for name, array in stacked(made, self.modality.RAGGED).items()}
        if self.aligned is None:
            return {**batch, "y": torch.from_numpy(self.targets[rows])}
        each = [self.aligned(self.targets[row], one, int(row)) for row, one in zip(rows, made, strict=True)]
        return {**batch, "y": torch.from_numpy(np.concatenate(each))}

    def map(self, batch: Batch) -> Batch:
        """See `Dataset.map`."""
        return batch

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(cores())


def content(part: Part, row: int, modality: Modality, reading: Any) -> bytes:
    """An example's raw bytes, which must be those that it was loaded with: everything is kept under their hash.

    Raises:
        DataError: the file is gone, or holds something else by now.
    """
    item = part.items[row]
    try:
        data = modality.fetch(item, reading)
    except OSError as error:
        raise DataError(f"{item} cannot be read: {error.strerror}.") from None
    if part.ids[row] and content_id(data) != part.ids[row]:
        raise DataError(f"{item} has changed since it was loaded. Load the data again.")
    return data


class Stored:
    """A dataset mapped through a frozen prefix, read from the store.

    Args:
        ragged: every example has rows of its own number.
        beside: what else the rest of the network needs of the raw examples, such as targets for every row.
    """

    def __init__(self, base: Dataset, store: Store, ragged: bool = False, beside: tuple[str, ...] = ()) -> None:
        self.base, self.store, self.targets = base, store, base.targets
        self.ragged, self.beside = ragged, beside

    def __len__(self) -> int:
        return len(self.base)

    def keys(self, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
        """See `Dataset.keys`."""
        return self.base.keys(rows, views)

    def read(self, rows: np.ndarray, views: np.ndarray) -> Batch:
        """See `Dataset.read`."""
        names = self.keys(rows, views)
        if not self.ragged:
            return {"h": _whole(self.store.rows(names)), "y": torch.from_numpy(self.targets[rows])}
        h, lengths = self.store.ragged(names)
        batch = {"h": _whole(h), "length": torch.from_numpy(lengths)}
        if not self.beside:
            return {**batch, "y": torch.from_numpy(self.targets[rows])}
        raw = self.base.read(rows, views)
        return {**batch, **{name: raw[name] for name in self.beside}}

    def map(self, batch: Batch) -> Batch:
        """See `Dataset.map`."""
        return batch


def _whole(rows: np.ndarray) -> torch.Tensor:
    """Stored rows as float32; those of 16 bits are bfloat16."""
    h = torch.from_numpy(rows)
    return h.view(torch.bfloat16).float() if rows.dtype == np.uint16 else h


class Streamed:
    """A dataset mapped through a frozen prefix, computed whenever it is asked for."""

    def __init__(self, base: Dataset, prefix: Callable[[Batch], Batch]) -> None:
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
        return {**self.prefix(batch), "y": y}


def table(data: Dataset, views: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A small dataset as one table of vectors: (n·views, …) features and their targets."""
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
