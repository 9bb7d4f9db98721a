"""The exact linear head: multinomial logistic regression with an L2 penalty, its strength chosen by cross-validation.

    minimise over W, b:  mean_i -log softmax(W z_i + b)[y_i]  +  strength / 2 * |W|²

z is a row of standardised columns, scaled so that the rows' mean squared length is 1: one path of strengths then serves
four columns and fifty thousand. |W|² does not see a rotation, so the rows are turned onto their principal axes: at most
as many as there are rows, and the solver can step along each axis at its own curvature.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from graft.core.errors import DataError
from graft.model.stats import example_weights, standard_error

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Rows = NDArray[np.float64] | NDArray[np.float32]

PATH = tuple(10.0 ** (-step / 2) for step in range(2, 11))  # strong to weak; over half a decade a score hardly moves
PATIENCE = 2  # strengths in a row without a better held-out log-loss, after which weaker ones are not tried
FLOOR = 0.1  # share of the columns that vary too little for their own spread to be trusted as a scale
ROUGH, EXACT = 1e-4, 1e-7  # largest entry of the gradient, scaled by curvature: to compare strengths, to return
DIGITS = 9  # to which rows are compared where they are dealt to folds: further ones are rounding
BLOCK = 4096  # rows in double precision at once: bounds the memory


@dataclass(frozen=True)
class Linear:
    """A linear head on the features as they came: the standardisation is folded in."""

    weight: Array  # (C, D)
    bias: Array  # (C,)
    strength: float
    score: float  # cross-validated, at this strength
    error: float  # standard error of the score
    held: Array = field(default_factory=lambda: np.zeros((0, 0)), compare=False, repr=False)
    # (N, C) log-probabilities of each row by a head that did not learn from it


def fit(
    features: ArrayLike,
    labels: ArrayLike,
    classes: int,
    weights: ArrayLike | None = None,
    strengths: Sequence[float] = PATH,
    folds: int = 5,
    seed: int = 0,
    metric: str = "accuracy",
    fold: ArrayLike | None = None,
) -> Linear:
    """The head of the best strength, solved on all rows.

    Of the strengths whose held-out score is within one standard error of the best, the one of the least held-out
    log-loss is taken: on few rows the score is too coarse to choose by, and alone the log-loss prefers being calibrated
    to being right. The folds go by what the rows hold, so that their order does not matter; or they are given, as where
    rows of one text must go together.

    Shape: features (N, D), labels (N,) of 0 … classes-1, weights (N,) of the examples in the objective.
    Raises:
        DataError: fewer than two rows, lengths that differ, labels out of range, values that are not finite.
        PlanError: there is no such metric.
    """
    x, y, w = _checked(features, labels, classes, weights)
    with threadpool_limits(1, user_api="blas"):  # thousands of small products: waiting threads cost more than they do
        own = folded(x, y, folds, seed) if fold is None else np.asarray(fold, np.int64)
        rows, turn, centre = principal(x)
        strength, held, start = _choose(rows, y, w, classes, strengths, own, metric)
        head = _solve(rows, y, w[None], strength, start, EXACT)[0]
        weight = head[:, :-1] @ turn.T
    right, share = held.argmax(1) == y, example_weights(y, metric)
    bias = head[:, -1] - weight @ centre
    return Linear(weight, bias, strength, float(np.average(right, weights=share)), standard_error(right, share), held)


def cross_predict(
    features: ArrayLike,
    labels: ArrayLike,
    classes: int,
    weights: ArrayLike | None = None,
    strengths: Sequence[float] = PATH,
    folds: int = 5,
    seed: int = 0,
    metric: str = "accuracy",
    fold: ArrayLike | None = None,
) -> Array:
    """Log-probabilities (N, C) of each row by a head that did not learn from it; arguments and errors as in `fit`."""
    x, y, w = _checked(features, labels, classes, weights)
    with threadpool_limits(1, user_api="blas"):
        own = folded(x, y, folds, seed) if fold is None else np.asarray(fold, np.int64)
        return _choose(principal(x)[0], y, w, classes, strengths, own, metric)[1]


def logits(weight: ArrayLike, bias: ArrayLike, features: ArrayLike) -> Array:
    """What a head of weight (K, D) and bias (K,) says of features (N, D), in double precision: (N, K)."""
    turned, rows = np.asarray(weight, np.float64).T, np.asarray(features)
    said = np.empty((len(rows), turned.shape[1]))
    for at, part in blocks(rows):
        said[at] = part @ turned
    return said + np.asarray(bias, np.float64)


def blocks(rows: NDArray[Any]) -> Iterator[tuple[slice, Array]]:
    """Some rows after the other in double precision, and where they stand: all of them would be the largest thing."""
    for start in range(0, len(rows), BLOCK):
        at = slice(start, start + BLOCK)
        yield at, rows[at].astype(np.float64, copy=False)


def _checked(x: ArrayLike, y: ArrayLike, classes: int, w: ArrayLike | None) -> tuple[Rows, Labels, Array]:
    features, labels = np.asarray(x), np.asarray(y, np.int64)
    if features.dtype != np.float32:  # which stays as it is: a copy in double would be the largest thing here
        features = np.asarray(features, np.float64)
    weights = np.ones(len(labels)) if w is None else np.asarray(w, np.float64)
    if features.ndim != 2 or labels.shape != (len(features),) or weights.shape != labels.shape:
        raise DataError(
            f"A linear head learns from features (N, D) with N labels and N weights, "
            f"not from {features.shape} with {labels.shape} and {weights.shape}."
        )
    if len(labels) < 2:
        raise DataError(f"A linear head is chosen by cross-validation and needs at least 2 rows, not {len(labels)}.")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"Labels must lie in 0 … {classes - 1}, but they run from {labels.min()} to {labels.max()}.")
    if bad := sum(int((~np.isfinite(part)).any(1).sum()) for _, part in blocks(features)):
        raise DataError(f"{bad} of {len(features)} rows of features hold values that are not finite: leave them out.")
    if not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise DataError("The examples' weights must be finite, not negative, and not all zero.")
    return features, labels, weights


def principal(x: Rows) -> tuple[Rows, Array, Array]:
    """Scaled rows on their principal axes, with a column of ones (N, A+1); the map onto the axes (D, A); the mean (D,).

    Columns are divided by their spread, but hardly beyond that of the lowest tenth. A feature that is silent on these
    rows and speaks on others would otherwise shout: 30 digits through a MobileNet lose 7 points of accuracy to it.
    The scaling sees no labels and is shared by the folds. Rows are turned in double precision and kept in that of x.
    """
    centre = sum(part.sum(0) for _, part in blocks(x)) / len(x)
    spread = np.sqrt(sum(((part - centre) ** 2).sum(0) for _, part in blocks(x)) / len(x))
    varies = spread > 1e-9 * np.maximum(np.abs(x.min(0)), np.abs(x.max(0)))  # what is left of a constant is rounding
    least = np.quantile(spread[varies], FLOOR, method="lower") if varies.any() else 1.0
    scale = np.where(varies, 1 / np.hypot(spread, least), 0.0)
    scale /= np.linalg.norm(spread * scale) or 1.0
    if x.shape[1] > len(x):
        z = (x - centre) * scale
        squares, axes = np.linalg.eigh(z @ z.T)
    else:
        squares, axes = np.linalg.eigh(sum(z.T @ z for z in ((part - centre) * scale for _, part in blocks(x))))
    kept = squares > 1e-12 * squares.max(initial=0.0)
    axes = axes[:, kept]
    if x.shape[1] > len(x):
        axes = z.T @ (axes / np.sqrt(squares[kept]))
    turned = np.ones((len(x), axes.shape[1] + 1), x.dtype)
    for at, part in blocks(x):
        turned[at, :-1] = (part - centre) * scale @ axes
    return turned, scale[:, None] * axes, centre


def folded(x: Rows, y: Labels, folds: int, seed: int) -> Labels:
    """The fold of each row: each class dealt out evenly, in an order that only the seed and the rows' content set.

    The seed shuffles ranks by the distance to the mean, which no rotation, unit, offset or name of a class changes;
    rows as far from it come in the order of a hash, for which each column's range is its unit. Copies go together, else
    a head would be asked for what it has learned by heart; unless there is little but copies.
    """
    centre, low, high = x.mean(0, dtype=np.float64), x.min(0).astype(np.float64), x.max(0).astype(np.float64)
    unit = np.where(high > low, high - low, 1.0)
    odd = np.random.default_rng(seed).integers(0, 2**63, x.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    far, content = np.empty(len(x)), np.empty(len(x), np.uint64)
    for at, part in blocks(x):
        far[at] = np.linalg.norm(part - centre, axis=1)
        inside = np.round((part - low) / unit, DIGITS)  # constant columns add nothing
        content[at] = inside.view(np.uint64) @ odd  # modulo 2⁶⁴: exact in any order
    np.round(far / (far.mean() or 1.0), DIGITS, out=far)
    names, first = np.unique(y[np.lexsort((y, content, far))], return_index=True)
    kin = np.argsort(np.argsort(first))[np.searchsorted(names, y)]  # classes by their row nearest to the mean
    order = np.lexsort((content, far, kin))
    far, content, kin = far[order], content[order], kin[order]
    new = np.append(True, (content[1:] != content[:-1]) | (far[1:] != far[:-1]) | (kin[1:] != kin[:-1]))
    drawn = np.lexsort((np.random.default_rng(seed).permutation(new.sum()), kin[new]))
    place = np.argsort(drawn)[np.cumsum(new) - 1]  # of a row's copies together
    if new.sum() < folds * len(names):
        place = np.argsort(np.argsort(place, kind="stable"))
    fold = np.empty(len(y), np.int64)
    fold[order] = place % min(folds, len(y))
    return fold


def grouped(groups: Sequence[str], count: int = 5) -> Labels:
    """The fold of each row, whole groups together, the largest first to the smallest fold; rows of none by turns."""
    sizes, filled, where = Counter(groups), [0] * count, dict[str, int]()
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        where[name] = int(np.argmin(filled))
        filled[where[name]] += sizes[name]
    return np.array([where[name] if name else at % count for at, name in enumerate(groups)], np.int64)


def _choose(
    rows: Rows, y: Labels, w: Array, classes: int, strengths: Sequence[float], fold: Labels, metric: str
) -> tuple[float, Array, Array]:
    """The strength to take and, at it, the held-out log-probabilities (N, C) and the folds' mean head (1, C, A)."""
    from scipy.special import log_softmax

    count = fold.max() + 1
    share = example_weights(y, metric)
    known = w * (np.bincount(y)[y] > 1)  # an only example is held out from a head that never saw its class
    asked = known if known.any() else w
    learns = np.where(fold == np.arange(count)[:, None], 0.0, w)
    single = rows.astype(np.float32, copy=False)  # enough to compare strengths
    heads = np.zeros((count, classes, rows.shape[1]))
    trials, losses, scores = [], [], []
    for strength in strengths:
        heads = _solve(single, y, learns, strength, heads, ROUGH)
        held = log_softmax(held_out(rows, heads, fold), axis=1)
        trials.append((strength, held, heads.mean(0, keepdims=True)))
        losses.append(-float(np.average(held[np.arange(len(y)), y], weights=asked)))
        scores.append(float((held.argmax(1) == y) @ share))
        if len(losses) > int(np.argmin(losses)) + PATIENCE:
            break
    best = int(np.argmax(scores))
    least = scores[best] - standard_error(trials[best][1].argmax(1) == y, share)
    return trials[min((i for i, score in enumerate(scores) if score >= least), key=losses.__getitem__)]


