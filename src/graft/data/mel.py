"""Mel spectra as three families of pretrained networks were shown them, in numpy: sound in, (frames, bands) out.

librosa        Whisper, Resemblyzer: frames centred on mirrored edges, the last one left out; Hann window; Slaney's
               scale, every band of the same area
speechbrain    ECAPA: frames centred on silent edges; Hamming window; every triangle as wide as its lower side
kaldi          AST: frames inside the sound only, each without its mean and with its highs raised; triangles on the mel
               scale itself, from 20 Hz
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.core.codec import from_dict

Array = NDArray[np.float32]
FAMILIES = ("librosa", "speechbrain", "kaldi")
UNITS = ("power", "decibel", "log")
BLOCK = 1024  # frames at a time: bounds the memory of long sounds
LEAST = {"librosa": 1e-10, "speechbrain": 1e-10, "kaldi": 2.0**-23}  # power under which a logarithm sees nothing
LOWEST = 20.0  # Hz, of Kaldi's first band; the others begin at 0
EMPHASIS = 0.97  # of a sample that Kaldi takes off the next one


@dataclass(frozen=True)
class Mel:
    """How sound becomes a mel spectrum: 25 ms every 10 ms, unless said otherwise."""

    family: str = "librosa"  # librosa, speechbrain, kaldi
    bands: int = 80
    frame: int = 400  # samples in one frame
    hop: int = 160  # samples from one frame to the next
    unit: str = "decibel"  # power, decibel, log (the natural one)
    depth: float = 80.0  # how far below the loudest value of a window a value may lie, in that unit; 0: any depth
    mean: float = 0.0  # taken off every value
    std: float = 1.0  # what every value is then divided by
    centred: bool = False  # whether each band's own mean over the window is taken off as well

    @property
    def least(self) -> int:
        """Samples below which a window has no frame."""
        return {"librosa": max(self.hop, self.frame // 2 + 1), "speechbrain": 1, "kaldi": self.frame}[self.family]

    def frames(self, samples: int) -> int:
        """Frames of a window of so many samples."""
        if self.family == "kaldi":
            return 1 + (samples - self.frame) // self.hop
        return samples // self.hop + (self.family == "speechbrain")


def faults(mel: Mel) -> list[str]:
    """What is wrong with these numbers, one sentence each."""
    checks = {
        f"mel.family must be one of {', '.join(FAMILIES)}, not {mel.family!r}.": mel.family in FAMILIES,
        f"mel.unit must be one of {', '.join(UNITS)}, not {mel.unit!r}.": mel.unit in UNITS,
        f"mel.bands must be at least 1, not {mel.bands}.": mel.bands >= 1,
        f"mel.frame must be even and at least 2, not {mel.frame}.": mel.frame >= 2 and mel.frame % 2 == 0,
        f"mel.hop must be at least 1, not {mel.hop}.": mel.hop >= 1,
        f"mel.depth must be 0 or more, not {mel.depth}.": mel.depth >= 0,
        f"mel.std must be more than 0, not {mel.std}.": mel.std > 0,
    }
    return [sentence for sentence, right in checks.items() if not right]


def spectrum(sound: Array, rate: int, mel: Mel) -> Array:
    """The mel spectrum of one window, as the network wants it.

    Shape: sound (samples,), at least `mel.least` → (frames, bands) float32.
    """
    x = power(sound, rate, mel)
    if mel.unit != "power":
        np.maximum(x, LEAST[mel.family], out=x)
        x = 10 * np.log10(x) if mel.unit == "decibel" else np.log(x)
    if mel.depth:
        np.maximum(x, x.max() - np.float32(mel.depth), out=x)
    if mel.mean or mel.std != 1:
        x = (x - np.float32(mel.mean)) / np.float32(mel.std)
    return x - x.mean(0) if mel.centred else x


def power(sound: Array, rate: int, mel: Mel) -> Array:
    """What each band of each frame holds. Shape: (samples,) → (frames, bands) float32."""
    if mel.family != "kaldi":
        edges = "reflect" if mel.family == "librosa" else "constant"
        sound = np.pad(sound, mel.frame // 2, edges)  # type: ignore[call-overload]
    every = np.lib.stride_tricks.sliding_window_view(sound, mel.frame)[:: mel.hop]
    if mel.family == "librosa":
        every = every[:-1]
    weights, taper = bank(rate, mel), _taper(mel)
    out = np.empty((len(every), mel.bands), np.float32)
    for start in range(0, len(every), BLOCK):
        frames = every[start : start + BLOCK]
        if mel.family == "kaldi":
            frames = frames - frames.mean(1, keepdims=True)
            frames = np.concatenate(
                [frames[:, :1] * np.float32(1 - EMPHASIS), frames[:, 1:] - np.float32(EMPHASIS) * frames[:, :-1]], 1
            )
        lines = np.fft.rfft(frames * taper, _points(mel))
        out[start : start + BLOCK] = (lines.real**2 + lines.imag**2) @ weights
    return out


@cache
def bank(rate: int, mel: Mel) -> Array:
    """The weight of each line of the spectrum in each band. Shape: (lines, bands)."""
    lines = np.arange(_points(mel) // 2 + 1) * rate / _points(mel)
    to, back = (_slaney, _from_slaney) if mel.family == "librosa" else (_htk, _from_htk)
    low = LOWEST if mel.family == "kaldi" else 0.0
    ends = to(np.array([low, rate / 2]))
    corners = np.linspace(ends[0], ends[1], mel.bands + 2)
    if mel.family == "kaldi":
        lines = to(lines)
    else:
        corners = back(corners)
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    if mel.family == "speechbrain":
        right = 2 * middle - left
    rising, falling = (lines[:, None] - left) / (middle - left), (right - lines[:, None]) / (right - middle)
    weights = np.maximum(0, np.minimum(rising, falling))
    areas = (right - left) / 2 if mel.family == "librosa" else 1.0
    return np.asarray(weights / areas, np.float32)


def _points(mel: Mel) -> int:
    """Of the Fourier transform: Kaldi fills a frame up to a power of two."""
    return 1 << (mel.frame - 1).bit_length() if mel.family == "kaldi" else mel.frame


def _taper(mel: Mel) -> Array:
    """The window that a frame is seen through: a whole period of a cosine, or with Kaldi the symmetric one."""
    if mel.family == "kaldi":
        return np.hanning(mel.frame).astype(np.float32)
    shape = np.hamming if mel.family == "speechbrain" else np.hanning
    return shape(mel.frame + 1)[:-1].astype(np.float32)


def _slaney(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Even steps up to 1 kHz, then 27 steps for each factor of 6.4 (Slaney's Auditory Toolbox, 1998)."""
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1) / 1000) / np.log(6.4))


def _from_slaney(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))


def _htk(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2595 * np.log10(1 + hertz / 700)


def _from_htk(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return 700 * (10 ** (mels / 2595) - 1)


def window_frames(input: Mapping[str, Any], unset: float = 1.0) -> int:
    """Frames of a window of what a backbone is fed; 0 where that is samples."""
    if not input.get("mel"):
        return 0
    seconds = float(input.get("window") or min(unset, float(input.get("longest", 30.0))))
    return from_dict(Mel, input["mel"]).frames(round(seconds * int(input.get("rate", 16_000))))
