"""Text encoders: packed or padded, the same features as the library's own padded forward, and rows that are pure.

The oracles are the plain models of the transformers library, with eager attention and a mask, and loops written out.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from graft.core.nouns import Form
from graft.data.dataset import Batch, Stored, Streamed
from graft.data.store import open_store
from graft.features import features, sweep
from graft.model.chain import Chain, Rest
from graft.model.cuts import Cut, first
from graft.model.encoder import POOLINGS, Encoder, Pool
from graft.model.modes import evaluating
from graft.model.network import Network
from graft.model.packing import SHARE, STEP, gathered, split
from graft.model.prefix import Prefix
from graft.sources import transformers
from test_identity import jitter, reached_before, state_hash

WORDS = 120  # in every vocabulary; the first five are never part of a text
SMALL = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
SMALL |= {"intermediate_size": 64, "max_position_embeddings": 512}
BEHIND = {**SMALL, "max_position_embeddings": 514, "pad_token_id": 1}  # positions count from behind the padding's
NARROW = {**SMALL, "embedding_size": 16}
GROUPED = {**SMALL, "num_key_value_heads": 2}
DISENTANGLED = {**SMALL, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
BUCKETS = {"position_buckets": 32, "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False}
T5 = {"vocab_size": WORDS, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4}
SLIDING = {**GROUPED, "head_dim": 8, "sliding_window": 16}
PACKED = {
    "bert": SMALL, "roberta": BEHIND, "electra": NARROW, "albert": NARROW,
    "distilbert": {"vocab_size": WORDS, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64},
    "gpt2": {"vocab_size": WORDS, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 512}, "llama": GROUPED,
}  # fmt: skip
PADDED = {
    "mpnet": BEHIND, "deberta": DISENTANGLED, "deberta-v2": {**DISENTANGLED, **BUCKETS}, "t5": T5, "umt5": T5,
    "mistral": SLIDING, "modernbert": {**SMALL, "local_attention": 32, "pad_token_id": 0, "cls_token_id": 1,
    "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
    "gemma2": {**SLIDING, "sliding_window": 4096, "layer_types": ["full_attention"] * 3},  # squashes its scores
}  # fmt: skip
KINDS = {**PACKED, **PADDED}
DECODERS = ("gpt2", "llama", "mistral", "gemma2")
LENGTHS = (1, 2, 3, 7, 16, 17, 33, 100, 255, 400, 512)
CLOSE = 1e-5  # of a feature's standard deviation


def encoder(kind: str, window: int = 512, pooling: str = "mean", **more: object) -> Encoder:
    torch.manual_seed(0)
    made = transformers.build(kind, {"window": window, "pooling": pooling}, {**KINDS[kind], **more})
    jitter(made)
    return made


def plain(made: Encoder) -> Any:
    """The library's own model with the same weights, its attention written out in full."""
    model: Any = copy.deepcopy(made.model)
    model.set_attn_implementation("eager")
    return model


def texts(lengths: tuple[int, ...], seed: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(5, WORDS, (length,), generator=generator) for length in lengths]


def line(some: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"x": torch.cat(some), "length": torch.tensor([len(one) for one in some])}


def hidden(model: Any, some: list[torch.Tensor], side: str = "right", **more: torch.Tensor) -> list[torch.Tensor]:
    """Every text's hidden states from one padded batch, as the library's documentation has it."""
    ids = pad_sequence(some, batch_first=True, padding_value=model.config.pad_token_id or 0, padding_side=side)
    mask = pad_sequence([torch.ones_like(one) for one in some], batch_first=True, padding_side=side)
    if side == "left":
        more["position_ids"] = (mask.cumsum(1) - 1).masked_fill(mask == 0, 1)
    out = model(input_ids=ids, attention_mask=mask, **more).last_hidden_state
    return [row[keep.bool()] for row, keep in zip(out, mask, strict=True)]


