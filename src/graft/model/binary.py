"""The exact linear head of many labels: a logistic regression for each, all of one L2 strength, solved together.

    minimise over w, b, for each label:  mean_i log(1 + exp(-±(w·z_i + b)))  +  strength / 2 * |w|²

Rows are standardised and turned as in `graft.model.linear`, folds are dealt by each row's rarest label, and the
strength is chosen by the same rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit
from threadpoolctl import threadpool_limits

from graft.core.errors import DataError
from graft.model.linear import (
    EXACT,
    PATH,
    PATIENCE,
    ROUGH,
    Array,
    Labels,
    Linear,
    Rows,
    blocks,
    folded,
    held_out,
    principal,
    squared,
)
from graft.model.outcomes import standard_error

Outcomes = Callable[[Array, Labels], Array]
TRUSTED = 10  # positives by which a label's own threshold counts as much as the one common to all labels
BLOCK = 1 << 22  # logits per sweep of the objective: bounds its memory


def fit(
    features: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike | None = None,
    strengths: Sequence[float] = PATH,
    folds: int = 5,
    seed: int = 0,
    outcomes: Outcomes | None = None,
    fold: ArrayLike | None = None,
) -> Linear:
    """The heads of the best strength, solved on all rows.

    Of the strengths whose held-out score is within one standard error of the best, the one of the least held-out
    log-loss is taken, as in `graft.model.linear.fit`.

    Args:
        weights: (K,) what a positive of each label counts for, a negative counting 1.
        outcomes: held-out logits (N, K) and each row's fold (N,) → values (N,) whose mean is the score; by default the
            share of a row's labels that have the right sign.
        fold: (N,) the fold of each row, where rows must go together.

    Shape: features (N, D), targets (N, K) of 0 and 1. The head's weight is (K, D).
    Raises:
        DataError: fewer than two rows, shapes that do not fit, targets other than 0 and 1, values that are not finite.
    """
    x, y, w = _checked(features, targets, weights)
    judge = outcomes or (lambda held, fold: ((held > 0) == (y > 0)).mean(1))
    with threadpool_limits(1, user_api="blas"):  # as in `linear.fit`
        rows, turn, centre = principal(x)
        own = folded(x, rarest(y), folds, seed) if fold is None else np.asarray(fold, np.int64)
        strength, values, start = _choose(rows, y, w, strengths, own, judge)
        head = _solve(rows, y, w, np.ones((1, len(y))), strength, start, EXACT)[0]
        weight = head[:, :-1] @ turn.T
    return Linear(weight, head[:, -1] - weight @ centre, strength, float(values.mean()), standard_error(values))


def rarest(targets: ArrayLike) -> Labels:
    """The rarest label of each row (N,), counted from 1 in the order of the columns; 0 for a row without any."""
    y = np.asarray(targets) > 0
    count = np.where(y, y.sum(0), len(y) + 1)
    return np.where(y.any(1), count.argmin(1) + 1, 0) if y.shape[1] else np.zeros(len(y), np.int64)


def thresholds(logits: ArrayLike, targets: ArrayLike) -> Array:
    """The logit (K,) above which each label is best given, from logits and targets (N, K) that were not learned from.

    One threshold common to all labels maximises the F1 over all of them together, each label's own maximises its F1.
    With P positives, an own threshold counts P / (P + 10) and the common one the rest; the common one is drawn to 0
    in the same way. Where several are as good, the one nearest to what it is drawn to is taken.
    """
    scores, true = np.asarray(logits, np.float64), np.asarray(targets) > 0
    common = _threshold(scores.ravel(), true.ravel(), 0.0)
    return np.array([_threshold(scores[:, k], true[:, k], common) for k in range(scores.shape[1])])


def _threshold(scores: Array, true: NDArray[np.bool_], drawn_to: float) -> float:
    """The threshold of the greatest F1 of scores (N,), drawn to another the more, the fewer positives there are."""
    positives = int(true.sum())
    if not positives:
        return drawn_to
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(true[order])
    edges = np.append((ranked[:-1] + ranked[1:]) / 2, ranked[-1] - 1)  # below each score
    f1 = np.append(2 * hits / (np.arange(1, len(hits) + 1) + positives), 0.0)
    f1[:-1][np.append(ranked[:-1] == ranked[1:], False)] = 0  # ties fall on one side
    at = int((scores > drawn_to).sum())
    edges, f1[-1] = np.append(edges, drawn_to), 2 * hits[at - 1] / (at + positives) if at else 0.0
    best = edges[f1 >= f1.max() - 1e-12]
    own = float(best[np.abs(best - drawn_to).argmin()])
    return drawn_to + (own - drawn_to) * positives / (positives + TRUSTED)


def _checked(x: ArrayLike, y: ArrayLike, w: ArrayLike | None) -> tuple[Rows, Array, Array]:
    """Features, targets, and what each target counts for (N, K)."""
    features, targets = np.asarray(x), np.asarray(y, np.float64)
    if features.dtype != np.float32:  # as in `linear`
        features = np.asarray(features, np.float64)
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets) or not targets.shape[1]:
        raise DataError(
            f"Heads for many labels learn from features (N, D) with targets (N, K), not from {features.shape} with "
            f"{targets.shape}."
        )
    if len(targets) < 2:
        raise DataError(f"A linear head is chosen by cross-validation and needs at least 2 rows, not {len(targets)}.")
    if not np.isin(targets, (0, 1)).all():
        raise DataError("A label is there (1) or not (0); the targets hold other values.")
    if bad := sum(int((~np.isfinite(part)).any(1).sum()) for _, part in blocks(features)):
        raise DataError(f"{bad} of {len(features)} rows of features hold values that are not finite: leave them out.")
    positive = np.ones(targets.shape[1]) if w is None else np.asarray(w, np.float64)
    if positive.shape != targets.shape[1:] or not (np.isfinite(positive) & (positive > 0)).all():
        raise DataError(f"Each of the {targets.shape[1]} labels needs one weight above zero for its positives.")
    return features, targets, np.where(targets > 0, positive, 1.0)


def _choose(
    rows: Rows, y: Array, w: Array, strengths: Sequence[float], fold: Labels, judge: Outcomes
) -> tuple[float, Array, Array]:
    """The strength to take and, at it, the outcomes (N,) of the held-out logits and the folds' mean heads (1, K, A)."""
    count = fold.max() + 1
    learns = (fold != np.arange(count)[:, None]).astype(np.float64)
    asked = np.where((y > 0) & (y.sum(0) == 1), 0.0, w)  # an only positive is held out from a head that saw none
    single = rows.astype(np.float32, copy=False)  # enough to compare strengths
    heads = np.zeros((count, y.shape[1], rows.shape[1]))
    trials, losses = [], []
    for strength in strengths:
        heads = _solve(single, y, w, learns, strength, heads, ROUGH)
        held = held_out(rows, heads, fold)
        trials.append((strength, judge(held, fold), heads.mean(0, keepdims=True)))
        losses.append(-float((asked * log_expit(np.where(y > 0, held, -held))).sum()))
        if len(losses) > int(np.argmin(losses)) + PATIENCE:
            break
    scores = [float(values.mean()) for _, values, _ in trials]
    best = int(np.argmax(scores))
    least = scores[best] - standard_error(trials[best][1])
    return trials[min((i for i, score in enumerate(scores) if score >= least), key=losses.__getitem__)]


