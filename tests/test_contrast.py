"""Contrastive tuning: the loss by its formula, batches of pairs, and a strategy that ends in the exact head."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.adapt import adapt
from graft.build import build
from graft.core.errors import PlanError
from graft.core.nouns import Budget, Phase, Plan
from graft.load import load
from graft.model import contrast
from graft.plan import check, plan
from graft.rank import rank
from graft.sources import tiny


def by_hand(vectors: np.ndarray, y: list[int], temperature: float) -> float:
    """Khosla et al. (2020), equation 2, written out: anchors without another of their class are left out."""
    z = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    terms = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        whole = sum(math.exp(z[i] @ z[a] / temperature) for a in others)
        friends = [p for p in others if y[p] == y[i]]
        if friends:
            terms.append(-sum(math.log(math.exp(z[i] @ z[p] / temperature) / whole) for p in friends) / len(friends))
    return float(np.mean(terms))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_is_the_formula(temperature: float) -> None:
    vectors, y = np.random.default_rng(0).normal(size=(7, 5)), [0, 1, 0, 2, 1, 0, 3]
    found = contrast.loss(torch.from_numpy(vectors).float(), torch.tensor(y), temperature)
    assert found.item() == pytest.approx(by_hand(vectors, y, temperature), rel=1e-5)


def test_the_loss_pulls_together_and_knows_its_least() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    together, apart = (contrast.loss(vectors, torch.tensor(y)).item() for y in ([0, 0, 1, 1], [0, 1, 0, 1]))
    assert together == pytest.approx(math.log(1 + 2 * math.exp(-1 / contrast.TEMPERATURE)), abs=1e-6)
    assert apart > together + 5


def test_an_example_alone_in_its_class_changes_nothing_and_breaks_nothing() -> None:
    vectors = torch.randn(3, 4, requires_grad=True)
    loss = contrast.loss(vectors, torch.tensor([0, 1, 2]))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(vectors.grad, torch.zeros(3, 4))


def test_pairs_of_a_class_stand_side_by_side() -> None:
    y = np.array([0] * 7 + [1] * 4 + [2])
    order = contrast.order(y, 3)
    assert sorted(order) == list(range(12))
    assert (order != contrast.order(y, 4)).any()
    assert (order == contrast.order(y, 3)).all()
    beside = [y[a] == y[b] for a, b in pairwise(order)]
    assert sum(beside) >= 5  # three pairs of the first class and two of the second, at least


def test_nearest_names_the_class_that_points_the_same_way() -> None:
    known, y = np.array([[2.0, 0.1], [5.0, -0.1], [0.1, 3.0]]), np.array([0, 0, 1])
    logits = contrast.nearest(known, y, np.array([[9.0, 1.0], [1.0, 9.0]]), 2)
    assert logits.argmax(1).tolist() == [0, 1]


def test_the_strategy_ends_in_the_exact_head_and_repeats_itself(tiny_home: Path, photos: Path) -> None:
    task = load(photos)
    evidence = rank(task, ["tiny/shapes"], Budget(seconds=60))[0]
    made = plan(task, evidence, "contrastive", Budget(seconds=60))
    assert [phase.objective for phase in made.phases] == ["contrastive", "head"]
    assert made.phases[1].solver == "exact"
    faster = replace(made.phases[0], lr=1e-3)  # what suits a sentence encoder hardly moves so small a network
    run = adapt(task, replace(made, phases=(faster, made.phases[1])), seed=3)
    tuned = [epoch for epoch in run.history if epoch.phase == 0 and epoch.epoch]
    assert tuned[-1].val_loss < tuned[0].val_loss - 0.01
    start, _ = build(tiny.find("shapes"), "classification", 3, seed=3)
    from safetensors.torch import load_file

    assert not torch.equal(load_file(run.weights)["backbone.stage3.0.weight"], start.network.backbone.stage3[0].weight)


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (Phase(("head", "stages[0:]"), objective="contrastive", steps=3), "does not see the head"),
        (Phase(("stages[0:]",), objective="contrast", steps=3), "no objective 'contrast'"),
    ],
)
def test_plans_that_cannot_be_carried_out_say_why(tiny_home: Path, phase: Phase, words: str) -> None:
    chain, _ = build(tiny.find("shapes"), "classification", 3)
    with pytest.raises(PlanError, match=words):
        check(Plan(tiny.find("shapes"), "classification", "own", (phase,)), chain)


def test_quantities_have_no_classes_to_pull_together(tiny_home: Path) -> None:
    chain, _ = build(tiny.find("shapes"), "regression", 1)
    phase = Phase(("stages[0:]",), objective="contrastive", steps=3)
    with pytest.raises(PlanError, match="one class for each example"):
        check(Plan(tiny.find("shapes"), "regression", "own", (phase,)), chain)
