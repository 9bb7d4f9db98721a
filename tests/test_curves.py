"""Learning curves: planted power laws, crossings by hand, nested samples."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import graft
from graft import captions
from graft.adapt import logits
from graft.charts import labels
from graft.clock import Clock
from graft.core.codec import from_json, to_json
from graft.core.exhibits import Exhibits
from graft.core.nouns import Budget, Curve, Phase, Point, Report, Row
from graft.curve import _sentences as sentences
from graft.curve import charted
from graft.features import Count
from graft.model import curves

SIZES = [25, 50, 100, 200, 400, 800]


def test_sizes_are_halves_and_samples_are_nested_and_stratified() -> None:
    assert curves.sizes(400, 10) == [12, 25, 50, 100, 200, 400]
    assert curves.sizes(30, 10) == [15, 30]
    strata = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    rows = curves.order(strata, (), seed=1)
    assert sorted(rows) == list(range(100))
    for n in (20, 50):
        assert [[strata[row] for row in rows[:n]].count(s) for s in "abc"] == pytest.approx(
            [0.6 * n, 0.3 * n, 0.1 * n], abs=1
        )
    assert list(rows) != list(curves.order(strata, (), seed=2))


def test_of_groups_one_comes_after_the_other() -> None:
    groups = [f"person {k % 7}" for k in range(70)]
    rows = curves.order(["a"] * 70, groups, seed=0)
    whose = [groups[row] for row in rows]
    assert sum(a != b for a, b in pairwise(whose)) == 6
    assert list(rows[:10]) != sorted(rows[:10])


def test_crossings_by_hand() -> None:
    scores = np.array([[0.5, 0.6, 0.7, 0.8], [0.5, 0.7, 0.6, 0.65], [0.9, 0.9, 0.9, 0.9], [0.1, 0.2, 0.3, 0.4]])
    found = curves.reached([10, 20, 40, 80], scores, np.full(4, 0.65))
    assert found == pytest.approx([20 * 2**0.5, 10 * 2**0.75, 10, np.inf])
    assert curves.reached([10, 20], np.array([[0.5, 0.5]]), np.array([0.5])) == pytest.approx([10])


@pytest.mark.parametrize(("a", "b", "c"), [(0.1, 2.0, 0.5), (0.0, 3.0, 0.8), (0.2, 1.0, 0.25)])
def test_a_planted_law_is_found(a: float, b: float, c: float) -> None:
    errors = a + b * np.array(SIZES, float) ** -c
    found = [float(one[0]) for one in curves.power_law(SIZES, errors, np.full(6, 0.01))]
    assert found == pytest.approx([a, b, c], abs=0.02, rel=0.05)
    told = curves.doubled(SIZES, errors, errors + 1e-4 * np.random.default_rng(0).normal(size=(9, 6)))
    assert told is not None
    (gain, low, high), rate = told
    assert gain == pytest.approx(b * 800**-c - b * 1600**-c, rel=0.02)
    assert low <= gain <= high
    assert rate == pytest.approx(c, abs=0.02)


def test_laws_are_never_below_zero() -> None:
    for errors in ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.8, 0.5, 0.3, 0.15, 0.05, 0.0]):
        a, b, _ = curves.power_law(SIZES, np.array(errors), np.full(6, 0.01))
        assert a[0] >= 0
        assert b[0] >= 0
    assert b[0] > 0


def test_where_no_law_fits_none_is_told() -> None:
    step = np.array([0.5, 0.5, 0.5, 0.1, 0.1, 0.05])
    drawn = step + 0.005 * np.random.default_rng(0).normal(size=(500, 6))
    assert curves.doubled(SIZES, step, drawn) is None
    assert curves.doubled(SIZES[:2], step[-2:], drawn[:, -2:]) is None


def test_what_doubling_adds_is_covered_by_its_interval() -> None:
    """Outcomes drawn from a planted law, 300 examples and 6 draws: the truth is in the interval 9 times in 10."""
    truth, hits = 0.1 + 2 * np.array(SIZES, float) ** -0.5, 0
    gain, share = 2 * (800**-0.5 - 1600**-0.5), np.full(300, 1 / 300)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        hard = rng.random(300)  # of an example, at every size and draw
        outcomes = (hard > truth[:, None, None] + 0.02 * rng.normal(size=(6, 6, 1))).astype(float)
        drawn = 1 - curves.resampled(outcomes, share)
        told = curves.doubled(SIZES, 1 - outcomes.mean((1, 2)), drawn)
        last = 1 - drawn[:, -2:]
        low, high = told[0][1:] if told else np.quantile(last[:, 1] - last[:, 0], [0.025, 0.975])
        hits += low <= gain <= high
    assert hits >= 24


def test_resampling_pairs_what_is_compared() -> None:
    rng = np.random.default_rng(0)
    outcomes = (rng.random((1, 4, 200)) < 0.7).astype(float)
    share = np.full(200, 1 / 200)
    drawn = curves.resampled(np.concatenate([outcomes, outcomes]), share)
    assert drawn.shape == (curves.RESAMPLED, 2)
    assert np.array_equal(drawn[:, 0], drawn[:, 1])
    assert drawn[:, 0].mean() == pytest.approx(outcomes.mean(), abs=0.005)
    one = curves.resampled(outcomes[:, :1], share)
    assert one.std() == pytest.approx(np.sqrt(0.3 * 0.7 / 200), rel=0.15)


@pytest.mark.parametrize(
    ("saved", "doubling", "says"),
    [
        ((45.0, 0.2, 45.0), (0.021, -0.261, 0.292), ("is not shown: of 60 it may save none, or up to 45",
            "2.1 points ahead of itself with 30 (95 % interval 26.1 behind to 29.2 ahead): what further labels would")),
        ((0.0, 0.0, 0.0), (-0.02, -0.1, 0.06), ("none was saved", "2.0 points behind itself with 30")),
        ((45.0, 12.0, 45.0), (0.04, 0.01, 0.07), ("saved more than 45 labels (at least 12", "likely to add no more")),
        ((20.0, 3.0, 40.0), (0.04, 0.01, 0.07), ("saved about 20 labels (95 % interval 3 to 40)", "gained 4.0 points")),
    ],
)  # fmt: skip
def test_what_is_not_shown_is_not_told_as_a_number(saved, doubling, says) -> None:
    points = tuple(Point(n, 0.5, 0.4, 0.6) for n in (15, 30, 60))
    curve = Curve(points, "pixels", points, 2, {"pixels": saved}, doubling)
    run = SimpleNamespace(plan=SimpleNamespace(backbone=SimpleNamespace(id="tiny/shapes")))
    told = sentences(SimpleNamespace(metric="accuracy"), run, curve)
    assert all(said in one for said, one in zip(says, told, strict=True))
    report = Report(
        "", "", "accuracy", "positive", "", "pixels", (0, 0, 0), (), "adapted", (0,), 1, (), 12, curve=curve
    )
    number = f"about {saved[0]:.0f} fewer ({saved[1]:.0f} to {saved[2]:.0f})"
    assert captions.labels(report).count(number) == (saved[1] >= 1)
    (law, *_) = sentences(SimpleNamespace(metric="accuracy"), run, replace(curve, saved={}, exponent=0.5))
    assert law.endswith("cannot be told.") == (doubling[1] <= 0)


# ── on the path ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_has_a_curve_beside_a_baseline_and_nothing_is_computed_twice(
    tiny_home: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = graft.load(photos)
    ranking = graft.rank(task, ["tiny/shapes"], Budget(seconds=20))
    chosen = graft.plan(task, ranking[0], "linear_probe", Budget(seconds=20))
    run, part = graft.adapt(task, chosen), task.test.open("a test of curves")
    right = logits(task, run, part)[0].argmax(1) == np.array(part.targets)  # the same head on the same features
    share = np.full(len(part), 1 / len(part))
    rows = [(Row("pixels", 0, 0, 0, 0.5), np.zeros((1, len(part)))), (Row("scratch", 0, 0, 0, 0.9), right[None] + 0.0)]
    report = Report(task.key, run.key, task.metric, "positive", "", "pixels", (0, 0, 0), (), "adapted", (0,), 1, (), 12)
    passes, free = Count.passes, Clock(Budget(firm=False))
    found = charted(task, run, report, part, share, rows, 0.0, free)
    assert Count.passes == passes
    curve = found.curve
    assert from_json(Report, to_json(found)) == found
    assert [point.labels for point in curve.transfer] == curves.sizes(len(task.train), 10)
    assert (curve.rival, curve.draws) == ("pixels", 2)
    assert curve.transfer[-1].score == pytest.approx(right.mean())
    assert curve.without[-1].score == 0
    least = curve.transfer[0].labels
    assert curve.saved["pixels"] == (len(task.train) - least,) * 3  # no label at all would do
    assert "or fewer" in found.notes[0]
    assert curve.exponent == 0  # two sizes make no law
    assert curve.doubling[2] - curve.doubling[1] > 2 / len(part)  # agreement is not certainty
    assert curve.saved["scratch"][0] >= 0
    undone = [rows[0], (replace(rows[1][0], state="unfinished"), rows[1][1])]
    assert set(charted(task, run, report, part, share, undone, 0.0, free).curve.saved) == {"pixels"}
    adapted = Row("adapted", 0.75, 0.6, 0.9, 0.8, transfers=True)
    shown = charted(task, run, report, part, share, [(adapted, right[None] + 0.0), *rows], 0.0, free)
    over_folds = tuple(replace(row, score=0.123) for row in (adapted, *(row for row, _ in rows)))
    beside = Exhibits(task.name, "image", task.head, ("photo", "photos"), task.outputs, {}, "tiny/shapes", True, "auto")
    drawn = labels(replace(shown, rows=over_folds, folds=5), beside).axes[0]
    heights = {line.get_label(): line.get_ydata()[-1] for line in drawn.lines if line.get_marker() == "D"}
    assert heights == {"adapted (transfer)": 75.0}  # on the test part, as the curve is
    assert drawn.get_ylabel() == "% accuracy, 12 photos"
    phase = Phase(train=("head", "stages[0:]"), steps=3, backbone_lr=1.0, stored=False, batch_stats=True)
    grown = graft.adapt(task, replace(chosen, phases=(phase,), pretrained=False))
    rows[1] = (replace(rows[1][0], run=grown.key), rows[1][1])
    again = charted(task, run, report, part, share, rows, 1.5 * grown.cost.seconds, free).curve
    assert [point.labels for point in again.scratch] == [curve.transfer[0].labels, len(task.train)]
    blank = replace(run, plan=replace(run.plan, backbone=replace(run.plan.backbone, id="blank/resnet1d")))
    assert charted(task, blank, report, part, share, rows, 0.0, free) == report
