"""Regularisers: each by its formula, on what it promises, and through runs that are repeated, killed and resumed."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from command import here
from graft.adapt import adapt, run_key
from graft.build import build
from graft.core import home
from graft.core.codec import from_json, to_json
from graft.core.errors import PlanError
from graft.core.nouns import Form, Phase, Plan, Run
from graft.core.shelf import names, take
from graft.load import load
from graft.model.chain import Chain
from graft.model.checkpoints import Saved
from graft.model.network import Network
from graft.model.terms import Seen, Terms
from graft.plan import explain, plan
from graft.rank import rank
from graft.regularized import parsed, regularized
from graft.sources import tiny

KINDS = ("penalty", "blend", "share", "settle")
TUNED = Phase(("head", "stages[2:]"), steps=24, batch=16, lr=3e-3, backbone_lr=1.0, views=2, patience=99)


def values(rows: int, columns: int) -> torch.Tensor:
    """F[i, j] = sin(1 + i D + j)."""
    return torch.sin(1 + torch.arange(rows * columns, dtype=torch.float64)).reshape(rows, columns)


# ── by their formulas ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", names("regularizers"))
def test_contract(name: str) -> None:
    file = take("regularizers", name)
    assert sum(hasattr(file, kind) for kind in KINDS) == 1
    assert file.STRENGTH > 0
    assert {*file.NEEDS} <= {"pretrained", "weights", "features", "stages", "target", "steady", "maps", "cached"}
    vectors = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    if hasattr(file, "penalty"):
        network = nn.ModuleDict({"backbone": nn.Linear(3, 4), "head": nn.Linear(4, 2)})
        origin = {n: p.detach() + 1 for n, p in network.named_parameters()}
        own = file.own(4) if hasattr(file, "own") else None
        seen = Seen(network, vectors, origin, {}, {"backbone": torch.zeros(6, 4) + 2})
        seen = replace(seen, target=torch.ones(5, 4), own=own, progress=0.5)
        term = file.penalty(seen)
        assert term.shape == ()
        assert term.item() > 0
        assert torch.isfinite(term)
        wanted = list(network.parameters()) if name == "l2_sp" else [vectors]
        assert all(g.abs().sum() > 0 for g in torch.autograd.grad(term, wanted))
    if hasattr(file, "blend"):
        x = torch.rand(6, 3, 8, 8)
        one, two = (file.blend(x, file.STRENGTH, np.random.default_rng(3)) for _ in range(2))
        assert torch.equal(one.x, two.x)
        assert one.x.shape == x.shape
        assert not torch.equal(one.x, x)
        assert 0 <= one.share <= 1


def test_l2_sp_is_half_the_squares_and_its_gradient_the_difference() -> None:
    network = nn.ModuleDict({"backbone": nn.Linear(1, 2, bias=False), "head": nn.Linear(2, 1, bias=False)})
    with torch.no_grad():
        network["backbone"].weight.copy_(torch.tensor([[3.0], [1.0]]))
        network["head"].weight.copy_(torch.tensor([[2.0, -4.0]]))
    seen = Seen(network, torch.zeros(1, 1), {"backbone.weight": torch.tensor([[1.0], [2.0]])})
    term = take("regularizers", "l2_sp").penalty(seen)
    term.backward()
    assert term.item() == pytest.approx((4 + 1) / 2 + 0.1 * (4 + 16) / 2)
    assert network["backbone"].weight.grad.flatten().tolist() == [2.0, -1.0]
    assert network["head"].weight.grad.flatten().tolist() == pytest.approx([0.2, -0.4])
    network["backbone"].requires_grad_(False)
    assert take("regularizers", "l2_sp").penalty(seen).item() == pytest.approx(1.0)  # what is frozen has no say


def test_spectral_shrinkage_of_known_singular_values() -> None:
    q, _ = torch.linalg.qr(values(6, 3))
    r, _ = torch.linalg.qr(values(3, 3))
    matrix = (q * torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)) @ r.T
    spectral = take("regularizers", "bss").spectral
    assert spectral(matrix, 1).item() == pytest.approx(1)
    assert spectral(matrix, 2).item() == pytest.approx(5)
    leaf = matrix.clone().requires_grad_()
    spectral(leaf, 1).backward()
    assert torch.allclose(leaf.grad, 2 * torch.outer(q[:, 2], r[:, 2]))  # 2 σ u vᵀ


def test_distillation_and_delta_are_relative_distances() -> None:
    old, vectors = torch.tensor([[3.0, 4.0], [0.0, 5.0]]), torch.tensor([[3.0, 3.0], [0.0, 5.0]])
    seen = Seen(nn.Identity(), vectors, now={"a": torch.ones(2, 1, 2, 2)}, before={"a": torch.full((2, 1, 2, 2), 2.0)})
    assert take("regularizers", "delta").penalty(seen).item() == pytest.approx(1 / 4)
    seen = replace(seen, before={**seen.before, "b": old})
    assert take("regularizers", "distill").penalty(seen).item() == pytest.approx((1 / 2) / 25)
    assert take("regularizers", "delta").penalty(seen).item() == pytest.approx((1 / 4 + 1 / 50) / 2)


def test_channels_weigh_what_leaving_them_out_would_cost() -> None:
    weigh = take("regularizers", "delta").weigh
    w = torch.tensor([0.0, 1.0, -3.0])
    out = torch.rand(5, 3, 2, 2, requires_grad=True)
    loss = (out * w.view(1, 3, 1, 1)).sum()  # linear: leaving a channel out changes it by exactly -Σ m · ∂loss/∂m
    found = weigh({"a": out}, {"a": torch.autograd.grad(loss, out)[0]})["a"]
    left_out = torch.stack(
        [(out * w.view(1, 3, 1, 1) * (torch.arange(3) != c).view(1, 3, 1, 1)).sum() for c in range(3)]
    )
    rise = (left_out - loss).detach()
    assert torch.allclose(found, 3 * ((rise - rise.mean()) / rise.std()).softmax(0), atol=1e-5)
    assert found.argmax() == 2
    seen = Seen(
        nn.Identity(), out, now={"a": torch.ones(1, 2, 1, 1)}, before={"a": torch.tensor([3.0, 2.0]).view(1, 2, 1, 1)}
    )
    term = take("regularizers", "delta").penalty(replace(seen, weights={"a": torch.tensor([0.5, 1.5])}))
    assert term.item() == pytest.approx((0.5 * 4 + 1.5 * 1) / (9 + 4))


def test_mixup_of_two_one_hots_and_its_loss() -> None:
    mixup = take("regularizers", "mixup")
    x, partner = torch.eye(2), torch.tensor([1, 0])
    assert torch.allclose(mixup.mixed(x, partner, 0.7), torch.tensor([[0.7, 0.3], [0.3, 0.7]]))
    drawn = [mixup.blend(x, 0.2, np.random.default_rng(seed)).share for seed in range(200)]
    assert min(drawn) >= 0.5
    assert np.mean(np.array(drawn) > 0.9) > 0.5  # Beta(0.2, 0.2) stands at its ends
    from graft.learners.supervised import Objective
    from graft.model.terms import Blend

    logits, y = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    aim = Objective(take("heads", "classification"), "accuracy", None, 0.0)
    target = torch.tensor([[0.7, 0.3], [0.3, 0.7]])  # cross-entropy with mixed one-hot targets
    oracle = -(target * logits.log_softmax(1)).sum(1).mean()
    assert aim.loss(logits, y, Blend(x, partner, 0.7)).item() == pytest.approx(oracle.item())


def test_cutmix_counts_by_area() -> None:
    x = torch.stack([torch.zeros(3, 4, 5), torch.ones(3, 4, 5)]).to(torch.uint8)
    found = take("regularizers", "cutmix").pasted(x, torch.tensor([1, 0]), (1, 3, 0, 4))
    assert found.share == pytest.approx(1 - 8 / 20)
    assert found.x[0].float().mean().item() == pytest.approx(8 / 20)
    assert found.x[1].float().mean().item() == pytest.approx(12 / 20)
    assert found.x.dtype == torch.uint8


def test_cutmix_has_no_windows_in_vectors() -> None:
    with pytest.raises(PlanError, match="fed \\(7,\\) for each"):
        take("regularizers", "cutmix").blend(torch.rand(2, 7), 1.0, np.random.default_rng(0))


def test_frofa_lifts_channels_and_stays_in_range() -> None:
    frofa = take("regularizers", "frofa")
    x = torch.tensor([[0.0, 5.0, 10.0]])
    lifted = frofa.brightened(x, torch.tensor([[0.1, -0.1, 0.1]]))
    assert torch.allclose(lifted, torch.tensor([[1.0, 4.0, 10.0]]))
    maps = torch.rand(2, 3, 4, 4)
    same = frofa.brightened(maps, torch.zeros(2, 3))
    assert torch.equal(same, maps)
    difference = frofa.brightened(maps, torch.full((2, 3), 0.01)) - maps
    assert (difference >= 0).all()
    assert frofa.brightened(torch.rand(2, 7, 3), torch.zeros(2, 3)).shape == (2, 7, 3)


def test_the_average_by_hand() -> None:
    ema = take("regularizers", "ema")
    assert [ema.share(0.99, t) for t in (0, 1)] == pytest.approx([1 / 10, 2 / 11])
    assert ema.share(0.5, 100) == 0.5
    weight, count = torch.tensor([1.0]), torch.tensor(3)
    terms = Terms([(ema, 0.99)], moving={"w": weight, "count": count})
    weight.copy_(torch.tensor([2.0]))
    count.fill_(7)
    terms.follow(0)  # 0.1 · 1 + 0.9 · 2
    weight.copy_(torch.tensor([4.0]))
    terms.follow(1)  # 2/11 · 1.9 + 9/11 · 4
    assert terms.aside["w"].item() == pytest.approx((2 * 1.9 + 9 * 4) / 11)
    assert terms.aside["count"].item() == 7
    terms.swap()
    assert weight.item() == pytest.approx((2 * 1.9 + 9 * 4) / 11)
    terms.swap()
    assert weight.item() == 4


def test_coral_and_the_discrepancy_have_their_worked_values() -> None:
    i, j = torch.meshgrid(torch.arange(8.0), torch.arange(3.0), indexing="ij")
    other = 2 * torch.cos(0.3 * (3 * i + j)).double()
    assert take("regularizers", "coral").distance(values(8, 3), other).item() == pytest.approx(0.834804, abs=1e-5)
    a = values(6, 2)
    assert take("regularizers", "mmd").discrepancy(a, a + 0.5, [1.0]).item() == pytest.approx(0.104190, abs=1e-5)
    assert take("regularizers", "mmd").discrepancy(a, a, [0.5, 2.0]).item() == pytest.approx(0, abs=1e-12)


def test_the_gradient_is_turned_round_by_schedule() -> None:
    dann = take("regularizers", "dann")
    assert dann.schedule(0) == 0
    assert dann.schedule(1) == pytest.approx(math.tanh(5))
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    y = dann.reversed_gradient(x, 0.25)
    assert torch.allclose(y, x)
    (y**2).sum().backward()
    assert torch.allclose(x.grad, -0.25 * 2 * x.detach())


def test_adabn_takes_the_statistics_of_what_it_is_shown() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(2)
    network = nn.Sequential(norm, nn.Linear(2, 2))
    chain = SimpleNamespace(network=network, example={"input": torch.zeros(2, 2)})
    batches = [torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[5.0, 0.0], [7.0, 8.0]])]
    weight = network[1].weight.clone()
    take("regularizers", "adabn").settle(chain, [{"input": b} for b in batches])
    assert norm.running_mean.tolist() == [4.0, 3.0]
    assert norm.running_var.tolist() == pytest.approx([(2 + 2) / 2, (8 + 32) / 2])
    assert norm.momentum == 0.1
    assert not norm.training
    assert torch.equal(weight, network[1].weight)
    with pytest.raises(PlanError, match="no batch norm"):
        take("regularizers", "adabn").settle(SimpleNamespace(network=nn.Linear(2, 2), example={}), [])


@pytest.mark.parametrize("entry", ["l2_sp:x", "l2_sp:-1", "l2_sp:nan", "l2_sp:inf", "l2_sp:"])
def test_a_strength_is_a_number(entry: str) -> None:
    with pytest.raises(PlanError, match="NAME:STRENGTH"):
        parsed(entry)


# ── through the path ──────────────────────────────────────────────────────────────────────────────────────────────────


def made(*regularizers: str, phase: Phase = TUNED) -> Plan:
    """A plan that tunes the upper stages from a random head: no epoch before the first step can be the best."""
    tuned = replace(phase, regularizers=regularizers)
    return Plan(tiny.find("shapes"), "classification", "own", (tuned,))


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.weights)


def same(one: Run, other: Run) -> bool:
    a, b = weights(one), weights(other)
    return all(torch.equal(a[name], b[name]) for name in a)


EVERY = names("regularizers")


def test_strength_zero_is_no_regulariser_bit_for_bit(tiny_home: Path, photos: Path, target: Path) -> None:
    task = load(photos, target=target)
    plain = adapt(task, made(), 1)
    zeros = [f"{name}:0" for name in EVERY if name != "cutmix"]
    assert same(plain, adapt(task, made(*zeros), 1))
    assert same(plain, adapt(load(photos), made("l2_sp:0"), 1))  # nor does the target by itself change anything


class Killed(BaseException):
    """A process that ends."""


def ends_behind(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next run end behind its checkpoint of this epoch, and the one after that go on."""
    real = Saved.write

    def write(self: Saved, where: Path) -> None:
        real(self, where)
        if self.progress.epoch == epoch:
            monkeypatch.setattr(Saved, "write", real)
            raise Killed

    monkeypatch.setattr(sys.modules["graft.adapt"], "EVERY", 0.0)
    monkeypatch.setattr(Saved, "write", write)


