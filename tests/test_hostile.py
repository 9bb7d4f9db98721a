"""Files made to do harm: an artifact with a pickle, a path or a lie in it, and bytes that no decoder has seen."""

import io
import json
import pickle
import re
import resource
import shutil
import struct
import time
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import graft
from graft.core.keys import file_sha256
from graft.core.shelf import take
from graft.formats import torch_export
from photos import draw, encode, png


class Run:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The smallest artifact: one addition in ONNX, and a tokenizer, as `export` lays them."""
    import onnx
    from onnx import TensorProto, helper

    monkeypatch.chdir(tmp_path)
    place = tmp_path / "model"
    place.mkdir()
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor("w", TensorProto.FLOAT, [2], [1, 2])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), place / "model.onnx")
    (place / "weights.safetensors").write_bytes(b"")
    card = {
        "schema": 3, "graft": "0.1.0", "modality": "vector", "head": "classification", "labels": ["a", "b"],
        "reading": {"columns": ["p", "q"]}, "input": {"columns": ["p", "q"]}, "assets": {},
        "formats": {"onnx": {"files": ["model.onnx"]}}, "files": {"model.onnx": "", "weights.safetensors": ""},
    }  # fmt: skip
    sealed(place, card)
    assert graft.open(place).predict([{"p": 3, "q": 0}])[0]["label"] == "a"
    return place


def sealed(place: Path, card: dict) -> None:
    """A card whose hashes are true, whatever they are of."""
    card["files"] = {n: file_sha256(place / n) if (place / n).is_file() else "0" * 64 for n in card["files"]}
    (place / "card.json").write_text(json.dumps(card))


LIES = {
    "path": (lambda c: c["files"].update({"../secret.json": ""}), "'../secret.json', which is not a file"),
    "absolute": (lambda c: c["files"].update({"/etc/passwd": ""}), "'/etc/passwd', which is not a file"),
    "windows": (lambda c: c["files"].update({"..\\x.json": ""}), "which is not a file"),
    "asset": (lambda c: c["assets"].update(tokenizer="../../etc/passwd"), "'../../etc/passwd', for which it states"),
    "form": (lambda c: c["formats"]["onnx"].update(files=["/tmp/x.onnx"]), "'/tmp/x.onnx', for which it states"),
    "pickle": (lambda c: c["files"].update({"weights.pkl": ""}), "'weights.pkl', which is no kind of file"),
    "code": (lambda c: c.update(head="evil.py"), "'evil.py', which is none of this version's heads"),
    "modality": (lambda c: c.update(modality="/tmp/evil.py"), "'/tmp/evil.py', which is none of this version's modal"),
    "baseline": (lambda c: c.update(baseline="../x.py"), "none of this version's baselines"),
    "types": (lambda c: c.update(files=[1]), "lacks files"),
    "tasks": (lambda c: c.update(tasks={"a": 3}), "lacks the labels of its tasks"),
    "none": (lambda c: c.update(formats={}), "lists no form"),
    "odd": (lambda c: c["formats"].update(onnx=3), "does not say which files"),
    "input": (lambda c: c.update(input={"columns": 3}), "is damaged"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_card_that_lies_is_refused_and_nothing_of_it_is_used(artifact, lie):
    (artifact.parent / "secret.json").write_text("{}")
    (artifact.parent / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    change, words = LIES[lie]
    card = json.loads((artifact / "card.json").read_text())
    change(card)
    if isinstance(card["files"], dict):
        sealed(artifact, card)
    else:
        (artifact / "card.json").write_text(json.dumps(card))
    with pytest.raises(graft.ExportMismatch, match=re.escape(words)):
        graft.open(artifact)
    assert not Path("ran").exists()


@pytest.mark.parametrize("bytes_", [b"{", b"[]", b"\xff\xfe", b'{"schema": "3"}', b"[" * 100_000, b'{"schema": true}'])
def test_a_card_that_is_no_card_is_named(artifact, bytes_):
    (artifact / "card.json").write_bytes(bytes_)
    with pytest.raises(graft.ExportMismatch, match=r"card\.json is damaged"):
        graft.open(artifact)


def test_files_that_are_changed_cut_short_or_gone_are_named(artifact):
    whole = (artifact / "model.onnx").read_bytes()
    for change in (whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], whole + b"\0"):
        (artifact / "model.onnx").write_bytes(change)
        with pytest.raises(graft.ExportMismatch, match=r"model\.onnx has been changed"):
            graft.open(artifact)
    (artifact / "model.onnx").unlink()
    with pytest.raises(graft.ExportMismatch, match=r"model\.onnx is missing"):
        graft.open(artifact)


def test_a_pickle_beside_the_card_or_under_another_name_never_runs(artifact):
    from safetensors.numpy import save

    (artifact / "extra.pkl").write_bytes(pickle.dumps(Run()))
    with pytest.raises(graft.ExportMismatch, match=r"extra\.pkl is a pickle"):
        graft.open(artifact)
    (artifact / "extra.pkl").unlink()
    card = json.loads((artifact / "card.json").read_text())
    headers = (pickle.dumps(Run()), struct.pack("<Q", 2**31) + b"{" * 64, save({"w": np.zeros(9)})[:-8])
    for name, shape in (("model.onnx", {}), ("weights.safetensors", {"baseline": "trivial", "formats": {}})):
        for bytes_ in headers:
            copy = shutil.copytree(artifact, artifact.parent / "copy")
            (copy / name).write_bytes(bytes_)
            sealed(copy, {**card, **shape})
            with pytest.raises(graft.ExportMismatch, match=f"{name} cannot be used"):
                graft.open(copy)
            shutil.rmtree(copy)
    assert not Path("ran").exists()


def test_an_onnx_file_reads_no_file_elsewhere(artifact):
    import onnx

    np.array([7, 7], np.float32).tofile(artifact.parent / "secret.bin")
    model = onnx.load(artifact / "model.onnx")
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    (artifact / "model.onnx").write_bytes(model.SerializeToString())
    sealed(artifact, json.loads((artifact / "card.json").read_text()))
    with pytest.raises(graft.ExportMismatch, match=r"model\.onnx cannot be used"):
        graft.open(artifact)


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """A network of torch.export."""
    import torch

    place = tmp_path_factory.mktemp("program") / "model.pt2"
    torch_export.write(torch.nn.Linear(3, 2), {"input": torch.randn(2, 3)}, place, {"input": ["batch", 3]})
    told = torch_export.read(place)({"input": np.ones((5, 3), np.float32)})
    assert told["logits"].shape == (5, 2)
    return place


def member(name: str, change) -> bytes:
    """What makes a member of an archive another."""
    return lambda n, data: change(data) if n.endswith(name) else data


EVIL = {
    "sample": (member("sample_inputs/model.pt", lambda _: pickle.dumps(Run())), "holds pickled examples"),
    "flag": (
        member("weights_config.json", lambda d: d.replace(b'"use_pickle": false', b'"use_pickle": true')),
        "pickle",
    ),
    "call": (
        member("model.json", lambda d: d.replace(b"torch.ops.aten.linear.default", b"torch.hub.load")),
        "torch.hub",
    ),
    "eval": (member("model.json", lambda d: re.sub(rb"Symbol\('", b"exec('1')+Symbol('", d)), "an expression"),
    "power": (
        member("model.json", lambda d: re.sub(rb"(Symbol\([^)]*\))", rb"Pow(\1, Integer(99))", d)),
        "an expression",
    ),
    "json": (member("model.json", lambda d: d[:50]), "no archive"),
}


@pytest.mark.parametrize("evil", EVIL)
def test_a_program_that_torch_would_run_is_refused(program, tmp_path, evil):
    change, words = EVIL[evil]
    with zipfile.ZipFile(program) as whole, zipfile.ZipFile(tmp_path / "x.pt2", "w") as copy:
        for one in whole.namelist():
            copy.writestr(one, change(one, whole.read(one)))
    with pytest.raises(graft.ExportMismatch, match=words):
        torch_export.read(tmp_path / "x.pt2")


@pytest.mark.parametrize("name", ["../../evil.py", "/etc/cron.d/x", "x/data/constants/custom_obj_0", "x/code.pkl"])
def test_an_archive_with_a_member_elsewhere_is_refused(program, tmp_path, name):
    copy = shutil.copy(program, tmp_path / "x.pt2")
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(graft.ExportMismatch, match=re.escape(f"holds {name!r}, which is no part")):
        torch_export.read(copy)
    with zipfile.ZipFile(tmp_path / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/models/model.json", bytes(10_000_000))
    with pytest.raises(graft.ExportMismatch, match="compressed"):
        torch_export.read(tmp_path / "bomb.pt2")


# ── decoders ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def sound(format: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(4000) / 9).astype(np.float32), 8000, format=format)
    return file.getvalue()


def array(x: np.ndarray, compressed: bool | None = None) -> bytes:
    file = io.BytesIO()
    if compressed is None:
        np.save(file, x)
    else:
        (np.savez_compressed if compressed else np.savez)(file, x=x, rate=100.0)
    return file.getvalue()


def seeds() -> dict[str, list[tuple[bytes, object]]]:
    """Files that decode, with their readings, by modality."""
    rng = np.random.default_rng(0)
    photo, trial = draw("disc", (24, 20), rng), rng.normal(size=(2, 300))
    text, signal, vector = (take("modalities", name).Reading for name in ("text", "signal", "vector"))
    read, words = text(columns=("text",)), text(columns=("a",), words=True)
    rows = vector(columns=("p", "q"), categories={"r": ("u", "v")})
    waves = signal(rate=100.0)
    return {
        "image": [(encode(photo, f), take("modalities", "image").Reading()) for f in
                  ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")],
        "audio": [(sound(f), take("modalities", "audio").Reading()) for f in ("WAV", "FLAC", "OGG", "MP3", "AIFF")],
        "signal": [(array(trial), waves), (array(trial, False), waves), (array(trial, True), waves),
                   (b"a,b\n" + b"\n".join(b"%f,%f" % (x, y) for x, y in trial.T), waves)],
        "text": [("ein Wört".encode(), text()), ("ein Wört".encode("utf-16"), text()), (b'{"text": "one two"}', read),
                 (b'{"a": ["one", "two"]}', words)],
        "vector": [(b'{"p": 1.5, "q": "2", "r": "u"}', rows)],
    }  # fmt: skip


SEEDS = seeds()
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["cut", "flip", "put", "drop", "repeat"]), st.floats(0, 1), st.binary(min_size=1, max_size=8)
    ),
    min_size=1, max_size=4,
)  # fmt: skip
HUGE = [b"\xff\xff\xff\x7f", b"\xff" * 8, b"\0" * 8, b"NaN", b"1e999", b"(2147483648, 4)", b"../../x", b"\x80\x04"]


def changed(raw: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    """A file with some of its bytes cut off, replaced, taken out or repeated."""
    for kind, share, some in changes:
        at = int(share * len(raw))
        end = at + len(some)
        raw = {
            "cut": raw[:at], "put": raw[:at] + some + raw[at:], "drop": raw[:at] + raw[end:],
            "flip": raw[:at] + some + raw[end:], "repeat": raw[:at] + raw[at : at + 64] * 3 + raw[at:],
        }[kind]  # fmt: skip
    return raw


@pytest.mark.parametrize(("modality", "at"), [(name, at) for name, some in SEEDS.items() for at in range(len(some))])
def test_a_decoder_gives_an_example_or_says_why_not(modality: str, at: int) -> None:
    shelf, (raw, reading) = take("modalities", modality), SEEDS[modality][at]
    assert shelf.decode(raw, reading) is not None

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(CHANGES | st.tuples(st.just("put"), st.floats(0, 1), st.sampled_from(HUGE)).map(lambda one: [one]))
    def holds(changes) -> None:
        try:
            example = shelf.decode(changed(raw, changes), reading)
        except graft.GraftError:
            return
        assert example is not None

    holds()


def _gif() -> bytes:
    screen = struct.pack("<6sHH3sc4HB", b"GIF89a", 60_000, 60_000, bytes(3), b",", 0, 0, 60_000, 60_000, 0)
    return screen + b"\x02\x02\x44\x01\0;"


def _wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as one:
        one.setparams((1, 2, 8000, 0, "NONE", ""))
        one.writeframes(b"\1\2" * 800)
    raw = bytearray(file.getvalue())
    raw[4:8] = raw[40:44] = struct.pack("<I", 2**31 - 1)
    return bytes(raw)


def _npy() -> bytes:
    header = repr({"descr": "<f8", "fortran_order": False, "shape": (2**31, 64)}).ljust(117) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + bytes(64)


def _npz() -> bytes:
    """An archive that declares four gigabytes."""
    raw = bytearray(array(np.zeros((2, 300)), True))
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = struct.pack("<I", 2**32 - 16)
    return bytes(raw)


BOMBS = {
    "png": ("image", png(60_000, 60_000, 1, 0, bytes(1000))),
    "gif": ("image", _gif()),
    "wav": ("audio", _wav()),
    "npy": ("signal", _npy()),
    "npz": ("signal", _npz()),
    "nan": ("signal", array(np.full((2, 300), np.nan))),
    "inf": ("signal", array(np.full((2, 300), np.inf))),
    "json": ("vector", b"[" * 200_000),
    "deep": ("text", b'{"text": ' * 50_000),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_takes_neither_time_nor_memory(bomb: str) -> None:
    modality, raw = BOMBS[bomb]
    reading = SEEDS[modality][-2 if modality == "text" else 0][1]
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        take("modalities", modality).decode(raw, reading)
    except graft.GraftError:
        pass
    else:
        assert bomb == "wav"  # what is there of it is a sound
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000  # kilobytes
