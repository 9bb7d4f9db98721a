"""The optimiser beside torch's own."""

import subprocess
import sys

import pytest
import torch

from graft.model.adamw import AdamW


def parameters() -> list[torch.nn.Parameter]:
    draw = torch.Generator().manual_seed(0)
    shapes = (8, 3, 3, 3), (8,), (5, 8), (5,), (4, 4)
    made = [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes]
    made[0].data = made[0].data.to(memory_format=torch.channels_last)
    return made


def grouped(made: list[torch.nn.Parameter]) -> list[dict]:
    return [
        {"params": made[:2], "lr": 0.01, "weight_decay": 0.05},
        {"params": made[2:], "lr": 0.1, "weight_decay": 0.0},
    ]


def walked(engine: object, made: list[torch.nn.Parameter], steps: range) -> None:
    """Steps along gradients that only the step's number sets; the last parameter never has one, another one later."""
    for step in steps:
        engine.zero_grad()
        assert all(parameter.grad is None for parameter in made)
        draw = torch.Generator().manual_seed(step)
        for parameter in made[: 3 if step < 2 else 4]:
            parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=draw))
        for group in engine.param_groups:
            group["lr"] *= 0.9
        engine.step()


def test_every_step_is_torchs_to_the_bit() -> None:
    ours, theirs = parameters(), parameters()
    walked(AdamW(grouped(ours)), ours, range(6))
    walked(torch.optim.AdamW(grouped(theirs), fused=True), theirs, range(6))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert [torch.equal(a, b) for a, b in zip(ours, parameters(), strict=True)] == [False] * 4 + [True]


@pytest.mark.parametrize("cut", [1, 3])
def test_it_goes_on_from_its_state(cut: int) -> None:
    whole, broken = parameters(), parameters()
    walked(AdamW(grouped(whole)), whole, range(6))
    first, second = AdamW(grouped(broken)), AdamW(grouped(broken))
    walked(first, broken, range(cut))
    second.load({name: tensor.clone().contiguous() for name, tensor in first.state().items()})
    for new, old in zip(second.param_groups, first.param_groups, strict=True):
        new["lr"] = old["lr"]
    walked(second, broken, range(cut, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole, broken, strict=True))


def test_what_joins_learns_too() -> None:
    made = parameters()
    engine = AdamW(grouped(made)[:1])
    engine.add_param_group(grouped(made)[1])
    walked(engine, made, range(6))
    beside = parameters()
    walked(AdamW(grouped(beside)), beside, range(6))
    assert all(torch.equal(a, b) for a, b in zip(made, beside, strict=True))


def test_it_does_not_load_the_compiler() -> None:
    code = """
import sys, torch
from graft.model.adamw import AdamW
x = torch.nn.Parameter(torch.ones(3))
engine = AdamW([{"params": [x], "lr": 0.1, "weight_decay": 0.0}])
(x**2).sum().backward()
engine.step()
assert float(x[0]) < 1
assert not {"torch._dynamo", "torch._inductor", "sympy"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
