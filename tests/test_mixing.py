"""Alternatives: what is kept of several runs is never worse on validation than one of them, and looks are counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import graft
from graft.core.errors import PlanError, TrainingDiverged
from graft.core.nouns import Phase, Plan
from graft.core.shelf import take
from graft.model.mixing import CHOICES, GRID, best, line, mixed, soup

ONE = "tiny/shapes"
HEAD = Phase(("head",), solver="exact")
TUNED = Phase(("head", "stages[2:]"), steps=30, lr=3e-3, patience=100, views=2)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.integers(0, 10**6))
def test_no_choice_ranks_below_a_member(scores: list[int], seed: int) -> None:
    """Members of any scores, ties among them, and mixtures that score whatever they like."""
    rng, asked = np.random.default_rng(seed), {}

    def judge(shares):
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0
        alone = max(shares) == 1
        return asked.setdefault(shares, (float(scores[shares.index(1)] if alone else rng.integers(0, 6)), 0.0))

    for name, choose in CHOICES.items():
        count = len(scores)
        if name != "line" or count == 2:
            kept = choose(count, judge, 1.0)
            assert len(kept) == count
            if name == "sure":
                assert kept[-1] == (max(scores) <= scores[-1] + 1)
            else:
                assert judge(kept)[0] >= max(scores), name


def test_the_soup_is_stirred_from_the_best_down() -> None:
    ranks = {(1, 0, 0): 0.7, (0, 1, 0): 0.9, (0, 0, 1): 0.8, (0, 0.5, 0.5): 0.85, (0.5, 0.5, 0): 0.9}
    asked = []

    def judge(shares):
        asked.append(shares)
        return ranks[shares], 0.0

    assert soup(3, judge) == (0.5, 0.5, 0)
    assert asked[-2:] == [(0, 0.5, 0.5), (0.5, 0.5, 0)], "the third is tried before the first, and left out"
    assert best(3, judge) == (0, 1, 0)


def test_a_line_has_both_ends_and_nine_points_between() -> None:
    asked = []
    judge = lambda shares: (asked.append(shares), (-abs(shares[0] - 0.42), 0.0))[1]  # noqa: E731
    assert line(2, judge) == (0.4, 0.6)
    assert [alpha for alpha, _ in asked] == list(GRID)
    assert asked[0] == (0.0, 1.0)
    assert asked[-1] == (1.0, 0.0)


def test_weights_are_mixed_in_double_precision_and_one_alone_to_the_bit() -> None:
    torch.manual_seed(0)
    one, other = ({"w": torch.randn(5, 3), "n": torch.tensor(index)} for index in (4, 9))
    got = mixed([one, other], (0.3, 0.7))
    want = (0.3 * one["w"].double() + 0.7 * other["w"].double()).float()
    assert torch.equal(got["w"], want)
    assert got["w"].dtype == torch.float32
    assert got["n"] == 9
    assert torch.equal(mixed([one, other], (0.0, 1.0))["w"], other["w"])


@pytest.mark.parametrize("choice", CHOICES)
def test_a_plan_with_alternatives(choice: str, tiny_home: Path, photos: Path) -> None:
    task = graft.load(photos)
    ways = (
        [(HEAD, TUNED), (HEAD,)] if choice == "line" else [(HEAD, replace(TUNED, lr=lr)) for lr in (3e-3, 1e-3, 3e-2)]
    )
    plan = Plan(graft.find(ONE), "classification", "by hand", ways[0], alternatives=tuple(ways[1:]), choice=choice)
    run = graft.adapt(task, plan, seed=1)
    alone = [graft.adapt(task, Plan(plan.backbone, plan.head, "one", way), seed=1) for way in ways]
    error = (alone[-1].score * (1 - alone[-1].score) / len(task.val)) ** 0.5
    ahead = max(one.score for one in alone) > alone[-1].score + error
    assert run.score >= max(one.score for one in alone) or (choice == "sure" and not ahead)
    looks = [epoch for epoch in run.history if epoch.phase == len(plan.every)]
    assert len(looks) >= len(ways), "looks at validation are not counted"
    assert len(run.history) == len(looks) + sum(len(one.history) for one in alone)
    assert max(epoch.val_score for epoch in looks) == run.score or choice == "sure"
    assert (len(looks) == len(GRID)) or choice != "line"
    assert "was kept by validation" in run.notes[0]
    from graft.adapt import logits

    said, y = logits(task, run, task.val)
    assert np.mean(said.argmax(1) == y) == pytest.approx(run.score)
    states = [load_file(one.weights) for one in alone]
    state = load_file(run.weights)
    low = torch.stack([s["head.weight"] for s in states]).amin(0)
    high = torch.stack([s["head.weight"] for s in states]).amax(0)
    assert ((state["head.weight"] >= low - 1e-6) & (state["head.weight"] <= high + 1e-6)).all()


def test_where_the_head_alone_is_kept_the_run_says_so_and_nothing_starts_from_it(tiny_home: Path, photos: Path) -> None:
    """Not from its tuned way either, which was tried and not kept."""
    task, harm = graft.load(photos), replace(TUNED, lr=1.0, steps=6)
    for ways, tuned in (((HEAD, harm), (HEAD,)), False), (((HEAD,), (HEAD, replace(TUNED, steps=6, lr=1e-5))), True):
        plan = Plan(graft.find(ONE), task.head, "sure", ways[0], alternatives=ways[1:], choice="sure")
        run = graft.adapt(task, plan, seed=11)
        assert (run.shares, run.kept, run.tuned) == ((0.0, 1.0), ways[1], tuned)
        assert ("the second (the head alone) was kept" in run.notes[0]) == (not tuned)
        members = [
            graft.adapt(task, replace(plan, phases=way, alternatives=(), choice="best"), seed=11) for way in ways
        ]
        Path(run.weights).with_name("run.json").touch()
        offered = {one.id for one in take("sources", "checkpoint").catalog("image")}
        assert (f"checkpoint/{run.key}" in offered) == tuned
        assert not offered & {f"checkpoint/{one.key}" for one in members}
        assert (graft.find(f"checkpoint/{run.key}").pretrained_on != plan.backbone.pretrained_on) == tuned


@pytest.mark.parametrize("choice", ["soup", "line"])
def test_thresholds_are_those_of_the_mixture(choice: str, tiny_home: Path, photos: Path, tmp_path, monkeypatch) -> None:
    """Not the mean of the runs' own: after the mean of the weights, those that suit what the mean says."""
    from graft.adapt import logits
    from graft.heads import multilabel

    rows = [
        f"{path},{path.parent.name}{'|small' * (i % 3 == 0)}" for i, path in enumerate(sorted(photos.rglob("*.jpg")))
    ]
    (tmp_path / "t.csv").write_text("\n".join(["path,labels", *rows]))
    task = graft.load(tmp_path / "t.csv", head="multilabel")
    other = Phase(("head", "stages[3:]"), steps=40, lr=1e-2, patience=100)
    plan = Plan(graft.find(ONE), "multilabel", "own", (TUNED,), alternatives=((other,),), choice=choice)
    even = {"soup": lambda count, judge, *_: judge((0.5, 0.5)) and (0.5, 0.5), "line": lambda *_: (0.3, 0.7)}[choice]
    monkeypatch.setitem(CHOICES, choice, even)
    run, shares = graft.adapt(task, plan, 3), even(2, lambda shares: (1.0, 0.0))
    states = [load_file(graft.adapt(task, replace(plan, phases=way, alternatives=(), choice="best"), 3).weights)
              for way in ((TUNED,), (other,))]  # fmt: skip
    mean, state = mixed(states, shares), load_file(run.weights)
    assert torch.equal(state["head.weight"], mean["head.weight"])
    moved = (mean["head.bias"] - state["head.bias"]).numpy()
    said, y = logits(task, run, task.val)
    np.testing.assert_allclose(moved, multilabel.thresholds(said + moved, y), atol=1e-5)
    assert np.abs(moved).max() > 1e-3
    assert run.score == pytest.approx(multilabel.metric(said, y, task.metric))


