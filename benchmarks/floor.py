"""What the machine can do at best, and what share of it graft's passes over photos reach, in turn, in one process.

    python benchmarks/floor.py photos/ --backbone package/resnet18 --rounds 5 --out floor.json

The floor of a photo is its bare forward pass and its bare decoding: the same backbone in OpenVINO and in ONNX Runtime
on one array of as many rows as graft's form has, and Pillow alone, which opens the same files, cuts the same middle and
resizes it to the same size. Beside them graft does both cold: photo files in, features in the store, which is empty at
first. What is opened, traced or compiled once is not counted.

Rates are per second of wall time. GEMM is the faster of torch and NumPy on two squares of 2048; the copies are of as
many bytes as the features that graft reads. Shares are of one round: the median with the lowest and the highest.
"""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

import graft
from beside import asked, move
from graft.build import build, examples, find, suited
from graft.core import home
from graft.core.codec import to_dict
from graft.core.cores import cores
from graft.core.shelf import take
from graft.data.dataset import Examples, chunks
from graft.data.store import gathered, open_store
from graft.features import features, sweep
from graft.model import openvino as compiled
from graft.model.cuts import Cut
from graft.model.prefix import Prefix
from graft.speed import forward, subset
from peers import options, spread

SIDE, PASSES = 2048, 8  # of a square matrix; forward passes in a timing
BATCH = 32  # rows that are copied together, as many as a step of training reads
Timed = Callable[[], float]  # does it once, and says how many a second: photos, operations or bytes


def rate(count: float, do: Callable[[], object]) -> Timed:
    """How many of so many a second."""

    def timed() -> float:
        began = time.perf_counter()
        do()
        return count / (time.perf_counter() - began)

    return timed


def bare(module: torch.nn.Module, shape: tuple[int, ...], place: Path) -> dict[str, Timed]:
    """The forward pass of a network in other runtimes, on one array of the batch that graft runs."""
    import onnxruntime
    import openvino

    x, core, threads = torch.rand(shape), openvino.Core(), torch.get_num_threads()
    torch.onnx.export(module, (x,), place, dynamo=True, external_data=False, verbose=False)
    found, model = dict[str, Timed](), openvino.convert_model(str(place))
    for dtype in compiled.dtypes():
        settings = {"INFERENCE_PRECISION_HINT": compiled.PRECISION[dtype], "INFERENCE_NUM_THREADS": threads}
        ask = core.compile_model(model, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY"}).create_infer_request()
        found[f"OpenVINO {dtype}"] = repeated(shape[0], lambda ask=ask: ask.infer([x.numpy()], share_inputs=True))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or it takes from what comes after it
    session = onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: x.numpy()}
    return {**found, "ONNX Runtime float32": repeated(shape[0], lambda: session.run(None, fed))}


def repeated(rows: int, do: Callable[[], object]) -> Timed:
    """A forward pass a few times over, once it has been warmed up."""
    do()
    return rate(rows * PASSES, lambda: [do() for _ in range(PASSES)])


def decoded(files: tuple[str, ...], asked: dict[str, Any]) -> Timed:
    """Pillow alone, in as many threads as there are cores: the middle of each photo at the size of the network."""
    size, mode = asked["size"], Image.Resampling[asked["interpolation"].upper()]

    def one(file: str) -> np.ndarray:
        with Image.open(file) as photo:
            photo.draft("RGB", (2 * round(size / asked["crop"]),) * 2)
            kept = min(photo.size) * asked["crop"]
            left, top = (photo.width - kept) / 2, (photo.height - kept) / 2
            return np.asarray(photo.convert("RGB").resize((size, size), mode, (left, top, left + kept, top + kept)))

    def all_of_them() -> None:
        with ThreadPoolExecutor(cores()) as pool:
            for _ in pool.map(one, files):
                pass

    return rate(len(files), all_of_them)


def machine(dtype: str, row: int, rows: int, place: Path) -> dict[str, Timed]:
    """Matrices multiplied, and so many rows of bytes copied: in memory, to a file, and out of its map in batches."""
    a, b = (torch.rand(SIDE, SIDE) for _ in range(2))
    source, target = np.full((rows, row), 1, np.uint8), np.full((rows, row), 2, np.uint8)

    def written() -> None:
        with place.open("wb", buffering=0) as file:
            file.write(source)
            os.fsync(file.fileno())

    def mapped() -> None:
        kept = np.memmap(place, np.uint8, "r", shape=source.shape)
        for at in chunks(rows, BATCH):
            np.array(kept[at[0] : at[-1] + 1])

    written()
    square = {"GEMM float32, NumPy": rate(2 * SIDE**3, lambda: a.numpy() @ b.numpy())}
    for name in {"float32", dtype}:
        c, d = (one.to(getattr(torch, name)) for one in (a, b))
        square[f"GEMM {name}, torch"] = rate(2 * SIDE**3, lambda c=c, d=d: c @ d)
    return {
        **square,
        "copy in memory": rate(source.nbytes, lambda: np.copyto(target, source)),
        "copy to a file": rate(source.nbytes, written),
        "copy out of a map": rate(source.nbytes, mapped),
    }


