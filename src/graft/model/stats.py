"""How sure is a score, or a gain? Intervals over test examples and seeds that also hold on small test parts.

Examples are resampled with replacement, and with them a few made-up ones: two right and two wrong for a score (Agresti
& Coull, 1998), one won and one lost for a gain (Bonett & Price, 2012). They matter only on small samples, where a plain
bootstrap is too narrow, and of width zero when all examples agree. Seeds are resampled beside them.

Outcomes of folds are those of models that learned from nearly the same examples, and resampling them as if each fold
were a test part of its own is too narrow. Nadeau & Bengio (2003) widen the variance of a mean over K folds by K times
n_test / n_train, which is OVERLAP. Only what hangs on the training examples is shared: where folds are repeated, the
variance between the repetitions, example by example, is widened so, and no more. Between equally good learners that
holds its level, be they stable or not (tests/test_stats.py).
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.core.errors import DataError, PlanError, nearest

Array = NDArray[np.float64]
Interval = tuple[float, float, float]  # mean, low, high

METRICS = ("accuracy", "balanced_accuracy")
BLOCK = 1 << 20  # resampled values held at once
OVERLAP = 5 / 4  # of five folds: what is added to the variance, as a share of that which hangs on training examples
GROUPS = 5  # of whom examples come, from which on these are resampled: fewer do not tell how others would differ
POWER = 0.8  # share of repetitions in which a gain is to be shown: four times in five


def example_weights(labels: ArrayLike, metric: str = "accuracy") -> Array:
    """What each example counts for (N,), summing to 1: with them either metric is the weighted mean of being right.

    Accuracy counts all examples alike, balanced accuracy all classes alike (the mean recall of the classes present).

    Raises:
        PlanError: the metric is not one of METRICS.
    """
    y = np.asarray(labels, np.int64)
    if metric not in METRICS:
        raise PlanError(f"There is no metric {metric!r}.{nearest(metric, METRICS)} There are: {', '.join(METRICS)}.")
    if metric == "accuracy":
        return np.full(len(y), 1 / len(y))
    counts = np.bincount(y)
    return np.asarray(1 / (counts[y] * np.count_nonzero(counts)))


def standard_error(correct: ArrayLike, weights: ArrayLike) -> float:
    """Standard error of the weighted mean of 0/1 (N,); never zero: one right and one wrong example are added."""
    right, share = np.asarray(correct, np.float64), np.asarray(weights, np.float64)
    count = 1 / float(share @ share)  # examples of equal weight that would tell as much
    rate = (float(right @ share) * count + 1) / (count + 2)
    return math.sqrt(rate * (1 - rate) / (count + 2))


def interval(
    correct: ArrayLike,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    shares: bool | None = None,
    folds: bool = False,
    groups: Sequence[str] = (),
) -> Interval:
    """Mean, low and high of a score: correct (S, N) holds S seeds' outcomes on the same N examples.

    Args:
        shares: whether outcomes stand between wrong and right, 0 and 1; by default, whether these do.
        folds: whether these are repetitions of folds, whose models share what they learned from.
        groups: (N,) whom the examples come from, if others are meant by the score: these are resampled whole.

    Raises:
        DataError: outcomes and weights that do not fit each other, or none at all.
    """
    table, share = _checked(correct, weights)
    rng = np.random.default_rng(seed)
    made_up = (0.0, 0.0, 1.0, 1.0) if (_shares(table) if shares is None else shares) else ()
    noise = _by_example(table, share, made_up, draws, rng, level, folds, groups)
    if not folds:
        noise += _by_seed(table @ share, draws, rng)
    return _interval(float(np.average(table.mean(0), weights=share)), noise, level)


def paired(
    a: ArrayLike,
    b: ArrayLike,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    shares: bool | None = None,
    folds: bool = False,
    groups: Sequence[str] = (),
) -> Interval:
    """Mean, low and high of the gain a - b: a (Sa, N) and b (Sb, N) on the same N examples, each with its own seeds.

    Args:
        shares, groups: as in `interval`.
        folds: likewise; row by row, a and b are then of the same folds: how they differ is told by as many rows as
            both have.

    Raises:
        DataError: a and b were not measured on equally many examples, or as in `interval`.
    """
    (first, share), (second, _) = _checked(a, weights), _checked(b, weights)
    if first.shape[1] != second.shape[1]:
        raise DataError(f"A gain is paired by example, but {first.shape[1]} and {second.shape[1]} examples were given.")
    rng = np.random.default_rng(seed)
    bounded = _shares(first) and _shares(second) if shares is None else shares
    made_up = (-1.0, 1.0) if bounded else ()
    if folds:
        both = min(len(first), len(second))
        noise = _by_example(first[:both] - second[:both], share, made_up, draws, rng, level, folds, groups)
    else:
        noise = _by_example((first.mean(0) - second.mean(0))[None], share, made_up, draws, rng, level, groups=groups)
        noise += _by_seed(first @ share, draws, rng) - _by_seed(second @ share, draws, rng)
    # The difference of the scores, whoever was asked more often: whoever reads both will subtract.
    return _interval(float(np.average(first.mean(0) - second.mean(0), weights=share)), noise, level)


def needed(gain: float, sd: float, level: float = 0.95, power: float = 0.5) -> int | None:
    """How many test examples it takes for the interval to leave out zero in this share of repetitions.

    n = ((z(level) + z(power)) sd / gain)², where sd is the standard deviation of one example's gain: from an interval
    over n examples, (high - low) / 3.92 * sqrt(n). None if the gain is zero.
    """
    return math.ceil((_deviations(level, power) * sd / gain) ** 2) if gain else None


def shown(gain: Interval, level: float = 0.95, power: float = POWER) -> float:
    """The least gain that a test like the one of this 95 % interval shows in this share of repetitions.

    (z(level) + z(power)) times its standard error, (high - low) / 3.92: at 80 % power 2.8 standard errors.
    """
    return _deviations(level, power) * (gain[2] - gain[1]) / 3.92


def power(size: float, gain: Interval, level: float = 0.95) -> float:
    """The share of repetitions in which a test like the one of this 95 % interval shows a gain of this size.

    Φ(size / its standard error - z(level)), with the standard error (high - low) / 3.92.
    """
    error = max((gain[2] - gain[1]) / 3.92, 1e-12)
    return NormalDist().cdf(size / error - NormalDist().inv_cdf((1 + level) / 2))


def _deviations(level: float, power: float) -> float:
    """How many standard errors a gain must be for an interval at this level to leave out zero so often."""
    return NormalDist().inv_cdf((1 + level) / 2) + NormalDist().inv_cdf(power)


def _checked(correct: ArrayLike, weights: ArrayLike | None) -> tuple[Array, Array]:
    table = np.atleast_2d(np.asarray(correct, np.float64))
    share = np.ones(table.shape[-1]) if weights is None else np.asarray(weights, np.float64)
    if table.ndim != 2 or not table.size or share.shape != table.shape[1:]:
        raise DataError(
            f"Outcomes (S, N) need N weights, not {table.shape} with {share.shape}, and at least one example."
        )
    return table, share / share.sum()


def _shares(table: Array) -> bool:
    """Whether outcomes lie between wrong and right; errors in a unit have no such ends."""
    return bool(((table >= 0) & (table <= 1)).all())


def _by_example(
    table: Array,
    share: Array,
    made_up: tuple[float, ...],
    draws: int,
    rng: np.random.Generator,
    level: float,
    folds: bool = False,
    groups: Sequence[str] = (),
) -> Array:
    """How far weighted means of resampled examples, or groups, lie from the mean (draws,).

    A made-up example counts for as much as one example does. A draw resamples the mean over seeds, or one repetition.
    """
    wide = math.sqrt(1 + OVERLAP * unstable(table, share)) if folds else 1.0
    values, means = (
        (table, table @ share) if folds else (table.mean(0, keepdims=True), (table @ share).mean(keepdims=True))
    )
    if whose := several(groups):
        total = np.bincount(whose, share).astype(np.float64)
        values = np.stack([np.bincount(whose, share * row) / total for row in values])
        share, made_up, wide = total, (), wide * _few(len(total), level)
    count = len(share) + len(made_up)
    values = np.hstack([values, np.tile(made_up, (len(values), 1))])
    share = np.append(share, np.full(len(made_up), share @ share))
    noise = np.empty(draws)
    step = max(1, BLOCK // count)
    for at in range(0, draws, step):
        picks = rng.integers(0, count, (min(step, draws - at), count))
        row = rng.integers(0, len(values), len(picks)) if len(values) > 1 else np.zeros(len(picks), np.int64)
        noise[at : at + step] = (values[row[:, None], picks] * share[picks]).sum(1) / share[picks].sum(1) - means[row]
    return noise * wide


def _few(groups: int, level: float) -> float:
    """How much wider few groups make an interval: their spread is short by one, and itself unsure (Student's t)."""
    from scipy.special import stdtrit  # not on the way of who only reads a report

    tail = (1 + level) / 2
    wider = float(stdtrit(groups - 1, tail)) / NormalDist().inv_cdf(tail)
    return wider * math.sqrt(groups / (groups - 1))


def unstable(table: Array, share: Array) -> float:
    """The share of the outcomes' variance that lies between repetitions (R, N), example by example, from 0 to 1.

    Of one repetition nothing is known: then 1.
    """
    if len(table) == 1:
        return 1.0
    whole = float((((table - (table @ share)[:, None]) ** 2) @ share).mean())
    return min(1.0, float(table.var(0, ddof=1) @ share) / whole) if whole else 0.0


def several(groups: Sequence[str]) -> list[int]:
    """The number of each example's group, where there are enough groups to resample; one of no group is its own."""
    names = [name or f"\0{row}" for row, name in enumerate(groups)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names] if len(numbers) >= GROUPS else []


def _by_seed(means: Array, draws: int, rng: np.random.Generator) -> Array:
    """What choosing other seeds adds (draws,): zero with one seed, from which nothing can be learnt about others."""
    count = len(means)
    if count == 1:
        return np.zeros(draws)
    picks = rng.integers(0, count, (draws, count))
    return np.asarray((means[picks].mean(1) - means.mean()) * math.sqrt(count / (count - 1)))  # unbiased for few seeds


def _interval(mean: float, noise: Array, level: float) -> Interval:
    low, high = mean + np.quantile(noise, [(1 - level) / 2, (1 + level) / 2])
    return mean, min(float(low), mean), max(float(high), mean)
