"""Alignments without labels of the target: what rules for keeping them gain and lose, on planted shifts.

    python benchmarks/alignments.py --draws 12

Every draw makes photos of three shapes: 40 of a class to learn from, and a target of 32 of a class or less, whose looks
(contrast, noise, colour), classes' shares or both differ. The plan is the exact head on `tiny/shapes`, then the last
stage with it. A rule keeps, of the alignments that it allows and whose gain in mutual information is sure, the one of
the largest. Printed is what accuracy on the target gains over source only: mean over shifts, 95 % interval over draws.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from scipy import stats

import graft
from graft.adapt import adapt, logits
from graft.align import PRIORS, information, reach, shares
from graft.build import find
from graft.core.nouns import Phase, Plan
from graft.data.toys import pictures
from graft.regularized import ALIGNMENTS, regularized

Array = np.ndarray
LOOKS: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "same": lambda x, rng: x,
    "dark": lambda x, rng: 20 + 0.15 * x,
    "pale": lambda x, rng: 200 + 0.2 * x,
    "noisy": lambda x, rng: x + rng.normal(0, 60, x.shape),
    "tinted": lambda x, rng: x * [1.0, 0.5, 0.2],
}
SHARES = {"even": (1, 1, 1), "skewed": (1, 0.25, 0.1), "one": (1, 0, 0)}
CASES = (*((look, "even") for look in LOOKS), ("same", "skewed"), ("same", "one"), ("dark", "skewed"), ("dark", "one"))
HEAD = Phase(("head",), solver="exact")
TUNED = Phase(("head", "stages[3:]"), steps=60, backbone_lr=0.3, batch=16, patience=100)
RULES = ("information alone", "source only leaves the shares", "the aligned leaves the shares")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=12)
    gains = np.array([draw(seed) for seed in range(parser.parse_args().draws)])
    for rule, column in zip(RULES, np.moveaxis(gains, 2, 0), strict=True):
        mean, error = column.mean(1).mean(), stats.sem(column.mean(1)) * stats.t.ppf(0.975, len(column) - 1)
        lost = (column < -2).mean()
        print(f"{rule:<30} {mean:+.1f} [{mean - error:+.1f}, {mean + error:+.1f}]  {lost:.0%} lose over 2 points")


def draw(seed: int) -> list[list[float]]:
    """Of every shift, the points that each rule gains."""
    found = [case(seed, *one) for one in CASES]
    print(f"draw {seed}: {np.mean(found, 0).round(1).tolist()}", flush=True)
    return found


def case(seed: int, look: str, mix: str) -> list[float]:
    """Points that accuracy on the target gains by each rule."""
    with TemporaryDirectory() as place:
        write(Path(place, "source"), seed, 40, LOOKS["same"], SHARES["even"])
        truth = write(Path(place, "target"), 1000 + seed, 32, LOOKS[look], SHARES[mix], flat=True)
        task = graft.load(Path(place, "source"), target=Path(place, "target"), seed=seed)
        plan = Plan(find("tiny/shapes"), task.head, "own", (HEAD, TUNED))
        plans = [plan, *(regularized(plan, (name,), 4) for name in ALIGNMENTS)]
        base, *others = (logits(task, adapt(task, one, seed), task.target)[0] for one in plans)
    y = np.array([truth[Path(item).stem] for item in task.target.items])
    known = np.bincount(task.train.targets) / len(task.train)
    kept = [base] * len(RULES)
    for answers in others:
        allowed = (True, *(abs(shares(one, known) - known).sum() / 2 <= PRIORS for one in (base, answers)))
        sure = reach(answers, base, np.array([]), task)[0] > 0
        kept = [
            answers if sure and fits and information(answers) > information(one) else one
            for one, fits in zip(kept, allowed, strict=True)
        ]
    before, *after = (100 * float((one.argmax(1) == y).mean()) for one in (base, *kept))
    return [one - before for one in after]


def write(folder: Path, seed: int, each: int, look: Callable, shares: tuple[float, ...], flat: bool = False) -> dict:
    """Photos of three shapes, in folders by class or, unlabelled, in one; the class of each."""
    drawn, told = pictures(12 * each, seed)
    rng, truth = np.random.default_rng(seed), dict[str, int]()
    for kind, share in enumerate(shares):
        for index, row in enumerate(np.flatnonzero(told["shape"] == kind)[: round(each * share)]):
            name, place = f"{kind}-{index}", folder if flat else folder / str(kind)
            place.mkdir(parents=True, exist_ok=True)
            photo = look(drawn[row].transpose(1, 2, 0).astype(np.float64), rng).clip(0, 255).astype(np.uint8)
            Image.fromarray(photo).save(place / f"{name}.png")
            truth[name] = kind
    return truth


if __name__ == "__main__":
    main()
