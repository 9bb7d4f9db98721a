"""One index and one raw file of tokens: the protocol by which processes share them and survive being killed.

    compute first; then `begin immediate`, write the tokens at the offset that the index gives, sync, index, commit

The index's lock makes one writer of many processes, and the index never tells of tokens that are not there: a writer
that dies leaves a tail that the next one overwrites. Rows are never removed or moved, so a map of the file stays true.
"""

import hashlib
import json
import mmap
import os
import secrets
import sqlite3
import weakref
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from itertools import repeat
from pathlib import Path

import numpy as np

from graft.core.errors import StorageError
from graft.data.database import Damaged, connect

FORMAT = 1  # of index and file; any other is thrown away
HEADER = 64  # bytes before the first token: a digest that makes the file and its index a pair
TABLES = (
    "create table kind (dtype text not null, shape text not null)",
    "create table rows (number integer primary key, start integer not null, length integer not null, "
    "key blob not null check (typeof(key) = 'blob' and length(key) = 16))",
    f"pragma user_version = {FORMAT}",
)


class Volume:
    """An index and its file, as opened; made where `place` has none. Only one process may be opening at a time.

    What is evicted while open stays readable here. No name is used twice: SQLite finds a journal by its name, so this
    index would take a later one's journal for its own.
    """

    def __init__(self, place: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.dtype, self.shape = dtype, shape
        self.width = dtype.itemsize * int(np.prod(shape, dtype=np.int64))  # bytes of a token
        self.numbers: dict[bytes, int] = {}  # key → position in the two columns below
        self.starts = self.lengths = np.zeros(0, np.int64)  # in tokens
        self.end = 0  # tokens that the index tells of
        self._map: mmap.mmap | None = None
        index = min(place.glob("*.sqlite"), default=place / f"{secrets.token_hex(8)}.sqlite")
        data = index.with_suffix(".tokens")
        with ExitStack() as opened:
            self._index = opened.enter_context(closing(connect(index)))
            _paired(self._index, data, dtype, shape)
            self._file = opened.enter_context(data.open("r+b", buffering=0))
            self._names = {path: _identity(path) for path in (index, data)}
            self.load()
            self._release = weakref.finalize(self, opened.pop_all().close)  # when closed, or forgotten

    def close(self) -> None:
        """Let go of the files; arrays already handed out stay valid."""
        self._release()

    def is_named(self) -> bool:
        """Whether the files are still to be found under their names, so that what is written will be found again."""
        with suppress(OSError):
            return all(_identity(path) == identity for path, identity in self._names.items())
        return False

    def load(self) -> None:
        """Take in the rows that were indexed since the last time.

        Raises:
            Damaged: the index contradicts itself, or tells of tokens that the file does not hold.
        """
        seen = len(self.starts)
        query = "select key, start, length from rows where number > ? order by number"
        new = self._index.execute(query, (seen,)).fetchall()
        if not new:
            return
        keys, *columns = zip(*new, strict=True)
        try:
            starts, lengths = np.array(columns, np.int64)
        except (TypeError, ValueError, OverflowError):
            raise Damaged from None
        ends = starts + lengths
        end = int(ends[-1])
        if starts[0] != self.end or (starts[1:] != ends[:-1]).any() or (ends < starts).any():
            raise Damaged
        if HEADER + end * self.width > os.fstat(self._file.fileno()).st_size:
            raise Damaged
        self.numbers.update(zip(keys, range(seen, seen + len(keys)), strict=True))
        if len(self.numbers) != seen + len(keys):
            raise Damaged
        self.starts, self.lengths, self.end = np.append(self.starts, starts), np.append(self.lengths, lengths), end

    def find(self, keys: Sequence[bytes]) -> np.ndarray:
        """The number of each key's row, -1 where there is none."""
        return np.fromiter(map(self.numbers.get, keys, repeat(-1)), np.int64, len(keys))

    def tokens(self) -> np.ndarray:
        """All tokens as one read-only array, mapped anew when the file has grown."""
        needed = HEADER + self.end * self.width
        if self._map is None or len(self._map) < needed:
            self._map = mmap.mmap(self._file.fileno(), needed, access=mmap.ACCESS_READ)
        return np.ndarray((self.end, *self.shape), self.dtype, self._map, HEADER)

    def mapped(self, start: int, count: int) -> np.ndarray:
        """Consecutive tokens as an array that takes no memory until it is written to, which the file never sees."""
        begin = HEADER + start * self.width
        lead = begin % mmap.ALLOCATIONGRANULARITY
        size = lead + count * self.width
        own = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_COPY, offset=begin - lead)
        return np.ndarray((count, *self.shape), self.dtype, own, lead)

    def append(self, keys: Sequence[bytes], tokens: np.ndarray, lengths: np.ndarray) -> int:
        """Write the rows that are not there yet, all or none; returns how many."""
        with self._index:  # commits, or rolls back when interrupted
            self._index.execute("begin immediate")
            self.load()
            new: dict[bytes, int] = {}  # key → its first place among `keys`
            for i, key in enumerate(keys):
                if key not in self.numbers:
                    new.setdefault(key, i)
            if not new:
                return 0
            if len(new) < len(keys):
                at = list(new.values())
                tokens, lengths = tokens[spans(offsets(lengths)[at], lengths[at])], lengths[at]
            self._put(tokens, HEADER + self.end * self.width)
            starts = self.end + offsets(lengths)
            self._index.executemany(
                "insert into rows (key, start, length) values (?, ?, ?)",
                zip(new, starts.tolist(), lengths.tolist(), strict=True),
            )
        self.load()
        return len(new)

    def _put(self, tokens: np.ndarray, offset: int) -> None:
        left = np.ascontiguousarray(tokens).reshape(-1).view(np.uint8).data
        while left:  # a call may write only a part. Never through the map: there a full disk is a signal, not an error
            written = os.pwrite(self._file.fileno(), left, offset)
            left, offset = left[written:], offset + written
        os.fsync(self._file.fileno())  # the data reaches the disk before the index, also when the power fails


def offsets(lengths: np.ndarray) -> np.ndarray:
    """Where each row begins when rows of these lengths are packed."""
    begins: np.ndarray = np.cumsum(lengths) - lengths
    return begins


def spans(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The positions start, start + 1, … of every row, one row after the other."""
    return np.repeat(starts - offsets(lengths), lengths) + np.arange(lengths.sum())


def _paired(index: sqlite3.Connection, data: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Check that the file is the index's own and of this kind; make both where the index is new."""
    kind = (dtype.name, json.dumps(shape))
    version = index.execute("pragma user_version").fetchone()[0]
    if version == 0:
        index.execute("pragma synchronous = off")  # nothing to lose yet; the first append syncs all of it
        with index:
            index.execute("begin immediate")
            for statement in TABLES:
                index.execute(statement)
            index.execute("insert into kind values (?, ?)", kind)
            data.write_bytes(_digest(data.name, kind))
        index.execute("pragma synchronous = normal")
        return
    if version != FORMAT:
        raise Damaged
    found = index.execute("select dtype, shape from kind").fetchone()
    with data.open("rb") as file:
        if file.read(HEADER) != _digest(data.name, found):
            raise Damaged
    if found != kind:
        raise StorageError(
            f"{data.parent} holds {found[0]} of shape {found[1]}, not {kind[0]} of shape {kind[1]}. "
            "Open it as what it is, or open another prefix."
        )


def _digest(name: str, kind: Sequence[str]) -> bytes:
    return hashlib.blake2b(repr((name, kind)).encode(), digest_size=HEADER).digest()


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
