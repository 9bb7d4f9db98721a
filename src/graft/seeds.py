"""Runs that break: a plan begins again from another seed where its training diverges or dies, and the run says so."""

import logging
from dataclasses import replace

import numpy as np

from graft.adapt import adapt, logits
from graft.core.errors import TrainingDiverged
from graft.core.nouns import Plan, Run, Task
from graft.core.shelf import take

log = logging.getLogger("graft")
TRIES = 3  # seeds, the first one included: what breaks three times has a cause that no seed mends
APART = 1000  # from one seed to the next, so that none is met twice
STILL = 1e-3  # spread of the answers, as a share of that of the targets, below which they are one answer


def reseeded(task: Task, plan: Plan, seed: int = 0) -> Run:
    """The run of a plan; where it diverges or is dead, that of another seed, with a note on each seed that broke.

    Raises:
        TrainingDiverged: every seed did.
    """
    notes: list[str] = []
    broken: Run | None = None
    for tried in range(seed, seed + TRIES * APART, APART):
        try:
            run = adapt(task, plan, tried)
        except TrainingDiverged as error:
            if tried == seed + (TRIES - 1) * APART and broken is None:
                raise
            notes.append(f"Seed {tried} of {plan.strategy} diverged: {error}")
            log.warning(notes[-1])
            continue
        if not (why := dead(task, run)):
            return replace(run, notes=(*run.notes, *notes))
        anew = f", and was begun anew from seed {tried + APART}" if tried < seed + (TRIES - 1) * APART else ""
        notes.append(f"Seed {tried} of {plan.strategy} was dead{anew}: {why}")
        log.warning(notes[-1])
        broken = broken or run
    assert broken is not None
    return replace(broken, notes=(*broken.notes, *notes))


def dead(task: Task, run: Run) -> str:
    """Why a run has learned nothing: it answers alike whatever it is asked; empty if it does not.

    An exact head is never called so: where it answers alike, there is nothing in the features, and no seed mends that;
    nor is what has one answer to learn.
    """
    head = take("heads", task.head)
    if all(phase.solver == "exact" for phase in run.kept) or any(
        len(set(part.targets)) < 2 for part in (task.train, task.val)
    ):
        return ""
    answers, y = logits(task, run, task.val)
    if head.KIND == "softmax":
        given = np.unique(answers.argmax(1))
        return f"it answers {task.outputs[given[0]]!r} for every validation example." if len(given) == 1 else ""
    spread = y.std(0) if head.KIND == "squared" else np.abs(answers).max(0) + 1e-12
    return "its answers do not differ." if (answers.std(0) <= STILL * spread).all() else ""
