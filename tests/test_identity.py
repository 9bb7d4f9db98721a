"""train(prefix ∘ rest, data) == train(rest, data.map(prefix)): to the bit, at every cut; and frozen means frozen.

The reference is written out here, without the library's training loop, store or bookkeeping.
"""

import numpy as np
import pytest
import torch
from torch import nn

from graft.core.nouns import Form
from graft.data.dataset import Batch, Stored, Streamed
from graft.data.store import open_store
from graft.features import features
from graft.model.chain import Chain, Rest
from graft.model.contrast import watched
from graft.model.cuts import Cut, first
from graft.model.modes import evaluating
from graft.model.prefix import Prefix

SMALL = {"img_size": 32}
VISION = {
    "resnet18": {}, "densenet121": {}, "regnety_002": {}, "mobilenetv3_small_100": {}, "tf_efficientnet_lite0": {},
    "vgg11": {}, "convnext_atto": {}, "vit_tiny_patch16_224": SMALL,
    "swin_tiny_patch4_window7_224": {"img_size": 56, "depths": (1, 1, 2, 1), "embed_dim": 24},
}  # fmt: skip
COUNT, BATCH, FIXED = 6, 4, 4  # the last batch is a partial one


class Head(nn.Module):
    """A backbone and a head, as the library assembles them, without using its classes."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.backbone(x))


class TextHead(nn.Module):
    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(width, 3)

    def forward(self, x, mask):
        hidden = self.backbone(input_ids=x, attention_mask=mask).last_hidden_state
        return self.head((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


def vision(name: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    import timm
    import torchvision

    torch.manual_seed(0)
    # 64 for EfficientNet: at 1 × 1 a map is contiguous in both layouts, and which kernel runs is a matter of luck.
    side = 56 if "swin" in name else 64 if "efficientnet" in name else 32
    if name == "vgg11":  # its convolutions: the fully connected layers are 120 million parameters of no interest here
        body = nn.Sequential(*torchvision.models.vgg11().features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    else:
        body = timm.create_model(name, num_classes=0, drop_rate=0.1, **VISION[name])
    jitter(body)
    with torch.no_grad():
        width = body.eval()(torch.zeros(1, 3, side, side)).shape[-1]
    return Head(body, width), {"x": torch.randn(3 * COUNT, 3, side, side)}


def bert() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, vocab_size=90)
    body = BertModel(config, add_pooling_layer=False)
    jitter(body)
    x = torch.randint(1, 90, (3 * COUNT, 11))
    mask = (torch.arange(11) < torch.randint(2, 12, (3 * COUNT, 1))).long()
    return TextHead(body, 32), {"x": x, "mask": mask}


class Counting(nn.Module):
    """Tokens are folded back into maps by the number of rows that came in, as PVT, Twins, CoaT and DaViT do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix, self.down = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Conv2d(8, 12, 2, 2)
        self.last = nn.BatchNorm2d(12)

    def forward(self, x):
        rows, tokens = len(x), self.stem(x).flatten(2).transpose(1, 2).contiguous()
        tokens = self.mix(torch.relu(tokens))
        maps = tokens.reshape(rows, 4, 4, 8).permute(0, 3, 1, 2)
        return self.last(self.down(maps)).mean((2, 3))


def counting() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    body = Counting()
    jitter(body)
    return Head(body, 12), {"x": torch.randn(3 * COUNT, 3, 16, 16)}


def jitter(body: nn.Module) -> None:
    """No norm or bias stays at its neutral value, so that nothing cancels."""
    with torch.no_grad():
        for parameter in body.parameters():
            if parameter.ndim <= 1:
                parameter.add_(0.1 * torch.randn_like(parameter))


