"""The feature store: what a frozen prefix computed for an example, kept under the example's key.

One folder per prefix id holds an index (SQLite: key → start, length) and one raw file of tokens. A row is one or more
tokens of one dtype and shape: an image's features are one token, a text's as many as the text has.

    write   compute first; then `begin immediate`, write the tokens at the offset that the index gives, sync, index, commit

The index's lock makes one writer of many processes, and the index never tells of tokens that are not there: a writer
that dies leaves a tail that the next one overwrites. Two processes may compute the same row; the first to write it wins.
Rows are never removed: a store is evicted, or thrown away when damaged, whole. It is only a cache.
"""

import mmap
import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from graft.core.errors import StorageError
from graft.core.home import folder, lock, size, touch
from graft.data.database import Damaged, connect, is_damage, refusals

R = TypeVar("R")
FORMAT = 1  # of the index; another one is thrown away
HEADER = 64  # bytes before the first token: the file's own name, so that index and file cannot be mistaken for a pair
BLOCK = 1 << 20  # bytes copied at a time: what is sorted for the disk is put in the caller's order while still in cache
TRIES = 5  # an eviction can come between opening and writing, but hardly this often

SCHEMA = f"""
    begin;
    create table store (file text not null, dtype text not null, shape text not null);
    create table rows (
        number integer primary key,
        key blob not null check (typeof(key) = 'blob' and length(key) = 16),
        start integer not null,
        length integer not null
    );
    insert into store values ('{{file}}', '{{dtype}}', '{{shape}}');
    pragma user_version = {FORMAT};
    commit;
"""


