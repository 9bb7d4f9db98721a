"""The same job in other libraries and in graft, in turn, whole processes: a new head on a frozen network, or more.

    pip install -e ".[test]" fastai lightning keras accelerate    # for photos
    pip install -e ".[test]" sentence-transformers setfit accelerate    # for texts, which learn a head alone
    python benchmarks/peers.py photos/ --backbone package/resnet18 --rounds 5 --out peers.json --picture peers.svg
    python benchmarks/peers.py photos/ --learn stage --epochs 20
    python benchmarks/peers.py photos/ --views 4

Every contender is a fresh process that reads the examples, trains a head for some epochs and answers the test part;
`peer_photos.py` and `peer_texts.py` hold the others', in float32 and, where the processor has it, two of them in a
bfloat16 that nobody has checked. Of a head on plain examples graft and the rival, which keeps features in an array,
find the optimum. With `--learn stage` the last stage learns, too, and with `--learn all` everything; with `--views K`
photos are cropped and flipped, by the others anew in every epoch, by graft K times, which it keeps. Weights are fetched
beforehand, parts are those that `graft.load` draws. The order is A B C …, A B C …; each ratio is of one round, shown as
the median with the lowest and highest. CPU seconds are those of the process and of the workers that it waits for,
memory is the process's own largest resident set.

graft's first row begins with an empty home, and reads, audits and measures before it chooses; `again` asks the same
once more; `another seed` adapts anew on what is stored by then. `plan given` is handed the first row's plan in an empty
home: it chooses nothing, as the others do not.
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

import graft
from beside import asked, move, saved, shown
from graft.build import build, find
from graft.core import home
from graft.core.nouns import Task
from graft.core.shelf import take
from graft.model.probes import rough

HERE = Path(__file__).parent
OURS = """
import json, sys
import graft
from graft.adapt import logits
from graft.core.codec import from_json, to_json
from graft.meter import highest
from graft.model.lean import own
own()  # as the command `graft` does
job = json.load(sys.stdin)
task = graft.load(job["data"])
if "plan" in job:
    plan = from_json(graft.Plan, job["plan"])
