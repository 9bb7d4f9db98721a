"""Sound: files of every kind read alike, spectra as the networks were shown them, windows that lose nothing."""

import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from graft.baselines import logmel
from graft.core.errors import DataError, PlanError
from graft.data import sound, soundfiles
from graft.data.mel import Mel, spectrum
from graft.data.sound import Sound
from graft.modalities import audio
from graft.model import linear
from voices import speak

WAVE = {"longest": 10.0, "standardised": True}
WHISPER = {"longest": 30.0, "mel": {"mean": -40.0, "std": 40.0}}
AST = {
    "longest": 10.24,
    "mel": {"family": "kaldi", "bands": 128, "unit": "log", "depth": 0.0, "mean": -4.2677393, "std": 9.1379948},
}
GE2E = {"window": 1.6, "longest": 1.6, "loudness": -30.0, "mel": {"bands": 40, "unit": "power", "depth": 0.0}}
ECAPA = {"longest": 10.0, "mel": {"family": "speechbrain", "centred": True}}
INPUTS = {"wave": WAVE, "whisper": WHISPER, "ast": AST, "ge2e": GE2E, "ecapa": ECAPA}


def tone(rate: int, hertz: float = 440.0, seconds: float = 1.0, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def file(samples: np.ndarray, rate: int, format: str = "WAV", subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=format, subtype=subtype)
    return out.getvalue()


# ── decoding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_a_sine_stays_the_sine_it_is_at_any_rate(rate: int) -> None:
    heard = audio.decode(file(tone(rate), rate, subtype="FLOAT"))
    assert heard.rate == 16_000
    assert abs(len(heard.samples) - 16_000) <= 1
    inner = slice(800, 15_200)  # a resampler sees silence beyond the edges
    np.testing.assert_allclose(heard.samples[inner], tone(16_000)[inner], atol=1e-3)


@pytest.mark.parametrize("hertz", [8_500, 10_000, 15_560, 23_000])
def test_what_the_new_rate_cannot_hold_is_gone_and_does_not_come_back_as_another_pitch(hertz: int) -> None:
    heard = audio.decode(file(tone(48_000, hertz), 48_000, subtype="FLOAT")).samples[800:-800]
    assert np.abs(heard).max() < 0.5e-3  # 60 dB down


@pytest.mark.parametrize(
    ("format", "subtype", "off"),
    [
        ("WAV", "PCM_U8", 0.02), ("WAV", "PCM_16", 1e-3), ("WAV", "PCM_24", 1e-3), ("WAV", "PCM_32", 1e-3),
        ("WAV", "FLOAT", 1e-3), ("WAV", "DOUBLE", 1e-3), ("WAV", "ULAW", 0.02), ("FLAC", "PCM_24", 1e-3),
        ("OGG", "VORBIS", 0.03), ("OGG", "OPUS", 0.03), ("MP3", None, 0.03), ("AIFF", "PCM_16", 1e-3),
        ("AU", "PCM_16", 1e-3), ("CAF", "PCM_16", 1e-3), ("W64", "PCM_16", 1e-3), ("RF64", "PCM_16", 1e-3),
    ],
)  # fmt: skip
def test_every_format_tells_the_same_sound(format: str, subtype: str | None, off: float) -> None:
    raw = file(tone(48_000), 48_000, format, subtype)
    np.testing.assert_allclose(audio.decode(raw).samples[2000:14_000], tone(16_000)[2000:14_000], atol=off)
    seen = audio.look(raw)
    assert (seen.rate, seen.channels, seen.notes) == (48_000, 1, ())
    assert seen.seconds == pytest.approx(1, abs=0.06)


def test_channels_are_averaged_and_blocks_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.stack([tone(44_100, 100 * (1 + channel)) for channel in range(8)], 1)
    raw = file(whole, 44_100, subtype="FLOAT")
    heard = audio.decode(raw).samples
    expected = np.mean([tone(16_000, 100 * (1 + channel)) for channel in range(8)], 0)
    np.testing.assert_allclose(heard[800:15_000], expected[800:15_000], atol=1e-3)
    monkeypatch.setattr(sound, "BLOCK", 8 * 1000)
    np.testing.assert_array_equal(audio.decode(raw).samples, heard)


def test_memory_is_that_of_one_channel() -> None:
    raw = file(np.zeros((48_000 * 40, 8), np.float32), 48_000, "FLAC")  # 61 MB of samples
    tracemalloc.start()
    audio.decode(raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def wav(data: bytes, format: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, size: int = -1) -> bytes:
    """A WAV file whose header says what we want it to say."""
    step = channels * bits // 8
    fields = [(format, 2), (channels, 2), (rate, 4), (rate * step % 2**32, 4), (step, 2), (bits, 2)]
    head = b"".join(value.to_bytes(width, "little") for value, width in fields)
    length = (len(data) if size < 0 else size).to_bytes(4, "little")
    body = b"WAVEfmt " + (16).to_bytes(4, "little") + head + b"data" + length + data
    return b"RIFF" + min(len(body) + 8, 2**32 - 1).to_bytes(4, "little") + body


PCM = (tone(16_000) * 32767).astype("<i2").tobytes()
FLAC, OGG, MP3 = (file(tone(16_000), 16_000, kind) for kind in ("FLAC", "OGG", "MP3"))
NAN = np.full(1600, np.nan, np.float32)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "empty"),
        (b"these are no samples, but words\n" * 9, "text that starts with 'these are no samples"),
        (b"<!DOCTYPE html><html><body>404", "web page|HTML page"),
        (b"<?xml version='1.0'?><Error/>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "AAC.*save its sound as WAV or FLAC"),
        (b"\x1aE\xdf\xa3" + bytes(50), "WebM"),
        (b"\xff\xf1\x50\x80" + bytes(60), "AAC"),
        (b"PK\x03\x04" + bytes(50), "ZIP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "picture"),
        (b"\x07\x01\x02\x03" + bytes(range(90)), "starts with the bytes 07 01 02 03"),
        (bytes(4096), "starts with the bytes 00 00"),
        (wav(b""), "0 samples"),
        (wav(PCM)[:30], "cut short or damaged"),
        (wav(PCM)[:-1000], "cut short: 1000 bytes"),
        (file(tone(16_000), 16_000, "AIFF")[:-500], "cut short"),
        (wav(PCM, channels=0), "damaged"),
        (wav(PCM, rate=0), "damaged"),
        (wav(PCM, rate=7), "7 Hz"),
        (wav(PCM, rate=4_000_000_000), "Hz|damaged"),
        (FLAC[: len(FLAC) // 2], "FLAC|damaged"),
        (FLAC[:50], "cut short or damaged"),
        (OGG[:100], "cut short or damaged"),
        (OGG[: len(OGG) // 3], "cut short"),
        (MP3[:40], "cut short or damaged"),
        (file(NAN, 16_000, subtype="FLOAT"), "1600 of the 1600 samples.*no numbers"),
        (file(np.full(1600, np.inf), 16_000, subtype="DOUBLE"), "no numbers"),
    ],
    ids=range(27),
)  # fmt: skip
def test_what_is_no_sound_is_refused_with_the_reason(raw: bytes, why: str) -> None:
    for read in (audio.decode, audio.look):
        with pytest.raises(DataError, match=why) as caught:
            read(raw)
        assert str(caught.value).endswith(".")
        assert "BytesIO" not in str(caught.value)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_a_damaged_file_is_a_sound_or_a_reason(kind: str) -> None:
    raw, rng = file(tone(16_000, seconds=0.3), 16_000, kind), np.random.default_rng(1)
    for attempt in range(60):
        broken = bytearray(raw[: rng.integers(1, len(raw))] if attempt % 2 else raw)
        for _ in range(1 + attempt % 8):
            broken[rng.integers(min(len(broken), 200 if attempt % 3 else len(broken)))] = rng.integers(256)
        try:
            heard = audio.decode(bytes(broken))
        except DataError:
            continue
        assert len(heard.samples)
        assert np.isfinite(heard.samples).all()


def test_a_stream_that_knows_no_length_is_read() -> None:
    assert len(audio.decode(wav(PCM, size=0xFFFFFFFF)).samples) == 16_000
    flac = bytearray(FLAC)
    flac[21] &= 0xF0  # of the 36 bits that count samples
    flac[22:26] = bytes(4)
    assert len(audio.decode(bytes(flac)).samples) == 16_000
    assert audio.look(bytes(flac)).notes == ()


def test_what_is_odd_is_noted_and_kept() -> None:
    clean = tone(16_000)
    some = clean.copy()
    some[100:110] = np.nan
    some[500] = np.inf
    loud = (clean * 40_000).astype(np.float32)
    notes = {
        "silent": file(np.zeros(16_000), 16_000),
        "clipped": file(np.clip(4 * clean, -1, 1), 16_000),
        "shorter than 0.1 s": file(clean[:800], 16_000),
        "in part no numbers, heard there as silence": file(some, 16_000, subtype="FLOAT"),
        "far beyond full scale, and brought to it": file(loud, 16_000, subtype="FLOAT"),
    }
    for note, raw in notes.items():
        assert audio.look(raw).notes == (note,)
        assert np.abs(audio.decode(raw).samples).max() <= 1
        for input in map(audio.parse, INPUTS.values()):
            assert np.isfinite(audio.prepare(audio.decode(raw), input)["x"]).all()
    assert audio.look(file(np.zeros(16_000), 16_000)).hash == 0
    assert audio.look(file(speak(0, 0), 16_000, "MP3")[:9000]).notes == ("shorter than their header says",)


def test_clips_beyond_the_limits_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (place := tmp_path / "long.wav").write_bytes(file(tone(16_000, seconds=3), 16_000))
    raw = audio.fetch(str(place), audio.Reading())
    monkeypatch.setattr(sound, "HOUR", 2)
    for kind in ("WAV", "FLAC", "OGG", "MP3"):
        with pytest.raises(DataError, match="Cut it into clips"):
            audio.decode(file(tone(16_000, seconds=3), 16_000, kind))
    monkeypatch.setattr(soundfiles, "MAX_BYTES", 1000)
    for read in (lambda: audio.decode(raw), lambda: audio.fetch(str(place), audio.Reading())):
        with pytest.raises(DataError, match="Cut it into clips"):
            read()


def test_copies_look_alike_and_others_do_not() -> None:
    base, rate = speak(0, 0), 16_000
    whole = audio.look(file(base, rate)).hash
    half = audio.decode(file(base, rate), input=audio.parse({"rate": 8000})).samples
    copies = [file(base, rate, "MP3"), file(base, rate, "OGG"), file(half, 8000), file(0.1 * base, rate)]
    assert max((audio.look(copy).hash ^ whole).bit_count() for copy in copies) <= 3
    others = [speak(0, 1), speak(1, 0), base[::-1], tone(rate)]
    assert min((audio.look(file(other, rate)).hash ^ whole).bit_count() for other in others) > 8


# ── spectra ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def spectra(name: str, samples: np.ndarray) -> np.ndarray:
    return audio.prepare(Sound(samples, 16_000), audio.parse(INPUTS[name] | {"window": len(samples) / 16_000}))["x"][0]


@pytest.mark.parametrize("seconds", [0.5, 3.0, 30.0])
def test_whispers_spectra_are_its_extractors(seconds: float) -> None:
    from transformers import WhisperFeatureExtractor

    samples = np.resize(speak(0, 0), round(16_000 * seconds))
    extractor = WhisperFeatureExtractor()
    extractor.n_samples = len(samples)
    expected = extractor(samples, sampling_rate=16_000, return_tensors="np").input_features[0].T
    np.testing.assert_allclose(spectra("whisper", samples), expected, atol=2e-4)


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_ast_spectra_are_its_extractors() -> None:
    from transformers import ASTFeatureExtractor

    samples = np.resize(speak(1, 0), 400 + 160 * 500)
    expected = ASTFeatureExtractor(max_length=501)(samples, sampling_rate=16_000, return_tensors="np").input_values[0]
    np.testing.assert_allclose(spectra("ast", samples), expected, atol=2e-4)


def test_standardised_windows_are_wav2vec2s() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    samples = speak(0, 0)[:8000]
    expected = Wav2Vec2FeatureExtractor(do_normalize=True)(samples, sampling_rate=16_000).input_values[0]
    np.testing.assert_allclose(spectra("wave", samples), expected, atol=1e-4)


def test_ge2es_spectra_are_librosas_mel_powers() -> None:
    from transformers.audio_utils import mel_filter_bank

    samples = speak(0, 0)[:25_600]
    spread = torch.stft(torch.from_numpy(samples), 400, 160, window=torch.hann_window(400), return_complex=True)
    expected = spread.abs().square().T.numpy() @ mel_filter_bank(201, 40, 0, 8000, 16_000, "slaney", "slaney")
    quiet = 10 ** (-30 / 20) / np.sqrt(np.mean(samples.astype(float) ** 2))  # raised to -30 dB, never lowered
    np.testing.assert_allclose(spectra("ge2e", samples), expected[:160] * max(1, quiet) ** 2, rtol=1e-3, atol=1e-5)
    assert quiet < 1
    np.testing.assert_allclose(spectra("ge2e", samples / 1000), expected[:160] * quiet**2, rtol=1e-3, atol=1e-5)


def test_ecapas_spectra_follow_the_formulas_of_speechbrain() -> None:
    samples = speak(1, 1)[:32_000]
    taper = torch.hamming_window(400)
    spread = torch.stft(torch.from_numpy(samples), 400, 160, 400, taper, True, "constant", return_complex=True)
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82)
    hertz = 700 * (10 ** (mels / 2595) - 1)
    middle, band = hertz[1:-1], np.diff(hertz)[:-1]  # both sides of a triangle are as wide as the lower one
    lines = np.linspace(0, 8000, 201)
    bank = np.maximum(0, 1 - np.abs(lines[:, None] - middle) / band)
    decibels = 10 * np.log10(np.maximum(spread.abs().square().T.numpy() @ bank, 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    np.testing.assert_allclose(spectra("ecapa", samples), decibels - decibels.mean(0), atol=5e-3)


@pytest.mark.parametrize("family", ["librosa", "speechbrain", "kaldi"])
def test_long_sounds_have_the_frames_that_are_promised(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mel = Mel(family, depth=0)
    for samples in (mel.least, 400, 401, 16_000, 16_159):
        noise = np.random.default_rng(0).normal(size=samples).astype(np.float32)
        whole = spectrum(noise, 16_000, mel)
        assert whole.shape == (mel.frames(samples), 80)
        monkeypatch.setattr("graft.data.mel.BLOCK", 7)
        np.testing.assert_allclose(spectrum(noise, 16_000, mel), whole, rtol=1e-5, atol=1e-4)
        monkeypatch.undo()


# ── windows ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=200, deadline=None)
@forall(st.integers(1, 3000), st.integers(1, 400))
def test_every_sample_is_in_some_window(length: int, size: int) -> None:
    samples = np.arange(length, dtype=np.float32)
    rows = audio.windows(samples, size)
    assert rows.shape == (-(-length // size), size)
    assert set(rows.ravel()) == set(samples)
    if length >= size:
        starts = rows[:, 0]
        assert (rows == starts[:, None] + np.arange(size)).all()
        assert (rows[0, 0], rows[-1, -1]) == (0, length - 1)
        assert len(rows) < 3 or np.ptp(np.diff(starts)) <= 1  # evenly placed
    else:
        assert (rows[0] == samples[np.arange(size) % length]).all()


def test_a_window_covers_most_training_clips() -> None:
    clips = [Sound(np.zeros(round(16_000 * s), np.float32), 16_000) for s in np.linspace(0.1, 4.0, 40)]
    assert audio.suited(WHISPER, audio.Reading(), iter(clips)) == {**WHISPER, "window": 4.0}
    assert audio.suited(WHISPER, audio.Reading(), iter(clips[:20]))["window"] == 2.0
    assert audio.suited({"longest": 1.1}, audio.Reading(), clips)["window"] == 1.1
    assert audio.suited(WHISPER, audio.Reading(), clips[:1])["window"] == 0.5
    assert audio.suited(GE2E, audio.Reading(), clips) == GE2E
    with pytest.raises(DataError, match="no clips"):
        audio.suited(WAVE, audio.Reading(), [])


@pytest.mark.parametrize("raw", INPUTS.values(), ids=INPUTS)
def test_what_is_prepared_is_what_the_schema_says(raw: dict) -> None:
    input = audio.parse(json.loads(json.dumps(raw)))
    named = audio.schema(input)
    shape = named["x"]["shape"][1:]
    batch = audio.example(input, 5, np.random.default_rng(0))
    assert batch["length"].tolist() == [1, 2, 1, 2, 1]
    assert batch["x"].shape == (7, *shape)
    for seconds in (0.001, 0.4, 7.0):
        clip = Sound(tone(44_100, seconds=seconds), 44_100)
        x = audio.prepare(clip, input)["x"]
        assert x.shape == (max(1, -(-len(clip.at(16_000).samples) // input.samples)), *shape)
        assert x.dtype == np.float32
        assert np.isfinite(x).all()
        assert x.flags.c_contiguous
    assert audio.front(input)(torch.ones(2)).tolist() == [1, 1]
    shipped = audio.ship([{"x": x[:1]}, {"x": x}], input)
    assert {name: (a.dtype, a.ndim) for name, a in shipped.items()} == {
        name: (np.dtype(entry["dtype"]), len(entry["shape"])) for name, entry in named.items()
    }
    assert shipped["share"].sum(1) == pytest.approx([1, 1])


@pytest.mark.parametrize("raw", INPUTS.values(), ids=INPUTS)
def test_views_are_pure_and_mild(raw: dict) -> None:
    input = audio.parse(raw | {"window": 1.6})
    clip = Sound(speak(0, 0), 16_000)
    before, plain = clip.samples.copy(), audio.prepare(clip, input)["x"]
    views = [audio.vary(clip, input, np.random.default_rng(seed))["x"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(views[0], views[1])
    assert np.abs(views[0] - views[2]).max() > 0
    assert {view.shape for view in views} == {plain.shape}
    np.testing.assert_array_equal(clip.samples, before)
    np.testing.assert_array_equal(audio.prepare(clip, input)["x"], plain)
    with pytest.raises(ValueError, match="read-only"):
        clip.samples[0] = 1
    for length in (1, 200, 30_000):
        tiny = Sound(speak(0, 0)[:length], 16_000)
        assert audio.vary(tiny, input, np.random.default_rng(0))["x"].shape == audio.prepare(tiny, input)["x"].shape
    silent = audio.vary(Sound(np.zeros(900, np.float32), 16_000), input, np.random.default_rng(0))["x"]
    assert np.isfinite(silent).all()


def test_an_input_that_cannot_be_is_refused_with_all_its_faults() -> None:
    faults = {
        "rate": 10,
        "longest": 2.0,
        "window": 3.0,
        "mel": {"family": "htk", "bands": 0, "std": 0.0, "unit": "bel"},
    }
    with pytest.raises(PlanError) as caught:
        audio.parse(faults)
    for part in ("rate must", "window must", "mel.family", "mel.bands", "mel.std", "mel.unit"):
        assert part in str(caught.value)
    with pytest.raises(PlanError, match=r"mel.*no field 'band'.*bands"):
        audio.parse({"mel": {"band": 3}})
    with pytest.raises(PlanError, match=r"400 samples or more; 0.01 s hold 160"):
        audio.parse({"window": 0.01, "mel": {"family": "kaldi"}})


# ── where clips stand, and what is no file ────────────────────────────────────────────────────────────────────────────


def test_clips_are_found_by_class_and_speaker(tmp_path: Path) -> None:
    for label in ("yes", "no"):
        for speaker in ("ann", "bob"):
            (folder := tmp_path / label / speaker).mkdir(parents=True)
            (folder / "1.WAV").write_bytes(wav(PCM))
            (folder / "notes.txt").write_text("not a clip")
    found = audio.find(tmp_path, {})
    assert [(row.label, row.group) for row in found.rows] == [
        ("no", "ann"),
        ("no", "bob"),
        ("yes", "ann"),
        ("yes", "bob"),
    ]
    assert len(found.skipped) == 4
    assert audio.find(tmp_path, {"rate": 8000}).reading == {"rate": 8000}
    assert len(audio.find(tmp_path, {}, labelled=False).rows) == 4
    (tmp_path / "clips.csv").write_text("path,word,speaker\nyes/ann/1.WAV,yes,ann\nno/bob/1.WAV,no,bob\n")
    rows = audio.find(tmp_path / "clips.csv", {"label": "word"}).rows
    assert [(Path(row.item).name, row.label, row.group) for row in rows] == [
        ("1.WAV", "yes", "ann"),
        ("1.WAV", "no", "bob"),
    ]


def test_samples_that_are_no_file() -> None:
    clip = tone(8000)
    whole, stereo = (clip * 32767).astype(np.int16), np.stack([clip, clip], 1)
    for value in ({"samples": clip.tolist(), "rate": 8000}, {"samples": whole, "rate": 8000}, file(clip, 8000)):
        np.testing.assert_allclose(
            audio.decode(audio.given(value)).samples[800:-800], tone(16_000)[800:-800], atol=1e-3
        )
    assert audio.given(stereo, audio.Reading(8000)) == audio.given({"samples": stereo, "rate": 8000})
    for value, why in (
        (clip, "needs its rate"),
        ("hello", "not 'hello'"),
        ({"rate": 8000}, "samples"),
        ({"samples": [[1.0], [2.0, 3.0]], "rate": 8000}, "no array"),
        ({"samples": [], "rate": 8000}, r"array \(samples,\)"),
        ({"samples": clip, "rate": 5}, "5 does not"),
    ):
        with pytest.raises(DataError, match=why):
            audio.given(value)


def test_a_predictor_prepares_without_torch(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(FLAC)
    code = f"""
import sys
from graft.modalities import audio
raw = audio.fetch({str(tmp_path / "a.flac")!r}, audio.Reading())
for input in {list(INPUTS.values())!r}:
    input = audio.parse(input)
    audio.prepare(audio.decode(raw, audio.Reading(), input), input)
assert not {{"torch", "transformers", "scipy", "sklearn"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ── the baseline ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_log_mel_statistics_tell_pitches_apart_however_long_the_clip() -> None:
    rng, y = np.random.default_rng(0), np.arange(40) % 2

    def clip(low: int) -> Sound:
        samples = tone(8000, (200, 900)[low] * rng.uniform(0.8, 1.2), rng.uniform(0.01, 1))
        return Sound(samples + rng.normal(0, 0.01, len(samples)).astype(np.float32), 8000)

    x = np.stack([logmel.describe(clip(label)) for label in y])
    assert x.shape == (40, 160)
    assert x.dtype == np.float32
    solve: Callable = lambda x, y, outputs, seed: linear.fit(x, y, outputs, seed=seed)  # noqa: E731
    state = logmel.fit(x[:20], y[:20], SimpleNamespace(solve=solve), 2, 0)
    assert (logmel.predict(state, x[20:]).argmax(1) == y[20:]).all()
    assert {array.dtype for array in state.values()} == {np.dtype(np.float32)}
    for odd in (np.zeros(1, np.float32), np.zeros(5000, np.float32), speak(0, 0)):
        assert np.isfinite(logmel.describe(Sound(odd, 16_000))).all()
    assert logmel.describe(Sound(np.zeros(9000, np.float32), 44_100)).shape == (160,)
