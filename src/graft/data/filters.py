"""Filters, sampling rates, gaps and scales of signals (…, samples), each channel by itself."""

from fractions import Fraction

import numpy as np

from graft.core.errors import DataError

ORDER = 4  # of the Butterworth filter; forwards and backwards it acts like twice that, without a delay
QUALITY = 30.0  # of the notch: 50 Hz ÷ 30, so about 1.7 Hz wide
LARGEST = 1e18  # of any unit: its square is still a number in single precision
GAP = 0.1  # share of a channel's samples that may be missing and are drawn straight between their neighbours
WINDOW = ("kaiser", 8.0)  # of the resampling filter: 80 dB down where SciPy's own is 50
FINEST = 100_000  # largest number in the ratio of two rates that is taken as it is
MOST = 1 << 27  # samples, of all channels, that resampling may make: a gigabyte
SCALES = ("none", "channel", "robust", "rank")


def band(x: np.ndarray, rate: float, low: float, high: float) -> np.ndarray:
    """What lies between two frequencies, without a delay: a Butterworth filter run forwards and backwards.

    Args:
        low, high: Hz; 0: no limit on that side.

    Raises:
        DataError: a limit is not below half the sampling rate.
    """
    from scipy.signal import butter, sosfiltfilt

    if not (low or high):
        return x
    _below(max(low, high), rate, "band")
    edges, kind = ((low, high), "bandpass") if low and high else ((low, "highpass") if low else (high, "lowpass"))
    sections = butter(ORDER, edges, kind, fs=rate, output="sos")
    usual = 3 * (2 * len(sections) + 1 - min((sections[:, 2] == 0).sum(), (sections[:, 5] == 0).sum()))
    return np.asarray(sosfiltfilt(sections, x, axis=-1, padlen=min(usual, x.shape[-1] - 1)))


def notch(x: np.ndarray, rate: float, frequency: float) -> np.ndarray:
    """All but one frequency (the mains' hum), without a delay.

    Raises:
        DataError: it is not below half the sampling rate.
    """
    from scipy.signal import filtfilt, iirnotch

    if not frequency:
        return x
    _below(frequency, rate, "notch")
    b, a = iirnotch(frequency, QUALITY, fs=rate)
    # The notch rings for many periods: the mirrored ends that it starts from must be as long.
    return np.asarray(filtfilt(b, a, x, axis=-1, padlen=min(round(2 * QUALITY / frequency * rate), x.shape[-1] - 1)))


def resampled(x: np.ndarray, old: float, new: float) -> np.ndarray:
    """The same signal at another rate, nothing folded back, its ends continued along a straight line.

    Raises:
        DataError: the rates lie too far apart.
    """
    from scipy.signal import resample_poly

    if old == new:
        return x
    before, after = Fraction(old).limit_denominator(1000), Fraction(new).limit_denominator(1000)
    if not before or not 0 < x.size * after // before <= MOST:
        raise DataError(f"A trial of {x.shape[-1]} samples at {old:g} Hz cannot be heard at {new:g} Hz.")
    ratio = after / before
    if max(ratio.numerator, ratio.denominator) > FINEST:
        ratio = ratio.limit_denominator(1000)
    # The mean is set aside: the filter's phases differ by a ten-thousandth, and of a large offset that is a rhythm.
    centre = x.mean(-1, keepdims=True)
    up, down = ratio.numerator, ratio.denominator
    return np.asarray(resample_poly(x - centre, up, down, axis=-1, window=WINDOW, padtype="line") + centre)


def filled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A recording without gaps, and how many samples of each channel were missing.

    Where all channels are missing at the beginning or at the end it is shorter: trials are filled up so. Few samples
    that are missing elsewhere are drawn straight between their neighbours.

    Shape: (channels, samples) → (channels, fewer samples), (channels,).

    Raises:
        DataError: there are infinite values, or too much is missing.
    """
    if beyond := int((np.abs(x) > LARGEST).sum()):
        raise DataError(f"{beyond} of its {x.size} samples are infinite, or as good as: it is damaged.")
    if np.isfinite(x).all():
        return x, np.zeros(len(x), np.int64)
    gone = np.isnan(x)
    there = np.flatnonzero(~gone.all(0))
    if not len(there):
        raise DataError("It holds no values: all samples are missing (NaN).")
    x, gone = x[:, there[0] : there[-1] + 1].copy(), gone[:, there[0] : there[-1] + 1]
    counts = gone.sum(1)
    if (counts > GAP * x.shape[1]).any():
        worst = int(counts.argmax())
        raise DataError(
            f"{counts[worst]} of {x.shape[1]} samples of channel {worst + 1} are missing (NaN), "
            f"more than {GAP:.0%} of it. Leave the channel or the trial out."
        )
    at = np.arange(x.shape[1])
    for row in np.flatnonzero(counts):
        x[row, gone[row]] = np.interp(at[gone[row]], at[~gone[row]], x[row, ~gone[row]])
    return x, counts


def flat(x: np.ndarray) -> np.ndarray:
    """Which channels do not vary beyond rounding. Shape: (channels, samples) → (channels,) of bool."""
    return np.asarray(x.std(-1) <= 1e-9 * np.abs(x).max(-1, initial=0.0))


def scaled(x: np.ndarray, how: str) -> np.ndarray:
    """Each channel on a scale of its own; what does not vary is 0.

    "channel": mean 0, standard deviation 1. "robust": median 0, interquartile range 1.349, as a normal distribution
    of standard deviation 1 has. "rank": where each sample stands among the others, from -1 to 1. "none": as it is.
    """
    if how == "none":
        return x
    if how == "rank":
        from scipy.stats import rankdata

        count = x.shape[-1]
        return np.asarray((2 * rankdata(x, axis=-1) - count - 1) / max(count - 1, 1))
    centre, spread = x.mean(-1, keepdims=True), x.std(-1, keepdims=True)
    if how == "robust":
        low, centre, high = np.quantile(x, (0.25, 0.5, 0.75), axis=-1, keepdims=True)
        spread = np.where(high > low, (high - low) / 1.349, spread)  # lone spikes on a flat line have no quartiles
    varies = spread > 1e-9 * np.abs(x).max(-1, keepdims=True, initial=0.0)  # what is left of a constant is rounding
    return np.asarray(np.where(varies, (x - centre) / np.where(varies, spread, 1.0), 0.0))


def _below(frequency: float, rate: float, what: str) -> None:
    if not rate:
        raise DataError(f"The {what} is stated in Hz, but the sampling rate is not known: name it with rate=.")
    if frequency >= rate / 2:
        raise DataError(
            f"The {what} reaches to {frequency:g} Hz, but a signal sampled at {rate:g} Hz holds frequencies below "
            f"{rate / 2:g} Hz only. Choose a lower one."
        )
