"""Training that leaves the numbers while it is compared: told in the report, which comes to its end all the same."""

import json
import sys
from dataclasses import replace

import pytest

import graft
import graft.folds
import graft.scratch
from command import here
from graft.core.codec import from_json, to_json
from graft.core.errors import TrainingDiverged
from graft.core.nouns import Budget, Phase, Plan, Report, Row, Run, Task
from graft.folds import distinct
from graft.joint import alone
from graft.seeds import APART, TRIES

ONE = "tiny/shapes"
FAST = Budget(seconds=20, firm=False)  # others below are nobody else's: the home that tests share keeps reports
TUNED = (Phase(("head", "stages[3:]"), steps=20, batch=16, stored=False),)


@pytest.fixture
def task(tiny_home, photos) -> Task:
    return graft.load(photos)


@pytest.fixture
def run(task) -> Run:
    return graft.adapt(task, Plan(graft.find(ONE), task.head, "tuned", TUNED))


def of(report: Report, name: str) -> Row:
    return next(row for row in report.rows if row.name == name)


def test_a_sweep_of_which_every_rate_diverges_is_a_row_that_says_so(task, run, monkeypatch) -> None:
    monkeypatch.setattr(graft.scratch, "sweep", lambda trials: (1e30, 1e31))  # however many backbones others ranked
    report = graft.verify(task, run, replace(FAST, seconds=8.1))
    row, told = of(report, "scratch"), " ".join(report.notes)
    assert (row.state, row.trials) == ("diverged", 2)
    assert 0 <= row.score <= 1
    assert "From scratch, the rate 1e+30 diverged: The loss is" in told
    assert "From scratch, every seed diverged at the rate 1e+30" in told
    assert "was not used alone to call the transfer positive" in told
    assert report.reference != "scratch" or report.verdict != "positive"
    assert from_json(Report, to_json(report)) == report
    assert json.loads(to_json(report))["verdict"] in ("positive", "inconclusive", "negative")


def test_a_last_training_that_diverges_leaves_the_trial_that_had_held(task, run, monkeypatch) -> None:
    def breaks(task: Task, plan: Plan, seed: int) -> Run:
        raise TrainingDiverged("The loss is nan.")

    monkeypatch.setattr(graft.scratch, "reseeded", breaks)
    report = graft.verify(task, run, replace(FAST, seconds=9.2))
    row = of(report, "scratch")
    assert row.state in ("unfinished", "saturated")
    assert row.run
    assert "From scratch, every seed diverged at the rate 0.00" in " ".join(report.notes)


def test_a_seed_that_cannot_be_trained_is_told_and_the_others_compared(task, run, monkeypatch) -> None:
    path = sys.modules["graft.verify"]  # graft.verify is the verb
    whole = path.reseeded

    def breaks(task: Task, plan: Plan, seed: int) -> Run:
        if seed == run.seed + 1:
            raise TrainingDiverged("The loss is inf.")
        return whole(task, plan, seed)

    monkeypatch.setattr(path, "reseeded", breaks)
    monkeypatch.setattr(graft.folds, "SMALL", 0)
    report = graft.verify(task, run, replace(FAST, seconds=23.3))
    assert report.seeds == (run.seed, run.seed + 2)
    assert "Seed 1 of tuned, and those tried in its place, diverged" in " ".join(report.notes)


@pytest.mark.parametrize("diverges", [False, True])
def test_folds_that_are_given_up_leave_the_seeds_to_compare(task, run, monkeypatch, diverges) -> None:
    def none(task: Task, test: object, repeat: int) -> list[Task]:
        if diverges:
            raise TrainingDiverged("The loss is inf.")
        return []

    monkeypatch.setattr(graft.folds, "folds", none)
    report = graft.verify(task, run, replace(FAST, seconds=24 + diverges))
    assert (report.folds, report.seeds) == (0, (0, 1, 2))
    assert "Folds were foreseen and given up" in " ".join(report.notes)
    assert ("training diverged in one of them at every seed" in " ".join(report.notes)) == diverges