class Volume:
    """An index and its file, as opened. They outlive their names: what is evicted while open stays readable here."""

    def __init__(self, place: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.dtype, self.shape = dtype, shape
        self.width = dtype.itemsize * int(np.prod(shape, dtype=np.int64))  # bytes of a token
        self.numbers: dict[bytes, int] = {}  # key → position in the two columns below
        self.starts = self.lengths = np.zeros(0, np.int64)  # in tokens
        self.end = 0  # tokens that the index tells of
        self._map: mmap.mmap | None = None
        index = place / "index.sqlite"
        self._index = connect(index)
        try:
            if self._index.execute("pragma user_version").fetchone() == (0,):
                _create(self._index, place, dtype, shape)
            data = place / _described(self._index, dtype, shape)
            self._file = _opened(data)
            try:
                self._names = {path: _identity(path) for path in (index, data)}
                self.load()
            except BaseException:
                self._file.close()
                raise
        except BaseException:
            self._index.close()
            raise

    def close(self) -> None:
        """Let go of the files; arrays already handed out stay valid."""
        self._index.close()
        self._file.close()

    def is_named(self) -> bool:
        """Whether the files can still be found under their names, so that what is written will be found again."""
        with suppress(OSError):
            return all(_identity(path) == opened for path, opened in self._names.items())
        return False

    def load(self) -> None:
        """Take in the rows that were indexed since the last time.

        Raises:
            Damaged: the index contradicts itself, or tells of tokens that the file does not hold.
        """
        since = len(self.starts)
        new = self._index.execute(
            "select key, start, length from rows where number > ? order by number", (since,)
        ).fetchall()
        if not new:
            return
        keys, starts, lengths = zip(*new, strict=True)
        try:
            starts, lengths = np.array(starts, np.int64), np.array(lengths, np.int64)
        except (TypeError, ValueError, OverflowError):
            raise Damaged from None
        ends = starts + lengths
        sound = starts[0] == self.end and (starts[1:] == ends[:-1]).all() and (lengths >= 0).all()
        if not sound or HEADER + int(ends[-1]) * self.width > os.fstat(self._file.fileno()).st_size:
            raise Damaged
        self.starts, self.lengths = np.append(self.starts, starts), np.append(self.lengths, lengths)
        self.end = int(ends[-1])
        self.numbers.update(zip(keys, range(since, since + len(keys)), strict=True))

    def find(self, keys: Sequence[bytes]) -> np.ndarray:
        """The number of each key's row, -1 where there is none."""
        return np.fromiter(map(self.numbers.get, keys, repeat(-1)), np.int64, len(keys))

    def tokens(self) -> np.ndarray:
        """All tokens as one read-only array, mapped anew when the file has grown."""
        needed = HEADER + self.end * self.width
        if self._map is None or len(self._map) < needed:
            self._map = mmap.mmap(self._file.fileno(), needed, access=mmap.ACCESS_READ)
        return np.ndarray((self.end, *self.shape), self.dtype, self._map, HEADER)

    def append(self, keys: Sequence[bytes], tokens: np.ndarray, lengths: np.ndarray) -> int:
        """Write the rows that are not there yet, all or none; returns how many."""
        self._index.execute("begin immediate")
        with self._index:  # commits, or rolls back when interrupted
            self.load()
            first = {key: i for i, key in zip(range(len(keys) - 1, -1, -1), reversed(keys), strict=True)}
            at = np.array(sorted(i for key, i in first.items() if key not in self.numbers), np.int64)
            if len(at) < len(keys):
                tokens, lengths = tokens[_spans(_offsets(lengths)[at], lengths[at])], lengths[at]
            self._put(tokens, HEADER + self.end * self.width)
            starts = self.end + _offsets(lengths)
            self._index.executemany(
                "insert into rows (key, start, length) values (?, ?, ?)",
                zip((keys[i] for i in at.tolist()), starts.tolist(), lengths.tolist(), strict=True),
            )
        self.load()
        return len(at)

    def _put(self, tokens: np.ndarray, offset: int) -> None:
        left = memoryview(np.ascontiguousarray(tokens).reshape(-1).view(np.uint8))
        while (
            left
        ):  # a call may write a part; a full disk shows in the next one. Never through the map: that would be a signal
            written = os.pwrite(self._file.fileno(), left, offset)
            left, offset = left[written:], offset + written
        os.fsync(self._file.fileno())  # data before index also when the power fails


class Store:
    """Rows by key; open it with `open_store`. One thread may write while others read."""

    def __init__(self, prefix: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.prefix, self.dtype, self.shape = prefix, dtype, shape
        self._lock = threading.RLock()
        self._volumes = [self._open()]  # newest first: after an eviction, the ones before it stay readable

    def has(self, keys: Sequence[bytes]) -> np.ndarray:
        """Whether each key has a row, those included that other processes have written by now.

        A row once seen by this store stays readable for as long as it is open, evicted or not.
        """
        with self._lock:
            self._on_newest(Volume.load)
            return np.any([volume.find(keys) >= 0 for volume in self._volumes], axis=0)

    def rows(self, keys: Sequence[bytes]) -> np.ndarray:
        """The rows of these keys, in their order, where each row is one token.

        Shape: (n, *shape), a copy.

        Raises:
            KeyError: a key has no row.
        """
        tokens, lengths = self.ragged(keys)
        if (lengths != 1).any():
            raise StorageError(
                f"The rows of {self.prefix} have {lengths.min()} to {lengths.max()} tokens. Read them as ragged."
            )
        return tokens

    def ragged(self, keys: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of these keys' rows, packed in their order, and how many each has.

        Shape: (sum of lengths, *shape) and (n,), copies.

        Raises:
            KeyError: a key has no row.
        """
        lengths, parts, missing = np.zeros(len(keys), np.int64), [], np.ones(len(keys), bool)
        with self._lock:
            if (self._volumes[0].find(keys) < 0).any():
                self._on_newest(Volume.load)
            for volume in self._volumes:
                numbers = volume.find(keys)
                rows = np.flatnonzero(missing & (numbers >= 0))
                missing[rows] = False
                lengths[rows] = volume.lengths[numbers[rows]]
                parts.append((volume.tokens(), volume.starts[numbers[rows]], rows))
        touch(self._place())
        if missing.any():
            lost = keys[int(missing.argmax())]
            raise KeyError(
                f"{missing.sum()} of {len(keys)} keys have no row in {self.prefix}; the first is {lost.hex()}"
            )
        out, offsets = np.empty((int(lengths.sum()), *self.shape), self.dtype), _offsets(lengths)
        for tokens, starts, rows in parts:
            _copy(tokens, _spans(starts, lengths[rows]), out, _spans(offsets[rows], lengths[rows]))
        return out, lengths

    def write(
        self, keys: Sequence[bytes], tokens: np.ndarray, lengths: Sequence[int] | np.ndarray | None = None
    ) -> int:
        """Add the rows of these keys; those that are there already are left as they are. Returns how many are new.

        Every call is one transaction that reaches the disk (about 20 ms): give it a second's work, or 16 MB.

        Shape: tokens (n, *shape); with `lengths`, the packed (sum of lengths, *shape). Keys are 16 bytes each.

        Raises:
            StorageError: the disk is full or closed to us, or the tokens are not of this store's kind. Nothing is written.
        """
        counts = np.ones(len(keys), np.int64) if lengths is None else np.array(lengths, np.int64)
        if tokens.dtype != self.dtype or tokens.shape[1:] != self.shape:
            raise StorageError(
                f"{self.prefix} holds {self.dtype} of shape {self.shape}; {tokens.dtype} of shape {tokens.shape[1:]} "
                "cannot be written to it. Open a store of another prefix."
            )
        if counts.shape != (len(keys),) or counts.sum() != len(tokens) or (counts < 0).any():
            raise StorageError(
                f"{len(keys)} keys with lengths that add up to {counts.sum()} do not fit {len(tokens)} tokens."
            )
        with self._lock:
            new = self._on_newest(lambda volume: volume.append(keys, tokens, counts)) if keys else 0
        touch(self._place())
        return new

    def bytes(self) -> int:
        """What the store takes on disk, in bytes."""
        return size(self._place())

    def close(self) -> None:
        """Let go of the files."""
        for volume in self._volumes:
            volume.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
