"""Shelves: what every file on a shelf owes to those who take it. A new file is tested by being there."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.build import build, examples
from graft.core.codec import from_json, to_json
from graft.core.costs import OPENING, seconds
from graft.core.nouns import Audit, Backbone, Budget, Evidence, Form, Part, Phase, Plan, Sealed, StageProbe, Task
from graft.core.phases import FEWEST_STEPS, LONGEST, SHARE, deepest
from graft.core.shelf import names, take
from graft.load import load
from graft.modalities import image
from graft.model.chain import Chain
from graft.model.prefix import Prefix
from graft.plan import plan
from graft.sources import package, tiny

# ── sources ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def resumes(backbone: Backbone) -> Chain:
    """Every promise of a source, kept for one backbone."""
    source = take("sources", backbone.id.split("/")[0])
    net, loading = source.open(backbone)
    assert (loading.missing, loading.shape) == ((), ())
    assert loading.matched
    assert not any(module.training for module in net.modules())
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == backbone.params or (backbone.family == "whisper" and count < backbone.params)  # fewer positions
    assert source.find(backbone.id.partition("/")[2]) == backbone
    assert from_json(Backbone, to_json(backbone)) == backbone
    chain, again = build(backbone, "classification", 3)
    assert again == loading
    assert chain.cuts
    with torch.no_grad():
        whole = chain.network(**chain.example)
        found = Prefix(chain, chain.cuts[-1], Form()).outputs(chain.example, chain.cuts)
        assert all(chain.exact(cut, whole, found[cut.name]) for cut in chain.cuts)
        beside = {name: value for name, value in chain.example.items() if name != "x"}
        features = chain.network.backbone(chain.network.front(chain.example["x"]), **beside)
    assert features.shape == (2, chain.network.head.in_features)
    assert torch.isfinite(features).all()
    return chain


@pytest.mark.parametrize("name", tiny.VARIANTS)
def test_tiny_resumes_at_every_cut(tiny_home: Path, name: str) -> None:
    chain = resumes(tiny.find(name))
    assert len(chain.stages) == 4
    assert all(chain.stage_parameters(index) for index in range(4))


def test_weights_that_are_missing_are_said_aloud(tiny_home: Path, tmp_path: Path, caplog) -> None:
    from safetensors.torch import save_file

    net, _ = tiny.open(tiny.find("shapes"))
    state = dict(net.state_dict())
    gone = sorted(name for name in state if name.endswith("weight"))[0]
    del state[gone]
    save_file(state, tmp_path / "part.safetensors")
    _, loading = build(
        take("sources", "checkpoint").find(f"tiny/shapes@{tmp_path / 'part.safetensors'}"), "classification", 2
    )
    assert loading.missing == (gone,)
    assert f"1 of its {loading.matched + 1} tensors are not in the weights" in caplog.text
    assert gone in caplog.text


@pytest.mark.weights
@pytest.mark.parametrize("name", package.CATALOGUE)
def test_packages_resume_at_every_cut(weights_home: Path, name: str) -> None:
    resumes(package.find(name))


# ── strategies ────────────────────────────────────────────────────────────────────────────────────────────────────────

STAGES = [("backbone.stage0", 2e-4, 65536), ("backbone.stage1", 3e-4, 32768), ("backbone.stage2", 3e-4, 16384)]
STAGES += [("backbone", 4e-4, 512)]  # name, seconds and bytes of one example
SIZES = [(6, 2, 3), (40, 2, 20), (300, 3, 5), (2000, 10, 200), (20000, 100, 150)]  # examples, classes, of the rarest


def measured(n: int, classes: int, rarest: int, slow: float, score: float) -> tuple[Task, Evidence]:
    """A task of n training examples, and evidence of a backbone that is `slow` times slower than the tiny one."""
    part = Part(tuple(map(str, range(n))), tuple(i % classes for i in range(n)), tuple(f"{i:032x}" for i in range(n)))
    few = part.select(range(max(classes, n // 5)))
    labels = tuple(f"class {index}" for index in range(classes))
    task = Task("made", "image", "classification", labels, "accuracy", {}, part, few, Sealed(few), 0, Audit(), "0" * 32)
    curve = tuple(
        StageProbe(name, score * (index + 1) / len(STAGES), 0.02, slow * cost, size)
        for index, (name, cost, size) in enumerate(STAGES)
    )
    whole = sum(stage.seconds for stage in curve)
    evidence = Evidence(
        tiny.find("shapes"), {"probe": score}, curve, n_train=n, n_used=min(n, 2000), per_class=rarest,
        prepare_seconds=2e-3, train_seconds=3 * whole, views=(4, 2),
    )  # fmt: skip
    return task, evidence


@pytest.mark.parametrize("name", names("strategies"))
def test_strategies(name: str) -> None:
    for size, slow, score, limit in itertools.product(SIZES, (1, 100), (0.5, 0.999), (5.0, 60.0, 600.0, 7200.0)):
        task, evidence = measured(*size, slow, score)
        budget = Budget(seconds=limit)
        made = plan(task, evidence, name, budget)
        told = f"{name} on {size[0]} examples, {slow}× slower, {limit:.0f} s: {made}"
        assert from_json(Plan, to_json(made)) == made, told
        assert made == plan(task, evidence, name, budget), told
        assert made.head == "classification", told
        assert made.phases, told
        assert made.why, told
        assert math.isfinite(made.seconds), told
        assert made.store_bytes <= budget.bytes, told
        assert len(made.boundaries) == len(made.every), told
        least = seconds(task, evidence, tuple(_least(phase) for phase in made.every))
        again = OPENING * len(made.alternatives)
        assert made.seconds <= max(SHARE * limit, least) * 1.001 + again, told


def _least(phase: Phase) -> Phase:
    """The phase as short as it may be: what a person who names the strategy has to grant."""
    return phase if phase.solver == "exact" else replace(phase, steps=min(phase.steps, FEWEST_STEPS))


@pytest.mark.parametrize("name", names("strategies"))
def test_boundaries_are_the_networks_own(tiny_home: Path, name: str) -> None:
    chain, _ = build(tiny.find("shapes"), "classification", 3)
    task, evidence = measured(300, 3, 100, 1, 0.5)
    probe = evidence.stage_curve[0]
    curve = tuple(replace(probe, stage=stage.name, score=0.5) for stage in chain.stages)
    made = plan(task, replace(evidence, stage_curve=curve), name)
    assert made.stages == tuple(stage.name for stage in chain.stages)
    assert made.boundaries == tuple(chain.freeze(phase.train) for phase in made.every)


def test_auto_keeps_its_budget_whatever_it_is_given() -> None:
    """The share set aside for it; half of the whole where that does not reach the last stage."""
    for size, slow, limit in itertools.product(SIZES, (1, 10, 100), (5.0, 60.0, 600.0)):
        (task, evidence), budget = measured(*size, slow, 0.5), Budget(seconds=limit)
        made = plan(task, evidence, "auto", budget)
        most = LONGEST if deepest(task, evidence, budget) is None else SHARE
        assert made.strategy == "linear_probe" or made.seconds <= most * limit, made


# ── heads ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_classification() -> None:
    shelf, rng = take("heads", "classification"), np.random.default_rng(0)
    layer, outputs = shelf.head(16, 5), ("a", "b", "c", "d", "e")
    features, targets = torch.randn(20, 16), torch.arange(20) % 5
    for weights, smoothing in ((None, 0.0), (torch.rand(5) + 0.1, 0.1)):
        layer.zero_grad()
        logits = layer(features)
        assert logits.shape == (20, 5)
        loss = shelf.loss(logits, targets, weights, smoothing)
        loss.backward()
        assert loss.shape == ()
        assert loss.item() > 0
        assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in layer.parameters())
    perfect = np.eye(5, dtype=np.float32)[targets] * 9
    assert shelf.loss(torch.from_numpy(perfect), targets).item() < loss.item()
    for metric in shelf.METRICS:
        assert shelf.metric(perfect, targets.numpy(), metric) == 1.0
        assert shelf.metric(-perfect, targets.numpy(), metric) == 0.0
        assert 0 <= shelf.metric(rng.normal(size=(20, 5)), targets.numpy(), metric) <= 1
    for logits in (rng.normal(size=(50, 5)), rng.normal(size=(50, 5)) * 1e4, np.zeros((1, 5))):
        for row in logits:
            told = shelf.answer(row, outputs)
            assert told["label"] == outputs[row.argmax()]
            assert told["probability"] == told["probabilities"][told["label"]] == max(told["probabilities"].values())
            assert list(told["probabilities"]) == list(outputs)
            assert sum(told["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_balanced_accuracy_counts_every_class_alike() -> None:
    shelf = take("heads", "classification")
    targets, guesses = np.array([0] * 9 + [1]), np.eye(2)[[0] * 10]
    assert shelf.metric(guesses, targets, "accuracy") == pytest.approx(0.9)
    assert shelf.metric(guesses, targets, "balanced_accuracy") == pytest.approx(0.5)


# ── modalities ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_photos_are_prepared_alike_however_they_come(photos: Path) -> None:
    spec = image.parse(tiny.find("shapes").input)
    shape = {key: (value.shape[1:], value.dtype) for key, value in image.example(spec, 2, generator(0)).items()}
    assert same(image.example(spec, 2, generator(0)), image.example(spec, 2, generator(0)))
    for path in sorted(photos.rglob("*.jpg"))[::7]:
        for given in (None, spec):
            example = image.decode(path, input=given)
            plain = image.prepare(example, spec)
            assert {key: (value.shape, value.dtype) for key, value in plain.items()} == shape
            assert same(plain, image.prepare(image.decode(path.read_bytes(), input=given), spec))
            assert same(plain, image.prepare(image.decode(str(path), input=given), spec))
            varied = image.vary(example, spec, generator(1))
            assert {key: (value.shape, value.dtype) for key, value in varied.items()} == shape
            assert same(varied, image.vary(example, spec, generator(1)))
            assert not same(varied, image.vary(example, spec, generator(2)))
            assert same(plain, image.prepare(example, spec)), "varying or preparing must leave the example as it was"


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


# ── formats ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", names("formats"))
def test_formats_agree_with_torch_at_any_batch_size(tiny_home: Path, tmp_path: Path, name: str) -> None:
    shelf, (chain, _) = take("formats", name), build(tiny.find("shapes"), "classification", 3)
    before = {key: value.clone() for key, value in chain.network.state_dict().items()}
    input = image.parse(tiny.find("shapes").input)
    free = {"x": image.schema(input)["x"]["shape"]}
    file, place = tmp_path / "model.onnx", tmp_path / "written"
    place.mkdir()
    if hasattr(shelf, "write"):
        shelf.write(chain.network, chain.example, place / shelf.FILES[0], free)
    else:
        take("formats", "onnx").write(chain.network, chain.example, file, free)
        shelf.convert(file, place / shelf.FILES[0], [image.example(input, 8, generator(8))])
    assert sorted(path.name for path in place.iterdir()) == sorted(shelf.FILES)
    run: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] = shelf.read(place / shelf.FILES[0])
    for rows in (1, 2, 7):
        x = image.example(input, rows, generator(rows))["x"]
        with torch.no_grad():
            want = chain.network(x=torch.from_numpy(x)).numpy()
        assert want.std() > 1e-2
        error = np.abs(run({"x": x})["logits"] - want)
        assert error.max() < (0.2 * np.abs(want).max() if hasattr(shelf, "BOUND") else 1e-4)
    assert all(torch.equal(value, before[key]) for key, value in chain.network.state_dict().items())


class Attends(torch.nn.Module):
    """A body that looks from every token at every other, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = torch.nn.Linear(6, 16), torch.nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, 6) → (B, 3)."""
        h = self.body(x)
        return self.head((torch.softmax(h @ h.mT, 2) @ h).mean(1))


@pytest.fixture(scope="module")
def attending(tmp_path_factory: pytest.TempPathFactory) -> tuple[Attends, Path]:
    """Such a network, and its ONNX file."""
    torch.manual_seed(0)
    network, file = Attends().eval(), tmp_path_factory.mktemp("attends") / "model.onnx"
    take("formats", "onnx").write(network, {"x": torch.randn(2, 5, 6)}, file, {"x": ["batch", "token", 6]})
    return network, file


@pytest.mark.parametrize("name", names("formats"))
def test_formats_agree_with_torch_at_any_length(attending: tuple[Attends, Path], tmp_path: Path, name: str) -> None:
    import onnx

    shelf, (network, file) = take("formats", name), attending
    place = tmp_path / shelf.FILES[0]
    if name == "onnx":
        place = file
    elif hasattr(shelf, "write"):
        shelf.write(network, {"x": torch.randn(2, 5, 6)}, place, {"x": ["batch", "token", 6]})
    else:
        shelf.convert(file, place, [])
    for size in ((1, 3), (4, 9)):
        x = torch.randn(*size, 6)
        with torch.no_grad():
            want = network(x).numpy()
        error = np.abs(shelf.read(place)({"x": x.numpy()})["logits"] - want).max()
        assert error < (0.2 * np.abs(want).max() if hasattr(shelf, "BOUND") else 1e-4)
    if name == "int8":
        assert "head.weight" in {one.name for one in onnx.load(place).graph.initializer}  # the head stays as it is


# ── learners ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", names("learners"))
@pytest.mark.parametrize("first", [0, 3])
def test_an_epoch_is_a_pure_function(tiny_home: Path, photos: Path, name: str, first: int) -> None:
    """Fitted twice, or half of it in another life: the same bits, whatever happened to torch's generator between."""
    from graft.features import features

    learner, task, backbone = take("learners", name), load(photos), tiny.find("shapes")
    train, val = (examples(task, part, backbone) for part in (task.train, task.val))
    phase = Phase(
        ("head", f"stages[{first}:]"),
        steps=3 * math.ceil(len(train) / 16),
        batch=16,
        views=0 if not first else 2,
        batch_stats=True,
    )
    objective = learner.Objective(take("heads", "classification"), "accuracy", None, 0.1)

    def fitted(broken: bool) -> tuple[dict[str, torch.Tensor], list[float]]:
        chain, _ = build(backbone, "classification", 3, seed=5)
        assert chain.freeze(phase.train) == first
        prefix, rest = chain.split()
        data = features(prefix, train, max(1, phase.views)), features(prefix, val)
        engine, idle = learner.optimiser(chain, phase)
        assert not idle
        epochs = []
        for epoch in learner.fit(rest, engine, *data, phase, objective, 5):
            epochs.append(epoch)
            torch.rand(7)
            if broken and epoch.epoch == 1:
                break
        if broken:
            epochs += learner.fit(rest, engine, *data, phase, objective, 5, start=2)
        assert [epoch.epoch for epoch in epochs] == [0, 1, 2, 3]
        return chain.network.state_dict(), [epoch.loss for epoch in epochs[1:]]

    start = build(backbone, "classification", 3, seed=5)[0].network.state_dict()
    (whole, losses), (again, same_losses), (broken, _) = fitted(False), fitted(False), fitted(True)
    assert losses == same_losses
    assert losses[-1] < losses[0]
    assert all(torch.equal(whole[key], again[key]) and torch.equal(whole[key], broken[key]) for key in whole)
    frozen = {key for key in whole if any(key.startswith(f"backbone.stage{index}.") for index in range(first))}
    assert {key for key in whole if torch.equal(whole[key], start[key])} == frozen
