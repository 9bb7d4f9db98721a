"""Text encoders: packed or padded, the same features as the library's own padded forward, and rows that are pure.

The oracles are the plain models of the transformers library, with eager attention and a mask, and loops written out.
"""

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers as library
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from graft.build import build
from graft.core.codec import from_json, to_json
from graft.core.errors import BackboneError
from graft.core.nouns import Backbone, Form, Loading
from graft.data import tokens
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
from test_identity import ended, finished, jitter, state

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
    shake(made)
    return made


def shake(module: nn.Module) -> None:
    """Weights with which attention looks somewhere, and no norm or bias at its neutral value."""
    jitter(module)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1 and parameter.std() < 0.05:  # T5 begins with large ones
                parameter.add_(0.15 * torch.randn_like(parameter))


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
        whole = [torch.cat(pieces)] if pooling == "mean" else pieces
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
    over = ended(network, found.example)
    assert any(module.p for module in network.modules() if isinstance(module, nn.Dropout))
    for cut in found.cuts if views == 1 else found.stages:
        rest, prefix = Rest(found, cut), prefix_at(found, cut)
        early = finished(network, over, cut)
        live = features(prefix, data, views, stored=False)
        steps = {"plain": whole(found, rest, data), "streamed": resumed(rest, live)}
        steps["stored"] = resumed(rest, stored(prefix, data, views))
        ends = {}
        for name, step in steps.items():
            network.load_state_dict(start)
            ends[name] = trained(step, found, cut, views)
            assert all(torch.equal(state(network)[n], value) for n, value in early.items()), f"{cut.name}: frozen moved"
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


# ── folders of the transformers library and of sentence-transformers ──────────────────────────────────────────────────

SENTENCES = ("a cat sat on the mat.", "dogs run", "The the THE", "unseen wordz, and 12 numbers", "x")
MODULES = "sentence_transformers.models."


def wordpiece() -> Tokenizer:
    """A tokenizer as BERT's, of no more than WORDS tokens."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,"
    common = "the cat dog sat on mat run and dogs is a1 of in to it he she we you they not all be one two red blue"
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters[:36]), *common.split()]
    made = Tokenizer(models.WordPiece({word: at for at, word in enumerate(known)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.enable_padding()
    made.enable_truncation(5)  # as published files have it; it is not ours to follow
    assert made.get_vocab_size() <= WORDS
    return made


def written(place: Path, kind: str, head: str = "", **how: Any) -> Any:
    """A folder as save_pretrained leaves it, with a tokenizer.json; returns the library's model."""
    torch.manual_seed(3)
    config = library.AutoConfig.for_model(kind, **KINDS[kind])
    model = getattr(library, head)(config) if head else library.AutoModel.from_config(config)
    shake(model)
    model.eval().save_pretrained(place, **how)
    wordpiece().save(str(place / "tokenizer.json"))
    return model


def ids(text: str) -> torch.Tensor:
    made = wordpiece()
    made.no_padding()
    made.no_truncation()
    return torch.tensor(made.encode(text).ids)


def opened(place: Path) -> tuple[Backbone, Encoder, Loading]:
    backbone = transformers.find(str(place))
    assert (backbone.id, backbone.modality) == (f"transformers/{place}", "text")
    assert from_json(Backbone, to_json(backbone)) == backbone
    net, loading = transformers.open(backbone)
    assert not any(module.training for module in net.modules())
    assert (loading.missing, loading.shape) == ((), ())
    return backbone, net, loading


@torch.no_grad()
def agrees(net: Encoder, model: Any, after: Callable[[torch.Tensor], torch.Tensor] = lambda v: v) -> None:
    """Vectors of sentences, computed by hand one by one."""
    some = [ids(text) for text in SENTENCES]
    want = torch.stack([after(POOL[net.pool.mode](model(input_ids=one[None]).last_hidden_state[0])) for one in some])
    assert want.std(0).min() > 1e-3
    torch.testing.assert_close(net(**line(some)), want, rtol=1e-5, atol=1e-5)


