"""What a recorded trial shows at a glance: how long it is, a hash of its envelope, and what is odd about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graft.data import filters
from graft.data.traces import Trace, shown, volts

BITS = 64
PLAUSIBLE = (1e-8, 0.05)  # volts: typical deviations of what electrodes record, from quiet scalps to hearts and muscles
CLIPPED = 0.02  # share of a channel's samples at its very top or bottom, from which it looks clipped
LEVELS = 16  # values that a channel must have before its top and bottom say anything
MAINS = (50.0, 60.0)  # Hz
HUM = 30.0  # times what lies beside it: a hum that dominates a channel


@dataclass(frozen=True)
class Look:
    """What a trial shows at a glance."""

    channels: int
    samples: int
    rate: float  # Hz; 0: not known
    hash: (
        int  # 64 bits of the envelope: copies that were scaled, shifted or resampled differ in few; 0 where it is flat
    )
    notes: tuple[str, ...] = ()  # what is odd, to be read behind "3 of 40 are …"


def look(trace: Trace, gaps: np.ndarray, absent: Sequence[str], unit: str, notch: float) -> Look:
    """A trial at a glance.

    Args:
        gaps: samples of each channel that were missing.
        absent: channels that were filled with the mean of the others.
        unit: of voltages: what values are held to be in.
        notch: Hz of a hum that is taken out anyway.
    """
    x, spread, flat = trace.x, trace.x.std(1), filters.flat(trace.x)
    notes = []
    if flat.any():
        notes.append(f"flat in {shown([trace.channels[i] for i in np.flatnonzero(flat)], 4)}")
    if gaps.any():
        notes.append("with gaps: missing samples (NaN), drawn straight between their neighbours")
    if absent:
        notes.append(f"without {shown(absent, 4)}: filled with the mean of the other channels")
    if _clipped(x[~flat]):
        notes.append("clipped: many samples lie at the very top or bottom")
    if odd := _scale(trace, spread, flat, unit):
        notes.append(odd)
    hums = [frequency for frequency in MAINS if frequency != notch and _hums(trace, flat, frequency)]
    notes += [f"under a hum of {frequency:g} Hz (notch={frequency:g} takes it out)" for frequency in hums]
    return Look(len(x), x.shape[1], trace.rate, _hash(x[~flat]), tuple(notes))


def _hash(x: np.ndarray) -> int:
    """Where the envelope rises, over 65 stretches of a trial."""
    if x.shape[1] < BITS + 1:
        return 0
    z = (x - np.median(x, 1, keepdims=True)) / x.std(1, keepdims=True)
    energy = np.concatenate([[0.0], np.cumsum(np.sort(z**2, 0).sum(0))])  # sorted: whatever order channels stand in
    edges = np.linspace(0, x.shape[1], BITS + 2)
    each = np.diff(np.interp(edges, np.arange(len(energy)), energy))
    bits = np.packbits(each[1:] > each[:-1])
    return int.from_bytes(bits.tobytes(), "big")


def _clipped(x: np.ndarray) -> bool:
    for row in x:
        ends = (row == row.max()).mean(), (row == row.min()).mean()
        if max(ends) > CLIPPED and len(np.unique(row)) > LEVELS:
            return True
    return False


def _scale(trace: Trace, spread: np.ndarray, flat: np.ndarray, unit: str) -> str:
    """A unit that is a million times off: volts read as microvolts, or the other way round."""
    own = [volts(u) or volts(unit) for u in trace.units] if trace.units else [volts(unit)] * len(spread)
    size = spread * np.array(own)
    electric = ~flat & (size > 0) & np.array([not u or bool(volts(u)) for u in trace.units or ("",) * len(spread)])
    if not unit or not electric.any():
        return ""
    typical = float(np.median(size[electric]))
    if typical < PLAUSIBLE[0]:
        return f"far too small for {unit}: are the values in V? Name their unit"
    return f"far too large for {unit}: are the values in µV? Name their unit" if typical > PLAUSIBLE[1] else ""


def _hums(trace: Trace, flat: np.ndarray, frequency: float) -> bool:
    """Whether one frequency stands far out of what lies beside it, in most channels."""
    x = trace.x[~flat]
    if trace.rate <= 2 * (frequency + 4) or x.shape[1] < trace.rate:
        return False
    power = np.abs(np.fft.rfft((x - x.mean(1, keepdims=True)) * np.hanning(x.shape[1]))) ** 2
    away = np.abs(np.fft.rfftfreq(x.shape[1], 1 / trace.rate) - frequency)
    beside = power[:, (away > 2) & (away < 4)].mean(1)
    return bool(np.median(power[:, away <= 1].mean(1) > HUM * beside) > 0.5)
