"""The whole path on signals, as users walk it: from some people to another, channels by name, odd recordings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graft
from command import here, ran
from conftest import at_home
from graft import words
from graft.adapt import finished
from graft.adapt import logits as answers_of
from graft.build import find
from graft.core.errors import GraftError
from graft.core.nouns import Budget
from signals import CHANNELS, RATE, eeg, emg, signals

SHORT = Budget(seconds=10, firm=False)
BASELINES = {"bandpower", "covariance", "aligned", "kernels", "series"}


def recording(path: Path, x: np.ndarray, y: Any, channels: Any = CHANNELS, rate: float = RATE, **more: Any) -> Path:
    np.savez(path, X=x.astype(np.float32), y=np.asarray(y), channels=np.asarray(channels), rate=rate, **more)
    return path


def resting(count: int, seed: int, alpha: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    closed = rng.permutation(np.arange(count) % 2 == 1)
    return eeg(closed, rng, alpha=alpha), np.where(closed, "closed", "open")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five people, and one person more, whose channels come in another order and in volts."""
    folder = tmp_path_factory.mktemp("signals")
    signals(folder / "source", subjects=5, trials=24)
    x, y = resting(72, 9)
    order = np.random.default_rng(3).permutation(len(CHANNELS))
    recording(folder / "target.npz", 1e-6 * x[:, order], y, np.array(CHANNELS)[order], unit="V", subject="s99")
    return folder


@pytest.fixture(scope="module")
def signal_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signal") / "home"