HEADS = {
    "bert": "BertForMaskedLM", "roberta": "RobertaForMaskedLM", "distilbert": "DistilBertForMaskedLM",
    "electra": "ElectraForPreTraining", "albert": "AlbertForMaskedLM", "mpnet": "MPNetForMaskedLM",
    "deberta-v2": "DebertaV2ForMaskedLM", "gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM",
    "t5": "T5ForConditionalGeneration", "umt5": "UMT5ForConditionalGeneration",
}  # fmt: skip


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("kind", HEADS)
def test_folders_that_save_pretrained_wrote(home: Path, tmp_path: Path, kind: str, head: bool) -> None:
    model = written(tmp_path / "m", kind, HEADS[kind] if head else "")
    backbone, net, loading = opened(tmp_path / "m")
    body = model.get_encoder() if "t5" in kind else model.base_model
    own = {name for name, _ in body.named_parameters()}
    stray = [
        n for n in loading.unused if (n in own and not n.startswith("pooler")) or n.removeprefix(f"{kind}.") in own
    ]
    assert not [name for name in stray if "pooler" not in name]
    assert backbone.input["pooling"] == "mean"
    assert backbone.input["kinds"] == (kind in ("bert", "electra", "albert"))
    assert backbone.input["window"] == 512
    agrees(net, body)
    again, _ = transformers.open(backbone, pretrained=False)
    assert again.state_dict().keys() == net.state_dict().keys()


def sentence_encoder(place: Path, pooling: dict[str, Any], *, dense: str = "", unit: bool = True) -> Any:
    """A folder as sentence-transformers leaves it."""
    model = written(place, "bert")
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    (place / "1_Pooling").mkdir()
    (place / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 32, **pooling}))
    (place / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 100, "do_lower_case": False}))
    if dense:
        torch.manual_seed(5)
        layer = nn.Linear(32, 12)
        modules.append(("2_Dense", "Dense"))
        (place / "2_Dense").mkdir()
        facts = {"in_features": 32, "out_features": 12, "bias": True}
        facts["activation_function"] = "torch.nn.modules.activation.Tanh"
        (place / "2_Dense/config.json").write_text(json.dumps(facts))
        state = {"linear.weight": layer.weight.detach(), "linear.bias": layer.bias.detach()}
        (save_file if dense.endswith("safetensors") else torch.save)(state, place / "2_Dense" / dense)
        model.dense = layer
    if unit:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
    listed = [
        {"idx": at, "name": str(at), "path": path, "type": MODULES + kind} for at, (path, kind) in enumerate(modules)
    ]
    (place / "modules.json").write_text(json.dumps(listed))
    return model


@pytest.mark.parametrize(
    ("pooling", "mode", "dense"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean", ""),
        ({"pooling_mode_cls_token": True}, "cls", "model.safetensors"),
        ({"pooling_mode_max_tokens": True}, "max", "pytorch_model.bin"),
        ({"pooling_mode_lasttoken": True}, "last", ""),
        ({"pooling_mode": "mean"}, "mean", "model.safetensors"),
        ({"pooling_mode": "lasttoken"}, "last", ""),
    ],
)
def test_folders_of_sentence_transformers(
    home: Path, tmp_path: Path, pooling: dict[str, Any], mode: str, dense: str
) -> None:
    model = sentence_encoder(tmp_path / "m", pooling, dense=dense)
    backbone, net, _ = opened(tmp_path / "m")
    assert (net.pool.mode, backbone.input["window"]) == (mode, 100)
    after = (lambda v: torch.tanh(model.dense(v))) if dense else (lambda v: v)
    agrees(net, model, lambda v: nn.functional.normalize(after(v), dim=-1))
    found, loading = build(backbone, "classification", 3)
    assert (found.network.head.in_features, loading.missing) == (12 if dense else 32, ())
    assert all(found.exact(cut) for cut in found.cuts)


