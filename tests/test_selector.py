"""A prior and a screen are weighed by precision; on matrices of others that is never worse than a static list."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm, weightedtau, zscore

import graft
from command import here
from graft.core.errors import BackboneError, PlanError
from graft.core.nouns import Backbone, Budget, Evidence, StageProbe
from graft.selector import SLOPE, SPREAD, beyond, log_odds, posterior, standing, within
from photos import photos

spec = importlib.util.spec_from_file_location("selector", Path(__file__).parent.parent / "benchmarks" / "selector.py")
assert spec is not None
assert spec.loader is not None
bench = importlib.util.module_from_spec(spec)
sys.modules["selector"] = bench  # dataclasses ask for it
spec.loader.exec_module(bench)


# ── the rule ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_posterior_is_the_product_of_both_densities() -> None:
    at = np.linspace(-10, 10, 20_001)
    density = norm.pdf(at, 0.4, 0.7) * norm.pdf(1.5, at, 0.3)
    density /= density.sum()
    mean, deviation = posterior(0.4, 0.7, 1.5, 0.3)
    assert mean == pytest.approx((at * density).sum(), abs=1e-6)
    assert deviation == pytest.approx(np.sqrt(((at - mean) ** 2 * density).sum()), abs=1e-6)


def test_what_has_no_prior_stands_as_it_was_measured_and_what_has_no_error_too() -> None:
    mean, deviation = posterior([np.nan, 0.2], 0.5, [0.9, 0.7], [0.1, 0.0])
    assert mean.tolist() == [0.9, 0.7]
    assert deviation.tolist() == [0.1, 0.0]


def test_without_two_published_accuracies_or_a_share_the_probe_decides_alone() -> None:
    for accuracies, metric in (([70.0, None, None], "accuracy"), ([70.0, 75.0, 80.0], "rmse")):
        found = standing(accuracies, [0.5, 0.9, 0.7], [0.1, 0.1, 0.1], metric)
        assert found.value.tolist() == [0.5, 0.9, 0.7]
        assert found.deviation.tolist() == [0.1, 0.1, 0.1]


def test_the_prior_counts_where_the_probe_is_blurred() -> None:
    """At 80 %: an error of a point is 0.0625 in log-odds, of five points 0.3125, beside a SPREAD of 0.26."""
    sharp, blurred = (standing([70.0, 78.0], [0.82, 0.80], [e, e]) for e in (0.01, 0.05))
    assert sharp.value[0] > sharp.value[1]
    assert blurred.value[0] < blurred.value[1]
    assert standing([70.0, 70.0], [0.8, 0.8], [0.01, 0.05]).gain == pytest.approx([0.945, 0.409], abs=1e-3)
    assert np.diff(sharp.prior) == pytest.approx(SLOPE * np.diff(log_odds([0.70, 0.78])))


def test_probes_that_cannot_rise_leave_it_to_the_prior() -> None:
    full = standing([70.0, 78.0], [1.0, 1.0], [0.016, 0.016])
    assert np.isfinite(full.value).all()
    assert full.value[1] > full.value[0]
    better = standing([70.0, 70.0, 70.0], [1.0, 0.97, 0.0], [0.01, 0.01, 0.0]).value
    assert better[0] > better[1] > better[2]


def test_a_hopeless_candidate_drags_nobody_down() -> None:
    """Probes that lie further apart than the prior foretells say how wide it is: then they decide."""
    errors = [0.04, 0.02, 0.01]
    found = standing([70.0, 70.0, 70.0], [0.90, 0.85, 0.10], errors)
    assert found.value[0] > found.value[1] > found.value[2]
    assert found.gain[:2].min() > 0.9


def test_the_spread_is_what_the_probes_show_and_never_narrower_than_published() -> None:
    """By moments: the variance about the prior less the errors' own, in log-odds."""
    probes, errors = [0.9, 0.6, 0.75, 0.5], [0.02, 0.03, 0.01, 0.02]
    p, e = np.array(probes), np.array(errors)
    left = np.log(p / (1 - p)) - SLOPE * log_odds([0.7, 0.72, 0.74, 0.76])
    error = e / (p * (1 - p))
    spread = left.var(ddof=1) - (error**2).mean()
    assert spread > SPREAD**2
    accuracies = [70.0, 72.0, 74.0, 76.0]
    assert standing(accuracies, probes, errors).gain == pytest.approx(spread / (spread + error**2))
    alike = standing(accuracies, [0.7] * 4, [0.02] * 4)
    assert alike.gain == pytest.approx(SPREAD**2 / (SPREAD**2 + (0.02 / 0.21) ** 2))


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_limits_are_kept_or_named() -> None:
    one = Backbone("package/x", params=11_000_000, license="MIT, Apache-2.0")
    assert beyond(one, Budget()) == ""
    assert beyond(one, Budget(params=12_000_000, latency=0.01, licenses=("apache-2.0", "mit")), 0.005) == ""
    assert "MIT, Apache-2.0; allowed is MIT" in beyond(one, Budget(licenses=("MIT",)))
    assert "unknown" in beyond(Backbone("hub/y"), Budget(licenses=("MIT",)))
    assert "11,000,000 parameters; 10,000,000" in beyond(one, Budget(params=10_000_000))
    assert "20 ms for an example; 10 ms" in beyond(one, Budget(latency=0.01), 0.02)
    assert beyond(Backbone("hub/y"), Budget(params=1)) == ""  # not known before it is opened


