"""Signals: EEG, EMG, ECG, vibration. Trials of channels × time, matched by channel name, cut into windows.

Filters run forwards and backwards, so that nothing is delayed. A channel that is not there is refused, or filled with
the mean of the others where that was asked for: it is never silently zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from graft.core.codec import from_dict, to_dict
from graft.core.errors import DataError, PlanError, nearest
from graft.data import batches, filters, glance, hiding, montage, recordings, series, trials
from graft.data.arrays import SUBJECTS, recorded
from graft.data.layout import Found
from graft.data.reading import Reading, asked_for, chosen, conditioned, faults_of, handed, stated
from graft.data.traces import Trace, picked, places, shown

if TYPE_CHECKING:
    from torch import nn

WORD = ("trial", "trials")
SUFFIXES = (".edf", ".bdf", ".npz", ".npy")  # by which a folder is told to hold signals; text tables are read too
VERSION = f"1, scipy {scipy.__version__}"  # of what `decode`, `prepare` and `vary` compute
RAGGED, ROWS, VIEWS, GROUPED = True, 32, (4, 2), SUBJECTS
pieces = hiding.traced
claims = series.claimed  # whether a table's rows are such examples
holds = recorded  # whether a file that may hold a table too holds such examples
COLUMNS = ("path", "group", "time", "start", "stop", "duration")  # what may be asked for beside the fields of Reading
TAIL = 0.05  # share of a window that may be left over at a trial's end: rates that do not divide leave a sample or two
GAIN = 1.25  # a view's amplitudes differ at most by this factor: electrodes do by more
SHIFT = 0.05  # of a trial's length, the furthest that a view is rolled
NOISE = 0.05  # standard deviation of a view's noise, in that of its channel: well below what the signals hold
DROP = 0.1  # share of a view's channels that fall silent, where there are several


@dataclass(frozen=True)
class Input:
    """What a backbone is fed: windows of channels × samples."""

    channels: tuple[str, ...] = ()  # in its order; none: those of the data
    rate: float = 0.0  # Hz; 0: that of the data
    window: float = 0.0  # seconds (samples, at a rate that is not known); 0: as long as the data's trials
    longest: float = 0.0  # seconds, the most that a window has which the data's trials set; 0: any
    overlap: float = 0.0  # seconds that two windows share
    scale: str = "none"  # of each window's channels: none, channel (mean 0, deviation 1), robust, rank (-1 … 1)
    mean: tuple[float, ...] = ()  # of each channel, taken off; none: nothing is
    std: tuple[float, ...] = ()  # of each channel, divided by
    missing: str = "refuse"  # a channel that the data lack: refuse, or mean (of the others)


def parse(raw: Mapping[str, Any]) -> Input:
    """A backbone's input.

    Raises:
        PlanError: fields that are unknown or out of range, all of them.
    """
    input = from_dict(Input, dict(raw))
    faults = faults_of(input, filters.SCALES, input.scale)
    for name, values in (("mean", input.mean), ("std", input.std)):
        if values and len(values) != len(input.channels):
            faults.append(f"{len(values)} values of {name} for {len(input.channels)} channels")
    if input.std and not min(input.std) > 0:
        faults.append(f"a std of {min(input.std)}")
    if faults:
        raise PlanError(f"The backbone's input has {'; '.join(faults)}.")
    return input


def find(place: Path, asked: Mapping[str, Any], labelled: bool = True) -> Found:
    """Trials in .npz, .npy, EDF, BDF and text files that carry labels, in class folders, or named by a table.

    Raises:
        DataError: nothing is there, it has no labels, or something was asked for that cannot be.
    """
    reading = asked_for(asked, COLUMNS)
    made = trials.find(place, asked, labelled)
    files = trials.everything(made)
    own = (reading.channels, reading.rate, reading.resample, reading.unit, reading.missing)
    alike = montage.common(files, *own)
    made.found.notes += alike.notes
    kept = [row for row in made.found.rows if trials.file_of(row.item) not in alike.lacking]
    made.found.skipped += [(path, f"it has no channel {shown(lost)}") for path, lost in alike.lacking.items()]
    if not kept:
        raise DataError(f"No recording in {place} has all of the channels {shown(reading.channels)}.")
    made.found.rows = kept
    settled = replace(
        reading,
        channels=alike.channels,
        rate=alike.rate,
        resample=alike.resample,
        unit=alike.unit,
        layout=reading.layout or made.layout,
        label=str(asked.get("label") or "") if made.layout == "series" else "",
    )
    made.found.notes += stated(settled)
    made.found.reading = to_dict(settled)
    return made.found


def fetch(item: str, reading: Reading) -> bytes:
    """A file's bytes; of one trial of several, that trial packed."""
    return recordings.fetched(item, reading.channels, reading.rate, reading.layout, reading.label)


