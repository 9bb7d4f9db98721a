"""Groups: measures against scikit-learn, the right number where there are some, one where there are none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris, load_wine
from sklearn.metrics import adjusted_rand_score, silhouette_score

from graft.core.errors import DataError
from graft.model import clusters
from graft.model.clusters import adjusted_rand, as_linear, choose, kmeans, silhouette, stability, terms


def blobs(k: int, columns: int, seed: int, rows: int = 120, apart: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """Round groups of spread 1 whose centres are at least so far apart."""
    rng = np.random.default_rng(seed)
    while True:
        centres = rng.normal(size=(k, columns))
        gaps = np.linalg.norm(centres[:, None] - centres, axis=2)[np.triu_indices(k, 1)]
        if gaps.max() < 4 * gaps.min():
            break
    truth = rng.permutation(np.arange(rows) % k)
    return centres[truth] * apart / gaps.min() + rng.normal(size=(rows, columns)), truth


# ── k-means ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("k", [2, 4, 7])
def test_as_tight_as_sklearn(k: int) -> None:
    x = np.random.default_rng(k).normal(size=(200, 4)) + 1e6
    ours, theirs = kmeans(x, k), KMeans(k, n_init=10, random_state=0).fit(x - 1e6)
    assert ours.spread < 1.02 * theirs.inertia_
    assert ours.spread == pytest.approx(((x - ours.centres[ours.group]) ** 2).sum(), rel=1e-6)
    np.testing.assert_allclose(ours.centres, [x[ours.group == g].mean(0) for g in range(k)])
    sizes = np.bincount(ours.group)
    assert (np.diff(sizes) <= 0).all()  # largest first
    assert (kmeans(x, k).group == ours.group).all()


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_no_group_is_empty(k: int) -> None:
    few = np.array([[0.0], [0.0], [0.0], [0.0], [5.0], [5.0]])  # two different rows, up to six groups
    assert (np.bincount(kmeans(few, k).group, minlength=k) > 0).all()
    assert np.isfinite(kmeans(few, k).centres).all()


def test_the_nearest_centre_is_a_linear_map() -> None:
    x, _ = blobs(4, 3, 0)
    found = kmeans(x + 100, 4)
    weight, bias = as_linear(found.centres)
    assert weight.shape == (4, 3)
    far = ((x[:, None] + 100 - found.centres) ** 2).sum(2)
    np.testing.assert_allclose((x + 100) @ weight.T + bias, ((x + 100) ** 2).sum(1, keepdims=True) - far)
    assert (((x + 100) @ weight.T + bias).argmax(1) == found.group).all()


# ── measures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_adjusted_rand_is_sklearns(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)
    assert adjusted_rand(a, b) == pytest.approx(adjusted_rand(b, a))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_silhouette_is_sklearns(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    x, group = rng.normal(size=(30, 3)), np.append(np.arange(k), rng.integers(0, k, 30 - k))
    assert silhouette(x, group) == pytest.approx(silhouette_score(x, group), abs=1e-9)


def test_silhouette_by_hand_and_of_many_rows() -> None:
    assert silhouette([[0.0], [1.0], [10.0]], [0, 0, 1]) == pytest.approx(((1 - 1 / 10) + (1 - 1 / 9) + 0) / 3)
    assert silhouette([[0.0], [1.0]], [0, 0]) == 0.0
    x, group = blobs(3, 2, 0, rows=5000)
    assert silhouette(x, group) == pytest.approx(silhouette_score(x, group), abs=0.01)
    assert silhouette(x, group) == silhouette(x, group)


def test_stability_tells_what_is_there_from_what_is_not() -> None:
    x, _ = blobs(3, 5, 0)
    assert stability(x, 3).min() > 0.99
    assert stability(x, 5).mean() < 0.9
    assert stability(np.random.default_rng(0).random((100, 10)), 3).mean() < 0.5
    assert (stability(x, 5, seed=1) == stability(x, 5, seed=1)).all()


# ── how many ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("k", "columns"), [(2, 1), (2, 20), (3, 2), (4, 2), (5, 20)])
def test_groups_that_are_there_are_found(k: int, columns: int) -> None:
    x, truth = blobs(k, columns, seed=k)
    found = choose(x, range(2, k + 3))
    assert len(found.groups.centres) == k, found.sentence
    assert adjusted_rand(found.groups.group, truth) > 0.98
    assert found.sentence.startswith(f"{k} groups")


def test_groups_along_one_column_and_at_the_corners_of_a_square() -> None:
    """Permuted columns would still hold these, and so hide them."""
    rng = np.random.default_rng(0)
    line = rng.normal(size=(120, 6))
    line[:, 0] += 8.0 * (np.arange(120) % 2)
    corners = rng.normal(size=(160, 2)) + 8.0 * np.column_stack([np.arange(160) % 2, np.arange(160) // 80])
    assert len(choose(line, range(2, 6)).groups.centres) == 2
    assert len(choose(corners, range(2, 7)).groups.centres) == 4


NOISE = {
    "even": lambda rng: rng.random((100, 2)),
    "even, wide": lambda rng: rng.random((100, 60)),
    "round": lambda rng: rng.normal(size=(100, 5)),
    "long": lambda rng: rng.normal(size=(100, 4)) * [10, 1, 1, 1],
    "correlated": lambda rng: rng.normal(size=(100, 3)) @ rng.normal(size=(3, 12)) + 0.3 * rng.normal(size=(100, 12)),
    "heavy-tailed": lambda rng: rng.lognormal(size=(100, 5)),
}


@pytest.mark.parametrize("name", NOISE)
def test_where_there_are_none_there_is_one(name: str) -> None:
    for seed in range(2):
        found = choose(NOISE[name](np.random.default_rng(seed)), range(2, 6), seed)
        assert len(found.groups.centres) == 1, found.sentence
        assert "do not fall apart" in found.sentence
        assert (found.groups.group == 0).all()


def test_real_groups() -> None:
    wine = load_wine()
    x = (wine.data - wine.data.mean(0)) / wine.data.std(0)
    found = choose(x, range(2, 7))
    assert len(found.groups.centres) == 3
    assert adjusted_rand(found.groups.group, wine.target) > 0.85
    assert len(choose(load_iris().data, range(2, 6)).groups.centres) in (2, 3)  # two of its three kinds overlap


def test_little_to_look_at() -> None:
    for x in (np.zeros((1, 3)), np.ones((50, 3)), np.zeros((20, 0)), np.arange(5.0)[:, None]):
        found = choose(x)
        assert len(found.groups.centres) == 1
        assert "too few, or too much alike" in found.sentence
    again = blobs(3, 4, 1, rows=60)[0]
    assert choose(again, range(2, 5)).sentence == choose(again, range(2, 5)).sentence


def test_refusals() -> None:
    with pytest.raises(DataError, match="3 rows cannot be put into 4 groups"):
        kmeans(np.zeros((3, 2)), 4)
    with pytest.raises(DataError, match="1 of 2 rows"):
        choose([[0.0], [np.nan]])
    with pytest.raises(DataError, match=r"not in \(3,\)"):
        silhouette(np.zeros(3), np.zeros(3))


# ── what groups are about ─────────────────────────────────────────────────────────────────────────────────────────────


def test_terms_by_the_formula() -> None:
    """Monroe, Colaresi & Quinn (2008), written out for every word of a small corpus."""
    documents = [["goal", "the", "goal"]] * 20 + [["court", "the", "law"]] * 20 + [["law", "the", "law"]] * 5
    groups = np.array([0] * 20 + [1] * 25)
    found = terms(documents, groups)
    assert found == [["goal"], ["law", "court"]]
    sure = {}
    for word, here, there in (("goal", 40, 0), ("the", 20, 25), ("court", 0, 20), ("law", 0, 30)):
        prior, all_ = (here + there) * clusters.PRIOR / 45, 135 * clusters.PRIOR / 45
        odds = np.log((here + prior) / (60 + all_ - here - prior)) - np.log(
            (there + prior) / (75 + all_ - there - prior)
        )
        sure[word] = odds / np.sqrt(1 / (here + prior) + 1 / (there + prior))
    assert [word for word in sorted(sure, key=sure.__getitem__) if -sure[word] > clusters.SURE] == found[1]
    assert [word for word in sure if sure[word] > clusters.SURE] == found[0]
    assert terms(documents, groups, count=1) == [["goal"], ["law"]]


def test_terms_of_little() -> None:
    assert terms([], []) == []
    assert terms([["a"], ["a"]], [0, 0]) == [[]]
    assert terms([[], ["a", "b"] * 50], [0, 1]) == [[], []]  # one document says nothing about a group
    assert terms([["x"]] * 30 + [["y"]] * 30, np.repeat([0, 1], 30)) == [["x"], ["y"]]
