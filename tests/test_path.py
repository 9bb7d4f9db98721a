"""The path, as users walk it: verbs, command line, verdicts, resume. Offline, with the built-in backbones."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graft
from command import cli, ran
from graft.core.nouns import Budget, Form, Phase, Plan
from graft.core.shelf import names

FAST = Budget(seconds=8, firm=False)
ONE = "tiny/shapes"


@pytest.fixture(scope="module")
def walked(tiny_place, photos, tmp_path_factory):
    """The whole path walked once through the command line: (artifact JSON, folder, stderr)."""
    out = tmp_path_factory.mktemp("walk") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(tiny_place))
        done = cli("transfer", photos, "--out", out, "--backbone", ONE, "--budget", "8s", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), out, done.stderr


def test_transfer_writes_one_json_object_and_an_artifact(walked):
    artifact, out, _ = walked
    assert artifact["verdict"] in ("positive", "inconclusive", "negative")
    assert artifact["parity"] <= 1e-4
    assert {"card.json", "weights.safetensors", "model.onnx", "report.html", "report.json", "MODEL_CARD.md"} <= {
        entry.name for entry in out.iterdir()
    }
    assert not [entry for entry in out.iterdir() if entry.suffix in (".pkl", ".pt", ".pth", ".bin")]


def test_the_terminal_and_the_report_tell_the_same_cost(walked):
    _, out, stderr = walked
    spent = json.loads((out / "report.json").read_text())["exhibits"]["spent"]
    assert f"In all: {sum(one['seconds'] for one in spent):.0f} s." in stderr
    assert "comparing: training from scratch" in {one["name"] for one in spent}


def test_predict_answers_in_order_and_survives_bad_files(walked, photos, tmp_path):
    _, out, _ = walked
    good = sorted(Path(photos).rglob("*.jpg"))[::7][:3]
    bad = tmp_path / "broken.jpg"
    bad.write_bytes(good[0].read_bytes()[:200])
    tables = [tmp_path / "table.csv", tmp_path / "second.csv"]
    for table, photo in zip(tables, good, strict=False):
        table.write_text(f"path,label\n{photo},whatever\n")
    done = ran("predict", out, good[0], bad, tmp_path / "none.jpg", good[1], *tables, "--json")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert [a["input"] for a in answers] == [
        *map(str, (good[0], bad, tmp_path / "none.jpg", good[1])),
        *map(str, good[:2]),
    ]
    assert ["error" in a for a in answers] == [False, True, True, False, False, False]
    for a in answers:
        if "error" not in a:
            assert set(a) == {"input", "label", "probability", "probabilities", "set", "unsure"}
            assert a["unsure"] == (len(a["set"]) != 1)
            assert a["probability"] == max(a["probabilities"].values())
            assert abs(sum(a["probabilities"].values()) - 1) < 1e-4
    assert answers[0]["probabilities"] == answers[4]["probabilities"]


def test_an_artifact_of_before_answers_were_calibrated_opens(walked, photos, tmp_path):
    _, out, _ = walked
    photo, copy = min(Path(photos).rglob("*.jpg")), shutil.copytree(out, tmp_path / "old")
    card = json.loads((copy / "card.json").read_text())
    assert card["report"]["calibration"]["temperature"] == card["trust"]["temperature"]
    assert card["schema_out"]["novelty"]["shape"] == ["batch"]
    del card["trust"], card["schema_out"]["novelty"]
    (copy / "card.json").write_text(json.dumps(card))
    (old,), (new,) = (graft.open(place).predict([photo]) for place in (copy, out))
    assert set(old) == {"input", "label", "probability", "probabilities"}
    assert old["label"] == new["label"]


def test_predict_reads_standard_input(walked, photos):
    _, out, _ = walked
    photo = next(iter(sorted(Path(photos).rglob("*.jpg"))))
    done = subprocess.run(
        [sys.executable, "-m", "graft.cli", "predict", str(out), "-", "--json"],
        input=photo.read_bytes(), capture_output=True, check=False,
    )  # fmt: skip
    (answer,) = json.loads(done.stdout)
    assert answer["input"] == "-"
    assert answer["label"]


def test_predictor_needs_no_torch_and_no_optimiser(walked, photos):
    _, out, _ = walked
    photo = next(iter(sorted(Path(photos).rglob("*.jpg"))))
    code = f"import sys, graft; graft.open({str(out)!r}).predict([{str(photo)!r}]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "scipy.optimize", "matplotlib", "sklearn"} & set(done.stdout.split())


def test_a_changed_byte_in_an_artifact_is_named(walked, tmp_path):
    _, out, _ = walked
    copy = shutil.copytree(out, tmp_path / "copy")
    data = bytearray((copy / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(data)
    done = cli("predict", copy, "x.jpg")
    assert done.returncode == 2
    assert "weights.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_steps_read_and_write_the_same_nouns(tiny_home, photos, tmp_path):
    done = ran("plan", photos, "--backbone", ONE, "--budget", "8s", "--strategy", "linear_probe")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    plan["phases"][0]["class_weights"] = True
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    run = ran("adapt", photos, "--plan", tmp_path / "plan.json")
    assert run.returncode == 0, run.stderr
    (tmp_path / "run.json").write_text(run.stdout)
    assert json.loads(run.stdout)["plan"]["phases"][0]["class_weights"] is True
    report = ran("verify", photos, "--run", tmp_path / "run.json", "--budget", "8s", "--quiet")
    assert report.returncode == 0, report.stderr
    assert json.loads(report.stdout)["verdict"]
    plan["phases"][0]["class_weight"] = True
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    wrong = ran("adapt", photos, "--plan", tmp_path / "plan.json")
    assert wrong.returncode == 2
    assert "class_weights" in wrong.stderr  # the nearest name is offered


def test_asking_twice_computes_nothing(tiny_home, photos):
    from graft.features import Count

    task = graft.load(photos)
    ranking = graft.rank(task, [ONE], FAST)
    chosen = graft.plan(task, ranking[0], "lp_ft", FAST)
    run = graft.adapt(task, chosen)
    before = Count.passes
    assert graft.rank(task, [ONE], FAST) == ranking
    assert graft.adapt(task, chosen) == run
    assert Count.passes == before
    # A second seed of the same plan uses the stored features too, where nothing but a kept view is needed.
    probe = graft.plan(task, ranking[0], "linear_probe", FAST)
    graft.adapt(task, probe, seed=0)
    before = Count.passes
    graft.adapt(task, probe, seed=1)
    assert Count.passes == before


def fresh_home(tiny_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that holds the tiny weights and nothing that another test computed."""
    shutil.copytree(tiny_place / "weights", tmp_path / "fresh" / "weights")
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "fresh"))


