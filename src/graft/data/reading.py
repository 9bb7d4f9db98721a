"""How recordings are read, as a Task states it, and the trial that comes of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from graft.core.codec import from_dict
from graft.core.errors import DataError, PlanError, nearest
from graft.data import filters, recordings
from graft.data.layout import refuse
from graft.data.traces import Trace, converted, numbered, pack, picked, places, plain, shown, volts

MISSING = ("refuse", "mean")  # what is done about a channel that is not there
STANDARDS = ("none", "channel", "robust")


@dataclass(frozen=True)
class Reading:
    """How recordings become trials."""

    channels: tuple[str, ...] = ()  # that are used, in this order; none: all
    rate: float = 0.0  # Hz, of recordings that do not say theirs; 0: not known
    unit: str = ""  # of voltages: µV, mV, V; "": no recording says any
    window: float = 0.0  # seconds of a window; 0: the whole trial, or what the backbone takes
    overlap: float = 0.0  # seconds that two windows share
    band: tuple[float, float] = (0.0, 0.0)  # Hz that pass; 0: no limit on that side
    notch: float = 0.0  # Hz of the mains' hum, to be taken out; 0: nothing is
    resample: float = 0.0  # Hz that all are brought to; 0: their rate
    standardise: str = "none"  # each channel of each trial and window: none, channel (mean 0, deviation 1), robust
    missing: str = "refuse"  # a channel that a recording lacks: refuse, or mean (of the others)
    layout: str = ""  # of text tables: series (one a row) or channels (columns)
    label: str = ""  # the column that is no sample, in tables of series, where its name does not tell


def asked_for(asked: Mapping[str, Any], beside: Sequence[str]) -> Reading:
    """The reading that a person named, as far as they did.

    Args:
        beside: what else may be asked for.

    Raises:
        DataError: there is no such field, or its value cannot be.
    """
    known = [*beside, *(field.name for field in fields(Reading))]
    refuse(asked, known, "Signals have")
    try:
        reading = from_dict(Reading, _typed(asked))
    except PlanError as error:
        raise DataError(str(error)) from None
    if faults := faults_of(reading, STANDARDS, reading.standardise):
        raise DataError(f"What was asked for of the signals has {'; '.join(faults)}.")
    return reading


def _typed(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a person writes them ("C3,C4", "1,40", "250") in the types that a Reading has."""
    made: dict[str, Any] = {}
    for field in fields(Reading):
        value = asked.get(field.name)
        if value is None or value == "":
            continue
        several = "tuple" in str(field.type)
        number = "float" in str(field.type)
        parts = [part.strip() for part in value.split(",")] if several and isinstance(value, str) else value
        try:
            if several:
                made[field.name] = [float(part) if number else str(part) for part in parts]
            else:
                made[field.name] = float(value) if number else str(value)
        except (TypeError, ValueError):
            what = "numbers with commas between them" if several else "a number"
            raise DataError(f"{field.name}={value} cannot be read: it takes {what if number else 'names'}.") from None
    return made


def faults_of(noun: Any, scales: Sequence[str], scale: str) -> list[str]:
    """What cannot be in an Input or a Reading of signals: the fields that both have."""
    found = [
        f"a {name} of {value:g}"
        for name in ("rate", "window", "overlap", "longest", "notch", "resample")
        if not 0 <= (value := getattr(noun, name, 0.0)) < math.inf
    ]
    if noun.window and noun.overlap >= noun.window:
        found.append(f"windows of {noun.window:g} s that overlap by {noun.overlap:g} s")
    if len({plain(name) for name in noun.channels}) < len(noun.channels):
        found.append(f"a channel twice among {shown(noun.channels)}")
    if scale not in scales:
        found.append(f"the scale {scale!r}; there are {', '.join(scales)}.{nearest(scale, scales)}")
    if noun.missing not in MISSING:
        found.append(f"missing={noun.missing!r}; it is refuse or mean")
    if (unit := getattr(noun, "unit", "")) and not volts(unit):
        found.append(f"the unit {unit!r}, which is none of voltage (µV, mV, V)")
    low, high = getattr(noun, "band", (0.0, 0.0))
    if not (0 <= low < math.inf and 0 <= high < math.inf) or (low and high and low >= high):
        found.append(f"a band from {low:g} to {high:g} Hz")
    return found


