"""The whole path on sounds, as users walk it: who speaks kept apart, any rate and length, local encoders, bad clips."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
import transformers
from scipy.signal import lfilter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import graft
import voices
from command import cli, here
from conftest import at_home
from graft.adapt import finished
from graft.adapt import logits as answers_of
from graft.build import examples
from graft.core.nouns import Budget, Form
from graft.data.dataset import table
from graft.features import sweep
from graft.model.cuts import find as cuts_of
from graft.model.identity import remarks
from graft.model.linear import grouped
from graft.model.modes import pooled
from graft.model.voices import Ecapa

RATE = voices.RATE
SHORT = Budget(seconds=10, firm=False)
KINDS = {"open": (0, 4), "close": (1, 2)}  # the vowels that are said
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SETTINGS = {"sampling_rate": RATE, "do_normalize": True}


def say(kind: str, speaker: int, number: int, seconds: float = 1.0, pace: float = 5.0) -> np.ndarray:
    """One of any number of speakers, each with a voice of their own, says vowels of a kind, `pace` in a second."""
    own, rng = np.random.default_rng([7, speaker]), np.random.default_rng([speaker, number, len(kind)])
    pitch, throat, breath = own.uniform(90, 280), own.uniform(0.85, 1.3), own.uniform(0.02, 0.1)
    parts, n = max(2, round(seconds * pace)), round(seconds * RATE)
    melody = np.interp(np.linspace(0, parts, n), np.arange(parts + 1), pitch * 2 ** rng.uniform(-0.2, 0.2, parts + 1))
    out, edges = np.diff(np.floor(np.cumsum(melody / RATE)), prepend=0) + breath * rng.standard_normal(n), np.arange(n)
    vowels = np.array(voices.VOWELS)[rng.choice(KINDS[kind], parts)]
    for start, stop, vowel in zip(edges[:: n // parts], [*edges[n // parts :: n // parts], n], vowels, strict=False):
        for hertz in np.minimum(vowel * throat, 7600):
            out[start:stop] = lfilter(*voices.resonance(hertz), out[start:stop])
        out[start:stop] *= np.hanning(stop - start) ** 0.5
    return (0.4 * out / np.abs(out).max()).astype(np.float32)


def written(path: Path, samples: np.ndarray, rate: int = RATE, channels: int = 1, **more: Any) -> Path:
    """A sound file at another rate, its channels differing in loudness."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = soxr.resample(samples, RATE, rate) if rate != RATE else samples
    soundfile.write(path, samples[:, None] / np.arange(1, channels + 1) if channels > 1 else samples, rate, **more)
    return path


