"""Every strategy on the same data, over several draws: what is the gain of each over the first, and what does it move?

    python benchmarks/strategies.py DATA --each 20 --draws 5 --backbone package/resnet18

DATA is a folder of class folders of photos. In every draw `--each` photos of a class train, half as many validate and
up to `--test` test. What is printed is the accuracy, its gain over the strategy that is named first (LP-FT where none
is) with a 95 % interval over draws (Student's t), the share of weights that moved, and the CPU seconds of one run,
features stored by earlier ones not counted again.
"""

import argparse
import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import load_file
from scipy import stats

import graft
from graft.adapt import logits
from graft.build import build
from graft.core.shelf import names

FIRST = "lp_ft"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--test", type=int, default=60, help="photos of a class")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--backbone", default="tiny/shapes")
    parser.add_argument("--budget", type=float, default=600.0, help="seconds")
    parser.add_argument("--strategy", action="append", help="by default all but auto and contrastive")
    args = parser.parse_args()
    others = [name for name in names("strategies") if name not in ("auto", "contrastive", FIRST)]
    chosen = args.strategy or [FIRST, *others]
    found = np.array([draw(args, chosen, seed) for seed in range(args.draws)])  # (draws, strategies, three)
    for at, name in enumerate(chosen):
        accuracy, moved, seconds = found[:, at].mean(0)
        gains = 100 * (found[:, at, 0] - found[:, 0, 0])
        reach = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
        interval = f"[{gains.mean() - reach:+.1f}, {gains.mean() + reach:+.1f}]"
        print(
            f"{name:<15} {100 * accuracy:.1f} %  {gains.mean():+.1f} {interval:<14}  {100 * moved:5.1f} % moved  "
            f"{seconds:.0f} s"
        )


def draw(args: argparse.Namespace, strategies: list[str], seed: int) -> list[tuple[float, float, float]]:
    """Test accuracy, share of weights moved and CPU seconds of each strategy."""
    rng = random.Random(seed)
    with TemporaryDirectory() as place:
        for folder in sorted(entry for entry in Path(args.data).iterdir() if entry.is_dir()):
            files = sorted(folder.iterdir())
            rng.shuffle(files)
            for part, count in (("train", args.each), ("val", args.each // 2), ("test", args.test)):
                (to := Path(place, part, folder.name)).mkdir(parents=True)
                for file in files[:count]:
                    os.symlink(file.resolve(), to / file.name)
                files = files[count:]
        task, budget = graft.load(place, seed=seed), graft.Budget(seconds=args.budget)
        evidence = graft.rank(task, [args.backbone], budget)[0]
        test, told = task.test.open("benchmark"), []
        plain = build(evidence.backbone, task.head, len(task.outputs), seed)[0].network.state_dict()
        for name in strategies:
            run = graft.adapt(task, graft.plan(task, evidence, name, budget), seed)
            said, y = logits(task, run, test)
            after = load_file(run.weights)
            body = [n for n in after if n.startswith("backbone.")]
            moved = sum(int((after[n] != plain[n].numpy()).sum()) for n in body) / sum(after[n].size for n in body)
            told.append((float((said.argmax(1) == y).mean()), moved, run.cost.cpu_seconds))
            print(f"draw {seed}: {name} {told[-1][0]:.3f}, validation {run.score:.3f}", flush=True)
    return told


if __name__ == "__main__":
    main()
