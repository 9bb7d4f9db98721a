"""What each example adds to a score that is no mean over examples: jackknife pseudo-values (Tukey, 1958)."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def pseudo(score: float, without: ArrayLike) -> Array:
    """Values (n,) whose mean is the score, from the score without each example (n,).

    Tukey's are n·θ - (n-1)·θ₋ᵢ, whose mean is θ less the jackknife's estimate of its bias. All are moved by that
    estimate, so that an interval is drawn around the score that is reported; their spread is the same.
    """
    left = np.asarray(without, np.float64)
    return np.asarray(score + (len(left) - 1) * (left.mean() - left))


def ratio(top: ArrayLike, bottom: ArrayLike, empty: float = 1.0) -> tuple[Array, Array]:
    """Sums over examples, divided: the ratio (…) and the ratio without each example (n, …).

    A ratio of nothing to nothing is `empty`; an example that holds all there is to count moves the ratio nowhere.

    Shape: top, bottom (n, …).
    """
    above, below = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    total, whole = above.sum(0), below.sum(0)
    score = np.where(whole > 0, total / np.where(whole > 0, whole, 1), empty)
    rest = whole - below
    return score, np.where(rest > 0, (total - above) / np.where(rest > 0, rest, 1), score)


def average_precision(scores: ArrayLike, true: ArrayLike) -> tuple[float, Array]:
    """Mean precision at the positives, best score first, and the same without each example (n,).

    Examples of equal score count as their mean over all orders (McSherry & Najork, 2008): the j-th of m tied ones, r of
    them positive, is positive with r / m, and then has (j - 1) (r - 1) / (m - 1) positives of the tie before it.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    ranked, right = np.asarray(scores)[order], np.asarray(true, np.float64)[order]
    tie = np.concatenate([[0], np.cumsum(ranked[1:] != ranked[:-1])])
    size, positive = np.bincount(tie).astype(np.float64)[tie], np.bincount(tie, right)[tie]
    first = np.searchsorted(tie, tie)
    before = np.concatenate([[0.0], np.cumsum(right)])[first]
    place = np.arange(len(right)) - first + 1.0

    def gain(r: Array, m: Array, hits: Array, ahead: Array) -> Array:
        """What each place of a tie of m adds, r of them positive, that stands behind so many with so many hits."""
        inner = (place - 1) * np.maximum(r - 1, 0) / np.maximum(m - 1, 1)
        there = np.where((place <= m) & (r > 0), r / np.maximum(m, 1), 0.0)
        return np.asarray(there * (hits + 1 + inner) / np.maximum(ahead + place, 1))

    def later(gains: Array) -> Array:
        """The sum over the ties behind each one's."""
        return np.asarray(gains.sum() - np.cumsum(np.bincount(tie, gains))[tie])

    ahead, all_ = first.astype(np.float64), right.sum()
    now = gain(positive, size, before, ahead)
    head = np.cumsum(np.bincount(tie, now))[tie] - np.bincount(tie, now)[tie]
    lost = np.where(right > 0, 1.0, 0.0)
    own = np.bincount(tie, gain(positive, size - 1, before, ahead))[tie]
    own_hit = np.bincount(tie, gain(positive - 1, size - 1, before, ahead))[tie]
    tail, tail_hit = later(gain(positive, size, before, ahead - 1)), later(gain(positive, size, before - 1, ahead - 1))
    rest = head + np.where(lost > 0, own_hit + tail_hit, own + tail)
    without = np.empty(len(right))
    without[order] = rest / np.maximum(all_ - lost, 1)
    return float(now.sum() / max(all_, 1)), without


def standard_error(values: ArrayLike, made_up: tuple[float, ...] = (0.0, 1.0)) -> float:
    """Standard error of the mean of values (n,) from 0 to 1; never zero: an example at either end is added.

    Values in a unit of their own take `made_up=()`.
    """
    all_ = np.append(np.asarray(values, np.float64), made_up)
    return float(all_.std() / math.sqrt(len(all_)))
