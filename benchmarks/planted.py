"""Planted help and harm: how often is the verdict right, at so many labels and so large a gain?

    python benchmarks/planted.py --labels 50 200 1000 --points -8 -4 -2 -1 1 2 4 8 --seeds 10 --out planted.jsonl
    python benchmarks/planted.py --labels 50 200 --tested 1000 --points -8 8 --seeds 10 --out planted.jsonl
    python benchmarks/planted.py --labels 200 --points random --seeds 50 --out planted.jsonl
    python benchmarks/planted.py --table planted.jsonl

Rows of sixty columns belong to two classes that differ in the middle along one direction, and in the spread along
another: linear models and trees of the columns see little but the first. A source knows both directions, each at an
angle; the angles are set so that a head on what it knows is right so many points more often, or less, than a linear
model of the columns, both fitted on as many rows as a run of N labels learns from, in the mean of the same 20 draws.
`random` sources have random weights. All goes the way of a user's run: a table is loaded, the source ranked, a plan
made by `auto`, adapted, verified. There are N labels in all: the test part, and the folds, come out of them; or, with
--tested, N to learn from and a test part of its own that the table names.
"""

import argparse
import json
import math
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

COLUMNS, APART = 60, 0.8  # columns; half the distance of the classes' middles, in standard deviations
SPREADS = 0.6, 2.5  # of the classes along the second direction
SHARE, GIVEN = 0.65, 0.8  # of the labels that train: where the test part comes out of them, and where it does not
DRAWS, ASKED = 20, 4000  # of rows to learn from, and rows asked, for what is reached
BUDGET = 15.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--points", nargs="+", default=["-8", "-4", "-2", "-1", "1", "2", "4", "8"])
    parser.add_argument("--tested", type=int, default=0, help="examples of a test part beside the labels; 0: of them")
    parser.add_argument("--strategy", default="auto")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--out", type=Path, default=Path("planted.jsonl"), help="file that every run adds a line to")
    parser.add_argument("--table", type=Path, help="print the table of such a file")
    args = parser.parse_args()
    if args.table:
        print(table([json.loads(line) for line in args.table.read_text().splitlines()]))
        return
    with TemporaryDirectory() as place:
        os.environ["GRAFT_HOME"] = str(Path(place) / "home")
        for labels in args.labels:
            learned = round((GIVEN if args.tested else SHARE) * labels)
            reached = rival(learned)
            for points in args.points:
                for seed in range(args.first, args.first + args.seeds):
                    found = planted(Path(place), labels, args.tested, points, seed, learned, reached, args.strategy)
                    with args.out.open("a") as file:
                        file.write(json.dumps(found) + "\n")


