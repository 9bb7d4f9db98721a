"""Searching for a plan: it goes on after a kill, counts its looks, and leaves the test part alone."""

import builtins
import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import graft
from command import ran
from graft.core.costs import boundary
from graft.core.errors import PlanError, TrainingDiverged
from graft.core.nouns import Budget, Evidence, Plan, Run, Task
from graft.regularized import changed

BUDGET = Budget(seconds=8, firm=False)
TRIALS = 8


class Cut(Exception):
    """The power went."""


@pytest.fixture(scope="module")
def task(tiny_place: Path, photos: Path) -> Task:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(tiny_place))
        return graft.load(photos)


@pytest.fixture(scope="module")
def evidence(tiny_place: Path, task: Task) -> Evidence:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(tiny_place))
        return graft.rank(task, ["tiny/shapes"], Budget(seconds=20))[0]


@pytest.fixture(scope="module")
def place(tiny_place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the tiny weights; runs of one test are found by the next, searches are not."""
    home = tmp_path_factory.mktemp("search") / "home"
    shutil.copytree(tiny_place / "weights", home / "weights")
    return home


@pytest.fixture
def fresh(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That home, where nothing was searched for."""
    monkeypatch.setenv("GRAFT_HOME", str(place))
    shutil.rmtree(place / "results", ignore_errors=True)
    return place


@pytest.fixture(scope="module")
def whole(place: Path, task: Task, evidence: Evidence) -> "tuple[Plan, Tried]":
    """A search that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(place))
        found, watched = tried(task, evidence)
    assert found is not None
    return found, watched


class Tried:
    """`adapt`, with two steps a phase; what was tried, in order; perhaps cut off at a trial."""

    def __init__(self, patch: pytest.MonkeyPatch, cut: int = -1, diverges: int = -1) -> None:
        self.plans, self.runs, self.cut, self.diverges = list[Plan](), list[Run](), cut, diverges
        module = importlib.import_module("graft.search")
        self.real = module.adapt
        patch.setattr(module, "adapt", self)

    def __call__(self, task: Task, plan: Plan, seed: int, watch: object = None) -> Run:
        if len(self.plans) == self.cut:
            raise Cut
        self.plans.append(plan)
        if len(self.plans) - 1 == self.diverges:
            raise TrainingDiverged("The loss is nan.")
        short = changed(plan, lambda phase: replace(phase, steps=min(phase.steps, 2)))
        self.runs.append(replace(self.real(task, short, seed), plan=plan))
        return self.runs[-1]


def tried(task: Task, evidence: Evidence, seed: int = 0, trials: int = TRIALS, **how: int) -> tuple[Plan | None, Tried]:
    with pytest.MonkeyPatch.context() as patch:
        watched = Tried(patch, **how)
        try:
            return graft.search(task, evidence, Budget(seconds=600), trials=trials, seed=seed), watched
        except Cut:
            return None, watched


def test_it_is_the_best_by_validation_and_counts_every_look(whole, task) -> None:
    found, watched = whole
    assert len(watched.plans) == found.trials == TRIALS + 1
    best = max(run.score for run in watched.runs)
    assert best in [run.score for run in watched.runs if run.plan.phases == found.phases]
    assert found.looks == sum(len(run.history) for run in {run.key: run for run in watched.runs}.values())
    assert any(f"asked {found.looks} times" in why for why in found.why)
    assert watched.plans[0].strategy == "linear_probe"
    assert {plan.strategy for plan in watched.plans[1:4]} == {"lp_ft", "gradual", "full"}
    assert not task.test.reasons, "the test part was opened"
    for plan in watched.plans:
        assert list(plan.boundaries) == [boundary(phase.train, len(plan.stages)) for phase in plan.every]


def test_the_same_seed_tries_the_same_and_another_does_not(fresh, whole, task, evidence) -> None:
    first, other = whole[1].plans, tried(task, evidence, seed=1)[1].plans
    assert other[:7] == first[:7], "what every search begins with"
    assert other[7:] != first[7:]
    shutil.rmtree(fresh / "results")
    assert tried(task, evidence)[1].plans == first


@pytest.mark.parametrize("cut", [1, 8])
def test_a_search_that_was_killed_goes_on(fresh, whole, task, evidence, cut) -> None:
    """In the first trial, and in one that was drawn."""
    assert tried(task, evidence, cut=cut)[0] is None
    again, after = tried(task, evidence)
    assert after.plans == whole[1].plans
    assert replace(again, why=()) == replace(whole[0], why=())


def test_a_kill_between_two_draws_changes_none_of_them(fresh, whole, task, evidence) -> None:
    import optuna

    real = optuna.trial.Trial.suggest_float

    def once(self, name, *given, **more):
        if self.number == 7 and name == "backbone_lr":
            raise Cut
        return real(self, name, *given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna.trial.Trial, "suggest_float", once)
        assert tried(task, evidence)[0] is None
    assert tried(task, evidence)[1].plans == whole[1].plans


@pytest.mark.parametrize("name", ["none", "l2_sp", "bss", "ema", "mixup"])
def test_what_was_asked_for_is_what_is_planned(fresh, task, evidence, name) -> None:
    drawn = importlib.import_module("graft.search").drawn
    asked = {"frozen": 2, "lr": 5e-4, "backbone_lr": 0.3, "lr_decay": 0.5, "regularizer": name}
    for strategy in ("lp_ft", "gradual", "full"):
        made = drawn(task, evidence, {"strategy": strategy, **asked}, Budget(seconds=600))
        tuned = [phase for phase in made.phases if phase.solver != "exact"]
        assert min(made.boundaries) == 2
        assert len(set(made.phases)) == len(made.phases)
        for phase in tuned:
            assert (phase.lr, phase.backbone_lr, phase.lr_decay) == (5e-4, 0.3, 0.5)
            assert phase.regularizers == (() if name == "none" else (name,))
            assert phase.stored
            assert phase.views > 0


def test_alternatives_are_planned_at_the_rates_asked_for(fresh, task, evidence) -> None:
    drawn = importlib.import_module("graft.search").drawn
    asked = {"frozen": 2, "lr": 5e-4, "backbone_lr": 0.3, "lr_decay": 0.5, "regularizer": "l2_sp"}
    soup, line = (drawn(task, evidence, {"strategy": s, **asked}, Budget(seconds=600)) for s in ("soup", "wise_ft"))
    tuned = [way[-1].lr for way in (soup.phases, *soup.alternatives) if way[-1].solver != "exact"]
    assert tuned == pytest.approx([5e-4, 1.5e-4, 1.5e-3])
    assert (soup.choice, line.choice, len(line.alternatives)) == ("soup", "line", 1)
    for phase in (*soup.every, *line.every):
        assert phase.solver == "exact" or phase.regularizers == ("l2_sp",)
    assert min(soup.boundaries) == min(line.boundaries) == 2


class Counted:
    """`adapt`, whose epochs score as a table says, trial by trial."""

    def __init__(self, task: Task, run: Run, tables: list[list[float]]) -> None:
        self.run, self.tables, self.calls = run, tables, 0

    def __call__(self, task: Task, plan: Plan, seed: int, watch=None) -> Run:
        table, self.calls = self.tables[self.calls], self.calls + 1
        history = []
        for score in table:
            history.append(replace(self.run.history[-1], val_score=score))
            if watch:
                watch(len(history), history[-1])
        return replace(self.run, key=f"{self.calls:032x}", plan=plan, history=tuple(history), score=max(table))


def test_a_trial_that_falls_behind_is_cut_short_and_its_looks_are_counted(fresh, task, evidence) -> None:
    run = graft.adapt(task, graft.plan(task, evidence, "linear_probe", BUDGET))
    good, bad = [0.5, 0.6, 0.7, 0.8, 0.9, 0.9], [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    tables = [[0.4], *[good] * 6, bad, good]  # the probe, what every search begins with, two that are drawn
    with pytest.MonkeyPatch.context() as patch:
        counted = Counted(task, run, tables)
        patch.setattr(importlib.import_module("graft.search"), "adapt", counted)
        found = graft.search(task, evidence, Budget(seconds=600), trials=8)
        assert counted.calls == 9
        assert found.looks == 1 + 7 * len(good) + 5
        assert "1 trials were cut short" in " ".join(found.why)
        counted.calls, counted.tables = 0, [[0.4], *[good] * 7]
        again = graft.search(task, evidence, Budget(seconds=600), trials=8)  # what was cut short stays so
        assert (counted.calls, again.looks) == (8, found.looks)


def test_a_kill_between_the_look_and_the_cut_changes_nothing(fresh, task, evidence) -> None:
    """The look that the trial is cut short at is written down, and the power goes before that it was."""
    run = graft.adapt(task, graft.plan(task, evidence, "linear_probe", BUDGET))
    good, bad = [0.5, 0.6, 0.7, 0.8, 0.9], [0.5, 0.5, 0.5, 0.5, 0.5]  # the fifth look is the last
    module = importlib.import_module("graft.search")

    def gone(text: str, *words: object) -> None:
        if "cut short" in str(words[-1]):
            raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "adapt", Counted(task, run, [[0.4], *[good] * 6, bad]))
        patch.setattr(module, "log", SimpleNamespace(info=gone, warning=gone))
        with pytest.raises(Cut):
            graft.search(task, evidence, Budget(seconds=600), trials=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "adapt", Counted(task, run, [[0.4], *[good] * 6, bad]))
        found = graft.search(task, evidence, Budget(seconds=600), trials=7)
    assert "1 trials were cut short" in " ".join(found.why)
    assert found.looks == 1 + 6 * len(good) + 5


def test_another_task_is_offered_what_a_search_kept(tiny_home, photos, task, evidence) -> None:
    found = graft.search(task, evidence, Budget(seconds=20), trials=2)
    best = graft.adapt(task, found)
    catalog = importlib.import_module("graft.sources.checkpoint").catalog("image")
    mine = [one for one in catalog if one.note.endswith(task.key)]
    tuned = any(set(phase.train) != {"head"} for phase in found.phases)
    assert not tuned or [one.revision for one in mine] == [best.key]


def test_a_trial_that_diverges_is_passed_over(fresh, task, evidence, caplog) -> None:
    found, watched = tried(task, evidence, trials=3, diverges=2)
    assert (len(watched.plans), len(watched.runs)) == (4, 3)
    assert found is not None
    assert found.trials == 4
    assert "The loss is nan" in caplog.text


def test_a_trial_that_is_dead_is_told(fresh, task, evidence, caplog, monkeypatch) -> None:
    monkeypatch.setattr(importlib.import_module("graft.search"), "dead", lambda task, run: "it never moved.")
    tried(task, evidence, trials=1)
    assert "trial 1 of 1 is dead: it never moved." in caplog.text


def test_it_stops_when_its_time_is_up(fresh, task, evidence, caplog) -> None:
    """A trial takes 100 s: after the fourth, 500 s are gone and another would not end within 600."""
    clock = iter(range(0, 10_000, 100))
    with pytest.MonkeyPatch.context() as patch:
        module = importlib.import_module("graft.search")
        patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        _, watched = tried(task, evidence)
    assert len(watched.plans) == 1 + 4
    assert "There was time for 4 of 8 trials." in caplog.text


def test_the_plan_is_adapted_at_once_and_the_report_counts_the_looks(tiny_home, photos, tmp_path) -> None:
    """For real, through the command line: search > plan.json; verify --plan plan.json."""
    done = ran("search", photos, "--backbone", "tiny/shapes", "--trials", "2", "--budget", "10s", "--quiet")
    assert done.returncode == 0, done.stderr
    (tmp_path / "plan.json").write_text(done.stdout)
    plan = json.loads(done.stdout)
    assert plan["looks"] > 0
    run = ran("adapt", photos, "--plan", tmp_path / "plan.json", "--quiet")
    assert json.loads(run.stdout)["plan"]["looks"] == plan["looks"]
    (tmp_path / "run.json").write_text(run.stdout)
    report = ran("verify", photos, "--run", tmp_path / "run.json", "--budget", "10s", "--quiet")
    assert report.returncode == 0, report.stderr
    epochs = len(json.loads(run.stdout)["history"])
    assert json.loads(report.stdout)["looks"] >= plan["looks"] + epochs


def test_without_optuna_it_says_what_to_install(fresh, task, evidence, monkeypatch) -> None:
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.split(".")[0] == "optuna":
            raise ModuleNotFoundError("No module named 'optuna'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PlanError, match="pip install optuna"):
        graft.search(task, evidence, BUDGET)
    monkeypatch.undo()
    with pytest.raises(PlanError, match="1 trial or more, not 0"):
        graft.search(task, evidence, BUDGET, trials=0)