def listed(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with a folder for each speaker: 0.3 to 2.2 s, 8 kHz to 44.1 kHz in stereo, three formats."""
    folder = tmp_path_factory.mktemp("sounds") / "clips"
    shapes = [(0.3, 16_000, 1, "wav"), (1.0, 8_000, 1, "flac"), (1.0, 44_100, 2, "wav"), (2.2, 22_050, 1, "ogg")]
    for kind in KINDS:
        for speaker in range(8):
            for number, (seconds, rate, channels, ending) in enumerate(shapes):
                path = folder / kind / f"speaker{speaker}" / f"{number}.{ending}"
                written(path, say(kind, speaker, number, seconds), rate, channels)
    return folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ids of local folders as save_pretrained writes them, their settings written by hand."""
    place = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    wave = transformers.Wav2Vec2Config(
        **SMALL, conv_dim=(8, 8, 12), conv_kernel=(10, 8, 8), conv_stride=(5, 8, 8), num_feat_extract_layers=3,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    patch = transformers.ASTConfig(**SMALL, max_length=200, num_mel_bins=64)
    words = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, num_mel_bins=40, max_source_positions=100, vocab_size=20,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    mel = {"num_mel_bins": 64, "max_length": 200, "mean": -4.0, "std": 4.0}
    for model, settings in (
        (transformers.Wav2Vec2Model(wave), {}),
        (transformers.ASTModel(patch), mel),
        (transformers.WhisperModel(words), {"feature_size": 40, "chunk_length": 2}),
    ):
        folder = place / model.config.model_type
        model.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps({**SETTINGS, **settings}))
    return {folder.name: f"transformers/{folder}" for folder in place.iterdir()}


@pytest.fixture(scope="module")
def audio_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audio") / "home"


@pytest.fixture(autouse=True)
def audio_home(audio_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that the tests of this file share: what one computes, others find."""
    return at_home(monkeypatch, audio_place)


@pytest.fixture(scope="module")
def walked(audio_place: Path, clips: Path, encoders: dict[str, str]) -> tuple[dict[str, Any], Path, str]:
    """The path in a process of its own: artifact, folder, what was said on the way."""
    with pytest.MonkeyPatch.context() as patch:
        at_home(patch, audio_place)
        options = ["--backbone", encoders["wav2vec2"], "--strategy", "lp_ft", "--budget", "10s", "--json"]
        done = cli("transfer", clips, *options, "--out", clips.parent / "model")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), clips.parent / "model", done.stderr


def test_the_path_is_walked_and_what_ships_is_what_was_trained(walked) -> None:
    artifact, out, said = walked
    assert artifact["verdict"] in ("positive", "inconclusive", "negative")
    assert artifact["parity"] <= 1e-4
    assert "The folders within the class folders say who or what each clip comes from." in said
    assert "from 8 (speaker0, speaker1, speaker2, …), and all of one stand in one part" in said
    rows = {row["name"] for row in json.loads((out / "card.json").read_text())["report"]["rows"]}
    assert rows == {"adapted", "linear_probe", "logmel", "scratch", "trivial"}


def test_no_part_shares_a_speaker(clips: Path) -> None:
    for seed in range(5):
        task = graft.load(clips, seed=seed)
        parts = (task.train, task.val, task.test.open("a test of the split"))
        people = [set(part.groups) for part in parts]
        assert sum(map(len, people)) == len(set.union(*people)) == 8
        assert all(set(part.targets) == {0, 1} for part in parts)


def test_answers_from_files_bytes_and_samples_are_the_networks(walked, clips: Path, capsys) -> None:
    _, out, _ = walked
    task, predictor = graft.load(clips), graft.open(out)
    items = list(task.val.items)
    assert here("predict", out, *items, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    if run := finished(predictor.card.get("run", "")):
        logits = answers_of(task, run, task.val)[0]
        np.testing.assert_allclose(predictor.logits(items), logits, atol=1e-4)
    if "backbone" in predictor.card:
        from graft.parity import rebuilt

        made = [fed for fed, _ in predictor.prepared(items)]
        np.testing.assert_allclose(predictor.logits(items), rebuilt(out, made), atol=1e-4)
    for item, one in list(zip(items, told, strict=True))[:4]:
        samples, rate = soundfile.read(item, dtype="float32")
        given = [
            Path(item).read_bytes(),
            {"samples": samples, "rate": rate},
            {"samples": samples.tolist(), "rate": rate},
        ]
        for other in predictor.predict(given):
            assert other["label"] == one["label"]
            assert other["probabilities"] == pytest.approx(one["probabilities"], abs=1e-4)
    assert len(predictor.predict(clips / "open" / "speaker3")) == 4
    silent, strange = predictor.predict([{"samples": np.zeros(99), "rate": RATE}, np.zeros(RATE)])
    assert "label" in silent
    assert "needs its rate" in strange["error"]


def test_a_table_names_speakers_and_numbers_are_learned(encoders, tmp_path: Path, capsys) -> None:
    paces = np.round(np.random.default_rng(1).uniform(2, 9, 40), 2)
    for at, pace in enumerate(paces):
        written(tmp_path / f"{at}.wav", say("open", at % 10, at, 1.0, pace))
    rows = [(f"{at}.wav", pace, f"S{at % 10}") for at, pace in enumerate(paces)]
    place = listed(tmp_path / "paces.csv", ("path", "syllables per second", "speaker"), rows)
    options = ["--backbone", encoders["wav2vec2"], "--strategy", "linear_probe", "--budget", "10s", "--json"]
    assert here("transfer", place, *options, "--out", tmp_path / "model") == 0
    done = capsys.readouterr()
    assert "quantities (head regression)" in done.err
    assert "The column 'speaker' says who or what each row comes from." in done.err
    assert json.loads(done.out)["parity"] <= 1e-4
    predictor = graft.open(tmp_path / "model")
    (answer,) = predictor.predict(tmp_path / "3.wav")
    (value,) = [told for name, told in answer.items() if isinstance(told, float)]
    assert value == pytest.approx(float(predictor.logits([str(tmp_path / "3.wav")])[0, 0]), rel=1e-3)


@pytest.mark.parametrize("kind", ["wav2vec2", "audio-spectrogram-transformer", "whisper"])
def test_local_encoders_rank_and_adapt(kind: str, clips: Path, encoders, audio_place: Path) -> None:
    task = graft.load(clips)
    evidence = graft.rank(task, [encoders[kind]], SHORT)[0]
    assert (evidence.loading.missing, evidence.loading.shape) == ((), ())
    assert all(name.startswith(("decoder.", "masked_spec_embed")) for name in evidence.loading.unused)
    assert len(evidence.stage_curve) > 2
    for strategy in ("linear_probe", "lp_ft", "full"):
        chosen = graft.plan(task, evidence, strategy, SHORT)
        run = graft.adapt(task, chosen)
        assert Path(run.weights).is_file()
        assert not run.untrained
    assert any("training examples, by whom they come from)" in sentence for sentence in evidence.why)


@pytest.mark.parametrize(
    ("kind", "seconds"), [("wav2vec2", 2.0), ("audio-spectrogram-transformer", 2.015), ("whisper", 2.0)]
)
def test_features_are_those_of_the_library(kind: str, seconds: float, encoders, tmp_path: Path) -> None:
    """Of clips as long as the window: the library's own extractor and model, clip by clip."""
    rows = [
        (str(written(tmp_path / f"{name}{speaker}{number}.wav", say(name, speaker, number, seconds))), name)
        for name in KINDS
        for speaker in range(6)
        for number in range(3)
    ]
    task = graft.load(listed(tmp_path / "clips.csv", ("path", "label"), rows))
    evidence = graft.rank(task, [encoders[kind]], SHORT)[0]
    chain, _ = graft.build(evidence.backbone, task.head, 2)
    prefix, _ = chain.split(len(chain.stages), Form(batch=8))
    x, y = table(sweep(prefix, chain.stages[-1:], examples(task, task.train, evidence.backbone))[0])

    folder = encoders[kind].removeprefix("transformers/")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    model = model.encoder if kind == "whisper" else model
    extractor = {
        "wav2vec2": transformers.Wav2Vec2FeatureExtractor,
        "audio-spectrogram-transformer": transformers.ASTFeatureExtractor,
        "whisper": transformers.WhisperFeatureExtractor,
    }[kind].from_pretrained(folder)
    heard = []
    for item in task.train.items:
        seen = extractor(soundfile.read(item, dtype="float32")[0], sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            tokens = model(next(iter(seen.values()))).last_hidden_state
        heard.append((tokens[:, :2] if kind.startswith("audio") else tokens).mean(1))
    theirs = torch.cat(heard).numpy()
    np.testing.assert_allclose(x, theirs, atol=1e-4 * np.abs(theirs).max())
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    by_hand = cross_val_score(probe, theirs, y, cv=5).mean()
    assert evidence.scores["probe"] >= by_hand - 3 * evidence.probe_error


def test_convolutions_over_time_are_averaged_over_time() -> None:
    """A stage's vector is as long as the stage is wide, however long the window is."""
    net = Ecapa(bands=8, channels=16, pooled=24, width=6).eval()
    for frames in (12, 40):
        found = {cut.name: cut for cut in cuts_of(net, {"input": torch.randn(2, frames, 8)}, "input")}
        told = {name: cut.channels for name, cut in found.items() if name.startswith(("blocks", "mfa"))}
        assert len(told) > 5
        assert set(told.values()) == {0}, told
    maps = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert pooled(maps, 0).tolist() == [[5.5, 17.5]]
    assert pooled(maps).tolist() == [[10.0, 11.0, 12.0, 13.0]]


def test_two_windows_of_one_network_keep_their_features_apart(encoders, tmp_path: Path) -> None:
    """Layers before the first weight that knows the window's length give as many frames as it has."""
    for seconds in (0.5, 1.5):
        rows = [
            (str(written(tmp_path / f"{kind}{at}{seconds}.wav", say(kind, at, 0, seconds))), kind)
            for kind in KINDS
            for at in range(12)
        ]
        task = graft.load(listed(tmp_path / "clips.csv", ("path", "label"), rows))
        evidence = graft.rank(task, [encoders["whisper"]], SHORT)[0]
        assert evidence.backbone.input["window"] == seconds
        assert [stage.score > 0.4 for stage in evidence.stage_curve]
        chain, _ = graft.build(evidence.backbone, task.head, 2)
        prefix, _ = chain.split(1, Form(batch=8))
        sweep(prefix, chain.stages[:1], examples(task, task.train, evidence.backbone))


def test_whom_features_know_is_said(tmp_path: Path, encoders) -> None:
    """Each speaker has one label, which no voice gives away: the probe knows the speakers, not the labels."""
    labels = np.random.default_rng(3).permutation(["sick", "well"] * 5)
    rows = [
        (str(written(tmp_path / f"{at}-{number}.wav", say("open", at, number, 0.6))), labels[at], f"S{at}")
        for at in range(10)
        for number in range(8)
    ]
    task = graft.load(listed(tmp_path / "clips.csv", ("path", "label", "speaker"), rows))
    why = " ".join(graft.rank(task, [encoders["whisper"]], SHORT)[0].why)
    assert "is told from its features with an accuracy of" in why
    assert "Where whole groups are left out" not in why  # as they are by the probe itself

    rng = np.random.default_rng(0)
    who, y = np.repeat(np.arange(10), 20), np.repeat(np.arange(10) % 2, 20)
    x = rng.standard_normal((200, 12)) + 4 * rng.standard_normal((10, 12))[who]
    known, elsewhere = remarks(x, [f"S{one}" for one in who], y)
    assert "accuracy of 1.00, by naming the commonest 0.10: one who stood" in known
    assert float(elsewhere.split("reaches ")[1].split(" ")[0]) < 0.8
    assert remarks(x, (), y) == ()
    assert remarks(x, ["one"] * 200, y) == ()
    nobody = remarks(rng.standard_normal((200, 12)), [f"S{one}" for one in who])
    assert len(nobody) == 1
    assert nobody[0].endswith(".")
    assert "recognised" not in nobody[0]
    for name in set(who):
        assert len(set(grouped([f"S{one}" for one in who])[who == name])) == 1


# ── who speaks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def notes(task: graft.Task) -> str:
    return "\n".join(task.audit.notes)


def test_a_speaker_in_two_given_parts_is_noticed(tmp_path: Path) -> None:
    for part, speakers in (("train", range(5)), ("test", range(4, 7))):
        for kind in KINDS:
            for speaker in speakers:
                for number in range(3):
                    path = tmp_path / "parts" / part / kind / f"{speaker}" / f"{part}{number}.wav"
                    written(path, say(kind, speaker, number + 10 * (part == "test"), 0.5))
    said = notes(graft.load(tmp_path / "parts"))
    assert "1 of 7 groups, such as '4', stand in the training and in the test part" in said
    assert "all of one stand in one part" not in said


def test_one_speaker_and_two(tmp_path: Path) -> None:
    for speakers in (1, 2):
        rows = [
            (str(written(tmp_path / f"{kind}{speaker}{at}.wav", say(kind, speaker, at, 0.5))), kind, f"S{speaker}")
            for kind in KINDS
            for speaker in range(speakers)
            for at in range(9)
        ]
        task = graft.load(listed(tmp_path / "clips.csv", ("path", "label", "speaker"), rows))
        test = task.test.open("a test of the split")
        if speakers == 1:
            assert "All examples come from one, 'S0': how well others will do is not measured." in notes(task)
            continue
        assert not {*test.groups} & {*task.train.groups, *task.val.groups}
        assert {*task.train.groups} == {*task.val.groups}
        assert "whoever an example comes from: there are too few to keep apart" in notes(task)


def test_folders_that_only_some_clips_stand_in_say_nothing(tmp_path: Path) -> None:
    for kind in KINDS:
        for at in range(8):
            written(tmp_path / kind / ("deeper" if at < 2 else "") / f"{at}.wav", say(kind, at, 0, 0.4))
    task = graft.load(tmp_path)
    assert not task.train.groups
    assert "4 of 16 clips stand in a folder within their class; as others do not, it says nothing." in notes(task)


# ── bad clips ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bad_clips_are_left_out_or_said_and_nothing_stops(encoders, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "clips"
    for kind in KINDS:
        for at in range(8):
            written(folder / kind / f"{at}.wav", say(kind, at, 0, 0.5))
    odd, broken = say("open", 1, 1, 0.5), say("open", 2, 2, 0.5)
    broken[100:200] = np.nan
    bad = folder / "open"
    written(bad / "silent.wav", np.zeros(RATE, np.float32))
    written(bad / "clipped.wav", np.clip(20 * odd, -1, 1))
    written(bad / "holes.wav", broken, subtype="FLOAT")
    written(bad / "loud.wav", say("open", 3, 3, 0.5) * 32768, subtype="FLOAT")
    written(bad / "click.wav", odd[:300])
    written(bad / "long.flac", np.tile(say("open", 4, 4), 20))
    written(bad / "telephone.wav", say("open", 5, 5), 8_000)
    wrong = {
        "nan.wav": written(tmp_path / "nan.wav", np.full(RATE, np.nan, np.float32), subtype="FLOAT").read_bytes(),
        "cut.wav": (bad / "1.wav").read_bytes()[:5000],
        "empty.wav": b"",
        "text.wav": b"hello",
        "header.wav": b"RIFF" + bytes(40),
    }
    for name, raw in wrong.items():
        (bad / name).write_bytes(raw)
    task = graft.load(folder)
    assert {Path(item).name for item, _ in task.audit.skipped} == set(wrong)
    for what in ("silent", "clipped", "in part no numbers", "far beyond full scale", "shorter than 0.1 s"):
        assert f"1 of 23 are {what}" in notes(task)
    options = ["--backbone", encoders["wav2vec2"], "--strategy", "linear_probe", "--budget", "5s", "--quiet"]
    assert here("transfer", folder, *options, "--out", tmp_path / "model") == 0
    capsys.readouterr()
    good = [bad / "0.wav", bad / "silent.wav", bad / "telephone.wav", bad / "long.flac"]
    assert here("predict", tmp_path / "model", *good, *(bad / name for name in wrong), "--json") == 0
    answers = json.loads(capsys.readouterr().out)
    assert ["error" in one for one in answers] == [False] * len(good) + [True] * len(wrong)


def test_what_cannot_be_learned_is_refused_in_words(encoders, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    assert here("load", tmp_path / "empty", "--modality", "audio") == 2
    assert "No examples were found" in capsys.readouterr().err
    for at in range(6):
        written(tmp_path / "one" / "open" / f"{at}.wav", say("open", at, 0, 0.4))
    assert here("load", tmp_path / "one") == 2
    assert "one class, 'open', to learn, and two are needed" in capsys.readouterr().err
    assert here("rank", tmp_path / "one", "--backbone", "package/resnet18") == 2
    assert here("load", tmp_path / "one", "--read", "loudness=3") in (0, 2)


# ── published weights ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.weights
def test_a_speaker_encoder_tells_speakers_and_is_a_plain_forward(tmp_path: Path, weights_home) -> None:
    """Who speaks, from what they said elsewhere; features as the network alone gives them, window by window."""
    # WAV alone: the bytes of an OGG, and with them the split, are others each time it is written.
    rows = [
        (str(written(tmp_path / f"{kind}{at}-{number}.wav", say(kind, at, number, 1.6))), f"speaker{at}")
        for kind in KINDS
        for at in range(5)
        for number in range(6)
    ]
    task = graft.load(listed(tmp_path / "clips.csv", ("path", "label"), rows))
    evidence = graft.rank(task, ["package/ge2e"], Budget(seconds=20))[0]
    assert evidence.scores["probe"] > 0.6
    chain, loading = graft.build(evidence.backbone, task.head, 5)
    assert not loading.missing
    prefix, _ = chain.split(len(chain.stages), Form(batch=8))
    raw = examples(task, task.train, evidence.backbone)
    x, _ = table(sweep(prefix, chain.stages[-1:], raw)[0])
    body = chain.network.backbone.body
    for row in range(0, len(raw), 4):
        windows = raw.example(row, 0)["x"]
        with torch.no_grad():
            each = [body(torch.from_numpy(window[None]))[0].numpy() for window in windows]
        np.testing.assert_allclose(x[row], np.mean(each, 0), atol=1e-4 * np.abs(x[row]).max())