def given(value: Any, reading: Reading) -> bytes:
    """A file's bytes; or channels × samples, alone or as "x" of a dict with "channels", "rate" and "unit".

    Raises:
        DataError: it is neither.
    """
    return handed(value, reading)


def look(raw: bytes, reading: Reading) -> glance.Look:
    """What a trial shows at a glance: its length, a hash of its envelope, and what is odd.

    Raises:
        DataError: as `decode` does, or nothing in it varies.
    """
    trace, absent = chosen(raw, reading)
    conditioned(trace, reading)  # what cannot be filtered as asked is known now
    x, gaps = filters.filled(trace.x)
    return glance.look(replace(trace, x=x), gaps, absent, reading.unit, reading.notch)


def decode(raw: bytes, reading: Reading, input: Input | None = None) -> Trace:
    """A trial, float32: its channels chosen, converted to one unit, filtered, resampled and standardised as stated.

    Raises:
        DataError: it is damaged, lacks a channel, holds gaps or infinite values, or cannot be filtered as asked.
    """
    return conditioned(chosen(raw, reading)[0], reading)


def prepare(example: Trace, input: Input) -> dict[str, np.ndarray]:
    """A trial's windows, its channels in the backbone's order and at its rate; a short one is filled up with its mean.

    Shape: x float32 (windows, channels, samples).

    Raises:
        PlanError: the trial lacks a channel that the backbone wants, or its rate is not known.
    """
    try:
        trace = picked(example, input.channels or example.channels, input.missing)
    except DataError as error:
        raise PlanError(f"The backbone cannot hear this: {error}") from None
    if input.rate and not trace.rate:
        raise PlanError(f"The backbone hears {input.rate:g} Hz; the trial's rate is not known: name it with rate=.")
    x = filters.resampled(trace.x, trace.rate, input.rate) if input.rate else trace.x
    width, count = _samples(input, x.shape[-1]), x.shape[-1]
    hop = max(1, width - round(input.overlap * (input.rate or trace.rate or 1.0)))
    starts = [*range(0, count - width + 1, hop)] or [0]
    if count - (starts[-1] + width) > TAIL * width:
        starts.append(count - width)  # the last window reaches back, so that the trial's end is heard too
    windows = [filters.scaled(x[:, at : at + width], input.scale) for at in starts]
    if count < width:
        windows = [np.pad(windows[0], ((0, 0), (0, width - count)), mode="mean")]
    return {"x": np.stack(windows).astype(np.float32)}


