"""The exact linear head: against scikit-learn's solver, its own optimality, and data that break careless ones."""

import warnings

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from graft.core.errors import DataError, PlanError
from graft.model.linear import PATH, cross_predict, fit, folded, logits


def said(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Log-probabilities."""
    return log_softmax(logits(weight, bias, x), axis=1)


def wide() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    return rng.normal(size=(60, 400)) + 0.3 * y[:, None], y


def collinear() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_wine(return_X_y=True)
    return np.hstack([x, x[:, :5] * 2 - 1, x @ np.ones((13, 1)), np.full((len(x), 2), 7.0)]), y


def few() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_wine(return_X_y=True)
    return x[::9], y[::9]


SETS = {
    "digits": lambda: tuple(part[:700] for part in load_digits(return_X_y=True)),
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "wide": wide,
    "collinear": collinear,
    "few": few,
}


def scaled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The documented scaling, written out again: rows z and the factor of each column."""
    spread = x.std(0)
    varies = np.ptp(x, axis=0) > 0
    tenth = np.sort(spread[varies])[int(0.1 * (varies.sum() - 1))]
    factor = np.zeros(x.shape[1])
    factor[varies] = 1 / np.sqrt(spread[varies] ** 2 + tenth**2)
    z = (x - x.mean(0)) * factor
    length = np.sqrt((z**2).sum(1).mean())
    return z / length, factor / length


@pytest.mark.parametrize("strength", [1e-2, 1e-4])
@pytest.mark.parametrize("name", SETS)
def test_same_solution_as_sklearn(name: str, strength: float) -> None:
    x, y = SETS[name]()
    classes = int(y.max()) + 1
    z, factor = scaled(x)
    share = 2 if classes == 2 else 1  # sklearn's two-class model has one weight vector, w1 - w0: half the penalty
    theirs = LogisticRegression(C=share / (strength * len(y)), tol=1e-10, max_iter=50_000).fit(z, y)
    ours = fit(x, y, classes, strengths=(strength,))
    weight = ours.weight - ours.weight[0] if classes == 2 else ours.weight
    coefficients = theirs.coef_ * factor if classes > 2 else np.vstack([0 * factor, theirs.coef_[0] * factor])
    np.testing.assert_allclose(weight, coefficients, atol=1e-3 * np.abs(coefficients).max())
    np.testing.assert_allclose(said(ours.weight, ours.bias, x), theirs.predict_log_proba(z), atol=2e-3)
    assert (said(ours.weight, ours.bias, x).argmax(1) == theirs.predict(z)).all()


def test_weights_count_like_copies() -> None:
    x, y = load_wine(return_X_y=True)
    z, factor = scaled(x)
    weights = 1.0 + np.arange(len(y)) % 3
    theirs = LogisticRegression(C=1 / (1e-3 * weights.sum()), tol=1e-10, max_iter=50_000).fit(z, y, weights)
    ours = fit(x, y, 3, weights=weights, strengths=(1e-3,))
    np.testing.assert_allclose(ours.weight, theirs.coef_ * factor, atol=1e-3 * np.abs(theirs.coef_ * factor).max())


def test_the_gradient_vanishes() -> None:
    x, y = load_digits(return_X_y=True)
    z, factor = scaled(x[:500])
    head = fit(x[:500], y[:500], 10, strengths=(1e-3,))
    w = np.divide(head.weight, factor, out=np.zeros_like(head.weight), where=factor > 0)
    slope = np.exp(said(head.weight, head.bias, x[:500])) - np.eye(10)[y[:500]]
    assert np.abs(slope.T @ z / 500 + 1e-3 * w).max() < 1e-7
    assert np.abs(slope.mean(0)).max() < 1e-7


@pytest.mark.parametrize(("name", "rows"), [("digits", 150), ("breast_cancer", 60), ("wine", 60)])
def test_held_out_accuracy_is_that_of_a_careful_search(name: str, rows: int) -> None:
    x, y = SETS[name]()
    ours, theirs = [], []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(y))
        learn, test = order[:rows], order[rows:]
        head = fit(x[learn], y[learn], int(y.max()) + 1)
        ours.append((said(head.weight, head.bias, x[test]).argmax(1) == y[test]).mean())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sklearn: announced changes, small classes
            grid = LogisticRegressionCV(Cs=np.logspace(-4, 2, 7), cv=5, max_iter=1000)
            theirs.append(make_pipeline(StandardScaler(), grid).fit(x[learn], y[learn]).score(x[test], y[test]))
    assert np.mean(ours) > np.mean(theirs) - 0.01


