"""The feature store: what a frozen prefix computed for an example, kept under the example's key.

One folder per prefix id. A row is tokens of one dtype and shape: an image's features are one token, a text's as many as
the text has. Two processes may compute the same row; the first to write it wins, which is harmless. Rows are never
removed: a store is evicted, or thrown away when damaged, as a whole. It is only a cache.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from graft.core.errors import StorageError
from graft.core.home import folder, lock, size, touch
from graft.data.database import FAULTS, is_damage, refusals
from graft.data.volume import Volume, offsets, spans

R = TypeVar("R")
GATHER_BYTES, GATHER_SECONDS = 16 << 20, 2.0  # what a killed process may lose, against 20 ms for each transaction
MAPPED = 16 << 20  # bytes from which rows in the file's order are mapped: for fewer a copy is as quick
TRIES = 10  # an eviction may come between opening and writing, but hardly this often


def open_store(prefix: str, dtype: str, shape: tuple[int, ...]) -> "Store":
    """The store of a prefix id, created where there is none; `dtype` (a numpy name) and `shape` are those of one token.

    Raises:
        StorageError: the home cannot be written, or the store holds another dtype or shape.
    """
    return Store(prefix, np.dtype(dtype), tuple(shape))


class Store:
    """Rows by key. One thread may write while others read; so may other processes."""

    def __init__(self, prefix: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.prefix, self.dtype, self.shape = prefix, dtype, shape
        self.place: Path = folder("features", prefix)
        self._lock = threading.Lock()
        self._volumes = [self._open()]  # the newest first; those evicted while open stay readable behind it

    def has(self, keys: Sequence[bytes]) -> np.ndarray:
        """Whether each key has a row by now, whoever wrote it; a row once seen stays readable until `close`.

        Shape: (n,) of bool.
        """
        with self._lock:
            self._on_newest(Volume.load)
            found = np.zeros(len(keys), bool)
            for volume in self._volumes:
                found |= volume.find(keys) >= 0
            return found

    def rows(self, keys: Sequence[bytes]) -> np.ndarray:
        """The rows of these keys, in their order, where every row is one token.

        Shape: (n, *shape), the caller's own.

        Raises:
            KeyError: a key has no row.
            StorageError: a row is not one token.
        """
        tokens, lengths = self.ragged(keys)
        if (lengths != 1).any():
            raise StorageError(
                f"Rows of {self.prefix} have {lengths.min()} to {lengths.max()} tokens. Read them with `ragged`."
            )
        return tokens

    def ragged(self, keys: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """The rows of these keys, packed in their order, and the number of tokens of each.

        Many that lie in this order are mapped, not copied: they take no memory that the system cannot have back.

        Shape: (sum of lengths, *shape) and (n,), the caller's own.

        Raises:
            KeyError: a key has no row.
        """
        lengths, missing, parts = np.zeros(len(keys), np.int64), np.ones(len(keys), bool), []
        with self._lock:
            if (self._volumes[0].find(keys) < 0).any():
                self._on_newest(Volume.load)
            for volume in self._volumes:
                numbers = volume.find(keys)
                here = np.flatnonzero(missing & (numbers >= 0))
                missing[here] = False
                lengths[here] = volume.lengths[numbers[here]]
                starts = volume.starts[numbers[here]]
                if len(here) == len(keys) and (whole := _consecutive(starts, lengths)) * volume.width >= MAPPED:
                    touch(self.place)
                    return volume.mapped(int(starts[0]), whole), lengths
                parts.append((volume.tokens(), starts, here))
        if missing.any():
            first = keys[int(missing.argmax())]
            raise KeyError(
                f"{missing.sum()} of {len(keys)} keys have no row in {self.prefix}, the first: {first.hex()}"
            )
        touch(self.place)
        out, begins = np.empty((int(lengths.sum()), *self.shape), self.dtype), offsets(lengths)
        for tokens, starts, here in parts:
            _copy(tokens, spans(starts, lengths[here]), out, spans(begins[here], lengths[here]))
        return out, lengths

    def write(
        self, keys: Sequence[bytes], tokens: np.ndarray, lengths: Sequence[int] | np.ndarray | None = None
    ) -> int:
        """Add the rows of these 16-byte keys; one that is there already is left as it is. Returns how many were new.

        Every call is a transaction that reaches the disk (about 20 ms); `gathered` makes few of many small writes.

        Shape: tokens (n, *shape), or with `lengths` (n,) packed as (sum of lengths, *shape).

        Raises:
            StorageError: no room, no permission, or tokens of another dtype or shape. Nothing is written then.
        """
        counts = np.ones(len(keys), np.int64) if lengths is None else np.array(lengths, np.int64)
        if tokens.dtype != self.dtype or tokens.shape[1:] != self.shape:
            raise StorageError(
                f"{self.prefix} holds {self.dtype} of shape {self.shape}. To keep {tokens.dtype} of shape "
                f"{tokens.shape[1:]}, open a store of another prefix."
            )
        if counts.shape != (len(keys),) or (counts < 0).any() or counts.sum() != len(tokens):
            raise StorageError(
                f"{len(keys)} keys with {counts.sum()} tokens in all do not fit the {len(tokens)} given."
            )
        with self._lock:
            new = self._on_newest(lambda volume: volume.append(keys, tokens, counts))
        touch(self.place)
        return new

    def nbytes(self) -> int:
        """Bytes on disk."""
        return size(self.place)

    def close(self) -> None:
        """Let go of the files; arrays already read stay valid."""
        for volume in self._volumes:
            volume.close()

    def __del__(self) -> None:
        for volume in getattr(self, "_volumes", ()):  # a dataset is dropped, not closed
            volume.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _on_newest(self, act: Callable[[Volume], R]) -> R:
        """Do something with the newest volume; where it was evicted or came to harm meanwhile, with a fresh one."""
        with refusals(self.place):
            for _ in range(TRIES):
                volume, harmed = self._volumes[0], False
                try:
                    if volume.is_named():
                        return act(volume)
                except FAULTS as error:
                    harmed = is_damage(error)
                    if not harmed and volume.is_named():
                        raise
                if harmed:
                    volume.close()
                    shutil.rmtree(self.place, ignore_errors=True)
                self._volumes = [self._open(), *self._volumes[harmed:]]
        raise self._restless()

    def _open(self) -> Volume:
        """A volume, emptied first where it is damaged; never while another process opens one."""
        with refusals(self.place), lock("features", self.prefix):
            for _ in range(TRIES):
                try:
                    self.place.mkdir(parents=True, exist_ok=True)
                    touch(self.place)
                    return Volume(self.place, self.dtype, self.shape)
                except FAULTS as error:
                    fault = error
                    if is_damage(error):
                        shutil.rmtree(self.place, ignore_errors=True)
            raise self._restless() if is_damage(fault) else fault

    def _restless(self) -> StorageError:
        return StorageError(f"{self.place} is removed as fast as it is made. Try again when nothing else clears it.")


@contextmanager
def gathered(store: Store) -> Iterator[Callable[[Sequence[bytes], np.ndarray, np.ndarray | None], None]]:
    """A `write(keys, tokens, lengths)`, as the store's own, that reaches it every 16 MB or 2 s, and at the block's end.

    Also when it ends by an error or an interrupt: what was computed is kept. Arrays are held until written.
    """
    keys: list[bytes] = []
    parts: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    since = time.monotonic()

    def flush() -> None:
        nonlocal since
        if keys:
            store.write(keys, np.concatenate(parts), np.concatenate(counts))
        keys.clear()
        parts.clear()
        counts.clear()
        since = time.monotonic()

    def write(more: Sequence[bytes], tokens: np.ndarray, lengths: np.ndarray | None = None) -> None:
        keys.extend(more)
        parts.append(tokens)
        counts.append(np.ones(len(more), np.int64) if lengths is None else lengths)
        if sum(part.nbytes for part in parts) >= GATHER_BYTES or time.monotonic() - since >= GATHER_SECONDS:
            flush()

    try:
        yield write
    finally:
        flush()


def _consecutive(starts: np.ndarray, lengths: np.ndarray) -> int:
    """Tokens of rows that lie one behind the other; 0 where they do not."""
    return int(lengths.sum()) if len(starts) and (starts[1:] == starts[:-1] + lengths[:-1]).all() else 0


def _copy(source: np.ndarray, at: np.ndarray, out: np.ndarray, to: np.ndarray) -> None:
    """out[to] = source[at], `to` ascending; copied once where it has no gaps, as where one volume holds all rows."""
    if len(to) and to[-1] - to[0] + 1 == len(to):
        np.take(source, at, axis=0, out=out[to[0] : to[-1] + 1], mode="clip")  # which, unlike "raise", needs no buffer
    else:
        out[to] = source[at]
