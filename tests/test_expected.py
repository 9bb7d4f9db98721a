"""What a plan is expected to take, against what is counted as it is carried out: examples through a prefix, bytes."""

from dataclasses import replace
from pathlib import Path

import pytest

import graft
from command import here
from graft.align import align
from graft.core.codec import from_json
from graft.core.costs import OPENING
from graft.core.nouns import Evidence, Phase, Plan, Run, StageProbe, Task
from graft.expected import aligning, expected, held_beside, stored_beside
from graft.plan import estimated
from graft.proof import foreseen
from graft.regularized import ALIGNMENTS, regularized

TUNED = Phase(("head", "stages[3:]"), steps=12, batch=16, views=2)
NAMES = ("stage0", "stage1", "stage2", "stage3")


@pytest.fixture
def task(tiny_home: Path, photos: Path, target: Path) -> Task:
    return graft.load(photos, target=target)


def evidence(task: Task, seconds: tuple[float, ...] = (1.0, 0, 0, 0), **more: float) -> Evidence:
    """A second of the first stage and nothing else: seconds are then examples that were sent through it."""
    stages = tuple(StageProbe(n, 0.9, 0.01, s, 4 * 8**2 * 3, 100) for n, s in zip(NAMES, seconds, strict=True))
    return Evidence(graft.find("tiny/shapes"), {"probe": 0.9}, stages, len(task.train), **more)


def plan(*entries: str, phase: Phase = TUNED) -> Plan:
    return regularized(Plan(graft.find("tiny/shapes"), "classification", "own", (phase,)), entries, 4)


@pytest.mark.parametrize("entries", [(), ("distill",), ("coral",), ("distill", "mmd"), ("l2_sp", "ema")])
def test_as_many_examples_as_expected_go_through_the_prefix(
    entries: tuple[str, ...], task: Task, tiny_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "weights").symlink_to(tiny_place / "weights")
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    made = plan(*entries)
    openings = 1 + bool({"distill", "l2_sp"} & {*entries})
    told = expected(task, evidence(task), made) - openings * OPENING
    assert round(told) == graft.adapt(task, made).cost.prefix_passes


def test_what_is_not_stored_is_paid_at_every_step(task: Task) -> None:
    """Photos that are varied afresh: the pretrained network, or the target's batch, runs beside every step."""
    fresh = replace(TUNED, train=("head", "stages[0:]"), views=0, stored=False)
    one = evidence(task, train_seconds=3.0)
    bare, shown = expected(task, one, plan(phase=fresh)), TUNED.steps * TUNED.batch
    shown = min(shown, -(-TUNED.steps // -(-len(task.train) // 16)) * len(task.train))
    assert expected(task, one, plan("distill", phase=fresh)) == pytest.approx(bare + OPENING + shown)
    assert expected(task, one, plan("coral", phase=fresh)) == pytest.approx(bare + 3 * shown)
    assert expected(task, one, plan("adabn", phase=fresh)) == pytest.approx(bare + len(task.train) + len(task.target))


def test_bytes_of_what_is_kept_beside(task: Task) -> None:
    one = evidence(task)
    stage = 4 * 8**2 * 3
    assert stored_beside(task, one, plan("distill")) == 2 * stage * len(task.train)
    assert stored_beside(task, one, plan("delta", phase=replace(TUNED, train=("head", "stages[1:]")))) == (
        3 * 2 * stage * len(task.train)
    )
    assert stored_beside(task, one, plan("coral", "mmd")) == 2 * stage * len(task.target)
    assert held_beside(one, plan("ema").phases[0]) == held_beside(one, plan("l2_sp").phases[0]) > 0
    assert held_beside(one, plan("coral").phases[0]) == 16 * 100
    whole = estimated(task, one, plan("distill"), graft.Budget())
    assert whole.store_bytes - estimated(task, one, plan(), graft.Budget()).store_bytes == 2 * stage * len(task.train)


def test_alignments_are_expected_where_they_will_be_tried(task: Task, photos: Path) -> None:
    one, bare = evidence(task), plan()
    each = [expected(task, one, made) for made in (bare, *(plan(name) for name in ALIGNMENTS))]
    assert aligning(task, one, bare) == (4, pytest.approx(sum(each)))
    assert aligning(task, one, plan("coral"))[0] == 1
    assert aligning(graft.load(photos), one, bare) == (0, 0.0)
    why = " ".join(estimated(task, one, bare, graft.Budget()).why)
    assert "Alignments with the target domain, 4, are tried when it is carried out" in why
    assert "longer than the 600 s" in why
    made = align(task, replace(bare, phases=(Phase(("head",), solver="exact"),), why=(why,)))
    assert align(task, made).why == made.why  # asked again, it says the same, once


def test_a_plan_from_a_file_is_aligned_as_it_is_carried_out(
    tiny_home: Path, photos: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    terms = (photos, "--backbone", "tiny/shapes", "--target", target, "--budget", "20s", "--quiet")
    assert here("plan", *terms, "--strategy", "linear_probe") == 0
    (tmp_path / "plan.json").write_text(capsys.readouterr().out)
    assert here("adapt", *terms, "--plan", tmp_path / "plan.json") == 0
    run = from_json(Run, capsys.readouterr().out)
    told = [one for one in run.plan.why if one.startswith(("Alignments by", "No alignment"))]
    assert len(told) == 1
    assert not any("are tried when" in one for one in run.plan.why)


def test_what_proving_takes_is_the_sum_of_its_shares(task: Task, photos: Path) -> None:
    """Small and drawn at random: folds, of which the run at hand is one; else further seeds."""
    tuned, one = replace(plan(), seconds=2.0), graft.load(photos)
    budget = graft.Budget(seconds=100.0)
    scratch, curve = 20.0, 2 * 12.0
    assert foreseen(one, tuned, budget) == pytest.approx(2 * scratch + curve + 9 * 2.0)  # 4 folds, then 5
    assert foreseen(one, replace(tuned, seconds=8.0), budget) == pytest.approx(2 * scratch + curve + 4 * 8.0)  # 4 alone
    assert foreseen(task, tuned, budget) == pytest.approx(scratch + curve + 2 * 2.0)  # a target: no folds
    assert foreseen(task, replace(tuned, seconds=30.0), budget) == pytest.approx(30.0 + curve + 30.0)
    both = replace(one, source=one.train)  # two rows more, and two of the three again
    assert foreseen(both, tuned, budget) == pytest.approx(2 * scratch + curve + 4 * 2.0 + 2 * 5 * 2.0 + 2 * 5 * 2.0)
    assert foreseen(both, replace(tuned, seconds=30.0), budget) == pytest.approx(30.0 + curve + 2 * 30.0)
