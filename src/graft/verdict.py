"""Rows → Report: which verdict the rows allow, and what ships."""

from collections import Counter
from dataclasses import replace

import numpy as np

from graft.core import figures
from graft.core.nouns import Report, Row, Run, Slice, Task
from graft.core.shelf import take
from graft.entries import Entry, Test
from graft.model import stats
from graft.sentences import FEWEST, SHIPPED, beside, blank, harm, notes, sentence

NEAR = 0.01  # of a share: a point, that two models may differ by and yet be as good
POINTS = (1, 2, 4, 8)  # gains of which is said how often such a test shows them
FEW = 5  # examples of a group under which it is no part of its own


def judged(
    task: Task, run: Run, runs: list[Run], adapted: Entry, others: list[Entry], test: Test, openings: tuple[str, ...]
) -> Report:
    """Compare the entries, pair by pair on the same test examples.

    Over folds, a positive verdict is asked for at a level corrected for the backbones that the adapted one was chosen
    from: the best of several by chance then passes no more often than one would.

    What is claimed must be sure. What ships need only be likelier better: it is the row with the best score, unless the
    adapted one is within a point of it and within a standard error.

    Args:
        runs: the adapted one, seed by seed.
        openings: why the test part was ever opened.
    """
    rivals = [entry for entry in others if not entry.row.transfers]
    sure, bounded = 1 - 0.05 / (test.ranked if test.folds else 1), figures.is_share(task.metric)
    rows = {"adapted": replace(adapted.row, times=1.0, note="" if run.tuned else "its head alone")}
    harmed, helped = [], []
    for entry in others:
        level = 1 - 0.05 / len(rivals) if entry in rivals else 0.95
        gain, lower, upper = (
            stats.paired(adapted.outcomes, entry.outcomes, test.share, one, shares=bounded, **test.how)
            for one in (0.95, sure, level)
        )
        times = entry.row.cost.cpu_seconds / max(adapted.row.cost.cpu_seconds, 1e-9)
        rows[entry.row.name] = replace(entry.row, gain=gain, times=times)
        harmed += [entry.row.name] if upper[2] < 0 else []
        helped += [entry.row.name] if lower[1] > 0 else []
    against = [rows[entry.row.name] for entry in rivals]
    done = [row for row in against if row.state not in ("unfinished", "diverged")]
    hurt = [row for row in against if row.name in harmed]
    if hurt:
        verdict, reference = "negative", min(hurt, key=lambda row: row.gain[0])
    elif all(row.name in helped for row in against) and not blank(run):
        verdict, reference = "positive", min(done or against, key=lambda row: row.gain[0])
    else:
        unsure = [row for row in against if row.name not in helped] or against
        verdict, reference = "inconclusive", min(unsure, key=lambda row: row.gain[0])
    nearly = (min(_error(row), NEAR) if bounded else _error(row) for row in rows.values())
    better = [row for row, near in zip(rows.values(), nearly, strict=True) if -row.gain[0] > near and _ships(row.name)]
    if blank(run):  # nothing speaks for it but its score
        taught = [row for row in rows.values() if row.name in ("joint", "source_only")]
        better = [rows["adapted"], *taught, *(row for row in done if _ships(row.name))]
    ships = min(better, key=lambda row: row.gain[0]).name if better else "adapted"
    entries = {entry.row.name: entry for entry in (adapted, *others)}
    beaten, head = entries[reference.name], take("heads", task.head)
    count = len(test.part)
    sd = _error(reference) * count**0.5
    enough = stats.needed(reference.gain[0], sd, sure, stats.POWER) if count >= FEWEST else None
    slices = _slices(task, test, adapted, beaten)
    trials = sum(row.trials for row in rows.values() if row.budget)
    report = Report(
        task=task.key, run=run.key, metric=task.metric, verdict=verdict, sentence="", reference=reference.name,
        gain=reference.gain, rows=tuple(rows.values()), ships=ships, seeds=tuple(each.seed for each in runs),
        looks=run.plan.looks + sum(len(each.history) for each in runs) + trials,
        test_openings=openings, n_test=count, slices=slices, runs=tuple(each.key for each in runs),
        shows=stats.shown(reference.gain, sure), enough=enough or 0,
        power=_power(reference, sure) if bounded else {}, folds=test.folds, repeats=test.repeats,
        suspects=run.plan.suspects,
        confusion=head.confusion(*entries[ships].answers[0]) if hasattr(head, "confusion") else (),
    )  # fmt: skip
    broken = [note for entry in (adapted, *others) for note in entry.notes]
    told = (*harm(report), *beside(task, adapted, beaten), *broken, *notes(task, run, report, test))
    return replace(report, sentence=sentence(task, run, report), notes=tuple(dict.fromkeys(told)))


def _power(row: Row, level: float) -> dict[str, float]:
    return {f"{points}": round(stats.power(points / 100, row.gain, level), 3) for points in POINTS}


def _error(row: Row) -> float:
    """The standard error of the gain over a row."""
    return (row.gain[2] - row.gain[1]) / 3.92


def _ships(name: str) -> bool:
    """Whether a row's model can answer for one new example; a baseline may only be there to compare with."""
    return name in SHIPPED or getattr(take("baselines", name), "SHIPS", True)


def _slices(task: Task, test: Test, adapted: Entry, beaten: Entry) -> tuple[Slice, ...]:
    """How both do on the subsets that the head tells apart, and on those whom the examples come from."""
    head, part = take("heads", task.head), test.part
    metric = getattr(head, "SLICED", "") or task.metric

    def score(entry: Entry, at: np.ndarray) -> float:
        rows = [head.within(y, at) if head.ROWS else at for _, y in entry.answers]
        each = zip(entry.answers, rows, strict=True)
        return float(np.mean([head.metric(logits[kept], y[kept], metric, task.outputs) for (logits, y), kept in each]))

    named = list(head.slices(head.array(part.targets, len(task.outputs)), task.outputs))
    if part.groups and len(set(part.groups)) > 1:
        whose = np.array(part.groups)
        groups = [name for name, many in Counter(part.groups).items() if name and many >= FEW]
        named += [(f"of {name}", whose == name) for name in sorted(groups)]
    level, bounded = 1 - 0.05 / max(1, len(named)), figures.is_share(task.metric)

    def gain(at: np.ndarray) -> stats.Interval:
        both = adapted.outcomes[:, at], beaten.outcomes[:, at], test.share[at], level
        whom = tuple(np.array(test.groups)[at]) if test.groups else ()
        return stats.paired(*both, shares=bounded, folds=test.folds > 0, groups=whom)

    return tuple(
        Slice(name, int(at.sum()), score(adapted, at), score(beaten, at), metric, gain(at)) for name, at in named
    )
