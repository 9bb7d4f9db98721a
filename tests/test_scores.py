"""Transferability scores: a contract for every file on the shelf; oracles for knn, logme, probe and the shared pass.

The other formulas have theirs in test_estimates.py and test_comparisons.py.
"""

import inspect
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.neighbors import KNeighborsClassifier

import graft
from graft.core import shelf
from graft.core.errors import DataError
from graft.model.gram import along, coordinates
from graft.model.linear import cross_predict
from graft.model.rows import in_order
from graft.scores.knn import knn
from graft.scores.logme import logme
from graft.scores.probe import probe

Score = Callable[..., float]
Arguments = tuple[str, str]

ESTIMATE, COMPARISON = ("features", "labels"), ("a", "b")
SOURCE = (("source_probabilities", "labels"), ("source_labels", "labels"))
FOOLED = {"hscore", "transrate", "gbc"}  # formulas that are in sample alone: columns of noise raise them
TURNED = {"probe", "parc", "gbc"}  # columns are standardised, or have a variance each: a rotation counts
OFFSET = {"logme", "parc"}  # a linear model without an intercept; rows' correlations see an added column's rounding
LEAST = {"gbc"}  # has a least variance: the features' unit counts below it
SCALED = {"transrate"}  # codes to a fixed error: the features' unit counts, and chance grows with it


def needs(name: str) -> Arguments:
    """The names of a score's two arrays say what it needs."""
    first, second = list(inspect.signature(shelf.function("scores", name)).parameters)[:2]
    return first, second


NEEDS = {name: needs(name) for name in shelf.names("scores")}
ESTIMATES = [name for name, arguments in NEEDS.items() if arguments == ESTIMATE]
COMPARISONS = [name for name, arguments in NEEDS.items() if arguments == COMPARISON]


def waves(rows: int, columns: int) -> np.ndarray:
    return np.sin(1 + np.arange(rows)[:, None] * columns + np.arange(columns))


