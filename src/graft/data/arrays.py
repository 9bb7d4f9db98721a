"""Recordings in NumPy files: .npz with trials, labels and what else is known, .npy with trials or one recording."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from graft.core.errors import DataError, nearest
from graft.data.columns import LABELS, PART_NAMES, PARTS, shown
from graft.data.traces import File, Trace, numbered, span, unique

SIGNALS = ("x", "data", "signal", "signals", "trials", "epochs", "recording", "eeg", "emg", "ecg", "vibration")
CHANNELS = ("channels", "channel_names", "ch_names", "names", "leads", "sensors")
RATES = ("rate", "fs", "sfreq", "srate", "sampling_rate", "sample_rate", "sampling_frequency", "hz")
UNITS = ("unit", "units")
SUBJECTS = (
    *("subject", "subjects", "subject_id", "patient", "patients", "patient_id", "participant", "participant_id"),
    *("person", "user", "record", "record_id", "recording_id", "session", "group", "groups"),
)
MOST = 4 << 30  # bytes that one array may declare: a header of a few bytes can ask for any memory


def opened(source: Path | bytes, label: str = "") -> File:
    """An .npz or .npy file.

    Args:
        label: the name of the array that holds the labels, where its name does not tell.

    Raises:
        DataError: it is damaged, holds objects, or its arrays do not belong together.
    """
    try:
        arrays = _npz(source) if _head(source).startswith(b"PK") else {"x": _npy(source)}
    except DataError:
        raise
    except Exception as error:  # a damaged header fails in whatever its bytes happen to spell
        raise DataError(f"{_called(source)} is damaged or no NumPy file: {error}.") from None
    return _file(arrays, _called(source), label)


def recorded(path: Path) -> bool:
    """Whether a file's arrays are recordings and no table: trials × channels × time, or a rate, channels or a unit.

    Only names and shapes are read; of a file that cannot be read, nothing is said.
    """
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return len(_header(file, MOST)[0]) == 3
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename.removesuffix(".npy").lower(): entry for entry in archive.infolist()}
            if ({*CHANNELS, *RATES, *UNITS} - {"names"}) & entries.keys():  # of columns, a table says names too
                return True
            main = next((entries[word] for word in SIGNALS if word in entries), None)
            if main is None:
                return False
            with archive.open(main) as file:
                return len(_header(file, main.file_size)[0]) == 3
    except (OSError, ValueError, zipfile.BadZipFile, DataError):
        return False


def _head(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:8]
    with source.open("rb") as file:
        return file.read(8)


def _called(source: Path | bytes) -> str:
    return "The file" if isinstance(source, bytes) else str(source)


def _npy(source: Path | bytes) -> np.ndarray:
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), len(source))
    with source.open("rb") as file:
        _read(file, source.stat().st_size, values=False)
    return np.load(source, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _npz(source: Path | bytes) -> dict[str, np.ndarray]:
    """The arrays of an archive; big ones that are not compressed are mapped, not read."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
        members = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        if not members:
            raise DataError(f"{_called(source)} is a ZIP archive without arrays: unpack it, or save with np.savez.")
        for entry in members:
            name = entry.filename.removesuffix(".npy")
            if entry.file_size > MOST:
                raise DataError(f"{_called(source)} declares {entry.file_size / 1e9:.0f} GB for {name!r}: too much.")
            with archive.open(entry) as file:
                if isinstance(source, bytes) or entry.file_size < 1 << 20:
                    found[name] = _read(file, entry.file_size)
                    continue
                shape, fortran, dtype = _header(file, entry.file_size)
                inside = file.tell()
            stamp = source.stat()
            if entry.compress_type == zipfile.ZIP_STORED:
                with source.open("rb") as whole:
                    whole.seek(entry.header_offset + 26)  # the lengths of the name and of what follows it
                    start = entry.header_offset + 30 + sum(np.frombuffer(whole.read(4), "<u2").tolist()) + inside
                found[name] = np.memmap(source, dtype, "r", start, shape, "F" if fortran else "C")
            else:
                found[name] = _whole(source, entry.filename, stamp.st_mtime_ns, stamp.st_size)
    return found


@lru_cache(maxsize=2)  # compressed arrays can only be read whole: two are kept, for trials that are asked for in turn
def _whole(path: Path, member: str, changed: int, size: int) -> np.ndarray:
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        return _read(file, archive.getinfo(member).file_size)


def _header(file: Any, size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of an array, which must fit into its bytes."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataError(
            "The file holds an array of Python objects, which cannot be read without running what it holds. Save "
            "numbers: trials of different lengths go into files of their own, or are filled up with NaN at their end."
        )
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > size:
        raise DataError(f"The file declares an array of {shape}, which is more than it holds: it is cut short.")
    return shape, fortran, dtype


def _read(file: Any, size: int, values: bool = True) -> np.ndarray:
    start = file.tell()
    _header(file, size)
    if not values:
        return np.empty(0)
    file.seek(start)
    return np.lib.format.read_array(file, allow_pickle=False)


