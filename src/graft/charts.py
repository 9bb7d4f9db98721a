"""Report, Exhibits → figures: each a picture, or None where there is nothing to draw."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from graft.captions import called
from graft.core import figures
from graft.core.exhibits import DROPPED, Exhibits
from graft.core.nouns import Epoch, Report, Row
from graft.svg import ACCENT, CLASSES, INK, MUTED, SHAPES, SOFT, WARN, above, beside, figure, room

LADDER = ("trivial", "classical", "scratch", "linear_probe", "adapted")  # rungs, from the lowest
DODGE = 1.03  # by which lines are set apart, so that their intervals can be read
MOST = 12  # classes that a matrix shows
Figure = Any


def rung(row: Row) -> int:
    """How much a row builds on, from guessing to transfer."""
    name = row.name.removesuffix("_small")
    return LADDER.index(name) if name in LADDER else 4 if row.transfers else 1


def ladder(report: Report, shown: Exhibits) -> Figure:
    """What was compared, from guessing to transfer, with 95 % intervals."""
    rows = sorted(report.rows, key=lambda row: (-rung(row), row.name))
    made, axes = figure(0.7 + 0.58 * len(rows))
    ends = [_size(end, report) for row in rows for end in (row.low, row.high, row.score)]
    share = figures.is_share(report.metric)
    least, most = (0.0, 100.0) if share else (min(0.0, *ends), max(0.0, *ends))
    for place, row in enumerate(rows):
        score = _size(row.score, report)
        low, high = sorted(_size(end, report) for end in (row.low, row.high))
        bars = [[max(0.0, score - low)], [max(0.0, high - score)]]
        colour = ACCENT if row.name == report.ships else SOFT
        axes.barh(place, score, xerr=bars, color=colour, ecolor=INK, height=0.32, error_kw={"elinewidth": 1})
        state = {"unfinished": ", still learning", "diverged": ", diverged"}.get(row.state, "")
        above(axes, place, called(row.name, shown) + row.of + state)
        beside(axes, max(high, score, 0.0), place, figures.score(row.score, report.metric))
    axes.set_yticks([])
    axes.invert_yaxis()
    room(axes, least, most, 0.18)
    if share:
        axes.set_xticks(range(0, 101, 25))
        axes.spines["bottom"].set_bounds(0, 100)
    axes.set_xlabel(f"{_metric(report)}, {report.n_test} {shown.word[1]}")
    axes.spines["left"].set_visible(False)
    return made


def ranking(report: Report, shown: Exhibits) -> Figure | None:
    """Backbones by a linear probe."""
    found = shown.ranking
    if len(found) < 2:
        return None
    made, axes = figure(0.7 + 0.5 * len(found))
    for place, one in enumerate(found):
        score, error = _size(one.score, report), _unit(report) * one.error
        colour = ACCENT if one.id == shown.backbone else MUTED if DROPPED in one.note else INK
        above_it = min(error, 100.0 - score) if figures.is_share(report.metric) else error
        axes.errorbar(score, place, xerr=[[error], [above_it]], color=colour, marker="o", capsize=3)
        beside(axes, score + above_it, place, figures.score(one.score, report.metric))
        above(axes, place, f"{one.id} ({one.note})" if one.note else one.id)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(found) - 0.6, -0.7)
    axes.margins(x=0.25)
    axes.set_xlabel(f"{_metric(report)} of a linear probe, ± standard error")
    return made


def stages(report: Report, shown: Exhibits) -> Figure | None:
    """What each stage tells, what stayed frozen and what learned: the head always."""
    curve = shown.stages
    if not curve:
        return None
    made, axes = figure(2.9)
    depth, scores = len(curve), [_size(stage.score, report) for stage in curve]
    axes.errorbar(range(depth), scores, [_unit(report) * s.error for s in curve], color=INK, marker="o", capsize=3)
    first = min((step.frozen for step in shown.steps if step.kept), default=depth)
    for start, stop, word, colour in ((0, first, "frozen", SOFT), (first, depth + 1, "learns", ACCENT)):
        if start < stop:
            axes.axvspan(start - 0.5, stop - 0.5, color=colour, alpha=0.25, linewidth=0)
            axes.text((start + stop - 1) / 2, 1.02, word, transform=axes.get_xaxis_transform(), ha="center")
    if first:
        axes.axvline(first - 0.5, color=ACCENT, linewidth=2)
    axes.margins(y=0.15)
    axes.set_xlim(-0.5, depth + 0.5)
    axes.set_xticks(range(depth + 1), [*(_end(stage.name) for stage in curve), "head"], rotation=30, ha="right")
    axes.set_ylabel(_metric(report))
    return made


def training(report: Report, shown: Exhibits) -> Figure | None:
    """Loss and metric over the epochs, phase by phase; where a phase begins, what it sets free."""
    steps = epochs(shown)
    if len(steps) < 3:
        return None
    made, pair = figure(4.4, 2)
    begins = [at for at, one in enumerate(steps) if not at or one.phase != steps[at - 1].phase]
    ends = [*begins[1:], len(steps)]
    for axes, names, unit in (
        (pair[0], ("loss", "val_loss"), "loss"),
        (pair[1], ("score", "val_score"), _metric(report)),
    ):
        for name, colour, style, label in (
            (names[0], MUTED, "--", "training"),
            (names[1], ACCENT, "-", "validation"),
        ):
            values = [getattr(one, name) for one in steps]
            drawn = values if unit == "loss" else [_size(value, report) for value in values]
            for at, end in zip(begins, ends, strict=True):  # no line leads from one phase to the next
                axes.plot(range(at, end), drawn[at:end], color=colour, linestyle=style, marker=".", label=label)
                label = ""
        for at, end in zip(begins, ends, strict=True) if len(begins) > 1 else ():
            if at:
                axes.axvline(at - 0.5, color=WARN, linewidth=1)
            middle, number = (at + end - 1) / 2, str(steps[at].phase + 1)
            axes.text(middle, 1.01, number, transform=axes.get_xaxis_transform(), color=WARN, ha="center")
        axes.set_xlabel("looks at validation, one after the other")
        axes.set_title(unit, loc="left", fontsize=10, pad=14)
        axes.locator_params(axis="x", integer=True)
    pair[0].legend()
    made.tight_layout()
    return made


def epochs(shown: Exhibits) -> list[Epoch]:
    """The epochs that what was kept took; a head that is found at once has none."""
    lost = {number for number, step in enumerate(shown.steps) if not step.kept}
    return [one for one in shown.history if np.isfinite(one.val_loss) and one.phase not in lost]


def labels(report: Report, shown: Exhibits) -> Figure | None:
    """Scores against the number of labels."""
    curve = report.curve
    if curve is None:
        return None
    made, axes = figure(3.3)
    lines = [(curve.transfer, ACCENT, "o", "linear probe (transfer)"), (curve.without, INK, "s", called(curve.rival))]
    lines += [(curve.scratch, MUTED, "^", called("scratch"))] if curve.scratch else []
    for number, (points, colour, marker, name) in enumerate(lines):
        scores = np.array([_size(point.score, report) for point in points])
        ends = np.sort([[_size(end, report) for end in (point.low, point.high)] for point in points], 1)
        bars = np.maximum([scores - ends[:, 0], ends[:, 1] - scores], 0)
        numbers = [point.labels * DODGE**number for point in points]
        axes.errorbar(numbers, scores, bars, color=colour, marker=marker, capsize=3, label=name)
    if "adapted" in curve.whole:
        one = curve.whole["adapted"]
        axes.plot(one.labels, _size(one.score, report), "D", color=ACCENT, label=called("adapted"))
    axes.set_xscale("log", base=2)
    axes.set_xticks([point.labels for point in curve.transfer], [str(point.labels) for point in curve.transfer])
    axes.minorticks_off()
    axes.set_xlabel("labelled training examples")
    axes.set_ylabel(f"{_metric(report)}, {curve.n_test} {shown.word[1]}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return made


def confusion(report: Report, shown: Exhibits) -> Figure | None:
    """Which class is answered for which."""
    count = len(shown.outputs)
    if not report.confusion or count > MOST:
        return None
    table = np.zeros((count, count), int)
    for truth, answer, many in report.confusion:
        table[truth, answer] = many
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    made, axes = figure(1.3 + 0.4 * count)
    for truth in range(count):
        for answer in range(count):
            if table[truth, answer]:
                colour, strength = (ACCENT if truth == answer else WARN), 0.12 + 0.5 * share[truth, answer]
                axes.fill_between(
                    [answer - 0.48, answer + 0.48], truth - 0.48, truth + 0.48, color=colour, alpha=strength, lw=0
                )
                axes.text(answer, truth, str(table[truth, answer]), ha="center", va="center")
    names = [_cut(name) for name in shown.outputs]
    axes.set_xticks(range(count), names, rotation=30, ha="right")
    axes.set_yticks(range(count), names)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), xlabel="answered", ylabel="truth")
    axes.tick_params(length=0)
    return made


def calibration(report: Report, shown: Exhibits) -> Figure | None:
    """How often answers of each confidence are right, before and after the temperature."""
    if not shown.after:
        return None
    made, axes = figure(3.2)
    axes.plot([0, 100], [0, 100], color=MUTED, linestyle=":", label="as sure as right")
    for table, colour, marker, name in (
        (shown.before, MUTED, "s", "as trained"),
        (shown.after, ACCENT, "o", "as shipped"),
    ):
        points, number = 100 * np.array(table), 0.01 * shown.tested
        axes.plot(points[:, 0], points[:, 1], color=colour, marker=marker, label=name)
        if colour == ACCENT:  # what chance does with so many
            low, high = np.array([_chance(right / 100, size * number) for _, right, size in points]).T
            bars = np.maximum([points[:, 1] - 100 * low, 100 * high - points[:, 1]], 0)
            axes.errorbar(points[:, 0], points[:, 1], bars, color=colour, linestyle="none", capsize=3, elinewidth=1)
    axes.set(xlim=(0, 102), ylim=(0, 104), xlabel="% sure it says it is", ylabel="% of the time right")
    axes.legend(loc="upper left")
    return made


def scatter(report: Report, shown: Exhibits) -> Figure | None:
    """Numbers answered against true ones."""
    if not shown.pairs:
        return None
    made, axes = figure(3.4)
    pairs = np.array(shown.pairs)
    ends = [pairs.min(), pairs.max()]
    axes.plot(ends, ends, color=MUTED, linestyle=":")
    axes.scatter(pairs[:, 0], pairs[:, 1], s=16, color=ACCENT, alpha=0.6, linewidths=0)
    axes.set(xlabel=f"true {_cut(shown.outputs[0])}", ylabel="answered")
    return made


def map(report: Report, shown: Exhibits) -> Figure | None:
    """Examples near each other where the network finds them alike: a colour and a shape for every class."""
    if not shown.dots:
        return None
    made, axes = figure(4.2)
    kinds = sorted({dot.truth for dot in shown.dots})
    for kind in kinds:
        some = [dot for dot in shown.dots if dot.truth == kind]
        style = {"marker": SHAPES[kind % len(SHAPES)], "color": CLASSES[kind % len(CLASSES)]}
        label = _cut([*shown.outputs, "none"][kind]) if kinds.index(kind) < MOST else None
        axes.scatter([d.x for d in some], [d.y for d in some], s=22, alpha=0.9, linewidths=0, label=label, **style)
    bad = [dot for dot in shown.dots if dot.truth != dot.answer]
    if bad:
        axes.scatter([d.x for d in bad], [d.y for d in bad], s=90, facecolors="none", edgecolors=WARN, linewidths=1.5,
                     label="answered wrongly")  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3)
    return made


def harm(report: Report, shown: Exhibits) -> Figure | None:
    """Part by part, what transfer gains or loses."""
    parts = sorted(report.slices, key=lambda one: one.gain[0])
    if len(parts) < 2:
        return None
    kept = parts if len(parts) <= MOST else [*parts[: MOST // 2], *parts[-MOST // 2 :]]
    unit = 100.0 if figures.is_share(kept[0].metric) else 1.0
    made, axes = figure(0.7 + 0.5 * len(kept))
    for place, one in enumerate(kept):
        axes.plot([0, 0], [place - 0.15, place + 0.3], color=MUTED)  # zero, but not through the names
        mean, low, high = (unit * value for value in one.gain)
        if unit > 1:  # no share is more than all
            low, high = max(low, -unit), min(high, unit)
        colour = WARN if high < 0 else ACCENT if low > 0 else INK
        axes.errorbar(
            mean, place, xerr=[[max(0, mean - low)], [max(0, high - mean)]], color=colour, marker="o", capsize=3
        )
        above(axes, place, f"{_cut(one.name, 40)} ({one.count})")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(kept) - 0.6, -0.7)
    axes.set_xlabel(f"← transfer is worse · {'points' if unit > 1 else 'gain'} · transfer is better →")
    return made


def _chance(share: float, count: float) -> tuple[float, float]:
    """Where a share of so many would lie on 95 of 100 such tests: the score interval (Wilson 1927)."""
    z = NormalDist().inv_cdf(0.975)
    middle, half = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return (middle - half) / (1 + z * z / count), (middle + half) / (1 + z * z / count)


def _cut(name: str, most: int = 16) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _end(name: str, most: int = 12) -> str:
    """The end of a module's name, which tells it from others."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _size(score: float, report: Report) -> float:
    """A score as it is drawn: in percent, as it is, or an error without its sign."""
    return _unit(report) * (-score if report.metric in figures.ERRORS else score)


def _unit(report: Report) -> float:
    return 100.0 if figures.is_share(report.metric) else 1.0


def _metric(report: Report) -> str:
    name = figures.called(report.metric)
    if report.metric in figures.ERRORS:
        return f"{name} (less is better)"
    return f"% {name}" if figures.is_share(report.metric) else name