def rows(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two classes (count, COLUMNS), and the classes."""
    y = rng.permutation(np.arange(count) % 2)
    x = rng.normal(size=(count, COLUMNS))
    x[:, 0] += APART * (2 * y - 1)
    x[:, 1] *= np.where(y, SPREADS[1], SPREADS[0])
    return x @ turned(), y


def turned() -> np.ndarray:
    """A rotation that spreads the directions over all columns."""
    return np.linalg.qr(np.random.default_rng(0).normal(size=(COLUMNS, COLUMNS)))[0]


def rival(learned: int) -> float:
    """What the linear model of the columns reaches in the mean, learned from so many rows."""
    return reached_by(lambda x: x, learned)


def reached_by(see: Callable[[np.ndarray], np.ndarray], learned: int) -> float:
    """What a head on what is seen of the rows reaches in the mean, learned from so many of them."""
    from graft.model import linear

    rng, right = np.random.default_rng(learned), []
    for _ in range(DRAWS):
        (x, y), (ask, true) = rows(learned, rng), rows(ASKED, rng)
        head = linear.fit(see(x), y, 2)
        right.append(np.mean((see(ask) @ head.weight.T + head.bias).argmax(1) == true))
    return float(np.mean(right))


def knowing(much: float) -> torch.nn.Module:
    """The blank network for tables, its weights set by hand: 0 knows nothing, 1/2 the first direction, 1 both."""
    from graft.model import tabular

    net, first, second = tabular.build(COLUMNS), min(1.0, 2 * much), max(0.0, 2 * much - 1)
    known = np.zeros((2, COLUMNS))
    known[0, [0, 2]] = math.sin(first * math.pi / 2), math.cos(first * math.pi / 2)
    known[1, [1, 3]] = math.sin(second * math.pi / 2), math.cos(second * math.pi / 2)
    told = torch.tensor(known @ turned(), dtype=torch.float32)
    with torch.no_grad():
        for layer in (net.stem, *(block.linear for block in net.blocks)):
            layer.weight.zero_()
            layer.bias.zero_()
        net.stem.weight[0], net.stem.weight[1], net.stem.weight[2] = told[0], -told[0], told[1]
        net.stem.weight[3] = -told[1]
        net.stem.bias[4:6] = torch.tensor([20.0, -20.0])  # the last norm then leaves the rest as it is
        net.blocks[0].linear.weight[6, 2], net.blocks[0].linear.weight[7, 3] = (
            1.0,
            1.0,
        )  # gelu(t) + gelu(-t) is like |t|
        net.blocks[0].linear.bias[8:10] = torch.tensor([6.0, -6.0])  # likewise for the norm before it
    return net.eval()


def source(place: Path, points: str, seed: int, learned: int, reached: float) -> Path:
    """Weights that know as much as makes for so many points, or random ones."""
    from safetensors.torch import save_file

    from graft.model import tabular

    file = place / (f"random {seed}.safetensors" if points == "random" else f"{learned} {points}.safetensors")
    if points == "random":
        torch.manual_seed(seed)
        save_file(tabular.build(COLUMNS).state_dict(), file)
    elif not file.exists():
        low, high = 0.0, 1.0
        for _ in range(8):
            middle = (low + high) / 2
            low, high = (middle, high) if worth(middle, learned) < reached + float(points) / 100 else (low, middle)
        save_file(knowing(low).state_dict(), file)
    return file


def worth(much: float, learned: int) -> float:
    """How often a head on what such a source knows is right, learned from so many rows."""
    net = knowing(much)
    spread = rows(ASKED, np.random.default_rng(1))[0].std(0)

    def see(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.tensor(x / spread, dtype=torch.float32)).double().numpy()

    return reached_by(see, learned)


def planted(
    place: Path, labels: int, tested: int, points: str, seed: int, learned: int, reached: float, strategy: str
) -> dict[str, object]:
    """One run: what was planted, the verdict, and what the rows really are worth."""
    import graft
    from graft import Budget

    rng = np.random.default_rng([labels, seed, 7])
    x, y = rows(labels + tested, rng)
    data = place / f"{labels}-{tested}-{seed}.csv"
    part = [
        ("test" if row >= labels else "train" if row < learned else "val") if tested else "" for row in range(len(y))
    ]
    header = ",".join([*(f"c{column}" for column in range(COLUMNS)), "label", *["split"][: bool(tested)]])
    body = (
        ",".join([*(f"{value:.5g}" for value in row), "ab"[target], *[one][: bool(tested)]])
        for row, target, one in zip(x, y, part, strict=True)
    )
    data.write_text("\n".join([header, *body]) + "\n")
    budget = Budget(BUDGET, firm=False)  # by which the parts are sized: nothing is left out
    task = graft.load(data, seed=seed)
    ranking = graft.rank(task, [f"checkpoint/blank/mlp@{source(place, points, seed, learned, reached)}"], budget)
    run = graft.adapt(task, graft.plan(task, ranking[0], strategy, budget), seed)
    report = graft.verify(task, run, budget)
    scores = {row.name: row.score for row in report.rows}
    return {
        "labels": labels, "tested": tested, "points": points, "seed": seed, "verdict": report.verdict,
        "strategy": run.plan.strategy, "power": report.power, "folds": report.folds,
        "reference": report.reference, "gain": report.gain, "shows": report.shows, "enough": report.enough,
        "ships": report.ships, "scores": scores, "gains": {row.name: row.gain for row in report.rows},
        "repeats": report.repeats, "seconds": report.rows[0].cost.seconds, "asked": report.n_test,
    }  # fmt: skip


def table(found: list[dict]) -> str:
    """Of each case the share of verdicts, with Wilson's interval for the right one, and what the report promised."""
    cases: dict[tuple[int, int, str], list[dict]] = defaultdict(list)
    for one in found:
        cases[one["tested"], one["labels"], one["points"]].append(one)
    heads = ["labels", "test part", "planted", "runs", "helped", "open", "hurt", "right (95 %)"]
    heads += ["gain, mean", "shown 4 in 5", "ships well"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for tested, labels, points in sorted(cases, key=lambda case: (*case[:2], float(case[2].replace("random", "99")))):
        runs = cases[tested, labels, points]
        counts = {
            kind: sum(run["verdict"] == kind for run in runs) for kind in ("positive", "inconclusive", "negative")
        }
        random = points == "random"  # then only a claim that it helped is an alarm
        right = len(runs) - counts["positive"] if random else counts["negative" if points[0] == "-" else "positive"]
        low, high = wilson(right, len(runs))
        well = np.mean([run["scores"][run["ships"]] >= max(run["scores"].values()) - 0.01 for run in runs])
        gain, shows = (100 * np.mean([np.atleast_1d(run[name])[0] for run in runs]) for name in ("gain", "shows"))
        apart = f"{tested:,} more" if tested else "of them"
        share = f"{right / len(runs):.0%} [{low:.0%}, {high:.0%}]"
        row = [f"{labels:,}", apart, points, len(runs), *counts.values(), share, f"{gain:+.1f}", f"{shows:.1f}"]
        lines.append(f"| {' | '.join(map(str, [*row, f'{well:.0%}']))} |")
    return "\n".join(lines)


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) for a share."""
    share, room = right / count, z * z / count
    middle = (share + room / 2) / (1 + room)
    reach = z * math.sqrt(share * (1 - share) / count + room / (4 * count)) / (1 + room)
    return middle - reach, middle + reach


if __name__ == "__main__":
    main()