def _file(arrays: Mapping[str, np.ndarray], called: str, label: str) -> File:
    key = _name(arrays, SIGNALS)
    if key is None:  # no usual name: the only array that can be one
        wide = [name for name, array in arrays.items() if array.ndim > 1 and array.dtype.kind in "iuf"]
        if len(wide) != 1:
            raise DataError(f"{called} has no array X (trials, channels, time); it has {shown(list(arrays))}.")
        key = wide[0]
    x = arrays[key]
    if x.dtype.kind not in "iuf" or x.ndim not in (1, 2, 3) or not x.size:
        raise DataError(
            f"{called}: {key} must hold numbers (trials, channels, time), not {x.dtype} of shape {x.shape}."
        )
    if label and label not in arrays:
        raise DataError(f"{called} has no array {label!r}.{nearest(label, arrays)} It has {shown(list(arrays))}.")
    y = label or _name(arrays, LABELS)
    labels = None if y is None else np.atleast_1d(arrays[y])
    names = _texts(arrays, CHANNELS)
    x, notes = _laid(x, called, key, None if labels is None else len(labels), len(names))
    if names and len(names) != x.shape[1]:
        raise DataError(f"{called} names {len(names)} channels, but {key} has {x.shape[1]}: {shown(names)}.")
    if labels is not None and len(labels) != len(x):
        raise DataError(f"{called} holds {len(x)} trials but {len(labels)} labels ({y}).")
    rates = _texts(arrays, RATES)
    rate = _rate(rates, called)
    units = _texts(arrays, UNITS)
    if len(units) not in (0, 1, x.shape[1]):
        raise DataError(f"{called} states {len(units)} units for {x.shape[1]} channels.")
    who = _texts(arrays, SUBJECTS)
    if len(who) not in (0, 1, len(x)):
        raise DataError(f"{called} names {len(who)} subjects for {len(x)} trials.")
    each = tuple(units) * (x.shape[1] if len(units) == 1 else 1)
    channels = unique(names) or numbered(x.shape[1])

    def cut(where: int | tuple[float, float] | None = None, wanted: Sequence[str] = (), assumed: float = 0.0) -> Trace:
        if isinstance(where, tuple):
            first, last = span(*where, rate or assumed)
            if len(x) > 1 or not 0 <= first < last <= x.shape[2]:
                raise DataError(f"{called} has no stretch from {where[0]} to {where[1]} s.")
            return Trace(np.array(x[0, :, first:last]), channels, rate, each)
        if where is None and len(x) > 1:
            raise DataError(f"{called} holds {len(x)} trials: name one, as in {called}#0.")
        if (where or 0) >= len(x):
            raise DataError(f"{called} holds {len(x)} trials, no number {where} (they count from 0).")
        return Trace(np.array(x[where or 0]), channels, rate, each)

    return File(
        channels,
        cut,
        rate,
        each,
        trials=len(x),
        seconds=x.shape[2] / (rate or 1.0),
        labels=() if labels is None else tuple(_label(value) for value in labels.tolist()),
        groups=who if len(who) == len(x) > 1 else (),
        parts=_parts(arrays, len(x)),
        subject=who[0] if len(who) == 1 else "",
        notes=notes,
    )


def _laid(x: np.ndarray, called: str, key: str, labels: int | None, names: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """An array as (trials, channels, time), and what had to be assumed."""
    if x.ndim == 1:
        return x[None, None], ()
    if x.ndim == 2 and labels is not None and labels == len(x):
        return x[:, None], ()
    x = x if x.ndim == 3 else x[None]
    if names and names == x.shape[2] != x.shape[1]:
        return x.swapaxes(1, 2), (f"{called}: {key} holds time × channels, as the {names} names of channels show.",)
    if not names and x.shape[1] > x.shape[2]:
        return x, (
            f"{called}: {key} was read as {x.shape[1]} channels × {x.shape[2]} samples. If it is the other way round, "
            "transpose it, or name the channels in an array `channels`.",
        )
    return x, ()


def _name(arrays: Mapping[str, np.ndarray], usual: Sequence[str]) -> str | None:
    return next((name for word in usual for name in arrays if name.lower() == word), None)


def _texts(arrays: Mapping[str, np.ndarray], usual: Sequence[str]) -> tuple[str, ...]:
    name = _name(arrays, usual)
    return () if name is None else tuple(str(_label(value)) for value in np.atleast_1d(arrays[name]).ravel().tolist())


def _rate(texts: Sequence[str], called: str) -> float:
    try:
        rates = {float(text) for text in texts} or {0.0}
    except ValueError:
        rates = set()
    if len(rates) != 1 or not 0 <= min(rates) < float("inf"):
        raise DataError(f"{called} must state one sampling rate in Hz, not {', '.join(texts)}.")
    return rates.pop()


def _parts(arrays: Mapping[str, np.ndarray], trials: int) -> tuple[str, ...]:
    parts = [text.lower() for text in _texts(arrays, PART_NAMES)]
    return tuple(PARTS[part] for part in parts) if len(parts) == trials and set(parts) <= PARTS.keys() else ()


def _label(value: Any) -> Any:
    """A label as it is meant: bytes are text, whole numbers are whole, lists are several."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    if isinstance(value, float):
        return None if value != value else int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_label(entry) for entry in value]
    return value.strip() if isinstance(value, str) else value
