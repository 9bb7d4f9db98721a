"""Few labelled texts: a linear probe beside contrastive tuning of the same encoder, over several draws of the data.

    python benchmarks/few.py DATA --label label --each 8 --draws 5

DATA is what `graft load` takes for texts. In every draw `--each` texts of a class train, four validate and up to 80
test; what is printed is the accuracy of both and the gain's mean with a 95 % interval over draws (Student's t).
"""

import argparse
import csv
import random
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy import stats

import graft
from graft.adapt import logits

VALIDATE, TEST = 4, 80  # texts of a class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--label")
    parser.add_argument("--each", type=int, default=8)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--characters", type=int, default=400, help="of each text that are used")
    parser.add_argument("--backbone", default="package/minilm")
    args = parser.parse_args()
    scores = np.array([draw(args, seed) for seed in range(args.draws)])
    for name, column in zip(("linear probe", "contrastive"), scores.T, strict=True):
        print(f"{name:<13} {100 * column.mean():.1f} % (sd {100 * column.std(ddof=1):.1f} over {len(column)} draws)")
    gains = 100 * (scores[:, 1] - scores[:, 0])
    reach = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
    print(f"gain {gains.mean():.1f} points (95 % interval {gains.mean() - reach:.1f} to {gains.mean() + reach:.1f})")


def draw(args: argparse.Namespace, seed: int) -> tuple[float, float]:
    """Test accuracy of both on one draw."""
    whole = graft.load(args.data, modality="text", label=args.label)
    texts: dict[str, list[str]] = defaultdict(list)
    for part in (whole.train, whole.val, whole.test.part):  # a benchmark draws its own parts
        for item, target in zip(part.items, part.targets, strict=True):
            texts[whole.outputs[target]].append(Path(item).read_text(encoding="utf-8", errors="replace"))
    rng, rows = random.Random(seed), []
    for label, found in texts.items():
        chosen = rng.sample(found, min(len(found), args.each + VALIDATE + TEST))
        for at, text in enumerate(chosen):
            part = "train" if at < args.each else "val" if at < args.each + VALIDATE else "test"
            rows.append((text[: args.characters], label, part))
    with TemporaryDirectory() as place:
        table = Path(place) / "few.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label", "split"), *rows])
        task, budget = graft.load(table, modality="text", seed=seed), graft.Budget(seconds=3000)
        evidence = graft.rank(task, [args.backbone], budget)[0]
        scores = []
        for strategy in ("linear_probe", "contrastive"):
            run = graft.adapt(task, graft.plan(task, evidence, strategy, budget))
            said, y = logits(task, run, task.test.part)
            scores.append(float((said.argmax(1) == y).mean()))
    print(f"draw {seed}: linear probe {scores[0]:.3f}, contrastive {scores[1]:.3f}", flush=True)
    return scores[0], scores[1]


if __name__ == "__main__":
    main()
