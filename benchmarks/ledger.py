"""Requests with faults in their midst, counted by the client: is every one answered?

    python benchmarks/ledger.py ARTIFACT FILES [--requests 10000] [--clients 32] [--faults 0.2]

A ledger holds the id of each request, from before it is sent until its answer, which must bear the same id. A share of
the requests is broken: they hang up halfway, send slowly, hold hostile bytes, damaged forms or JSON, or too much. In
their midst the artifact is replaced by new versions and by damaged ones, and the server is told to end and started
again. Where a connection ends before a byte of the answer has come the request is sent once more under the same id, as
any client does, and counted: it happens only while the server is restarted. What stays without an answer is lost.
"""

import argparse
import asyncio
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

BROKEN = ("hangs up", "hostile", "damaged form", "damaged json", "too much", "no model", "slow")
AGAIN = 400  # times that a request is sent until it is lost: on a busy machine a restart takes half a minute
REPLACED, RESTARTED = 6, 2  # how often the artifact changes, and the server ends, within a run
PAUSE = 0.25  # seconds between two trials


class Ledger:
    """What became of every id."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.answers: Counter[tuple[str, int]] = Counter()  # by kind and status
        self.wrong: list[str] = []  # answers of another id, or that nobody should get
        self.again = Counter[str]()  # why a request was sent once more


def written(kind: str, id: str, body: bytes, rng: random.Random) -> bytes:
    """A request; what is broken in it is told by its kind."""
    if kind == "hostile":
        body = rng.choice([rng.randbytes(500), body[: len(body) // 3], b"", b"\x89PNG\r\n\x1a\n" + rng.randbytes(99)])
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="../../a"\r\n\r\n'
    form = part + body + b"\r\n--b--\r\n"
    content = "multipart/form-data; boundary=b"
    if kind == "damaged form":
        form = form[: rng.randrange(1, 60)]
    elif kind == "damaged json":
        content, form = "application/json", rng.choice([b"{", b"\xff", b"[" * 9999, b'{"inputs": [{"base64": 1e999}]}'])
    size = 1 << 40 if kind == "too much" else len(form)
    path = "/predict/none" if kind == "no model" else "/predict"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {id}\r\nContent-Type: {content}\r\n"
    return f"{head}Content-Length: {size}\r\n\r\n".encode() + form


async def ask(port: int, kind: str, id: str, request: bytes, ledger: Ledger) -> bool:
    """Send one request over a connection of its own; whether it was answered, or given up on purpose."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        ledger.again["no connection"] += 1
        return False
    try:
        if kind == "hangs up":
            writer.write(request[: len(request) // 2])
            ledger.answers[kind, 0] += 1
            return True
        if kind == "slow":
            for at in range(0, len(request), len(request) // 4 + 1):
                writer.write(request[at : at + len(request) // 4 + 1])
                await asyncio.sleep(0.05)
        else:
            writer.write(request)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 90)).decode("latin-1").lower()
        length = re.search(r"content-length: (\d+)", head)
        body = await asyncio.wait_for(reader.readexactly(int(length[1]) if length else 0), 90)
    except (OSError, asyncio.IncompleteReadError) as error:
        ledger.again[type(error).__name__] += 1
        return False
    finally:
        writer.close()
    status = int(head.split()[1])
    if status == 503:
        ledger.again["full (503)"] += 1
        assert "retry-after" in head
        return False
    ledger.answers[kind, status] += 1
    if f"x-request-id: {id.lower()}" not in head or (status == 200) != (b'"probability"' in body or b'"value' in body):
        ledger.wrong.append(f"{id} ({kind}): {status} {body[:100]!r}")
    return True


async def client(ports: list[int], todo: list[str], files: list[bytes], faults: float, ledger: Ledger) -> None:
    """One client: it takes ids from the list until there are none."""
    while todo:
        id = todo.pop()
        rng = random.Random(id)
        kind = rng.choice(BROKEN) if rng.random() < faults else "plain"
        request = written(kind, id, rng.choice(files), rng)
        ledger.open.add(id)
        for _ in range(AGAIN):
            if await ask(ports[-1], kind, id, request, ledger):
                ledger.open.discard(id)
                break
            await asyncio.sleep(PAUSE)


def started(folder: Path, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A server, and its port."""
    command = [sys.executable, "-m", "graft.cli", "serve", str(folder), "--port", "0"]
    with log.open("wb") as said:
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
    while not (found := re.search(r"http://[\d.]+:(\d+)\n", log.read_text())):
        assert server.poll() is None, log.read_text()
        time.sleep(0.05)
    return server, int(found[1])


async def trouble(folder: Path, todo: list[str], total: int, server: subprocess.Popen[bytes], ports: list[int]) -> None:
    """New versions, damaged ones and restarts, spread over the requests; at last the server ends."""
    steps = REPLACED + RESTARTED
    for number in range(steps):
        while len(todo) > total * (1 - (number + 0.5) / steps):
            await asyncio.sleep(0.05)
        if number % (steps // RESTARTED) == 1:
            await ended(server)
            server, port = await asyncio.to_thread(started, folder, folder.with_name("log"))
            ports.append(port)
            continue
        new, old, damaged = folder.with_name("new"), folder.with_name("old"), number % 2
        shutil.copytree(folder, new)
        card = json.loads((new / "card.json").read_text())
        (new / "card.json").write_text(json.dumps({**card, "run": f"version {number}"}))
        if damaged:
            (new / "model.onnx").write_bytes(b"damaged")
        folder.rename(old)
        new.rename(folder)
        await asyncio.sleep(2.5)  # it is looked at every second, and must have held still
        if damaged:  # a restart needs one that is whole
            folder.rename(new)
            old.rename(folder)
        shutil.rmtree(new if damaged else old)
    while todo:
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    await ended(server)


async def ended(server: subprocess.Popen[bytes]) -> None:
    """Tell a server to end, as an orchestrator does; it must end in order."""
    server.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait, 60) == 0


async def count(artifact: Path, files: list[bytes], requests: int, clients: int, faults: float) -> Ledger:
    """The whole run."""
    ledger, todo = Ledger(), [f"request-{number}" for number in range(requests)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "served"
        shutil.copytree(artifact, folder)
        server, port = started(folder, folder.with_name("log"))
        ports = [port]
        troubling = asyncio.create_task(trouble(folder, todo, requests, server, ports))
        await asyncio.gather(*(client(ports, todo, files, faults, ledger) for _ in range(clients)))
        await troubling
    return ledger


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("artifact", type=Path)
    ask.add_argument("files", type=Path)
    ask.add_argument("--requests", type=int, default=10_000)
    ask.add_argument("--clients", type=int, default=32)
    ask.add_argument("--faults", type=float, default=0.2)
    a = ask.parse_args()
    files = [file.read_bytes() for file in sorted(a.files.iterdir())]
    start = time.monotonic()
    ledger = asyncio.run(count(a.artifact, files, a.requests, a.clients, a.faults))
    print(f"{a.requests} requests in {time.monotonic() - start:.0f} s")
    for (kind, status), number in sorted(ledger.answers.items()):
        print(f"  {kind:<14} {status or 'nothing was waited for':<24} {number}")
    print("sent once more:", ", ".join(f"{why} {number}" for why, number in ledger.again.most_common()) or "none")
    print(f"wrong answers: {len(ledger.wrong)}", *ledger.wrong[:5], sep="\n  ")
    print(f"lost: {len(ledger.open)}", *sorted(ledger.open)[:5])
    sys.exit(bool(ledger.open or ledger.wrong))


if __name__ == "__main__":
    main()
