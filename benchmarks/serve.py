"""What a server costs beside a bare loop: the same photos, the same decoding, the same ONNX file and batch size.

    python benchmarks/serve.py [--artifact DIR --photos DIR] [--clients 64] [--seconds 10] [--rounds 5] [--pin]

The loop decodes a batch in a pool of threads, one for each core, and runs it in onnxruntime; nothing else. The server
is `graft serve`, asked by clients that wait for each answer, all of them in one process of their own. Both are measured
in turn, round by round; the ratio of a round is the server's photos per second over the loop's just before. With --pin
the clients have a core of their own and what is measured the others, else clients and server share all. Seconds of the
processor for a photo do not depend on what else the machine does. Without an artifact, ResNet-18 with random weights is
written (it is as fast as any other), and photos of 640 × 480 are drawn.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

CORES = sorted(os.sched_getaffinity(0))
TICK = os.sysconf("SC_CLK_TCK")


def resnet(folder: Path) -> Path:
    """An artifact whose network is ResNet-18."""
    import timm
    import torch

    from graft.core.keys import file_sha256
    from graft.core.shelf import take

    image, folder = take("modalities", "image"), folder / "resnet18"
    folder.mkdir()
    torch.manual_seed(0)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.body = image.front(image.Input()), timm.create_model("resnet18", num_classes=10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(self.front(x))

    example = {"x": torch.from_numpy(image.example(image.Input(), 2, np.random.default_rng(0))["x"])}
    take("formats", "onnx").write(Network(), example, folder / "model.onnx", {"x": ["batch", 3, 224, 224]})
    card = {
        "schema": 2, "modality": "image", "head": "classification", "labels": [f"class {k}" for k in range(10)],
        "reading": {}, "input": {}, "trust": {"level": 0.9, "temperature": 1.0, "thresholds": [0.9]},
        "files": {"model.onnx": file_sha256(folder / "model.onnx")},
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def drawn(folder: Path, count: int = 64) -> Path:
    """JPEG photos of smooth shapes and some noise, 640 × 480."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for index in range(count):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480), 3)
        noisy = np.asarray(small, np.float32) + rng.normal(0, 6, (480, 640, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{index:03}.jpg", quality=90)
    return folder


def bare(artifact: str, photos: str, batch: int, seconds: float) -> None:
    """The loop: prints photos per second, and seconds of the processor for a photo."""
    import graft
    from graft.core.shelf import take

    predictor, files = graft.open(artifact), [file.read_bytes() for file in sorted(Path(photos).iterdir())]
    image, input = predictor.modality, predictor.modality.parse(predictor.card["input"])
    run = take("formats", "onnx").read(Path(artifact) / "model.onnx")
    at = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:

        def step() -> None:
            nonlocal at
            raws = [files[(at + k) % len(files)] for k in range(batch)]
            at += batch
            made = pool.map(lambda raw: image.prepare(image.decode(raw, predictor.reading, input), input), raws)
            run(image.ship(list(made), input))

        step()
        at, start, spent = 0, time.monotonic(), _spent()
        while time.monotonic() < start + seconds:
            step()
        wall = time.monotonic() - start
    print(json.dumps({"rate": at / wall, "cpu": (_spent() - spent) / at}))


async def _client(
    port: int, requests: list[bytes], first: int, until: float, took: list[float], bad: list[str]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (start := time.monotonic()) < until:
        writer.write(requests[first % len(requests)])
        first += 1
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(found[1]) if found else 0)
        took.append(time.monotonic() - start)
        if not head.startswith(b"HTTP/1.1 200"):
            bad.append(head[:12].decode())
    writer.close()


async def _clients(port: int, photos: str, clients: int, seconds: float) -> None:
    requests = []
    for file in sorted(Path(photos).iterdir()):
        part = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'.encode()
        body = part + file.read_bytes() + b"\r\n--b--\r\n"
        head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    took, bad, until = list[float](), list[str](), time.monotonic() + seconds
    start = time.monotonic()
    await asyncio.gather(*(_client(port, requests, 7 * n, until, took, bad) for n in range(clients)))
    wall = time.monotonic() - start
    quantiles = np.quantile(took, [0.5, 0.99]) * 1000
    print(
        json.dumps(
            {"count": len(took), "rate": len(took) / wall, "bad": len(bad), "p50": quantiles[0], "p99": quantiles[1]}
        )
    )


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _spent_by(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _apart(cores: list[int], *arguments: object) -> dict[str, float]:
    """One part of this file, in a process of its own on these cores."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    return json.loads(done.stdout)


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("--artifact")
    ask.add_argument("--photos")
    ask.add_argument("--clients", type=int, default=64)
    ask.add_argument("--batch", type=int, default=32)
    ask.add_argument("--seconds", type=float, default=10)
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--pin", action="store_true")
    a = ask.parse_args()
    server_cores, client_cores = (CORES[:-1], CORES[-1:]) if a.pin and len(CORES) > 1 else (CORES, CORES)
    with tempfile.TemporaryDirectory() as place:
        (drawing := Path(place) / "photos").mkdir()
        artifact = a.artifact or resnet(Path(place))
        photos = a.photos or drawn(drawing)
        server = subprocess.Popen(
            [sys.executable, "-m", "graft.cli", "serve", str(artifact), "--port", "0", "--max-batch", str(a.batch)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, server_cores),
        )  # fmt: skip
        try:
            assert server.stderr
            port = server.stderr.readline().strip().rpartition(":")[2]
            _apart(client_cores, "clients", port, photos, 8, 2)  # warm
            rounds = []
            for number in range(a.rounds):
                loop = _apart(server_cores, "bare", artifact, photos, a.batch, a.seconds)
                before = _spent_by(server.pid)
                served = _apart(client_cores, "clients", port, photos, a.clients, a.seconds)
                cpu = (_spent_by(server.pid) - before) / served["count"]
                rounds.append((served["rate"] / loop["rate"], loop["cpu"] / cpu, served["p50"], served["p99"]))
                print(
                    f"round {number + 1}: loop {loop['rate']:.1f}/s, {1000 * loop['cpu']:.1f} ms of processor; server "
                    f"{served['rate']:.1f}/s, {1000 * cpu:.1f} ms; ratio {rounds[-1][0]:.3f}, of processor "
                    f"{rounds[-1][1]:.3f}; p50 {served['p50']:.0f} ms, p99 {served['p99']:.0f} ms; "
                    f"{served['bad']:.0f} not answered",
                    flush=True,
                )
        finally:
            server.terminate()
            server.communicate(timeout=30)
    for name, values in zip(("rate", "processor", "p50 ms", "p99 ms"), zip(*rounds, strict=True), strict=True):
        print(f"{name:<10} median {statistics.median(values):.3f}, {min(values):.3f} to {max(values):.3f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        bare(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
    elif sys.argv[1:2] == ["clients"]:
        asyncio.run(_clients(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
    else:
        main()
