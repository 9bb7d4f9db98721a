"""Sound files: bytes in, one channel of samples at the rate that is asked for out.

Channels are averaged. What is read is read in blocks, mixed and resampled on the way, so that an hour of eight channels
takes no more memory than an hour of one.
"""

import io
from dataclasses import dataclass, field

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from graft.core.errors import DataError
from graft.data.mel import Mel, power
from graft.data.soundfiles import opened

Array = NDArray[np.float32]

VERSION = f"libsndfile {soundfile.__libsndfile_version__}, soxr {soxr.__version__}"
RATE = 16_000  # Hz at which a sound is looked at, and decoded where no network says at which
HOUR = 3600  # seconds that are decoded of one file at most: 0.23 GB in memory
RATES = (1_000, 1_000_000)  # Hz; what declares less or more is damaged
BLOCK = 1 << 19  # values read at a time
UNKNOWN = 2**63 - 1  # samples of a stream, in the words of libsndfile
ABSURD = 1e9  # beyond this (1 is full scale) a sample is damage, as NaN is
LOUD = 4.0  # a peak above it is no over-driven sound but one in other units, and is brought to 1
FULL, CLIPPED = 0.999, 1e-3  # a sample this large is at the limit; a sound with such a share of them is clipped
SILENT = 1e-4  # a peak below it, -80 dB, is silence
SHORT = 0.1  # seconds under which a sound is a click
ROOM = 0.02  # share of its loudest time and band that is added to all before shapes are compared: quiet places agree


@dataclass(frozen=True, eq=False)
class Sound:
    """One channel of sound."""

    samples: Array  # (n,), n ≥ 1; read only; full scale is 1
    rate: int  # Hz

    def __post_init__(self) -> None:
        samples = self.samples.view()
        samples.setflags(write=False)
        object.__setattr__(self, "samples", samples)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    def at(self, rate: int) -> "Sound":
        """The same at another rate."""
        if rate == self.rate:
            return self
        samples = soxr.resample(self.samples, self.rate, rate)
        return Sound(samples if len(samples) else self.samples[:1].copy(), rate)


@dataclass(frozen=True)
class Look:
    """What a sound file shows at a glance."""

    seconds: float
    rate: int  # Hz, as stored
    channels: int
    format: str  # "WAV PCM_16", …
    hash: int  # 64 bits of the shape in time and pitch; copies differ in few; 0 where there is no shape
    notes: tuple[str, ...] = ()  # what is odd, to be read behind "3 of 40 are …"


@dataclass
class _Seen:
    """What the blocks of a file showed."""

    rate: int
    channels: int
    format: str
    promised: int = 0  # samples of a channel, by the header
    samples: int = 0  # of a channel
    broken: int = 0  # values that are no numbers
    full: int = 0  # values at the limit
    peak: float = 0.0
    parts: list[Array] = field(default_factory=list)  # mixed and resampled


def decode(raw: bytes, rate: int = RATE) -> Sound:
    """The sound in a file's bytes.

    Raises:
        DataError: empty, not a sound file, cut short or damaged, without a sample, longer than an hour; the reason.
    """
    return _whole(_read(raw, rate), rate)


def look(raw: bytes) -> Look:
    """Length, format, shape and oddities of a sound that decodes to its end.

    Raises:
        DataError: as `decode` does.
    """
    seen = _read(raw, RATE)
    seconds, values = seen.samples / seen.rate, seen.samples * seen.channels
    notes = {
        "silent": seen.peak < SILENT,
        "clipped": seen.full >= CLIPPED * values and seen.peak <= LOUD,
        f"shorter than {SHORT} s": seconds < SHORT,
        "in part no numbers, heard there as silence": seen.broken,
        "far beyond full scale, and brought to it": seen.peak > LOUD,
        "shorter than their header says": seen.format.startswith("MP3") and seen.samples < 0.99 * seen.promised,
    }
    odd = tuple(note for note, holds in notes.items() if holds)
    shape = 0 if seen.peak < SILENT or seconds < SHORT else similarity(_whole(seen, RATE))
    return Look(round(seconds, 4), seen.rate, seen.channels, seen.format, shape, odd)