def blobs(rows: int = 120, columns: int = 30, classes: int = 3, apart: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(rows) % classes
    return apart * rng.normal(size=(classes, columns))[y] + rng.normal(size=(rows, columns)), y


def overlapping(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng, y = np.random.default_rng(seed), np.arange(60) % 3
    return 0.35 * rng.normal(size=(3, 20))[y] + rng.normal(size=(60, 20)), y


@pytest.fixture(params=ESTIMATES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def score(name: str) -> Score:
    found: Score = shelf.function("scores", name)
    return found


@pytest.fixture(params=COMPARISONS)
def compare(request: pytest.FixtureRequest) -> Score:
    found: Score = shelf.function("scores", request.param)
    return found


@pytest.mark.parametrize("any_name", NEEDS)
def test_contract_a_score_says_what_it_is(any_name: str) -> None:
    arguments, score = NEEDS[any_name], shelf.function("scores", any_name)
    assert arguments in (ESTIMATE, COMPARISON, *SOURCE)
    assert score.__doc__
    shape = "Shape: features (N, D), labels (N,)." if arguments == ESTIMATE else f"Shape: {arguments[0]} (N"
    assert shape in score.__doc__
    assert "Range:" in score.__doc__


def test_contract_a_score_is_one_number(score: Score) -> None:
    assert type(score(*blobs())) is float


def test_contract_better_features_score_higher(name: str, score: Score) -> None:
    levels = [score(*blobs(apart=apart)) for apart in (0.0, 0.3, 1.0)]
    assert levels == sorted(levels) or name in SCALED
    assert levels[0] < levels[2]


def test_contract_noise_columns_lower_a_score(name: str, score: Score) -> None:
    x, y = blobs(apart=0.5)
    noisy = score(np.hstack([x, np.random.default_rng(1).normal(size=(120, 300))]), y)
    assert (noisy > score(x, y)) if name in FOOLED else (noisy < score(x, y))


def test_contract_a_thousand_noise_columns_improve_no_rank(name: str, score: Score) -> None:
    """Of three backbones, whose order is known, the worst and the middle one are given columns of noise."""
    noise = np.random.default_rng(1).normal(size=(120, 1000))
    (worst, y), (middle, _), (best, _) = (blobs(apart=apart) for apart in (0.1, 0.4, 0.8))
    plain = [score(x, y) for x in (worst, middle, best)]
    noisy = [score(np.hstack([x, noise]), y) for x in (worst, middle)]
    if name in FOOLED:
        assert max(noisy) >= plain[2]  # why graft does not rank by these
    else:
        assert noisy[0] < plain[1]
        assert noisy[1] < plain[2]


def test_contract_shuffled_labels_score_as_noise_does(name: str, score: Score) -> None:
    x, y = blobs(apart=2.0)
    noise = np.random.default_rng(1).normal(size=x.shape)
    shuffled = [score(x, np.random.default_rng(seed).permutation(y)) for seed in range(8)]
    blind = [score(noise, np.random.default_rng(seed).permutation(y)) for seed in range(8)]
    gap = score(x, y) - np.mean(blind)
    assert np.mean(shuffled) == pytest.approx(np.mean(blind), abs=0.15 * gap) or name in SCALED


def test_contract_rows_columns_zeros_scale_and_label_names_change_nothing(name: str, score: Score) -> None:
    x, y = blobs(rows=70, columns=90, apart=0.7)
    plain = score(x, y)
    order, columns = np.random.default_rng(1).permutation(70), np.random.default_rng(2).permutation(90)
    assert score(x[order], y[order]) == pytest.approx(plain, abs=1e-9)
    assert score(x[:, columns], y) == pytest.approx(plain, abs=1e-9)
    assert score(np.hstack([x, np.zeros((70, 1000))]), y) == pytest.approx(plain, abs=1e-9)
    assert score(7.5 * x, y) == pytest.approx(plain, abs=1e-9) or name in SCALED
    assert score(x, np.array([4, 0, 9])[y]) == pytest.approx(plain, abs=1e-9)
    assert score(x, np.array(["b", "a", "c"])[y]) == pytest.approx(plain, abs=1e-9)
    assert score(x.astype(np.float32), y) == pytest.approx(plain, abs=0.02)


def test_contract_unit_offset_precision_and_constant_columns_change_nothing(name: str, score: Score) -> None:
    """Of classes that overlap, so that one row dealt to another fold would tell."""
    for seed in range(3):
        x, y = overlapping(seed)
        plain, turn = score(x, y), np.linalg.qr(np.random.default_rng(seed).normal(size=(20, 20)))[0]
        constant = np.full((60, 1), 5.0)
        for same in (2 * x, x / 3):
            assert score(same, y) == pytest.approx(plain, abs=1e-6) or name in SCALED
        assert score(x.astype(np.float32), y) == pytest.approx(plain, rel=1e-4)
        for same in (x + 7, np.hstack([constant, x]), np.hstack([x, constant])):
            assert score(same, y) == pytest.approx(plain, rel=1e-5) or name in OFFSET
        assert score(x @ turn, y) == pytest.approx(plain, rel=1e-5) or name in TURNED


@pytest.mark.parametrize("power", [307, 200, 80, -60, -100, -200, -305])
def test_contract_no_magnitude_is_too_much(name: str, score: Score, power: int) -> None:
    x, y = overlapping(0)
    if name in LEAST or name in SCALED:
        assert score(10.0**power * x, y) == pytest.approx(score(1e40 ** np.sign(power) * x, y), rel=1e-6)
    else:
        assert score(10.0**power * x, y) == pytest.approx(score(x, y), rel=1e-9)


@pytest.mark.parametrize("columns", [1, 8, 200])
def test_contract_little_data_still_has_a_score(score: Score, columns: int) -> None:
    x = np.random.default_rng(0).normal(size=(7, columns))
    for y in ([0, 0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0, 1], [3, 3, 3, 3, 3, 3, 3]):
        assert np.isfinite(score(x, np.array(y)))
    for constant in (0.0, 0.1):
        assert np.isfinite(score(np.full((7, columns), constant), np.array([0, 1, 0, 1, 0, 1, 0])))
    for y in ([0, 1], [0, 0]):
        assert np.isfinite(score(x[:2], np.array(y)))


def test_contract_what_is_no_data_is_refused(score: Score) -> None:
    x, y = blobs(rows=30, columns=4)
    x[3, 1] = np.nan
    for features, labels, says in (
        (x, y, "1 of 30 rows of features hold values that are not finite"),
        (np.where(np.isnan(x), np.inf, x), y, "not finite"),
        (blobs(rows=30)[0], y[1:], "one label a row"),
        (blobs(rows=30)[0], np.where(y == 1, np.nan, y), "10 of 30 labels are not finite"),
        (x[:1], y[:1], "at least 2 rows"),
        (y, y, "at least 2 rows"),
    ):
        with pytest.raises(DataError, match=says):
            score(features, labels)


LABELS: list[tuple[list, str]] = [
    (["a", np.nan, "b"] * 10, "10 of 30 labels are missing or neither text nor numbers, such as nan"),
    (["a", None, "b"] * 10, "10 of 30 labels are missing or neither text nor numbers, such as None"),
    ([1, None, 2] * 10, "10 of 30 labels are missing"),
    ([1j, 2j] * 15, "neither text nor numbers, such as 1j"),
    ([[0], [1, 2]] * 15, "labels are no array|neither text nor numbers"),
    (["a", 1, "b"] * 10, "text and some are numbers, such as 'a' and 1: give one kind"),
    (np.random.default_rng(0).normal(size=30).tolist(), "30 of 30 labels differ and have fractions"),
]


@pytest.mark.parametrize(("labels", "says"), LABELS)
def test_contract_what_is_no_label_is_refused(score: Score, labels: list, says: str) -> None:
    for given in (labels, pd.Series(labels, dtype=object)):
        with pytest.raises(DataError, match=says):
            score(blobs(rows=30, columns=4)[0], given)


def test_contract_labels_of_one_kind_are_taken(score: Score) -> None:
    x, y = blobs(rows=30, columns=4, apart=0.5)
    plain = score(x, y)
    for names in ([0.5, 1.5, 2.5], [b"a", b"b", b"c"], [False, True, 2], [1, 2.0, np.int8(3)], ["nan", "None", ""]):
        given = [names[label] for label in y]
        assert score(x, given) == pytest.approx(plain)
        assert score(x, pd.Series(given, dtype=object)) == pytest.approx(plain)
    assert score(pd.DataFrame(x, dtype=object), pd.Categorical(y)) == pytest.approx(plain)


NO_NUMBERS = [
    ([[1.0, 2.0], [3.0]], "are no array, as where rows differ in length"),
    ([["1", "2"], ["3", "4"]], "must be numbers, but hold '1'"),
    (np.array([["1", "2"], ["3", "4"]]), "must be numbers, but hold '1'"),
    ([[1.0, None], [3.0, 4.0]], "must be numbers, but hold None"),
    (np.ones((2, 2)) * 1j, "are complex: give their real and imaginary parts"),
    (np.ma.masked_greater(waves(4, 2), 0.5), "have masked values"),
    (np.array([["2020-01-01"], ["2020-01-02"]], "datetime64[D]"), "must be numbers, but hold datetime"),
]


@pytest.mark.parametrize(("values", "says"), NO_NUMBERS)
@pytest.mark.parametrize("any_name", [name for name in NEEDS if name != "nce"])
def test_contract_what_is_no_number_is_refused(any_name: str, values: object, says: str) -> None:
    with pytest.raises(DataError, match=f"{NEEDS[any_name][0]} {says}"):
        shelf.function("scores", any_name)(values, [0, 1])


def test_contract_a_comparison_holds_at_any_magnitude_or_says_so(compare: Score) -> None:
    a, b = overlapping(0)[0][:30], overlapping(1)[0][: 25 if compare.__name__ != "cka" else 30]
    plain, power = compare(a, b), {"coral": 4, "frechet": 2}.get(compare.__name__, 0)
    for scale in (2.0**60, 2.0**-60):
        assert compare(scale * a, scale * b) == pytest.approx(plain * scale**power, rel=1e-9)
    for scale in (1e200, 1e307, 1e-200, 1e-305):
        if power:
            with pytest.raises(DataError, match="no number holds: scale the features first"):
                compare(scale * a, scale * b)
        else:
            assert compare(scale * a, scale * b) == pytest.approx(plain, rel=1e-9)


def test_contract_a_comparison_is_symmetric_and_blind_to_order(compare: Score) -> None:
    a, b = waves(40, 6), np.cos(waves(40, 6)) + 0.1 * blobs(rows=40, columns=6)[0]
    rows, columns = np.random.default_rng(1).permutation(40), np.random.default_rng(2).permutation(6)
    plain = compare(a, b)
    assert type(plain) is float
    assert compare(b, a) == pytest.approx(plain, abs=1e-9)
    assert compare(a[rows][:, columns], b[rows][:, columns]) == pytest.approx(plain, abs=1e-9)


def test_contract_a_comparison_refuses_what_is_no_data(compare: Score) -> None:
    a = waves(30, 4)
    for other, says in ((np.where(a > 0.9, np.nan, a), "rows of b hold values that are not finite"), (a[0], "2 rows")):
        with pytest.raises(DataError, match=says):
            compare(a, other)


# the public names


def test_scores_are_public_functions_of_arrays() -> None:
    x, y = blobs()
    for name in shelf.names("scores"):
        assert getattr(graft.scores, name) is shelf.function("scores", name)
        assert shelf.take("scores", name).__name__ == f"graft.scores.{name}"
        assert name in dir(graft.scores)
    assert graft.scores.logme(x.tolist(), y.tolist()) == logme(x, y)
    with pytest.raises(AttributeError, match="no attribute 'logmee'"):
        graft.scores.logmee  # noqa: B018


@pytest.mark.parametrize(
    "first",
    ["import graft.scores.knn", "from graft.scores import knn", "from graft.scores.knn import knn", "graft.scores.knn"],
)
def test_a_score_is_not_its_file_whatever_is_imported_first(first: str) -> None:
    code = f"""
import sys, graft
assert not {{"numpy", "torch"}} & set(sys.modules)
{first}
from graft.core.shelf import function, take
from graft.scores import logme
assert type(graft.scores.knn).__name__ == type(logme).__name__ == "function"
assert graft.scores.knn is function("scores", "knn") is take("scores", "knn").knn
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# the shared pass


@pytest.mark.parametrize(("rows", "columns"), [(40, 7), (7, 40), (12, 12)])
def test_the_gram_pass_is_the_singular_value_decomposition(rows: int, columns: int) -> None:
    x, y = np.random.default_rng(0).normal(size=(rows, columns)), np.arange(rows) % 3
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    squares, held = along(x, y, 3)
    assert squares == pytest.approx(values**2)
    assert held == pytest.approx((left.T @ np.eye(3)[y]) ** 2)


def test_the_gram_pass_resolves_directions_a_billion_times_narrower() -> None:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    x, y = rng.normal(size=(50, 10)) * 10.0 ** -np.arange(10) @ turn, np.arange(50) % 2
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    for one in (x, np.hstack([x, x[:, :4]])):  # and where rank is lost
        values = np.linalg.svd(one, compute_uv=False)[:10]
        assert along(one, y, 2)[0] == pytest.approx(values**2, rel=1e-4)
    assert along(x, y, 2)[1] == pytest.approx((left.T @ np.eye(2)[y]) ** 2, rel=1e-4, abs=1e-6)


def test_coordinates_keep_distances_and_know_no_rotation() -> None:
    x = np.random.default_rng(0).normal(size=(30, 5)) * [5, 4, 3, 2, 1] + 7
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    z = coordinates(x)
    assert np.linalg.norm(z[3] - z[8]) == pytest.approx(np.linalg.norm(x[3] - x[8]))
    assert coordinates(x @ turn) == pytest.approx(z)
    assert coordinates(np.full((4, 2), 0.1)).shape == (4, 0)


def test_columns_in_order_forget_how_they_came() -> None:
    x = np.hstack([blobs(rows=30, columns=5)[0], np.zeros((30, 2))])
    rng = np.random.default_rng(0)
    ordered, columns, rows = in_order(x), rng.permutation(7), rng.permutation(30)
    assert (in_order(x[rows][:, columns]) == ordered[rows]).all()
    assert (ordered[:, 5:] == 0).all()


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


@pytest.mark.parametrize(("rows", "columns"), [(30, 6), (9, 25)])
def test_logme_is_the_maximal_evidence_of_any_features(rows: int, columns: int) -> None:
    x, y = blobs(rows, columns, apart=0.5)
    y = np.minimum(y, np.arange(rows) // 4)  # classes that are not balanced
    assert logme(x - 2, y) == pytest.approx(direct(x - 2, y), abs=1e-5)


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
    assert probe(x, y) == (cross_predict(in_order(x), y, 3).argmax(1) == y).mean()


@pytest.mark.parametrize("form", [knn, probe])
def test_shuffled_labels_are_at_chance(form: Score) -> None:
    x, y = blobs(rows=400, columns=600, classes=4)
    assert 0.15 < form(x, np.random.default_rng(0).permutation(y)) < 0.35