def test_the_order_of_rows_and_columns_of_zeros_change_nothing() -> None:
    x, y = wide()
    order = np.random.default_rng(1).permutation(len(y))
    plain = cross_predict(x, y, 3)
    shuffled = np.empty_like(plain)
    shuffled[order] = cross_predict(x[order], y[order], 3)
    padded = cross_predict(np.hstack([x, np.zeros((60, 50))]), y, 3)
    np.testing.assert_allclose(shuffled, plain, atol=1e-3)
    np.testing.assert_allclose(padded, plain, atol=1e-3)
    assert np.abs(cross_predict(x, y, 3, seed=1) - plain).max() > 0.01  # another seed deals other folds


def test_folds_go_by_what_no_unit_offset_or_rotation_changes() -> None:
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.normal(size=(60, 20)), 2, axis=0), np.repeat(np.arange(60) % 3, 2)
    turn, order, constant = np.linalg.qr(rng.normal(size=(20, 20)))[0], rng.permutation(120), np.full((120, 1), 0.1)
    plain = folded(x, y, 5, 0)
    for same in (3 * x, 1e-9 * x, x + 0.1, x.astype(np.float32).astype(float), x @ turn, np.hstack([constant, x])):
        assert (folded(same, y, 5, 0) == plain).all()
    assert (folded(x[order], y[order], 5, 0) == plain[order]).all()
    assert (plain[::2] == plain[1::2]).all()  # copies together
    assert (np.bincount(5 * y + plain) == 8).all()  # each class dealt out evenly
    assert (folded(x, y, 5, 1) != plain).any()
    few = np.repeat(np.eye(3), 10, axis=0)  # rows as far from the mean as each other, and little but copies
    assert (np.bincount(5 * np.repeat(np.arange(3), 10) + folded(few, np.repeat(np.arange(3), 10), 5, 0)) == 2).all()
    tied = np.array([[i >> bit & 1 for bit in range(6)] for i in range(64)], float)
    side, turned = np.arange(64) % 2, rng.permutation(64)
    assert (folded(tied[turned] * 3 - 1, side[turned], 5, 0) == folded(tied, side, 5, 0)[turned]).all()


def test_held_out_rows_are_held_out() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 2000)), np.arange(200) % 2
    head = fit(x, y, 2, strengths=(1e-5,))
    assert (said(head.weight, head.bias, x).argmax(1) == y).all()  # noise can be learnt by heart
    assert 0.35 < head.score < 0.65  # but not foretold
    assert head.error == pytest.approx(0.5 / np.sqrt(200), rel=0.05)


def test_score_is_that_of_the_held_out_predictions() -> None:
    x, y = few()
    assert fit(x, y, 3).score == pytest.approx((cross_predict(x, y, 3).argmax(1) == y).mean())
    assert fit(x, y, 3).score <= 1
    hits = cross_predict(x, y, 3, metric="balanced_accuracy").argmax(1) == y
    recalls = [hits[y == c].mean() for c in range(3)]
    assert fit(x, y, 3, metric="balanced_accuracy").score == pytest.approx(np.mean(recalls))


def test_the_strength_follows_the_signal() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    noise, clear = rng.normal(size=(100, 20)), rng.normal(size=(100, 20)) + 3 * y[:, None]
    assert fit(noise, y, 2).strength > fit(clear, y, 2).strength
    assert fit(clear, y, 2).strength in PATH


def test_the_metric_has_a_say_in_the_strength() -> None:
    y, steps = (np.arange(300) % 10 == 0).astype(int), []
    for seed in range(6):
        x = np.random.default_rng(seed).normal(size=(300, 40))
        x[:, :8] += 0.6 * y[:, None]  # weak enough that the best calibrated head all but forgets the rare class
        steps.append(np.log10(fit(x, y, 2, metric="balanced_accuracy").strength / fit(x, y, 2).strength))
    assert max(steps) < 1e-9
    assert np.mean(steps) < -0.25


