"""`graft serve`: answers are the predictor's, whoever asks at the same time, and nothing that was accepted is lost."""

import base64
import json
import re
import select
import shutil
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import graft
from graft.core.errors import DataError, PlanError
from graft.serving.app import _count
from graft.serving.limits import Settings
from graft.serving.metrics import Metrics
from graft.serving.run import serve
from served import COLOURS, artifacts, colours, examples, photo, server

TOKEN = "a-token-of-these-tests"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return artifacts(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def served(folders, tmp_path_factory):
    with server(*folders.values(), log=tmp_path_factory.mktemp("served") / "log") as made:
        yield made


@pytest.fixture(scope="module")
def strict(folders, tmp_path_factory):
    """A server of small limits that asks for a token."""
    limits = {"arrive": 1.0, "body": 200_000, "items": 4, "pixels": 4000, "seconds": 0.6, "tokens": 10}
    place = tmp_path_factory.mktemp("strict") / "log"
    with server(*folders.values(), log=place, token=TOKEN, **limits) as made:
        made.client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield made


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def as_json(raw: Any) -> Any:
    return {"base64": base64.b64encode(raw).decode()} if isinstance(raw, bytes) else raw


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", ["colours", "topics", "tones", "waves", "rows"])
def test_the_answers_are_the_predictors(model, served, folders):
    new = examples(2, seed=5)[model]
    raws = [raw for many in new.values() for raw in many]
    expected = graft.open(folders[model]).predict(raws)
    assert [answer["label"] for answer in expected] == [label for label in new for _ in range(2)]
    reply = served.asked(model, *map(as_json, raws))
    assert reply.status_code == 200, reply.text
    assert reply.json()["model"] == model
    for answer, own in zip(reply.json()["answers"], expected, strict=True):
        own.pop("input")
        assert answer.keys() == own.keys()
        assert answer["label"] == own["label"]
        assert answer["probability"] == pytest.approx(own["probability"], abs=1e-5)


def test_files_of_a_form_are_answered_under_their_names(served, rng):
    files = [(f"{label}.png", photo(label, rng)) for label in COLOURS]
    reply = served.sent("colours", *files)
    assert [(a["input"], a["label"]) for a in reply.json()["answers"]] == [(f"{la}.png", la) for la in COLOURS]
    text = served.client.post("/predict/topics", files={"text": (None, "cheese soup bread salt")})
    assert text.json()["answers"][0]["label"] == "food"


def test_what_cannot_be_read_stops_nothing(served, rng):
    reply = served.sent("colours", ("a", photo("red", rng)), ("b", b"no photo"), ("c", photo("blue", rng)))
    answers = reply.json()["answers"]
    assert (reply.status_code, [a.get("label") for a in answers]) == (200, ["red", None, "blue"])
    assert "text that starts with 'no photo'" in answers[1]["error"]
    assert served.sent("colours", b"no photo").status_code == 422


def test_no_path_is_read_or_written(served, folders, tmp_path, rng):
    secret = tmp_path / "food.txt"
    secret.write_text("bread cheese soup salt " * 9)
    said = served.asked("topics", str(secret), "a text that names nothing").json()["answers"]
    named, plain = (answer["probabilities"]["food"] for answer in said)
    assert named == pytest.approx(plain)  # no word of the file was seen
    assert graft.open(folders["topics"]).predict(str(secret))[0]["probabilities"]["food"] > plain + 0.2  # a person may
    file = tmp_path / "red.png"
    file.write_bytes(photo("red", rng))
    for model in ("colours", "tones", "waves", "rows"):
        for path in (str(file), f"file://{file}", f"{file}#0", {"path": str(file)}, [str(file)]):
            reply = served.asked(model, path)
            assert reply.status_code == 422, (model, path, reply.text)
    for name in ("../../../tmp/escaped.png", str(tmp_path / "escaped.png"), "..\\escaped.png", "a\0b.png"):
        assert served.sent("colours", (name, photo("red", rng))).json()["answers"][0]["label"] == "red"
    assert not list(tmp_path.rglob("escaped*"))


def test_names_cards_and_health(served, folders):
    for name, folder in folders.items():
        assert served.client.get(f"/card/{name}").json() == json.loads((folder / "card.json").read_text())
    for path in ("/card", "/card/none", "/predict/none", "/card/..%2f..%2fetc"):
        reply = served.client.request("POST" if "predict" in path else "GET", path)
        assert reply.status_code == 404, path
        assert "error" in reply.json()
    assert served.client.get("/health").json() == {"health": "ok"}
    ready = served.client.get("/ready").json()
    assert ready["ready"]
    assert set(ready["models"]) == set(folders)
    assert served.client.get("/predict/colours").headers["allow"] == "POST"


def test_torch_is_not_loaded(served):
    maps = Path(f"/proc/{served.process.pid}/maps")
    if not maps.exists():
        pytest.skip("there is no /proc here")
    assert "onnxruntime" in maps.read_text()
    assert "libtorch" not in maps.read_text()


# ── many at a time ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_requests_share_batches_and_keep_their_answers(served, rng):
    before = served.measured()
    asks = [(label, photo(label, rng)) for label in rng.permutation(list(COLOURS) * 30)]
    with ThreadPoolExecutor(30) as pool:
        replies = list(pool.map(lambda ask: served.sent("colours", ask[1]), asks))
    assert [reply.json()["answers"][0]["label"] for reply in replies] == [label for label, _ in asks]
    after = served.measured()
    batches, answered = (
        after[name] - before.get(name, 0)
        for name in ('graft_batch_examples_count{model="colours"}', 'graft_batch_examples_sum{model="colours"}')
    )
    assert answered == len(asks)
    assert batches < len(asks)  # some were computed together


def test_an_idle_server_does_not_wait_for_company(folders, tmp_path, rng):
    with server(folders["colours"], log=tmp_path / "log", max_wait=20.0, max_batch=64) as made:
        file = photo("red", rng)
        start = time.monotonic()
        assert made.client.post("/predict", files={"file": file}).status_code == 200
        assert time.monotonic() - start < 10


def test_a_full_queue_says_when_to_ask_again(tmp_path, rng):
    slow, file = colours(tmp_path / "slow", work=20), photo("red", rng)
    with server(slow, log=tmp_path / "log", queue=3, max_batch=1) as made, ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: made.sent("slow", file), range(12)))
        kinds = [reply.status_code for reply in replies]
        assert set(kinds) == {200, 503}
        for reply in replies:
            assert (reply.status_code == 200) or int(reply.headers["retry-after"]) >= 1
        assert made.sent("slow", file).status_code == 200  # and it recovers
        assert made.measured()["graft_waiting_examples"] == made.measured()["graft_held_bytes"] == 0


