"""Adapters: the identity at birth, a boundary that follows them, caching that changes nothing, and a merge."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import graft
from graft.build import build
from graft.core.errors import PlanError
from graft.core.nouns import Budget, Form, Phase, Plan
from graft.core.shelf import function, names, take
from graft.features import features
from graft.learners.supervised import optimiser, unreached
from graft.model.adapters import insert, merge
from graft.model.chain import Chain
from test_identity import COUNT, Head, Table, bert, order, vision

ONE = "tiny/shapes"
NETWORKS = ("tiny/shapes", "tiny/phrases", "tiny/sounds", "tiny/cells")


def put(chain: Chain, name: str, selectors: tuple[str, ...], seed: int = 0) -> list[str]:
    return insert(chain, take("adapters", name).fits, function("adapters", name), selectors, seed)


def answers(chain: Chain) -> torch.Tensor:
    with torch.no_grad():
        return chain.network.eval()(**chain.example)


def opened(name: str) -> Chain:
    """A network with its chain: one that is built in, a vision network of timm or a BERT, of random weights."""
    if name in NETWORKS:
        return build(graft.find(name), "classification", 3)[0]
    network, inputs = bert() if name == "bert" else vision(name)
    return Chain(network, {n: value[:2] for n, value in inputs.items()})


def stirred(chain: Chain) -> None:
    """Every adapter away from where it was born."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in chain.network.named_parameters():
            if name in chain.inserted:
                parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize("adapter", names("adapters"))
@pytest.mark.parametrize("name", [*NETWORKS, "resnet18", "mobilenetv3_small_100", "bert"])
def test_born_as_the_identity_and_merged_into_what_it_computes(tiny_home: Path, adapter: str, name: str) -> None:
    promises(opened(name), adapter)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "minilm"])
def test_published_networks_take_them(weights_home: Path, name: str) -> None:
    promises(build(graft.find(f"package/{name}"), "classification", 3)[0], "lora")


def promises(chain: Chain, adapter: str) -> None:
    """Every promise of an adapter, kept in the last two stages of a network."""
    before, whole = answers(chain), {n: p.clone() for n, p in chain.network.state_dict().items()}
    stages, depth = chain.stages, len(chain.stages)
    selectors = ("head", f"stages[{depth - 2}:]")
    left = put(chain, adapter, selectors)
    assert chain.freeze(selectors) == depth - 2, "the boundary is not where the adapters begin"
    assert torch.equal(answers(chain), before)
    assert chain.exact(chain.stages[depth - 3])
    assert all(layer.groups > 1 for n in left if isinstance(layer := chain.network.get_submodule(n), nn.Conv2d))
    learning = {n: p for n, p in chain.network.named_parameters() if p.requires_grad}
    assert {n for n in learning if not n.startswith("head.")} == chain.inserted
    assert not unreached(chain, learning)
    weights = sum(p.numel() for n, p in chain.network.named_parameters() if n in chain.stages[-1].parameters)
    assert sum(p.numel() for n, p in learning.items() if n in chain.inserted) < 0.2 * weights
    stirred(chain)
    moved = answers(chain)
    assert (moved - before).abs().max() > 1e-3
    merge(chain)
    assert chain.network.state_dict().keys() == whole.keys()
    assert chain.stages == stages
    assert chain.inserted == frozenset()
    assert (answers(chain) - moved).abs().max() < 1e-5 * max(1, moved.abs().max())
    changed = {n for n, value in chain.network.state_dict().items() if not torch.equal(value, whole[n])}
    assert changed
    assert changed <= chain.stages[-1].parameters - chain.stages[depth - 3].parameters


