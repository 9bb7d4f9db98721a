"""How the seconds and the memory of graft grow with the number of examples, from one thousand to a hundred thousand.

    python benchmarks/growth.py --rounds 3 --out growth.json

Photos of 64 pixels are drawn once; each count is a table that names the first so many of them, and each run a fresh
process in an empty home: load, rank one backbone, adapt a linear probe, and the features of the test part, which
nothing has computed before. Counts are taken in turn, round by round.

Of each verb: the exponent p of seconds = a + b · count^p, since starting takes its time whatever the count, with a 95 %
interval over runs; and the bytes that one more example adds to the largest resident set, with the same interval. What
torch and graft take once they are imported is alike for all counts; mapped pages of the feature store count as
resident. At last, how much of the memory that `plan` states `adapt` came to.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from scipy.optimize import curve_fit
from scipy.stats import linregress, t

from beside import move
from graft.build import find
from graft.core.shelf import take
from graft.data import toys
from peers import empty, measured

SIZE, CHUNK = 64, 1000  # pixels; photos drawn at once
VERBS = ("load", "rank", "adapt", "features")
PATH = """
import json, sys
import torch
import graft
from graft.adapt import reopened
from graft.build import examples
from graft.meter import Meter
job, taken = json.load(sys.stdin), {}
def step(name, do):
    meter = Meter()
    result = do()
    cost = meter.cost()
    taken[name] = {"wall": cost.seconds, "cpu": cost.cpu_seconds, "peak": cost.peak_bytes}
    return result
step("start", lambda: None)
budget = graft.Budget(seconds=1e6, firm=False)
task = step("load", lambda: graft.load(job["data"]))
ranking = step("rank", lambda: graft.rank(task, [job["backbone"]], budget))
plan = graft.plan(task, ranking[0], "linear_probe", budget)
run = step("adapt", lambda: graft.adapt(task, plan))
part = task.test.open("benchmark")
step("features", lambda: reopened(task, run, part))
print(json.dumps({"verbs": taken, "stated": plan.peak_bytes, "score": run.score, "train": len(task.train)}))
"""


def drawn(place: Path, count: int) -> list[tuple[str, str]]:
    """That many photos of shapes: their paths and labels."""
    names, rows = toys.FACTS["pictures"]["shape"], list[tuple[str, str]]()
    for at in range(0, count, CHUNK):
        folder = place / f"{at}"
        folder.mkdir()
        pictures, told = toys.pictures(min(CHUNK, count - at), seed=at)
        for number, (picture, shape) in enumerate(zip(pictures, told["shape"], strict=True)):
            file = folder / f"{number}.jpg"
            Image.fromarray(picture.transpose(1, 2, 0)).resize((SIZE, SIZE)).save(file, quality=90)
            rows.append((str(file.relative_to(place)), names[shape]))
    return rows


def exponent(counts: np.ndarray, seconds: np.ndarray) -> list[float]:
    """Of the count, in seconds = a + b · count^p, by shares of the seconds: low, found, high."""

    def logs(share: np.ndarray, a: float, b: float, p: float) -> np.ndarray:
        return np.log(a + b * share**p)

    start, least, greatest = (seconds.min() / 2, seconds.max(), 1.0), (0, 0, 0), (seconds.min(), np.inf, 5)
    found, spread = curve_fit(logs, counts / counts.max(), np.log(seconds), start, bounds=(least, greatest))
    return around(float(found[2]), float(np.sqrt(spread[2, 2])), len(counts) - 3)


def around(value: float, error: float, freedom: int) -> list[float]:
    """A 95 % interval with the value between."""
    reach = float(t.ppf(0.975, freedom)) * error
    return [value - reach, value, value + reach]


def grown(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Per verb: the exponents of its seconds, and the bytes that one more example takes."""
    counts, table = np.array([run["count"] for run in runs]), dict[str, Any]()
    for verb in VERBS:
        spent = [run["verbs"][verb] for run in runs]
        line = linregress(counts, [one["peak"] for one in spent])
        table[verb] = {kind: exponent(counts, np.array([one[kind] for one in spent])) for kind in ("wall", "cpu")}
        table[verb]["bytes"] = around(float(line.slope), float(line.stderr), len(runs) - 2)
        table[verb]["peak"] = max(one["peak"] for one in spent)
    return table


def said(interval: list[float], digits: int) -> str:
    """The value with its interval behind it."""
    low, value, high = (f"{one:.{digits}f}" for one in interval)
    return f"{value} [{low}, {high}]"


def main() -> None:
    """Measure, print a table, and write it."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--backbone", default="tiny/shapes")
    ask.add_argument("--counts", type=int, nargs="+", default=[1_000, 3_000, 10_000, 30_000, 100_000])
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--out", type=Path)
    args = ask.parse_args()
    take("sources", args.backbone.split("/")[0]).open(find(args.backbone))  # fetched, or made, beforehand
    runs = list[dict[str, Any]]()
    with TemporaryDirectory() as folder:
        place = Path(folder)
        move(place / "home")
        rows = drawn(place, max(args.counts))
        for count in args.counts:
            with (place / f"{count}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("path", "label"), *rows[:count]])
        for number in range(args.rounds):
            for count in args.counts:
                empty()
                job = {"data": str(place / f"{count}.csv"), "backbone": args.backbone}
                found = measured([sys.executable, "-c", PATH], job)
                runs.append({"count": count, **found})
                told = ", ".join(f"{verb} {found['verbs'][verb]['wall']:.1f}" for verb in VERBS)
                print(f"  round {number}, {count} photos, wall s: {told}", file=sys.stderr, flush=True)
    table = grown(runs)
    for verb, row in table.items():
        wall, cpu, more = (said(row[kind], digits) for kind, digits in (("wall", 2), ("cpu", 2), ("bytes", 0)))
        print(f"{verb:8}  wall s ~ count^{wall}  cpu s ~ count^{cpu}  {more} bytes each, to {row['peak'] / 1e9:.2f} GB")
    kept = max(runs, key=lambda run: run["verbs"]["adapt"]["peak"] / run["stated"])
    print(
        f"adapt came to {kept['verbs']['adapt']['peak'] / kept['stated']:.2f} of the memory that plan states, at most; "
        f"importing takes {max(run['verbs']['start']['peak'] for run in runs) / 1e9:.2f} GB of it"
    )
    if args.out:
        args.out.write_text(json.dumps({"verbs": table, "runs": runs}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