POOL: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda h: h.mean(0), "cls": lambda h: h[0], "max": lambda h: h.amax(0), "last": lambda h: h[-1],
}  # fmt: skip


def close(a: torch.Tensor, b: torch.Tensor, spread: torch.Tensor) -> bool:
    return bool(((a - b).abs() <= CLOSE * spread).all())


# ── the same features ─────────────────────────────────────────────────────────────────────────────────────────────────


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_frozen_features_are_those_of_the_padded_forward(kind: str) -> None:
    made, some = encoder(kind), texts(LENGTHS)
    assert made.packs == (kind in PACKED)
    model, batch = plain(made), line(some)
    lay = made.lay(batch["length"])
    out = made.hidden(batch["x"], lay)
    rows = lay.taken(out, "packed" if made.packs else "padded").split(LENGTHS)
    for side in ("right", "left") if kind in DECODERS else ("right",):
        want = hidden(model, some, side)
        spread = torch.cat(want).std(0)
        for length, one, other in zip(LENGTHS, rows, want, strict=True):
            assert close(one, other, spread), f"{side}, {length} tokens"
        for pooling in POOLINGS:
            made.pool = Pool(pooling)
            assert close(made.pool(out, lay), torch.stack([POOL[pooling](one) for one in want]), spread), pooling


@torch.no_grad()
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet", "gpt2", "t5"])
def test_long_texts_are_windows_run_one_by_one(kind: str, pooling: str) -> None:
    """Windows of 26 tokens, which is no multiple of anything, in networks that have no more positions than that."""
    places = {"gpt2": {"n_positions": 26}, "t5": {}}.get(
        kind, {"max_position_embeddings": 26 + 2 * (KINDS[kind] is BEHIND)}
    )
    made, some = encoder(kind, 26, pooling, **places), texts((5, 26, 27, 60, 104, 1))
    want, seen = [], []
    for text in some:
        pieces = [hidden(plain(made), [piece])[0] for piece in text.split(26)]
        whole = [torch.cat(pieces)] if pooling in ("mean", "max") else pieces
        want.append(torch.stack([POOL[pooling](piece) for piece in whole]).mean(0))
        seen += pieces
    assert close(made(**line(some)), torch.stack(want), torch.cat(seen).std(0))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["bert", "albert", "electra"])
