"""Nouns in words, for a person at a terminal."""

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from graft.core import figures
from graft.core.examples import look_at
from graft.core.nouns import Artifact, Plan, Ranking, Report, Task

ASIDE = ("input", "unlike", "odd")  # fields of an answer that have words of their own
PARTS = 12  # slices that are shown
KINDS = {"classification": ("class", "classes"), "regression": ("quantity", "quantities"), "tagging": ("tag", "tags")}


def task(task: Task) -> str:
    """What was found in the data."""
    audit = task.audit
    some = ", ".join(task.outputs[:8]) + (", …" if len(task.outputs) > 8 else "")
    kind = KINDS.get(task.head, ("label", "labels"))[len(task.outputs) > 1]
    held = f"up to {len(task.outputs)} groups" if task.head == "grouping" else f"{len(task.outputs)} {kind} ({some})"
    lines = [
        f"{task.name}: {held}; "
        f"{len(task.train)} train, {len(task.val)} validation, {len(task.test)} test; {figures.called(task.metric)}"
    ]
    for word, entries in (("left out", audit.skipped), ("copies kept together", audit.moved)):
        if entries:
            shown = [f"    {where}: {why}" for where, why in entries[:5]]
            lines += [
                f"  {len(entries)} {word}:",
                *shown,
                *([f"    … and {len(entries) - 5} more"] if len(entries) > 5 else []),
            ]
    if audit.near_duplicates:
        lines.append(f"  look-alikes in different parts, such as {' and '.join(audit.near_duplicates[0])}")
    return "\n".join([*lines, *(f"  {note}" for note in audit.notes)])


def ranking(ranking: Ranking) -> str:
    """Backbones, best first, with their stage curves."""
    lines = []
    for one in ranking.evidence:
        shown = {name: f"{value:.3f}" for name, value in one.scores.items()}
        shown |= {"probe": figures.plain(one.scores["probe"], ranking.metric)}
        scores = "  ".join(f"{name} {value}" for name, value in shown.items())
        if one.domain_distance is not None:
            scores += f"  domain distance {one.domain_distance:.2f}"
        curve = " → ".join(
            f"{stage.stage} {figures.plain(stage.score, ranking.metric, 2)}" for stage in one.stage_curve
        )
        seen = "" if one.n_used == one.n_train else f"  (dropped after {one.n_used} examples)"
        lines += [f"{one.backbone.id:<28} {scores}  [{one.backbone.license}]{seen}", f"{'':<28} {curve}"]
    doubt = look_at(ranking[0].suspects) if len(ranking) else ""
    return "\n".join([*lines, *ranking.why, *([doubt] if doubt else [])])


def plans(chosen: Plan, considered: Mapping[str, Plan | str]) -> str:
    """What every strategy would train and what it would cost, quickest first, the chosen one marked."""
    made = {name: plan for name, plan in considered.items() if isinstance(plan, Plan)}
    made |= {chosen.strategy: chosen} if chosen.strategy in made else {}  # as it will be carried out
    learns = {name: _learns(plan) for name, plan in made.items()}
    wide, long = (max(map(len, column), default=0) for column in (made, learns.values()))
    lines = [f"  {'strategy':<{wide}}  {'what learns':<{long}}  {'expected':>8}  {'on disk':>9}  {'memory':>7}"]
    for name, plan in made.items():
        mark, seconds, disk = ">" if name == chosen.strategy else " ", f"{plan.seconds:.0f} s", size(plan.store_bytes)
        lines.append(
            f"{mark} {name:<{wide}}  {learns[name]:<{long}}  {seconds:>8}  {disk:>9}  {plan.peak_bytes / 1e9:>4.1f} GB"
        )
    return "\n".join([*lines, *(f"  {name}: {why}" for name, why in considered.items() if isinstance(why, str))])


def _learns(plan: Plan) -> str:
    """A plan in a few words."""
    tuned = [phase for phase in plan.every if phase.solver != "exact"]
    if not tuned:
        return "the head, exactly"
    selectors = list(dict.fromkeys(selector for phase in tuned for selector in phase.train))
    shown = ", ".join(selectors if len(selectors) < 4 else (*selectors[:2], "…", selectors[-1]))
    through = f" through {tuned[0].adapter}" if tuned[0].adapter else ""
    phases = f" in {len(tuned)} phases" if len(tuned) > 1 and not plan.alternatives else ""
    ways = f", {len(plan.alternatives) + 1} alternatives" if plan.alternatives else ""
    return f"{shown}{through}: {sum(phase.steps for phase in tuned)} steps{phases}{ways}"


def report(report: Report) -> str:
    """The verdict and its rows."""
    shown = [report.sentence, rows(report), slices(report) if report.slices else "", look_at(report.suspects)]
    return "\n\n".join(filter(None, shown))


