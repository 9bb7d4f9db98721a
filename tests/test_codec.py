"""Nouns to JSON and back: nothing is lost, and what a person wrote wrongly is named, all of it at once."""

import json
import math

import pytest

import graft
from graft.core.codec import from_json, to_json
from graft.core.errors import PlanError
from graft.core.nouns import Budget, Epoch, Part, Phase, Plan


def test_every_fault_of_a_noun_is_named() -> None:
    with pytest.raises(PlanError) as caught:
        from_json(Phase, '{"setps": 5, "learning_rate": 1, "lr": 0.1}')
    for words in ("'setps'", "Did you mean steps", "'learning_rate'", "lacks train"):
        assert words in str(caught.value)


def test_faults_within_are_named_with_those_around() -> None:
    phase = '{"train": ["head"], "stepz": 1, "lr": "fast"}'
    with pytest.raises(PlanError) as caught:
        from_json(Plan, f'{{"head": 1, "strategy": "x", "phases": [{phase}, {{"trian": []}}], "backbone": {{}}}}')
    for words in (
        "Plan.head",
        "phases[0] has no field 'stepz'",
        "phases[0].lr",
        "phases[1] lacks train",
        "backbone lacks id",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not the JSON of a Phase"),
        ("[]", "must be an object"),
        ('{"train": "head"}', "train must be a list"),
        ('{"train": [1]}', r"train\[0\] must be a text"),
        ('{"train": ["head"], "steps": "many"}', "steps must be a whole number"),
        ('{"train": ["head"], "steps": true}', "steps must be a whole number"),
        ('{"train": ["head"], "stored": 1}', "stored must be true or false"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(text: str, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        from_json(Phase, text)


def test_what_json_cannot_say_survives() -> None:
    part = Part(("caf\udce9.jpg", "ünï.jpg"), (0, 1), ("", ""))
    assert from_json(Part, to_json(part)) == part
    epoch = Epoch(0, 0, 0, math.nan, math.inf, 0.5, 1, 0.0, 0.0)
    assert json.loads(to_json(epoch))["loss"] is None
    again = from_json(Epoch, to_json(epoch))
    assert math.isnan(again.loss)
    assert again.val_score == 1.0


@pytest.mark.parametrize("asked", [{"seconds": -1}, {"seconds": 0}, {"seconds": float("nan")}, {"bytes": -1}])
def test_a_budget_that_allows_nothing_is_refused(asked: dict[str, float]) -> None:
    with pytest.raises(PlanError, match="allows nothing: give more"):
        Budget(**asked)  # type: ignore[arg-type]


def test_a_budget_that_is_no_number_is_refused() -> None:
    with pytest.raises(PlanError, match="seconds are a number, 300 for five minutes; not '5m'"):
        Budget(seconds="5m")
    for verb in (graft.rank, graft.plan, graft.verify, graft.search):
        with pytest.raises(PlanError, match=r"such as graft.Budget\(seconds=300\); not 5"):
            verb(None, None, budget=5)
