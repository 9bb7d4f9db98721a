"""Task with source data → the tasks of the rows that learn from them: with the target's labels, or without.

Joint training minimises half the source's risk and half the target's, however many examples each has:

    alpha · risk on the target + (1 - alpha) · risk on the source        alpha = 1/2

the mixture of Blitzer et al. (2008) and Ben-David et al. (2010). What few there are of is shown more often.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from graft.core import figures
from graft.core.examples import kept_apart
from graft.core.keys import key
from graft.core.nouns import Part, Report, Task
from graft.core.shelf import take
from graft.data.splits import split
from graft.folds import joined


def halves(task: Task) -> tuple[Part, Part]:
    """The source examples to learn from, and a fifth that nothing learns from: there it is told what was forgotten.

    Where the parts keep people apart, nobody is learned from who validates or tests here.
    """
    part, head = task.source, take("heads", task.head)
    side = np.array(split(head.strata(part.targets), part.ids, task.seed, ("test",), part.groups))
    learned, held = side == "train", side == "test"
    if part.groups and kept_apart(joined(task.train, task.val), task.test.part):
        asked = {*task.val.groups, *task.test.part.groups} - {""}
        learned &= [group not in asked for group in part.groups]
    return part.select(np.flatnonzero(learned)), part.select(np.flatnonzero(held))


def together(task: Task) -> Task:
    """The task with source and target to train on, as many of each, what is few repeated; the target validates."""
    source, own = halves(task)[0], task.train
    rng, count = np.random.default_rng(task.seed), max(len(source), len(own))
    source, own = (part.select(np.resize(rng.permutation(len(part)), count * bool(part))) for part in (source, own))
    whole = joined(replace(source, groups=()), replace(own, groups=()))
    whose = kept_apart(own, task.val)
    if whose or take("heads", task.head).KIND != "softmax":  # which leaves out copies together without being told
        whole = replace(whole, groups=((source.groups if whose else ()) or source.ids) + (whose or own.ids))
    return replace(task, train=whole, key=key("joint", task.key, task.seed))


def alone(task: Task) -> Task:
    """The task with the source alone to train on; the target validates; in a fold that leaves nobody, the target."""
    learned = halves(task)[0]
    return replace(task, train=learned if len(learned) > 1 else task.train, key=key("source only", task.key, task.seed))


ROWS: dict[str, Callable[[Task], Task]] = {"joint": together, "source_only": alone}


def rows_for(task: Task) -> dict[str, Callable[[Task], Task]]:
    """The rows that learn from the source, if there is something to learn from: two examples at least."""
    return ROWS if len(task.source) and len(halves(task)[0]) > 1 else {}


def beside(task: Task, report: Report) -> Report:
    """The report with what the rows that learn from the source say of the target's labels, and of the source."""
    rows, metric = {row.name: row for row in report.rows}, report.metric
    if not ROWS.keys() <= rows.keys():
        return report

    def over(name: str) -> str:
        mean, low, high = (figures.gain(value, metric) for value in rows[name].gain)
        return f"{mean}{figures.points(metric)} (95 % interval {low} to {high})"

    told = [
        f"Taught the target's {len(task.train)} labels, the plan gains {over('source_only')} over itself taught "
        f"{len(halves(task)[0])} source examples alone (source only), and {over('joint')} over itself taught both, "
        "each domain counting alike (joint)."
    ]
    if rows["source_only"].gain[1] <= 0:
        told.append("So it is not shown that the target's own labels help beyond the source's.")
    return replace(report, notes=(*report.notes, *told))