def test_the_command_line_tells_each_seed_that_broke(task, photos, tmp_path, capsys, monkeypatch) -> None:
    """At a rate at which no seed holds; and with a seed that is dead, in whose place the next one is written."""
    plan = Plan(graft.find(ONE), task.head, "wild", (replace(TUNED[0], lr=1e30),))
    (tmp_path / "plan.json").write_text(to_json(plan))
    assert here("adapt", photos, "--plan", tmp_path / "plan.json") == 2
    told = capsys.readouterr().err
    for tried in range(0, (TRIES - 1) * APART, APART):
        assert f"Seed {tried} of wild diverged: The loss is" in told
    (tmp_path / "plan.json").write_text(to_json(replace(plan, phases=TUNED)))
    monkeypatch.setattr("graft.seeds.dead", lambda task, one: "it never moved." if one.seed == 0 else "")
    assert here("adapt", photos, "--plan", tmp_path / "plan.json", "--quiet") == 0
    found = from_json(Run, capsys.readouterr().out)
    assert (found.seed, found.notes) == (
        APART,
        ("Seed 0 of wild was dead, and was begun anew from seed 1000: it never moved.",),
    )


def test_a_fold_of_source_data_that_diverges_costs_its_own_row_alone(task, run, monkeypatch) -> None:
    whole, sourced = graft.folds.once, replace(task, source=task.train, key=f"{task.key}-fold")

    def breaks(fold: Task, plan: Plan, seed: int) -> tuple:
        if fold.key == alone(replace(sourced, key=first)).key:
            raise TrainingDiverged("The loss is inf.")
        return whole(fold, plan, seed)

    first = graft.folds.folds(sourced, distinct(sourced.test.part), 0)[1].key
    monkeypatch.setattr(sys.modules["graft.verify"], "once", breaks)
    exact = (Phase(("head",), solver="exact"),)
    report = graft.verify(sourced, graft.adapt(sourced, replace(run.plan, phases=exact)), replace(FAST, seconds=9.4))
    assert report.folds == 5
    assert "Repetition 1 of the folds goes without source_only: The loss is inf." in " ".join(report.notes)
    assert {row.name for row in report.rows} >= {"adapted", "joint"}
    assert "source_only" not in {row.name for row in report.rows}


def test_folds_are_given_up_where_scratch_diverges_in_one(task, run, monkeypatch) -> None:
    """There is no verdict without that row."""

    def breaks(fold: Task, plan: Plan, seed: int) -> tuple:
        raise TrainingDiverged("The loss is inf.")

    monkeypatch.setattr(graft.scratch, "once", breaks)
    report = graft.verify(task, run, replace(FAST, seconds=26.5))
    assert report.folds == 0
    assert of(report, "scratch").run
    assert "training diverged in one of them at every seed: The loss is inf" in " ".join(report.notes)


@pytest.mark.parametrize("folds", [True, False])
def test_a_source_row_that_cannot_be_trained_is_told_whatever_is_asked(task, run, folds, monkeypatch) -> None:
    path = sys.modules["graft.verify"]
    whole = path.reseeded

    def breaks(one: Task, plan: Plan, seed: int) -> Run:
        if one.train != sourced.train and one.train != alone(sourced).train:
            raise TrainingDiverged("The loss is inf.")
        return whole(one, plan, seed)

    sourced = replace(task, source=task.train, key=f"{task.key}-{folds}")  # the same ones: only who is missing is asked
    monkeypatch.setattr(path, "reseeded", breaks)
    monkeypatch.setattr(graft.folds, "SMALL", 400 if folds else 0)
    exact = (Phase(("head",), solver="exact"),)
    report = graft.verify(sourced, graft.adapt(sourced, replace(run.plan, phases=exact)), replace(FAST, seconds=8.6))
    assert (report.folds > 0) == folds
    assert "source_only" in {row.name for row in report.rows}
    assert "There is no row joint, since it could not be trained: The loss is inf." in report.notes