class Table:
    """A raw dataset of three views an example, straight from memory."""

    def __init__(self, inputs: dict[str, torch.Tensor]) -> None:
        self.inputs = inputs
        self.targets = np.arange(COUNT) % 3

    def __len__(self) -> int:
        return COUNT

    def keys(self, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
        return [f"{row:08d}{view:08d}".encode() for row, view in zip(rows, views, strict=True)]

    def read(self, rows: np.ndarray, views: np.ndarray) -> Batch:
        at = torch.from_numpy(rows + COUNT * views)
        return {**{name: value[at] for name, value in self.inputs.items()}, "y": torch.from_numpy(self.targets[rows])}

    def map(self, batch: Batch) -> Batch:
        return batch


def order(views: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """An epoch of every example, a partial batch last; of several views two epochs, in which each shows another."""
    rng = np.random.default_rng(1)
    batches = []
    for epoch in range(min(views, 2)):
        rows = rng.permutation(COUNT)
        which = (rows + epoch) % views
        batches += [(rows[i : i + BATCH], which[i : i + BATCH]) for i in range(0, COUNT, BATCH)]
    return batches


def train(step, views: int, chain: Chain, cut: Cut, rest: Rest) -> dict[str, torch.Tensor]:
    """SGD with momentum on whatever `step` returns; the frozen parameters are never in the optimiser."""
    for name, parameter in chain.network.named_parameters():
        parameter.requires_grad_(name not in cut.parameters)
    learning = [p for p in chain.network.parameters() if p.requires_grad]
    engine = torch.optim.SGD(learning, lr=0.05, momentum=0.9, weight_decay=0.01)
    torch.manual_seed(7)
    rest.train()
    for batch in order(views):
        logits, y = step(*batch)
        engine.zero_grad()
        nn.functional.cross_entropy(logits, y).backward()
        engine.step()
    return {name: value.detach().clone() for name, value in state(chain.network).items()}


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer, those that are not saved as well."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def ended(network: nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, int]:
    """By module, when its last call ends, seen by hooks."""
    finished: list[str] = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, _o, name=name: finished.append(name))
        for name, module in network.named_modules()
        if name
    ]
    with torch.no_grad(), evaluating(network):
        network(**inputs)
    for hook in hooks:
        hook.remove()
    return {name: at for at, name in enumerate(finished)}


def finished(network: nn.Module, over: dict[str, int], cut: Cut) -> dict[str, torch.Tensor]:
    """Parameters and buffers, as they are now, of every module whose last call ends no later than the cut's."""
    early = {name for name, at in over.items() if at <= over[cut.name]}
    return {n: v.detach().clone() for n, v in state(network).items() if n.rpartition(".")[0] in early}


@pytest.mark.parametrize("name", [*VISION, "bert", "counting"])
def test_identity_at_every_cut(name, home):
    network, inputs = {"bert": bert, "counting": counting}.get(name, lambda: vision(name))()
    chain = Chain(network, {n: v[:2] for n, v in inputs.items()})
    start = {n: v.detach().clone() for n, v in state(network).items()}
    over = ended(network, chain.example)
    data = Table(inputs)
    form = Form(batch=FIXED)
    assert len(chain.cuts) >= 4
    for cut in chain.cuts:
        views = 3 if cut in chain.stages else 1  # where plans part a network, of every example three; else one
        prefix, rest = chain_at(chain, cut, form)
        early = finished(network, over, cut)
        kept = stored(prefix, data, views, cut)
        live = with_masks(Streamed(data, lambda b, p=prefix, c=cut: {"h": p.run(b)[c.name]}), data)

        def plain(rows, which, prefix=prefix, rest=rest):
            """prefix ∘ rest on raw data: the whole network's own forward, its finished part in eval mode."""
            batch = data.read(rows, which)
            y = batch.pop("y")
            padded = {n: torch.cat([v, v[:1].repeat(FIXED - len(v), *[1] * (v.ndim - 1))]) for n, v in batch.items()}
            hidden: list[torch.Tensor] = []
            hook = chain.network.get_submodule(prefix.cut.name).register_forward_hook(
                lambda _m, _i, out: hidden.append(first(out).detach().clone())
            )
            with torch.no_grad(), evaluating(chain.network):
                chain.network(**padded)
            hook.remove()
            return rest({"h": hidden[0][: len(rows)], **{n: v for n, v in batch.items() if n != "x"}}), y

        def mapped(rows, which, cut=cut, rest=rest, kept=kept, live=live):
            """The rest on what was stored, which is what streaming computes meanwhile, to the bit."""
            batch, again = (dataset.map(dataset.read(rows, which)) for dataset in (kept, live))
            for n, value in batch.items():
                alike = torch.equal(value, again[n]) and value.stride() == again[n].stride()
                assert alike, f"{n} is streamed otherwise than it is stored at {cut.name}"
            y = batch.pop("y")
            return rest(batch), y

        outcomes = {}
        for step in (plain, mapped):
            restored(network, start)
            outcomes[step] = train(step, views, chain, cut, rest)
            assert all(torch.equal(outcomes[step][n], v) for n, v in early.items()), f"{cut.name}: frozen part moved"
        assert not torch.equal(outcomes[plain]["head.weight"], start["head.weight"])
        unequal = [n for n in start if not torch.equal(outcomes[mapped][n], outcomes[plain][n])]
        assert not unequal, f"what is mapped differs from plain at {cut.name}: {unequal[:3]}"
        restored(network, start)