def rows(report: Report) -> str:
    """What was compared, best first."""
    lines = [
        f"{figures.called(report.metric).capitalize()} on {report.n_test} test examples, "
        f"in look number {len(report.test_openings)} at them:"
    ]
    for row in sorted(report.rows, key=lambda row: -row.score):
        over, low, high = (figures.gain(value, report.metric, sign=True) for value in row.gain)
        gain = "" if row.name == "adapted" else f"  gain over it {over} ({low} to {high})"
        taught = f", {row.cost.seconds:.0f} s in all, {row.state}; {row.note}" if row.budget else row.of
        score = figures.score(row.score, report.metric)
        around = figures.interval(row.low, row.high, report.metric)
        name = row.name.replace("_", " ")
        lines.append(f"  {name:<13} {score:>7} ({around}){gain}  [{row.cost.cpu_seconds:.0f} CPU s{taught}]")
    return "\n".join([*lines, *(f"  {note}" for note in report.notes)])


def slices(report: Report) -> str:
    """How it does on parts of the test examples, worst first, beside the row that decides."""
    metric, named = report.slices[0].metric, report.reference.replace("_", " ")
    lines = [f"Part by part ({figures.called(metric)}; in brackets {named}):"]
    for one in sorted(report.slices, key=lambda one: one.score)[:PARTS]:
        score, other = (figures.score(value, metric) for value in (one.score, one.reference))
        lines.append(f"  {score:>7} ({other})  {one.name}, {one.count} examples")
    if len(report.slices) > PARTS:
        lines.append(f"  … and {len(report.slices) - PARTS} more")
    return "\n".join(lines)


def artifact(artifact: Artifact, example: str = "") -> str:
    """What ships, and how to use it, on an example if there is one."""
    files = ", ".join(sorted(artifact.files))
    found = "".join(
        f"{group.name} ({group.count}): {', '.join(group.terms)}\n    such as {', '.join(group.examples)}\n"
        for group in artifact.groups
    )
    use = f"graft predict {artifact.path} {shlex.quote(example)}" if example else artifact.predict
    page = os.path.join(artifact.path, "report.html")
    shown = f"\nOpen {page} to see what was shown." if os.path.isfile(page) else ""
    return f"{artifact.sentence}\n\n{found}{artifact.path} holds the model ({files}). Use it:\n  {use}{shown}"


def answer(answer: dict[str, Any]) -> str:
    """What an artifact answers for one example."""
    odd = f" [{'; '.join(answer['odd'])}]" if "odd" in answer else ""
    if "tasks" in answer:
        told = "; ".join(_known({**one, "input": name}) for name, one in answer["tasks"].items())
        return f"{answer['input']}: {told}{odd}"
    return f"{_known(answer)}{odd}"


def _known(answer: dict[str, Any]) -> str:
    return f"{_answer(answer)}{' [unlike what it learned from]' if answer.get('unlike') else ''}"


def _answer(answer: dict[str, Any]) -> str:
    if "probability" in answer:
        doubt = f"; unsure: {' or '.join(answer['set']) or 'less sure than usual'}" if answer.get("unsure") else ""
        return f"{answer['input']}: {answer['label']} ({answer['probability']:.3f}{doubt})"
    if "labels" in answer:
        told = ", ".join(f"{label} ({answer['scores'][label]:.3f})" for label in answer["labels"])
        return f"{answer['input']}: {told or 'none of the labels'}"
    if "entities" in answer:
        told = ", ".join(f"{one['text']} ({one['type']})" if one["type"] else one["text"] for one in answer["entities"])
        return f"{answer['input']}: {told or 'no entities'}"
    if "tags" in answer:
        told = " ".join(f"{one['word']}/{one['tag']}" for one in answer["tags"])
        return f"{answer['input']}: {told}"
    if values := answer.get("values"):
        return f"{answer['input']}: {_plain(values)}"
    if "group" in answer:
        return f"{answer['input']}: {answer['group']}"
    told = ", ".join(f"{name} {_plain(value)}" for name, value in answer.items() if name not in ASIDE)
    return f"{answer['input']}: {told}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, (list, tuple)) else str(value)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows below the names of their columns; a column in which nothing stands is left out."""
    kept = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
    cells = [kept, *([str(row[name] or "") for name in kept] for row in rows)]
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, wide, strict=True)).rstrip() for line in cells
    )


def cache(state: dict[str, Any]) -> str:
    """What the home keeps, by kind, and how much of it."""
    kinds: dict[str, int] = state["bytes"]
    over = "; what was used within the last minute stays" if kinds["features"] > state["limit"] else ""
    lines = [state["home"], *(f"  {kind:<9} {size(count):>9}" for kind, count in kinds.items())]
    lines.append(
        f"  {'total':<9} {size(sum(kinds.values())):>9}   (features are kept up to {size(state['limit'])}{over})"
    )
    return "\n".join([*lines, *([f"freed {size(state['freed'])}"] if state["freed"] else [])])


def size(count: int) -> str:
    """Bytes in a unit that reads well."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.{2 if name == 'GB' else 1}f} {name}"
    return f"{count} bytes"
