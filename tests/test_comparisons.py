"""Comparisons of two backbones, and of two sets of rows: worked values, and each formula once more, written plainly."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from graft.core.errors import DataError
from graft.model.distance import distance
from graft.scores import a_distance, cka, coral, frechet, mmd

SIZES = [(12, 9, 4), (8, 8, 20), (30, 5, 1)]  # rows of either set, columns


def waves(rows: int, columns: int) -> np.ndarray:
    return np.sin(1 + np.arange(rows)[:, None] * columns + np.arange(columns))


def two(rows: int, others: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, columns)) + 2, rng.normal(size=(others, columns)) * 1.5 + 1.7


def turn(columns: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(1).normal(size=(columns, columns)))[0]


# CKA


def test_cka_worked() -> None:
    x, y = waves(12, 4), np.cos(0.5 * (3 * np.arange(12)[:, None] + np.arange(3)))
    assert cka(x, y) == pytest.approx(0.043034, abs=1e-6)
    assert cka(x, y, debiased=True) == pytest.approx(-0.122726, abs=1e-6)


def by_kernels(x: np.ndarray, y: np.ndarray, debiased: bool) -> float:
    """From the (N, N) kernels, as the criterion's two estimators are written down."""
    n = len(x)
    one, middle = np.ones(n), np.eye(n) - 1 / n

    def biased(k: np.ndarray, m: np.ndarray) -> float:
        return float(np.trace(k @ middle @ m @ middle)) / (n - 1) ** 2

    def unbiased(k: np.ndarray, m: np.ndarray) -> float:
        k, m = (one - np.eye(n)) * k, (one - np.eye(n)) * m
        sums = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
        return float(np.trace(k @ m) + sums) / (n * (n - 3))

    criterion, k, m = (unbiased if debiased else biased), x @ x.T, y @ y.T
    return criterion(k, m) / np.sqrt(criterion(k, k) * criterion(m, m))


@pytest.mark.parametrize("shape", [(12, 3, 5), (9, 40, 30), (20, 2, 60)])
@pytest.mark.parametrize("debiased", [False, True])
def test_cka_is_its_formula(shape: tuple[int, int, int], debiased: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(shape[0], shape[1])) + 3
    y = rng.normal(size=(shape[0], shape[2])) + x[:, :1]
    plain = by_kernels(x, y, debiased)
    assert cka(x, y, debiased) == pytest.approx(plain, abs=1e-9)
    assert cka(7 * x @ turn(shape[1]) - 4, 1e-3 * y @ turn(shape[2]), debiased) == pytest.approx(plain, abs=1e-9)
    assert cka(np.hstack([x, np.zeros((len(x), 99))]), y, debiased) == pytest.approx(plain, abs=1e-9)
    assert cka(x, x, debiased) == pytest.approx(1)


def test_cka_of_unrelated_features_is_zero_only_where_debiased() -> None:
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(20, 100)), rng.normal(size=(20, 100))) for _ in range(20)]
    assert np.mean([cka(*one) for one in draws]) > 0.7
    assert abs(np.mean([cka(*one, debiased=True) for one in draws])) < 0.03


def test_cka_edges() -> None:
    x = waves(12, 4)
    assert cka(x, np.full((12, 3), 0.1)) == 0
    assert cka(np.vstack([x, x]), np.vstack([x[:, :2], x[:, :2]])) == pytest.approx(cka(x, x[:, :2]))
    for a, b, debiased, says in ((x, x[:5], False, "12 and 5"), (x[:3], x[:3], True, "at least 4 examples")):
        with pytest.raises(DataError, match=says):
            cka(a, b, debiased)


# MMD


def by_pairs(a: np.ndarray, b: np.ndarray, unbiased: bool, sigma: float | None) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.exp(-((x - y) ** 2).sum() / (2 * sigma**2)) if sigma else x @ y)

    def own(x: np.ndarray) -> float:
        pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if not (unbiased and i == j)]
        return float(np.mean([kernel(x[i], x[j]) for i, j in pairs]))

    return own(a) + own(b) - 2 * float(np.mean([kernel(x, y) for x in a for y in b]))


def test_mmd_worked() -> None:
    a = waves(6, 2)
    assert mmd(a, a + 0.5, sigma=1.0) == pytest.approx(0.104190, abs=1e-6)
    assert mmd(a, a + 0.5, sigma=1.0, unbiased=True) == pytest.approx(-0.095889, abs=1e-6)
    assert mmd(a, a + 0.5, kernel="linear") == pytest.approx(0.5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("unbiased", [False, True])
def test_mmd_is_its_formula(size: tuple[int, int, int], unbiased: bool) -> None:
    a, b = two(*size)
    for sigma in (0.5, 3.0):
        assert mmd(a, b, unbiased, sigma=sigma) == pytest.approx(by_pairs(a, b, unbiased, sigma), abs=1e-9)
    assert mmd(a, b, unbiased, "linear") == pytest.approx(by_pairs(a, b, unbiased, None), abs=1e-9)
    both = np.vstack([a, b])
    width = np.sqrt(np.mean([((x - y) ** 2).sum() for x in both for y in both]) / 2)
    plain = mmd(a, b, unbiased)
    assert plain == pytest.approx(by_pairs(a, b, unbiased, width), abs=1e-9)
    assert mmd(1e3 * a @ turn(size[2]) + 1e4, 1e3 * b @ turn(size[2]) + 1e4, unbiased) == pytest.approx(plain, abs=1e-9)
    assert mmd(np.vstack([a, a]), np.vstack([b, b])) == pytest.approx(mmd(a, b))


def test_mmd_of_one_distribution_is_zero_in_the_mean_where_unbiased() -> None:
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(20, 3)), rng.normal(size=(20, 3))) for _ in range(50)]
    found = np.array([mmd(*one, unbiased=True) for one in draws])
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(50)
    assert np.mean([mmd(*one) for one in draws]) > 0.02
    assert mmd(draws[0][0], draws[0][0]) == 0
    assert mmd(draws[0][0], draws[0][0] + 100, sigma=1) < 2


