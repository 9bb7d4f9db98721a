"""Estimates of how well a backbone suits labels: worked values, and each formula once more, written plainly."""

from itertools import permutations

import numpy as np
import pytest
from scipy.linalg import toeplitz
from scipy.stats import spearmanr
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from graft.core.errors import DataError
from graft.scores import gbc, hscore, leep, nce, nleep, parc, transrate

CASES = [(12, 4, 3), (6, 10, 2), (40, 5, 4), (30, 30, 3), (25, 60, 5)]  # rows, columns, classes


def waves(rows: int, columns: int) -> np.ndarray:
    return np.sin(1 + np.arange(rows)[:, None] * columns + np.arange(columns))


def drawn(rows: int, columns: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features whose columns depend on each other and on labels that are not balanced."""
    rng = np.random.default_rng(seed)
    y = np.sort(np.minimum(rng.geometric(0.4, rows) - 1, classes - 1))
    y[:classes] = np.arange(classes)
    mixed = rng.normal(size=(rows, columns)) @ np.linalg.cholesky(toeplitz(0.7 ** np.arange(columns)))
    return mixed + rng.normal(size=(classes, columns))[y] + 3, y


def softmax(rows: int, classes: int) -> np.ndarray:
    odds = np.exp(2 * np.cos(0.7 * (np.arange(rows)[:, None] * classes + np.arange(classes))))
    return odds / odds.sum(1, keepdims=True)


def entropy(labels: np.ndarray) -> float:
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(share * np.log(share)).sum())


# H-score


def by_pseudo_inverse(f: np.ndarray, y: np.ndarray) -> float:
    means = np.stack([f[y == label].mean(0) for label in y])
    return float(np.trace(np.linalg.pinv(np.atleast_2d(np.cov(f.T))) @ np.atleast_2d(np.cov(means.T))))


def test_hscore_worked() -> None:
    x, y = waves(12, 4), np.arange(12) % 3
    assert hscore(x, y) == pytest.approx(1.292776, abs=1e-6)
    assert hscore(x, y, shrink=True) == pytest.approx(1.292517, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_hscore_is_its_formula(case: tuple[int, int, int]) -> None:
    x, y = drawn(*case)
    plain = by_pseudo_inverse(x, y)
    assert hscore(x, y) == pytest.approx(plain, abs=1e-8)
    assert 0 <= plain <= min(case[1], case[2] - 1) + 1e-9
    twice = np.vstack([x, x]), np.hstack([y, y])
    assert hscore(*twice) == pytest.approx(plain, abs=1e-8)
    dependent = np.hstack([x, x @ np.ones((case[1], 2)), np.ones((case[0], 3))])
    assert hscore(dependent, y) == pytest.approx(plain, abs=1e-8)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_rounding_makes_no_directions(kind: type) -> None:
    """What a layer of 60 outputs makes of 5 inputs has 5 directions, whatever it is rounded to."""
    x, y = drawn(200, 5, 3)
    wide = x @ np.random.default_rng(0).normal(size=(5, 60)) + 4
    assert hscore(wide.astype(kind), y) == pytest.approx(hscore(x, y), abs=1e-2 if kind == np.float16 else 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_shrunk_hscore_is_its_formula(case: tuple[int, int, int]) -> None:
    x, y = drawn(*case)
    fitted = LedoitWolf().fit(x)
    means = np.stack([x[y == label].mean(0) for label in y])
    plain = (1 - fitted.shrinkage_) * np.trace(np.linalg.inv(fitted.covariance_) @ np.cov(means.T))
    assert hscore(x, y, shrink=True) == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_hscore_knows_no_linear_map(case: tuple[int, int, int]) -> None:
    x, y = drawn(*case)
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(case[1], case[1])))[0]
    assert hscore(x * 10.0 ** rng.uniform(-3, 3, case[1]) @ turn, y) == pytest.approx(hscore(x, y), abs=1e-6)
    assert hscore(1e-3 * x @ turn - 2, y, shrink=True) == pytest.approx(hscore(x, y, shrink=True), abs=1e-9)


def test_the_shrunk_hscore_reaches_its_range() -> None:
    assert hscore([[1, 0], [0, 1]] * 2, [0, 1] * 2) == pytest.approx(1)
    assert hscore([[1, 0], [0, 1]] * 2, [0, 1] * 2, shrink=True) == pytest.approx(4 / 3)  # N / (N - 1)
    for case in CASES:
        most = case[0] / (case[0] - 1) * min(case[1], case[2] - 1)
        assert 0 <= hscore(*drawn(*case), shrink=True) <= most + 1e-9


def test_hscore_of_labels_that_are_features_is_their_number_less_one() -> None:
    y = np.arange(60) % 4
    assert hscore(np.eye(4)[y], y) == pytest.approx(3)
    assert hscore(np.random.default_rng(0).normal(size=(9, 20)), np.arange(9) % 3) == pytest.approx(2)  # and D >= N - 1
    assert hscore(waves(20, 3), np.zeros(20)) == pytest.approx(0, abs=1e-12)


def test_the_shrunk_hscore_withstands_columns_of_noise() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = 0.5 * rng.normal(size=(3, 30))[y] + rng.normal(size=(120, 30))
    noisy = np.hstack([x, rng.normal(size=(120, 1000))])
    assert hscore(noisy, y, shrink=True) < hscore(x, y, shrink=True)
    assert hscore(noisy, y) > hscore(x, y)


# TransRate


def rate(z: np.ndarray) -> float:
    return float(np.linalg.slogdet(np.eye(z.shape[1]) + z.T @ z / (len(z) * 1e-4))[1]) / 2


def test_transrate_worked() -> None:
    assert transrate(waves(12, 4), np.arange(12) % 3) == pytest.approx(0.071440, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_transrate_is_its_formula(case: tuple[int, int, int]) -> None:
    x, y = drawn(*case)
    z = x - x.mean(0)
    plain = rate(z) - sum((y == label).mean() * rate(z[y == label]) for label in range(case[2]))
    assert transrate(x, y) == pytest.approx(plain, abs=1e-9)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(case[1], case[1])))[0]
    assert transrate(x @ turn, y) == pytest.approx(plain, abs=1e-8)
    assert transrate(np.vstack([x, x]), np.hstack([y, y])) == pytest.approx(plain, abs=1e-8)


def test_transrate_sees_narrow_columns_beside_a_wide_one() -> None:
    x, y = drawn(60, 6, 3)
    wide = np.hstack([x, 1e8 * np.random.default_rng(2).normal(size=(60, 1))])
    z = wide - wide.mean(0)
    plain = [
        np.log1p(np.linalg.svd(one)[1] ** 2 / (len(one) * 1e-4)).sum() / 2
        for one in (z, *(z[y == k] for k in range(3)))
    ]
    assert transrate(wide, y) == pytest.approx(plain[0] - np.bincount(y) / 60 @ plain[1:], abs=1e-6)


def test_transrate_of_two_points_by_hand() -> None:
    y = np.array([0, 0, 1, 1, 1, 1])  # one column: variance 8/9 in all, 16/9 and 4/9 around the common mean in a class
    z = np.where(y == 0, 2.0, 0.0)
    whole, first, second = (0.5 * np.log1p(variance * 1e4) for variance in (8 / 9, 16 / 9, 4 / 9))
    assert transrate(z[:, None], y) == pytest.approx(whole - first / 3 - 2 * second / 3)
    assert transrate(z[:, None], np.zeros(6)) == 0


# GBC


def overlap(x: np.ndarray, y: np.ndarray, spherical: bool) -> float:
    total = 0.0
    for i, j in permutations(np.unique(y), 2):
        one, other = ((x[y == k].mean(0), np.maximum(x[y == k].var(0), 1e-4)) for k in (i, j))
        a, b = ((np.full_like(v, v.mean()) if spherical else v) for v in (one[1], other[1]))
        middle, apart = np.diag((a + b) / 2), one[0] - other[0]
        distance = apart @ np.linalg.inv(middle) @ apart / 8
        distance += 0.5 * np.log(np.linalg.det(middle) / np.sqrt(np.linalg.det(np.diag(a)) * np.linalg.det(np.diag(b))))
        total -= np.exp(-distance)
    return float(total)


def test_gbc_worked() -> None:
    x, y = waves(12, 4), np.arange(12) % 3
    assert gbc(x, y) == pytest.approx(-0.143105, abs=1e-6)
    assert gbc(x, y, spherical=True) == pytest.approx(-0.426677, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("spherical", [False, True])
def test_gbc_is_its_formula(case: tuple[int, int, int], spherical: bool) -> None:
    x, y = drawn(*case)
    x = 0.4 * x  # closer together, so that there is an overlap to measure
    plain = overlap(x, y, spherical)
    assert gbc(x, y, spherical=spherical) == pytest.approx(plain, rel=1e-9, abs=1e-12)
    assert -case[2] * (case[2] - 1) <= plain <= 0
    assert gbc(np.vstack([x, x]), np.hstack([y, y]), spherical=spherical) == pytest.approx(plain, abs=1e-9)
    assert gbc(x + 1e6, y, spherical=spherical) == pytest.approx(plain, abs=1e-6)


def test_gbc_bounds() -> None:
    y = np.arange(12) % 3
    assert gbc(np.ones((12, 5)), y) == pytest.approx(-6)
    assert gbc(100 * np.eye(3)[y], y) == pytest.approx(0)
    assert gbc(waves(12, 4), np.zeros(12)) == 0
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    assert gbc(waves(12, 4) @ turn, y, spherical=True) == pytest.approx(gbc(waves(12, 4), y, spherical=True))


# PARC


@pytest.mark.parametrize("case", [(12, 4, 3), (40, 5, 4), (25, 20, 5)])
def test_parc_is_its_formula(case: tuple[int, int, int]) -> None:
    x, y = drawn(*case)
    z = (x - x.mean(0)) / x.std(0)
    lower = np.tril_indices(case[0], -1)
    plain = spearmanr((1 - np.corrcoef(z))[lower], (1 - np.corrcoef(np.eye(case[2])[y]))[lower].round(9)).statistic
    assert parc(x, y) == pytest.approx(100 * plain, abs=1e-9)


def test_parc_reduces_wide_features_to_their_principal_components() -> None:
    x, y = drawn(60, 80, 3)
    z = PCA(32).fit_transform(x)
    z *= np.where(z[np.abs(z).argmax(0), np.arange(32)] < 0, -1, 1) / z.std(0)
    lower = np.tril_indices(60, -1)
    plain = spearmanr((1 - np.corrcoef(z))[lower], (y[:, None] != y)[lower]).statistic
    assert parc(x, y) == pytest.approx(100 * plain, abs=1e-6)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(80, 80)))[0]
    assert parc(x @ turn, y) == pytest.approx(100 * plain, abs=1e-6)


def test_parc_leaves_narrow_features_as_they_are() -> None:
    x, y = drawn(60, 20, 3)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0]
    assert abs(parc(x @ turn, y) - parc(x, y)) > 0.1  # as the docstring says


def test_transrate_counts_no_rounding_of_lost_rank_as_nats() -> None:
    x, y = drawn(25, 60, 5)  # fewer rows than columns: centring loses a direction
    narrow, wide = (transrate(unit * x, y) for unit in (1e60, 1e100))
    ranks = 24 - (np.bincount(y) ** 2).sum() / 25  # of all rows, less those of the classes: a log of the unit for each
    assert wide - narrow == pytest.approx(ranks * np.log(1e40))
    assert transrate(1e-60 * x, y) == pytest.approx(0, abs=1e-100)


def test_parc_where_pairs_agree_entirely_or_not_at_all() -> None:
    y = np.arange(12) % 3
    assert parc(np.eye(3)[y], y) == pytest.approx(100)
    assert parc(waves(12, 4), np.zeros(12)) == 0
    assert parc(np.full((12, 4), 0.1), y) == 0
    x, labels = load_digits(return_X_y=True)
    shuffled = [parc(x[:200], np.random.default_rng(seed).permutation(labels[:200])) for seed in range(5)]
    assert np.abs(shuffled).max() < 2 < 20 < parc(x[:200], labels[:200])


# LEEP and NCE


def test_leep_worked() -> None:
    assert leep(softmax(12, 4), np.arange(12) % 3) == pytest.approx(-1.063895, abs=1e-6)
    assert leep([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]], [0, 0, 1, 1]) == pytest.approx(-0.295476, abs=1e-6)
    assert leep(np.eye(2)[[0, 0, 1, 1]], list("aabb")) == 0
    assert leep(np.full((4, 2), 0.5), [0, 1, 0, 1]) == pytest.approx(-np.log(2))


def test_leep_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    for count, source, classes in ((30, 7, 3), (200, 20, 5), (9, 1, 2)):
        theta, y = rng.dirichlet(np.full(source, 0.3), count), rng.integers(0, classes, count)
        joint = np.zeros((classes, source))
        for i in range(count):
            joint[y[i]] += theta[i] / count
        plain = 0.0
        for i in range(count):
            plain += np.log(sum(joint[y[i], z] / joint[:, z].sum() * theta[i, z] for z in range(source))) / count
        assert leep(theta, y) == pytest.approx(plain)
        assert -entropy(y) - 1e-12 <= plain <= 0
        order, names = rng.permutation(count), rng.permutation(source)
        assert leep(theta[order][:, names], y[order]) == pytest.approx(plain)
        assert leep(np.vstack([theta, theta]), np.hstack([y, y])) == pytest.approx(plain)
        assert leep(np.hstack([theta, np.zeros((count, 50))]), y) == pytest.approx(plain)
        assert leep(theta.astype(np.float32), y) == pytest.approx(plain, abs=1e-5)


def test_leep_divides_rows_by_their_sums() -> None:
    theta, y = softmax(12, 4), np.arange(12) % 3
    off = theta * (1 + 0.009 * np.cos(np.arange(12)))[:, None]
    assert leep(off, y) == pytest.approx(leep(theta, y), abs=1e-12)
    assert leep(np.eye(2)[[0, 0, 1, 1]] * 1.009, [0, 0, 1, 1]) == 0  # and never above 0
    with pytest.raises(DataError, match="12 of 12 rows of source_probabilities are not probabilities"):
        leep(theta * 1.02, y)


def test_leep_of_labels_that_have_nothing_to_do_with_the_answers_is_near_its_floor() -> None:
    theta = np.random.default_rng(0).dirichlet(np.ones(10), 20000)
    assert leep(theta, np.arange(20000) % 4) == pytest.approx(np.log(1 / 4), abs=0.01)


@pytest.mark.parametrize(
    ("theta", "labels", "says"),
    [
        ([[2.0, -1.0], [0.5, 0.5]], [0, 1], "1 of 2 rows of source_probabilities are not probabilities"),
        ([[3.0, 1.0], [0.5, 0.5]], [0, 1], "take the softmax"),
        ([[np.nan, 1.0], [0.5, 0.5]], [0, 1], "not probabilities"),
        ([[0.5, 0.5]], [0, 1], "one label a row"),
        ([0.5, 0.5], [0, 1], r"not an array of shape \(2,\)"),
        (np.zeros((0, 2)), [], "not an array of shape"),
    ],
)
def test_leep_refuses_what_is_no_probability(theta: object, labels: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        leep(theta, labels)


def test_nce_worked() -> None:
    z, y = softmax(12, 4).argmax(1), np.arange(12) % 3
    assert nce(z, y) == pytest.approx(-0.786124, abs=1e-6)
    assert nce(z, y) == pytest.approx(np.mean([np.log(((z == a) & (y == b)).sum() / (z == a).sum())
                                               for a, b in zip(z, y, strict=True)]))  # fmt: skip
    assert nce(list("xxyy"), [5, 5, 7, 7]) == 0
    assert nce([0, 0, 0, 0], [0, 0, 1, 1]) == pytest.approx(-np.log(2))
    assert nce([0, 1, 2, 3], [0, 0, 1, 1]) == 0  # in sample: every example its own source label
    assert nce([0], [1]) == 0


def test_nce_refuses_what_does_not_fit() -> None:
    for z, y, says in (
        ([], [], "source_labels"),
        ([0, 1], [0], "one label a row"),
        ([0.0, np.nan], [0, 1], "of 2 source_labels are not finite"),
        ([[0.9, 0.1], [0.2, 0.8]], [0, 1], r"NCE needs source_labels \(N,\).* argmax"),
        (["a", None], [0, 1], "1 of 2 source_labels are missing"),
    ):
        with pytest.raises(DataError, match=says):
            nce(z, y)


# NLEEP


@pytest.mark.parametrize("count", [50, 100, 500])
def test_nleep_of_shuffled_labels_is_at_its_floor(count: int) -> None:
    x, y = load_digits(return_X_y=True)
    some = np.random.default_rng(0).permutation(len(y))[:count]
    x, y = x[some], y[some]
    found = [nleep(x, np.random.default_rng(seed).permutation(y)) for seed in range(5)]
    assert np.mean(found) == pytest.approx(-entropy(y), abs=0.03)
    assert min(found) >= -entropy(y) - 1e-9
    assert nleep(x, y) > -0.5 * entropy(y)


def test_nleep_leaves_out_each_row_by_loops() -> None:
    from graft.scores.nleep import _left_out

    rng = np.random.default_rng(0)
    theta, y = rng.dirichlet(np.full(4, 0.3), 25), rng.integers(0, 3, 25)
    frequency, prior, plain = np.bincount(y) / 25, 0.7, []
    for i in range(25):
        rest, likely = np.arange(25) != i, 0.0
        for z in range(4):
            own = theta[rest & (y == y[i]), z].sum() + prior * frequency[y[i]]
            likely += theta[i, z] * own / (theta[rest, z].sum() + prior)
        plain.append(np.log(likely))
    assert _left_out(theta, np.eye(3)[y], frequency, prior) == pytest.approx(np.mean(plain))
    assert _left_out(theta, np.eye(3)[y], frequency, np.inf) == pytest.approx(-entropy(y))


def test_nleep_is_not_praised_for_copies() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    assert nleep(np.repeat(x, 4, axis=0), np.repeat(y, 4)) == pytest.approx(nleep(x, y), abs=1e-9)


def test_nleep_of_labels_that_are_features_is_near_zero() -> None:
    y = np.arange(300) % 3
    assert nleep(np.eye(3)[y], y) > -0.01
    rng = np.random.default_rng(0)
    x = 20 * np.eye(3)[y] + rng.normal(size=(300, 3))
    assert nleep(x, y) > -0.01
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    assert nleep(x @ turn + 5, y) == pytest.approx(nleep(x, y), abs=1e-9)
    assert nleep(x, y, seed=3) == nleep(x, y, seed=3)
