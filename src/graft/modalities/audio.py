"""Sound: clips of any length as rows of windows, each a stretch of samples or a mel spectrum.

Nothing of a clip is cut away: one longer than the window becomes several windows, evenly placed, the last one ending
where the clip ends; a shorter one is repeated until the window is full, so that no window needs a mask.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from numpy.typing import NDArray

from graft.core.codec import from_dict
from graft.core.errors import DataError, PlanError
from graft.data import batches, hiding, layout, sound, soundfiles
from graft.data.mel import Mel, faults, spectrum
from graft.data.sound import Look, Sound

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[np.float32]

WORD = ("clip", "clips")
SUFFIXES = soundfiles.SUFFIXES
pieces = hiding.heard
VERSION = f"1, {sound.VERSION}"
RAGGED = True
ROWS = 8  # windows of one frozen pass: the first layers of networks that hear samples keep 6 MB for each second
VIEWS = (4, 2)
GROUPED = (*layout.PEOPLE, "client_id", "singer", "voice", "recording", "recording_id", "session", "session_id")
STEP = 0.5  # seconds that a window's length is rounded up to
COVERED = 0.95  # share of the training clips that a window is at least as long as
UNSET = 1.0  # seconds, of a window that `suited` has not set yet
GAIN = 6.0  # decibels that a view is louder or quieter at most: half or twice as far from the microphone
SPEED = 0.05  # share that a view is faster (and higher) or slower at most: half of what speech recognition uses
SHIFT = 0.1  # seconds that a view begins later or earlier at most
NOISE = (20.0, 40.0)  # decibels that a view's noise lies below its sound: from plain to hear to hardly there


@dataclass(frozen=True)
class Input:
    """What a backbone is fed: windows of samples, or of mel spectra."""

    rate: int = 16_000  # Hz
    window: float = 0.0  # seconds; 0: what suits the task
    longest: float = 30.0  # seconds that a window may have
    loudness: float = 0.0  # decibels (0 is full scale) that a quieter clip is raised to; 0: as it is
    standardised: bool = False  # whether every window of samples is brought to mean 0 and variance 1
    mel: Mel | None = None  # None: the network hears the samples

    @property
    def samples(self) -> int:
        """In one window."""
        return round((self.window or min(UNSET, self.longest)) * self.rate)

    @property
    def frames(self) -> int:
        """In one window; 0 where the network hears samples."""
        return self.mel.frames(self.samples) if self.mel else 0


@dataclass(frozen=True)
class Reading:
    """A sound file says what it is; an array of samples does not."""

    rate: int = 0  # Hz of arrays that are handed over without one; 0: they must come with one


def parse(raw: Mapping[str, Any]) -> Input:
    """A backbone's input.

    Raises:
        PlanError: a field is unknown or out of its range; all faults together.
    """
    input = from_dict(Input, raw)
    low, high = sound.RATES
    found = [] if input.mel is None else faults(input.mel)
    checks = {
        f"rate must lie between {low} and {high} Hz, not {input.rate}.": low <= input.rate <= high,
        f"longest must be more than 0 s, not {input.longest}.": input.longest > 0,
        f"window must lie between 0 and longest ({input.longest} s), not {input.window}.": (
            0 <= input.window <= input.longest
        ),
        f"loudness must be 0 (as it is) or less, not {input.loudness} dB.": input.loudness <= 0,
    }
    found += [sentence for sentence, right in checks.items() if not right]
    if not found and input.samples < (least := input.mel.least if input.mel else 1):
        found.append(f"window must hold {least} samples or more; {input.window} s hold {input.samples}.")
    if found:
        raise PlanError(f"The backbone's input cannot be: {' '.join(found)}")
    return input


def find(place: Path, asked: Mapping[str, Any], labelled: bool = True) -> layout.Found:
    """Clips in class folders (a folder per speaker within them keeps speakers apart), or named by a table."""
    if labelled:
        layout.refuse(asked, ("label", "group", "time", "path", "rate"))
    found = layout.files(place, SUFFIXES, asked, GROUPED, labelled, nested=True)
    if asked.get("rate"):
        found.reading["rate"] = asked["rate"]
    if labelled and layout.only_table(place) is None:
        found.notes += _whose(found.rows)
    return found


def _whose(rows: Sequence[layout.Row]) -> list[str]:
    """What the folders within class folders say, or why they say nothing."""
    if any(row.group for row in rows):
        return ["The folders within the class folders say who or what each clip comes from."]
    inner = sum(Path(row.item).parent.name != row.label for row in rows)
    said = f"{inner} of {len(rows)} clips stand in a folder within their class; as others do not, it says nothing."
    return [said] if inner else []


def fetch(item: str, reading: Reading) -> bytes:
    """A file's bytes.

    Raises:
        DataError: the file is larger than any clip that is read.
    """
    path = Path(item)
    if (size := path.stat().st_size) > soundfiles.MAX_BYTES:
        limit = f"at most {soundfiles.MAX_BYTES / 1e9:.1f} are read"
        raise DataError(f"{item} has {size / 1e9:.1f} GB; {limit}. Cut it into clips of an hour or less.")
    return path.read_bytes()


def look(raw: bytes, reading: Reading = Reading()) -> Look:
    """What a clip shows at a glance.

    Raises:
        DataError: it cannot be decoded to its end.
    """
    return sound.look(raw)


def decode(raw: bytes, reading: Reading = Reading(), input: Input | None = None) -> Sound:
    """One channel of sound at the input's rate, or at 16 kHz.

    Raises:
        DataError: it cannot be decoded to its end.
    """
    return sound.decode(raw, sound.RATE if input is None else input.rate)


def given(value: Any, reading: Reading = Reading()) -> bytes:
    """A file's bytes; samples become those of a WAV file.

    Samples are an array (samples,) or (samples, channels) where `reading` says the rate, or else
    {"samples": array or list, "rate": Hz}.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    samples, rate = (value.get("samples"), value.get("rate")) if isinstance(value, Mapping) else (value, reading.rate)
    if samples is None or isinstance(samples, str):
        raise DataError(
            f"A clip is a file, its bytes, an array of samples or {{'samples': …, 'rate': …}}, not {str(value)[:40]!r}."
        )
    if not isinstance(rate, int) or not rate:
        raise DataError("An array of samples needs its rate: give {'samples': …, 'rate': …}, the rate in whole Hz.")
    try:
        return sound.encoded(np.asarray(samples), rate)
    except ValueError as error:  # a list of lists of different lengths
        raise DataError(f"These samples are no array: {error}.") from None


