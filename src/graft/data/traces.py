"""Traces: what electrodes and sensors record, channels × samples; their names, their units, and their bytes."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graft.core.errors import DataError, nearest

MAGIC = b"graft trace 1\n"  # then a line of JSON, then the samples, little-endian, channel by channel
VOLTS = {
    **dict.fromkeys(("v", "volt", "volts"), 1.0),
    **dict.fromkeys(("mv", "millivolt", "millivolts"), 1e-3),
    **dict.fromkeys(("uv", "\u00b5v", "\u03bcv", "microvolt", "microvolts"), 1e-6),  # micro sign, Greek mu
    **dict.fromkeys(("nv", "nanovolt", "nanovolts"), 1e-9),
}
ALIASES = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8", "mlii": "ii"}  # older electrode names, a Holter's lead II


@dataclass(frozen=True)
class Trace:
    """One stretch of a recording.

    Shape: x (channels, samples).
    """

    x: np.ndarray
    channels: tuple[str, ...]
    rate: float = 0.0  # Hz; 0: not known
    units: tuple[str, ...] = ()  # of each channel; "" where nothing says


@dataclass(frozen=True)
class File:
    """What a file says of itself, and the way to its samples."""

    channels: tuple[str, ...]
    cut: Callable[..., Trace]  # (a trial's number, a (start, stop) in seconds or None for all; channels; rate)
    rate: float = 0.0  # Hz; 0: it does not say
    units: tuple[str, ...] = ()
    trials: int = 1
    seconds: float = 0.0  # how long one recording is; at a rate that is not known: how many samples
    labels: tuple[Any, ...] = ()  # of the trials; empty: it holds none
    groups: tuple[str, ...] = ()  # of the trials
    parts: tuple[str, ...] = ()  # of the trials
    others: tuple[str, ...] = ()  # channels that are read only when they are asked for
    spans: tuple[tuple[float, float, str], ...] = ()  # annotated stretches: start and stop in seconds, text
    subject: str = ""
    names: tuple[str, ...] = ()  # of the columns that a label can stand in
    notes: tuple[str, ...] = ()


def pack(trace: Trace) -> bytes:
    """A trace as bytes; the same trace, the same bytes."""
    x = np.ascontiguousarray(trace.x)
    x = x.astype(x.dtype.newbyteorder("<"), copy=False)
    head = {
        "channels": list(trace.channels),
        "dtype": x.dtype.str,
        "rate": trace.rate,
        "shape": list(x.shape),
        "units": list(trace.units),
    }
    return MAGIC + json.dumps(head, sort_keys=True).encode() + b"\n" + x.tobytes()


def unpack(raw: bytes) -> Trace:
    """What `pack` packed.

    Raises:
        DataError: it is cut short or damaged.
    """
    try:
        end = raw.index(b"\n", len(MAGIC))
        head = json.loads(raw[len(MAGIC) : end])
        x = np.frombuffer(raw, head["dtype"], offset=end + 1).reshape(head["shape"])
        return Trace(x, tuple(head["channels"]), float(head["rate"]), tuple(head["units"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"This trial is cut short or damaged: {error}.") from None


def numbered(count: int) -> tuple[str, ...]:
    """Names for channels that have none: 1, 2, …"""
    return tuple(str(number) for number in range(1, count + 1))


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """The names, numbered where one comes again, so that each channel can be told."""
    seen: Counter[str] = Counter()
    made = []
    for name in names:
        seen[plain(name)] += 1
        made.append(name if seen[plain(name)] == 1 else f"{name} ({seen[plain(name)]})")
    return tuple(made)


def plain(name: str) -> str:
    """A channel's name without what recorders write around it: "EEG Fp1-REF", "Fp1." and "FP1" are one electrode."""
    short = re.sub(r"^(eeg|ecg|ekg|emg|eog|lead)[ _:]+", "", " ".join(name.casefold().split()))
    short = re.sub(r"[-_ ](ref|reference|le|avg)$", "", short).strip(" .")
    return ALIASES.get(short, short)


