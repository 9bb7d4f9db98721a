"""graft beside what one would write without it: same data, same parts, same weights, in turn.

    python benchmarks/beside.py photos/ --backbone package/resnet18 --budget 10m --seeds 2
    python benchmarks/beside.py news/ --backbone package/minilm --budget 10m

Every contender is a fresh process and its whole wall time counts, graft's with ranking and planning; weights are
fetched beforehand. Accuracy is that of the test part; gains of graft over the others have paired 95 % intervals over
examples and seeds. For photos see `plain_photos.py`, for texts `plain_texts.py`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.torch import save_file

import graft
from graft.adapt import logits
from graft.build import find, reading
from graft.core import home
from graft.core.codec import from_json, to_json
from graft.core.nouns import Backbone, Part, Run, Task
from graft.core.shelf import take
from graft.data import tokens
from graft.model.stats import interval, paired

PLAIN = {
    "image": {
        "plain probe": {"do": "probe"},
        "plain fine-tuning, 5 epochs": {"do": "finetune", "epochs": 5, "lr": 2e-4},
        "plain fine-tuning, 10 epochs": {"do": "finetune", "epochs": 10, "lr": 2e-4},
    },
    "text": {
        "plain TF-IDF": {"do": "tfidf"},
        "plain probe": {"do": "probe"},
        "plain fine-tuning, 3 epochs": {"do": "finetune", "epochs": 3, "lr": 5e-5},
    },
}
SCRIPTS = {"image": "plain_photos.py", "text": "plain_texts.py"}


def timed(command: list[str], given: str = "") -> tuple[float, str]:
    """Wall seconds and standard output of a process."""
    began = time.perf_counter()
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - began, done.stdout


def move(place: Path) -> None:
    """Make this folder the home of this process and of those it starts; it has the weights of the one before."""
    before = home.home() / "weights"
    os.environ["GRAFT_HOME"] = str(place)
    if before.is_dir():
        place.mkdir()
        (place / "weights").symlink_to(before)


def ours(task: Task, file: Path, args: argparse.Namespace, strategy: str, seed: int) -> tuple[float, np.ndarray, str]:
    """rank, plan and adapt in one command, in a home that holds the weights alone."""
    for kind in ("features", "runs", "results"):
        home.clear(kind)
    command = [str(Path(sys.executable).with_name("graft")), "adapt", str(file), "--backbone", args.backbone, "--json"]
    seconds, out = timed([*command, "--strategy", strategy, "--budget", args.budget, "--seed", str(seed)])
    run = from_json(Run, out)
    part = task.test.open("benchmark")
    phases = [f"{','.join(p.train)} {p.steps} steps {p.views} views {p.dtype}" for p in run.plan.phases]
    return seconds, logits(task, run, part)[0].argmax(1), f"validation {run.score:.3f}; " + "; ".join(phases)


def plain(script: str, job: dict[str, Any], seed: int) -> tuple[float, np.ndarray, str]:
    """One of the scripts."""
    seconds, _ = timed([sys.executable, str(Path(__file__).with_name(script))], json.dumps({**job, "seed": seed}))
    answer = json.loads(Path(job["out"]).read_text(encoding="utf-8"))
    return seconds, np.asarray(answer["answers"]), answer["note"]


def shown(task: Task, part: Part) -> dict[str, Any]:
    """A part as a plain script reads it: the names of files, or texts."""
    if task.modality == "image":
        return {"items": part.items, "targets": part.targets}
    modality, read = take("modalities", task.modality), reading(task)
    texts = [modality.decode(modality.fetch(item, read), read) for item in part.items]
    return {"texts": [text if isinstance(text, str) else " ".join(text) for text in texts], "targets": part.targets}


def asked(task: Task, backbone: Backbone) -> dict[str, Any]:
    """The network of a backbone, and what it is fed, for a plain script."""
    input = take("modalities", task.modality).parse(backbone.input)
    if task.modality == "text":
        return {"config": backbone.config, "tokenizer": str(tokens.place(input.tokenizer)), "window": input.window}
    return {
        "architecture": backbone.architecture, "size": input.size[0], "mean": input.mean, "std": input.std,
        "interpolation": input.interpolation, "crop": input.crop,
    }  # fmt: skip


def saved(module: Any, place: Path) -> None:
    """The weights of a backbone under the names that its library gives them."""
    known = getattr(module, "model", module).state_dict()  # graft's wrapping of transformers' networks is not theirs
    save_file({name: value.contiguous() for name, value in known.items()}, place)


def main() -> None:
    """Measure, and print a table."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("data")
    ask.add_argument("--backbone", default="package/resnet18")
    ask.add_argument("--budget", default="10m")
    ask.add_argument("--seeds", type=int, default=1)
    ask.add_argument("--strategies", nargs="+", default=["linear_probe", "auto"])
    ask.add_argument("--plain", nargs="*", help="which of the plain ones; all by default")
    args = ask.parse_args()
    backbone = find(args.backbone)
    module, _ = take("sources", args.backbone.split("/")[0]).open(backbone)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        move(place / "home")
        task = graft.load(args.data)
        (place / "task.json").write_text(to_json(task), encoding="utf-8")
        saved(module, place / "weights")
        parts = {"train": task.train, "val": task.val, "test": task.test.open("benchmark")}
        job = {"weights": str(place / "weights"), "out": str(place / "answers"), "classes": len(task.outputs)}
        job |= {name: shown(task, part) for name, part in parts.items()} | asked(task, backbone)
        plain_ones = {name: how for name, how in PLAIN[task.modality].items() if name in (args.plain or [name])}
        found: dict[str, list[tuple[float, np.ndarray, str]]] = {}
        for seed in range(args.seeds):
            for strategy in args.strategies:
                found.setdefault(f"graft {strategy}", []).append(ours(task, place / "task.json", args, strategy, seed))
            for name, how in plain_ones.items():
                found.setdefault(name, []).append(plain(SCRIPTS[task.modality], {**job, **how}, seed))
            for name, runs in found.items():
                print(f"  {name}, seed {seed}: {runs[-1][0]:.0f} s, {runs[-1][2]}", file=sys.stderr, flush=True)
        table(found, np.asarray(parts["test"].targets))


def table(found: dict[str, list[tuple[float, np.ndarray, str]]], truth: np.ndarray) -> None:
    """Accuracy with its interval, graft's last strategy's gain over each, and seconds as a multiple of graft's."""
    share = np.full(len(truth), 1 / len(truth))
    right = {name: np.stack([answers == truth for _, answers, _ in runs]) for name, runs in found.items()}
    seconds = {name: float(np.mean([run[0] for run in runs])) for name, runs in found.items()}
    ours = [name for name in found if name.startswith("graft")][-1]
    print(f"{len(truth)} test examples; gains and times are those of {ours}")
    for name, rows in right.items():
        score, low, high = (100 * value for value in interval(rows, share))
        line = f"{name:30} {score:5.1f} % [{low:.1f}, {high:.1f}]  {seconds[name]:6.0f} s"
        if name != ours:
            gain, least, most = (100 * value for value in paired(right[ours], rows, share))
            line += f"  gain {gain:+.1f} [{least:+.1f}, {most:+.1f}]  time ×{seconds[name] / seconds[ours]:.2f}"
        print(line)


if __name__ == "__main__":
    main()