def test_low_rank_is_what_is_added(tiny_home: Path) -> None:
    """W after merging is W before + α / r · B A: for a layer 1 × 1 and one 3 × 3, by an einsum of our own."""
    shelf, chain = take("adapters", "lora"), opened("tiny/shapes")
    before = {n: p.clone() for n, p in chain.network.state_dict().items()}
    put(chain, "lora", ("stages[3:]",))
    stirred(chain)
    state = {n: p.clone() for n, p in chain.network.named_parameters()}
    (name,) = (n.removesuffix(".lora_A.default.weight") for n in state if n.endswith("lora_A.default.weight"))
    down, up = state[f"{name}.lora_A.default.weight"], state[f"{name}.lora_B.default.weight"]
    assert down.shape[0] == up.shape[1] == shelf.RANK
    want = before[f"{name}.weight"] + shelf.ALPHA / shelf.RANK * torch.einsum("or,rihw->oihw", up[..., 0, 0], down)
    merge(chain)
    after = chain.network.state_dict()[f"{name}.weight"]
    torch.testing.assert_close(after, want, rtol=1e-5, atol=1e-6)
    rank = torch.linalg.matrix_rank((after - before[f"{name}.weight"]).flatten(1).double(), rtol=1e-4)
    assert rank <= shelf.RANK


def test_layers_that_cannot_be_merged_are_left_alone() -> None:
    fits = take("adapters", "lora").fits

    class Standardised(nn.Conv2d):
        """Works on its weights before it uses them."""

    assert fits(nn.Conv2d(4, 4, 3))
    assert fits(nn.Linear(4, 4))
    others = (
        nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3, dilation=2), nn.Conv2d(4, 4, 3, padding_mode="reflect"),
        Standardised(4, 4, 3), nn.Embedding(4, 4),
    )  # fmt: skip
    assert not any(fits(layer) for layer in others)


def test_weights_that_are_shared_or_read_past_their_layer_take_none() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three, self.four = (nn.Linear(6, 6) for _ in range(4))
            self.three.weight = self.one.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.three(torch.relu(self.one(x))))
            return torch.relu(self.four(nn.functional.linear(x, self.two.weight, self.two.bias)))

    chain = Chain(Head(Odd(), 6), {"x": torch.randn(2, 6)})
    every = f"stages[0:{len(chain.stages)}]"
    left = put(chain, "lora", ("head", every))
    assert set(left) == {f"{chain.stages[0].name.split('.')[0]}.{name}" for name in ("one", "two", "three")}
    merge(chain)
    with pytest.raises(PlanError, match="takes this adapter"):
        put(chain, "lora", ("stages[0]",))


@pytest.mark.parametrize("name", ["resnet18", "bert", "convnext_atto"])
def test_training_through_the_cache_is_training_on_every_batch(name: str, home: Path) -> None:
    """LoRA in the last stages: from stored features, and with the prefix run on every batch: the same bits."""
    network, inputs = bert() if name == "bert" else vision(name)
    data, outcomes = Table(inputs), []
    start = {n: value.clone() for n, value in network.state_dict().items()}
    for stored in (True, False):
        chain = Chain(network, {n: value[:2] for n, value in inputs.items()})
        network.load_state_dict(start)
        phase = Phase(("head", f"stages[{len(chain.stages) - 2}:]"), adapter="lora", lr=1e-2, backbone_lr=1.0)
        put(chain, "lora", phase.train)
        chain.freeze(phase.train)
        prefix, rest = chain.split(form=Form(batch=8))
        engine, idle = optimiser(chain, phase)
        assert not idle
        dataset = features(prefix, data, views=3, stored=stored)
        torch.manual_seed(7)
        for rows, which in order(3):
            batch = dataset.map(dataset.read(rows, which))
            rest.train(batch_stats=False)
            beside = {n: v for n, v in data.read(rows, which).items() if n in chain.example and n != "x"}
            loss = nn.functional.cross_entropy(rest({**beside, **batch}), batch["y"])
            engine.zero_grad()
            loss.backward()
            engine.step()
        merge(chain)
        outcomes.append({n: value.clone() for n, value in network.state_dict().items()})
    cached, plain = outcomes
    assert all(torch.equal(cached[n], plain[n]) for n in start)
    assert sum(not torch.equal(cached[n], start[n]) for n in start if not n.startswith("head")) > 1
    assert len(data) == COUNT