def test_of_a_ranking_the_first_within_the_limits_is_taken_and_who_is_not_is_told(
    tmp_path: Path, photos: Path, tiny_home: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    curve = (StageProbe("layer", 0.9, 0.01, 0.01, 4), StageProbe("last", 0.9, 0.01, 0.02, 4))
    slow = Evidence(Backbone("a/slow", params=1000, license="MIT"), {}, curve, prepare_seconds=0.005)
    free = Evidence(Backbone("a/free", params=10, license="MIT"), {}, curve[:1], prepare_seconds=0.005)
    blank = Evidence(Backbone("a/blank", license="Apache-2.0"), {}, curve[:1])
    assert within([slow, free, blank], Budget()) is slow
    assert within([slow, free, blank], Budget(params=100)) is free
    assert within([slow, free, blank], Budget(latency=0.016)) is free  # 5 ms to read, 10 to run; not 35
    assert within([slow, free, blank], Budget(licenses=("apache-2.0",))) is blank
    assert "a/slow is left out: its licence is MIT; allowed is apache-2.0" in caplog.text
    with pytest.raises(BackboneError, match=r"within the limits.*a/blank: how many parameters it has is not known"):
        within([blank], Budget(params=100))
    terms = (str(photos), "--budget", "20s", "--quiet")
    assert here("rank", *terms, "--backbone", "tiny/shapes") == 0
    (tmp_path / "r.json").write_text(capsys.readouterr().out)
    for limit in (("--license", "GPL-9"), ("--max-latency", "0.0000001s")):
        assert here("plan", *terms, "--ranking", str(tmp_path / "r.json"), *limit) == 2
        assert "No backbone of the ranking is within the limits. tiny/shapes: " in capsys.readouterr().err


@pytest.mark.parametrize("limits", [{"params": 0}, {"latency": 0.0}, {"latency": float("nan")}])
def test_a_limit_that_nothing_keeps_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(PlanError, match="give more of both"):
        Budget(**limits)  # type: ignore[arg-type]


def test_what_a_limit_rules_out_is_named_and_never_fetched(
    tmp_path: Path, tiny_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without pip nothing can be fetched
    task = graft.load(photos(tmp_path / "photos"), seed=0)
    ids = ["package/resnet18", "tiny/shapes"]
    ranking = graft.rank(task, ids, Budget(60, params=1_000_000))
    assert [one.backbone.id for one in ranking.evidence] == ["tiny/shapes"]
    assert ranking.refused == (("package/resnet18", "it has 11,176,512 parameters; 1,000,000 are allowed"),)
    assert ranking.regret["chosen"] == 0.0
    with pytest.raises(BackboneError, match=r"within the limits.*licence is MIT"):
        graft.rank(task, ids, Budget(60, licenses=("BSD-3-Clause",)))
    with pytest.raises(BackboneError, match=r"tiny/shapes: it takes .* ms for an example"):
        graft.rank(task, ids[1:], Budget(60, latency=1e-9))


# ── the published matrices ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "shape", "known"),
    [("sfda1", (11, 11), 121), ("sfda2", (11, 12), 132), ("tllib", (5, 10), 50), ("parc", (7, 32), 196)],
)
def test_the_matrices_are_whole(name: str, shape: tuple[int, int], known: int) -> None:
    matrix = bench.load(name)
    assert matrix.accuracy.shape == shape
    assert np.isfinite(matrix.accuracy).sum() == known
    for column in matrix.columns.values():
        assert (np.isfinite(column) == np.isfinite(matrix.accuracy)).all()


def test_static_on_the_first_group_is_as_was_computed_elsewhere() -> None:
    """A mean of standardised accuracies gives a weighted tau of 0.826, one of ranks 0.837; both a regret of 0.08."""
    accuracy = bench.load("sfda1").accuracy
    standard, taus, lost = zscore(accuracy, axis=1), [], []
    for row, one in enumerate(accuracy):
        others = np.delete(standard, row, axis=0).mean(0)
        taus.append(weightedtau(others, one)[0])
        lost.append(one.max() - one[others.argmax()])
    assert np.mean(taus) == pytest.approx(0.826, abs=5e-4)
    found = bench.judged(bench.load("sfda1"))
    assert found["static"][0].mean() == pytest.approx(0.837, abs=5e-4)
    assert found["static"][1].mean() == pytest.approx(np.mean(lost)) == pytest.approx(0.0845, abs=1e-4)


def test_published_taus_are_those_of_their_papers() -> None:
    """SFDA's table, and tllib's, which follow from its own columns."""
    means = {name: taus.mean() for name, taus in bench.reported("sfda1").items()}
    assert means == pytest.approx(
        {"leep": 0.410, "logme": 0.509, "nleep": 0.611, "parc": 0.467, "sfda": 0.710}, abs=6e-4
    )
    found = bench.judged(bench.load("tllib"))
    for name, taus in {
        "hscore": (0.721, 0.800, 0.775, 0.638, 0.918), "leep": (0.127, 0.638, 0.659, 0.703, 0.581),
        "nce": (0.810, 0.714, 0.654, 0.750, 0.873), "logme": (0.721, 0.785, 0.783, 0.654, 0.748),
    }.items():  # fmt: skip
        assert found[name][0] == pytest.approx(taus, abs=6e-4)


@pytest.mark.parametrize("group", ["sfda1", "sfda2", "tllib", "parc"])
def test_the_rule_is_never_worse_than_static_in_mean_regret(group: str) -> None:
    found = bench.judged(bench.load(group))
    assert found["ours"][1].mean() <= found["static"][1].mean() + 1e-9
    assert found["static"][1].mean() < found["random"][1].mean()


@pytest.mark.parametrize("group", ["sfda1", "sfda2"])
def test_the_rule_is_least_squares_on_the_other_datasets(group: str) -> None:
    """Updating a prior is regressing on both at once (Frisch and Waugh 1933)."""
    matrix = bench.load(group)
    others = range(1, len(matrix.datasets))
    x = np.concatenate([bench.centred(bench.static(matrix, 0, at)) for at in others])
    y = np.concatenate([bench.screened(matrix, at) for at in others])
    t = np.concatenate([bench.centred(log_odds(matrix.accuracy[at] / 100)) for at in others])
    (b, g), *_ = np.linalg.lstsq(np.column_stack([x, y]), t, rcond=None)
    expected = b * bench.centred(bench.static(matrix, 0)) + g * bench.screened(matrix, 0)
    assert bench.ours(matrix, 0) == pytest.approx(expected)


def test_the_dataset_that_is_judged_on_is_not_fitted_on() -> None:
    matrix = bench.load("sfda1")
    before = bench.ours(matrix, 3)
    matrix.accuracy[3] = matrix.accuracy[3][::-1].copy()
    assert (bench.ours(matrix, 3) == before).all()


def test_the_stated_prior_is_what_the_matrix_says() -> None:
    first = bench.load("sfda1")
    rows = range(len(first.datasets))
    imagenet = np.stack([bench.centred(log_odds(first.columns["imagenet"][row] / 100)) for row in rows])
    assert bench.line(imagenet, np.stack([bench.screened(first, row) for row in rows])) == pytest.approx(
        (SLOPE, SPREAD), abs=5e-3
    )
