"""The exact linear head on sparse rows, such as weighted words: any of three losses, L2, its strength cross-validated.

    minimise over W, b:  mean_i loss(W x_i + b, y_i)  +  strength / 2 * |W|²

Rows are taken as they are: nothing is standardised, a word's weight being a statement of how much it matters. |W|² does
not see a rotation, so that few rows of many columns are solved on their principal axes, of which there are fewer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import expit, log_expit
from threadpoolctl import threadpool_limits

from graft.core.errors import DataError
from graft.model.linear import EXACT, PATIENCE, ROUGH, Linear

Array = NDArray[np.float64]
Rows = Any  # a csr_array or a dense array (N, A)

PATH = tuple(10.0 ** (-step / 2) for step in range(2, 13))  # strong to weak, for rows of length 1
DENSE = 2000  # rows up to which turning them onto their axes, cubic in their number, pays
ENOUGH = 2000  # rows beyond which one held-out fold is enough to compare strengths


def fit(
    x: csr_array,
    y: ArrayLike,
    kind: str,
    outputs: int,
    strengths: Sequence[float] = PATH,
    folds: int = 5,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> Linear:
    """The head of the best strength, solved on all rows.

    As in `graft.model.linear`: of the strengths whose held-out score is within one standard error of the best, the one
    of the least held-out loss. The score is the share of right answers; for "squared" the loss decides alone, and the
    score is one minus the held-out share of the variance.

    Args:
        kind: "softmax" for classes y (N,), "sigmoid" for labels y (N, K) of 0 and 1, "squared" for values y (N, K).
        weights: what each row counts for (N,), in the objective and in the score.

    Shape: x (N, D). The head's weight is (K, D).
    Raises:
        DataError: fewer than two rows, or not as many targets.
    """
    targets = np.asarray(y, np.int64 if kind == "softmax" else np.float64)
    if x.shape[0] < 2 or len(targets) != x.shape[0]:
        raise DataError(f"A linear head needs two rows or more and as many targets, not {x.shape[0]}, {len(targets)}.")
    matrix: Array = np.eye(outputs)[targets] if kind == "softmax" else targets.astype(np.float64)
    matrix = matrix.reshape(len(targets), outputs)
    centre, unit = np.zeros(outputs), np.ones(outputs)
    mass = np.ones(len(targets)) if weights is None else np.asarray(weights, np.float64)
    if kind == "squared":
        centre, unit = matrix.mean(0), np.where(matrix.std(0) > 0, matrix.std(0), 1.0)
        matrix = (matrix - centre) / unit
    with threadpool_limits(1, user_api="blas"):
        rows, turn = _turned(x)
        fold = _folds(x, matrix, kind, folds, seed)
        strength, held, start = _choose(rows, matrix, kind, strengths, fold, mass)
        head = _solve(rows, matrix, kind, mass[None], strength, start, EXACT)[0]
    weight = (head[:, :-1] @ turn.T) @ x if turn is not None else head[:, :-1]
    error = float(held.std() / np.sqrt(len(held)))
    return Linear(weight * unit[:, None], head[:, -1] * unit + centre, strength, float(held.mean()), error)


def _turned(x: csr_array) -> tuple[Rows, Array | None]:
    """Rows on their principal axes (N, A) and what gives those axes, times x: (N, A); or x itself and None."""
    if x.shape[0] > min(DENSE, x.shape[1]):
        return x, None
    squares, axes = np.linalg.eigh((x @ x.T).toarray())
    kept = squares > 1e-10 * max(squares.max(initial=0.0), 1e-300)
    length = np.sqrt(squares[kept])
    return axes[:, kept] * length, axes[:, kept] / length


def _folds(x: csr_array, y: Array, kind: str, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row, dealt out class by class in an order that only the seed and the content set.

    Copies go together, unless there is little but copies.
    """
    odd = np.random.default_rng(seed).integers(0, 2**63, x.shape[1] + 1, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    bits = np.zeros(x.nnz + 1, np.uint64)
    np.cumsum(x.data.astype(np.float64).view(np.uint64) * odd[x.indices], out=bits[1:])
    content = bits[x.indptr[1:]] - bits[x.indptr[:-1]]  # modulo 2⁶⁴: exact
    rare = np.where(y > 0, y.sum(0), np.inf).argmin(1)
    group = np.zeros(len(y), np.int64) if kind == "squared" else np.where(y.any(1), rare + 1, 0)
    order = np.lexsort((content, group))
    new = (content[order][1:] != content[order][:-1]) | (group[order][1:] != group[order][:-1])
    apart = np.concatenate([[0], np.cumsum(new)])
    if apart[-1] + 1 < folds * len(np.unique(group)):
        apart = np.arange(len(y))
    fold = np.empty(len(y), np.int64)
    fold[order] = apart % min(folds, len(y))
    return fold


def _choose(
    rows: Rows, y: Array, kind: str, strengths: Sequence[float], fold: NDArray[np.int64], mass: Array
) -> tuple[float, Array, Array]:
    """The strength to take and, at it, the held-out rows' outcomes, whose mean is the score, and the mean head."""
    count = 1 if len(y) > ENOUGH else int(fold.max()) + 1
    asked = [np.flatnonzero(fold == k) for k in range(count)]
    learns = np.where(fold == np.arange(count)[:, None], 0.0, mass)
    single = rows.astype(np.float32)  # enough to compare strengths
    each = mass[np.concatenate(asked)]
    each = each / each.mean()
    heads = np.zeros((count, y.shape[1], rows.shape[1] + 1))
    trials, losses = [], []
    for strength in strengths:
        heads = _solve(single, y, kind, learns, strength, heads, ROUGH)
        odds = np.concatenate([rows[at] @ heads[k, :, :-1].T + heads[k, :, -1] for k, at in enumerate(asked)])
        true = y[np.concatenate(asked)]
        losses.append((_loss(odds, true, kind)[0] * each).mean())
        trials.append((strength, _outcomes(odds, true, kind) * each, heads.mean(0, keepdims=True)))
        if len(losses) > int(np.argmin(losses)) + PATIENCE:
            break
    scores = [outcome.mean() for _, outcome, _ in trials]
    best = trials[int(np.argmax(scores))][1]
    least = best.mean() - best.std() / np.sqrt(len(best))
    fair = range(len(trials)) if kind == "squared" else [i for i, score in enumerate(scores) if score >= least]
    return trials[min(fair, key=losses.__getitem__)]


def _outcomes(odds: Array, y: Array, kind: str) -> Array:
    """What each row adds to the score (N,)."""
    if kind == "softmax":
        return np.asarray(odds.argmax(1) == y.argmax(1), np.float64)
    if kind == "sigmoid":
        return np.asarray(((odds > 0) == (y > 0)).mean(1))
    return np.asarray(1 - ((odds - y) ** 2).mean(1))


def _loss(odds: Array, y: Array, kind: str) -> tuple[Array, Array]:
    """Each row's loss (N, …) and its slope (N, …, K), for odds (N, …, K) and targets that broadcast against them."""
    if kind == "softmax":
        odds = odds - odds.max(-1, keepdims=True)
        likely = np.exp(odds)
        total = likely.sum(-1, keepdims=True)
        likely /= total
        loss = np.log(total[..., 0]) - (y * odds).sum(-1)
        likely -= y
        return loss, likely
    if kind == "sigmoid":
        return -(y * log_expit(odds) + (1 - y) * log_expit(-odds)).sum(-1), expit(odds) - y
    away = odds - y
    return (away**2).sum(-1) / 2, away


def _solve(rows: Rows, y: Array, kind: str, weights: Array, strength: float, start: Array, tolerance: float) -> Array:
    """Heads (F, K, A+1) on rows (N, A), one for each set of weights (F, N), solved together from a start."""
    from scipy.optimize import minimize  # not on the way of who asks a model that is fitted

    shape = (len(weights), *start.shape[1:])
    share = (weights / weights.sum(1, keepdims=True)).T.astype(rows.dtype)
    penalty = np.append(np.full(rows.shape[1], strength), 0.0)
    rate = y.mean(0)
    curve = 1.0 if kind == "squared" else max(float((rate * (1 - rate)).mean()), 1e-3)
    square = np.asarray((rows * rows).sum(0), np.float64).ravel() / len(y)
    scale = np.sqrt(np.append(curve * square, curve) + penalty)
    across = rows.T.tocsr() if isinstance(rows, csr_array) else rows.T
    truth = y[:, None, :].astype(rows.dtype)

    def objective(flat: Array) -> tuple[float, Array]:
        heads = flat.reshape(shape) / scale
        plain = heads.reshape(-1, shape[2]).astype(rows.dtype)
        odds = (rows @ plain[:, :-1].T + plain[:, -1]).reshape(len(y), *shape[:2])
        loss, slope = _loss(odds, truth, kind)
        slope = (slope * share[..., None]).reshape(len(y), -1)
        down = np.column_stack([(across @ slope).T, slope.sum(0)]).reshape(shape)
        value = float((loss * share).sum(dtype=np.float64)) + float((penalty * heads**2).sum()) / 2
        return value, ((down + penalty * heads) / scale).ravel()

    options = {"maxiter": 1000, "maxfun": 2000, "gtol": tolerance, "ftol": 0.0, "maxcor": 5}
    first = np.broadcast_to(start, shape) * scale
    found = minimize(objective, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.reshape(shape) / scale)