def test_adding_examples_computes_only_those(tiny_home, photos, tmp_path, monkeypatch):
    """Features are keyed by content: only files that were never seen go through the prefix."""
    from graft.features import Count

    fresh_home(tiny_home, tmp_path, monkeypatch)
    more = shutil.copytree(photos, tmp_path / "more")
    first = graft.load(more)
    chosen = graft.plan(first, graft.rank(first, [ONE], FAST)[0], "linear_probe", FAST)
    graft.adapt(first, chosen)
    seen = {*first.train.ids, *first.val.ids}
    rng = np.random.default_rng(5)
    for label in first.outputs:
        Image.fromarray(rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(more / label / "new.png")
    second = graft.load(more)
    new = {*second.train.ids, *second.val.ids} - seen
    before = Count.passes
    graft.adapt(second, chosen)
    assert Count.passes - before == len(new)


def test_a_harmful_source_is_called_negative_and_not_shipped(tiny_home, tmp_path):
    """tiny/noise has filters that average everything away; a linear model on small pixels must win, and ship."""
    from photos import photos as write_photos

    task = graft.load(write_photos(tmp_path / "photos", classes=4, each=100))
    run = graft.adapt(task, graft.plan(task, graft.rank(task, ["tiny/noise"], FAST)[0], "linear_probe", FAST))
    report = graft.verify(task, run, FAST)
    assert report.verdict == "negative"
    assert report.gain[2] < 0
    assert report.ships != "adapted"
    assert report.ships.replace("_", " ") in report.sentence
    artifact = graft.export(task, run, report, tmp_path / "out")
    assert artifact.ships == report.ships
    right = [
        a["label"] == task.outputs[t]
        for a, t in zip(graft.open(tmp_path / "out").predict(task.val.items), task.val.targets, strict=True)
    ]
    assert np.mean(right) > 1.5 / len(task.outputs)


def test_only_verify_opens_the_test_part(tiny_home, photos):
    task = graft.load(photos)
    chosen = graft.plan(task, graft.rank(task, [ONE], FAST)[0], "linear_probe", FAST)
    run = graft.adapt(task, chosen)
    assert task.test.reasons == []
    graft.verify(task, run, replace(FAST, seconds=8.5))  # another budget, so that no stored report answers
    assert len(task.test.reasons) == 1


def test_the_scratch_row_states_its_terms(tiny_home, photos):
    task = graft.load(photos)
    run = graft.adapt(task, graft.plan(task, graft.rank(task, [ONE], FAST)[0], "linear_probe", FAST))
    report = graft.verify(task, run, FAST)
    scratch = next(row for row in report.rows if row.name == "scratch")
    assert scratch.trials == 3
    assert scratch.budget > 0
    assert scratch.state in ("saturated", "unfinished")
    assert "fed 3 × 32 × 32" in scratch.note
    if report.verdict == "positive":
        done = [row for row in report.rows if not row.transfers and row.state != "unfinished"]
        assert report.reference in [row.name for row in done]


def long_plan() -> Plan:
    phases = (
        Phase(("head",), solver="exact"),
        Phase(("head", "stages[2:]"), steps=240, views=2, batch=16, patience=999),
    )
    return Plan(graft.find(ONE), "classification", "by hand", phases)


def test_a_killed_run_goes_on_and_ends_in_the_same_weights(tiny_home, photos, tmp_path, monkeypatch):
    """kill -9 in the middle of training; the next call resumes and gives the bits of an uninterrupted run."""
    from safetensors.numpy import load_file

    from graft.model.checkpoints import Saved

    code = (
        "import sys, graft, graft.adapt\n"
        "sys.modules['graft.adapt'].EVERY = 0.0\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from test_path import long_plan\n"
        "print(graft.adapt(graft.load(sys.argv[1]), long_plan(), seed=3).key)\n"
    )
    command = [sys.executable, "-c", code, str(photos), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    place = Path(os.environ["GRAFT_HOME"]) / "runs"
    deadline = time.monotonic() + 60
    found: list[Path] = []
    while time.monotonic() < deadline:  # until the optimiser has moments to put back: they are the hard part
        found = list(place.glob("*/checkpoint/state.safetensors"))
        if found and (saved := Saved.read(found[0].parent.parent)) and saved.progress.epoch >= 2:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert found, "no checkpoint was written"
    assert not (found[0].parent.parent / "run.json").exists(), "the run was over before it was killed"
    resumed = graft.adapt(graft.load(photos), long_plan(), seed=3)
    fresh_home(tiny_home, tmp_path, monkeypatch)
    whole = graft.adapt(graft.load(photos), long_plan(), seed=3)
    assert whole.weights != resumed.weights
    assert [replace(e, seconds=0) for e in whole.history if e.epoch] == [
        replace(e, seconds=0) for e in resumed.history if e.epoch
    ]
    a, b = load_file(whole.weights), load_file(resumed.weights)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[n], b[n]) for n in a)