def test_alternatives_share_what_they_freeze(tiny_home: Path, photos: Path, tmp_path: Path, monkeypatch) -> None:
    """Three rates from one boundary send every view through the prefix once."""
    import os

    (empty := tmp_path / "home" / "weights").mkdir(parents=True)
    for file in (Path(os.environ["GRAFT_HOME"]) / "weights").iterdir():
        os.link(file, empty / file.name)
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    task = graft.load(photos)
    ways = [(replace(TUNED, lr=lr),) for lr in (3e-3, 1e-3, 3e-2)]
    plan = Plan(graft.find(ONE), "classification", "x", ways[0], alternatives=tuple(ways[1:]), choice="soup")
    run = graft.adapt(task, plan)
    assert run.cost.prefix_passes == TUNED.views * len(task.train) + len(task.val)


def test_an_alternative_that_diverges_is_left_out(tiny_home: Path, photos: Path) -> None:
    """Its number stays its own; where none that was trained is left, or a line has lost an end, the plan diverges."""
    task, short = graft.load(photos), replace(TUNED, steps=8)
    wild = (HEAD, replace(short, lr=1e30))
    plan = Plan(graft.find(ONE), "classification", "x", wild, alternatives=((HEAD,), (HEAD, short)), choice="soup")
    run = graft.adapt(task, plan)
    assert any(note.startswith("An alternative is left out, since it diverged: The loss is") for note in run.notes)
    (said,) = [note for note in run.notes if note.startswith("The plan was carried out in 2 ways")]
    assert "the first " not in said
    assert "the second was kept" in said or "the third " in said
    trained = [epoch for epoch in run.history if epoch.steps]
    assert {epoch.phase for epoch in trained} == {4}  # two of the first, one of the second, the head of the third
    assert graft.adapt(task, plan).notes == run.notes
    for choice, ways in (("soup", (wild, (HEAD,))), ("line", ((HEAD, short), wild))):
        with pytest.raises(TrainingDiverged):
            graft.adapt(task, replace(plan, phases=ways[0], alternatives=ways[1:], choice=choice))


def test_faults_of_alternatives_are_said_before_anything_is_run(tiny_home: Path, photos: Path) -> None:
    task, bad = graft.load(photos), (HEAD, replace(TUNED, train=("stages[9:]",)))
    plan = Plan(graft.find(ONE), "classification", "x", (HEAD, TUNED), alternatives=((HEAD,), bad), choice="line")
    with pytest.raises(PlanError) as caught:
        graft.adapt(task, plan, seed=77)
    for words in ("Phase 4", "stages[9:]", "a line one alternative"):
        assert words in str(caught.value)
    with pytest.raises(PlanError, match="no choice 'median'"):
        graft.adapt(task, replace(plan, choice="median"))
    assert not (sys_home() / "runs" / key_of(task, plan)).joinpath("run.json").exists()


def sys_home() -> Path:
    from graft.core.home import home

    return home()


def key_of(task, plan) -> str:
    from graft.adapt import run_key

    return run_key(task, replace(plan, phases=(HEAD, TUNED), alternatives=(), choice="best"), 77)