def through(steps: int = 40, **more: object) -> Plan:
    phases = (Phase(("head",), solver="exact"), Phase(("head", "stages[2:]"), adapter="lora", steps=steps, **more))
    return Plan(graft.find(ONE), "classification", "by hand", phases)


def test_a_run_with_an_adapter_is_a_run_like_any_other(tiny_home: Path, photos: Path, tmp_path: Path) -> None:
    """Its weights load by the backbone's own names, answer as it did, start another run, and ship."""
    task = graft.load(photos)
    plan = through(lr=3e-3, backbone_lr=1.0, patience=100)
    run = graft.adapt(task, plan)
    chain, _ = build(plan.backbone, "classification", 3)
    before, after = chain.network.state_dict(), load_file(run.weights)
    assert before.keys() == after.keys()
    moved = {n for n in after if not torch.equal(before[n], after[n])}
    convolutions = {n for n in after if n.startswith(("backbone.stage2", "backbone.stage3")) and after[n].ndim == 4}
    assert moved == {"head.weight", "head.bias"} | convolutions, "norms and what is frozen must stay"
    from graft.adapt import logits

    said, y = logits(task, run, task.val)
    assert np.mean(said.argmax(1) == y) == pytest.approx(run.score)
    again, loading = build(graft.find(f"checkpoint/{run.key}"), "classification", 3)
    assert not loading.missing
    state = again.network.state_dict()
    assert all(torch.equal(state[n], after[n]) for n in after if n.startswith("backbone"))
    report = graft.verify(task, replace(run, notes=("How it came about.",)), Budget(seconds=5, firm=False))
    assert "How it came about." in report.notes
    shipped = replace(report, ships="adapted")
    assert graft.export(task, run, shipped, tmp_path / "model").parity <= 1e-4


def killed_plan() -> Plan:
    return through(100_000, lr=1e-3, backbone_lr=1.0, patience=30, views=2)


def test_a_run_killed_while_an_adapter_learns_goes_on(tiny_home: Path, photos: Path, tmp_path, monkeypatch) -> None:
    from graft.model.checkpoints import Saved

    code = (
        "import sys, graft, graft.adapt\n"
        "sys.modules['graft.adapt'].EVERY = 0.0\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from test_adapters import killed_plan\n"
        "graft.adapt(graft.load(sys.argv[1]), killed_plan(), seed=3)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(photos), str(Path(__file__).parent)])
    place, deadline = Path(os.environ["GRAFT_HOME"]) / "runs", time.monotonic() + 100
    key = sys.modules["graft.adapt"].run_key(graft.load(photos), killed_plan(), 3)
    while time.monotonic() < deadline and process.poll() is None:
        if (saved := Saved.read(place / key)) and saved.progress.epoch >= 2:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any("lora_A" in name for name in saved.now), "it was not killed while the adapter learned"
    assert not (place / key / "run.json").exists()
    resumed = graft.adapt(graft.load(photos), killed_plan(), seed=3)
    (empty := tmp_path / "home" / "weights").mkdir(parents=True)
    for file in (Path(os.environ["GRAFT_HOME"]) / "weights").iterdir():
        os.link(file, empty / file.name)
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    whole = graft.adapt(graft.load(photos), killed_plan(), seed=3)
    one, other = load_file(resumed.weights), load_file(whole.weights)
    assert whole.weights != resumed.weights
    assert all(torch.equal(one[n], other[n]) for n in one)


def test_faults_of_adapters_are_said(tiny_home: Path, photos: Path) -> None:
    task, odd = (
        graft.load(photos),
        (Phase(("head",), adapter="lorra", steps=5), Phase(("head",), adapter="lora", steps=5)),
    )
    with pytest.raises(PlanError) as caught:
        graft.adapt(task, Plan(graft.find(ONE), "classification", "x", odd))
    for words in ("no 'lorra'", "lora", "stands in no stage"):
        assert words in str(caught.value)
