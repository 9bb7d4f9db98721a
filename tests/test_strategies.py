"""Strategies do what their papers say, and what each would cost is told before anything is run."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import graft
from command import ran
from graft.build import build
from graft.candidate import Candidate
from graft.core.costs import boundary, epoch_steps
from graft.core.nouns import Budget, Plan
from graft.core.phases import EPOCHS, FEWEST_EPOCHS, TEXT_EPOCHS, exact_head, fine_tuning
from graft.core.shelf import names
from graft.model.modes import is_norm
from graft.plan import considered, explain, plan
from test_contracts import measured

ONE = "tiny/shapes"
AMPLE = Budget(seconds=7200)


@pytest.mark.parametrize(("strategy", "which"), [("bitfit", "bias"), ("norm_only", "norm")])
def test_one_kind_of_parameter_moves_and_no_other(strategy: str, which: str, tiny_home: Path, photos: Path) -> None:
    """By the difference of the state dicts: matrices and the norms' statistics stay to the bit."""
    task = graft.load(photos)
    chosen = plan(task, graft.rank(task, [ONE], Budget(seconds=8))[0], strategy, Budget(seconds=8))
    tuned = replace(chosen.phases[-1], steps=20, patience=100)
    phases = (replace(tuned, train=("head",), backbone_lr=0.1), tuned)
    run = graft.adapt(task, replace(chosen, phases=phases))
    chain, _ = build(chosen.backbone, "classification", 3)
    before, after = chain.network.state_dict(), load_file(run.weights)
    norms = {
        f"{n}.{p}" for n, m in chain.network.named_modules() if is_norm(m) for p, _ in m.named_parameters(recurse=False)
    }
    wanted = {"bias": {n for n in after if n.endswith("bias")}, "norm": norms}[which]
    moved = {n for n in after if not torch.equal(before[n], after[n])}
    assert moved == wanted | {"head.weight", "head.bias"}
    assert sum(after[n].numel() for n in wanted) < 0.01 * sum(p.numel() for p in after.values())


def test_chain_thaw_goes_from_the_bottom_up_and_ends_with_all() -> None:
    made = plan(*measured(300, 3, 100, 1, 0.5), "chain_thaw", AMPLE)
    assert [phase.train for phase in made.phases] == [
        ("head",), ("stages[0]",), ("stages[1]",), ("stages[2]",), ("stages[3]",), ("head", "stages[0:]"),
    ]  # fmt: skip
    assert made.boundaries == (4, 0, 1, 2, 3, 0)


def test_surgery_tries_every_block_alone_for_equally_long() -> None:
    made = plan(*measured(300, 3, 100, 1, 0.5), "surgical", AMPLE)
    ways = (made.phases, *made.alternatives)
    assert [way[-1].train for way in ways] == [("head", f"stages[{at}:{at + 1}]") for at in range(4)]
    assert len({way[-1].steps for way in ways}) == 1
    poor = plan(*measured(300, 3, 100, 100, 0.5), "surgical", Budget(seconds=5))
    assert poor.phases[-1].train == ("head", "stages[3:4]"), "what cannot be afforded is not tried"


def test_the_depth_is_searched_with_equal_steps() -> None:
    made = plan(*measured(300, 3, 100, 1, 0.5), "freeze_depth", AMPLE)
    ways = (made.phases, *made.alternatives)
    assert [way[-1].train[-1] for way in ways] == [f"stages[{at}:]" for at in range(4)]
    assert len({way[-1].steps for way in ways}) == 1
    assert made.choice == "best"


def test_wise_ft_lies_between_runs_that_others_share() -> None:
    """Its ends are the linear probe's and LP-FT's own phases, so that a run of these is taken over."""
    task, evidence = measured(300, 3, 100, 1, 0.5)
    made = plan(task, evidence, "wise_ft", AMPLE)
    assert made.phases == plan(task, evidence, "lp_ft", AMPLE).phases
    assert made.alternatives == (plan(task, evidence, "linear_probe", AMPLE).phases,)


def test_adapters_learn_ten_times_as_fast_and_little() -> None:
    task, evidence = measured(300, 3, 100, 1, 0.5)
    usual, low = (plan(task, evidence, name, AMPLE).phases[-1] for name in ("lp_ft", "lora"))
    assert low.lr * low.backbone_lr == pytest.approx(10 * usual.lr * usual.backbone_lr)
    assert low.weight_decay == 0
    assert low.train == usual.train


def test_every_strategy_is_considered(tiny_home: Path, photos: Path) -> None:
    done = ran("plan", photos, "--backbone", ONE, "--budget", "60s", "--explain")
    assert done.returncode == 0, done.stderr
    assert set(names("strategies")) - {"auto"} <= {
        word for line in done.stdout.splitlines() for word in line.split()[:2]
    }
    told = json.loads(ran("plan", photos, "--backbone", ONE, "--budget", "60s", "--explain", "--json").stdout)
    chosen = told["chosen"]
    (marked,) = (line for line in done.stdout.splitlines() if line.startswith(">"))
    assert marked.split()[1] == chosen["strategy"]
    task = graft.load(photos)
    evidence = graft.rank(task, [ONE], Budget(seconds=60))[0]
    again = considered(task, evidence, Budget(seconds=60))
    assert list(again) == list(told["considered"])
    assert all(made.seconds == told["considered"][name]["seconds"] for name, made in again.items())
    assert list(again) == sorted(again, key=lambda name: again[name].seconds)
    for sentence in chosen["why"]:
        assert sentence in done.stdout
    assert "4 alternatives: those whose mean is no worse on validation are averaged" in explain(again["soup"])


