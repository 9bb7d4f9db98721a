"""Pictures of what was measured: which backbone, which stage, and whether it helped."""

import os
from pathlib import Path
from typing import Any

from graft.core import figures, home
from graft.core.costs import boundary
from graft.core.nouns import Plan, Ranking, Report

INK, ACCENT, MUTED = "#1f2933", "#2a7f62", "#b8c4ce"
NAMES = {
    "adapted": "adapted",
    "linear_probe": "linear probe",
    "joint": "source and target",
    "source_only": "source only",
    "pixels": "linear model on pixels",
    "columns": "linear model on columns",
    "boosting": "boosted trees",
    "tfidf": "linear model on words",
    "wordtags": "linear model on words",
    "trivial": "always the same",
    "scratch": "from scratch",
    "scratch_small": "from scratch, smaller",
}
ANSWERS = {"positive": "Yes.", "negative": "No, it hurt.", "inconclusive": "It cannot be told."}
FORMAT = {"dpi": 120, "bbox_inches": "tight", "facecolor": "white"}


def pictures(ranking: Ranking, plan: Plan, report: Report, out: str | os.PathLike[str]) -> list[Path]:
    """Write ranking.png, stages.png, verdict.png and, where there is a learning curve, labels.png into a folder."""
    import matplotlib as mpl

    written = []
    with mpl.rc_context(
        {
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "text.color": INK,
            "axes.edgecolor": MUTED,
        }
    ):
        drawn = [("ranking", _ranking), ("stages", _stages), ("verdict", _verdict), ("labels", _labels)]
        for name, draw in drawn if report.curve else drawn[:-1]:
            figure = draw(ranking, plan, report)
            with home.placed(Path(out) / f"{name}.png") as part:
                figure.savefig(part, format="png", **FORMAT)
            written.append(Path(out) / f"{name}.png")
    return written


def _figure(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, height))
    return figure, figure.subplots()


def _ranking(ranking: Ranking, plan: Plan, report: Report) -> Any:
    evidence = [e for e in ranking.evidence if e.stage_curve][::-1]
    figure, axes = _figure(1.4 + 0.42 * len(evidence))
    for row, one in enumerate(evidence):
        score, error = _size(one.scores["probe"], report), _unit(report) * one.probe_error
        color = ACCENT if one.backbone.id == plan.backbone.id else INK
        axes.errorbar(score, row, xerr=error, color=color, marker="o", capsize=3)
        note = ", best published" if one.backbone.id == ranking.static else ""
        note += f", dropped after {one.n_used} examples" if one.n_used < ranking[0].n_used else ""
        said = figures.score(one.scores["probe"], report.metric)
        axes.text(score + error, row, f"  {said}{note}", va="center", color=color)
    if len(evidence) > 1:
        blind = _size(ranking.random, report)
        axes.axvline(blind, color=MUTED, linestyle=":", zorder=0)
        axes.text(blind, len(evidence) - 0.45, "picked at random", ha="center", va="bottom", fontsize=8)
    axes.set_yticks(range(len(evidence)), [one.backbone.id for one in evidence])
    axes.set_ylim(-0.5, len(evidence) - 0.5)
    axes.margins(x=0.3)
    axes.set_xlabel(f"linear probe, {_metric(report)} (cross-validated, ± standard error)")
    axes.set_title("Which backbone suits these data", loc="left", pad=18)
    return figure


