"""Recordings of known structure for tests and examples: what tells their classes apart is written here.

EEG: eyes closed have ten times the power at 10 Hz in the channels at the back of the head. ECG: hearts beat 60 to 75 or
100 to 120 times a minute. EMG: a gesture is which of four muscles is active.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

CHANNELS = ("Fz", "C3", "Cz", "C4", "Pz", "O1", "Oz", "O2")
BACK = ("Pz", "O1", "Oz", "O2")  # where eyes that are closed show
RATE = 128.0  # Hz, of the EEG
CLOSED = np.sqrt(10.0)  # amplitude of the alpha rhythm with eyes closed, in that with eyes open
GESTURES = ("rest", "fist", "spread", "wave")


def pink(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Noise whose power falls with frequency, as that of the resting brain does: standard deviation about 1."""
    spectrum = np.fft.rfft(rng.standard_normal(shape))
    spectrum /= np.sqrt(np.maximum(np.arange(spectrum.shape[-1]), 1))
    noise = np.fft.irfft(spectrum, shape[-1])
    return noise / noise.std()


def eeg(closed: np.ndarray, rng: np.random.Generator, seconds: float = 2.0, alpha: float = 3.0) -> np.ndarray:
    """Trials of EEG in µV, (trials, 8, time): noise that neighbours share, and a 10 Hz rhythm at the back."""
    count = round(seconds * RATE)
    noise = 10 * pink((len(closed), len(CHANNELS), count), rng)
    mixed = noise + 0.5 * np.roll(noise, 1, axis=1)
    time = np.arange(count) / RATE
    phase = rng.uniform(0, 2 * np.pi, (len(closed), 1, 1))
    size = alpha * np.where(closed, CLOSED, 1.0)[:, None, None] * np.isin(CHANNELS, BACK)[None, :, None]
    return mixed + np.sqrt(2) * size * np.sin(2 * np.pi * rng.uniform(9.5, 10.5, phase.shape) * time + phase)


def ecg(fast: np.ndarray, rng: np.random.Generator, seconds: float = 6.0, rate: float = 250.0) -> np.ndarray:
    """Trials of one lead in mV, (trials, 1, time): P, QRS and T as bumps, again and again."""
    time = np.arange(round(seconds * rate)) / rate
    trials = 0.02 * rng.standard_normal((len(fast), 1, len(time)))
    for trial, is_fast in zip(trials, fast, strict=True):
        period = 60 / rng.uniform(*((100, 120) if is_fast else (60, 75)))
        for beat in np.arange(rng.uniform(-period, 0), seconds + period, period):
            for at, height, width in ((-0.16, 0.12, 0.025), (0.0, 1.0, 0.012), (0.03, -0.2, 0.01), (0.22, 0.25, 0.04)):
                trial += height * np.exp(-(((time - beat - at) / width) ** 2) / 2)
    return trials


def emg(gesture: np.ndarray, rng: np.random.Generator, seconds: float = 0.5, rate: float = 1000.0) -> np.ndarray:
    """Trials of four muscles in mV, (trials, 4, time): noise, eight times as strong where the gesture needs it."""
    noise = 0.02 * rng.standard_normal((len(gesture), 4, round(seconds * rate)))
    active = np.array([(0, 0, 0, 0), (1, 1, 0, 0), (0, 0, 1, 1), (1, 0, 1, 0)])[gesture]
    return noise * (1 + 7 * active[:, :, None])


def signals(folder: Path, subjects: int = 6, trials: int = 20, seed: int = 0, hum: float = 20.0) -> Path:
    """`folder` with one .npz of EEG per subject: X, y ("open" or "closed"), channels, rate, unit and subject.

    What differs between subjects and says nothing of the class: the order of the channels, the gain (0.6 to 1.6), the
    offset of each channel, and the unit: every other subject is in V. All are under a hum of 50 Hz.

    Args:
        trials: of each subject, half of each class.
        hum: its amplitude in µV.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for subject in range(subjects):
        closed = rng.permutation(np.arange(trials) % 2 == 1)
        x = eeg(closed, rng)
        time = np.arange(x.shape[2]) / RATE
        x += hum * np.sin(2 * np.pi * 50 * time + rng.uniform(0, 2 * np.pi, (trials, 1, 1)))
        x = x * 1.6 ** rng.uniform(-1, 1) + rng.uniform(-100, 100, (1, len(CHANNELS), 1))
        order = rng.permutation(len(CHANNELS))
        in_volts = subject % 2 == 1
        np.savez(
            folder / f"s{subject:02}.npz",
            X=(x[:, order] * (1e-6 if in_volts else 1)).astype(np.float32),
            y=np.where(closed, "closed", "open"),
            channels=np.array(CHANNELS)[order],
            rate=RATE,
            unit="V" if in_volts else "uV",
            subject=f"s{subject:02}",
        )
    return folder


def edf(
    path: Path,
    x: np.ndarray,
    rate: int,
    channels: Sequence[str],
    units: Sequence[str],
    annotations: Sequence[tuple[float, float, str]] = (),
    patient: str = "X X X X",
    kind: str = "EDF+C",
) -> Path:
    """An EDF+ file as its specification has it (https://www.edfplus.info), in records of one second.

    Args:
        x: (channels, whole seconds of samples), in `units`.
        annotations: start and duration in seconds, text.
    """
    records = x.shape[1] // rate
    notes = [[] for _ in range(records)]
    for start, duration, text in annotations:
        notes[min(int(start), records - 1)].append(f"+{start:g}\x15{duration:g}\x14{text}\x14\0")
    lists = [f"+{second}\x14\x14\0".encode() + "".join(texts).encode() for second, texts in enumerate(notes)]
    room = (max(map(len, lists)) + 1) // 2  # in samples of two bytes
    low, high = x.min(1) - 1e-3, x.max(1) + 1e-3
    count = len(channels) + 1

    def column(width: int, values: Sequence[object]) -> str:
        return "".join(f"{value!s:<{width}}"[:width] for value in values)

    head = f"{'0':<8}{patient:<80}{'Startdate 01-JAN-2020 X X X':<80}01.01.2000.00.00{256 * (count + 1):<8}{kind:<44}"
    head += f"{records:<8}{1:<8}{count:<4}"
    head += column(16, [*channels, "EDF Annotations"]) + column(80, [""] * count) + column(8, [*units, ""])
    lows, highs = [f"{value:.5g}" for value in low], [f"{value:.5g}" for value in high]
    head += column(8, [*lows, -1]) + column(8, [*highs, 1]) + column(8, [-32768] * count) + column(8, [32767] * count)
    head += column(80, [""] * count) + column(8, [rate] * len(channels) + [room]) + column(32, [""] * count)
    low, high = np.array(lows, float)[:, None], np.array(highs, float)[:, None]
    digital = np.clip(np.rint((x - low) / (high - low) * 65535 - 32768), -32768, 32767).astype("<i2")
    with path.open("wb") as file:
        file.write(head.encode("latin-1"))
        for second in range(records):
            file.write(digital[:, second * rate : (second + 1) * rate].tobytes())
            file.write(lists[second].ljust(2 * room, b"\0"))
    return path