def held_out(rows: Rows, heads: Array, fold: Labels) -> Array:
    """What each row's own fold's head, of heads (F, K, A), says of rows (N, A): (N, K)."""
    said = np.empty((len(rows), heads.shape[1]))
    for at, part in blocks(rows):
        for k in range(len(heads)):
            said[at][fold[at] == k] = part[fold[at] == k] @ heads[k].T
    return said


def squared(rows: Rows) -> Array:
    """The sum of squares of each column."""
    return np.asarray(sum((part**2).sum(0) for _, part in blocks(rows)))


def _solve(rows: Rows, y: Labels, weights: Array, strength: float, start: Array, tolerance: float) -> Array:
    """Heads (K, C, A) on rows (N, A), one for each set of weights (K, N), solved together from a start.

    The folds' objectives do not touch, but their Hessians are nearly alike: solved as one problem they need hardly more
    steps than one fold does, and every product with the rows serves them all.
    """
    from scipy.optimize import minimize  # not on the way of who asks a model that is fitted
    from scipy.special import log_softmax

    kind = np.float32 if tolerance == ROUGH else np.float64
    weights = (weights / np.maximum(weights.sum(1, keepdims=True), 1e-300)).astype(kind)
    penalty = np.full(rows.shape[1], strength)
    penalty[-1] = 0.0  # the intercept
    likely = np.exp(log_softmax(rows[:BLOCK] @ start.mean(0).T, axis=1))
    scale = np.sqrt((likely * (1 - likely)).mean() * squared(rows) / len(rows) + penalty)

    def objective(flat: Array) -> tuple[float, Array]:
        heads = flat.reshape(start.shape) / scale
        loss, slope = float((penalty * heads**2).sum()) / 2, penalty * heads
        turned = heads.reshape(-1, heads.shape[2]).T.astype(kind)
        for at in range(0, len(rows), BLOCK):
            part = rows[at : at + BLOCK].astype(kind, copy=False)
            target, share, each = y[at : at + BLOCK], weights[:, at : at + BLOCK].T, np.arange(len(part))
            odds = (part @ turned).reshape(len(part), *heads.shape[:2])
            odds -= odds.max(2, keepdims=True)
            loss -= float((share * odds[each, :, target]).sum())
            np.exp(odds, out=odds)
            total = odds.sum(2)
            loss += float((share * np.log(total)).sum())
            odds *= (share / total)[..., None]
            odds[each, :, target] -= share
            slope += (odds.reshape(len(part), -1).T @ part).reshape(heads.shape)
        return loss, (slope / scale).ravel()

    options = {"maxiter": 2000, "maxfun": 4000, "gtol": tolerance, "ftol": 0.0, "maxcor": 5}
    found = minimize(objective, (start * scale).ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.reshape(start.shape) / scale)
