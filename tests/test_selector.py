"""A prior and a screen are weighed by precision; on matrices of others that is never worse than a static list."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm, weightedtau, zscore

import graft
from command import here
from graft import prior
from graft.core.errors import BackboneError, PlanError
from graft.core.nouns import Backbone, Budget, Evidence, StageProbe
from graft.prior import known, log_odds
from graft.selector import beyond, standing, within
from photos import photos

spec = importlib.util.spec_from_file_location("selector", Path(__file__).parent.parent / "benchmarks" / "selector.py")
assert spec is not None
assert spec.loader is not None
bench = importlib.util.module_from_spec(spec)
sys.modules["selector"] = bench  # dataclasses ask for it
spec.loader.exec_module(bench)


# ── the rule ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def nets(*accuracies: float | None) -> list[Backbone]:
    return [Backbone(f"a/{at}", accuracy=one) for at, one in enumerate(accuracies)]


def test_the_value_is_where_the_product_of_both_densities_lies() -> None:
    probes, errors = np.array([0.8, 0.75]), np.array([0.02, 0.05])
    found = standing(nets(70.0, 72.0), probes.tolist(), errors.tolist())
    at, shown = np.linspace(-10, 10, 20_001), log_odds(probes)
    for row in range(2):
        blur = np.hypot(known().gap, errors[row] / probes[row] / (1 - probes[row]))
        density = norm.pdf(at, found.prior[row], known().far) * norm.pdf(shown[row], at, blur)
        assert found.value[row] == pytest.approx((at * density).sum() / density.sum(), abs=1e-6)
    assert found.prior.mean() == pytest.approx(shown.mean())  # the probes tell how hard the task is


def test_where_only_a_head_is_fitted_the_gap_is_the_prior_s() -> None:
    backbones, probes, errors = nets(70.0, 78.0), np.array([0.84, 0.80]), np.array([0.02, 0.03])
    found = standing(backbones, probes.tolist(), errors.tolist(), tuned=[False, True])
    at, shown = np.linspace(-10, 10, 20_001), log_odds(probes)
    astray, blur = np.hypot(known().far, known().gap), errors[0] / probes[0] / (1 - probes[0])
    density = norm.pdf(at, found.prior[0], astray) * norm.pdf(shown[0], at, blur)
    assert found.value[0] == pytest.approx((at * density).sum() / density.sum(), abs=1e-6)
    both = standing(backbones, probes.tolist(), errors.tolist())
    assert found.value[1] == both.value[1]  # which is tuned
    only = standing(backbones, probes.tolist(), errors.tolist(), tuned=False)
    assert both.value[0] < both.value[1]  # eight points of ImageNet top-1 stand against four of the probe
    assert only.value[0] > only.value[1]
    likely = standing(backbones, probes.tolist(), errors.tolist(), tuned=0.5)  # where that hangs on the clock
    assert ((both.gain < likely.gain) & (likely.gain < only.gain)).all()


def test_without_two_published_accuracies_or_a_share_the_probe_decides_alone() -> None:
    for backbones, metric in ((nets(70.0, None, None), "accuracy"), (nets(70.0, 75.0, 80.0), "rmse")):
        found = standing(backbones, [0.5, 0.9, 0.7], [0.1, 0.1, 0.1], metric)
        assert found.value.tolist() == [0.5, 0.9, 0.7]
        assert found.deviation.tolist() == [0.1, 0.1, 0.1]
        assert found.gain.tolist() == [1.0, 1.0, 1.0]


def test_two_points_of_a_sharp_probe_do_not_overrule_the_prior_and_a_clear_lead_does() -> None:
    for error in (0.002, 0.01, 0.05):
        near = standing(nets(70.0, 78.0), [0.82, 0.80], [error, error])
        assert near.value[0] < near.value[1]
        alike = standing(nets(76.0, 76.0), [0.82, 0.80], [error, error]).value
        assert alike[0] > alike[1]
    for accuracies, ahead in (((70.0, 78.0), 0.12), ((76.0, 78.0), 0.10), ((76.0, 76.1), 0.10)):
        for base in (0.8, 0.85):
            clear = standing(nets(*accuracies), [base + ahead, base], [0.01, 0.01])
            assert clear.value[0] > clear.value[1]


def test_however_sharp_a_probe_is_the_gap_to_fine_tuning_stays() -> None:
    sharp, blurred = (standing(nets(70.0, 70.0), [0.8, 0.8], [e, e]) for e in (1e-6, 0.05))
    far, gap = known().far, known().gap
    assert sharp.gain == pytest.approx(far**2 / (far**2 + gap**2))
    assert blurred.gain == pytest.approx(far**2 / (far**2 + gap**2 + (0.05 / 0.16) ** 2))
    assert blurred.deviation == pytest.approx(blurred.gain * 0.05 / 0.16)
    assert np.diff(sharp.prior) == pytest.approx(0.0)


def test_probes_that_cannot_rise_leave_it_to_the_prior() -> None:
    full = standing(nets(70.0, 78.0), [1.0, 1.0], [0.016, 0.016])
    assert np.isfinite(full.value).all()
    assert full.value[1] > full.value[0]
    better = standing(nets(70.0, 70.0, 70.0), [1.0, 0.97, 0.0], [0.01, 0.01, 0.0]).value
    assert better[0] > better[1] > better[2]


def test_a_hopeless_candidate_drags_nobody_down() -> None:
    found = standing(nets(70.0, 70.0, 70.0), [0.90, 0.85, 0.10], [0.04, 0.02, 0.01])
    assert found.value[0] > found.value[1] > found.value[2]


def test_what_the_probes_show_beyond_all_that_is_foretold_is_shared_by_prior_and_probe() -> None:
    """By moments: the variance about the prior less that of the prior, the gap and the errors, in log-odds."""
    probes, errors = [0.95, 0.6, 0.75, 0.3], [0.02, 0.03, 0.01, 0.02]
    p, e = np.array(probes), np.array(errors)
    left = np.log(p / (1 - p)) - known().slope * log_odds([0.7, 0.72, 0.74, 0.76])
    error = e / (p * (1 - p))
    excess = left.var(ddof=1) - (error**2).mean() - known().far ** 2 - known().gap ** 2
    assert excess > 0
    prior, screen = known().far ** 2 + excess / 2, known().gap ** 2 + excess / 2 + error**2
    assert standing(nets(70.0, 72.0, 74.0, 76.0), probes, errors).gain == pytest.approx(prior / (prior + screen))


def test_a_network_of_which_nothing_is_published_counts_as_an_average_one() -> None:
    found = standing(nets(70.0, 78.0, None), [0.8, 0.8, 0.8], [0.01] * 3)
    assert found.value[0] < found.value[2] < found.value[1]
    assert found.prior[2] == pytest.approx(found.prior[:2].mean())
    assert found.gain[2] > found.gain[0]


def test_a_listed_network_goes_by_its_own_results_and_other_weights_of_it_do_not() -> None:
    def foretold(accuracy: float | None = None, pretrained: str = "ImageNet-1k", name: str = "torchvision/mnasnet1_0"):  # type: ignore[no-untyped-def]
        return known().foretold(Backbone("a/b", architecture=name, accuracy=accuracy, pretrained_on=pretrained))

    rows = bench.load("sfda1")
    column = rows.accuracy[:, rows.networks.index("mnasnet1_0")]
    assert foretold(73.456) == foretold() == pytest.approx((log_odds(column / 100).mean(), known().near))
    assert foretold(78.0) == pytest.approx((known().level + known().slope * log_odds(0.78), known().far))
    assert foretold(73.456, "LAION-2B")[1] == known().far
    assert foretold(None, "LAION-2B") is None
    assert foretold(None, name="timm/vit") is None


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


@pytest.mark.parametrize("group", ["sfda1", "sfda2"])
def test_the_rule_that_rank_calls_is_never_worse_than_static_in_mean_regret(group: str) -> None:
    found = bench.judged(bench.load(group))
    chosen = {name: figures for name, figures in found.items() if name.startswith(("graft", "unlisted"))}
    assert len(chosen) == (6 if group == "sfda1" else 3)
    for _, regrets in chosen.values():
        assert regrets.mean() <= found["static"][1].mean() + 1e-9
        assert regrets.mean() < found["probe"][1].mean()
    assert chosen[bench.OURS][0].mean() > found["probe"][0].mean()
    assert found["static"][1].mean() < found["random"][1].mean()


@pytest.mark.parametrize("group", ["sfda1", "sfda2"])
def test_nothing_that_is_fitted_has_seen_the_dataset_that_is_judged(
    group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its rows in either group, what is known is the same."""
    matrix = bench.load(group)
    before, whole = known(matrix.datasets[3]), known()
    for name in prior.GROUPS:
        lines = (prior.PUBLISHED / f"{name}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(f"{matrix.datasets[3]},")]
        assert len(kept) < len(lines)
        (tmp_path / f"{name}.csv").write_text("".join(kept), encoding="utf-8")
    monkeypatch.setattr(prior, "PUBLISHED", tmp_path)
    assert repr(prior.known.__wrapped__()) == repr(before) != repr(whole)  # NaN is not equal to itself


def test_what_is_known_is_what_the_matrices_say() -> None:
    """Plain loops; the rounded values are those of docs/choosing.md."""
    found, tuned, probes = known(), [], []
    for name in ("sfda1", "sfda2"):
        matrix = bench.load(name)
        for into, column in ((tuned, "finetuned"), (probes, "probe")):
            odds = log_odds(matrix.columns[column] / 100)
            into.append(np.array([row - row.mean() for row in odds]))
    rest = [np.mean([(t[i] - np.delete(t, i, 0).mean(0)) ** 2 for i in range(len(t))]) for t in tuned]
    assert found.near == pytest.approx(np.sqrt(np.mean(rest)))
    assert found.gap == pytest.approx(np.sqrt(np.mean([(p - t).var() for p, t in zip(probes, tuned, strict=True)])))
    top1 = log_odds(bench.load("sfda1").columns["imagenet"][0] / 100)
    mean = [found.listed[name][0] for name in bench.load("sfda1").networks]
    assert (found.slope, found.level) == pytest.approx(np.polyfit(top1, mean, 1))
    stated = {"slope": 0.96, "near": 0.13, "far": 0.19, "wide": 0.24, "gap": 0.50}
    assert {name: getattr(found, name) for name in stated} == pytest.approx(stated, abs=5e-3)