def suited(input: Mapping[str, Any], reading: Reading, examples: Iterable[Sound]) -> dict[str, Any]:
    """The input with a window that most training clips fit into, as far as the backbone allows.

    Raises:
        DataError: there are no clips.
    """
    parsed = parse(input)
    if parsed.window:
        return dict(input)
    seconds = [example.seconds for example in examples]
    if not seconds:
        raise DataError("There are no clips to set a window by.")
    needed = float(np.quantile(seconds, COVERED, method="higher"))
    return {**input, "window": min(parsed.longest, max(STEP, math.ceil(round(needed / STEP, 6)) * STEP))}


def smaller(input: Mapping[str, Any]) -> dict[str, Any]:
    """The same: shorter windows would only be more of them."""
    return dict(input)


def front(input: Input) -> "nn.Module":
    """Nothing: windows are prepared as the backbone takes them."""
    from torch import nn

    return nn.Identity()


def schema(input: Input) -> dict[str, dict[str, Any]]:
    """What the exported network takes."""
    seconds = f"windows of {input.samples / input.rate:g} s at {input.rate} Hz"
    shape, what = [input.samples], f"{seconds}, samples of full scale 1"
    if input.mel is not None:
        shape, what = [input.frames, input.mel.bands], f"mel spectra of {seconds}, frames by bands"
    return {
        "x": {"dtype": "float32", "shape": ["windows", *shape], "what": what},
        "share": {
            "dtype": "float32",
            "shape": ["batch", "windows"],
            "what": "1 ÷ the number of a clip's windows where a window is the clip's, 0 elsewhere",
        },
    }


def ship(examples: Sequence[Mapping[str, np.ndarray]], input: Input) -> dict[str, np.ndarray]:
    """Prepared clips as the exported network takes them: their windows behind one another, and which are whose."""
    return batches.windows(examples)


def prepare(example: Sound, input: Input) -> dict[str, np.ndarray]:
    """A clip's windows.

    Shape: x float32 (windows, samples), or with mel spectra (windows, frames, bands).
    """
    samples = example.at(input.rate).samples
    if input.loudness and (power := float(np.mean(np.square(samples, dtype=np.float64)))):
        samples = samples * np.float32(max(1.0, 10 ** (input.loudness / 20) / math.sqrt(power)))
    rows = windows(samples, input.samples)
    if input.standardised:
        rows = rows - rows.mean(1, keepdims=True)
        rows /= np.sqrt(rows.var(1, keepdims=True) + np.float32(1e-7))
    if input.mel is not None:
        rows = np.stack([spectrum(row, input.rate, input.mel) for row in rows])
    return {"x": rows}


def vary(example: Sound, input: Input, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """An augmented view, of as many windows as the plain one: a little faster or slower, later or earlier, louder or
    quieter, with some noise. The same rng, the same bits.

    Shape: as `prepare`.
    """
    clip = example.at(input.rate)
    speed, turn = 1 + rng.uniform(-SPEED, SPEED), round(rng.uniform(-SHIFT, SHIFT) * clip.rate)
    gain, below = 10 ** (rng.uniform(-GAIN, GAIN) / 20), rng.uniform(*NOISE)
    faster = soxr.resample(clip.samples, clip.rate * speed, clip.rate, "MQ")
    heard = np.roll(np.resize(faster if len(faster) else clip.samples, len(clip.samples)), turn)
    noise = rng.standard_normal(len(heard), np.float32)
    noise *= np.float32(math.sqrt(float(np.mean(np.square(heard, dtype=np.float64)))) * 10 ** (-below / 20))
    return prepare(Sound((heard + noise) * np.float32(gain), clip.rate), input)


def example(input: Input, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random prepared clips to trace a network with, of one window and of two by turns.

    Shape: x float32 (all windows, …), length int64 (n,).
    """
    length = 1 + np.arange(n) % 2
    noise = [rng.normal(0, 0.1, count * input.samples).astype(np.float32) for count in length]
    return {"x": np.concatenate([prepare(Sound(one, input.rate), input)["x"] for one in noise]), "length": length}


def windows(samples: Array, size: int) -> Array:
    """Stretches of `size` samples that together hold every sample. Shape: (n,) → (windows, size)."""
    count = -(-len(samples) // size)
    if count == 1:
        return np.resize(samples, size)[None]
    starts = np.arange(count) * (len(samples) - size) // (count - 1)
    return np.lib.stride_tricks.sliding_window_view(samples, size)[starts]