def test_an_answer_that_takes_too_long_is_given_up(tmp_path, rng):
    slow = colours(tmp_path / "slow", work=60)
    with server(slow, log=tmp_path / "log", answer=0.05) as made:
        reply = made.sent("slow", photo("red", rng))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
        assert "within 0.05 s" in reply.json()["error"]


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_too_much_is_refused_with_a_sentence(strict, rng):
    def error(reply: httpx.Response, status: int) -> str:
        assert reply.status_code == status, reply.text
        found = reply.json()
        return found["error"] if "error" in found else found["answers"][0]["error"]

    assert "at most 200,000 bytes" in error(strict.sent("colours", bytes(200_001)), 413)
    chunks = (bytes(50_000) for _ in range(20))  # of no declared length
    kind = {"content-type": "application/json"}
    assert "200,000 bytes" in error(strict.client.post("/predict/colours", content=chunks, headers=kind), 413)
    assert "4,000 pixels here, not 4,050" in error(strict.sent("colours", photo("red", rng, (90, 45))), 422)
    noise = {"samples": [0.0, 0.1] * 4000, "rate": 8000}
    assert "at most 0.6 s here, not 1" in error(strict.asked("tones", noise), 422)
    assert "60 characters here" in error(strict.asked("topics", "soup " * 20), 422)
    assert "at most 4 examples" in error(strict.asked("topics", *["soup"] * 5), 422)
    assert "at most 4 examples" in error(strict.sent("colours", *[photo("red", rng)] * 5), 422)
    assert strict.sent("colours", photo("red", rng)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{", 400), ("application/json", b"[" * 100_000, 400), ("application/json", b"\xff", 400),
        ("application/json", b'{"inputs": [' + b"9" * 5000 + b"]}", 400), ("application/json", b"{}", 422),
        ("application/json", b'{"inputs": []}', 422), ("application/json", b'{"inputs": "a"}', 422),
        ("application/json", b'{"inputs": [1]}', 422), ("application/json", b'{"inputs": ["a"], "b": 1}', 422),
        ("application/json", b'{"inputs": [{"base64": "%"}]}', 422), ("text/plain", b"a", 415), ("", b"a", 415),
        ("multipart/form-data", b"a", 400), ("multipart/form-data; boundary=x", b"nothing", 400),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 422), ("multipart/form-data; boundary=x", b"", 422),
        ("multipart/form-data; boundary=" + "x" * 2000, b"a", 400),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(kind, body, status, strict):
    reply = strict.client.post("/predict/topics", content=body, headers={"content-type": kind})
    assert reply.status_code == status, reply.text
    assert reply.json()["error"].endswith(".")


def spoken(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What the server says to bytes that are sent piece by piece, to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        heard = b""
        try:
            for piece in pieces:
                raw.sendall(piece)
                if pause and select.select([raw], [], [], pause)[0]:
                    break
            while more := raw.recv(65536):
                heard += more
        except (BrokenPipeError, ConnectionResetError):
            pass
        return heard


def test_slow_clients_are_not_waited_for(strict):
    head = f"POST /predict/topics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 99\r\n"
    start = time.monotonic()
    said = spoken(strict.port, f"{head}Content-Type: application/json\r\n\r\n{{".encode(), *[b" "] * 6, pause=0.3)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"did not arrive within 1 s" in said
    assert spoken(strict.port, *[b"G", b"E", b"T", b" ", b"/", b"h", b"e"], pause=0.3) == b""  # the head
    assert spoken(strict.port) == b""  # and who says nothing
    assert time.monotonic() - start < 9
    assert strict.client.get("/health").status_code == 200


def test_too_many_connections_are_told_so(folders, tmp_path):
    with server(folders["rows"], log=tmp_path / "log", connections=5) as made:
        held = [socket.create_connection(("127.0.0.1", made.port)) for _ in range(5)]
        assert spoken(made.port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 503")
        for one in held:
            one.close()
        assert made.asked("rows", [0, 0, 0]).status_code == 200


# ── who may ask ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_token_is_asked_for(strict):
    def status(path: str, **headers: str) -> int:
        return httpx.get(f"{strict.url}{path}", headers=headers).status_code

    basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    assert [status(path) for path in ("/health", "/ready")] == [200, 200]
    assert [status(path) for path in ("/metrics", "/card/rows", "/openapi.json", "/none")] == [401] * 4
    for shown in ("", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Basic !", f"Basic {TOKEN}"):
        assert status("/metrics", Authorization=shown) == 401, shown
    assert (
        status("/metrics", Authorization=f"Bearer {TOKEN}") == status("/metrics", Authorization=f"Basic {basic}") == 200
    )
    refused = httpx.get(f"{strict.url}/metrics")
    assert refused.headers["www-authenticate"].startswith("Bearer")


def test_another_address_than_this_machine_needs_a_good_token(folders):
    from command import cli

    done = cli("serve", folders["rows"], "--host", "0.0.0.0")
    assert (done.returncode, "--token" in done.stderr) == (2, True)
    for token in ("short", "é" * 20, "with spaces in it, long"):
        with pytest.raises(PlanError, match="16 or more"):
            serve([folders["rows"]], Settings(token=token))


def test_pages_of_other_sites_cannot_ask(served):
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""):
        reply = served.client.get("/card/rows", headers={"Host": host})
        assert reply.status_code == 421, host
    body = {"inputs": [[0, 0, 0]]}
    for origin in ("http://evil.example", "null", f"http://localhost:{served.port}"):
        assert served.client.post("/predict/rows", json=body, headers={"Origin": origin}).status_code == 403
    own = served.client.post("/predict/rows", json=body, headers={"Origin": served.url})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    assert own.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in own.headers["content-security-policy"]


# ── what is said of it ────────────────────────────────────────────────────────────────────────────────────────────────


def test_values_that_were_not_learned_from_have_a_word_and_a_count(served):
    answers = served.asked("rows", ["abc", 0.1, 0.2], [0.3, 0.1, 0.2]).json()["answers"]
    assert [one.get("odd") for one in answers] == [["a: 'abc' is no number, taken as missing"], None]
    assert served.measured()['graft_odd_total{model="rows"}'] == 1


def test_metrics_say_what_was_asked(folders, tmp_path, rng):
    line = re.compile(r'[a-z_]+(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? \d\S*')
    with server(folders["colours"], folders["topics"], log=tmp_path / "log") as made:
        made.sent("colours", *[photo(label, rng) for label in ("red", "red", "grey")], b"broken")
        text = made.client.get("/metrics")
        found = made.measured()
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    for each in text.text.splitlines():
        assert each.startswith("# ") or line.fullmatch(each), each
    assert found['graft_answers_total{model="colours",label="red"}'] >= 2
    assert found['graft_unlike_total{model="colours"}'] == found['graft_unreadable_total{model="colours"}'] == 1
    assert found['graft_examples_total{model="colours"}'] == 3
    assert found['graft_unsure_total{model="colours"}'] == 1  # grey is none of the three
    assert found['graft_requests_total{route="/predict/{name}",status="200"}'] == 1
    buckets = [value for name, value in found.items() if name.startswith('graft_batch_examples_bucket{model="colours"')]
    assert buckets == sorted(buckets)
    assert buckets[-1] == found['graft_batch_examples_count{model="colours"}'] >= 1


def test_every_task_of_an_answer_is_counted():
    metrics = Metrics()
    _count(
        metrics, "m", [{"tasks": {"a": {"label": "x", "unsure": True}, "b": {"labels": ["y", "z"]}}}, {"value": 1.0}]
    )
    said = metrics.text({})
    assert 'graft_examples_total{model="m"} 2' in said
    assert 'graft_unsure_total{model="m/a"} 1' in said
    for name, label in (("a", "x"), ("b", "y"), ("b", "z")):
        assert f'graft_answers_total{{model="m/{name}",label="{label}"}} 1' in said


def test_labels_of_any_text_are_written_safely():
    metrics = Metrics()
    metrics.count("graft_answers_total", model="a", label='a "b"\\\nc')
    assert 'label="a \\"b\\"\\\\\\nc"} 1' in metrics.text({})


def test_the_log_names_requests_and_not_what_they_hold(folders, tmp_path):
    log = tmp_path / "log"
    with server(folders["topics"], log=log) as made:
        body = {"inputs": ["a secret soup"]}
        made.client.post("/predict?word=secret", json=body, headers={"x-request-id": "mine-1"})
        made.client.get("/card", headers={"x-request-id": "not mine\tat all"})
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["path"], line["status"]) for line in lines] == [("/predict", 200), ("/card", 200)]
    assert (lines[0]["id"], lines[0]["examples"], lines[0]["model"]) == ("mine-1", 1, "topics")
    assert re.fullmatch("[0-9a-f]{16}", lines[1]["id"])
    assert "secret" not in log.read_text()


# ── new versions, and the end ─────────────────────────────────────────────────────────────────────────────────────────


def replace(folder: Path, new: Path) -> None:
    """As export does: the old one aside, the new one in its place."""
    folder.rename(old := folder.with_name("old"))
    new.rename(folder)
    shutil.rmtree(old)


def until(holds: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_new_version_takes_over_without_losing_a_request(tmp_path, rng):
    folder, file = colours(tmp_path / "model"), photo("red", rng)
    replies, over = list[httpx.Response](), threading.Event()
    with server(folder, log=tmp_path / "log", reload=0.1) as made, ThreadPoolExecutor(4) as pool:
        first = made.client.get("/ready").json()["models"]["model"]

        def ask() -> None:
            while not over.is_set():
                replies.append(made.sent("model", file))

        asking = [pool.submit(ask) for _ in range(4)]
        replace(folder, colours(tmp_path / "next", heat=400.0))
        until(lambda: replies and replies[-1].json()["version"] != first)
        second = replies[-1].json()["version"]
        (folder / "model.onnx").write_bytes(b"damaged")
        until(lambda: made.measured().get('graft_reloads_total{model="model",outcome="refused"}'))
        broken = len(replies)
        until(lambda: len(replies) > broken + 5)
        over.set()
        for one in asking:
            one.result()
        assert {reply.status_code for reply in replies} == {200}
        assert {reply.json()["version"] for reply in replies} == {first, second}
        for reply in replies:  # each version has its own answer: the second is ten times less sure
            unsure = reply.json()["answers"][0]["probability"] < 0.6
            assert unsure == (reply.json()["version"] == second)
        assert 'graft_reloads_total{model="model",outcome="taken"}' in made.measured()
        assert any("new version is refused" in line and str(folder) in line for line in made.said)
        shutil.rmtree(folder)  # and without a folder it goes on
        time.sleep(0.3)
        assert made.sent("model", file).json()["version"] == second


def test_copies_of_versions_are_taken_away(tmp_path, rng):
    folder = colours(tmp_path / "model")
    with server(folder, log=tmp_path / "log", reload=0.1) as made:
        for heat in (50.0, 60.0):
            replace(folder, colours(tmp_path / "next", heat=heat))
            before = made.sent("model", photo("red", rng)).json()["version"]
            until(lambda: made.sent("model", photo("red", rng)).json()["version"] != before)  # noqa: B023
        until(lambda: len(list(tmp_path.glob("graft-serve-*"))) == 1)
    assert not list(tmp_path.glob("graft-serve-*"))


def test_what_was_accepted_is_finished_at_the_end(tmp_path, rng):
    slow, file = colours(tmp_path / "slow", work=60), photo("red", rng)

    def taken() -> bool:
        """Whether all were accepted, however many are answered by now, and some still wait."""
        found = made.measured()
        waiting = found["graft_waiting_examples"]
        return waiting > 0 and waiting + found.get('graft_examples_total{model="slow"}', 0) == 8

    with server(slow, log=tmp_path / "log", max_batch=2) as made, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(made.sent, "slow", file) for _ in range(8)]
        until(taken)
        made.process.send_signal(signal.SIGTERM)
        assert [one.result().status_code for one in asked] == [200] * 8
        assert made.process.wait(20) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(made.url)
    assert (tmp_path / "log").read_text().count('"path": "/predict/slow", "status": 200') == 8


# ── what cannot be served ─────────────────────────────────────────────────────────────────────────────────────────────


def test_faults_are_said_before_anything_is_served(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no artifact"):
        serve([tmp_path / "empty"])
    shutil.copytree(folders["rows"], tmp_path / "rows")
    with pytest.raises(DataError, match="called 'rows'"):
        serve([folders["rows"], tmp_path / "rows"])
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PlanError, match="Choose another"):
        serve([folders["rows"]], Settings(port=taken.getsockname()[1]))


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "python_multipart"])
def test_a_missing_extra_is_named(missing, folders, monkeypatch):
    for name in [
        name for name in sys.modules if name.partition(".")[0] == missing or name.startswith("graft.serving.")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    from graft.serving.run import serve as fresh

    with pytest.raises(PlanError, match=rf"needs {missing}, .*pip install fastapi python-multipart uvicorn"):
        fresh([folders["rows"]])
