"""What tables are learned by: the body of a network, standardised columns, and boosted trees against scikit-learn's."""

import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from torch import nn

from graft.baselines import boosting, columns
from graft.heads import classification, multilabel, regression
from graft.modalities.vector import Values
from graft.model import cuts, tabular


def holes(x: np.ndarray, share: float = 0.1) -> np.ndarray:
    """The same table with some values missing, as descriptions hold them."""
    return np.where(np.random.default_rng(0).random(x.shape) < share, np.nan, x).astype(np.float32)


def wine() -> tuple[np.ndarray, np.ndarray, Any, int]:
    x, y = load_wine(return_X_y=True)
    return x, y, classification, 3


def cancer() -> tuple[np.ndarray, np.ndarray, Any, int]:
    x, y = load_breast_cancer(return_X_y=True)
    return x, y, classification, 2


def gaps() -> tuple[np.ndarray, np.ndarray, Any, int]:
    """Two of five classes, one of four, and three of five are there."""
    x, y = load_wine(return_X_y=True)
    return x, np.array([1, 3, 4])[y], classification, 5


def labels() -> tuple[np.ndarray, np.ndarray, Any, int]:
    x, y = load_wine(return_X_y=True)
    always = np.column_stack([y == 0, y > 0, x[:, 0] > 13, np.ones(len(y)), np.zeros(len(y))])
    return x, always.astype(np.float32), multilabel, 5


def values() -> tuple[np.ndarray, np.ndarray, Any, int]:
    x, y = load_diabetes(return_X_y=True)
    return x, np.column_stack([y, 1e6 - 3 * y]).astype(np.float32), regression, 2


