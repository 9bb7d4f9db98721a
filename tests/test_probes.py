"""Short measurements: bytes by hand, cosines by formula, and nothing about the network changes while it is measured."""

import numpy as np
import torch
from torch import nn

from graft.core.nouns import Form
from graft.model.chain import Chain
from graft.model.modes import precision
from graft.model.probes import centred_cosine, choose_form, choose_training, saved_bytes, stage_seconds


def small() -> Chain:
    network = nn.Sequential()
    for name, module in (
        ("a", nn.Sequential(nn.Linear(8, 16), nn.Tanh())),
        ("b", nn.Sequential(nn.Linear(16, 4), nn.Tanh())),
        ("head", nn.Linear(4, 3)),
    ):
        network.add_module(name, module)
    return Chain(network, {"input": torch.randn(6, 8)}, main="input")


def test_what_training_keeps_is_counted_by_stage() -> None:
    """A linear layer keeps its input, tanh its output: the cuts fall behind each of them, and nothing counts twice."""
    chain = small()
    by_hand = {"a.0": 8, "a": 16, "b.0": 0, "b": 4}  # what is new at each: the input of b.0 is the output of a
    wanted, counted = [], 0
    for name, count in by_hand.items():
        counted += 4 * count
        if name in [cut.name for cut in chain.stages]:
            wanted.append(counted)
            counted = 0
    assert not counted
    assert saved_bytes(chain) == wanted


def test_measuring_changes_nothing() -> None:
    chain = small()
    chain.freeze(["head"])
    asks = {name: p.requires_grad for name, p in chain.network.named_parameters()}
    before = {name: p.clone() for name, p in chain.network.named_parameters()}
    inputs, targets = {"input": torch.randn(6, 8)}, torch.arange(6) % 3
    saved_bytes(chain)
    choose_form(chain, inputs, Form())
    seconds, dtype = choose_training(chain, inputs, targets)
    assert seconds > 0
    assert dtype in ("float32", "bfloat16")
    assert all(taken > 0 for taken in stage_seconds(chain.split(len(chain.stages))[0], inputs))
    assert asks == {name: p.requires_grad for name, p in chain.network.named_parameters()}
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in chain.network.named_parameters())


def test_a_cosine_without_the_common_mean() -> None:
    rng = np.random.default_rng(0)
    a = torch.from_numpy(rng.normal(size=(50, 20)))
    assert abs(centred_cosine(a, a) - 1) < 1e-9
    other = torch.from_numpy(rng.normal(size=(50, 20)))
    shared = 1000.0  # beside it, any two look alike
    assert torch.nn.functional.cosine_similarity(a + shared, other + shared).min() > 0.999
    assert centred_cosine(a + shared, other + shared) < 0.5


def test_float32_has_all_its_bits_on_a_gpu() -> None:
    place = torch.backends.cudnn
    assert place.allow_tf32  # as torch comes
    with precision("float32", "cuda:0"):
        assert not place.allow_tf32
    assert place.allow_tf32
    with precision("float32", "cpu"):
        assert place.allow_tf32