def restored(network: nn.Module, start: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, value in state(network).items():
            value.copy_(start[name])


def chain_at(chain: Chain, cut: Cut, form: Form):
    return Prefix(chain, cut, form), Rest(chain, cut)


class with_masks:
    """What accompanies the main input (a mask) travels beside the features."""

    def __init__(self, inner, raw: Table) -> None:
        self.inner, self.raw, self.targets = inner, raw, raw.targets

    def __len__(self) -> int:
        return len(self.inner)

    def read(self, rows, which):
        batch = self.inner.read(rows, which)
        return {**batch, **{f"_{n}": v for n, v in self.raw.read(rows, which).items() if n not in ("x", "y")}}

    def map(self, batch):
        extra = {n[1:]: batch.pop(n) for n in list(batch) if n.startswith("_")}
        return {**self.inner.map(batch), **extra}


def stored(prefix, data: Table, views: int, cut: Cut):
    store = open_store(f"{cut.name}-{views}", "float32", cut.shape)
    rows, which = (grid.ravel() for grid in np.meshgrid(np.arange(COUNT), np.arange(views), indexing="ij"))
    batch = data.read(rows, which)
    batch.pop("y")
    store.write(data.keys(rows, which), prefix.run(batch)[cut.name].numpy())
    return with_masks(Stored(data, store), data)


def test_features_stores_what_streaming_computes(home):
    """The public function, not its parts: stored and streamed are one dataset, and asking twice computes nothing."""
    from graft.features import Count

    network, inputs = vision("resnet18")
    chain = Chain(network, inputs)
    prefix, _ = chain.split(2, Form(batch=8))
    data = Table(inputs)
    before = Count.passes
    kept = features(prefix, data, views=3)
    assert Count.passes - before == 3 * COUNT
    live = features(prefix, data, views=3, stored=False)
    for rows, which in order(3):
        assert torch.equal(kept.map(kept.read(rows, which))["h"], live.map(live.read(rows, which))["h"])
    before = Count.passes
    features(prefix, data, views=3)
    assert Count.passes == before
    assert features(chain.split(0)[0], data) is data


def test_rows_do_not_depend_on_their_batch(home):
    """mobilenetv3 and convnext change bits with the batch size when run plainly; through the prefix they may not."""
    for name in ("mobilenetv3_small_100", "convnext_atto"):
        network, inputs = vision(name)
        chain = Chain(network, inputs)
        prefix, _ = chain.split(len(chain.stages), Form(batch=8))
        last = chain.stages[-1].name
        whole = prefix.run({"x": inputs["x"][:COUNT]})[last]
        shuffled = torch.randperm(COUNT)
        for size in (1, 3, 7):
            for at in shuffled.split(size):
                assert torch.equal(prefix.run({"x": inputs["x"][at]})[last], whole[at])


def test_a_network_with_two_streams_is_opaque():
    import timm

    body = timm.create_model("crossvit_tiny_240", num_classes=0)
    chain = Chain(Head(body, body.num_features), {"x": torch.randn(2, 3, 240, 240)})
    assert [stage.name for stage in chain.stages] == ["backbone"]


def test_a_cut_that_the_network_does_not_resume_from_is_no_stage(caplog):
    """A number that leaves the tensors is not there on resume."""

    class Secretive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            level = x.abs().mean().item()
            return level * self.b(torch.relu(self.a(x)))

    caplog.set_level("INFO")
    chain = Chain(Head(Secretive(), 6), {"x": torch.randn(2, 6)})
    assert [stage.name for stage in chain.stages] == ["backbone"]
    assert chain.exact(chain.stages[0])
    assert "does not resume there exactly" in caplog.text


def test_what_was_found_of_a_network_is_not_looked_for_again(home, monkeypatch):
    """Runs, folds and reopened runs build many alike: other weights, the same cuts. Another head is another network."""
    from graft.build import build, find

    once, _ = build(find("tiny/random"), "classification", 7)
    traced: list[nn.Module] = []
    monkeypatch.setattr("graft.model.chain.find", lambda *given: traced.append(given[0]) or [])
    again, _ = build(find("tiny/random"), "classification", 7, seed=1, pretrained=False)
    assert not traced
    assert (again.cuts, again.stages, again.layouts) == (once.cuts, once.stages, once.layouts)
    with watched(again.network.get_submodule("head")) as seen, torch.no_grad():
        chain_at(again, again.stages[0], Form())[1]({"h": torch.zeros(5, *again.stages[0].shape)})
    assert [len(x) for x in seen] == [5]  # the head has no part in the blank pass that comes first
    assert all(again.exact(cut) for cut in again.cuts)
    build(find("tiny/random"), "classification", 8)
    assert len(traced) == 1


def test_shared_parameters_belong_to_their_first_use():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.three.weight = self.one.weight
            self.head = nn.Linear(6, 2)

        def forward(self, x):
            return self.head(self.three(torch.relu(self.two(torch.relu(self.one(x))))))

    chain = Chain(Tied(), {"x": torch.randn(2, 6)})
    assert chain.freeze(("head", "stages[1:]")) == 1
    assert not chain.network.three.weight.requires_grad
    assert chain.network.three.bias.requires_grad
