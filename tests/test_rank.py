"""How candidates are compared when time is short: fewer examples first, and on all of them only what fits."""

from types import SimpleNamespace
from typing import Any

import pytest

from graft.core.nouns import Backbone, Evidence
from graft.rank import _affordable, _best_first, _cheapest_first, _lost, _rounds, _standing, _weighed


def task(count: int, outputs: int = 3) -> Any:
    return SimpleNamespace(train=range(count), outputs=tuple(map(str, range(outputs))))


def candidate(seconds: float, probe: float = 0.8, used: int = 0, accuracy: float | None = None) -> Any:
    return SimpleNamespace(
        backbone=Backbone(f"probe {probe}", accuracy=accuracy), each=seconds, used=used, tuned=True,
        scores={"probe": probe}, curve=[SimpleNamespace(error=0.01)], speed=SimpleNamespace(stages=(seconds,)),
    )  # fmt: skip


def test_one_round_where_there_is_time() -> None:
    fast = [candidate(0.001) for _ in range(4)]
    assert _rounds(task(1000), fast, 10.0) == [1000]
    assert _rounds(task(1000), fast[:1], 0.1) == [1000]
    assert _rounds(task(300), fast, 0.1) == [300]  # too few to take fewer


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_the_first_round_takes_half_of_the_time_at_most(count: int) -> None:
    slow = [candidate(0.1 * (at + 1)) for at in range(count)]
    sizes = _rounds(task(5000), slow, 600.0)
    assert sizes[-1] == 5000
    assert sizes == sorted(sizes)
    assert len(sizes) == max(2, (count - 1).bit_length())
    assert 200 <= sizes[0] <= 2500
    assert sizes[0] == 200 or sizes[0] * sum(c.each for c in slow) <= 300.0


def test_only_the_first_is_measured_on_everything_whatever_it_costs() -> None:
    good, costly, cheap = candidate(0.05, 0.9, 200), candidate(0.4, 0.89, 200), candidate(0.001, 0.7, 200)
    assert _affordable(task(5000), [good, costly, cheap], 300.0) == [good, cheap]
    assert _affordable(task(5000), [costly, good, cheap], 1.0) == [costly]
    assert _cheapest_first([good, costly, cheap], "accuracy")[0] is good
    assert _cheapest_first([costly, good, cheap], "accuracy")[0] is good  # within two standard errors, and faster


def test_a_prior_decides_between_probes_that_say_the_same() -> None:
    slow, fast = candidate(0.4, 0.80, accuracy=80.0), candidate(0.001, 0.805, accuracy=60.0)
    for error in (0.001, 0.01, 0.05):
        for one in (slow, fast):
            one.curve[0].error = error
        assert _cheapest_first([fast, slow], "accuracy") == [slow, fast]
    fast.backbone = slow.backbone
    assert _cheapest_first([slow, fast], "accuracy")[0] is fast  # a tie still goes to the fastest
    slow.each = 1.1 * fast.each
    assert _cheapest_first([slow, fast], "accuracy")[0] is _best_first([slow, fast], "accuracy")[0]  # but not by a hair


def test_sentences_name_the_prior_the_probe_and_what_came_of_both() -> None:
    one, two = candidate(0.1, 0.92, accuracy=70.0), candidate(0.1, 0.8, accuracy=78.0)
    said = _weighed([one, two], _standing([one, two], "accuracy"), "probe 0.92")
    assert said == (
        "By the prior, published accuracies, probe 0.8 would be first; by the probe, probe 0.92. "
        "For probe 0.92 the prior counts 61% and the probe 39%: together they prefer it."
    )
    one.tuned = two.tuned = False
    assert "prior counts 2% and the probe 98%, since no more than a head would be" in _weighed(
        [one, two], _standing([one, two], "accuracy"), "probe 0.92"
    )
    one.backbone = Backbone("probe 0.92")
    assert _weighed([one, two], _standing([one, two], "accuracy"), "probe 0.92").startswith("No prior")


@pytest.mark.parametrize(
    ("chosen", "static", "says"),
    [(0.0, 0.05, "5.0 points."), (0.02, 0.02, "as well without measuring."), (0.03, 0.01, "chosen better.")],
)
def test_regret_is_told_in_points_and_static_is_said_to_win(chosen: float, static: float, says: str) -> None:
    best = Evidence(Backbone("a", accuracy=70.0), {"probe": 0.9}, n_used=200)
    listed = Evidence(Backbone("b", accuracy=75.0), {"probe": 0.9 - static}, n_used=200)
    said = " ".join(_lost({"chosen": chosen, "static": static, "random": 0.1}, listed, best, "accuracy"))
    assert "a choice at random 10.0 points" in said
    assert "(b with 75.0 %)" in said
    assert said.endswith(says)
