"""Regularisers beside none: the same draws, plan and seed, one term more; and alignments on a shifted copy of the data.

    python benchmarks/regularizers.py DATA --each 16 --draws 5
    python benchmarks/regularizers.py DATA --each 16 --draws 5 --shift

DATA is a folder of photos by class. In every draw `--each` photos of a class train, eight validate, up to 40 test. The
plan solves the head exactly and then tunes the stages from `--first` on, for 150 steps on four cached views. What is
printed is the gain in points of test accuracy over the plan without, its mean with a 95 % interval over draws
(Student's t). With --shift the test photos are dimmed and blurred, and the last rows are what `align` chose by them
without their labels: by itself, and with all alignments named, as one does who knows that the classes' shares are
alike.
"""

import argparse
import random
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageFilter
from scipy import stats

import graft
from graft.adapt import adapt, logits
from graft.align import align
from graft.build import find
from graft.core.nouns import Phase, Plan, Task
from graft.regularized import ALIGNMENTS, regularized

VALIDATE, TEST = 8, 40  # photos of a class
TERMS = ("l2_sp", "bss", "delta", "distill", "mixup", "cutmix", "frofa", "ema")
DEPTH = 8  # stages of the backbone at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--each", type=int, default=16)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--backbone", default="package/mobilenet_v3_small")
    parser.add_argument("--first", type=int, default=5, help="the first stage that learns")
    parser.add_argument("--shift", action="store_true", help="alignments with a shifted, unlabelled copy")
    args = parser.parse_args()
    names = ("none", "linear probe", *((*ALIGNMENTS, "align", "align, named") if args.shift else TERMS))
    scores = np.array([draw(args, seed) for seed in range(args.draws)])
    print(f"none {100 * scores[:, 0].mean():.1f} % (sd {100 * scores[:, 0].std(ddof=1):.1f} over {len(scores)} draws)")
    for name, column in zip(names[1:], scores.T[1:], strict=True):
        gains = 100 * (column - scores[:, 0])
        reach = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
        print(f"{name:<14} {gains.mean():+.1f} [{gains.mean() - reach:+.1f}, {gains.mean() + reach:+.1f}]")


def draw(args: argparse.Namespace, seed: int) -> list[float]:
    """Test accuracy of every plan on one draw, in the order that is printed."""
    rng = random.Random(seed)
    with TemporaryDirectory() as place:
        for label in sorted(entry for entry in args.data.iterdir() if entry.is_dir()):
            photos = rng.sample(sorted(label.iterdir()), min(len([*label.iterdir()]), args.each + VALIDATE + TEST))
            for at, photo in enumerate(photos):
                part = "train" if at < args.each else "val" if at < args.each + VALIDATE else "test"
                where = Path(place) / "data" / part / label.name / f"{photo.stem}.png"
                where.parent.mkdir(parents=True, exist_ok=True)
                Image.open(photo).convert("RGB").save(where)
                if part == "test":
                    other = Path(place) / "other" / label.name / f"{photo.stem}.png"
                    other.parent.mkdir(parents=True, exist_ok=True)
                    shifted(photo).save(other)
        task = graft.load(Path(place) / "data", target=Path(place) / "other" if args.shift else None, seed=seed)
        tuned = Phase(("head", f"stages[{args.first}:]"), steps=150, batch=16, lr=1e-3, views=4, smoothing=0.05)
        solved, stages = Phase(("head",), solver="exact"), tuple(str(index) for index in range(DEPTH))
        bare = Plan(find(args.backbone), task.head, "lp_ft", (solved, tuned), stages=stages)
        probe = replace(bare, phases=(solved,))
        plans = [bare, probe, *(regularized(bare, (n,), DEPTH) for n in (ALIGNMENTS if args.shift else TERMS))]
        if args.shift:
            blind = replace(task, target=replace(task.target, targets=()))
            for one in (bare, regularized(bare, ALIGNMENTS, DEPTH)):
                plans.append(align(blind, one, seed))
                print(f"draw {seed}: {plans[-1].why[-1]}", flush=True)
        found = [accuracy(task, plan, seed, args.shift) for plan in plans]
    print(f"draw {seed}: {' '.join(f'{score:.3f}' for score in found)}", flush=True)
    return found


def accuracy(task: Task, plan: Plan, seed: int, shift: bool) -> float:
    """Of the test part or, shifted, of the target; nothing is chosen by it."""
    said, y = logits(task, adapt(task, plan, seed), task.target if shift else task.test.part)
    return float((said.argmax(1) == y).mean())


def shifted(photo: Path) -> Image.Image:
    """The photo as a poor camera would take it: a third of the contrast, dim, out of focus."""
    picture = Image.open(photo).convert("RGB").filter(ImageFilter.GaussianBlur(1))
    return picture.point(lambda value: int(20 + value / 3))


if __name__ == "__main__":
    main()
