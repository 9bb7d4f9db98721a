"""Recordings of any kind that is read: a file, what it says of itself, and its trials as bytes."""

import re
from functools import lru_cache
from pathlib import Path

from graft.core.errors import DataError
from graft.data import arrays, edf, series
from graft.data.traces import MAGIC, File, Trace, fragment, pack, unpack

SUFFIXES = (".npz", ".npy", ".edf", ".bdf", ".csv", ".tsv", ".txt")
TEXTS = (".csv", ".tsv", ".txt")
STRANGERS = (
    (rb"\x89HDF|MATLAB 5\.0", "a MATLAB or HDF5 file; save its arrays with numpy.savez"),
    (rb"GDF ", "a GDF file; save it as EDF"),
    (rb"Brain Vision", "a BrainVision header; save the recording as EDF"),
    (rb"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)", "an HTML page"),
    (rb"\x1f\x8b", "gzip data; unpack it"),
    (rb"%PDF", "a PDF document"),
    (rb"\xff\xd8\xff|\x89PNG|RIFF|OggS|fLaC|ID3", "a picture or a sound"),
)


def opened(source: Path | bytes, layout: str = "", label: str = "") -> File:
    """A file by what its first bytes say, whatever it is called.

    Args:
        layout, label: of text tables, see `series.opened`; `label` also names the array of labels of an .npz file.

    Raises:
        DataError: it cannot be read, or is no recording.
    """
    if isinstance(source, bytes):
        return _opened(source, source[:512], layout, label)
    try:
        stamp = source.stat()
        return _kept(source.absolute(), stamp.st_mtime_ns, stamp.st_size, layout, label)
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}.") from None


@lru_cache(maxsize=8)  # trials of one file are asked for one after the other
def _kept(path: Path, changed: int, size: int, layout: str, label: str) -> File:
    with path.open("rb") as file:
        head = file.read(512)
    return _opened(path, head, layout, label)


def _opened(source: Path | bytes, head: bytes, layout: str, label: str) -> File:
    called = "The file" if isinstance(source, bytes) else str(source)
    if not head:
        raise DataError(f"{called} is empty (0 bytes).")
    if head.startswith((b"PK\x03\x04", b"\x93NUMPY")):
        return arrays.opened(source, label)
    if head.startswith((edf.EDF, edf.BDF)):
        return edf.opened(source)
    for pattern, what in STRANGERS:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            raise DataError(f"{called} is no recording that can be read but {what}.")
    if b"\0" in head:
        raise DataError(
            f"{called} is no recording that can be read: it starts with the bytes {head[:8].hex(' ')}. "
            "EDF, BDF, NumPy (.npz, .npy) and text tables are."
        )
    return series.opened(source, layout or "channels", label)


def fetched(item: str, channels: tuple[str, ...] = (), rate: float = 0.0, layout: str = "", label: str = "") -> bytes:
    """The bytes of an item: a file's own, or, of one trial of several, the trial packed.

    Args:
        channels: the only ones that are read, where the file can do so and has them.
        rate: Hz, of a file that does not say its own: what seconds count by.

    Raises:
        DataError: there is no such trial.
        OSError: the file cannot be read.
    """
    path, where = fragment(item)
    if where is None:
        return Path(item).read_bytes()
    return pack(opened(Path(path), layout, label).cut(where, channels, rate))


def trace(raw: bytes, channels: tuple[str, ...] = (), layout: str = "") -> Trace:
    """What `fetched` gave, or a file of one trial, as samples.

    Raises:
        DataError: it is damaged, or holds several trials.
    """
    return unpack(raw) if raw.startswith(MAGIC) else opened(raw, layout).cut(None, channels)


def trial(raw: bytes, number: int, layout: str = "", label: str = "") -> bytes:
    """One trial of a file's bytes, counted from 0, packed; a file of one trial as it is.

    Raises:
        DataError: the file is damaged, or has fewer.
    """
    file = opened(raw, layout, label)
    return raw if file.trials == 1 else pack(file.cut(number))