def places(wanted: Sequence[str], channels: Sequence[str]) -> list[int | None]:
    """Where each of the wanted channels stands; None where it does not.

    One channel that is wanted of one that there is needs no name.
    """
    if len(wanted) == len(channels) == 1:
        return [0]
    exact = {name: at for at, name in reversed(list(enumerate(channels)))}
    loose = {plain(name): at for at, name in reversed(list(enumerate(channels)))}
    return [exact[name] if name in exact else loose.get(plain(name)) for name in wanted]


def picked(trace: Trace, wanted: Sequence[str], missing: str = "refuse") -> Trace:
    """The wanted channels of a trace, in their order, whatever order they stand in.

    Args:
        missing: of a channel that is not there, or holds no value: "refuse", or "mean": filled with the mean of the
            wanted channels that are there.

    Raises:
        DataError: it is to be refused, or none is there.
    """
    named = places(wanted, trace.channels)
    at = [None if i is None or np.isnan(trace.x[i]).all() else i for i in named]
    if None not in at:
        order = np.array(at, np.intp)
        units = tuple(trace.units[i] for i in order) if trace.units else ()
        return replace(trace, x=trace.x[order], channels=tuple(wanted), units=units)
    there = [i for i in at if i is not None]
    if missing == "refuse" or not there:
        absent = [name for name, i in zip(wanted, named, strict=True) if i is None]
        raise DataError(
            _lost(absent or [name for name, i in zip(wanted, at, strict=True) if i is None], trace, not absent)
            + (" Fill absent channels with the mean of the others by missing=mean." if there else "")
        )
    mean = trace.x[there].mean(0)
    units = tuple("" if i is None else trace.units[i] for i in at) if trace.units else ()
    if trace.units:  # a mean has the unit of what it is the mean of
        units = tuple(trace.units[there[0]] if i is None else unit for i, unit in zip(at, units, strict=True))
    x = np.stack([mean if i is None else trace.x[i] for i in at])
    return replace(trace, x=x, channels=tuple(wanted), units=units)


def _lost(names: Sequence[str], trace: Trace, silent: bool) -> str:
    if silent:
        return f"There are no values in {shown(names, 8)}: all samples are missing (NaN)."
    near = nearest(names[0], trace.channels, say="Is it")
    return f"There is no {shown(names, 8)} in this recording, whose channels are {shown(trace.channels)}.{near}"


def volts(unit: str) -> float:
    """How many volts a unit is; 0 where it is none of voltage."""
    return VOLTS.get(unit.strip().removeprefix("Â").casefold(), 0.0)


def converted(trace: Trace, unit: str) -> Trace:
    """The voltages of a trace in another unit; channels that measure something else, or do not say, stay."""
    factors = np.array([volts(own) / volts(unit) if volts(own) and volts(unit) else 1.0 for own in trace.units])
    units = tuple(unit if volts(own) else own for own in trace.units)
    if (factors == 1).all():
        return replace(trace, units=units)
    return replace(trace, x=trace.x * factors[:, None], units=units)


def fragment(item: str) -> tuple[str, int | tuple[float, float] | None]:
    """An item's file, and which part of it: "path#3" the fourth trial, "path#t=1.5,4" a stretch in seconds."""
    if found := re.fullmatch(r"(.+)#(\d+)", item, re.DOTALL):
        return found[1], int(found[2])
    if found := re.fullmatch(r"(.+)#t=([\d.e+-]+),([\d.e+-]+)", item, re.DOTALL):
        return found[1], (float(found[2]), float(found[3]))
    return item, None


def span(start: float, stop: float, rate: float) -> tuple[int, int]:
    """First and last-but-one sample of a stretch; stretches of one duration have one number of samples."""
    first = round(start * (rate or 1.0))
    return first, first + round((stop - start) * (rate or 1.0))


def shown(names: Sequence[str], most: int = 12) -> str:
    """Names for a sentence."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