def test_mmd_at_any_magnitude() -> None:
    a, b = two(12, 9, 4)
    for scale in (2.0**200, 2.0**-300, 2.0**900):
        assert mmd(scale * a, scale * b) == mmd(a, b)
        assert mmd(scale * a, scale * b, sigma=scale * 0.7) == mmd(a, b, sigma=0.7)
    assert mmd(1e200 * a, 1e200 * b, sigma=1) == pytest.approx(1 / 12 + 1 / 9)  # rows are alike to themselves alone
    assert mmd(1e-200 * a, 1e-200 * b, sigma=1) == 0
    assert mmd(2.0**60 * a, 2.0**60 * b, kernel="linear") == pytest.approx(2.0**120 * mmd(a, b, kernel="linear"))
    with pytest.raises(DataError, match=r"about 10\^\d+, which no number holds"):
        mmd(1e200 * a, 1e200 * b, kernel="linear")


@pytest.mark.parametrize(
    ("more", "says"), [({"sigma": 0.0}, "above 0, not 0.0"), ({"kernel": "rbg"}, "no kernel 'rbg'")]
)
def test_mmd_refuses_what_is_no_kernel(more: dict, says: str) -> None:
    with pytest.raises(DataError, match=says):
        mmd(waves(6, 2), waves(6, 2), **more)


# CORAL, Fréchet, A-distance


def test_coral_worked() -> None:
    s, t = waves(8, 3), 2 * np.cos(0.3 * (3 * np.arange(8)[:, None] + np.arange(3)))
    assert coral(s, t) == pytest.approx(0.834804, abs=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_coral_is_its_formula(size: tuple[int, int, int]) -> None:
    a, b = two(*size)
    apart = np.atleast_2d(np.cov(a.T)) - np.atleast_2d(np.cov(b.T))
    plain = np.linalg.norm(apart, "fro") ** 2 / (4 * size[2] ** 2)
    assert coral(a, b) == pytest.approx(plain)
    assert coral(a @ turn(size[2]) + 1e3, b @ turn(size[2]) - 5) == pytest.approx(plain)
    assert coral(a, a + 9) == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("size", [(40, 30, 4), (30, 50, 1), (25, 26, 12)])
def test_frechet_is_its_formula(size: tuple[int, int, int]) -> None:
    a, b = two(*size)
    first, second = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    plain = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet(a, b) == pytest.approx(plain, rel=1e-6)
    assert frechet(a @ turn(size[2]) + 7, b @ turn(size[2]) + 7) == pytest.approx(plain, rel=1e-6)
    assert frechet(np.hstack([a, np.zeros((len(a), 9))]), np.hstack([b, np.zeros((len(b), 9))])) == pytest.approx(plain)


def test_frechet_closed_forms() -> None:
    a = waves(20, 6)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, a + np.array([3, 4, 0, 0, 0, 0])) == pytest.approx(25)
    assert frechet(a, 3 * a) == pytest.approx(4 * ((a.mean(0) ** 2).sum() + np.trace(np.cov(a.T))))  # (3 - 1)² of both
    few = np.random.default_rng(0).normal(size=(5, 50))  # covariances without full rank
    assert frechet(few, 2 * few) == pytest.approx((few.mean(0) ** 2).sum() + np.trace(np.cov(few.T)))


def test_a_distance_worked() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(100, 3))
    assert a_distance(a, a + 50) == 2
    assert a_distance(-np.ones((100, 1)), np.append(-np.ones(10), np.ones(90))[:, None]) == pytest.approx(
        1.8
    )  # e = .05
    assert a_distance(a, a) == pytest.approx(0, abs=0.1)
    blind = [a_distance(rng.normal(size=(60, 200)), rng.normal(size=(60, 200))) for _ in range(8)]
    assert np.mean(blind) < 0.25  # more columns than rows, but none was learned from


def test_a_distance_forgets_the_order_of_rows_and_columns_and_keeps_its_seed() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 6)), rng.normal(size=(50, 6)) + 0.4
    plain, columns = a_distance(a, b), rng.permutation(6)
    assert a_distance(a[rng.permutation(50)][:, columns], b[rng.permutation(50)][:, columns]) == pytest.approx(plain)
    assert a_distance(a, b, seed=1) == a_distance(a, b, seed=1)
    assert plain == pytest.approx(distance(a, b)[0], abs=0.3)  # the same measure, other folds


def test_sets_of_other_columns_are_refused() -> None:
    for compare in (mmd, coral, frechet, a_distance):
        with pytest.raises(DataError, match="a has 4 columns and b has 3"):
            compare(waves(9, 4), waves(9, 3))