@pytest.mark.parametrize(
    ("slow", "seconds", "apart", "takes", "says"),
    [
        (1, 2400, 0.1, "soup", "validation examples cannot tell which of them is the best"),
        (20, 300, 0.1, "lp_ft", "several as deep and as long do not"),
        (1, 600, 1.4, "wise_ft", "From 1 on tuning is held back"),
        (100, 20, 0.1, "linear_probe", "Tuning even the last stage would take"),
        (100, 1250, 0.1, "lp_ft", "It is tuned for 618 s"),
        (100, 1200, 0.1, "linear_probe", "618 s, over the 600 s that it may take"),
    ],
)
def test_auto_goes_by_time_and_distance(slow: float, seconds: float, apart: float, takes: str, says: str) -> None:
    task, evidence = measured(300, 3, 100, slow, 0.5)
    made = plan(task, replace(evidence, domain_distance=apart), "auto", Budget(seconds=seconds))
    assert made.strategy == takes, made.why
    assert says in made.why[0]
    if takes != "linear_probe":
        assert "with 300 training examples, 100 of the rarest class" in made.why[0]
        assert f"lie {apart:.2f} apart" in made.why[0]


def test_auto_trusts_few_validation_examples_little(tiny_home: Path, photos: Path) -> None:
    """Ten of them: the probe is kept, unless tuning is a standard error better."""
    task = graft.load(photos)
    evidence = graft.rank(task, [ONE], Budget(seconds=60))[0]
    room = replace(evidence.stage_curve[-1], score=0.6, error=0.05)
    made = plan(task, replace(evidence, stage_curve=(*evidence.stage_curve[:-1], room)), "auto", Budget(seconds=60))
    assert (made.strategy, made.choice) == ("lp_ft", "sure")
    assert made.alternatives == ((made.phases[0],),)
    assert "the probe is kept unless tuning is a standard error better" in made.why[0]
    run = graft.adapt(task, made)
    assert "any but the last must be a standard error better" in run.notes[0]


def test_passes_go_before_depth() -> None:
    """The stage below could learn as well, but not for as many passes as are wanted."""
    task, evidence = measured(300, 3, 100, 1, 0.5)
    budget = Budget(seconds=100)
    tuned = plan(task, evidence, "lp_ft", budget).phases[-1]
    assert boundary(tuned.train, 4) == 2
    assert tuned.steps == EPOCHS * epoch_steps(task, tuned)
    below = fine_tuning(task, evidence, budget, 1, (exact_head(task),))
    assert FEWEST_EPOCHS <= below.steps / epoch_steps(task, below) < EPOCHS


def test_with_texts_depth_goes_before_passes() -> None:
    """In half of the budget; but a tenth is all where folds will be made."""
    task, evidence = measured(300, 3, 100, 1, 0.5)
    task = replace(task, modality="text")
    made = plan(task, evidence, "lp_ft", Budget(seconds=40))
    tuned = made.phases[-1]
    assert boundary(tuned.train, 4) == 0
    assert TEXT_EPOCHS <= tuned.steps / epoch_steps(task, tuned) < EPOCHS
    assert made.seconds <= 20
    drawn = replace(task, audit=replace(task.audit, drawn=True))
    assert plan(drawn, evidence, "lp_ft", Budget(seconds=200)).phases == made.phases


@pytest.mark.parametrize(("modality", "choice"), [("text", "best"), ("image", "sure")])
def test_many_texts_are_tuned_without_asking_few_validation_examples(modality: str, choice: str) -> None:
    task, evidence = measured(150, 2, 75, 20, 0.5)
    made = plan(replace(task, modality=modality), evidence, "auto", Budget(seconds=300))
    assert (len(task.val), made.strategy, made.choice) == (30, "lp_ft", choice), made.why


def test_what_does_not_suit_a_task_is_said(tiny_home: Path) -> None:
    task, evidence = measured(300, 3, 100, 1, 0.5)
    found = considered(replace(task, head="regression"), evidence)
    assert "needs one class for each example" in found["contrastive"]
    assert "hardly moves" in considered(replace(task, modality="vector"), evidence)["contrastive"]
    assert isinstance(found["lora"], Plan)


def test_how_surely_a_candidate_is_tuned_does_not_turn_over_with_the_clock() -> None:
    """A plan is all or nothing at some budget; what is foreseen of it goes from one to the other without a jump."""
    task, evidence = measured(300, 3, 100, 60, 0.5)

    def foreseen(seconds: float) -> float:
        candidate = SimpleNamespace(evidence=lambda _: evidence)
        Candidate.foresee(candidate, task, Budget(seconds=seconds))  # type: ignore[arg-type]
        return candidate.tuned

    found = [foreseen(seconds) for seconds in np.geomspace(1, 4000, 100)]  # by 9 % each
    assert (found[0], found[-1]) == (0.0, 1.0)
    assert max(abs(np.diff(found))) < 0.15
