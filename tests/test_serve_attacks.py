"""Hostile requests: every one gets a sentence, the server stays up, and no answer is lost or mixed up."""

import asyncio
import base64
import io
import struct
import subprocess
import sys
import wave as waves
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from photos import hostile as hostile_photos
from served import COLOURS, artifacts, photo, server

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from ledger import count

FEW = settings(
    max_examples=25, deadline=None, database=None, phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    place = tmp_path_factory.mktemp("attacked")
    folders = artifacts(place / "artifacts")
    with server(*folders.values(), log=place / "log", arrive=5.0, seconds=60.0, samples=1_000_000) as made:
        yield made


@pytest.fixture(autouse=True)
def _still_up(served):
    """After every attack the server answers as before, and met no fault that it had no sentence for."""
    yield
    reply = served.sent("colours", photo("green", np.random.default_rng(3)))
    assert reply.json()["answers"][0]["label"] == "green"
    assert served.process.poll() is None
    assert served.measured()["graft_waiting_examples"] == 0


def refused(reply: Any) -> str:
    """The one sentence of a refusal."""
    assert reply.status_code == 422, reply.text
    (answer,) = reply.json()["answers"]
    assert answer.keys() <= {"input", "error"}
    assert answer["error"]
    return answer["error"]


def test_everything_that_openapi_allows_and_forbids(served):
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    checks = schemathesis.checks
    names = [
        "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
        "response_headers_conformance", "unsupported_method",
    ]  # fmt: skip
    chosen = checks.CHECKS.get_by_names(names)
    for result in schema.get_all_operations():
        operation = result.ok()

        @FEW
        @given(case=operation.as_strategy())
        def attack(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=chosen)

        attack()


def test_hostile_photos(served, tmp_path):
    for name, file in hostile_photos(tmp_path).items():
        said = refused(served.sent("colours", (name, file.read_bytes())))
        assert said.endswith((".", "?")), said


def wav(frames: int, rate: int = 8000, declared: int | None = None) -> bytes:
    stream = io.BytesIO()
    with waves.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * frames))
    made = bytearray(stream.getvalue())
    if declared is not None:
        made[40:44] = struct.pack("<I", declared)
    return bytes(made)