def vary(example: Trace, input: Input, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """An augmented view: louder or softer, rolled a little, slightly noisy, a channel perhaps silent.

    Shape: x float32 (windows, channels, samples).
    """
    channels, count = example.x.shape
    centre, spread = example.x.mean(1, keepdims=True), example.x.std(1, keepdims=True)
    x = (example.x - centre) * GAIN ** rng.uniform(-1, 1)
    x = np.roll(x, int(rng.integers(-int(SHIFT * count), int(SHIFT * count) + 1)), axis=1)
    x += NOISE * rng.uniform() * spread * rng.standard_normal(x.shape, np.float32)
    silent = rng.random((channels,)) < DROP
    if channels > 1 and not silent.all():
        x[silent] = 0
    return prepare(replace(example, x=(x + centre).astype(np.float32)), input)


def example(input: Input, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random prepared trials of one, two, three … windows.

    Shape: x float32 (windows of all, channels, samples); length int64 (n,).
    """
    length = 1 + np.arange(n, dtype=np.int64) % 3
    shape = (int(length.sum()), max(1, len(input.channels)), _samples(input, 128))
    return {"x": rng.standard_normal(shape, np.float32), "length": length}


def suited(input: Mapping[str, Any], reading: Reading, examples: Iterable[Trace]) -> dict[str, Any]:
    """The input with what the backbone leaves open set from the task: channels, rate, window, and each channel's range.

    Raises:
        PlanError: the data lack channels that the backbone wants, or their rate is not known.
    """
    told = parse(input)
    if reading.missing == "mean":  # what a person asked for of recordings holds of a backbone's channels too
        told = replace(told, missing="mean")
    if fault := missing(told, reading):
        raise PlanError(fault)
    channels = told.channels or reading.channels
    rate = told.rate or reading.resample or reading.rate
    scale = reading.standardise if told.scale == "none" and not (told.mean or told.std) else told.scale
    lengths, total, squares, count = [], np.zeros(len(channels)), np.zeros(len(channels)), 0
    for trace in examples:
        x = picked(trace, channels, told.missing).x.astype(np.float64)
        lengths.append(x.shape[1] / (trace.rate or 1.0))
        total, squares, count = total + x.sum(1), squares + (x**2).sum(1), count + x.shape[1]
    window = told.window or reading.window or (float(np.median(lengths)) if lengths else 0.0)
    if not told.window and told.longest:
        window = min(window, told.longest)
    made = replace(
        told, channels=channels, rate=rate, window=window, overlap=told.overlap or reading.overlap, scale=scale
    )
    if not (told.mean or told.std) and scale == "none" and count:
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        std = np.where(std > 1e-9 * np.abs(mean), std, 1.0)  # a channel that never varies
        made = replace(made, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    if made.window and made.overlap >= made.window:
        raise PlanError(
            f"Windows of {made.window:g} s cannot overlap by {made.overlap:g} s: choose less than the window."
        )
    return dict(to_dict(made))


def missing(input: Input, reading: Reading) -> str:
    """Why a backbone cannot hear what a task records, and what can be done; "" where it can."""
    if input.rate and not (reading.resample or reading.rate):
        return (
            f"The backbone hears signals at {input.rate:g} Hz, but the recordings do not say their sampling rate: "
            "name it, in Hz, with rate=."
        )
    at = places(input.channels, reading.channels)
    lost = [name for name, i in zip(input.channels, at, strict=True) if i is None]
    if not lost or (input.missing == "mean" and len(lost) < len(at)):
        return ""
    near = nearest(lost[0], reading.channels, say="Is it")
    return (
        f"The backbone hears the channels {shown(input.channels)}; the recordings have no {shown(lost)}.{near} "
        f"They have {shown(reading.channels)}: name those to use with channels=, or fill absent ones with missing=mean."
    )


def remarks(input: Input, reading: Reading, examples: Iterable[Trace]) -> list[str]:
    """Which of the backbone's channels the recordings lack, and how that is handled."""
    lost = [
        name for name, at in zip(input.channels, places(input.channels, reading.channels), strict=True) if at is None
    ]
    return [f"The recordings have no {shown(lost)}: the mean of the others is fed instead."] if lost else []


def ship(examples: Sequence[Mapping[str, np.ndarray]], input: Input) -> dict[str, np.ndarray]:
    """Prepared trials as one batch: their windows behind one another, and which are whose."""
    return batches.windows(examples)


def smaller(input: Mapping[str, Any]) -> dict[str, Any]:
    """The same: at a lower rate, what tells the classes apart may be lost."""
    return dict(input)


def front(input: Input) -> "nn.Module":
    """Each channel's mean taken off and its deviation divided by, where the input states them."""
    import torch
    from torch import nn

    from graft.model.network import Affine

    if not (input.mean or input.std):
        return nn.Identity()
    channels = len(input.channels)
    mean, std = (
        torch.tensor(values, dtype=torch.float64).view(1, channels, 1)
        for values in (input.mean or (0.0,) * channels, input.std or (1.0,) * channels)
    )
    return Affine((1 / std).float(), (-mean / std).float())


def schema(input: Input) -> dict[str, dict[str, Any]]:
    """What the exported network takes."""
    hertz = f" at {input.rate:g} Hz" if input.rate else ""
    what = f"windows of {input.window:g} s{hertz}, channels {shown(input.channels)}; scale {input.scale}"
    return {
        "x": {"dtype": "float32", "shape": ["windows", len(input.channels), _samples(input, 0)], "what": what},
        "share": {
            "dtype": "float32",
            "shape": ["batch", "windows"],
            "what": "1 ÷ the number of a trial's windows where a window is the trial's, 0 elsewhere",
        },
    }


def _samples(input: Input, otherwise: int) -> int:
    return max(1, round(input.window * (input.rate or 1.0))) if input.window else otherwise
