"""What is known of a network before anything is measured: how well others fine-tuned it, on datasets of their own."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.core.nouns import Backbone

Array = NDArray[np.float64]
PUBLISHED = Path(__file__).parent / "published"
GROUPS = ("sfda1", "sfda2")  # supervised, and self-supervised: the same 11 datasets, fine-tuned by the same people
SURE = 1e-3  # nearer to 0 or 1 a share says no more, nor nearer than its own error: its log-odds would have no end
SAME = 0.1  # points of ImageNet top-1 within which weights are taken for the listed ones


def log_odds(share: ArrayLike) -> Array:
    """ln(p / (1 − p)): the scale on which accuracies of transferred networks are linear (Kornblith et al. 2019)."""
    p = np.clip(np.asarray(share, np.float64), SURE, 1.0 - SURE)
    return np.asarray(np.log(p / (1.0 - p)))


@dataclass(frozen=True)
class Known:
    """What the published matrices say of networks and of probes, in log-odds of the accuracy after fine-tuning.

    On SFDA's two groups: a slope of 0.96, spreads of 0.13 (near), 0.19 (far) and 0.24 (wide), a gap of 0.50.
    """

    listed: dict[str, tuple[float, float]]  # a network's mean over the datasets, and its ImageNet top-1 or NaN
    slope: float  # for one of ImageNet top-1, in log-odds too
    level: float  # where the line of ImageNet top-1 begins
    near: float  # standard deviation about a listed mean, of a dataset that the mean has not seen
    far: float  # about the line of ImageNet top-1
    wide: float  # among the networks on a dataset: of one that nothing is published of
    gap: float  # of the probe about fine-tuning: what a probe without any error of its own still does not tell

    def foretold(self, backbone: Backbone) -> tuple[float, float] | None:
        """Mean and standard deviation of its log-odds: by its own results, else by ImageNet top-1; None without both.

        A network counts as listed under its architecture's name, trained on ImageNet alone to the listed accuracy.
        """
        mean, top1 = self.listed.get(backbone.architecture.rpartition("/")[2], (np.nan, np.nan))
        accuracy = backbone.accuracy
        other = accuracy is not None and not np.isnan(top1) and abs(accuracy - top1) > SAME
        if not np.isnan(mean) and backbone.pretrained_on == "ImageNet-1k" and not other:
            return mean, self.near
        return None if accuracy is None else (self.level + self.slope * float(log_odds(accuracy / 100.0)), self.far)


@cache
def known(without: str = "") -> Known:
    """What is known from every dataset of both groups but one: whoever is judged on a dataset leaves it out."""
    listed, off, tuned, probes = dict[str, tuple[float, float]](), list[Array](), list[Array](), list[Array]()
    line: tuple[Array, Array] = (np.empty(0), np.empty(0))
    for group in GROUPS:
        networks, table = _read(group, without)
        t, x = log_odds(table["finetuned"] / 100.0), table.get("imagenet")
        tuned.append(_centred(t))
        probes.append(_centred(log_odds(table["probe"] / 100.0)))
        count = len(t)
        off.append((tuned[-1] - tuned[-1].mean(0)) * count / (count - 1))  # each dataset about the mean of the others
        top1 = np.full(len(networks), np.nan) if x is None else x[0]
        listed |= {name: (float(m), float(a)) for name, m, a in zip(networks, t.mean(0), top1, strict=True)}
        if x is not None:
            line = (log_odds(x / 100.0), t)
    x, t = (_centred(one) for one in line)
    slope = float((x * t).sum() / (x**2).sum())
    level = float(line[1].mean() - slope * line[0].mean())
    differ = [probe - one for probe, one in zip(probes, tuned, strict=True)]
    return Known(listed, slope, level, _size(off), _size([t - slope * x]), _size(tuned), _size(differ))


def _read(group: str, without: str) -> tuple[list[str], dict[str, Array]]:
    """The networks, and every column. Shape: (datasets, networks), in percent."""
    rows = list(csv.DictReader((PUBLISHED / f"{group}.csv").read_text(encoding="utf-8").splitlines()))
    rows = [row for row in rows if row["dataset"] != without]
    networks = list(dict.fromkeys(row["model"] for row in rows))  # every dataset has all of them, in one order
    columns = [name for name in rows[0] if name not in ("dataset", "model")]
    return networks, {name: np.array([float(r[name]) for r in rows]).reshape(-1, len(networks)) for name in columns}


def _centred(values: Array) -> Array:
    return np.asarray(values - values.mean(1, keepdims=True))


def _size(groups: list[Array]) -> float:
    """Root of the mean square, every group counting the same."""
    return float(np.sqrt(np.mean([np.square(one).mean() for one in groups])))
