"""Nouns in words, for a person at a terminal."""

from typing import Any

from graft.core.nouns import Artifact, Ranking, Report, Task


def task(task: Task) -> str:
    """What was found in the data."""
    audit = task.audit
    some = ", ".join(task.outputs[:8]) + (", …" if len(task.outputs) > 8 else "")
    kind = {"classification": "classes", "regression": "quantities"}.get(task.head, "labels")
    lines = [
        f"{task.name}: {len(task.outputs)} {kind} ({some}); "
        f"{len(task.train)} train, {len(task.val)} validation, {len(task.test)} test; {task.metric.replace('_', ' ')}"
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
        scores = "  ".join(f"{name} {value:.3f}" for name, value in one.scores.items())
        curve = " → ".join(f"{stage.stage} {stage.score:.2f}" for stage in one.stage_curve)
        seen = "" if one.n_used == one.n_train else f"  (dropped after {one.n_used} examples)"
        lines += [f"{one.backbone.id:<28} {scores}  [{one.backbone.license}]{seen}", f"{'':<28} {curve}"]
    return "\n".join([*lines, *ranking.why])


def report(report: Report) -> str:
    """The verdict and its rows."""
    return f"{report.sentence}\n\n{rows(report)}"


def rows(report: Report) -> str:
    """What was compared, best first."""
    lines = [f"On {report.n_test} test examples, in look number {len(report.test_openings)} at them:"]
    for row in sorted(report.rows, key=lambda row: -row.score):
        gain = (
            ""
            if row.name == "adapted"
            else f"  gain over it {100 * row.gain[0]:+.1f} ({100 * row.gain[1]:+.1f} to {100 * row.gain[2]:+.1f})"
        )
        given = f", given {row.budget:.0f} s, {row.state}; {row.note}" if row.budget else ""
        lines.append(
            f"  {row.name.replace('_', ' '):<13} {100 * row.score:5.1f} % ({100 * row.low:.1f} to {100 * row.high:.1f})"
            f"{gain}  [{row.cost.cpu_seconds:.0f} CPU s{given}]"
        )
    return "\n".join([*lines, *(f"  {note}" for note in report.notes)])


def artifact(artifact: Artifact) -> str:
    """What ships, and how to use it."""
    files = ", ".join(sorted(artifact.files))
    return f"{artifact.sentence}\n\n{artifact.path} holds the model ({files}). Use it:\n  {artifact.predict}"


def answer(answer: dict[str, Any]) -> str:
    """What an artifact answers for one example."""
    if "probability" in answer:
        return f"{answer['input']}: {answer['label']} ({answer['probability']:.3f})"
    told = ", ".join(f"{name} {_plain(value)}" for name, value in answer.items() if name != "input")
    return f"{answer['input']}: {told}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, (list, tuple)) else str(value)


def size(count: int) -> str:
    """Bytes in a unit that reads well."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.{2 if name == 'GB' else 1}f} {name}"
    return f"{count} bytes"