def test_classes_of_one_example_do_not_drive_the_strength() -> None:
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(60) % 3, 3 + np.arange(12)])
    x = rng.normal(size=(72, 30)) + 1.5 * rng.normal(size=(15, 30))[y]
    assert fit(x, y, 15).strength == fit(x[:60], y[:60], 3).strength


def test_a_feature_silent_in_training_does_not_shout_later() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    x = rng.normal(size=(400, 50)) + 1.0 * y[:, None]
    x[:, :4] = np.abs(rng.normal(size=(400, 4))) * (rng.random((400, 4)) < 0.3)
    x[:40, :4] *= 1e-4  # as good as silent on the rows that are learnt from
    head = fit(x[:40], y[:40], 2)
    assert (said(head.weight, head.bias, x[40:]).argmax(1) == y[40:]).mean() > 0.95


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        ([0, 1], 2),  # fewer rows than folds, each class once
        ([0, 0, 0, 1], 2),  # a class with a single example
        ([0, 0, 1, 1, 0, 1, 0, 1, 3, 3], 5),  # classes 2 and 4 are absent
        ([1, 1, 1, 1, 1, 1], 3),  # a single class
        (list(range(12)), 12),  # every class once
    ],
)
@pytest.mark.parametrize("columns", [0, 1, 40])
def test_scarce_classes(y: list[int], classes: int, columns: int) -> None:
    x = np.random.default_rng(0).normal(size=(len(y), columns))
    head = fit(x, y, classes)
    held = cross_predict(x, y, classes)
    assert head.weight.shape == (classes, columns)
    assert held.shape == (len(y), classes)
    assert np.isfinite(head.weight).all()
    assert np.isfinite(held).all()
    assert 0 <= head.score <= 1
    assert 0 < head.error < 1
    anywhere = said(head.weight, head.bias, 100 * np.random.default_rng(1).normal(size=(500, columns)))
    assert np.isin(anywhere.argmax(1), y).all()  # a class never seen is never the answer


def test_constant_and_huge_columns_are_safe() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(39) % 2
    signal = rng.normal(size=(39, 3)) + 2 * y[:, None]
    constant = np.tile(np.append(0.1 * np.arange(10), 1e12), (39, 1))
    constant[:, -1] += 1e-3 * np.sign(signal[:, 0])  # what rounding may leave of a sum: 15 digits in, not a feature
    head = fit(np.hstack([signal, constant, signal[:, :1] * 1e9]), y, 2)
    assert (head.weight[:, 3:14] == 0).all()
    assert head.score > 0.8
    assert fit(np.ones((10, 3)), [0, 1] * 5, 2).score <= 0.5


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (np.zeros((1, 3)), [0], "at least 2 rows, not 1"),
        (np.zeros((4, 3)), [0, 1, 0], r"\(4, 3\) with \(3,\)"),
        (np.zeros((3, 3)), [0, 1, 2], "run from 0 to 2"),
        (np.array([[1.0], [np.nan], [np.inf]]), [0, 1, 0], "2 of 3 rows"),
    ],
)
def test_what_cannot_be_learnt_from_is_said(x: np.ndarray, y: list[int], says: str) -> None:
    with pytest.raises(DataError, match=says):
        fit(x, y, 2)


def test_other_refusals() -> None:
    x, y = few()
    with pytest.raises(DataError, match="not all zero"):
        fit(x, y, 3, weights=np.zeros(len(y)))
    with pytest.raises(PlanError, match="balanced_accuracy"):
        fit(x, y, 3, metric="balanced")


def test_copies_do_not_vouch_for_each_other():
    """Random labels cannot be learned; five copies of each row must not make it look so."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 20)), rng.integers(0, 2, 60)
    once = fit(x, y, 2).score
    copied = fit(np.tile(x, (5, 1)), np.tile(y, 5), 2).score
    assert abs(copied - once) < 0.2
    assert copied < 0.75
