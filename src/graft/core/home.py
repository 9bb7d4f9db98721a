"""The home: one folder for everything that is worth keeping between calls.

    GRAFT_HOME (else the platform's cache folder /graft)
      features/  outputs of frozen prefixes     weights/  pretrained weights, fetched once and converted
      runs/      adapted weights, histories     results/  the nouns that verbs returned
      files/     what reading each file showed
      openings/  why each test part was ever opened; no clearing removes it

Every write is a temporary file renamed into place; whatever holds several files is guarded by a lock.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from graft.core.codec import from_dict, to_json
from graft.core.errors import GraftError, StorageError

T = TypeVar("T")
KINDS = ("graphs", "features", "weights", "runs", "results", "files")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}  # the last two: a file in its place


def home() -> Path:
    """The home's folder; not created."""
    if place := os.environ.get("GRAFT_HOME"):
        return Path(place).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "graft"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graft"


def folder(kind: str, *names: str) -> Path:
    """A folder under the home, created."""
    assert kind in KINDS, kind
    path = home().joinpath(kind, *names)
    with storage():
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def storage() -> Iterator[None]:
    """Turns the operating system's refusals to write into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        place = error.filename or home()
        if error.errno in FULL:
            raise StorageError(
                f"There is no room left to write {place}. Free some space, or `graft cache --clear features` "
                "(nothing finished is lost: the same command goes on from here)."
            ) from error
        if error.errno in CLOSED:
            raise StorageError(f"{place} cannot be written. Set GRAFT_HOME to a folder that can.") from error
        raise
    except Exception as error:  # safetensors puts the system's refusal into a text of its own
        if (number := re.search(r"os error (\d+)", str(error))) and int(number[1]) in FULL:
            raise StorageError(f"There is no room left to write into {home()}: {error}.") from error
        raise


@contextlib.contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed onto it when the block ends well, removed when it does not."""
    with storage():
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        with storage():
            yield part
            os.chmod(part, 0o644)
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    with placed(path) as part:
        part.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def lock(kind: str, name: str) -> Iterator[None]:
    """Hold a name against other processes; freed by the system if this one dies."""
    with storage():
        file = (folder(kind) / f".{name}.lock").open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def touch(path: Path) -> None:
    """Mark an entry as used just now: what eviction goes by."""
    with contextlib.suppress(OSError):
        os.utime(path)


def remember(
    verb: str, name: str, kind: type[T], compute: Callable[[], T], keep: Callable[[T], bool] = lambda _: True
) -> T:
    """The verb's stored result under this key, computed first where there is none, and stored if it is to be kept."""
    path = folder("results", verb) / f"{name}.json"
    if (stored := recall(verb, name, kind)) is not None:
        return stored
    with lock("results", f"{verb}-{name}"):  # a second process waits for the first, and finds its answer
        if (stored := recall(verb, name, kind)) is not None:
            return stored
        result = compute()
        if keep(result):
            write_text(path, to_json(result))
        return result


def recall(verb: str, name: str, kind: type[T]) -> T | None:
    """The verb's stored result under this key, or None (also when it was written by another version)."""
    path = home() / "results" / verb / f"{name}.json"
    try:
        result = from_dict(kind, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, GraftError):
        return None
    touch(path)
    return result


def forget(verb: str, name: str) -> None:
    """Remove a stored result, so that the next `remember` computes it again."""
    (home() / "results" / verb / f"{name}.json").unlink(missing_ok=True)


def limit(new: int | None = None) -> int:
    """The byte budget of the feature store: 20 GiB unless it was set here."""
    path = home() / "limit"
    if new is not None:
        with storage():
            home().mkdir(parents=True, exist_ok=True)
        write_text(path, str(new))
        return new
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 20_000_000_000


def size(path: Path) -> int:
    """Bytes on disk under a folder or of a file."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for entry in path.rglob("*"):
        with contextlib.suppress(OSError):  # another process may be evicting
            total += entry.stat().st_size if entry.is_file() else 0
    return total


def sizes() -> dict[str, int]:
    """Bytes per kind."""
    return {kind: size(home() / kind) for kind in KINDS}


def clear(kind: str | None = None) -> int:
    """Remove one kind, or all; returns the bytes freed."""
    freed = 0
    for one in [kind] if kind else KINDS:
        freed += size(home() / one)
        shutil.rmtree(home() / one, ignore_errors=True)
    return freed


def evict(limit: int, kind: str = "features", keep: frozenset[str] = frozenset()) -> int:
    """Remove the least recently used entries of a kind until at most `limit` bytes remain; returns the bytes freed.

    Entries in use in this process are named in `keep`; one touched in the last minute may be in use in another.
    """
    base = home() / kind
    if not base.is_dir():
        return 0
    entries = []
    for entry in base.iterdir():
        with contextlib.suppress(OSError):  # another process has just evicted it
            if not entry.name.startswith("."):
                entries.append((entry.stat().st_mtime, entry))
    entries.sort()
    weights = {entry: size(entry) for _, entry in entries}
    total, freed = sum(weights.values()), 0
    for used, entry in entries:
        if total - freed <= limit:
            break
        if entry.name in keep or time.time() - used < 60:
            continue
        shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
        freed += weights[entry]
    return freed