def ours(prefix: Prefix, wide: Cut, data: Examples) -> dict[str, Timed]:
    """graft: a forward pass, decoding, both into an empty store, and rows in and out of the store in batches."""
    count, rows, plain = len(data), list(chunks(len(data), prefix.form.batch)), np.zeros(len(data), int)
    full = {"x": data.read(np.arange(prefix.form.batch) % count, np.zeros(prefix.form.batch, int))["x"]}
    kept = sweep(prefix, [wide], data)[0]
    shuffled = np.array_split(np.random.default_rng(0).permutation(count), math.ceil(count / BATCH))
    names, tokens = kept.keys(np.arange(count), plain), np.ones((BATCH, *wide.shape), np.float32)
    size = count * tokens[0].nbytes

    def cold() -> None:
        shutil.rmtree(home.folder("features", prefix.id))
        features(prefix, data)

    def written() -> None:
        shutil.rmtree(home.folder("features", "floor"))
        with open_store("floor", "float32", wide.shape) as store, gathered(store) as write:
            for at in chunks(count, BATCH):
                write([names[row] for row in at], tokens[: len(at)], None)

    features(prefix, data)
    return {
        "graft, forward": repeated(prefix.form.batch, lambda: prefix.capture(full, [prefix.cut])),
        "graft, decoding": rate(count, lambda: dropped(data.read(at, 0 * at) for at in rows)),
        "graft, cold": rate(count, cold),
        "graft, writing": rate(size, written),
        "graft, reading": rate(size, lambda: dropped(kept.read(at, 0 * at) for at in shuffled)),
    }


def dropped(made: Iterable[object]) -> None:
    """Each is let go before the next is made, as in training: the memory of one serves all."""
    for one in made:
        del one


def shares(found: dict[str, float], dtype: str, flops: float) -> dict[str, float]:
    """Of one round, what part of the machine's rate graft reaches."""
    forwards = {name: one for name, one in found.items() if name.startswith(("OpenVINO", "ONNX"))}
    whole = max(one for name, one in forwards.items() if name.endswith("float32"))
    best = max((one for name, one in forwards.items() if name.endswith(dtype)), default=whole)
    gemm = max(one for name, one in found.items() if name.startswith(f"GEMM {dtype}"))
    return {
        f"forward, of the better in {dtype}": found["graft, forward"] / best,
        "forward, of the better in float32": found["graft, forward"] / whole,
        f"forward, of GEMM in {dtype}": found["graft, forward"] * flops / gemm,
        "decoding, of Pillow": found["graft, decoding"] / found["Pillow"],
        "cold pass, of forward and decoding": (1 / best + 1 / found["Pillow"]) * found["graft, cold"],
        "writing, of a copy to a file": found["graft, writing"] / found["copy to a file"],
        "reading, of a copy out of a map": found["graft, reading"] / found["copy out of a map"],
        "reading, of a copy in memory": found["graft, reading"] / found["copy in memory"],
    }


def main() -> None:
    """Measure, print a table, and write it."""
    ask = options(__doc__)
    ask.add_argument("--photos", type=int, default=1000)
    args = ask.parse_args()
    backbone = find(args.backbone)
    module, _ = take("sources", args.backbone.split("/")[0]).open(backbone)
    with TemporaryDirectory() as folder:
        move(Path(folder) / "home")
        task = graft.load(args.data)
        chain, _ = build(suited(backbone, task), task.head, len(task.outputs))
        form, _ = forward(task, backbone, chain)
        part, last = subset(task, task.train, args.photos), chain.stages[-1]
        wide = chain.stages[-2]
        job = asked(task, backbone)
        every = {
            **bare(module.eval(), (form.batch, 3, job["size"], job["size"]), Path(folder) / "bare.onnx"),
            "Pillow": decoded(part.items, job),
            **machine(form.dtype, 4 * math.prod(wide.shape), len(part), Path(folder) / "bytes"),
            **ours(chain.split(len(chain.stages), form)[0], wide, examples(task, part, backbone)),
        }
        rounds = list[dict[str, float]]()
        for number in range(args.rounds):
            rounds.append({name: timed() for name, timed in every.items()})
            print(f"  round {number}: " + ", ".join(f"{k} {v:.3g}" for k, v in rounds[-1].items()), file=sys.stderr)
    reached = [shares(one, form.dtype, last.flops / len(chain.example[chain.main])) for one in rounds]
    table = {
        "form": to_dict(form),
        "rates": {name: spread([one[name] for one in rounds]) for name in rounds[0]},
        "shares": {name: spread([one[name] for one in reached]) for name in reached[0]},
    }
    threads = f"{torch.get_num_threads()} threads, {cores()} to decode"
    print(f"{len(part)} photos, {backbone.id} in {form.runtime} {form.dtype}, batches of {form.batch}, {threads}")
    for name, (low, middle, high) in table["rates"].items():
        print(f"{name:40} {middle:.4g} a second [{low:.4g}, {high:.4g}]")
    for name, (low, middle, high) in table["shares"].items():
        print(f"{name:40} {middle:.2f} [{low:.2f}, {high:.2f}]")
    if args.out:
        args.out.write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
