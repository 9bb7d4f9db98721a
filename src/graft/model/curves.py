"""Learning curves: how many labels a score took, and what more of them would add (Cortes et al. 1994; Viering & Loog
2023).

    error(n) = a + b n^-c,   a, b >= 0:   doubling n takes  b n^-c (1 - 2^-c)  off the error

All is worked out on scores of resampled examples and draws at once, (B, S) for S sizes: intervals are quantiles.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.model.stats import Interval

Array = NDArray[np.float64]

RATES = np.linspace(0.05, 2.0, 79)  # exponents that are tried: slower cannot be told from a line, faster from a step
POINTS = 5  # sizes from which a law of three numbers is fitted
OFF = 2.5  # standard errors that a point may lie off it
RESAMPLED = 1000


def order(strata: Sequence[str], groups: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Rows so that any number of the first is a smaller sample: strata in proportion, or else one group after another.

    Of rows in groups, more labels then mean more groups, as they would in life.
    """
    rng = np.random.default_rng(seed)
    if groups:
        _, whose = np.unique(np.asarray(groups), return_inverse=True)
        return np.lexsort((rng.random(len(whose)), rng.permutation(whose.max() + 1)[whose]))
    place = np.empty(len(strata))
    _, kind = np.unique(np.asarray(strata), return_inverse=True)
    for one in range(kind.max() + 1):
        rows = rng.permutation(np.flatnonzero(kind == one))
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.argsort(place, kind="stable")


def sizes(count: int, least: int, most: int = 6) -> list[int]:
    """The count halved again and again, ascending, none below the least."""
    halves = [round(count / 2**k) for k in range(most)]
    return [n for n in reversed(halves) if n >= least]


def resampled(outcomes: ArrayLike, share: ArrayLike, seed: int = 0) -> Array:
    """Scores (B, S) by outcomes (S, draws, n), examples and draws taken again; the same ones for the same seed."""
    table, weight, rng = np.asarray(outcomes, np.float64), np.asarray(share, np.float64), np.random.default_rng(seed)
    _, draws, count = table.shape
    examples = rng.multinomial(count, np.full(count, 1 / count), RESAMPLED) * weight
    which = rng.multinomial(draws, np.full(draws, 1 / draws), RESAMPLED) / draws
    each = np.einsum("bn,sdn->bsd", examples / examples.sum(1, keepdims=True), table, optimize=True)
    return np.asarray(np.einsum("bsd,bd->bs", each, which))


def reached(numbers: ArrayLike, scores: ArrayLike, goal: ArrayLike) -> Array:
    """How many labels it took to score at least the goal (B,), by curves (B, S); infinite where all were too few.

    Between two sizes the score is linear in the logarithm of their number; a curve that falls again has still been
    there. One that starts above the goal took at most the first size, which is what is returned.
    """
    n, top = np.log(np.asarray(numbers, np.float64)), np.maximum.accumulate(np.atleast_2d(scores), axis=1)
    aim = np.asarray(goal, np.float64).reshape(-1, 1)
    after = (top < aim).sum(1)
    at = np.clip(after, 1, len(n) - 1)
    rows = np.arange(len(top))
    low, high = top[rows, at - 1], top[rows, at]
    part = np.divide(aim[:, 0] - low, high - low, out=np.ones(len(top)), where=high > low)
    found = np.exp(n[at - 1] + np.clip(part, 0, 1) * (n[at] - n[at - 1]))
    return np.asarray(np.where(after == len(n), np.inf, np.where(after == 0, np.exp(n[0]), found)))


def power_law(numbers: ArrayLike, errors: ArrayLike, spread: ArrayLike) -> tuple[Array, Array, Array]:
    """a, b and c (B,) of the laws nearest to errors (B, S), each size counting by its standard error, spread (S,)."""
    n, e, w = np.asarray(numbers, np.float64), np.atleast_2d(errors), 1 / np.asarray(spread, np.float64) ** 2
    best, found = np.full(len(e), np.inf), np.zeros((3, len(e)))
    for c in RATES:
        x = (n / n[-1]) ** -c
        mean = (e @ w / w.sum(), x @ w / w.sum())
        slope = ((e - mean[0][:, None]) * (x - mean[1])) @ w / (((x - mean[1]) ** 2) @ w)
        b = np.where(mean[0] < slope * mean[1], e @ (w * x) / (w @ x**2), np.maximum(slope, 0))
        a = np.maximum(mean[0] - b * mean[1], 0)
        off = (e - a[:, None] - b[:, None] * x) ** 2 @ w
        closer = off < best
        best = np.where(closer, off, best)
        found[:, closer] = np.stack([a, b * n[-1] ** c, np.full(len(e), c)])[:, closer]
    return found[0], found[1], found[2]


def doubled(numbers: Sequence[int], errors: Array, drawn: Array) -> tuple[Interval, float] | None:
    """What twice as many labels would take off the error, with its 95 % interval, and the exponent c of the law.

    None where no law can be told: too few sizes, or points off it.

    Shape: errors (S,), drawn (B, S).
    """
    spread = np.maximum(drawn.std(0), 1e-9)
    if len(numbers) >= POINTS:
        (a,), (b,), (c,) = power_law(numbers, errors, spread)
        if (np.abs(errors - a - b * np.asarray(numbers) ** -c) <= OFF * spread).all():
            _, many, rate = power_law(numbers, drawn, spread)
            gains = many * float(numbers[-1]) ** -rate * (1 - 2**-rate)
            gain, (low, high) = float(b * numbers[-1] ** -c * (1 - 2**-c)), np.quantile(gains, [0.025, 0.975])
            return (gain, min(float(low), gain), max(float(high), gain)), float(c)
    return None