@pytest.mark.parametrize(
    ("pooling", "kind", "says"),
    [
        ({"pooling_mode_weightedmean_tokens": True}, "Normalize", "pools tokens in a way that graft does not know"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "Normalize", "in a way that graft"),
        ({"pooling_mode_mean_tokens": True}, "LSTM", "a module LSTM that graft does not know"),
    ],
)
def test_modules_that_are_not_known_are_named(
    home: Path, tmp_path: Path, pooling: dict[str, Any], kind: str, says: str
) -> None:
    sentence_encoder(tmp_path / "m", pooling)
    file = tmp_path / "m/modules.json"
    file.write_text(file.read_text().replace("Normalize", kind))
    with pytest.raises(BackboneError, match=says):
        transformers.find(str(tmp_path / "m"))


def test_lower_case_that_sentence_transformers_asks_for(home: Path, tmp_path: Path) -> None:
    sentence_encoder(tmp_path / "m", {"pooling_mode": "mean"})
    made = wordpiece()
    made.normalizer = None
    made.save(str(tmp_path / "m/tokenizer.json"))
    spec = tmp_path / "m/sentence_bert_config.json"
    heard = {}
    for lower in (False, True):
        spec.write_text(json.dumps({"max_seq_length": 100, "do_lower_case": lower}))
        input = transformers.find(str(tmp_path / "m")).input
        heard[lower] = [tokens.encoded(input["tokenizer"], text, 20)[0] for text in ("the CAT", "the cat")]
    assert heard[False][0] != heard[False][1]
    assert heard[True][0] == heard[True][1] == heard[False][1]