else:
    budget = graft.Budget(seconds=600.0, firm=False)
    evidence = graft.rank(task, [job["backbone"]], budget)[0]
    plan = graft.plan(task, evidence, "linear_probe", budget)
    if job["learn"] != "head" or job["views"]:
        stages = {"head": [], "stage": [f"stages[{len(evidence.stage_curve) - 1}:]"], "all": ["stages[0:]"]}
        steps, views = job["epochs"] * -(-len(task.train) // 32), job["views"] or 1
        more = {"views": views, "dtype": evidence.train_dtype}
        phase = graft.Phase(("head", *stages[job["learn"]]), steps=steps, lr=5e-3, backbone_lr=0.02, **more)
        plan = graft.Plan(plan.backbone, task.head, "by hand", (phase,), plan.form)
run = graft.adapt(task, plan, job["seed"])
said = logits(task, run, task.test.open("benchmark"))[0].argmax(1)
print(json.dumps({"answers": said.tolist(), "peak": highest(), "plan": to_json(plan)}))
"""
TITLES = {
    "graft": "graft, choosing included", "rival": "features kept by hand", "loop": "torch alone",
    "rival, bfloat16": "features kept by hand, bfloat16", "loop, bfloat16": "torch alone, bfloat16",
    "fabric": "Lightning Fabric", "trainer": "Hugging Face Trainer", "keras": "Keras 3", "setfit": "SetFit",
}  # fmt: skip
PEERS = {
    "image": ("rival", "rival, bfloat16", "loop", "loop, bfloat16", "fabric", "trainer", "fastai", "keras"),
    "text": ("rival", "sentence-transformers", "setfit", "trainer"),
}


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


def ours(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """graft from an empty home, once more, with another seed, and from an empty home with its plan."""
    empty()
    command = [sys.executable, "-c", OURS]
    found = {
        "graft": measured(command, job),
        "graft, again": measured(command, job),
        "graft, another seed": measured(command, {**job, "seed": 1}),
    }
    empty()
    return {**found, "graft, plan given": measured(command, {**job, "plan": found["graft"]["plan"]})}


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
    ask.add_argument("--peers", nargs="+", help="which; all that can do the job by default")
    ask.add_argument("--learn", choices=("head", "stage", "all"), default="head")
    ask.add_argument("--views", type=int, default=0)
    ask.add_argument("--picture", type=Path)
    args = ask.parse_args()
    backbone = find(args.backbone)
    module, _ = take("sources", args.backbone.split("/")[0]).open(backbone)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        move(place / "home")
        task = graft.load(args.data)
        test = task.test.open("benchmark")
        saved(module, place / "weights")
        job = {"weights": str(place / "weights"), "classes": len(task.outputs), "epochs": args.epochs, "seed": 0}
        job |= {"train": shown(task, task.train), "val": shown(task, task.val), "test": shown(task, test)}
        job |= asked(task, backbone) | {"learned": learned(task, args.backbone, args.learn), "varied": bool(args.views)}
        own = {"data": args.data, "backbone": args.backbone, "seed": 0}
        own |= {"learn": args.learn, "views": args.views, "epochs": args.epochs}
        tuned = args.learn != "head" or args.views > 0
        peers = args.peers or [
            peer
            for peer in PEERS[task.modality]
            if not (tuned and peer.startswith("rival")) and (rough("cpu") or "bfloat16" not in peer)
        ]
        script = {"image": "peer_photos.py", "text": "peer_texts.py"}[task.modality]
        rounds = list[dict[str, dict[str, Any]]]()
        for number in range(args.rounds):
            found = ours(own)
            for peer in peers:
                found[peer] = measured([sys.executable, str(HERE / script)], {**job, "do": peer})
            rounds.append(found)
            told = ", ".join(f"{name} {one['wall']:.1f}/{one['cpu']:.1f}" for name, one in found.items())
            print(f"  round {number}, wall/cpu s: {told}", file=sys.stderr, flush=True)
        table = summed(rounds, np.asarray(test.targets))
    print(f"{len(task.train)} examples, {args.epochs} epochs; time as a multiple of `graft`'s")
    for name, row in table.items():
        wall, cpu = (f"×{row[kind][1]:.2f} [{row[kind][0]:.2f}, {row[kind][2]:.2f}]" for kind in ("wall", "cpu"))
        print(f"{name:22} {100 * row['accuracy']:5.1f} %  wall {wall:24} cpu {cpu:24} {row['peak'] / 1e9:.2f} GB")
    if args.out:
        args.out.write_text(json.dumps(table, indent=1), encoding="utf-8")
    if args.picture:
        drawn(table, args.picture)


def learned(task: Task, backbone: str, learn: str) -> list[str]:
    """The parameters of the bare backbone that learn."""
    if learn == "head":
        return []
    chain, _ = build(find(backbone), task.head, len(task.outputs))
    chain.freeze([f"stages[{len(chain.stages) - 1 if learn == 'stage' else 0}:]"])
    named = chain.network.named_parameters()
    return [name.removeprefix("backbone.") for name, one in named if one.requires_grad]


def drawn(table: dict[str, dict[str, Any]], place: Path) -> None:
    """The seconds of each as multiples of graft's, with the lowest and highest round."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = sorted(table.items(), key=lambda item: item[1]["wall"][1])
    low, middle, high = np.array([row["wall"] for _, row in rows]).T
    with rc_context({"svg.fonttype": "none", "font.size": 10}):
        made = Figure(figsize=(7, 0.4 * len(rows) + 0.9))
        axes = made.subplots()
        colours = ["#0072b2" if name.startswith("graft") else "#999999" for name, _ in rows]
        axes.barh(range(len(rows)), middle, xerr=[middle - low, high - middle], color=colours, capsize=3)
        titles = [f"{TITLES.get(name, name)}: {100 * row['accuracy']:.1f} %" for name, row in rows]
        axes.set_yticks(range(len(rows)), titles)
        axes.set_xlabel("seconds, as a multiple of graft's first run (lowest, median and highest round)")
        for at, value in enumerate(middle):
            axes.text(high[at] + 0.02 * high.max(), at, f"{value:.2g}", va="center")
        axes.spines[["top", "right"]].set_visible(False)
        made.savefig(place, bbox_inches="tight", metadata={"Date": None} if place.suffix == ".svg" else None)


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
