"""A budget that is named holds for comparing, too: what is left out, in which order, and that the report says so."""

import logging
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

import graft
from command import here
from graft.clock import Clock
from graft.core import home
from graft.core.exhibits import Spent
from graft.core.keys import key
from graft.core.nouns import Budget, Evidence, Phase, Plan, Run, StageProbe, Task
from graft.exhibits import gathered
from graft.proof import expectation, foreseen
from graft.speed import Training
from graft.spendings import spendings

ONE, FEWEST = "tiny/shapes", 8
SMALL = 2.0  # seconds


@pytest.fixture
def task(tiny_home: Path, photos: Path) -> Task:
    return graft.load(photos)


@pytest.fixture
def run(task: Task) -> Run:
    return graft.adapt(task, Plan(graft.find(ONE), task.head, "linear_probe", (Phase(("head",), solver="exact"),)))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Optimiser steps of every plan that is carried out while comparing."""
    from graft import adapt

    monkeypatch.setattr("graft.scratch.FEWEST", FEWEST)

    steps = list[int]()

    def counted(task: Task, plan: Plan, seed: int = 0) -> Run:
        steps.append(sum(phase.steps for phase in plan.every))
        return adapt(task, plan, seed)

    for place in ("graft.scratch", "graft.seeds", "graft.curve"):
        monkeypatch.setattr(f"{place}.adapt", counted)
    return steps


def test_where_there_is_no_time_the_least_is_done_and_the_rest_is_named(
    task: Task, run: Run, trained: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine of this pace: a quicker one takes a step more in the second that every start is given.
    monkeypatch.setattr("graft.scratch.training", lambda *_, **__: Training(0.01, 0.05, "float32"))
    report = graft.verify(task, run, Budget(SMALL), spent=SMALL)
    assert trained == [FEWEST]  # from scratch, at one rate; no fold, no seed, no curve
    assert {row.name for row in report.rows} == {"adapted", "pixels", "trivial", "scratch"}
    assert (report.folds, report.curve) == (0, None)
    told = report.notes[0]
    assert told.startswith(
        f"Left out for time (a budget of {SMALL:g} s): asking every labelled example, in folds (about"
    )
    assert "; longer training from scratch, at more rates (about" in told
    assert "; the learning curve (about" in told
    assert told.endswith("Without --budget nothing is left out.")
    assert report.left_out[0] == "asking every labelled example, in folds"
    again = graft.verify(task, run, Budget(SMALL), spent=SMALL)
    assert again == report
    assert len(trained) == 1


def test_where_there_is_time_nothing_is_left_out(task: Task, run: Run, trained: list, caplog) -> None:
    """The same rows as where time has no end; and a watcher is told where it stands."""
    fitted = key("baseline", graft.__version__, "trivial", task.key)  # perhaps, by another test
    shutil.rmtree(home.folder("runs", fitted))
    with caplog.at_level(logging.INFO, "graft"):
        began = time.perf_counter()
        firm = graft.verify(task, run, Budget(SMALL), spent=-1000.0)  # parts of two seconds, and a thousand to spend
        took = time.perf_counter() - began
    free = graft.verify(task, run, Budget(SMALL, firm=False))
    assert {row.name for row in firm.rows} == {row.name for row in free.rows}
    assert (5, firm.folds, firm.repeats) == (firm.folds, free.folds, free.repeats)
    assert firm.curve
    assert firm.curve.draws >= 2
    assert not any("Left out" in note for note in (*firm.notes, *free.notes))
    for number in range(2, 6):
        assert re.search(rf"fold {number} of 5: scratch; the folds have about \d+ s to go", caplog.text)
    assert re.search(r"scratch: learning rate 2 of 3, \S+: validation 0", caplog.text)
    assert re.search(r"trivial: always giving the same answer, to compare with", caplog.text)
    assert "epoch" not in caplog.text  # of which there are hundreds
    parts = {one.name: one.seconds for one in firm.spent}
    assert {"the baselines", "training from scratch", "folds", "the learning curve"} <= set(parts)
    assert sum(parts.values()) == pytest.approx(took, rel=0.1)


def test_a_clock_tells_what_it_left_out() -> None:
    clock = Clock(Budget(60), spent=50)
    assert 9 < clock.left <= 10
    assert clock.holds("a walk", 3, beside=5)
    assert not clock.holds("a swim", 3, beside=8)
    without = "Without --budget nothing is left out."
    assert clock.told() == (f"Left out for time (a budget of 60 s): a swim (about 3 s). {without}",)
    assert not clock.holds("a climb", 600)
    assert clock.told()[0].endswith(f"a swim (about 3 s); a climb (about 600 s). {without}")
    free = Clock(Budget(60, firm=False), spent=100)
    assert free.holds("a swim", 1e9)
    assert free.told() == ()


def test_what_is_expected_is_said_before(task: Task, photos: Path, capsys: pytest.CaptureFixture) -> None:
    stages = tuple(StageProbe(f"stage{at}", 0.9, 0.01, 0.001, 100) for at in range(4))
    one = Evidence(graft.find(ONE), {"probe": 0.9}, stages, len(task.train), prepare_seconds=0.01, train_seconds=0.09)
    plan = Plan(one.backbone, task.head, "own", (Phase(("head", "stages[3:]"), steps=9),), seconds=4.0)
    whole, least = foreseen(task, plan, Budget(100)), 2.0 + 40 * 16 * 0.1
    assert expectation(task, plan, Budget(100, firm=False), 99, one)[0] == whole
    assert expectation(task, plan, Budget(100), 0, one)[0] == whole
    held, told = expectation(task, plan, Budget(100), 30, one)
    assert held == 70
    assert f"not the {whole:.0f} s that all of it would" in told
    short, told = expectation(task, plan, Budget(100), 90, one)
    assert short == pytest.approx(least)
    assert f"10 s are left of the budget, but training from scratch takes {least:.0f} s at least" in told
    assert here("plan", photos, "--backbone", ONE, "--budget", "20s", "--quiet", "--explain") == 0
    assert "Proving it (graft verify) is expected to take about" in capsys.readouterr().out


def test_a_budget_that_was_not_kept_is_told_beside_the_cost(task: Task, run: Run) -> None:
    report = graft.verify(task, run, Budget(SMALL))
    told = gathered(task, run, report).exhibits
    steps = (Spent("reading", 1.0), Spent("writing and checking the model", 47.2))
    over = "In all: 48 s. That is 28 s more than the budget of 20 s; the longest step was writing and checking the"
    assert spendings(replace(told, spent=steps, allowed=20.0))[2] == f"{over} model (47 s)."
    for allowed in (0.0, 48.0):  # none was named; one that held
        assert spendings(replace(told, spent=steps, allowed=allowed))[2] == "In all: 48 s."
