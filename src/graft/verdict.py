"""Rows → Report: which verdict the rows allow, what ships, and the sentence that says so."""

import math
from dataclasses import dataclass, replace

import numpy as np

from graft.core.nouns import Part, Report, Row, Run, Slice, Task
from graft.core.shelf import take
from graft.model import stats

SHIPPED = {
    "scratch": "the network trained from scratch (scratch)",
    "linear_probe": "the linear probe of the same backbone (linear probe)",
}
FEWEST = 30  # test examples from which the needed number can be told roughly


@dataclass(frozen=True)
class Entry:
    """A row in the making: what every test example adds to its score (for accuracy, whether it is right), by seed."""

    row: Row
    outcomes: np.ndarray  # (seeds, n)


def judged(
    task: Task,
    run: Run,
    runs: list[Run],
    adapted: Entry,
    others: list[Entry],
    part: Part,
    share: np.ndarray,
    openings: tuple[str, ...],
) -> Report:
    """Compare the entries, pair by pair on the same test examples.

    Args:
        runs: the adapted one, seed by seed.
        share: what each test example counts for; see `stats.example_weights`.
        openings: why the test part was ever opened.
    """
    rivals = [entry for entry in others if not entry.row.transfers]
    level = 1 - 0.05 / len(rivals)
    rows = {"adapted": replace(adapted.row, times=1.0)}
    harmed = []
    for entry in others:
        gain = stats.paired(adapted.outcomes, entry.outcomes, share)
        times = entry.row.cost.cpu_seconds / max(adapted.row.cost.cpu_seconds, 1e-9)
        rows[entry.row.name] = replace(entry.row, gain=gain, times=times)
        if stats.paired(adapted.outcomes, entry.outcomes, share, level=level if entry in rivals else 0.95)[2] < 0:
            harmed.append(entry.row.name)
    against = [rows[entry.row.name] for entry in rivals]
    done = [row for row in against if row.state != "unfinished"]
    hurt = [row for row in against if row.name in harmed]
    if hurt:
        verdict, reference = "negative", min(hurt, key=lambda row: row.gain[0])
    elif all(row.gain[1] > 0 for row in against):
        verdict, reference = "positive", min(done or against, key=lambda row: row.gain[0])
    else:
        verdict, reference = "inconclusive", min(against, key=lambda row: row.gain[1])
    better = [rows[name] for name in harmed]
    ships = max(better, key=lambda row: row.validation).name if better else "adapted"
    beaten = {entry.row.name: entry for entry in others}[reference.name]
    head = take("heads", task.head)
    slices = tuple(
        Slice(name, int(at.sum()), float(adapted.outcomes[:, at].mean()), float(beaten.outcomes[:, at].mean()))
        for name, at in head.slices(head.array(part.targets, len(task.outputs)), task.outputs)
    )
    return Report(
        task=task.key, run=run.key, metric=task.metric, verdict=verdict,
        sentence=_sentence(task, run, verdict, rows["adapted"], reference, rows["scratch"], ships, len(part)),
        reference=reference.name, gain=reference.gain, rows=tuple(rows.values()), ships=ships,
        seeds=tuple(each.seed for each in runs), looks=sum(len(each.history) for each in runs) + rows["scratch"].trials,
        test_openings=openings, n_test=len(part), slices=slices, runs=tuple(each.key for each in runs),
        notes=_notes(rows, runs, task, openings),
    )  # fmt: skip


def _sentence(
    task: Task, run: Run, verdict: str, adapted: Row, reference: Row, scratch: Row, ships: str, count: int
) -> str:
    """The verdict, for someone who has to decide and has never trained a model."""
    said, many = take("heads", task.head).said, take("modalities", task.modality).WORD[1]
    gain, low, high = (100 * value for value in reference.gain)
    rival = _called(reference)
    shown = f"{abs(gain):.1f} points (95 % interval {low:.1f} to {high:.1f})"
    if verdict == "positive":
        ahead = scratch.score > reference.score  # unfinished: it may not carry the verdict, nor be passed over
        text = (
            f"Transfer helped: starting from {run.plan.backbone.id}, the model is {said(adapted.score, task.metric)} "
            f"{count} {many} it has never seen; that beats the best "
            f"{'finished model ' if ahead else ''}without transfer, {rival}, by {shown}."
        )
        if ahead:
            text += f" Over {_called(scratch)}, the gain is {100 * scratch.gain[0]:.1f} points so far."
    elif verdict == "negative":
        text = (
            f"Transfer hurt: {rival} is {said(reference.score, task.metric)} {count} unseen {many}, and the model "
            f"adapted from {run.plan.backbone.id} {said(adapted.score, task.metric)} them; the difference is "
            f"{gain:.1f} points (95 % interval {low:.1f} to {high:.1f})."
        )
    else:
        sd = (high - low) / 100 / 3.92 * math.sqrt(count)
        enough = stats.needed(reference.gain[0], sd)
        text = (
            f"It cannot be told from {count} test {many} whether transfer helped: the adapted model is "
            f"{said(adapted.score, task.metric)} them, {rival} {said(reference.score, task.metric)} them; "
            f"the gain is {gain:.1f} points "
            f"(95 % interval {low:.1f} to {high:.1f})."
            + (
                f" If the gain is real, about {max(enough, count + 1)} would show it."
                if gain > 0 and enough and count >= FEWEST
                else ""
            )
        )
    if ships != "adapted":
        name = SHIPPED.get(ships) or f"{take('baselines', ships).CALLED} ({ships})"
        text += f" What ships instead is {name}."
    return text


def _called(row: Row) -> str:
    if row.name == "scratch":
        return f"the same network trained from scratch ({row.state})"
    return str(take("baselines", row.name).CALLED)


def _notes(rows: dict[str, Row], runs: list[Run], task: Task, openings: tuple[str, ...]) -> tuple[str, ...]:
    notes = [
        "Costs are those of the commands that did the work: features that ranking had stored are not counted again.",
    ]
    if len(runs) == 1:
        notes.append("One seed was compared: the interval covers the choice of test examples, not of seeds.")
    scratch = rows["scratch"]
    if scratch.state == "unfinished":
        notes.append(
            f"From scratch had {scratch.cost.seconds:.0f} s and was not done: the gain over it is an upper bound, and "
            "it was not used alone to call the transfer positive."
        )
    if len(openings) > 1:
        notes.append(
            f"This test part has been opened {len(openings)} times: whoever chooses between runs by their test scores "
            "will see them promise too much."
        )
    notes += task.audit.notes
    return tuple(notes)
