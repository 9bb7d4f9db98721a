"""Pictures of what was measured: which backbone, which stage, and whether it helped."""

import os
from pathlib import Path
from typing import Any

from graft.core import home
from graft.core.costs import boundary
from graft.core.nouns import Plan, Ranking, Report

INK, ACCENT, MUTED = "#1f2933", "#2a7f62", "#b8c4ce"
FORMAT = {"dpi": 120, "bbox_inches": "tight", "facecolor": "white"}


def pictures(ranking: Ranking, plan: Plan, report: Report, out: str | os.PathLike[str]) -> list[Path]:
    """Write ranking.png, stages.png and verdict.png into a folder."""
    import matplotlib as mpl

    mpl.use("agg")
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
        for name, draw in (("ranking", _ranking), ("stages", _stages), ("verdict", _verdict)):
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
    evidence = [e for e in ranking.evidence if e.n_used == ranking[0].n_used][::-1]
    figure, axes = _figure(1.4 + 0.42 * len(evidence))
    for row, one in enumerate(evidence):
        chosen = one.backbone.id == plan.backbone.id
        axes.barh(
            row, one.scores["probe"], xerr=one.probe_error, color=ACCENT if chosen else MUTED, ecolor=INK, height=0.6
        )
        note = " (best published)" if one.backbone.id == ranking.static else ""
        axes.text(one.scores["probe"] + one.probe_error, row, f"  {one.scores['probe']:.3f}{note}", va="center")
    axes.axvline(ranking.random, color=INK, linestyle=":", linewidth=1)
    axes.text(ranking.random, len(evidence) - 0.45, "blind choice", ha="center", va="bottom", fontsize=8)
    axes.set_yticks(range(len(evidence)), [one.backbone.id for one in evidence])
    low = min(one.scores["probe"] - one.probe_error for one in evidence)
    axes.set_xlim(max(0.0, low - 0.1), None)
    axes.set_xlabel(f"linear probe, {report.metric.replace('_', ' ')} (cross-validated, ± standard error)")
    axes.set_title("Which backbone suits these data", loc="left", pad=18)
    return figure


def _stages(ranking: Ranking, plan: Plan, report: Report) -> Any:
    one = next((e for e in ranking.evidence if e.backbone.id == plan.backbone.id), ranking[0])
    figure, axes = _figure(3.4)
    places = range(len(one.stage_curve))
    axes.errorbar(
        places,
        [s.score for s in one.stage_curve],
        [s.error for s in one.stage_curve],
        color=ACCENT,
        marker="o",
        capsize=3,
    )
    first = boundary(plan.phases[-1].train, len(one.stage_curve))
    axes.axvspan(-0.5, first - 0.5, color=MUTED, alpha=0.3, linewidth=0)
    axes.axvspan(first - 0.5, len(one.stage_curve) - 0.5, color=ACCENT, alpha=0.12, linewidth=0)
    for middle, word, there in (
        ((first - 1) / 2, "frozen", first > 0),
        ((first + len(one.stage_curve) - 1) / 2, "learns", first < len(one.stage_curve)),
    ):
        if there:
            axes.text(middle, 0.03, word, transform=axes.get_xaxis_transform(), ha="center", color=INK)
    axes.set_xlim(-0.5, len(one.stage_curve) - 0.5)
    axes.set_xticks(places, [s.stage for s in one.stage_curve], rotation=30, ha="right")
    axes.set_ylabel(report.metric.replace("_", " "))
    axes.set_title(f"What a linear probe reaches after each stage of {one.backbone.id}", loc="left")
    return figure


def _verdict(ranking: Ranking, plan: Plan, report: Report) -> Any:
    rows = sorted(report.rows, key=lambda row: row.score)
    figure, axes = _figure(1.6 + 0.42 * len(rows))
    for place, row in enumerate(rows):
        bars = [[max(0.0, row.score - row.low)], [max(0.0, row.high - row.score)]]
        color = ACCENT if row.name == "adapted" else MUTED
        axes.barh(place, row.score, xerr=bars, color=color, ecolor=INK, height=0.6)
        state = f" ({row.state})" if row.name == "scratch" else ""
        axes.text(row.high, place, f"  {100 * row.score:.1f} %{state}", va="center")
    axes.set_yticks(range(len(rows)), [row.name.replace("_", " ") for row in rows])
    axes.set_xlim(0, 1.22)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.set_xlabel(f"{report.metric.replace('_', ' ')} on {report.n_test} test examples, 95 % interval")
    axes.set_title(f"Did the transfer help? {report.verdict.capitalize()}.", loc="left")
    return figure