def stated(reading: Reading) -> list[str]:
    """How recordings are read, where it is more than reading them."""
    said = [f"{len(reading.channels)} channels" if len(reading.channels) > 1 else "One channel"]
    said += [f"at {reading.resample or reading.rate:g} Hz"] if reading.rate else []
    said += [f"in {reading.unit}"] if reading.unit else []
    low, high = reading.band
    if low or high:
        limits = f"{low:g} to {high:g} Hz" if low and high else f"above {low:g} Hz" if low else f"below {high:g} Hz"
        said.append(f"band-passed {limits}")
    said += [f"{reading.notch:g} Hz taken out"] if reading.notch else []
    said += [f"standardised ({reading.standardise})"] if reading.standardise != "none" else []
    return [", ".join(said) + "."]


def handed(value: Any, reading: Reading) -> bytes:
    """A file's bytes; or channels × samples, alone or as "x" of a dict with "channels", "rate" and "unit".

    Raises:
        DataError: it is neither.
    """
    if isinstance(value, bytes):
        return value
    known = ("x", "channels", "rate", "unit")
    told = dict(value) if isinstance(value, Mapping) else {"x": value}
    if "x" not in told or not set(told) <= set(known):
        raise DataError(
            f"A trial handed over as a dict has {', '.join(known)}, not {shown([str(key) for key in told])}."
        )
    try:
        x = np.atleast_2d(np.array(told["x"], np.float64))
        rate = float(told.get("rate") or 0)
        names = tuple(str(name) for name in told.get("channels") or ())
    except (TypeError, ValueError, OverflowError):
        raise DataError("A trial is a file's bytes or numbers (channels × samples), each channel as long.") from None
    # Without names, as many channels as the task has are the task's, in its order.
    names = names or (reading.channels if len(reading.channels) == len(x) else numbered(len(x)))
    if x.ndim != 2 or len(names) != len(x) or not x.size or not 0 <= rate < np.inf:
        raise DataError(f"A trial of shape {x.shape} with {len(names)} channel names at {rate:g} Hz cannot be read.")
    return pack(Trace(x, names, rate, (str(told["unit"]),) * len(x) if told.get("unit") else ()))


def chosen(raw: bytes, reading: Reading) -> tuple[Trace, list[str]]:
    """A trial's channels, in their order and unit, gaps and all; and which of them are not in it, but were filled.

    Raises:
        DataError: it cannot be read, or lacks a channel.
    """
    trace = recordings.trace(raw, reading.channels, reading.layout)
    trace = replace(trace, x=trace.x.astype(np.float64), rate=trace.rate or reading.rate)
    wanted = reading.channels or trace.channels
    absent = [name for name, at in zip(wanted, places(wanted, trace.channels), strict=True) if at is None]
    # To one unit before anything is mixed of several channels.
    return picked(converted(trace, reading.unit), wanted, reading.missing), absent


def conditioned(trace: Trace, reading: Reading) -> Trace:
    """A trial without gaps, filtered, at its rate and on its scale: float32.

    Raises:
        DataError: nothing in it varies, it has more gaps than can be filled, or cannot be filtered as asked.
    """
    x = filters.filled(trace.x)[0]
    if filters.flat(x).all():
        what = "Every channel is" if len(x) > 1 else "It is"
        raise DataError(f"{what} constant: there is nothing in it to learn from, or to answer by.")
    x = filters.notch(x, trace.rate, reading.notch)
    x = filters.band(x, trace.rate, *reading.band)
    rate = (reading.resample or reading.rate) if trace.rate else 0.0
    x = filters.resampled(x, trace.rate, rate) if rate else x
    return replace(trace, x=np.ascontiguousarray(filters.scaled(x, reading.standardise), np.float32), rate=rate)