@pytest.mark.parametrize("name", EVERY)
def test_every_one_changes_the_run_and_survives_its_end(
    tiny_home: Path, photos: Path, target: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends behind any checkpoint goes on to the same bits, whatever the regulariser keeps."""
    task, chosen = load(photos, target=target), made(name)
    whole = adapt(task, chosen, 2)
    kept = weights(whole)
    assert not same(adapt(task, made(), 2), whole)
    assert all(math.isfinite(epoch.loss) for epoch in whole.history if epoch.steps)
    place = home.home() / "runs" / run_key(task, chosen, 2)
    for file in ("run.json", "weights.safetensors"):
        (place / file).unlink()

    ends_behind(3, monkeypatch)
    with pytest.raises(Killed):
        adapt(task, chosen, 2)
    again = adapt(task, chosen, 2)
    assert [replace(e, seconds=0) for e in again.history if e.epoch] == [
        replace(e, seconds=0) for e in whole.history if e.epoch
    ]
    ended = weights(again)
    assert all(torch.equal(kept[name], ended[name]) for name in kept)


def test_the_average_is_what_is_kept(tiny_home: Path, photos: Path) -> None:
    """Of one epoch's steps, retraced: the weights of a run are the average of those that an averageless one passes."""
    task, phase = load(photos), replace(TUNED, steps=2, batch=2, patience=1)
    states = []
    real = Terms.follow

    def follow(self: Terms, step: int) -> None:
        real(self, step)
        states.append({name: tensor.detach().clone() for name, tensor in self.moving.items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Terms, "follow", follow)
        run = adapt(task, made("ema", phase=phase), 5)
    start = build(tiny.find("shapes"), "classification", 3, 5)[0].network.state_dict()
    found = weights(run)
    for name in ("head.weight", "backbone.stage3.0.weight"):
        by_hand = 0.1 * start[name] + 0.9 * states[0][name]
        by_hand = 2 / 11 * by_hand + 9 / 11 * states[1][name]
        assert torch.allclose(found[name], by_hand, atol=1e-6)


OWN = """STRENGTH, NEEDS = {strength}, ()


def penalty(seen):
    return seen.vectors.square().mean()
"""


def test_a_file_of_one_s_own_counts_by_what_it_holds(tiny_home: Path, photos: Path, tmp_path: Path) -> None:
    task, mine = load(photos), tmp_path / "mine.py"
    mine.write_text(OWN.format(strength=10.0))
    plan = made(f"{mine}")
    one = adapt(task, plan, 4)
    assert adapt(task, plan, 4).key == one.key
    mine.write_text(OWN.format(strength=0.5))
    other = adapt(task, plan, 4)
    assert other.key != one.key
    assert not same(one, other)
    adapter = replace(made(), phases=(replace(TUNED, adapter=str(mine)),))
    before = run_key(task, adapter, 4)
    mine.write_text(OWN.format(strength=0.1))
    assert run_key(task, adapter, 4) != before
    assert run_key(task, made("ema"), 4) == run_key(task, made("ema"), 4)


def test_distillation_stores_the_last_stage_alone(tiny_home: Path, photos: Path, tmp_path: Path, monkeypatch) -> None:
    """It reads no other; DELTA compares every stage that learns."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "weights").symlink_to(tiny_home / "weights")
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "home"))
    task, stored = load(photos), lambda: len(list((tmp_path / "home" / "features").glob("*/")))
    adapt(task, made(phase=TUNED), 12)
    before = stored()
    adapt(task, made("distill", phase=TUNED), 12)
    assert stored() == before + 1
    adapt(task, made("delta", phase=TUNED), 12)
    assert stored() > before + 1


def test_the_pretrained_features_are_computed_once(tiny_home: Path, photos: Path) -> None:
    task, phase = load(photos), replace(TUNED, train=("head", "stages[1:]"))
    first = adapt(task, made("delta", phase=phase), 11)
    again = adapt(task, made("distill", phase=phase), 11)
    assert first.cost.prefix_passes <= 2 * (2 * len(task.train)) + len(task.val)  # two views, at two boundaries
    assert again.cost.prefix_passes == 0


@pytest.mark.parametrize("name", ["distill", "delta", "l2_sp", "mixup", "ema"])
def test_full_fine_tuning_on_fresh_views(tiny_home: Path, photos: Path, name: str) -> None:
    phase = Phase(("head", "stages[0:]"), steps=4, batch=16, views=0, stored=False)
    run = adapt(load(photos), made(name, phase=phase), 1)
    assert all(math.isfinite(epoch.loss) for epoch in run.history if epoch.steps)


def test_batch_norms_keep_their_statistics(tiny_home: Path, photos: Path, target: Path) -> None:
    """A batch of the target domain goes through the network as well, and must not move what is to stay."""
    start = build(tiny.find("shapes"), "classification", 3, 1)[0].network.state_dict()
    found = weights(adapt(load(photos, target=target), made("coral", "mixup", "ema"), 1))
    moved = [n for n in start if "running" in n and not torch.equal(start[n], found[n])]
    assert not moved
    assert [n for n in start if "running" in n]


def test_adapters_take_them_and_survive_their_end(
    tiny_home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, phase = load(photos), replace(TUNED, adapter="lora", steps=12)
    chosen = made("distill", "delta", "ema", phase=phase)
    kept = weights(whole := adapt(task, chosen, 2))
    for file in ("run.json", "weights.safetensors"):
        (Path(whole.weights).parent / file).unlink()

    ends_behind(2, monkeypatch)
    with pytest.raises(Killed):
        adapt(task, chosen, 2)
    ended = weights(adapt(task, chosen, 2))
    assert all(torch.equal(kept[name], ended[name]) for name in kept)
    with pytest.raises(PlanError, match="lora leaves them as they are"):
        regularized(made(phase=phase), ("l2_sp",), 4)


# ── plans ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_takes_them_where_they_fit(tiny_home: Path, photos: Path) -> None:
    task = load(photos)
    evidence = rank(task, ["tiny/shapes"])[0]
    chosen = plan(task, evidence, "lp_ft", regularizers=("l2_sp:0.02", "ema"))
    assert [phase.regularizers for phase in chosen.phases] == [(), ("l2_sp:0.02", "ema")]
    assert chosen.phases[1].weight_decay == 0
    assert from_json(Plan, to_json(chosen)) == chosen
    assert "l2_sp:0.02; ema" in explain(chosen)
    assert plan(task, evidence, "lp_ft").phases[1].regularizers == ()
    with pytest.raises(PlanError, match="the exact solver takes no steps that mixup could change"):
        plan(task, evidence, "linear_probe", regularizers=("mixup",))
    with pytest.raises(PlanError, match=r"no 'l2' among the regularizers.*l2_sp"):
        plan(task, evidence, "lp_ft", regularizers=("l2",))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("mixup", "cutmix"), "both mix targets"),
        (("mixup", "distill"), "mixup mixes examples, and distill compares each with itself"),
        (("l2_sp", "l2_sp:0.01"), "l2_sp stands there twice"),
        (("coral",), "the task has none"),
        (("adabn",), "the task has none"),
        (("mixup:a",), "NAME:STRENGTH"),
    ],
)
def test_plans_that_cannot_be_carried_out(tiny_home: Path, photos: Path, given: tuple[str, ...], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        adapt(load(photos), made(*given))


@pytest.mark.parametrize(
    ("name", "phase", "pretrained", "words"),
    [
        ("frofa", Phase(("head", "stages[0:]"), steps=1), True, "nothing is frozen"),
        ("mixup", Phase(("stages[2:]",), objective="contrastive", steps=1), True, "terms of the loss alone"),
        ("l2_sp", Phase(("head", "stages[0:]"), steps=1), False, "this plan has none"),
    ],
)
def test_phases_that_they_do_not_suit(name: str, phase: Phase, pretrained: bool, words: str) -> None:
    bare = replace(made(phase=phase), pretrained=pretrained)
    with pytest.raises(PlanError, match=words):
        regularized(bare, (name,), 4)


@pytest.mark.parametrize("given", [("distill", "bss", "l2_sp", "ema"), ("coral", "mmd", "dann")])
def test_texts_of_any_length(tiny_home: Path, tmp_path: Path, given: tuple[str, ...]) -> None:
    words = {"money": ("invoice", "refund", "paid"), "access": ("password", "login", "locked")}
    rng = np.random.default_rng(0)
    for place, count in (("data", 24), ("other", 8)):
        for label, own in words.items():
            (folder := tmp_path / place / (label if place == "data" else "")).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                said = rng.choice([*own, "please", "help", "my"], rng.integers(4, 12))
                (folder / f"{place}{label}{index}.txt").write_text(" ".join(said))
    task = load(tmp_path / "data", target=tmp_path / "other")
    phase = Phase(("head", "stages[1:]"), steps=6, batch=8)
    tuned = Plan(tiny.find("phrases"), "classification", "own", (replace(phase, regularizers=given),))
    run = adapt(task, tuned, 1)
    assert all(math.isfinite(epoch.loss) for epoch in run.history if epoch.steps)
    for name, word in (("mixup", "examples of one size"), ("delta", "examples of one size"), ("cutmix", "of one size")):
        with pytest.raises(PlanError, match=word):
            regularized(replace(tuned, phases=(phase,)), (name,), 4)


def test_a_stage_is_seen_as_it_was_though_the_next_layer_works_in_place() -> None:
    layers = [layer for width in (3, 4) for layer in (nn.Conv2d(width, 4, 3), nn.ReLU(inplace=True))]
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = Network(nn.Identity(), body, nn.Linear(4, 2))
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    chain = Chain(net.eval(), {"x": x})
    chain.freeze(("head", "stages[0:]"))
    _, rest = chain.split(form=Form())
    terms = Terms([], rest, {}, {}, lambda rows, epoch: {}, None, 0, "float32", True)
    with terms.stages() as now:
        rest({"x": x})
    assert now["backbone.0"].min().item() < 0


def test_a_plan_from_the_command_line_has_them(tiny_home: Path, photos: Path, capsys: pytest.CaptureFixture) -> None:
    asked = ["plan", photos, "--backbone", "tiny/shapes", "--strategy", "lp_ft", "--budget", "60s", "--json"]
    assert here(*asked, "--regularize", "l2_sp") == 0
    assert from_json(Plan, capsys.readouterr().out).phases[-1].regularizers == ("l2_sp",)
    assert here(*asked, "--regularize", "l2sp") == 2
    assert "l2_sp" in capsys.readouterr().err
