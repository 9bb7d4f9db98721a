"""The same job in other libraries and in graft: a new head on a frozen network, in turn, whole processes.

    pip install -e ".[test]" fastai lightning keras accelerate
    python benchmarks/peers.py photos/ --backbone package/resnet18 --rounds 5 --out peers.json

Every contender is a fresh process that reads the photos, trains a head for some epochs (graft and the rival: to its
optimum) and answers the test part; `peer_photos.py` holds the others'. Weights are fetched beforehand, parts are those
that `graft.load` draws. The order is A B C …, A B C …; each ratio is of one round, shown as the median with the lowest
and highest. CPU seconds are those of the process and of the workers that it waits for, memory is the process's own
largest resident set.

graft's first row begins with an empty home, and reads, audits and measures before it chooses; `again` asks the same
once more; `another seed` adapts anew on what is stored by then.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import numpy as np
from safetensors.torch import save_file

import graft
from beside import asked, move, shown
from graft.build import find
from graft.core import home
from graft.core.shelf import take

HERE = Path(__file__).parent
OURS = """
import json, sys
import graft
from graft.adapt import logits
from graft.meter import highest
job = json.load(sys.stdin)
task = graft.load(job["data"])
budget = graft.Budget(seconds=600.0, firm=False)
evidence = graft.rank(task, [job["backbone"]], budget)[0]
run = graft.adapt(task, graft.plan(task, evidence, job["strategy"], budget), job["seed"])
said = logits(task, run, task.test.open("benchmark"))[0].argmax(1)
print(json.dumps({"answers": said.tolist(), "peak": highest()}))
"""
PEERS = ("rival", "loop", "fabric", "trainer", "fastai", "keras")


def measured(command: list[str], job: dict[str, Any]) -> dict[str, Any]:
    """Wall and CPU seconds of a process, and the JSON that it ends with."""
    began = time.perf_counter()
    with TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        if os.waitstatus_to_exitcode(status):
            errors.seek(0)
            raise SystemExit(f"{job.get('do', 'graft')} failed:\n{errors.read().decode()[-2000:]}")
    told = json.loads(said.decode().strip().splitlines()[-1])
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, **told}


def empty() -> None:
    """Leave nothing in the home but weights."""
    for kind in home.KINDS:
        if kind != "weights":
            shutil.rmtree(home.home() / kind, ignore_errors=True)


def ours(place: Path, job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """graft from an empty home, once more, and with another seed."""
    empty()
    command = [sys.executable, "-c", OURS]
    return {
        "graft": measured(command, job),
        "graft, again": measured(command, job),
        "graft, another seed": measured(command, {**job, "seed": 1}),
    }


def options(about: str | None) -> argparse.ArgumentParser:
    """What benchmarks of photos are asked alike."""
    ask = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("data")
    ask.add_argument("--backbone", default="package/resnet18")
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--out", type=Path)
    return ask


def main() -> None:
    """Measure, print a table, and write it."""
    ask = options(__doc__)
    ask.add_argument("--epochs", type=int, default=5)
    ask.add_argument("--peers", nargs="+", default=list(PEERS))
    args = ask.parse_args()
    backbone = find(args.backbone)
    module, _ = take("sources", args.backbone.split("/")[0]).open(backbone)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        move(place / "home")
        task = graft.load(args.data)
        test = task.test.open("benchmark")
        save_file({name: value.contiguous() for name, value in module.state_dict().items()}, place / "weights")
        job = {"weights": str(place / "weights"), "classes": len(task.outputs), "epochs": args.epochs, "seed": 0}
        job |= {"train": shown(task, task.train), "val": shown(task, task.val), "test": shown(task, test)}
        job |= asked(task, backbone)
        own = {"data": args.data, "backbone": args.backbone, "strategy": "linear_probe", "seed": 0}
        rounds = list[dict[str, dict[str, Any]]]()
        for number in range(args.rounds):
            found = ours(place, own)
            for peer in args.peers:
                found[peer] = measured([sys.executable, str(HERE / "peer_photos.py")], {**job, "do": peer})
            rounds.append(found)
            told = ", ".join(f"{name} {one['wall']:.1f}/{one['cpu']:.1f}" for name, one in found.items())
            print(f"  round {number}, wall/cpu s: {told}", file=sys.stderr, flush=True)
        table = summed(rounds, np.asarray(test.targets))
    print(f"{len(task.train)} photos, {args.epochs} epochs; time as a multiple of `graft`'s")
    for name, row in table.items():
        wall, cpu = (f"×{row[kind][1]:.2f} [{row[kind][0]:.2f}, {row[kind][2]:.2f}]" for kind in ("wall", "cpu"))
        print(f"{name:22} {100 * row['accuracy']:5.1f} %  wall {wall:24} cpu {cpu:24} {row['peak'] / 1e9:.2f} GB")
    if args.out:
        args.out.write_text(json.dumps(table, indent=1), encoding="utf-8")


def spread(values: list[float]) -> list[float]:
    """The lowest, the median and the highest."""
    found: list[float] = np.quantile(values, (0, 0.5, 1)).tolist()
    return found


def summed(rounds: list[dict[str, dict[str, Any]]], truth: np.ndarray) -> dict[str, dict[str, Any]]:
    """Per contender: accuracy, median ratios with lowest and highest, and the largest peak."""
    table = {}
    for name in rounds[0]:
        ratios = {kind: spread([one[name][kind] / one["graft"][kind] for one in rounds]) for kind in ("wall", "cpu")}
        accuracy = float(np.mean([(np.asarray(one[name]["answers"]) == truth).mean() for one in rounds]))
        table[name] = {"accuracy": accuracy, **ratios, "peak": max(one[name]["peak"] for one in rounds)}
    return table


if __name__ == "__main__":
    main()
