"""Transferability scores: a contract for every file on the shelf, and an oracle for each formula."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.neighbors import KNeighborsClassifier

from graft.core import shelf
from graft.model.linear import cross_predict
from graft.scores.knn import knn
from graft.scores.logme import logme
from graft.scores.probe import probe

Score = Callable[[np.ndarray, np.ndarray], float]


def waves(rows: int, columns: int) -> np.ndarray:
    return np.sin(1 + np.arange(rows)[:, None] * columns + np.arange(columns))


def blobs(rows: int = 120, columns: int = 30, classes: int = 3, apart: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(rows) % classes
    return apart * rng.normal(size=(classes, columns))[y] + rng.normal(size=(rows, columns)), y


@pytest.fixture(params=shelf.names("scores"))
def score(request: pytest.FixtureRequest) -> Score:
    found: Score = shelf.function("scores", request.param)
    return found


def test_contract_a_score_says_what_it_is(score: Score) -> None:
    x, y = blobs()
    assert isinstance(score(x, y), float)
    assert score.__doc__
    assert "Shape: features (N, D), labels (N,)." in score.__doc__
    assert "Range:" in score.__doc__


def test_contract_better_features_score_higher(score: Score) -> None:
    levels = [score(*blobs(apart=apart)) for apart in (0.0, 0.3, 1.0)]
    assert levels == sorted(levels)
    assert levels[0] < levels[2]


def test_contract_noise_columns_lower_a_score(score: Score) -> None:
    x, y = blobs(apart=0.5)
    assert score(np.hstack([x, np.random.default_rng(1).normal(size=(120, 300))]), y) < score(x, y)


def test_contract_shuffled_labels_score_as_noise_does(score: Score) -> None:
    x, y = blobs(apart=2.0)
    noise = np.random.default_rng(1).normal(size=x.shape)
    shuffled = [score(x, np.random.default_rng(seed).permutation(y)) for seed in range(8)]
    blind = [score(noise, np.random.default_rng(seed).permutation(y)) for seed in range(8)]
    gap = score(x, y) - np.mean(blind)
    assert np.mean(shuffled) == pytest.approx(np.mean(blind), abs=0.15 * gap)


def test_contract_rows_zeros_scale_and_label_names_change_nothing(score: Score) -> None:
    x, y = blobs(rows=70, columns=90, apart=0.7)
    plain = score(x, y)
    order = np.random.default_rng(1).permutation(70)
    assert score(x[order], y[order]) == pytest.approx(plain, abs=1e-9)
    assert score(np.hstack([x, np.zeros((70, 1000))]), y) == pytest.approx(plain, abs=1e-9)
    assert score(7.5 * x, y) == pytest.approx(plain, abs=1e-9)
    assert score(x, np.array([4, 0, 9])[y]) == pytest.approx(plain, abs=1e-9)
    assert score(x.astype(np.float32), y) == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("columns", [1, 8, 200])
def test_contract_little_data_still_has_a_score(score: Score, columns: int) -> None:
    x = np.random.default_rng(0).normal(size=(7, columns))
    for y in ([0, 0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0, 1]):
        assert np.isfinite(score(x, np.array(y)))
    assert np.isfinite(score(np.zeros((7, columns)), np.array([0, 1, 0, 1, 0, 1, 0])))


# LogME


def log_evidence(alpha: float, beta: float, x: np.ndarray, y: np.ndarray) -> float:
    covariance = np.eye(len(x)) / beta + x @ x.T / alpha
    return float(multivariate_normal(np.zeros(len(x)), covariance).logpdf(y)) / len(x)


def direct(x: np.ndarray, labels: np.ndarray) -> float:
    """The same maximum by brute force: the density of a normal variable, climbed from several starts."""
    best = []
    for c in np.unique(labels):
        y = (labels == c).astype(float)
        climbs = [
            minimize(
                lambda v, y=y: -log_evidence(*np.exp(v), x, y), start, method="Nelder-Mead", options={"xatol": 1e-8}
            )
            for start in ([0, 0], [5, 1], [-5, 1])
        ]
        best.append(-min(climb.fun for climb in climbs))
    return float(np.mean(best))


@pytest.mark.parametrize(
    ("rows", "columns", "classes", "value"),
    [(12, 4, 3, -0.7886), (6, 10, 2, -1.0703), (10, 10, 2, None), (9, 2, 2, None)],
)
def test_logme_is_the_maximal_evidence(rows: int, columns: int, classes: int, value: float | None) -> None:
    x, y = waves(rows, columns), np.arange(rows) % classes
    assert logme(x, y) == pytest.approx(direct(x, y), abs=1e-5)
    if value is not None:
        assert logme(x, y) == pytest.approx(value, abs=5e-5)


def test_logme_is_right_where_rank_is_lost() -> None:
    x, y = waves(12, 4), np.arange(12) % 3
    doubled = np.hstack([x, x, x @ np.ones((4, 3))])
    assert logme(doubled, y) == pytest.approx(direct(doubled, y), abs=1e-5)
    assert logme(np.hstack([x, np.zeros((12, 1000))]), y) == pytest.approx(-0.7886, abs=5e-5)


def test_logme_of_a_perfect_fit_is_finite() -> None:
    y = np.arange(12) % 3
    assert 0 < logme(np.eye(3)[y], y) < 20


# k nearest neighbours


def test_knn_agrees_with_leaving_out_by_hand() -> None:
    x, y = blobs(apart=0.6)
    x = x - x.mean(0)
    hits = []
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        model = KNeighborsClassifier(5, metric="cosine").fit(x[rest], y[rest])
        share = model.predict_proba(x[i : i + 1])[0]
        most = share == share.max()
        hits.append(most[y[i]] / most.sum())
    assert knn(x + 3.0, y) == pytest.approx(np.mean(hits))


def test_knn_ties_are_shared_not_decided_by_order() -> None:
    x = np.array([[1.0, 0], [1.0, 0], [1.0, 0], [-1.0, 0], [-1.0, 0], [-1.0, 0]])
    y = np.array([0, 1, 1, 0, 0, 1])  # k = 2: of each row's twins, one or both share its label
    assert knn(x, y) == pytest.approx((0 + 0.5 + 0.5 + 0.5 + 0.5 + 0) / 6)


def test_knn_of_three_a_class_can_be_perfect() -> None:
    x = np.repeat(np.eye(4), 3, axis=0) + 0.01 * waves(12, 4)
    assert knn(x, np.repeat(np.arange(4), 3)) == 1.0


@pytest.mark.parametrize("form", [logme, knn])
def test_rotations_change_nothing(form: Score) -> None:
    x, y = blobs(rows=80, columns=20, apart=0.6)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0]
    assert form(x @ turn, y) == pytest.approx(form(x, y), abs=1e-9)


# probe


def test_probe_is_the_accuracy_held_out() -> None:
    x, y = blobs(apart=0.5)
    assert probe(x, y) == (cross_predict(x, y, 3).argmax(1) == y).mean()


@pytest.mark.parametrize("form", [knn, probe])
def test_shuffled_labels_are_at_chance(form: Score) -> None:
    x, y = blobs(rows=400, columns=600, classes=4)
    assert 0.15 < form(x, np.random.default_rng(0).permutation(y)) < 0.35
