"""How far can probabilities be trusted? Temperature scaling (Guo et al. 2017) and the calibration error, equal-mass.

    p = softmax(z / T),   T the minimum over validation of  mean_i -log p_i[y_i],   convex in 1 / T

One number for all classes: the order of the classes, and so every answer, stays as it was.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.core.errors import DataError
from graft.model.stats import Interval

Array = NDArray[np.float64]

COLDEST, HOTTEST = 0.01, 100.0  # temperatures between which one is looked for
BINS = 10  # of equal mass; fewer where that leaves less than MEMBERS in each
MEMBERS = 10
GRID = 201  # calibration errors that are tried, from 0 to 1
SURELY = 3.841  # the 95 % point of chi² with one degree of freedom
TIE = 1e-12  # what rounding may part


def temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The T at which softmax(logits / T) is likeliest to give these labels, from 0.01 to 100.

    Of n + 2 examples, two are made up and may be of any class (Platt, 1999): few examples without an error would
    otherwise ask for certainty.

    Shape: logits (n, K), labels (n,) of 0 … K-1.
    Raises:
        DataError: no examples, or lengths that differ.
    """
    from scipy.optimize import brentq  # not on the way of who asks a model that is fitted
    from scipy.special import softmax

    z, y = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    if z.ndim != 2 or not len(z) or y.shape != (len(z),):
        raise DataError(f"A temperature is found from logits (n, K) with n labels, not {z.shape} with {y.shape}.")
    z = z - z.max(1, keepdims=True)
    unknown = 2 / (len(z) + 2)
    wanted = (1 - unknown) * z[np.arange(len(z)), y] + unknown * z.mean(1)

    def slope(cold: float) -> float:
        """Of the loss, by 1 / T: what is expected of the logits less what is there. It never falls."""
        return float(((softmax(cold * z, axis=1) * z).sum(1) - wanted).mean())

    if slope(1 / HOTTEST) >= 0:
        return HOTTEST
    return 1 / float(brentq(slope, 1 / HOTTEST, 1 / COLDEST)) if slope(1 / COLDEST) > 0 else COLDEST


def warranted(logits: ArrayLike, labels: ArrayLike, heat: float) -> bool:
    """Whether a temperature makes these labels surely likelier than none does: likelihood ratio, at 95 %.

    Shape: logits (n, K), labels (n,).
    """
    from scipy.special import log_softmax

    z, y = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    plain, cooled = (float(log_softmax(z / by, axis=1)[np.arange(len(y)), y].sum()) for by in (1.0, heat))
    return 2 * (cooled - plain) > SURELY


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> Array:
    """Bins of equal mass, from unsure to sure: mean confidence, share that is right, share of the examples.

    Shape: confidence (n,) from 0 to 1, right (n,) of 0 or 1 → (bins, 3); fewer bins where there are few examples.
    Raises:
        DataError: no examples, or lengths that differ.
    """
    sure, good = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    if not sure.size or sure.shape != good.shape:
        raise DataError(f"Confidences and outcomes go in pairs, not {sure.shape} with {good.shape}.")
    order = np.argsort(sure, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(sure) // MEMBERS)))
    return np.array([(sure[at].mean(), good[at].mean(), len(at) / len(sure)) for at in parts])


def ece(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error: |confidence - share right|, mean over the bins of `reliability`. Range: 0 to 1.

    Of few examples it is too high: a bin's share is right by chance only.
    """
    table = reliability(confidence, right, bins)
    return float(np.abs(table[:, 0] - table[:, 1]) @ table[:, 2])


def ece_interval(
    confidence: ArrayLike, right: ArrayLike, bins: int = BINS, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> Interval:
    """The calibration error without its bias, and an interval around it that reaches 0 where it may be chance.

    An error t (all bins off by t, to the side on which they are) belongs to the interval if `ece` of outcomes drawn
    with it is neither surely above nor surely below what was seen: a parametric bootstrap, inverted (Efron &
    Tibshirani, 1993, ch. 12). Outcomes that are merely drawn again would be biased twice. The middle is the t whose
    median is what was seen.
    """
    table, rng = reliability(confidence, right, bins), np.random.default_rng(seed)
    sure, good, share = table.T
    seen, count = float(np.abs(sure - good) @ share), np.rint(share * np.size(confidence)).astype(np.int64)
    side = np.where(sure >= good, -1, 1)
    rates = np.clip(sure + side * np.linspace(0, 1, GRID)[:, None], 0, 1)
    errors = np.abs(sure - rates) @ share
    drawn = np.abs(sure - rng.binomial(count, rates, (draws, *rates.shape)) / count) @ share
    above, below = ((drawn >= seen - TIE).mean(0), (drawn <= seen + TIE).mean(0))
    tail = (1 - level) / 2
    low = errors[above > tail].min(initial=seen)
    high = errors[below > tail].max(initial=low)
    return float(np.clip(errors[above >= 0.5].min(initial=seen), low, high)), float(low), float(high)
