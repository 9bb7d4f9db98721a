"""Groups that nobody named: k-means, how many there are, and whether there are any.

Starts are k-means++ (Arthur & Vassilvitskii, 2007); measures are the silhouette (Rousseeuw, 1987), the adjusted Rand
index (Hubert & Arabie, 1985) and stability under resampling (Ben-Hur, Elisseeff & Guyon, 2002); rows without groups are
those of the gap statistic (Tibshirani, Walther & Hastie, 2001). All in float64 and seeded: the same rows give the same
groups, largest first.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from graft.core.errors import DataError

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

STARTS = 10  # k-means runs, of which the tightest counts; FEW where many clusterings are only compared
FEW = 3
STEPS = 300  # of one run, at most
MEASURED = 2000  # rows that a silhouette is measured on, at most
LOOKED = 1000  # rows, and AXES principal axes, that the number of groups is chosen on, at most
AXES = 50
PAIRS = 10  # pairs of subsamples in a stability
ALIKE = 0.02  # difference in stability that makes none
NULLS = 9  # draws of rows without groups; STABLE of them are resampled too, which takes longer
STABLE = 3
PRIOR, SURE = 10, 1.96  # documents that the prior of a term weighs as much as; standard errors that set it apart
CLEAR = 3.0  # standard deviations by which the silhouette must exceed that of rows without groups


@dataclass(frozen=True)
class Groups:
    """A clustering of rows."""

    centres: Array  # (k, D), of the largest group first
    group: Whole  # (N,)
    spread: float  # sum of the squared distances from the centres


@dataclass(frozen=True)
class Trial:
    """What speaks for a number of groups."""

    k: int
    silhouette: float
    stability: float  # mean adjusted Rand index
    error: float  # its standard error


@dataclass(frozen=True)
class Choice:
    """The groups, and why there are so many."""

    groups: Groups
    trials: tuple[Trial, ...]
    sentence: str


def kmeans(features: ArrayLike, k: int, seed: int = 0, starts: int = STARTS) -> Groups:
    """The tightest of several clusterings into k groups, none of them empty.

    Shape: features (N, D).
    Raises:
        DataError: fewer rows than groups, or values that are not finite.
    """
    x = _checked(features)
    if not 1 <= k <= len(x):
        raise DataError(f"{len(x)} rows cannot be put into {k} groups: ask for 1 to {len(x)}.")
    shift = x.mean(0)  # large offsets would cancel in the distances
    with threadpool_limits(1, user_api="blas"):
        found = _kmeans(x - shift, k, np.random.default_rng(seed), starts)
    order = np.argsort(-np.bincount(found.group, minlength=k), kind="stable")
    return Groups(found.centres[order] + shift, np.argsort(order)[found.group], found.spread)


def as_linear(centres: ArrayLike) -> tuple[Array, Array]:
    """Weight (k, D) and bias (k,) of the linear map whose largest answer is the nearest centre: 2 c·x - |c|²."""
    c = np.asarray(centres, np.float64)
    return 2 * c, -(c**2).sum(1)


def silhouette(features: ArrayLike, group: ArrayLike, seed: int = 0) -> float:
    """How much nearer rows are to their own group than to the next one, -1 to 1; 0 for one group, and for a row alone.

    On 2,000 rows drawn by the seed where there are more. Shape: features (N, D), group (N,).
    """
    x, labels = _checked(features), np.asarray(group)
    if len(x) > MEASURED:
        rows = np.sort(np.random.default_rng(seed).choice(len(x), MEASURED, replace=False))
        x, labels = x[rows], labels[rows]
    with threadpool_limits(1, user_api="blas"):
        return _silhouette(_distances(x - x.mean(0)), labels)


def adjusted_rand(a: ArrayLike, b: ArrayLike) -> float:
    """How far two clusterings (N,) agree on which pairs belong together: 1 entirely, 0 as far as chance would."""
    first, second = (np.unique(np.asarray(one), return_inverse=True)[1] for one in (a, b))
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    both, left, right, all_ = (float((n * (n - 1)).sum()) / 2 for n in (table, table.sum(1), table.sum(0), table.sum()))
    expected, most = left * right / max(all_, 1.0), (left + right) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def stability(features: ArrayLike, k: int, seed: int = 0, pairs: int = PAIRS) -> Array:
    """The agreement (pairs,) of clusterings of two subsamples, each extended to all rows by its nearest centre.

    Each subsample has two thirds of the rows, half of which the other has too.
    """
    x = _checked(features)
    with threadpool_limits(1, user_api="blas"):
        return _stability(x - x.mean(0), k, seed, pairs)


def choose(features: ArrayLike, ks: Sequence[int] = range(2, 11), seed: int = 0) -> Choice:
    """How many groups there are: the most that come out as alike as any number of groups does.

    That is the largest k whose stability is within one standard error, or 0.02, of the best one. There are none (one
    group) unless the best silhouette is clearly above (three standard deviations), and the stability at k is above,
    what the best k shows on rows without groups: rows spread evenly over the box that the data fill along their
    principal axes. (Columns that are permuted are no such rows: what is correlated would seem grouped, and groups along
    a column would survive.) Looked at are 1,000 rows and 50 axes, at most, and numbers of groups of three rows or more.

    Shape: features (N, D).
    Raises:
        DataError: no rows, or values that are not finite.
    """
    x = _checked(features)
    rng = np.random.default_rng(seed)
    with threadpool_limits(1, user_api="blas"):
        rows = _on_axes(x[np.sort(rng.permutation(len(x))[:LOOKED])])
        asked = sorted({k for k in ks if 2 <= k <= len(rows) // 3})
        if not asked or not rows.any():
            why = f"One group: {len(x)} rows are too few, or too much alike, to be told apart."
            return Choice(kmeans(x, 1), (), why)
        trials = _trials(rows, asked, seed, PAIRS)
        nulls = [rng.uniform(rows.min(0), rows.max(0), rows.shape) for _ in range(NULLS)]
        bests = np.array([_best_silhouette(null, asked, seed) for null in nulls])
        steadiest = [max(t.stability for t in _trials(null, asked, seed, PAIRS)) for null in nulls[:STABLE]]
    top = max(trials, key=lambda trial: trial.stability)
    chosen = max((t for t in trials if t.stability >= top.stability - max(top.error, ALIKE)), key=lambda trial: trial.k)
    shape, needed = max(t.silhouette for t in trials), float(bests.mean() + CLEAR * bests.std(ddof=1))
    chance = float(np.mean(steadiest))
    measured = (
        f"(silhouette {shape:.2f} where {needed:.2f} could be chance; agreement of two subsamples "
        f"{chosen.stability:.2f} where {chance:.2f} could be)"
    )
    if shape <= needed or chosen.stability <= chance:
        why = f"One group: the rows do not fall apart more than evenly spread ones {measured}."
        return Choice(kmeans(x, 1), trials, why)
    why = f"{chosen.k} groups: the most that come out alike from different parts of the data {measured}."
    return Choice(kmeans(x, chosen.k, seed), trials, why)


def terms(documents: Sequence[Sequence[str]], groups: ArrayLike, count: int = 10) -> list[list[str]]:
    """For each group the terms that set its documents apart, best first (Monroe, Colaresi & Quinn, 2008).

    A term's log-odds in the group less those in the other documents, both with a Dirichlet prior of the whole corpus'
    frequencies that weighs as much as ten documents, over its standard error. Left out are terms within 1.96 of them,
    and terms of a single document of the group.

    Shape: documents N lists of tokens, groups (N,) of 0 … k-1.
    """
    labels = np.asarray(groups, np.int64)
    index = {term: i for i, term in enumerate(sorted({term for tokens in documents for term in tokens}))}
    words = list(index)
    used = np.zeros((labels.max(initial=-1) + 1, len(words)))
    having = np.zeros_like(used)
    for group, tokens in zip(labels, documents, strict=True):
        for term, times in Counter(tokens).items():
            used[group, index[term]] += times
            having[group, index[term]] += 1
    whole = used.sum(0)
    prior = whole * (PRIOR / max(len(documents), 1))
    here, there = used + prior, whole - used + prior
    odds = [np.log(part / np.maximum(part.sum(1, keepdims=True) - part, 1e-12)) for part in (here, there)]
    sure = np.where(having > 1, (odds[0] - odds[1]) / np.sqrt(1 / here + 1 / there), 0.0)
    return [[words[i] for i in np.argsort(-row, kind="stable")[:count] if row[i] > SURE] for row in sure]


def _trials(x: Array, ks: Sequence[int], seed: int, pairs: int) -> tuple[Trial, ...]:
    far, trials = _distances(x), []
    for k in ks:
        group = _kmeans(x, k, np.random.default_rng(seed), FEW).group
        agreement = _stability(x, k, seed, pairs)
        error = float(agreement.std(ddof=1) / np.sqrt(pairs))
        trials.append(Trial(k, _silhouette(far, group), float(agreement.mean()), error))
    return tuple(trials)


def _best_silhouette(x: Array, ks: Sequence[int], seed: int) -> float:
    far = _distances(x)
    return max(_silhouette(far, _kmeans(x, k, np.random.default_rng(seed), FEW).group) for k in ks)


def _stability(x: Array, k: int, seed: int, pairs: int) -> Array:
    agreement = np.empty(pairs)
    for pair in range(pairs):
        rng = np.random.default_rng([seed, pair])
        order, third = rng.permutation(len(x)), len(x) // 3
        clusterings = []
        for part in (order[third:], order[: len(x) - third]):
            weight, bias = as_linear(_kmeans(x[part], min(k, len(part)), rng, FEW).centres)
            clusterings.append((x @ weight.T + bias).argmax(1))
        agreement[pair] = adjusted_rand(*clusterings)
    return agreement


def _silhouette(far: Array, group: Whole) -> float:
    """From the distances between all rows (N, N)."""
    labels = np.unique(group, return_inverse=True)[1]
    sizes, each = np.bincount(labels), np.arange(len(far))
    if len(sizes) < 2:
        return 0.0
    sums = far @ np.eye(len(sizes))[labels]
    own = sums[each, labels] / np.maximum(sizes[labels] - 1, 1)
    means = sums / sizes
    means[each, labels] = np.inf
    other = means.min(1)
    widths = (other - own) / np.maximum(np.maximum(own, other), 1e-300)
    return float(np.where(sizes[labels] > 1, widths, 0.0).mean())


def _kmeans(x: Array, k: int, rng: np.random.Generator, starts: int) -> Groups:
    return min((_lloyd(x, _plus_plus(x, k, rng)) for _ in range(starts)), key=lambda found: found.spread)


def _plus_plus(x: Array, k: int, rng: np.random.Generator) -> Array:
    """Starting centres (k, D): rows far from those that were taken, each the best of a few that chance proposes."""
    far, centres = np.ones(len(x)), np.empty((k, x.shape[1]))
    for at in range(k):
        tries = 2 + int(np.log(k)) if at else 1
        total = np.cumsum(far)
        picks = np.searchsorted(total, rng.random(tries) * total[-1], side="right").clip(max=len(x) - 1)
        left = _squares(x[picks], x)
        if at:
            left = np.minimum(left, far)
        best = int(left.sum(1).argmin())
        centres[at], far = x[picks[best]], left[best]
    return centres


def _lloyd(x: Array, centres: Array) -> Groups:
    """From these centres to where no row changes its group; a group that is left empty takes the row farthest off."""
    k, group = len(centres), np.full(len(x), -1)
    for _ in range(STEPS):
        far = _squares(x, centres)
        now = far.argmin(1)
        near, sizes = far[np.arange(len(x)), now], np.bincount(now, minlength=k)
        for empty in np.flatnonzero(sizes == 0):
            row = int(np.where(sizes[now] > 1, near, -1.0).argmax())
            sizes[now[row]] -= 1
            now[row], near[row], sizes[empty] = empty, 0.0, 1
        if (now == group).all():
            break
        group = now
        centres = np.eye(k)[group].T @ x / sizes[:, None]
    return Groups(centres, group, float(((x - centres[group]) ** 2).sum()))


def _on_axes(x: Array) -> Array:
    """Rows on their principal axes, the widest first: distances stay, but for what the axes left out hold."""
    z = x - x.mean(0)
    left, values, _ = np.linalg.svd(z, full_matrices=False)
    kept = values[:AXES] > 1e-9 * max(float(np.abs(x).max(initial=0)), 1e-300)
    return np.asarray((left * values)[:, :AXES][:, kept])


def _distances(x: Array) -> Array:
    far = np.sqrt(_squares(x, x))
    np.fill_diagonal(far, 0.0)
    return far


def _squares(x: Array, y: Array) -> Array:
    return np.asarray(np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * (x @ y.T), 0.0))


def _checked(features: ArrayLike) -> Array:
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or not len(x):
        raise DataError(f"Groups are found among rows (N, D), not in {x.shape}.")
    if bad := int((~np.isfinite(x)).any(1).sum()):
        raise DataError(f"{bad} of {len(x)} rows hold values that are not finite: leave them out.")
    return x