@pytest.mark.parametrize("how", ["sharded", "bin", "sharded bin", "gamma", "prefixed"])
def test_weights_however_they_are_kept(home: Path, tmp_path: Path, how: str) -> None:
    place = tmp_path / "m"
    model = written(place, "bert", **({"max_shard_size": "20KB"} if how == "sharded" else {}))
    if how == "sharded":
        assert len(list(place.glob("model-*.safetensors"))) > 2
    else:
        (place / "model.safetensors").unlink()
        state = model.state_dict()
        if how == "gamma":
            older = {"Norm.weight": "Norm.gamma", "Norm.bias": "Norm.beta"}
            state = {re.sub("|".join(older), lambda m: older[m[0]], name): value for name, value in state.items()}
            assert sum(name.endswith("gamma") for name in state) == 7
        if how == "prefixed":
            state = {f"module.bert.{name}": value for name, value in state.items()}
        parts = {"pytorch_model.bin": state}
        if how == "sharded bin":
            named = sorted(state)
            parts = {f"pytorch_model-{at}-of-2.bin": {n: state[n] for n in named[at - 1 :: 2]} for at in (1, 2)}
            index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
            (place / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        for file, part in parts.items():
            torch.save(part, place / file)
    _, net, loading = opened(place)
    assert {name.rpartition("pooler.")[2] for name in loading.unused} == {"dense.weight", "dense.bias"}
    agrees(net, model)


def test_a_tokenizer_in_older_files(home: Path, tmp_path: Path) -> None:
    """vocab.txt alone; another vocabulary beside the same settings is another tokenizer; settings alone are none."""
    found = []
    for name in ("one", "two"):
        written(place := tmp_path / name, "bert")
        (place / "tokenizer.json").unlink()
        known = sorted(wordpiece().get_vocab(), key=wordpiece().get_vocab().__getitem__)
        if name == "two":
            known = [*known[:5], *known[:4:-1]]
        (place / "vocab.txt").write_text("\n".join(known) + "\n")
        (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
        input = opened(place)[0].input
        theirs = library.AutoTokenizer.from_pretrained(place)
        for text in SENTENCES:
            assert tokens.encoded(input["tokenizer"], text, 512)[0] == theirs(text)["input_ids"]
        found.append(input["tokenizer"])
    assert found[0] != found[1]
    (tmp_path / "two/vocab.txt").unlink()
    with pytest.raises(BackboneError, match="has no tokenizer"):
        transformers.find(str(tmp_path / "two"))


def test_folders_that_cannot_be_used_say_why(home: Path, tmp_path: Path) -> None:
    written(place := tmp_path / "m", "bert")
    config = json.loads((place / "config.json").read_text())
    weights = (place / "model.safetensors").read_bytes()

    def says(text: str, pretrained: bool = True) -> None:
        with pytest.raises(BackboneError, match=text):
            transformers.open(transformers.find(str(place)), pretrained)

    (place / "model.safetensors").write_bytes(weights[:-500])
    says("cannot be read as weights")
    (place / "model.safetensors").unlink()
    says("holds no weights .*pytorch_model.bin")
    (place / "config.json").write_text(json.dumps({**config, "model_type": "brain"}))
    says("cannot build a 'brain' network", pretrained=False)
    (place / "config.json").write_text(json.dumps({**config, "model_type": "marian"}))
    says("'marian' network cannot run on tokens alone", pretrained=False)
    (place / "config.json").write_text('{"model_type": ')
    says("is damaged")
    (place / "config.json").unlink()
    says("config.json cannot be read")
    with pytest.raises(BackboneError, match="There is no folder"):
        transformers.find(str(tmp_path / "absent"))
    with pytest.raises(BackboneError, match="neither a folder nor a repository"):
        transformers.find("some/folder/not/there")


# ── the hub's cache ───────────────────────────────────────────────────────────────────────────────────────────────────

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a hub that cannot be reached."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "hub").mkdir()
    return tmp_path / "hub"


def cached(cache: Path, name: str) -> Path:
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    return folder / "snapshots" / COMMIT


def test_a_name_that_is_not_here_says_what_to_do(cache: Path) -> None:
    written(cached(cache, "mine/small-bert"), "bert")
    with pytest.raises(BackboneError, match=r"hub cannot be reached.*local folder .*package/.*mine/small-bert"):
        transformers.find("mine/smal-bert")


def test_the_hubs_cache_is_catalogued(cache: Path) -> None:
    assert transformers.catalog("text") == []
    model = written(place := cached(cache, "mine/small-bert"), "bert")
    (place / "README.md").write_text("---\nlicense: mit\ndatasets:\n- wiki\n- books\n---\n# A card\n")
    written(described := cached(cache, "mine/half-here"), "bert")
    (described / "model.safetensors").unlink()
    written(cached(cache, "mine/sharded"), "bert", max_shard_size="20KB")
    (one, other) = transformers.catalog("text")
    assert (one.id, other.id) == ("transformers/mine/sharded", "transformers/mine/small-bert")
    assert (other.revision, other.license, other.pretrained_on) == (COMMIT, "mit", "wiki, books")
    assert transformers.catalog("image") == transformers.catalog("audio") == []
    assert transformers.find("mine/small-bert") == other
    net, loading = transformers.open(other)
    assert loading.missing == ()
    agrees(net, model)


@pytest.mark.parametrize("kept", ["model.safetensors", "pytorch_model.bin"])
def test_what_is_fetched(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str, caplog) -> None:
    """Only what describes a network until its weights are asked for; older weights only where there are no others."""
    model = sentence_encoder(tmp_path / "far", {"pooling_mode": "mean"}, dense="pytorch_model.bin")
    torch.save(model.state_dict(), tmp_path / "far/pytorch_model.bin")
    (tmp_path / "far/onnx").mkdir()
    (tmp_path / "far/onnx/model.onnx").write_bytes(b"0")
    if kept != "model.safetensors":
        (tmp_path / "far/model.safetensors").unlink()

    place = cached(cache, "far/away")

    def download(name: str, allow_patterns: list[str], **more: Any) -> str:
        every = [str(file.relative_to(tmp_path / "far")) for file in (tmp_path / "far").rglob("*") if file.is_file()]
        for file in huggingface_hub.utils.filter_repo_objects(every, allow_patterns=allow_patterns):
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tmp_path / "far" / file, place / file)
        return str(place)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    backbone = transformers.find("far/away")
    assert not {file.suffix for file in place.rglob("*")} & {".safetensors", ".bin", ".onnx"}
    net, loading = transformers.open(backbone)
    assert loading.missing == ()
    agrees(net, model, lambda v: nn.functional.normalize(torch.tanh(model.dense(v)), dim=-1))
    assert {file.name for file in place.glob("*") if file.suffix in (".safetensors", ".bin")} == {kept}
    assert "fetching transformers/far/away" in caplog.text
    assert transformers.find("far/away").revision == COMMIT
