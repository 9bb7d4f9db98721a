"""The exact linear head: multinomial logistic regression with an L2 penalty, its strength chosen by cross-validation.

    minimise over W, b:  mean_i -log softmax(W z_i + b)[y_i]  +  strength / 2 * |W|²

z is a row with its columns standardised, divided by the root of their number: rows then have length 1 on average, so one
path of strengths serves four columns and fifty thousand. |W|² does not see a rotation, so the rows are turned onto their
principal axes: at most as many as there are rows, and each axis can be stepped along at its own curvature.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from graft.core.errors import DataError
from graft.model.stats import example_weights, standard_error

Array = NDArray[np.float64]

PATH = tuple(10.0 ** (-step / 2) for step in range(2, 14))  # strong to weak; half decades move the log-loss by little
PATIENCE = 2  # strengths in a row without a better log-loss, after which weaker ones are not tried
BLOCK = 4096  # rows per sweep of the objective: bounds its memory
ROUGH, EXACT = (
    1e-4,
    1e-8,
)  # largest entry of the gradient, in steps of its own curvature: to compare strengths, to return


@dataclass(frozen=True)
class Linear:
    """A linear head on the features as they came: the standardisation is folded in."""

    weight: Array  # (C, D)
    bias: Array  # (C,)
    strength: float
    score: float  # cross-validated, at this strength
    error: float  # standard error of the score


def fit(
    features: ArrayLike,
    labels: ArrayLike,
    classes: int,
    weights: ArrayLike | None = None,
    strengths: Sequence[float] = PATH,
    folds: int = 5,
    seed: int = 0,
    metric: str = "accuracy",
) -> Linear:
    """The head with the best cross-validated log-loss, solved again on all rows.

    The strength goes by log-loss, not by accuracy: it moves with every example, so on few rows it is far less noisy and
    the score it leads to is hardly flattered by the choice.

    Shape: features (N, D), labels (N,) of 0 … classes-1, weights (N,) of the examples.
    Raises:
        DataError: fewer than two rows, lengths that differ, labels out of range, values that are not finite.
    """
    x, y, w = _checked(features, labels, classes, weights)
    rows, turn, centre = _principal(x)
    strength, held = _choose(rows, y, w, classes, strengths, _folds(x, y, folds, seed))
    start = np.zeros((1, classes, rows.shape[1]))
    solved = _solve(rows, y, w[None], strength, start, EXACT)[0]
    weight = solved[:, :-1] @ turn.T
    right = (held.argmax(1) == y).astype(np.float64)
    share = example_weights(y, metric)
    score = float(right @ share)
    return Linear(weight, solved[:, -1] - weight @ centre, strength, score, standard_error(right, share))


def cross_predict(
    features: ArrayLike,
    labels: ArrayLike,
    classes: int,
    weights: ArrayLike | None = None,
    strengths: Sequence[float] = PATH,
    folds: int = 5,
    seed: int = 0,
) -> Array:
    """Log-probabilities (N, C) of each row by heads that did not learn from it; arguments and errors as in `fit`."""
    x, y, w = _checked(features, labels, classes, weights)
    return _choose(_principal(x)[0], y, w, classes, strengths, _folds(x, y, folds, seed))[1]


def predict(weight: ArrayLike, bias: ArrayLike, features: ArrayLike) -> Array:
    """Log-probabilities (N, C) that a head of weight (C, D) and bias (C,) gives to features (N, D)."""
    logits = np.asarray(features, np.float64) @ np.asarray(weight, np.float64).T + np.asarray(bias, np.float64)
    return np.asarray(log_softmax(logits, axis=1))


def _checked(x: ArrayLike, y: ArrayLike, classes: int, w: ArrayLike | None) -> tuple[Array, NDArray[np.int64], Array]:
    features, labels = np.asarray(x, np.float64), np.asarray(y, np.int64)
    weights = np.ones(len(labels)) if w is None else np.asarray(w, np.float64)
    if features.ndim != 2 or labels.shape != (len(features),) or weights.shape != labels.shape:
        raise DataError(
            f"A linear head needs rows (N, D) with N labels, not {features.shape} with {labels.shape} labels "
            f"and {weights.shape} weights."
        )
    if len(labels) < 2:
        raise DataError(f"A linear head is chosen by cross-validation and needs at least 2 rows, not {len(labels)}.")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"Labels must lie in 0 … {classes - 1}, but {labels.min()} … {labels.max()} were given.")
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features).all(1)).sum())
        raise DataError(f"{bad} of {len(features)} rows of features hold values that are not finite.")
    if not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise DataError("The examples' weights must be finite, not negative, and not all zero.")
    return features, labels, weights


def _principal(x: Array) -> tuple[Array, Array, Array]:
    """Standardised rows on their principal axes and a column of ones (N, R+1); the map to them (D, R); their mean (D,)."""
    centre = x.mean(0)
    z = x - centre
    spread = z.std(0)
    varies = spread > 1e-9 * np.abs(x).max(0)  # what is left of a constant column is rounding
    inverse = np.where(varies, 1 / np.where(varies, spread, 1.0), 0.0) / np.sqrt(max(varies.sum(), 1))
    z *= inverse
    wide = z.shape[1] > len(z)
    squares, axes = np.linalg.eigh(z @ z.T if wide else z.T @ z)
    kept = squares > 1e-12 * max(squares.max(initial=0.0), 1e-300)
    squares, axes = squares[kept], axes[:, kept]
    if wide:
        axes = z.T @ (axes / np.sqrt(squares))
    return np.column_stack([z @ axes, np.ones(len(z))]), inverse[:, None] * axes, centre


def _folds(x: Array, y: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row: every class spread evenly, by what the rows hold and not by their order."""
    odd = np.random.default_rng(seed).integers(0, 2**63, x.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    content = (x + 0.0).view(np.uint64) @ odd  # + 0.0 turns -0.0 into 0.0; a column of zeros adds nothing
    content ^= content >> np.uint64(32)
    fold = np.empty(len(y), np.int64)
    fold[np.lexsort((content * odd[:1], y))] = np.arange(len(y)) % min(folds, len(y))
    return fold


def _choose(
    rows: Array, y: NDArray[np.int64], w: Array, classes: int, strengths: Sequence[float], fold: NDArray[np.int64]
) -> tuple[float, Array]:
    """The strength of the least held-out log-loss, and the held-out log-probabilities (N, C) at it."""
    count = fold.max() + 1
    learns = np.where(fold == np.arange(count)[:, None], 0.0, w)
    counts = np.bincount(y)[y] > 1  # the only example of its class is held out from heads that never saw the class
    asked = w * counts if (w * counts).any() else w
    solved = np.zeros((count, classes, rows.shape[1]))
    best, least, since = (strengths[0], np.zeros((len(y), classes))), np.inf, 0
    for strength in strengths:
        solved = _solve(rows, y, learns, strength, solved, ROUGH)
        held = np.empty((len(y), classes))
        for k in range(count):
            held[fold == k] = log_softmax(rows[fold == k] @ solved[k].T, axis=1)
        loss = -np.average(held[np.arange(len(y)), y], weights=asked)
        if loss < least:
            best, least, since = (strength, held), loss, 0
        elif (since := since + 1) == PATIENCE:
            break
    return best


def _solve(rows: Array, y: NDArray[np.int64], weights: Array, strength: float, start: Array, tolerance: float) -> Array:
    """Heads (K, C, A) on rows (N, A), one for each set of weights (K, N), solved together.

    The folds' objectives do not touch, but their Hessians are nearly alike: solved as one problem they need hardly more
    steps than one fold does, and every product over the rows serves them all.
    """
    weights = weights / weights.sum(1, keepdims=True)
    penalty = np.full(rows.shape[1], strength)
    penalty[-1] = 0.0  # the intercept
    likely = np.exp(log_softmax(np.einsum("na,kca->nkc", rows[:BLOCK], start), axis=2))
    scale = np.sqrt((likely * (1 - likely)).mean() * (rows**2).mean(0) + penalty)

    def objective(flat: Array) -> tuple[float, Array]:
        heads = flat.reshape(start.shape) / scale
        loss, slope = float((penalty * heads**2).sum() / 2), penalty * heads
        for at in range(0, len(rows), BLOCK):
            part, target, share = rows[at : at + BLOCK], y[at : at + BLOCK], weights[:, at : at + BLOCK].T
            pick = np.arange(len(part))
            logits = (part @ heads.reshape(-1, heads.shape[2]).T).reshape(len(part), *heads.shape[:2])
            logits -= logits.max(2, keepdims=True)
            loss -= float((share * logits[pick, :, target]).sum())
            np.exp(logits, out=logits)
            total = logits.sum(2)
            loss += float((share * np.log(total)).sum())
            logits *= (share / total)[..., None]
            logits[pick, :, target] -= share
            slope += (logits.reshape(len(part), -1).T @ part).reshape(heads.shape)
        return loss, (slope / scale).ravel()

    options = {"maxiter": 2000, "maxfun": 4000, "gtol": tolerance, "ftol": 0.0}
    found = minimize(objective, (start * scale).ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x).reshape(start.shape) / scale
