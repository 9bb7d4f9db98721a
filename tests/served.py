"""Small artifacts of every modality, and servers that are processes of their own."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from graft.core.codec import from_dict, to_dict
from graft.core.shelf import take

COLOURS = {"red": (220, 30, 20), "green": (20, 200, 40), "blue": (10, 40, 230)}
TRUST = {"level": 0.9, "temperature": 1.0, "quantiles": [0.6]}
SIDE = 32  # of the photos that the network sees


def card(folder: Path, **said: Any) -> Path:
    """An artifact of the files that lie in a folder."""
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
    files.pop("card.json", None)
    base = {"schema": 3, "graft": "0.1.0", "head": "classification", "reading": {}, "task": {"name": folder.name}}
    base["formats"] = {"onnx": {"files": ["model.onnx"]}} if "model.onnx" in files else {}
    (folder / "card.json").write_text(json.dumps({**base, **said, "files": files}))
    return folder


def colours(folder: Path, heat: float = 40.0, work: int = 0) -> Path:
    """An ONNX network that tells red, green and blue photos apart, and calls grey ones unlike; `work` makes it slow."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    folder.mkdir(parents=True)
    node = helper.make_node
    big = np.eye(512, dtype=np.float32)
    nodes = [
        node("Cast", ["x"], ["pixels"], to=TensorProto.FLOAT),
        node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        node("Div", ["mean", "heat"], ["logits"]),
        node("ReduceMax", ["mean", "across"], ["most"], keepdims=0),
        node("ReduceMin", ["mean", "across"], ["least"], keepdims=0),
        node("Sub", ["least", "most"], ["novelty" if not work else "raw"]),
        *[node("MatMul", [f"big{i}" if i else "big", "big"], [f"big{i + 1}"]) for i in range(work)],
    ]
    if work:  # of no consequence, but not to be left out
        nodes += [
            node("ReduceMin", [f"big{work}", "both"], ["zero"], keepdims=0),
            node("Add", ["raw", "zero"], ["novelty"]),
        ]
    held = {"axes": np.array([2, 3]), "across": np.array([1]), "heat": np.array(heat, np.float32)}
    held |= {"both": np.array([0, 1])} if work else {}
    weights = [numpy_helper.from_array(value, name) for name, value in held.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", 3, SIDE, SIDE])]
    if work:  # made of the input, so that it is computed every time
        nodes[:0] = [
            node("Cast", ["x"], ["again"], to=TensorProto.FLOAT),
            node("ReduceMin", ["again", "all"], ["dark"], keepdims=0),
            node("Mul", ["dark", "none"], ["nothing"]),
            node("Add", ["eye", "nothing"], ["big"]),
        ]
        for name, value in (("all", np.arange(4)), ("none", np.zeros((), np.float32)), ("eye", big)):
            weights.append(numpy_helper.from_array(value, name))
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3]),
        helper.make_tensor_value_info("novelty", TensorProto.FLOAT, ["batch"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "colours", inputs, outputs, weights), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 10
    checker.check_model(model)
    save(model, folder / "model.onnx")
    (folder / "weights.safetensors").write_bytes(b"")
    said = {"modality": "image", "labels": list(COLOURS), "input": {"size": [SIDE, SIDE]}, "trust": TRUST}
    return card(folder, **said, unlike=-20.0, work=work)


def fitted(folder: Path, modality: str, baseline: str, raws: Mapping[str, list[Any]], reading: Any = None) -> Path:
    """A classical model of these examples by label."""
    folder.mkdir(parents=True)
    shelf, method, head = take("modalities", modality), take("baselines", baseline), take("heads", "classification")
    read = from_dict(shelf.Reading, reading or {})
    seen = [method.describe(shelf.decode(shelf.given(raw, read), read)) for many in raws.values() for raw in many]
    y = np.repeat(np.arange(len(raws)), [len(many) for many in raws.values()])
    x = seen if getattr(method, "RAGGED", False) else np.stack(seen)
    save_file(method.fit(x, y, head, len(raws), 0), folder / "weights.safetensors")
    return card(folder, modality=modality, labels=list(raws), baseline=baseline, reading=to_dict(read), trust=TRUST)


def photo(label: str, rng: np.random.Generator, size: tuple[int, int] = (48, 40), kind: str = "PNG") -> bytes:
    """A photo of about this colour; any other label is grey."""
    shade = np.array(COLOURS.get(label, (90, 90, 90))) + rng.normal(0, 20, (size[1], size[0], 3))
    stream = io.BytesIO()
    Image.fromarray(shade.clip(0, 255).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


def tone(hertz: float, rng: np.random.Generator, seconds: float = 0.5) -> dict[str, Any]:
    """A clip as it is handed over: samples and their rate."""
    time = np.arange(round(8000 * seconds)) / 8000
    noise = rng.normal(0, 0.02, len(time))
    return {"samples": (0.5 * np.sin(2 * np.pi * hertz * time) + noise).round(5).tolist(), "rate": 8000}


def wave(hertz: float, rng: np.random.Generator) -> dict[str, Any]:
    """A trial of two channels."""
    time = np.arange(256) / 128
    x = np.sin(2 * np.pi * hertz * time + rng.uniform(0, 6, (2, 1))) + rng.normal(0, 0.1, (2, 256))
    return {"x": x.round(5).tolist(), "channels": ["C3", "C4"], "rate": 128.0}


def examples(each: int, seed: int) -> dict[str, dict[str, list[Any]]]:
    """Examples by model and label, as they are handed over in JSON; photos are bytes."""
    rng = np.random.default_rng(seed)
    words = {"food": ("bread", "cheese", "soup", "salt"), "sky": ("cloud", "star", "moon", "wind")}
    return {
        "colours": {label: [photo(label, rng) for _ in range(each)] for label in COLOURS},
        "topics": {label: [" ".join(rng.choice(some, 6)) for _ in range(each)] for label, some in words.items()},
        "tones": {label: [tone(hertz, rng) for _ in range(each)] for label, hertz in (("low", 200), ("high", 1500))},
        "waves": {label: [wave(hertz, rng) for _ in range(each)] for label, hertz in (("slow", 6), ("fast", 30))},
        "rows": {
            label: [(rng.normal(0, 1, 3) + middle).round(5).tolist() for _ in range(each)]
            for label, middle in (("near", 0.0), ("far", 6.0))
        },
    }


def artifacts(place: Path) -> dict[str, Path]:
    """One of each modality."""
    known = examples(12, 0)
    channels = {"channels": ["C3", "C4"], "rate": 128.0}
    return {
        "colours": colours(place / "colours"),
        "topics": fitted(place / "topics", "text", "tfidf", known["topics"]),
        "tones": fitted(place / "tones", "audio", "logmel", known["tones"]),
        "waves": fitted(place / "waves", "signal", "bandpower", known["waves"], channels),
        "rows": fitted(place / "rows", "vector", "columns", known["rows"], {"columns": ["a", "b", "c"]}),
    }


class Served:
    """A server in a process of its own, and a client of it."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.client = httpx.Client(base_url=url, timeout=30, limits=httpx.Limits(max_connections=100))
        self.said: list[str] = []  # on standard error

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def asked(self, model: str, *inputs: Any) -> httpx.Response:
        """What it answers to these, in JSON."""
        body = json.dumps({"inputs": list(inputs)})  # which writes Infinity, and halves of characters
        kind = {"content-type": "application/json"}
        return self.client.post(f"/predict/{model}", content=body, headers=kind)

    def sent(self, model: str, *files: bytes | tuple[str, bytes], **more: Any) -> httpx.Response:
        """What it answers to these files."""
        named = [("file", file if isinstance(file, tuple) else ("a.png", file)) for file in files]
        return self.client.post(f"/predict/{model}", files=named, **more)

    def measured(self) -> dict[str, float]:
        """Its metrics by name and labels, as they are written."""
        lines = self.client.get("/metrics").text.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@contextmanager
def server(*folders: Path, log: Path, **settings: Any) -> Iterator[Served]:
    """A server of these artifacts: `graft serve`, or where settings have no option, what that calls."""
    named = [str(folder) for folder in folders]
    code = f"from graft.serving.run import serve, Settings; serve({named}, Settings(**{settings | {'port': 0}!r}))"
    code = f"import logging; logging.basicConfig(level='INFO', format='%(message)s'); {code}"
    command = [sys.executable, *(["-c", code] if settings else ["-m", "graft.cli", "serve", *named, "--port", "0"])]
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            cwd=log.parent,
            env=os.environ | {"TMPDIR": str(log.parent)},
        )
        reader = None
        try:
            first = process.stderr.readline() if process.stderr else ""
            found = re.search(r"http://\S+:\d+", first)
            assert found, first + (process.stderr.read() if process.stderr else "")
            made = Served(process, found[0])
            reader = threading.Thread(target=lambda: made.said.extend(process.stderr or ()))
            reader.start()
            with made.client:
                yield made
        finally:
            process.terminate()
            process.wait(30)
            if reader:
                reader.join()
            if process.stderr:
                process.stderr.close()
