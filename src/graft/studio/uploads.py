"""Files that a browser hands over: written below one folder, and nowhere else."""

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

from graft.core.errors import DataError, StorageError
from graft.core.home import placed, storage

BYTES = 50_000_000_000  # of one project's data, unpacked
FILES = 500_000  # in one archive
RATIO = 200  # unpacked bytes to packed ones, above FREE: photos and sounds hardly shrink, tables tenfold
FREE = 100_000_000  # bytes of an archive whose ratio is not asked for
SPARE = 1_000_000_000  # bytes that stay free on the disk
LONGEST = 200  # bytes of a name within a path
CHUNK = 1 << 20


def inside(name: str) -> PurePosixPath:
    """A relative path that stays below the folder it is put into.

    Raises:
        DataError: it would not.
    """
    path = PurePosixPath(name)
    parts = name.split("/")
    odd = any(part in ("", ".", "..") or len(part.encode(errors="replace")) > LONGEST for part in parts)
    if odd or path.is_absolute() or "\\" in name or any(ord(letter) < 32 for letter in name) or len(parts) > 40:
        raise DataError(f"{name[:80]!r} is no name that can be kept: it must stay inside the folder you chose.")
    return path


def hidden(path: PurePosixPath) -> bool:
    """Whether a system put it there, not a person."""
    return any(part.startswith((".", "__MACOSX")) or part in ("Thumbs.db", "desktop.ini") for part in path.parts)


async def receive(chunks: AsyncIterator[bytes], name: str, place: Path) -> int:
    """Write one file as it comes in; returns its size.

    Raises:
        DataError: its name leads elsewhere, or it is too large.
        StorageError: the disk is nearly full.
    """
    path, size = inside(name), 0
    if hidden(path):
        async for _ in chunks:
            pass
        return 0
    file = place / path
    with storage():
        file.parent.mkdir(parents=True, exist_ok=True)
    with placed(file) as part, part.open("wb") as out:
        async for chunk in chunks:
            size += len(chunk)
            _room(place, size)
            out.write(chunk)
    return size


def unpack(archive: Path, place: Path) -> int:
    """The files of a zip archive, below a folder that must not exist yet; returns how many.

    Raises:
        DataError: it is damaged, encrypted, too large, or a name in it leads elsewhere.
        StorageError: the disk is nearly full.
    """
    draft = place.with_name(f".{place.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            wanted = _wanted(opened, archive)
            written, most = 0, sum(entry.file_size for entry, _ in wanted)
            for entry, path in wanted:
                with storage():
                    (draft / path).parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as packed, storage(), (draft / path).open("wb") as out:
                    while chunk := packed.read(CHUNK):
                        if (written := written + len(chunk)) > most:
                            raise DataError(f"{archive.name} holds more than it says. Pack it again.")
                        _room(place.parent, written)
                        out.write(chunk)
        with storage():
            os.replace(draft, place)
        return len(wanted)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive.name} cannot be unpacked: {error}. Pack it again as a plain zip.") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _wanted(opened: zipfile.ZipFile, archive: Path) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of an archive worth unpacking, each with its place; all are looked at before one is written."""
    entries = opened.infolist()
    if len(entries) > FILES:
        raise DataError(f"{archive.name} holds {len(entries)} files; at most {FILES} are unpacked.")
    wanted = []
    for entry in entries:
        if entry.is_dir():
            continue
        path = inside(entry.filename)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DataError(f"{archive.name} holds a link, {entry.filename!r}. Pack the files themselves.")
        if entry.flag_bits & 1:
            raise DataError(f"{archive.name} is encrypted. Pack it without a password.")
        if not hidden(path):
            wanted.append((entry, path))
    files = {path for _, path in wanted}
    if len(files) < len(wanted) or any(above in files for path in files for above in path.parents):
        raise DataError(f"{archive.name} names two things alike. Pack it again.")
    total = sum(entry.file_size for entry, _ in wanted)
    if total > BYTES or (total > FREE and total > RATIO * archive.stat().st_size):
        raise DataError(f"{archive.name} would become {total / 1e9:.1f} GB when unpacked, which is too much for it.")
    if not wanted:
        raise DataError(f"{archive.name} holds no files.")
    return wanted


def _room(place: Path, size: int) -> None:
    if size > BYTES:
        raise DataError(f"More than {BYTES / 1e9:.0f} GB is too much for the studio. Use the command line.")
    if shutil.disk_usage(place).free < SPARE:
        raise StorageError(f"There is hardly any room left where {place} lies. Free some space and try again.")
