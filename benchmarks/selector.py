"""How well scores, a static list, chance and the rule of `graft rank` choose among networks that others fine-tuned.

    python benchmarks/selector.py

Reads the matrices that ship with graft (graft/published) and prints, for each group of networks, the weighted tau of
every ranking with the fine-tuned accuracies (scipy.stats.weightedtau) and the regret of its first choice in points:
means over the datasets, with 95 % percentile bootstrap intervals over them. Whatever is fitted is fitted on the other
datasets. "graft" is what `rank` calls, with a probe said to err by so many points; "unlisted" is the same where nothing
but ImageNet top-1 is known of the networks.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, weightedtau

from graft.core.nouns import Backbone
from graft.prior import PUBLISHED, known
from graft.selector import standing

Array = NDArray[np.float64]
GROUPS = ("sfda1", "sfda2", "tllib", "parc")
ERRORS = (0.2, 1.0, 5.0)  # points that a probe is said to err by
OURS = "graft, ±1"
DRAWS = 10_000
BLURS = 40  # draws of errors that are added to the probes


@dataclass(frozen=True)
class Matrix:
    """Networks on datasets. Shape: every column (datasets, networks), NaN where nobody fine-tuned."""

    name: str
    datasets: tuple[str, ...]
    networks: tuple[str, ...]
    columns: dict[str, Array]

    @property
    def accuracy(self) -> Array:
        return self.columns["finetuned"]

    @property
    def scores(self) -> list[str]:
        return [name for name in self.columns if name != "finetuned"]


def load(name: str) -> Matrix:
    rows = list(csv.DictReader((PUBLISHED / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
    datasets, models = (list(dict.fromkeys(row[key] for row in rows)) for key in ("dataset", "model"))
    columns = {key: np.full((len(datasets), len(models)), np.nan) for key in rows[0] if key not in ("dataset", "model")}
    for row in rows:
        for key, table in columns.items():
            table[datasets.index(row["dataset"]), models.index(row["model"])] = float(row[key])
    return Matrix(name, tuple(datasets), tuple(models), columns)


def static(matrix: Matrix, *without: int) -> Array:
    """Each network's mean rank on the other datasets, from 0, the worst, to 1, the best."""
    others = np.delete(matrix.accuracy, without, axis=0)
    ranks = (rankdata(others, axis=1, nan_policy="omit") - 1.0) / (np.isfinite(others).sum(1, keepdims=True) - 1.0)
    return np.asarray(np.nanmean(ranks, axis=0).round(9))  # equal means are equal, whatever the order of the sum


def shipped(matrix: Matrix, row: int, error: float = 1.0, listed: bool = True) -> Array:
    """Where `graft rank` would put the networks, by `graft.selector.standing`, had it never heard of the dataset.

    Args:
        error: points that the probe is said to err by.
        listed: whether the networks go by the names that they are published under; else by ImageNet top-1 alone.
    """
    top1 = matrix.columns["imagenet"][row].tolist() if "imagenet" in matrix.columns else [None] * len(matrix.networks)
    networks = [
        Backbone(name, architecture=name if listed else "", accuracy=accuracy, pretrained_on="ImageNet-1k")
        for name, accuracy in zip(matrix.networks, top1, strict=True)
    ]
    probes = matrix.columns["probe"][row] / 100.0
    errors = [error / 100.0] * len(networks)
    return standing(networks, probes.tolist(), errors, published=known(matrix.datasets[row])).value


def tau(ranking: Array, accuracy: Array) -> float:
    known = np.isfinite(accuracy)
    return float(weightedtau(ranking[known], accuracy[known])[0])


def regret(ranking: Array, accuracy: Array) -> float:
    """Points that the first choice loses to the best; the mean over those that share the first place."""
    known = np.isfinite(accuracy)
    best = ranking[known] >= ranking[known].max() - 1e-12
    return float(np.nanmax(accuracy) - accuracy[known][best].mean())


def judged(matrix: Matrix) -> dict[str, tuple[Array, Array]]:
    """Weighted tau and regret on every dataset, by who chose. A blind choice has a tau of 0 in the mean."""
    rows = range(len(matrix.datasets))
    choosers: dict[str, Callable[[int], Array]] = {name: matrix.columns[name].__getitem__ for name in matrix.scores}
    choosers["static"] = lambda row: static(matrix, row)
    if "probe" in matrix.columns:
        choosers |= {f"graft, ±{error:g}": partial(shipped, matrix, error=error) for error in ERRORS}
    if {"probe", "imagenet"} <= matrix.columns.keys():
        choosers |= {f"unlisted, ±{error:g}": partial(shipped, matrix, error=error, listed=False) for error in ERRORS}
    found = {
        name: (
            np.array([tau(choose(row), matrix.accuracy[row]) for row in rows]),
            np.array([regret(choose(row), matrix.accuracy[row]) for row in rows]),
        )
        for name, choose in choosers.items()
    }
    blind = np.array([np.nanmax(one) - np.nanmean(one) for one in matrix.accuracy])
    return {**found, "random": (np.zeros(len(rows)), blind)}


def blurred(matrix: Matrix, error: float) -> Array:
    """Regret where the probes do err by so many points more than they did when published; the mean over draws."""
    rng, columns, lost = np.random.default_rng(0), matrix.columns, []
    for _ in range(BLURS):
        probe = np.clip(columns["probe"] + error * rng.standard_normal(matrix.accuracy.shape), 0.0, 100.0)
        other = replace(matrix, columns=columns | {"probe": probe})
        lost.append([regret(shipped(other, row, error), matrix.accuracy[row]) for row in range(len(matrix.datasets))])
    return np.asarray(np.mean(lost, axis=0))


def reported(group: str) -> dict[str, Array]:
    """Weighted taus of scores whose values were not published, as their paper reports them for each dataset."""
    path = PUBLISHED / f"{group}_tau.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    return {
        name: np.array([float(row[name]) for row in rows]) for name in (rows[0] if rows else {}) if name != "dataset"
    }


def interval(values: Array) -> str:
    """The mean over datasets and its 95 % percentile bootstrap interval."""
    rng = np.random.default_rng(0)
    low, high = np.quantile(values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1), (0.025, 0.975))
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    for group in GROUPS:
        matrix = load(group)
        size = f"{matrix.accuracy.shape[1]} networks on {len(matrix.datasets)} datasets"
        print(f"\n{group}: {size}\n{'':<20} {'weighted tau':<24} regret in points")
        found = judged(matrix)
        for name, (taus, regrets) in found.items():
            print(f"{name:<20} {interval(taus):<24} {interval(regrets)}")
        if OURS in found:
            more, less = (ours - plain for ours, plain in zip(found[OURS], found["static"], strict=True))
            print(f"{'graft less static':<20} {interval(more):<24} {interval(less)}")
            for error in ERRORS:
                print(f"{f'blurred by {error:g}':<20} {'':<24} {interval(blurred(matrix, error))}")
        for name, taus in reported(group).items():
            print(f"{name:<20} {interval(taus):<24} values not published")
    print("\nWhat all of both groups foretells, in log-odds:")
    print(", ".join(f"{name} {getattr(known(), name):.2f}" for name in ("slope", "near", "far", "wide", "gap")))


if __name__ == "__main__":
    main()
