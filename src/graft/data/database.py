"""How a SQLite file is opened here: a rollback journal, refusals said as StorageErrors, and damage told from refusal.

Not a write-ahead log: an eviction that has removed only some of its files could leave two writers with a log each, and
network file systems cannot share one. The journal is truncated, not deleted: losing its name then stops no commit.
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graft.core.errors import StorageError
from graft.core.home import storage


class Damaged(Exception):
    """What a file holds contradicts itself; it is to be thrown away."""


WAIT = 60.0  # seconds for another process to end its transaction; one takes milliseconds
BROKEN = (Damaged, FileNotFoundError, IsADirectoryError, UnicodeDecodeError)  # the last: a message quoting broken text
FAULTS = (*BROKEN, OSError, sqlite3.Error)
_HARM = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR)  # or no such table
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)  # a file size limit or a quota shows as an I/O error
_CLOSED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose transactions are begun by hand, and that threads may share behind a lock of their own."""
    database = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    database.text_factory = lambda raw: raw.decode("utf-8", "replace")  # broken text is damage to find, not a crash
    try:
        database.execute("pragma journal_mode = truncate")
        database.execute("pragma synchronous = normal")
    except BaseException:
        database.close()
        raise
    return database


def is_damage(error: Exception) -> bool:
    """Whether an error says that a file is broken or gone, not that the system refused something."""
    return isinstance(error, BROKEN) or (isinstance(error, sqlite3.Error) and _code(error) in _HARM)


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turns what SQLite and the system refuse while `path` is used into a StorageError."""
    with storage():
        try:
            yield
        except sqlite3.Error as error:
            if _code(error) in _FULL:
                raise OSError(errno.ENOSPC, str(error), str(path)) from error
            if _code(error) in _CLOSED:
                raise OSError(errno.EACCES, str(error), str(path)) from error
            if _code(error) in _BUSY:
                raise StorageError(
                    f"Another process has kept {path} locked for {WAIT:.0f} seconds. Try again when it has ended."
                ) from error
            raise


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code; the rest says where it happened