def seconds(raw: bytes, most: float) -> float:
    """How long a sound is by its header; a stream that does not say is read, to a little over `most` at the longest.

    Raises:
        DataError: as `decode` does, of what the header shows.
    """
    with opened(raw) as file:
        count = file.frames
        if count == UNKNOWN:
            count = 0
            while count <= most * file.samplerate and (read := len(file.read(BLOCK // file.channels))):
                count += read
        return float(count / max(1, file.samplerate))


def similarity(sound: Sound) -> int:
    """64 bits that say where a band gains on the one below it from one stretch of time to the next.

    Eight steps in time and eight in pitch, up to 2.9 kHz, which telephones carry too (after Haitsma & Kalker, 2002);
    louder, quieter, resampled or compressed copies keep nearly all of them.
    """
    energy = power(sound.at(RATE).samples, RATE, Mel(bands=27))[:, :18].reshape(-1, 9, 2).sum(2)
    cells = np.stack([part.mean(0) for part in np.array_split(energy, 9)])
    shape = np.log(cells + ROOM * cells.max())
    return int.from_bytes(np.packbits(np.diff(np.diff(shape, axis=0), axis=1) > 0).tobytes(), "big")


def encoded(samples: NDArray[np.generic], rate: int) -> bytes:
    """The bytes of a WAV file that holds these samples as they are. Shape: (n,) or (n, channels); whole numbers too.

    Raises:
        DataError: this is no sound.
    """
    array = np.asarray(samples)
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 4:
        middle = 0 if array.dtype.kind == "i" else 2.0 ** (8 * array.dtype.itemsize - 1)
        array = (array.astype(np.float64) - middle) / 2.0 ** (8 * array.dtype.itemsize - 1)
    if (
        array.dtype.kind != "f"
        or array.ndim not in (1, 2)
        or not array.size
        or (array.ndim == 2 and array.shape[1] > 64)
    ):
        raise DataError(
            f"A sound is an array (samples,) or (samples, channels) of numbers, not {array.dtype} {array.shape}."
        )
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(f"A sampling rate lies between {RATES[0]} and {RATES[1]} Hz; {rate} does not.")
    file = io.BytesIO()
    soundfile.write(file, array.astype(np.float32), rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def _whole(seen: _Seen, rate: int) -> Sound:
    samples = np.concatenate(seen.parts)
    seen.parts.clear()
    if seen.peak > LOUD:
        samples /= np.float32(seen.peak)
    return Sound(samples, rate)


def _read(raw: bytes, rate: int) -> _Seen:
    """A file's samples, mixed, at this rate, and what else they showed."""
    with opened(raw) as file:
        seen = _Seen(file.samplerate, file.channels, f"{file.format} {file.subtype}", file.frames % UNKNOWN)
        _check(seen)
        stream = None if rate == seen.rate else soxr.ResampleStream(seen.rate, rate, 1, dtype="float32")
        while len(block := file.read(max(1, BLOCK // seen.channels), dtype="float32", always_2d=True)):
            seen.samples += len(block)
            _check(seen)
            size = np.abs(block)
            if (bad := ~(size <= ABSURD)).any():
                block[bad] = size[bad] = 0
                seen.broken += int(bad.sum())
            seen.peak = max(seen.peak, float(size.max()))
            seen.full += int((size >= FULL).sum())
            mono = block[:, 0] if seen.channels == 1 else block.mean(1)
            seen.parts.append(mono if stream is None else stream.resample_chunk(mono))
        if stream is not None:
            seen.parts.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    if not seen.samples:
        raise DataError(f"This {seen.format} holds no sound (0 samples): it is empty, or cut short.")
    if file.format == "FLAC" and seen.samples < seen.promised:
        raise DataError(
            f"This FLAC is cut short: {seen.samples} of the {seen.promised} samples that it declares are there."
        )
    if 2 * seen.broken >= seen.samples * seen.channels:
        raise DataError(
            f"{seen.broken} of the {seen.samples * seen.channels} samples of this {seen.format} are no numbers."
        )
    if not sum(map(len, seen.parts)):  # shorter than one sample at the new rate
        seen.parts.append(np.zeros(1, np.float32))
    return seen


def _check(seen: _Seen) -> None:
    if not RATES[0] <= seen.rate <= RATES[1]:
        raise DataError(f"This {seen.format} declares a sampling rate of {seen.rate} Hz: its header is damaged.")
    if (
        max(seen.samples, 0 if seen.format.startswith("MP3") else seen.promised) > HOUR * seen.rate
    ):  # cut MP3s promise more
        raise DataError(f"This {seen.format} lasts more than an hour, the most that is read. Cut it into clips.")
