"""What reading a file showed, remembered, so that a folder loaded again is not read again.

stamps = [stamp(path) for path in paths]     before reading
seen = known(stamps)                         path → (content id, facts) of the files that have not changed since
learn([(stamp, id, facts), …])               after reading the others
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from graft.core.home import folder, lock
from graft.data.database import FAULTS, Damaged, connect, is_damage, refusals

R = TypeVar("R")
FRESH = 2_000_000_000  # ns: some file systems count time in steps of 2 s, in which a second change goes unseen
ASK = 500  # paths in one question; SQLite takes 999 at least
COLUMNS = "path blob primary key, size, mtime, ctime, inode, id text not null, facts text not null"


class Stamp(NamedTuple):
    """What the file system says of a file; it changes when the file does."""

    path: str  # absolute
    size: int
    mtime_ns: int
    ctime_ns: int  # also shows a change whose mtime was set back
    inode: int
    taken_ns: int  # when the file system was asked


def stamp(path: str | os.PathLike[str]) -> Stamp:
    """The stamp of a file, to be taken before the file is read."""
    now = time.time_ns()
    at = os.stat(path)
    return Stamp(os.path.abspath(path), at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino, now)


def known(stamps: Sequence[Stamp]) -> dict[str, tuple[str, Any]]:
    """The content id and the facts of each file that is remembered and has not changed, by its absolute path."""
    return _ask(lambda table: _known(table, stamps))


def learn(rows: Iterable[tuple[Stamp, str, Any]]) -> int:
    """Remember (stamp, content id, facts) of files that were read, all or none; facts are plain JSON.

    A file modified less than two seconds before its stamp was taken is left out: it may change again and look the same.
    Returns how many are remembered.
    """
    old = [
        (os.fsencode(at.path), at.size, at.mtime_ns, at.ctime_ns, at.inode, name, json.dumps(facts))
        for at, name, facts in rows
        if at.taken_ns - at.mtime_ns >= FRESH
    ]
    if old:
        _ask(lambda table: table.executemany("insert or replace into files values (?, ?, ?, ?, ?, ?, ?)", old))
    return len(old)


def _known(table: sqlite3.Connection, stamps: Sequence[Stamp]) -> dict[str, tuple[str, Any]]:
    found: dict[str, tuple[str, Any]] = {}
    for i in range(0, len(stamps), ASK):
        asked = {os.fsencode(at.path): at for at in stamps[i : i + ASK]}
        rows = table.execute(f"select * from files where path in ({','.join('?' * len(asked))})", list(asked))
        for path, size, mtime, ctime, inode, name, facts in rows:
            at = asked[path]
            if (size, mtime, ctime, inode) == (at.size, at.mtime_ns, at.ctime_ns, at.inode):
                try:
                    found[at.path] = (name, json.loads(facts))
                except (TypeError, ValueError):
                    raise Damaged from None
    return found


def _ask(act: Callable[[sqlite3.Connection], R]) -> R:
    """Do something with the table in one transaction, alone; a damaged table is thrown away first."""
    path = folder("files") / "seen.sqlite"
    with refusals(path), lock("files", "seen"):
        try:
            return _transact(path, act)
        except FAULTS as error:
            if not is_damage(error):
                raise
        for name in (path, path.with_name(f"{path.name}-journal")):
            name.unlink(missing_ok=True)
        return _transact(path, act)


def _transact(path: Path, act: Callable[[sqlite3.Connection], R]) -> R:
    with closing(connect(path)) as table, table:
        table.execute("begin immediate")
        table.execute(f"create table if not exists files ({COLUMNS}) without rowid")
        return act(table)