def test_hostile_sounds(served):
    rng, whole = np.random.default_rng(0), wav(4000)
    files = {
        "empty": b"", "noise": rng.bytes(5000),
        "half": whole[: len(whole) // 2], "2 GB header": wav(10, declared=0x7FFE0000),
        "no rate": wav(4000, rate=1), "huge rate": wav(4000, rate=2**31 - 1), "photo": photo("red", rng),
        "flac": b"fLaC" + rng.bytes(400), "ogg": b"OggS" + rng.bytes(400), "mp3": b"\xff\xfb\x90\x64" + rng.bytes(4000),
        "aiff": b"FORM\x7f\xff\xff\xffAIFF" + rng.bytes(400), "long": wav(61 * 8000),
    }  # fmt: skip
    for name, data in files.items():
        reply = served.sent("tones", (name, data))
        if name != "mp3":  # noise may hold a frame of sound
            assert refused(reply), name
    assert "at most 60 s" in refused(served.sent("tones", files["long"]))
    for value in (
        {"samples": [], "rate": 8000}, {"samples": [[1], [1, 2]], "rate": 8000}, {"samples": [1.0], "rate": 0},
        {"samples": ["a"], "rate": 8000}, {"samples": [1e400, -1e400, 1e308] * 99, "rate": 8000},
        {"samples": [0.1] * 99, "rate": 10**30}, {"samples": {"a": 1}, "rate": 8000}, {"rate": 8000}, [[[]]], ["a"],
    ):  # fmt: skip
        assert refused(served.asked("tones", value))


def npy(shape: str, descr: str = "<f8", data: bytes = b"") -> bytes:
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


def test_hostile_arrays(served):
    bomb = zipped(x=npy("(2, 5000000)", data=bytes(80_000_000)))
    assert len(bomb) < 200_000
    files = {
        "bomb": bomb, "2 TB": npy("(2, 137438953472)"), "objects": npy("(2,)", "|O", b"cos\nsystem\n(S'true'\ntR."),
        "negative": npy("(-1, -2)", data=bytes(16)), "code": npy("__import__('os').getpid(),", data=bytes(8)),
        "zip of nothing": zipped(), "cut": bomb[:500], "zip slip": zipped(**{"../../x": npy("(2, 2)", data=bytes(32))}),
        "empty": b"", "text": b"C3,C4\n" + b"1,2\n" * 3, "edf": b"0       " + b"9" * 600,
        "nothing varies": npy("(2, 256)", data=bytes(4096)),
    }  # fmt: skip
    for name, data in files.items():
        assert refused(served.sent("waves", (name, data))), name
    assert "at most 1,000,000 samples here" in refused(served.sent("waves", bomb))
    good = np.random.default_rng(0).normal(size=(2, 64)).tolist()
    for more in (
        {"x": []}, {"x": [[1, 2], [1]]}, {"x": good, "rate": 1e-9}, {"x": good, "rate": 1e300}, {"x": good, "rate": -1},
        {"x": good, "rate": 10**400}, {"x": [[1e308, -1e308] * 50] * 2}, {"x": good, "channels": ["C3"]}, {"x": "a"},
        {"x": [[[[1]]]]}, {"x": good, "path": "/etc/passwd"}, {"x": [[None, 1.0]] * 2}, {"x": good, "rate": "NaN"},
    ):  # fmt: skip
        assert refused(served.asked("waves", {"channels": ["C3", "C4"], "rate": 128.0, **more})), more


def test_hostile_texts_and_rows(served):
    for text in (b"", b" \n\t", b"\0" * 50, b"\xff\xfe\x00", b"soup " * 100_000):
        assert refused(served.sent("topics", ("a.txt", text))), text[:10]
    for text in ("\ud800 soup", "soup\0soup", "\u202e" * 500, "a" * 40_000, '["soup", [[[[]]]]]', "[" * 9000):
        assert served.asked("topics", text).status_code in (200, 422)
    for row in (
        [], [1, 2], ["a", "b", "c"], [None] * 3, {"a": {}, "b": [], "c": {}}, {}, {"z": 1}, [[1], [2], [3]],
        ["1e999"] * 3, '{"a": 1e999}', "[" * 9000, "NaN", {"base64": base64.b64encode(b"[" * 9000).decode()},
    ):  # fmt: skip
        reply = served.asked("rows", row)
        assert reply.status_code in (200, 422), row
        assert reply.json()["answers"][0], row
    assert refused(served.asked("rows", [1, 2]))


@pytest.mark.parametrize("model", ["colours", "topics", "tones", "waves", "rows"])
def test_bytes_of_any_kind(model, served):
    starts = (
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\xff\xff\xff\x7fWAVEfmt ",
        b"PK\x03\x04",
        b"\x93NUMPY\x01\0",
    )

    @FEW
    @given(st.sampled_from(starts), st.binary(max_size=400))
    def attack(start: bytes, data: bytes) -> None:
        assert served.sent(model, ("a", start + data)).status_code in (200, 422)

    attack()


def test_no_fault_was_met_that_has_no_sentence(served):
    faults = {name: value for name, value in served.measured().items() if name.startswith("graft_faults_total")}
    assert not faults, served.said[-5:]


def test_the_ledger_closes(tmp_path):
    """300 requests, a fifth of them broken, over new versions, damaged ones and restarts: every id has its answer."""
    rng = np.random.default_rng(0)
    folder = artifacts(tmp_path)["colours"]
    files = [photo(label, rng) for label in COLOURS]
    ledger = asyncio.run(count(folder, files, requests=300, clients=8, faults=0.3))
    assert not ledger.open
    assert not ledger.wrong
    assert {(kind, status) for kind, status in ledger.answers if kind in ("plain", "slow")} == {
        ("plain", 200),
        ("slow", 200),
    }
    assert sum(ledger.answers.values()) == 300
    assert {status for _, status in ledger.answers} <= {0, 200, 400, 404, 413, 422}


def test_a_damaged_artifact_is_refused_by_name(tmp_path):
    folder = artifacts(tmp_path)["rows"]
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    done = subprocess.run(
        [sys.executable, "-m", "graft.cli", "serve", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"{weights} has been changed" in done.stderr