def test_two_processes_share_a_home(tiny_home, photos, tmp_path):
    commands = [
        [sys.executable, "-m", "graft.cli", "adapt", str(photos), "--backbone", ONE, "--budget", "9s", "--quiet"]
        for _ in range(2)
    ]
    both = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    answers = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    runs = [json.loads(out) for out, _ in answers]
    assert runs[0]["key"] == runs[1]["key"]


def test_ctrl_c_leaves_in_one_line(tiny_home, photos):
    process = subprocess.Popen(
        [sys.executable, "-m", "graft.cli", "rank", str(photos), "--budget", "22s", "--backbone", ONE, "tiny/random"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stderr.readline()  # the task has been read
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode in (0, 130)
    assert "Traceback" not in errors


def test_finished_runs_are_candidates(tiny_place, photos, tmp_path, monkeypatch):
    from graft.rank import candidates

    fresh_home(tiny_place, tmp_path, monkeypatch)  # of many runs only the newest are offered
    task = graft.load(photos)
    run = graft.adapt(task, graft.plan(task, graft.rank(task, [ONE], FAST)[0], "full", FAST))
    assert f"checkpoint/{run.key}" in [b.id for b in candidates("image")]
    again = graft.rank(task, [f"checkpoint/{run.key}"], FAST)
    assert again[0].scores["probe"] > 0.5


def test_a_run_never_meets_the_photos_it_learned_from(tiny_home, photos):
    """Another seed is another split: test photos of the one are training photos of the other."""
    from graft.core.errors import BackboneError, PlanError
    from graft.rank import _unseen, candidates

    task, other = graft.load(photos), graft.load(photos, seed=1)
    run = graft.adapt(task, graft.plan(task, graft.rank(task, [ONE], FAST)[0], "linear_probe", FAST))
    assert {*task.train.ids} & {*other.test.ids}
    with pytest.raises(PlanError, match="learned other examples"):
        graft.verify(other, run, FAST)
    with pytest.raises(BackboneError, match="test examples"):
        graft.rank(other, [f"checkpoint/{run.key}"], FAST)
    for one in (task, other):
        assert f"checkpoint/{run.key}" not in [b.id for b in _unseen(one, candidates("image"))]


@pytest.mark.parametrize(
    "strategy", [name for name in names("strategies") if name != "contrastive"]
)  # which reads texts
def test_every_strategy_runs(strategy, tiny_home, photos):
    from safetensors.torch import load_file

    from graft.build import build

    task = graft.load(photos)
    budget = Budget(seconds=8)
    chosen = graft.plan(task, graft.rank(task, [ONE], budget)[0], strategy, budget)
    run = graft.adapt(task, chosen)
    assert np.isfinite(run.score)
    assert run.score > 1 / len(task.outputs)
    before, _ = build(chosen.backbone, chosen.head, len(task.outputs))
    after = load_file(run.weights)
    first = min(chosen.boundaries)
    frozen = before.stages[first - 1] if first else None
    if frozen:
        for name, value in before.network.state_dict().items():
            if name in frozen.parameters or name.rpartition(".")[0] in frozen.modules:
                assert (value == after[name]).all(), f"{name} is frozen and moved"
    last = [(e.val_score, -e.val_loss) for e in run.history if e.phase == len(chosen.phases) - 1]
    if len(chosen.phases) > 1 and max(last[1:]) > last[0]:  # else the probe was kept
        assert any(
            not (v == after[n]).all() for n, v in before.network.state_dict().items() if n.startswith("backbone")
        )


def test_a_plan_that_takes_longer_says_so(tiny_home, photos):
    task = graft.load(photos)
    evidence = graft.rank(task, [ONE], FAST)[0]
    said = "It is expected to take longer than the 0.5 s that were asked for."
    assert said in graft.plan(task, evidence, "full", Budget(seconds=0.5)).why
    assert not any("longer than" in why for why in graft.plan(task, evidence, "full", Budget(seconds=500)).why)


def test_faults_of_a_plan_are_reported_together(tiny_home, photos):
    task = graft.load(photos)
    phases = (Phase(("stages[9:]",), steps=5), Phase(("haed",), steps=5), Phase(("head",), steps=0, lr=0))
    with pytest.raises(graft.PlanError) as caught:
        graft.adapt(task, Plan(graft.find(ONE), "classification", "x", phases))
    text = str(caught.value)
    for word in ("Phase 0", "stages[9:]", "Phase 1", "head", "Phase 2", "steps", "lr is"):
        assert word in text
    odd = Phase(("head",), steps=5, smoothing=2.0, dtype="float16", weight_decay=-1.0, patience=0)
    with pytest.raises(graft.PlanError) as caught:
        graft.adapt(task, Plan(graft.find(ONE), "classification", "x", (odd,), Form(batch=0)))
    for word in ("smoothing", "float16", "weight_decay", "patience", "batch"):
        assert word in str(caught.value)


def test_a_report_is_made_again_when_what_it_ships_was_cleared(tiny_home, photos, tmp_path, monkeypatch):
    from graft.core import home

    fresh_home(tiny_home, tmp_path, monkeypatch)
    task = graft.load(photos)
    chosen = graft.plan(task, graft.rank(task, [ONE], FAST)[0], "linear_probe", FAST)
    graft.verify(task, graft.adapt(task, chosen), FAST)
    home.clear("runs")
    run = graft.adapt(task, chosen)
    assert graft.export(task, run, graft.verify(task, run, FAST), tmp_path / "model").parity <= 1e-4


def test_patience_of_one_still_trains(tiny_home, photos):
    task = graft.load(photos)
    plan = Plan(graft.find(ONE), "classification", "x", (Phase(("head",), steps=30, patience=1),))
    assert max(epoch.epoch for epoch in graft.adapt(task, plan).history) >= 1


def test_own_strategy_file(tiny_home, photos, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from graft.core.nouns import Phase, Plan\n"
        "def mine(task, evidence, budget):\n"
        "    return Plan(evidence.backbone, task.head, 'mine', (Phase(('head',), solver='exact'),),\n"
        "                why=('Because.',))\n"
    )
    done = ran("plan", photos, "--backbone", ONE, "--budget", "8s", "--strategy", tmp_path / "mine.py")
    assert done.returncode == 0, done.stderr
    assert "Because." in json.loads(done.stdout)["why"]


def test_an_own_strategy_may_be_edited_while_a_notebook_runs(tmp_path):
    from graft.core.shelf import function

    for answer in (1, 2):
        (tmp_path / "mine.py").write_text(f"def mine():\n    return {answer}{' ' * answer}\n")
        assert function("strategies", str(tmp_path / "mine.py"))() == answer


def test_norm_says_when_there_is_none():
    import torch
    from torch import nn

    from graft.model.chain import Chain
    from graft.plan import check

    network = nn.Sequential()
    network.add_module("a", nn.Linear(4, 4))
    network.add_module("b", nn.ReLU())
    network.add_module("head", nn.Linear(4, 2))
    chain = Chain(network, {"input": torch.randn(2, 4)}, main="input")
    with pytest.raises(graft.PlanError, match="Phase 0 lets nothing learn: norm"):
        check(Plan(graft.find(ONE), "classification", "x", (Phase(("norm",), steps=5),)), chain)


def test_a_ranking_that_missed_a_candidate_plans_the_same_again(tiny_home, photos):
    """It is measured again, in case the candidate can be fetched by now; plans follow timings, so these are kept."""
    task = graft.load(photos)
    wanted = [ONE, "package/resnet18"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        first, second = (graft.rank(task, wanted, Budget(seconds=21)) for _ in range(2))
    assert [id for id, _ in first.failed] == ["package/resnet18"]
    assert first.seconds != second.seconds, "an incomplete ranking is not kept"
    assert replace(first, seconds=0) == replace(second, seconds=0)


def test_an_interrupted_verify_goes_on(tiny_home, photos, tmp_path, monkeypatch):
    """How long scratch trains follows timings; were they measured anew, it would start from the beginning."""
    from graft.core import home

    fresh_home(tiny_home, tmp_path, monkeypatch)
    task, ample = graft.load(photos), Budget(seconds=15)
    run = graft.adapt(task, graft.plan(task, graft.rank(task, [ONE], FAST)[0], "linear_probe", FAST))
    first = graft.verify(task, run, ample)
    shutil.rmtree(home.home() / "results" / "verify")  # as if it had been cut off at its end
    again = graft.verify(task, run, ample)
    one, two = (next(row for row in report.rows if row.name == "scratch") for report in (first, again))
    assert one == two
    assert one.cost.seconds > 1
    costs = [next(row.cost for row in report.rows if row.name == "pixels") for report in (first, again)]
    assert costs[0] == costs[1]
    assert len(first.test_openings) == 1
    assert again.test_openings == first.test_openings, "one look, though it was interrupted"
    third = graft.verify(task, run, FAST)
    assert len(third.test_openings) == 2
    assert any("opened 2 times" in note for note in third.notes)


def test_a_resumed_run_counts_what_it_cost_before(tiny_home, photos, monkeypatch):
    from graft import adapt as verb
    from graft.model.checkpoints import Saved

    task, seen = graft.load(photos), []

    class Cut(Exception):
        pass

    def write(self, place, real=Saved.write):
        real(self, place)
        seen.append(self.progress)
        if self.progress.epoch == 3:
            raise Cut

    with monkeypatch.context() as patched:  # undone before it goes on, and the home is not
        patched.setattr(sys.modules["graft.adapt"], "EVERY", 0.0)
        patched.setattr(Saved, "write", write)
        with pytest.raises(Cut):
            verb(task, long_plan(), seed=11)
    cost = verb(task, long_plan(), seed=11).cost
    before = seen[-1].cost
    assert before.seconds > 0
    assert cost.seconds > before.seconds
    assert cost.cpu_seconds > before.cpu_seconds
    assert cost.prefix_passes >= before.prefix_passes


def test_a_phase_that_had_stopped_stays_stopped(tiny_home, photos, monkeypatch):
    """Killed after its last checkpoint and before its end, it must not train on."""
    from graft.model.checkpoints import Saved

    module = sys.modules["graft.adapt"]
    monkeypatch.setattr(module, "EVERY", 0.0)
    task = graft.load(photos)
    plan = Plan(
        graft.find(ONE), "classification", "x", (Phase(("head", "stages[3:]"), steps=400, lr=3e-2, patience=1),)
    )
    for seed in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(module, "save_file", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                graft.adapt(task, plan, seed=seed)
        saved = Saved.read(Path(os.environ["GRAFT_HOME"]) / "runs" / module.run_key(task, plan, seed))
        assert saved.progress.waited == 1, "the last checkpoint is not of the epoch that ends the phase"
        assert graft.adapt(task, plan, seed=seed).history == saved.progress.history


def test_a_photo_that_changed_after_it_was_loaded_is_refused(tiny_home, photos, tmp_path):
    copy = shutil.copytree(photos, tmp_path / "copy")
    task = graft.load(copy)
    Image.new("RGB", (50, 50), "red").save(task.train.items[0])
    with pytest.raises(graft.DataError, match="has changed since it was loaded"):
        graft.adapt(task, long_plan(), seed=12)


def test_what_a_step_wrote_is_taken_by_the_next(tiny_home, photos, tmp_path):
    """graft rank > r.json; graft plan --ranking r.json; graft verify > v.json; graft export --report v.json."""
    terms = ("--backbone", ONE, "--budget", "8s", "--strategy", "linear_probe", "--quiet")
    (tmp_path / "r.json").write_text(ran("rank", photos, *terms[:4], "--quiet").stdout)
    planned = ran("plan", photos, "--ranking", tmp_path / "r.json", "--strategy", "linear_probe", "--quiet")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["backbone"]["id"] == ONE
    stranger = ran("plan", photos, "--seed", "1", "--ranking", tmp_path / "r.json", "--quiet")
    assert stranger.returncode == 2
    assert "not a ranking of these data" in stranger.stderr
    (tmp_path / "v.json").write_text(cli("verify", *terms[:2], photos, *terms[2:]).stdout)  # DATA behind --backbone
    report = json.loads((tmp_path / "v.json").read_text())
    done = cli("export", photos, *terms, "--report", tmp_path / "v.json", "--out", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sentence"] == report["sentence"]
    other = json.dumps({**report, "run": "0" * 32})
    (tmp_path / "v.json").write_text(other)
    wrong = ran("export", photos, *terms, "--report", tmp_path / "v.json", "--out", tmp_path / "model")
    assert wrong.returncode == 2
    assert "another run" in wrong.stderr


def test_an_artifact_that_is_replaced_keeps_what_was_not_its_own(tiny_home, photos, tmp_path, monkeypatch):
    task = graft.load(photos)
    run = graft.adapt(task, graft.plan(task, graft.rank(task, [ONE], FAST)[0], "linear_probe", FAST))
    report = graft.verify(task, run, FAST)
    graft.export(task, run, report, tmp_path / "model")
    (tmp_path / "model" / "notes.txt").write_text("mine")
    graft.export(task, run, replace(report, sentence="Another."), tmp_path / "model")
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]

    def cut(self, target, real=Path.rename):
        if self.name == ".model.draft":
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            graft.export(task, run, report, tmp_path / "model")
    assert graft.open(tmp_path / "model").labels == task.outputs
    (tmp_path / "model").rename(tmp_path / ".model.old")  # killed between the two renames
    (tmp_path / "link").symlink_to(tmp_path / "model")
    graft.export(task, run, report, tmp_path / "link")
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "model"]


def test_shared_weights_can_be_saved(tmp_path):
    """Language models tie their first layer to their last: safetensors refuses the same memory under two names."""
    import torch
    from safetensors.torch import load_file, save_file

    from graft.model.checkpoints import unshared

    layer = torch.nn.Linear(3, 3, bias=False)
    tied = torch.nn.ModuleDict({"a": layer, "b": torch.nn.Linear(3, 3, bias=False)})
    tied["b"].weight = layer.weight
    save_file(unshared(tied.state_dict()), tmp_path / "x.safetensors")
    kept = load_file(tmp_path / "x.safetensors")
    assert torch.equal(kept["a.weight"], layer.weight)
    assert torch.equal(kept["b.weight"], layer.weight)


def test_an_artifact_remembers_what_it_learned_from(tiny_home, photos, tmp_path, monkeypatch):
    """Its folder may travel to another home, where the run is not known."""
    from graft.core.errors import BackboneError

    task, other = graft.load(photos), graft.load(photos, seed=1)
    run = graft.adapt(task, graft.plan(task, graft.rank(task, [ONE], FAST)[0], "linear_probe", FAST))
    artifact = graft.export(task, run, replace(graft.verify(task, run, FAST), ships="adapted"), tmp_path / "model")
    with pytest.raises(BackboneError, match="test examples"):
        graft.rank(other, [f"checkpoint/{artifact.path}"], FAST)
    with pytest.raises(BackboneError, match="test examples"):  # nor by a plan that was made elsewhere
        graft.adapt(other, Plan(graft.find(f"checkpoint/{artifact.path}"), "classification", "x", run.plan.phases))
    monkeypatch.chdir(tmp_path)
    child = graft.adapt(task, Plan(graft.find("checkpoint/model"), "classification", "x", run.plan.phases))
    shutil.rmtree(tmp_path / "model")
    monkeypatch.chdir("/")
    from graft.rank import learned

    known = learned(graft.find(f"checkpoint/{child.key}"))
    assert known >= {*task.train.ids, *task.val.ids}  # and their places, here or where the same run met them first
    assert not known & {*task.test.ids}


def test_two_that_write_one_folder_do_so_one_after_the_other(walked, tiny_home, photos, tmp_path):
    command = [sys.executable, "-m", "graft.cli", "transfer", str(photos), "--out", str(tmp_path / "model")]
    command += ["--backbone", ONE, "--budget", "8s", "--quiet"]  # walked before: only the export is left to do
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate() for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert graft.open(tmp_path / "model").labels
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_plan_that_describes_another_backbone_is_refused(tiny_home, photos):
    task = graft.load(photos)
    backbone = replace(graft.find("tiny/random"), id=ONE, license="none")
    with pytest.raises(graft.PlanError, match=r"describes tiny/shapes wrongly.*license is 'none'"):
        graft.adapt(task, Plan(backbone, "classification", "x", (Phase(("head",), solver="exact"),)))


def test_a_strategy_may_be_a_function_and_its_faults_are_found_before_anything_runs(tiny_home, photos):
    task = graft.load(photos)
    evidence = graft.rank(task, ONE, FAST)[0]

    def mine(task, evidence, budget):
        return Plan(evidence.backbone, task.head, "mine", (Phase(("head",), solver="exact"),))

    def wrong(task, evidence, budget):
        return replace(mine(task, evidence, budget), phases=(Phase(("stagez[1:]",), steps=5, lr=-1, lr_decay=-1),))

    assert graft.plan(task, evidence, mine, FAST).strategy == "mine"

    def none(task, evidence, budget):  # an empty stretch of stages, as a loop over depths may write it
        empty = Phase(("head", f"stages[{len(evidence.stage_curve)}:]"), steps=5)
        return replace(mine(task, evidence, budget), phases=(empty,))

    assert graft.plan(task, evidence, none, FAST).boundaries == (len(evidence.stage_curve),)
    with pytest.raises(graft.PlanError) as caught:
        graft.plan(task, evidence, wrong, FAST)
    for words in ("The strategy wrong", "stagez", "lr is -1", "lr_decay"):
        assert words in str(caught.value)


def test_the_wrong_noun_is_called_by_its_name(tiny_home, photos, tmp_path):
    (tmp_path / "r.json").write_text(ran("rank", photos, "--backbone", ONE, "--budget", "8s", "--quiet").stdout)
    done = ran("adapt", photos, "--plan", tmp_path / "r.json", "--quiet")
    assert done.returncode == 2
    assert "holds a Ranking, and a Plan is wanted here" in done.stderr


def test_a_class_folder_of_any_bytes_gets_through(tiny_home, photos, tmp_path):
    copy = shutil.copytree(photos, tmp_path / "photos")
    sorted(copy.iterdir())[0].rename(os.fsdecode(os.fsencode(copy) + b"/caf\xe9"))
    task = graft.load(copy)
    run = graft.adapt(task, graft.plan(task, graft.rank(task, ONE, FAST)[0], "linear_probe", FAST))
    graft.export(task, run, graft.verify(task, run, FAST), tmp_path / "model")
    assert graft.open(tmp_path / "model").labels == task.outputs