def many() -> tuple[np.ndarray, np.ndarray, Any, int]:
    """Enough rows for some to be spared, and for whole leaves."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 8))
    return x, ((x[:, 0] * x[:, 1] > 0) + 2 * (x[:, 2] > 1)).astype(int), classification, 4


TASKS = {task.__name__: task for task in (wine, cancer, gaps, labels, values, many)}


# ── the body ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("columns", "width"), [(0, 64), (1, 64), (30, 64), (256, 64), (257, 128), (12_000, 512), (10**6, 512)]
)
def test_the_width_follows_the_columns(columns: int, width: int) -> None:
    assert tabular.wide(columns) == width


def test_a_cut_behind_every_block() -> None:
    body = tabular.build(30)
    x = torch.randn(4, 30)
    assert body(x).shape == (4, body.width) == (4, 64)
    found = [cut.name for cut in cuts.find(body, {"x": x})]
    assert found == ["stem", "blocks.0", "blocks.1", "blocks.2", "norm"]
    assert [cut.name for cut in cuts.group(cuts.find(body, {"x": x}))] == ["stem", "blocks.0", "blocks.1", "norm"]


def test_a_row_is_answered_alone() -> None:
    body, x = tabular.build(12, width=32), torch.randn(7, 12)
    torch.testing.assert_close(body(x)[3:4], body(x[3:4]))
    assert not body.training
    one, other = (body.train()(x) for _ in range(2))
    assert not torch.equal(one, other)  # dropout


def test_the_body_learns_an_interaction() -> None:
    torch.manual_seed(0)
    x = torch.randn(600, 6)
    y = (x[:, 0] * x[:, 1] > 0).long()
    net = nn.Sequential(tabular.build(6), nn.Linear(64, 2)).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x[:400]), y[:400]).backward()
        optimiser.step()
    assert (net.eval()(x[400:]).argmax(1) == y[400:]).float().mean() > 0.85  # no linear model beats 0.5


# ── baselines ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=[columns, boosting], ids=["columns", "boosting"])
def baseline(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


def test_a_row_is_described_as_it_is(baseline: ModuleType) -> None:
    example = Values(("a", "b"), np.array([1.5, np.nan, 0, 1]), {"sex": "m"})
    described = baseline.describe(example)
    assert described.dtype == np.float32
    np.testing.assert_array_equal(described, [1.5, np.nan, 0, 1])


@pytest.mark.parametrize("task", TASKS)
def test_the_state_travels_without_pickle(baseline: ModuleType, task: str) -> None:
    x, y, head, outputs = TASKS[task]()
    x = holes(x)
    state = baseline.fit(x, y, head, outputs, 0)
    said = baseline.predict(state, x)
    assert (said.shape, said.dtype) == ((len(x), outputs), np.float64)
    assert np.isfinite(said).all()
    np.testing.assert_array_equal(baseline.predict(load(save(state)), x), said)
    np.testing.assert_array_equal(baseline.predict(baseline.fit(x, y, head, outputs, 0), x), said)
    assert baseline.predict(state, x[:0]).shape == (0, outputs)
    if head is classification:
        assert np.isin(said.argmax(1), y).all()  # a class without examples is not the answer
    anywhere = np.full((3, x.shape[1]), np.nan, np.float32)
    anywhere[1:] = [[3e38], [-3e38]]
    assert np.isfinite(baseline.predict(state, anywhere)).all()


@pytest.mark.parametrize(("task", "least"), [("wine", 0.9), ("cancer", 0.92), ("values", 0.3), ("labels", 0.9)])
def test_they_learn(baseline: ModuleType, task: str, least: float) -> None:
    x, y, head, outputs = TASKS[task]()
    x = holes(x, 0.0 if task == "values" else 0.1)
    order = np.random.default_rng(1).permutation(len(x))
    learn, test = np.array_split(order, 2)
    said = baseline.predict(baseline.fit(x[learn], y[learn], head, outputs, 0), x[test])
    if head is regression:
        score = 1 - ((said - y[test]) ** 2).mean(0) / y[test].var(0)
    elif head is multilabel:
        score = ((said > 0) == (y[test] > 0)).mean(0)
    else:
        score = (said.argmax(1) == y[test]).mean()
    assert np.min(score) > least


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_trees_are_walked_as_sklearn_walks_them(task: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, head, outputs = TASKS[task]()
    x, made, model = holes(x, share), [], boosting._model
    monkeypatch.setattr(boosting, "_model", lambda *given: made.append(model(*given)) or made[-1])
    state = boosting.fit(x, y, head, outputs, 0)
    rows = np.concatenate([x, holes(x[::-1] * 1.3, 0.5)])  # values and gaps that were not learned from
    raw = boosting.walk(state, rows.astype(np.float64))
    if head is classification:
        theirs = made[0].decision_function(rows)
        present = np.unique(y)
        ours = raw[:, present[1]] - raw[:, present[0]] if len(present) == 2 else raw[:, present]
        log = np.log(made[0].predict_proba(rows))
        np.testing.assert_allclose(boosting.predict(state, rows)[:, present], log, atol=1e-9)
    else:
        learned = np.flatnonzero(np.ptp(y, axis=0))
        assert len(learned) == len(made)
        ours = raw[:, learned]
        theirs = np.column_stack([m.decision_function(rows) if head is multilabel else m.predict(rows) for m in made])
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_where_gaps_tell_something() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    x = rng.normal(size=(300, 3)).astype(np.float32)
    x[(y == 1) & (rng.random(300) < 0.9), 1] = np.nan  # measured of the well alone
    for baseline in (columns, boosting):
        state = baseline.fit(x[:200], y[:200], classification, 2, 0)
        assert (baseline.predict(state, x[200:]).argmax(1) == y[200:]).mean() > 0.85


def test_outputs_that_do_not_vary() -> None:
    x, y, head, outputs = labels()
    said = boosting.predict(boosting.fit(x.astype(np.float32), y, head, outputs, 0), x.astype(np.float32))
    assert (said[:, 3] > 3).all()
    assert (said[:, 4] < -3).all()
    flat = np.column_stack([x[:, 0], np.full(len(x), 7)]).astype(np.float32)
    said = boosting.predict(boosting.fit(x.astype(np.float32), flat, regression, 2, 0), x.astype(np.float32))
    assert (said[:, 1] == 7).all()


@pytest.mark.parametrize("rows", [2, 3, 5, 12])
@pytest.mark.parametrize("wide", [0, 1, 40])
def test_scarce_rows(baseline: ModuleType, rows: int, wide: int) -> None:
    x = np.random.default_rng(0).normal(size=(rows, wide)).astype(np.float32)
    x[:, wide // 2 :][::2] = np.nan
    for y, head, outputs in (
        (np.arange(rows) % 2, classification, 3),
        (np.zeros(rows, np.int64), classification, 2),
        (np.arange(rows), classification, rows),
        ((np.arange(rows)[:, None] % [2, 3] == 0).astype(np.float32), multilabel, 2),
        (np.arange(rows, dtype=np.float32)[:, None], regression, 1),
    ):
        said = baseline.predict(baseline.fit(x, y, head, outputs, 0), x)
        assert said.shape == (rows, outputs)
        assert np.isfinite(said).all()


def test_constant_and_empty_columns(baseline: ModuleType) -> None:
    x, y, head, outputs = wine()
    odd = np.full((len(x), 4), 7.0)
    odd[:, 1] = np.nan
    odd[0, 2] = np.nan
    plain, wider = holes(x), np.hstack([holes(x), odd]).astype(np.float32)
    for given in (plain, wider):
        state = baseline.fit(given[::2], y[::2], head, outputs, 0)
        assert (baseline.predict(state, given[1::2]).argmax(1) == y[1::2]).mean() > 0.85
    assert np.isfinite(baseline.predict(state, np.hstack([plain, -odd * 1e20]).astype(np.float32))).all()


def test_twelve_thousand_columns_are_quick(baseline: ModuleType) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    x = rng.lognormal(size=(100, 12_000)).astype(np.float32)
    x[:, 7_000:7_030] *= np.exp(1.6 * y[:, None])
    x = holes(x, 0.02)
    start = time.process_time()
    state = baseline.fit(x[:60], y[:60], classification, 2, 0)
    right = (baseline.predict(state, x[60:]).argmax(1) == y[60:]).mean()
    assert time.process_time() - start < 15  # about 1 where nothing else runs
    assert right > (0.5 if baseline is columns else 0.6)


def test_rows_are_spared_only_where_there_are_enough() -> None:
    assert not boosting._model(True, 499, 200, 2, 0).early_stopping
    assert boosting._model(True, 500, 200, 2, 0).early_stopping
    assert not boosting._model(True, 5000, 9, 2, 0).early_stopping  # a class of nine could not be on both sides
    assert boosting._model(True, 90, 30, 100, 0).max_iter == 40  # 4,000 trees in all
    assert boosting._model(False, 90, 90, 1, 0).min_samples_leaf == 9
