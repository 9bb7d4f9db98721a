"""Recordings in EDF, EDF+ and BDF files (Kemp & Olivan 2003), read with edfio."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graft.core.errors import DataError
from graft.data.filters import resampled
from graft.data.traces import File, Trace, places, shown, span, unique

EDF, BDF = b"0       ", b"\xffBIOSEMI"  # how the files begin
HIDDEN = ("", "x", "unknown", "anonymous", "anonymized")  # patient codes that name nobody


def opened(source: Path | bytes) -> File:
    """An EDF or BDF file, its samples read when they are cut.

    Channels of another sampling rate than most are left out, unless they are asked for by name.

    Raises:
        DataError: it is cut short, damaged, interrupted (EDF+D), or its numbers have no scale.
    """
    called = "The file" if isinstance(source, bytes) else str(source)
    whole = _whole(source, called)
    try:
        if whole < (
            len(source) if isinstance(source, bytes) else source.stat().st_size
        ):  # what stands behind is not its
            source = (source if isinstance(source, bytes) else source.read_bytes())[:whole]
        recording = _read(source)
        return _file(recording, called)
    except DataError:
        raise
    except Exception as error:  # a damaged header fails in whatever its bytes happen to spell
        raise DataError(f"{called} is a damaged EDF: {error}.") from None


def _read(source: Path | bytes) -> Any:
    import edfio

    # Headers should be ASCII, but many say µV: in Latin-1.
    if isinstance(source, bytes):
        read = edfio.read_bdf if source.startswith(BDF) else edfio.read_edf
        return read(source, header_encoding="latin-1")
    with source.open("rb") as file:
        read = edfio.read_bdf if file.read(8) == BDF else edfio.read_edf
    return read(source, header_encoding="latin-1")


def _whole(source: Path | bytes, called: str) -> int:
    """How many bytes the header promises; a file that holds fewer is refused: edfio would mend it, and warn."""
    if isinstance(source, bytes):
        head, size = source[: 256 * 4097], len(source)
    else:
        with source.open("rb") as file:
            head, size = file.read(256 * 4097), source.stat().st_size
    try:
        count, records = int(head[252:256]), int(head[236:244])
        if not 0 < count <= 4096 or int(head[184:192]) != 256 * (count + 1):
            raise ValueError(f"{count} channels")
        samples = sum(int(head[256 + 216 * count + 8 * i :][:8]) for i in range(count))
    except ValueError as error:
        raise DataError(f"{called} is a damaged EDF: its header cannot be read ({error}).") from None
    expected = 256 * (count + 1) + max(records, 0) * samples * (3 if head.startswith(BDF) else 2)
    if records < 1 or size < expected:
        promised = f"{records} data records ({expected} bytes)" if records > 0 else "no data records"
        raise DataError(f"{called} is cut short or was never closed: its header promises {promised}, it has {size}.")
    return expected


def _file(recording: Any, called: str) -> File:
    signals = recording.signals
    names = unique([signal.label for signal in signals])
    if not signals:
        raise DataError(f"{called} holds annotations but no signals.")
    if recording.reserved.startswith(("EDF+D", "BDF+D")) and not recording.is_continuous:
        raise DataError(f"{called} is interrupted (EDF+D): save its stretches as files of their own.")
    for signal in signals:
        if not signal.digital_max > signal.digital_min or signal.physical_max == signal.physical_min:
            raise DataError(
                f"{called}: the numbers of {signal.label} have no scale (their range in the header is empty)."
            )
    rates = Counter(round(signal.sampling_frequency, 6) for signal in signals)
    rate = max(rates, key=lambda one: (rates[one], one))
    usual = [i for i, signal in enumerate(signals) if round(signal.sampling_frequency, 6) == rate]
    seconds = float(recording.duration)

    def cut(where: int | tuple[float, float] | None = None, wanted: Sequence[str] = (), assumed: float = 0.0) -> Trace:
        at = [i for i in places(wanted, names) if i is not None] or usual
        chosen = [signals[i] for i in at]
        most = max(signal.sampling_frequency for signal in chosen)
        start, stop = where if isinstance(where, tuple) else (0.0, seconds)
        if not 0 <= start < stop <= seconds + 1e-6 or (isinstance(where, int) and where):
            raise DataError(f"{called} lasts {seconds:g} s: it has no stretch from {start:g} to {stop:g} s.")
        rows = []
        for signal in chosen:
            own = signal.sampling_frequency
            first, last = span(start, min(stop, seconds), own)
            row = signal.get_data_slice(first / own, min(last / own, seconds))
            rows.append(row if own == most else resampled(row, own, most))
        least = min(len(row) for row in rows)
        x = np.stack([row[:least] for row in rows]).astype(np.float32)
        return Trace(x, tuple(names[i] for i in at), float(most), tuple(s.physical_dimension for s in chosen))

    lasting = [note for note in recording.annotations if note.duration]
    spans = [(note.onset, note.onset + note.duration, note.text.strip()) for note in lasting]
    within = tuple(one for one in spans if 0 <= one[0] < one[1] <= seconds + 1e-6)
    notes = []
    if others := tuple(name for i, name in enumerate(names) if i not in usual):
        notes.append(
            f"{called}: {shown(others)} left out: sampled at another rate than the {len(usual)} channels at {rate:g} "
            "Hz. Name channels= to have them."
        )
    if recording.annotations and not lasting:
        notes.append(f"{called}: {len(recording.annotations)} annotations without a duration, which mark no trials.")
    if beyond := len(spans) - len(within):
        notes.append(f"{called}: {beyond} annotations reach beyond the recording, and are left out.")
    return File(
        tuple(names[i] for i in usual),
        cut,
        float(rate),
        tuple(signals[i].physical_dimension for i in usual),
        seconds=seconds,
        others=others,
        spans=within,
        subject=_patient(recording),
        notes=tuple(notes),
    )


def _patient(recording: Any) -> str:
    """The patient's code, where the header has one."""
    code = (recording.local_patient_identification.split() or [""])[0].strip()
    return "" if code.casefold() in HIDDEN else code