def _stages(ranking: Ranking, plan: Plan, report: Report) -> Any:
    one = next((e for e in ranking.evidence if e.backbone.id == plan.backbone.id), ranking[0])
    figure, axes = _figure(3.4)
    depth = len(one.stage_curve)
    scores = [_size(stage.score, report) for stage in one.stage_curve]
    errors = [_unit(report) * stage.error for stage in one.stage_curve]
    axes.errorbar(range(depth), scores, errors, color=ACCENT, marker="o", capsize=3)
    first = min(boundary(phase.train, depth) for phase in plan.every)
    for start, stop, word, color in ((0, first, "frozen", MUTED), (first, depth, "learns", ACCENT)):
        if start < stop:
            axes.axvspan(start - 0.5, stop - 0.5, color=color, alpha=0.2, linewidth=0)
            middle = (start + stop - 1) / 2
            axes.text(middle, 0.03, word, transform=axes.get_xaxis_transform(), ha="center")
    axes.margins(y=0.15)  # the words stand below the lowest error bar
    axes.set_xlim(-0.5, depth - 0.5)
    axes.set_xticks(range(depth), [s.stage for s in one.stage_curve], rotation=30, ha="right")
    axes.set_ylabel(f"linear probe, {_metric(report)}")
    axes.set_title(f"What each stage of {one.backbone.id} tells", loc="left")
    return figure


def _verdict(ranking: Ranking, plan: Plan, report: Report) -> Any:
    rows = sorted(report.rows, key=lambda row: row.score)
    figure, axes = _figure(1.6 + 0.42 * len(rows))
    for place, row in enumerate(rows):
        score = _size(row.score, report)
        low, high = sorted(_size(value, report) for value in (row.low, row.high))
        bars = [[max(0.0, score - low)], [max(0.0, high - score)]]
        color = ACCENT if row.name == report.ships else MUTED
        axes.barh(place, score, xerr=bars, color=color, ecolor=INK, height=0.6)
        state = f" ({row.state})" if row.name.startswith("scratch") else ""
        axes.text(max(high, 0.0), place, f"  {figures.score(row.score, report.metric)}{state}", va="center")
    axes.set_yticks(range(len(rows)), [NAMES.get(row.name, row.name) for row in rows])
    if figures.is_share(report.metric):
        axes.set_xlim(0, 122)  # beyond 100 stand the words beside a long bar
        axes.set_xticks(range(0, 101, 25))
        axes.spines["bottom"].set_bounds(0, 100)
    else:
        ends = [_size(value, report) for row in rows for value in (row.low, row.high)]
        least, most = min(0.0, *ends), max(0.0, *ends)
        axes.set_xlim(least, least + 1.22 * ((most - least) or 1.0))
    axes.set_xlabel(f"{_metric(report)} on {report.n_test} test examples, with 95 % interval")
    blank = plan.backbone.id.startswith("blank/")
    told = "Nothing was transferred." if blank else f"Did the transfer help? {ANSWERS[report.verdict]}"
    axes.set_title(told, loc="left")
    return figure


def _labels(ranking: Ranking, plan: Plan, report: Report) -> Any:
    figure, axes = _figure(3.6)
    curve = report.curve
    assert curve is not None
    beside = NAMES.get(curve.rival, curve.rival)
    lines = [(curve.transfer, ACCENT, "linear probe"), (curve.without, INK, beside)]
    lines += [(curve.scratch, MUTED, NAMES["scratch"])] if curve.scratch else []
    for points, color, name in lines:
        scores = [_size(point.score, report) for point in points]
        ends = [sorted(_size(end, report) for end in (point.low, point.high)) for point in points]
        bars = [[s - low for s, (low, _) in zip(scores, ends, strict=True)],
                [high - s for s, (_, high) in zip(scores, ends, strict=True)]]  # fmt: skip
        axes.errorbar([point.labels for point in points], scores, bars, color=color, marker="o", capsize=3, label=name)
    for name, point in curve.whole.items():
        if name == "adapted" or not curve.scratch:
            color = ACCENT if name == "adapted" else MUTED
            axes.plot(point.labels, _size(point.score, report), marker="D", linestyle="", color=color,
                      label=NAMES[name])  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks([point.labels for point in curve.transfer], [str(point.labels) for point in curve.transfer])
    axes.minorticks_off()
    axes.set_xlabel(f"training examples (means of {curve.draws} samples, with 95 % interval)")
    axes.set_ylabel(f"{_metric(report)} on {curve.n_test} test examples")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # no point lies under it
    axes.set_title("What labels are worth", loc="left")
    return figure


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