def _solve(rows: Rows, y: Array, w: Array, learns: Array, strength: float, start: Array, tolerance: float) -> Array:
    """Heads (F, K, A) on rows (N, A), for F sets of rows that learn (F, N), solved as one problem from a start.

    No two of the F · K objectives touch. Each is measured in steps of its own curvature, which for a rare label is
    small: after that they need hardly more steps together than one does alone.
    """
    from scipy.optimize import minimize  # not on the way of who asks a model that is fitted

    totals = learns @ w  # (F, K)
    rate = (learns @ (w * y)) / totals
    few = 0.5 / learns.sum(1, keepdims=True)  # a label that a fold lacks still has a curvature
    rate = np.clip(rate, few, 1 - few)
    penalty = np.full(rows.shape[1], strength)
    penalty[-1] = 0.0  # the intercept
    scale = np.sqrt((rate * (1 - rate))[..., None] * squared(rows) / len(rows) + penalty)
    if not start.any():
        start = start.copy()
        start[..., -1] = np.log(rate / (1 - rate))
    step = max(1, BLOCK // totals.size)
    doubles: tuple[Any, ...] = (learns.T[..., None], w[:, None], 1 / totals, 1 - 2 * y[:, None])
    kind = np.float32 if tolerance == ROUGH else np.float64
    learning, mass, each, sign = (values.astype(kind) for values in doubles)

    def objective(flat: Array) -> tuple[float, Array]:
        heads = flat.reshape(scale.shape) / scale
        loss, slope = float((penalty * heads**2).sum()) / 2, penalty * heads
        turned = heads.reshape(-1, heads.shape[2]).T.astype(kind)
        for at in range(0, len(rows), step):
            now = slice(at, at + step)
            part = rows[now].astype(kind, copy=False)
            share = learning[now] * mass[now] * each  # (rows, F, K)
            odds = (part @ turned).reshape(share.shape) * sign[now]
            loss -= float((share * log_expit(-odds)).sum())
            share *= expit(odds) * sign[now]
            slope += (share.reshape(len(share), -1).T @ part).reshape(heads.shape)
        return loss, (slope / scale).ravel()

    options = {"maxiter": 2000, "maxfun": 4000, "gtol": tolerance, "ftol": 0.0, "maxcor": 5}
    found = minimize(objective, (start * scale).ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.reshape(scale.shape) / scale)
