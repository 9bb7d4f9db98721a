"""Gradient-boosted trees (Friedman, 2001), as scikit-learn grows them by histograms; kept and walked as plain arrays.

A tree is a stretch of nodes: a row goes left where its value is at most the node's threshold, or is missing and the
node says so, until it reaches a leaf, whose value is added to the tree's output.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.numbers import robust

MODALITIES = ("vector",)
CALLED = "a model of boosted trees on the columns"
RAGGED = False
OFFSET = "start"  # what is added to every answer
RATE = 0.05  # what each tree adds
ROUNDS = (150, 500)  # trees for each output: as many where no rows are spared, else at most
TREES = 4000  # of all outputs together at most
LEAVES = (7, 31)  # of a tree, below MANY rows and from there: few rows do not tell interactions of many columns
MANY = 1000
LEAF = 10  # a leaf holds one row in so many at least: 4 of 40 rows, and 20, which is enough, of 200
SPARING = 500  # rows from which a part of them decides when to stop; fewer spare none
SPARED = 0.15  # share of the rows that decide
COLUMNS = 1000  # the most telling ones, that trees choose from: each costs a histogram at each node
FEW = 4  # rows below which nothing is grown
NEVER = -30.0  # log-odds of a class that no row had
BLOCK = 1 << 20  # places in trees held at once

State = dict[str, np.ndarray]


def describe(example: Any) -> NDArray[np.float32]:
    """An example's values as they are, NaN where missing: shape (columns,)."""
    return np.asarray(example.values, np.float32)


def fit(x: NDArray[np.float32], y: np.ndarray, head: Any, outputs: int, seed: int) -> State:
    """Trees grown on rows x (N, D), which may hold NaN; of many columns, on the thousand that tell most.

    Classes share their rounds; several labels or values have trees of their own.
    """
    classes = head.KIND == "softmax"
    targets = np.asarray(y, np.int64 if classes else np.float64)
    matrix: NDArray[np.float64] = np.eye(outputs)[targets] if classes else targets.astype(np.float64)
    matrix = matrix.reshape(len(x), outputs)
    chosen = _telling(np.asarray(x, np.float64), matrix)
    rows = np.asarray(x, np.float64)[:, chosen]
    able = len(rows) >= FEW and len(chosen) > 0
    grown: list[tuple[int, Any]] = []  # (output, tree), as they are added
    if classes:
        present = np.flatnonzero(matrix.any(0))
        start = np.where(matrix.any(0), np.log(matrix.mean(0) + 1e-300), NEVER)
        if able and len(present) > 1:
            rare = int(matrix.sum(0)[present].min())
            weights = head.weigh(targets, outputs, True)[targets] if getattr(head, "balanced", False) else None
            model = _model(True, len(rows), rare, len(present), seed)
            model.fit(rows, np.searchsorted(present, targets), sample_weight=weights)
            trained = present if len(present) > 2 else present[1:]  # of two classes, the second has the trees
            start[present] = 0
            start[trained] = np.ravel(model._baseline_prediction)
            grown = [(k, tree) for trees in model._predictors for k, tree in zip(trained, trees, strict=True)]
    else:
        sigmoid = head.KIND == "sigmoid"
        count = matrix.sum(0)
        start = np.log((count + 0.5) / (len(rows) - count + 0.5)) if sigmoid else matrix.mean(0)
        for k, column in enumerate(matrix.T if able else ()):
            if np.ptp(column) > 0:
                rare = int(min(count[k], len(rows) - count[k])) if sigmoid else len(rows)
                model = _model(sigmoid, len(rows), rare, outputs, seed).fit(rows, column)
                start[k] = np.ravel(model._baseline_prediction)[0]
                grown += [(k, trees[0]) for trees in model._predictors]
    return {"start": start, "softmax": np.array([classes]), **_flat(grown, chosen)}


def predict(state: State, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities, log-odds or values (N, outputs) of rows (N, D)."""
    from scipy.special import log_softmax

    raw = walk(state, np.asarray(x, np.float64))
    return np.asarray(log_softmax(raw, axis=1)) if state["softmax"][0] else raw


def walk(state: State, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the trees add up to (N, outputs): scikit-learn's decision function."""
    answer = np.tile(state["start"], (len(x), 1))
    roots, left, right, column = (state[name] for name in ("roots", "left", "right", "column"))
    step = max(1, BLOCK // max(len(roots), 1))
    for at in range(0, len(x) if len(roots) else 0, step):
        part = x[at : at + step]
        rows = np.arange(len(part))[:, None]
        node = np.broadcast_to(roots, (len(part), len(roots)))
        while (left[node] >= 0).any():
            value = part[rows, column[node]]
            goes_left = np.where(np.isnan(value), state["missing_left"][node], value <= state["threshold"][node])
            node = np.where(left[node] < 0, node, np.where(goes_left, left[node], right[node]))
        answer[at : at + step] += state["value"][node] @ (state["output"][:, None] == np.arange(answer.shape[1]))
    return answer


def _model(classes: bool, count: int, rare: int, outputs: int, seed: int) -> Any:
    """Untrained trees that suit so many rows, rows of the rarest class, and outputs."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    spares = count >= SPARING and rare * SPARED >= 2  # else a class might not be on both sides
    return (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(
        learning_rate=RATE,
        max_iter=max(20, min(ROUNDS[spares], TREES // outputs)),
        max_leaf_nodes=LEAVES[count >= MANY],
        min_samples_leaf=min(max(count // LEAF, 2), 20),
        l2_regularization=1.0,
        max_bins=min(max(count // 4, 16), 255),
        early_stopping=spares,
        validation_fraction=SPARED,
        n_iter_no_change=15,
        random_state=seed,
    )


def _telling(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    """The columns that vary, in order; of many, those that correlate most with any output."""
    centre, spread = robust(x)
    varies = np.flatnonzero(spread > 0)
    if len(varies) <= COLUMNS:
        return varies
    z = np.clip((np.where(np.isnan(x), centre, x) - centre) / np.where(spread > 0, spread, 1.0), -8, 8)
    z -= z.mean(0)
    away = y - y.mean(0)
    norms = np.outer(np.sqrt((z**2).sum(0)), np.sqrt((away**2).sum(0)))
    strength = np.divide(np.abs(z.T @ away), norms, out=np.zeros_like(norms), where=norms > 0).max(1)
    return np.sort(np.argsort(-strength, kind="stable")[:COLUMNS])


def _flat(grown: Sequence[tuple[int, Any]], chosen: NDArray[np.int64]) -> State:
    """Trees as one stretch of nodes; `left` is -1 at a leaf."""
    trees = [tree.nodes for _, tree in grown]
    sizes = np.array([len(nodes) for nodes in trees], np.int64)
    roots = np.cumsum(sizes) - sizes
    offset = np.repeat(roots, sizes)

    def field(name: str, kind: Any) -> np.ndarray:
        return np.concatenate([np.empty(0, kind), *(nodes[name].astype(kind) for nodes in trees)])

    leaf = field("is_leaf", np.bool_)
    return {
        "roots": roots,
        "output": np.array([k for k, _ in grown], np.int64),
        "column": chosen[np.where(leaf, 0, field("feature_idx", np.int64))] if len(chosen) else np.zeros(0, np.int64),
        "threshold": field("num_threshold", np.float64),
        "missing_left": field("missing_go_to_left", np.bool_),
        "left": np.where(leaf, -1, field("left", np.int64) + offset),
        "right": np.where(leaf, -1, field("right", np.int64) + offset),
        "value": field("value", np.float64),
    }
