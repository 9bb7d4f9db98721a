"""Does `auto` choose well? It beside the strategies that it chooses from, on the ten tasks of tasks.json.

    python benchmarks/choose.py DATA --draws 3 --budget 4m

DATA holds a folder of class folders for each name of tasks.json: textile, cells, small, digits, news, reviews;
benchmarks/README.md says which packages they come from. The tasks were written down before the rule was. In every draw
as many examples as the task says train, a quarter as many validate (40 at least), up to 1,500 test, all in the classes'
own proportions. `auto` is within reach of the best where its mean test accuracy over the draws is at most half a point
below the highest mean of the others; the interval beside it is of the paired difference over draws (Student's t).
"""

import argparse
import json
import random
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy import stats

import graft
from graft.adapt import logits
from graft.arguments import _seconds

OTHERS = ("linear_probe", "lp_ft", "full", "gradual")
NEAR = 0.005  # half a point
TEST, LEAST = 1500, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="seed of the first draw")
    parser.add_argument("--budget", type=_seconds, default=120.0, help="of each strategy's plan, such as 2m")
    parser.add_argument("--only", default="", help="tasks whose name begins so")
    args = parser.parse_args()
    tasks = json.loads(Path(__file__).with_name("tasks.json").read_text(encoding="utf-8"))
    near = []
    for task in tasks:
        if task["name"].startswith(args.only):
            seeds, budget = range(args.first, args.first + args.draws), graft.Budget(seconds=args.budget)
            draws = [draw(args.data / task["data"], task, budget, seed) for seed in seeds]
            near.append(compared(task["name"], draws))
    print(f"auto is at most half a point below the best on {sum(near)} of {len(near)} tasks")


def draw(folder: Path, task: dict[str, object], budget: graft.Budget, seed: int) -> dict[str, tuple[float, str]]:
    """Test accuracy of each strategy on one draw, and what was done."""
    with TemporaryDirectory() as place:
        for part, label, file in drawn(folder, int(str(task["train"])), seed):
            (Path(place) / part / label).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, Path(place) / part / label / file.name)
        loaded = graft.load(place, seed=seed)
        evidence = graft.rank(loaded, [str(task["backbone"])], budget)[0]
        scores, carried = {}, dict[object, float]()  # plans that are one and the same are carried out once
        for strategy in (*OTHERS, "auto"):
            plan = graft.plan(loaded, evidence, strategy, budget)
            if (way := (plan.phases, plan.alternatives, plan.choice)) not in carried:
                said, y = logits(loaded, graft.adapt(loaded, plan, seed), loaded.test.part)
                carried[way] = float((said.argmax(1) == y).mean())
            scores[strategy] = carried[way], plan.strategy
    print(
        f"  draw {seed}: " + ", ".join(f"{name} {100 * score:.1f}" for name, (score, _) in scores.items()), flush=True
    )
    return scores


def drawn(folder: Path, train: int, seed: int) -> list[tuple[str, str, Path]]:
    """(part, class, file) of one draw, stratified."""
    classes = {label: sorted(label.iterdir()) for label in sorted(folder.iterdir()) if label.is_dir()}
    count, rng, rows = sum(map(len, classes.values())), random.Random(seed), []
    wanted = {"train": train, "val": max(LEAST, train // 4), "test": TEST}
    for label, files in classes.items():
        rng.shuffle(files)
        at = 0
        for part, size in wanted.items():
            upto = at + max(1, round(size * len(files) / count))
            rows += [(part, label.name, file) for file in files[at:upto]]
            at = upto
    return rows


def compared(name: str, draws: list[dict[str, tuple[float, str]]]) -> bool:
    """Print a task's row; whether auto is near the best of the others."""
    scores = {strategy: np.array([one[strategy][0] for one in draws]) for strategy in ("auto", *OTHERS)}
    best = max(OTHERS, key=lambda strategy: scores[strategy].mean())
    gap = scores["auto"] - scores[best]
    reach = stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / len(gap) ** 0.5 if len(gap) > 1 else float("nan")
    chose = "/".join(sorted({one["auto"][1] for one in draws}))
    print(
        f"{name:<22}" + "  ".join(f"{strategy} {100 * s.mean():.1f}" for strategy, s in scores.items())
        + f"  auto chose {chose}; beside {best} {100 * gap.mean():+.1f} ± {100 * reach:.1f}", flush=True,
    )  # fmt: skip
    return bool(gap.mean() >= -NEAR)


if __name__ == "__main__":
    main()