def test_kinds_of_tokens_reach_the_network(kind: str) -> None:
    made, some = encoder(kind), texts((9, 30, 2, 17))
    kinds = [(torch.arange(len(one)) >= len(one) // 2).long() for one in some]
    want = hidden(plain(made), some, token_type_ids=pad_sequence(kinds, batch_first=True))
    vectors = torch.stack([one.mean(0) for one in want])
    got = made(**line(some), kind=torch.cat(kinds))
    assert close(got, vectors, torch.cat(want).std(0))
    assert not close(made(**line(some)), vectors, torch.cat(want).std(0))
    made.packs = False
    assert close(made(**line(some), kind=torch.cat(kinds)), vectors, torch.cat(want).std(0))


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_gradients_are_those_of_the_padded_forward(kind: str) -> None:
    made, some = encoder(kind), texts((9, 30, 2, 17))
    model = plain(made)
    torch.stack([one.mean(0) for one in hidden(model, some)]).square().sum().backward()
    made(**line(some)).square().sum().backward()
    want = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    got = {name: p.grad for name, p in made.model.named_parameters() if p.grad is not None}
    assert got.keys() == want.keys()
    largest = max(float(gradient.abs().max()) for gradient in want.values())
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-4, atol=1e-6 * largest)


# ── batches ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=40),
    st.sampled_from([16, 40, 64, 256]),
    st.sampled_from([0, 16, 26]),
)
def test_what_shape_a_text_is_computed_in_depends_on_it_alone(lengths: list[int], size: int, window: int) -> None:
    """Shape: of a line, its tokens; of padded pieces, how many and how long."""

    def shape(members: list[int], blank: list[int]) -> tuple[int, int]:
        if not window:
            return sum(lengths[one] for one in members) + sum(blank), 0
        pieces = split([*(lengths[one] for one in members), *blank], window)
        return len(pieces), min(window, -(-max(pieces) // STEP) * STEP)

    batches = gathered(lengths, size, window)
    assert sorted(one for members, _ in batches for one in members) == list(range(len(lengths)))
    for members, blank in batches:
        for one in members:
            ((_, alone),) = gathered([lengths[one]], size, window)
            assert shape([one], alone) == shape(members, blank)
        count, wide = shape(members, blank)
        assert count % max(1, size // SHARE // wide) == 0 if wide else count % size == 0
        assert all(0 < length <= (wide or count) for length in blank)


def test_little_is_blank() -> None:
    lengths = np.random.default_rng(0).lognormal(3.4, 0.6, 2000).clip(3, 256).astype(int).tolist()
    packed = gathered(lengths, 1024)
    assert sum(sum(blank) for _, blank in packed) < 1024 + 0.02 * sum(lengths)
    runs = [np.flatnonzero(np.diff([0, *(lengths[one] for one in members)])) for members, _ in packed]
    assert sum(map(len, runs)) < 0.5 * len(lengths)  # texts of one length lie side by side: attention runs them at once
    padded = gathered(lengths, 1024, 256)
    filled = sum(len(split([lengths[one] for one in members], 256)) for members, _ in padded)
    assert sum(len(blank) for _, blank in padded) < 0.05 * filled


# ── rows are pure, and training on stored rows is training ────────────────────────────────────────────────────────────

WINDOW, FIXED, BATCH = 32, 128, 4  # tokens of a piece, of a batch through the prefix; texts of a training batch
COUNT = 6  # texts, so that the last training batch is a partial one
RAGGED = ("bert", "mpnet", "t5", "gpt2")


def chain(kind: str, rows: bool = False) -> Chain:
    """A backbone and a head for three classes; with `rows`, for every token."""
    made = encoder(kind, WINDOW)
    if rows:
        made.by_row()
    return Chain(Network(nn.Identity(), made, nn.Linear(32, 3)), line(texts((4, 7))))


def prefix_at(found: Chain, cut: Cut) -> Prefix:
    return Prefix(found, cut, Form(batch=FIXED))


class Texts:
    """A dataset of ragged texts, three views of each, straight from memory."""

    def __init__(self, count: int = COUNT, longest: int = 70) -> None:
        lengths = np.random.default_rng(3).integers(1, longest, 3 * count)
        self.texts, self.targets = texts(tuple(lengths.tolist())), np.arange(count) % 3

    def __len__(self) -> int:
        return len(self.targets)

    def keys(self, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
        return [f"{row:08d}{view:08d}".encode() for row, view in zip(rows, views, strict=True)]

    def read(self, rows: np.ndarray, views: np.ndarray) -> Batch:
        some = [self.texts[row + len(self) * view] for row, view in zip(rows, views, strict=True)]
        return {**line(some), "y": torch.from_numpy(self.targets[rows])}

    def map(self, batch: Batch) -> Batch:
        return batch


@pytest.mark.parametrize("kind", RAGGED)
def test_chains_of_ragged_texts_are_exact_at_every_cut(kind: str) -> None:
    for rows in (False, True):
        found = chain(kind, rows)
        assert len(found.cuts) >= 6
        assert [cut.name for cut in found.cuts if not found.exact(cut)] == []
        assert {cut.unit for cut in found.cuts} == {
            "packed" if kind in PACKED else "padded",
            "row" if rows else "example",
        }
        assert len(found.stages) >= 3


@pytest.mark.parametrize("kind", RAGGED)
def test_rows_do_not_depend_on_what_stands_beside_them(home: Path, kind: str) -> None:
    found, some = chain(kind), texts((1, 2, 3, 7, 16, 17, 31, 32, 33, 64, 100, 5, 9, 30, 140, 32))
    for cut in (found.stages[1], found.cuts[-2], found.cuts[-1]):
        prefix = prefix_at(found, cut)

        def rows(which: list[int], prefix: Prefix = prefix, cut: Cut = cut) -> list[torch.Tensor]:
            out = prefix.run(line([some[one] for one in which]))[cut.name]
            return list(out.split([1 if cut.unit == "example" else len(some[one]) for one in which]))

        alone = [rows([one])[0] for one in range(len(some))]
        for seed in range(3):
            order = torch.randperm(len(some), generator=torch.Generator().manual_seed(seed)).tolist()
            for size in (3, 7, len(some)):
                for start in range(0, len(some), size):
                    which = order[start : start + size]
                    for one, got in zip(which, rows(which), strict=True):
                        assert torch.equal(got, alone[one]), (cut.name, len(some[one]), which)


@pytest.mark.parametrize("kind", RAGGED)
def test_stored_rows_are_the_streamed_ones(home: Path, kind: str) -> None:
    """Also in another order, in views, with few computed at a time, and by several cuts in one sweep."""
    found, data = chain(kind), Texts(20)
    cuts, few, views = found.stages, np.arange(5), np.zeros(5, int)
    together = sweep(prefix_at(found, cuts[-1]), cuts, data, views=3)
    for cut, stored in zip(cuts, together, strict=True):
        live = features(prefix_at(found, cut), data, views=3, stored=False)
        for rows in (few, few[::-1], np.array([19]), np.random.default_rng(0).permutation(20)):
            for view in range(3):
                which = np.full(len(rows), view)
                a, b = stored.map(stored.read(rows, which)), live.map(live.read(rows, which))
                assert torch.equal(a["h"], b["h"])
                assert torch.equal(a["y"], b["y"])
                if cut.unit != "example":
                    assert torch.equal(a["length"], b["length"])
    pooled = sweep(prefix_at(found, cuts[1]), cuts[:2], data, pool=True)[1].read(few, views)["h"]
    kept = together[1].read(few, views)
    want = torch.stack([rows.mean(0) for rows in kept["h"].split(kept["length"].tolist())])
    torch.testing.assert_close(pooled, want)


def by_hand(found: Chain, cut: Cut, text: torch.Tensor) -> torch.Tensor:
    """A text's rows at a cut from the whole network's own forward, alone in a batch of the one size."""
    body: Any = found.network.backbone
    if body.packs:
        blank = [-len(text) % FIXED] * (len(text) % FIXED > 0)
    else:
        wide = min(WINDOW, -(-len(text) // 16) * 16)
        room, pieces = max(1, FIXED // 4 // wide), -(-len(text) // WINDOW)
        blank = [wide] * (-pieces % room)
    seen: list[torch.Tensor] = []
    module = found.network.get_submodule(cut.name)
    hook = module.register_forward_hook(lambda _m, _i, out: seen.append(first(out).detach().clone()))
    with torch.no_grad(), evaluating(found.network):
        found.network(torch.cat([text, text.new_zeros(sum(blank))]), length=torch.tensor([len(text), *blank]))
    hook.remove()
    if cut.unit == "example":
        return seen[0][:1]
    out = seen[0][0] if cut.unit == "packed" else torch.cat([row[:WINDOW] for row in seen[0]])
    if cut.unit == "padded" and seen[0].shape[1] < WINDOW:
        out = seen[0][0]
    return out[: len(text)]


Step = Callable[[np.ndarray, np.ndarray], tuple[torch.Tensor, torch.Tensor]]


def whole(found: Chain, rest: Rest, data: Texts) -> Step:
    """Rest ∘ prefix on raw texts."""

    def step(rows: np.ndarray, views: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        some = [data.texts[row + COUNT * view] for row, view in zip(rows, views, strict=True)]
        h = torch.cat([by_hand(found, rest.cut, text) for text in some])
        rest.train()
        return rest({"h": h, "length": line(some)["length"]}), torch.from_numpy(data.targets[rows])

    return step


def resumed(rest: Rest, dataset: Stored | Streamed) -> Step:
    """Rest on what the prefix made."""

    def step(rows: np.ndarray, views: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        batch = dataset.map(dataset.read(rows, views))
        y = batch.pop("y")
        rest.train()
        return rest(batch), y

    return step


def stored(prefix: Prefix, data: Texts, views: int) -> Stored:
    cut = prefix.cut
    rows, which = np.repeat(np.arange(COUNT), views), np.tile(np.arange(views), COUNT)
    batch = data.read(rows, which)
    batch.pop("y")
    lengths = None if cut.unit == "example" else batch["length"].numpy()
    store = open_store(f"{cut.name}-{views}", "float32", cut.shape)
    store.write(data.keys(rows, which), prefix.run(batch)[cut.name].numpy(), lengths)
    return Stored(data, store, lengths is not None)


def trained(step: Step, found: Chain, cut: Cut, views: int) -> dict[str, torch.Tensor]:
    """Two epochs of SGD with momentum; the frozen parameters are never in the optimiser."""
    for name, parameter in found.network.named_parameters():
        parameter.requires_grad_(name not in cut.parameters)
    learning = [p for p in found.network.parameters() if p.requires_grad]
    engine = torch.optim.SGD(learning, lr=0.05, momentum=0.9, weight_decay=0.01)
    torch.manual_seed(7)
    rng = np.random.default_rng(1)
    for epoch in range(2):
        for rows in np.split(rng.permutation(COUNT), [BATCH]):
            logits, y = step(rows, (rows + epoch) % views)
            engine.zero_grad()
            nn.functional.cross_entropy(logits, y).backward()
            engine.step()
    return {name: value.clone() for name, value in found.network.state_dict().items()}


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("kind", RAGGED)
def test_training_on_stored_rows_is_training(home: Path, kind: str, views: int) -> None:
    """train(rest ∘ prefix, texts) == train(rest, stored), to the bit, at every cut; and frozen means frozen."""
    found, data = chain(kind), Texts()
    network = found.network
    start = {name: value.clone() for name, value in network.state_dict().items()}
    assert any(module.p for module in network.modules() if isinstance(module, nn.Dropout))
    for cut in found.cuts if views == 1 else found.stages:
        rest, prefix = Rest(found, cut), prefix_at(found, cut)
        before = state_hash(reached_before(network, found.example, cut.name))
        live = features(prefix, data, views, stored=False)
        steps = {"plain": whole(found, rest, data), "streamed": resumed(rest, live)}
        steps["stored"] = resumed(rest, stored(prefix, data, views))
        ends = {}
        for name, step in steps.items():
            network.load_state_dict(start)
            ends[name] = trained(step, found, cut, views)
            network.train()
            rest.train()
            assert state_hash(reached_before(network, found.example, cut.name)) == before, f"{cut.name}: frozen moved"
        assert not torch.equal(ends["plain"]["head.weight"], start["head.weight"])
        for name in ("stored", "streamed"):
            unequal = [n for n in start if not torch.equal(ends[name][n], ends["plain"][n])]
            assert not unequal, f"{name} differs from plain at {cut.name}: {unequal[:3]}"
        network.load_state_dict(start)


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_stored_rows_take_no_more_than_their_bytes(home: Path, kind: str) -> None:
    found, data = chain(kind), Texts(200)
    stored = features(prefix_at(found, found.stages[-2]), data)
    tokens = sum(len(text) for text in data.texts[:200])
    stored.store.close()
    size = sum(file.stat().st_size for file in (home / "features").rglob("*") if file.is_file())
    assert tokens * 32 * 4 <= size <= 1.1 * tokens * 32 * 4
