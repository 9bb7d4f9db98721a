"""The exact linear head for numbers: ridge regression (Hoerl & Kennard, 1970), its strength chosen by leaving one out.

    minimise over W, b:  mean_i |W z_i + b - y_i|²  +  strength * |W|²

Rows z are standardised and turned onto their principal axes as in `graft.model.linear`. There one decomposition gives
the solution of every strength, and what each row would be predicted had it not been learned from (Golub, Heath & Wahba,
1979).
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from graft.core.errors import DataError
from graft.model.linear import Array, Linear, Rows, blocks, principal, squared
from graft.model.outcomes import standard_error

Outcomes = Callable[[Array], Array]

PATH = tuple(10.0 ** (-step / 2) for step in range(-4, 17))  # strong to weak; half a decade hardly moves the error
FEWEST = 10  # different rows below which copies are left out one by one: there is little but copies


def fit(
    features: ArrayLike,
    targets: ArrayLike,
    strengths: Sequence[float] = PATH,
    outcomes: Outcomes | None = None,
    made_up: tuple[float, ...] = (0.0, 1.0),
    fold: NDArray[np.int64] | None = None,
) -> Linear:
    """The head of the strength whose predictions of left-out rows are best: least mean squared error over variance.

    One strength serves all targets. Copies of a row are left out together, else a head would be asked for what it has
    learned by heart.

    Args:
        outcomes: left-out predictions (N, K) → values (N,) whose mean is the score; by default those of R².
        fold: (N,) rows that are left out together; by default each alone, with its copies.
        made_up: outcomes added where the score's standard error is computed, see `outcomes.standard_error`.

    Shape: features (N, D), targets (N, K) or (N,). The head's weight is (K, D).
    Raises:
        DataError: fewer than two rows, shapes that do not fit, values that are not finite, a target that does not vary.
    """
    x, y = _checked(features, targets)
    with threadpool_limits(1, user_api="blas"):
        rows, turn, centre = principal(x)
        rows = rows[:, :-1]  # the intercept is the mean: the rows are centred
        strength, held = (
            _choose(rows, y, strengths, copies(x)) if fold is None else _choose_by_fold(rows, y, strengths, fold)
        )
        weight = ((rows.T @ (y - y.mean(0))).T / (squared(rows) + len(y) * strength)) @ turn.T
    values = 1 - ((held - y) ** 2 / y.var(0)).mean(1) if outcomes is None else outcomes(held)
    error = standard_error(values, made_up)
    return Linear(weight, y.mean(0) - weight @ centre, strength, float(values.mean()), error)


def cross_predict(features: ArrayLike, targets: ArrayLike, strengths: Sequence[float] = PATH) -> Array:
    """What is predicted of each row (N, K) by a head that did not learn from it; arguments and errors as in `fit`."""
    x, y = _checked(features, targets)
    with threadpool_limits(1, user_api="blas"):
        return _choose(principal(x)[0][:, :-1], y, strengths, copies(x))[1]


def copies(x: Array) -> NDArray[np.int64]:
    """The group of each row (N,): equal rows share one, unless there are too few different ones."""
    seen: dict[bytes, int] = {}
    group = [seen.setdefault(blake2b(row.tobytes(), digest_size=16).digest(), len(seen)) for row in x + 0.0]  # -0 is 0
    return np.array(group) if len(seen) >= FEWEST else np.arange(len(x))


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    features, targets = np.asarray(x, np.float64), np.asarray(y, np.float64)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets) or not targets.shape[1]:
        raise DataError(
            f"A linear head for numbers learns from features (N, D) with targets (N, K), not from {features.shape} "
            f"with {targets.shape}."
        )
    if len(targets) < 2:
        raise DataError(f"A strength is chosen by leaving rows out, which takes at least 2 rows, not {len(targets)}.")
    for what, values in (("features", features), ("targets", targets)):
        if bad := int((~np.isfinite(values)).any(1).sum()):
            raise DataError(f"{bad} of {len(values)} rows of {what} hold values that are not finite: leave them out.")
    if still := (np.flatnonzero(np.ptp(targets, axis=0) == 0) + 1).tolist():
        raise DataError(f"Nothing can be learned of a target that does not vary: leave out number {still}.")
    return features, targets


def _choose(rows: Rows, y: Array, strengths: Sequence[float], group: NDArray[np.int64]) -> tuple[float, Array]:
    """The strength to take and, at it, the predictions (N, K) of rows that were left out, on rows (N, A) turned.

    Of a group of m equal rows, each with leverage h, the errors are the residuals plus h / (1 - m·h) times their sum.
    """
    mean, count = y.mean(0), np.bincount(group)
    squares, along = squared(rows), rows.T @ (y - mean)
    shrunk = 1 / (squares + len(y) * np.array(strengths)[:, None])  # (strengths, A)
    leverages = 1 / len(y) + np.concatenate([part**2 @ shrunk.T for _, part in blocks(rows)])
    losses, trials = [], []
    for kept, leverage in zip(shrunk, leverages.T, strict=True):
        residual = y - mean - rows @ (kept * along.T).T
        sums = np.stack([np.bincount(group, column) for column in residual.T], 1)[group]
        own = np.maximum(1 - count[group] * leverage, 1e-12)
        errors = residual + (leverage / own)[:, None] * sums
        losses.append(float((errors**2 / y.var(0)).mean()))
        trials.append(errors)
    best = int(np.argmin(losses))
    return strengths[best], y - trials[best]


def _choose_by_fold(rows: Rows, y: Array, strengths: Sequence[float], fold: NDArray[np.int64]) -> tuple[float, Array]:
    """The same where whole folds are left out."""
    held = np.empty((len(strengths), *y.shape))
    for k in np.unique(fold):
        out = fold == k
        centre, mean, count = rows[~out].mean(0), y[~out].mean(0), int((~out).sum())
        left, scale, right = np.linalg.svd(rows[~out] - centre, full_matrices=False)
        along, asked = left.T @ (y[~out] - mean), (rows[out] - centre) @ right.T
        for at, strength in enumerate(strengths):
            held[at, out] = mean + asked @ ((scale / (scale**2 + count * strength))[:, None] * along)
    best = int(np.argmin(((held - y) ** 2 / y.var(0)).mean((1, 2))))
    return strengths[best], held[best]