@pytest.fixture(autouse=True)
def signal_home(signal_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that the tests of this file share: what one computes, others find."""
    return at_home(monkeypatch, signal_place)


@pytest.fixture(scope="module")
def walked(signal_place: Path, place: Path) -> tuple[dict[str, Any], Path, str]:
    """A source run from random weights, then another person from what it has learned: artifact, folder, key."""
    options = ["--budget", "10s", "--quiet", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        at_home(patch, signal_place)
        taught = ran("adapt", place / "source", "--backbone", "blank/eegnet", "--strategy", "full", *options)
        assert taught.returncode == 0, taught.stderr
        key = json.loads(taught.stdout)["key"]
        out = place / "model"
        done = ran("transfer", place / "target.npz", "--backbone", f"checkpoint/{key}", *options, "--out", out)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), out, key


def test_what_some_people_taught_serves_another(walked) -> None:
    artifact, out, key = walked
    card = json.loads((out / "card.json").read_text())
    rows = {row["name"]: row for row in card["report"]["rows"]}
    assert set(rows) - {"linear_probe"} == {"adapted", "scratch", "trivial", *BASELINES}
    assert artifact["verdict"] in ("positive", "inconclusive", "negative")
    assert artifact["parity"] <= 1e-4
    assert rows["adapted"]["score"] > rows["trivial"]["score"] + 0.2
    backbone = find(f"checkpoint/{key}")
    assert backbone.pretrained_on == "source"
    assert sorted(backbone.input["channels"]) == sorted(CHANNELS)


def test_the_order_and_the_unit_of_channels_change_no_answer(walked, place: Path, tmp_path: Path, capsys) -> None:
    _, out, _ = walked
    with np.load(place / "target.npz") as file:
        x, y, names = file["X"], file["y"], file["channels"]
    order = [list(names).index(name) for name in CHANNELS]
    plain = recording(tmp_path / "plain.npz", 1e6 * x[:, order], y, unit="uV")
    assert here("predict", out, place / "target.npz", "--json") == 0
    known = json.loads(capsys.readouterr().out)
    assert here("predict", out, plain, "--json") == 0
    other = json.loads(capsys.readouterr().out)
    assert [one["input"] for one in other] == [f"{plain}#{number}" for number in range(72)]
    for a, b in zip(known, other, strict=True):
        assert a["label"] == b["label"]
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-4)
    predictor = graft.open(out)
    given = [{"x": 1e6 * x[row][order], "channels": CHANNELS, "rate": RATE, "unit": "uV"} for row in range(4)]
    for a, b in zip(known, predictor.predict(given), strict=False):
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-4)


def test_answers_are_those_of_what_was_trained(walked, place: Path) -> None:
    _, out, _ = walked
    task, predictor = graft.load(place / "target.npz"), graft.open(out)
    run = finished(predictor.card["run"]["key"] if isinstance(predictor.card["run"], dict) else predictor.card["run"])
    assert run is not None
    np.testing.assert_allclose(predictor.logits(list(task.val.items)), answers_of(task, run, task.val)[0], atol=1e-4)


def test_no_part_shares_a_subject(place: Path) -> None:
    for seed in range(5):
        task = graft.load(place / "source", seed=seed)
        people = [set(part.groups) for part in (task.train, task.val, task.test.open("a test of the split"))]
        assert sum(map(len, people)) == len(set.union(*people)) == 5


def test_one_subject_is_said_and_one_in_two_given_parts_is_noticed(place: Path, tmp_path: Path) -> None:
    assert any("All examples come from one, 's99'" in note for note in graft.load(place / "target.npz").audit.notes)
    for part, people in (("train", (0, 1, 2)), ("test", (2, 3))):
        (tmp_path / part).mkdir()
        for person in people:
            x, y = resting(12, 10 * person + len(part))
            recording(tmp_path / part / f"{part}{person}.npz", x, y, unit="uV", subject=f"p{person}")
    notes = " ".join(graft.load(tmp_path).audit.notes)
    assert "1 of 4 groups, such as 'p2', stand in the training and in the test part" in notes


def test_who_gives_the_signal_is_told_from_features_and_said(place: Path) -> None:
    evidence = graft.rank(graft.load(place / "source"), ["blank/eegnet"], SHORT)[0]
    assert any("is told from its features with an accuracy of" in sentence for sentence in evidence.why)


def test_a_channel_that_is_missing_is_refused_or_made_up_as_the_plan_says(walked, place: Path, tmp_path: Path) -> None:
    _, _, key = walked
    with np.load(place / "target.npz") as file:
        kept = file["channels"] != "Oz"
        fewer = recording(
            tmp_path / "fewer.npz", file["X"][:, kept], file["y"], file["channels"][kept], unit="V", subject="s99"
        )
    with pytest.raises(GraftError, match=r"Oz.*missing=mean"):
        graft.rank(graft.load(fewer), [f"checkpoint/{key}"], SHORT)
    task = graft.load(fewer, missing="mean")
    evidence = graft.rank(task, [f"checkpoint/{key}"], SHORT)[0]
    told = " ".join(graft.plan(task, evidence, "linear_probe", SHORT).why)
    assert "Oz" in told
    assert "mean of the other" in told
    assert evidence.scores["probe"] > 0.7


@pytest.mark.parametrize("strategy", ["linear_probe", "lp_ft", "full", "gradual", "discriminative"])
def test_every_strategy_runs_on_a_run(strategy: str, walked, place: Path) -> None:
    task = graft.load(place / "target.npz")
    evidence = graft.rank(task, [f"checkpoint/{walked[2]}"], SHORT)[0]
    run = graft.adapt(task, graft.plan(task, evidence, strategy, SHORT))
    assert Path(run.weights).is_file()


def test_a_quantity_is_learned_from_muscles(tmp_path: Path, capsys) -> None:
    """How strongly two of four muscles are tensed, in newtons."""
    rng = np.random.default_rng(0)
    force = rng.uniform(5, 80, 96)
    x = emg(np.ones(96, int), rng)
    x[:, :2] *= (force / 40)[:, None, None]
    place = recording(tmp_path / "grip.npz", x, force.round(1), ("FDS", "FCR", "EDC", "ECU"), 1000.0, unit="mV")
    options = ["--modality", "signal", "--backbone", "blank/resnet1d", "--strategy", "full", "--budget", "5s"]
    assert here("transfer", place, *options, "--quiet", "--json", "--out", tmp_path / "model") == 0
    report = json.loads((tmp_path / "model" / "card.json").read_text())["report"]
    assert report["metric"] == "r2"
    rows = {row["name"]: row["score"] for row in report["rows"]}
    assert rows["bandpower"] > rows["trivial"] + 0.4
    assert json.loads(capsys.readouterr().out)["parity"] <= 1e-4


def test_odd_recordings_are_left_out_or_said_and_nothing_stops(walked, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for person in range(4):
        x, y = resting(12, person)
        recording(folder / f"p{person}.npz", x, y, unit="uV", subject=f"p{person}")
    x, y = resting(12, 50)
    flat, holes, none = x.copy(), x.copy(), x.copy()
    flat[:, 2], holes[:, 1, 20:24], none[:] = 7.0, np.nan, np.nan
    recording(folder / "flat.npz", flat, y, unit="uV", subject="flat")
    recording(folder / "holes.npz", holes, y, unit="uV", subject="holes")
    recording(folder / "small.npz", 1e-6 * x, y, unit="uV", subject="small")
    recording(folder / "fast.npz", np.repeat(x, 2, axis=2), y, rate=2 * RATE, unit="uV", subject="fast")
    (folder / "broken.npz").write_bytes((folder / "p0.npz").read_bytes()[:900])
    recording(folder / "none.npz", none, y, unit="uV", subject="none")
    task = graft.load(folder)
    told = words.task(task)
    assert {Path(item).name.split("#")[0] for item, _ in task.audit.skipped} == {"broken.npz", "none.npz"}
    for what in ("flat in Cz", "with gaps", "far too small for µV", "128 Hz"):
        assert what in told, told
    options = ["--backbone", "blank/eegnet", "--strategy", "linear_probe", "--budget", "5s", "--quiet"]
    assert here("transfer", folder, *options, "--out", tmp_path / "model") == 0
    capsys.readouterr()
    bad = [folder / "broken.npz", folder / "none.npz#0", folder / "holes.npz#0", folder / "p1.npz#3"]
    assert here("predict", tmp_path / "model", *bad, "--json") == 0
    assert ["error" in one for one in json.loads(capsys.readouterr().out)] == [True, True, False, False]


def test_what_cannot_be_learned_is_refused_in_words(tmp_path: Path, capsys) -> None:
    x, _ = resting(8, 0)
    one = recording(tmp_path / "one.npz", x, ["open"] * 8, unit="uV")
    for arguments, why in (
        ((one,), "one class, 'open'"),
        ((one, "--label", "mood"), "mood"),
        ((one, "--read", "band=90,1"), "band"),
        ((one, "--read", "chanels=Cz"), "chanels"),
        ((tmp_path / "nowhere.npz",), "nowhere"),
    ):
        assert here("load", *arguments) == 2, arguments
        said = capsys.readouterr().err
        assert why in said, said
        assert "Traceback" not in said


def test_a_table_of_series_needs_not_be_called_one(tmp_path: Path) -> None:
    """Without names of columns, as the UCR archive has them, doubled values and all; or with names that count."""
    x, y = resting(30, 3)
    rows = [[int(kind == "open"), *np.round(trial[6, :60], 1)] for trial, kind in zip(x, y, strict=True)]
    bare, named = tmp_path / "bare.tsv", tmp_path / "named.csv"
    bare.write_text("\n".join("\t".join(map(str, row)) for row in rows))
    named.write_text(
        "\n".join([",".join(["label", *(f"t{k}" for k in range(60))]), *(",".join(map(str, r)) for r in rows)])
    )
    first, second = graft.load(bare), graft.load(named)
    assert first.modality == second.modality == "signal"
    assert first.outputs == second.outputs == ("0", "1")
    shuffled = np.random.default_rng(0).standard_normal((30, 60)).round(1)
    noise = tmp_path / "noise.csv"
    noise.write_text(
        "\n".join(
            [
                ",".join(["label", *(f"gene{k}" for k in range(60))]),
                *(",".join(map(str, [k % 2, *row])) for k, row in enumerate(shuffled)),
            ]
        )
    )
    assert graft.load(noise).modality == "vector"
    bare.write_text("\n".join("\t".join(map(str, row)) for row in shuffled))
    with pytest.raises(GraftError, match="has no names of columns: its first row holds numbers"):
        graft.load(bare)
