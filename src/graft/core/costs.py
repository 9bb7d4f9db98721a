"""What a phase is expected to cost, from what was measured. Arithmetic on nouns; seconds are wall seconds."""

import math
import re

from graft.core.nouns import Evidence, Phase, Task

OPENING = 2.0  # seconds to open a backbone, find its cuts and check them
SOLVING = 1.0  # seconds of the exact solver for 1,000 examples of 500 features
BACKWARD = 3.0  # a training step against a forward pass, where it was not measured


def stages(selector: str, depth: int) -> range | None:
    """Indices that "stages[2]", "stages[1:3]" or "stages[4:]" means, perhaps past the depth; None: another selector."""
    found = re.fullmatch(r"stages\[(\d+)(:)?(\d+)?\]", selector)
    if found is None:
        return None
    start = int(found[1])
    return range(start, int(found[3] or depth) if found[2] else start + 1)


def boundary(train: tuple[str, ...], depth: int) -> int:
    """Index of the first stage with something to learn; `depth` when the head alone learns."""
    first = depth
    for selector in train:
        if (asked := stages(selector, depth)) is not None:
            first = min(first, asked.start)
        elif selector in ("norm", "bias"):
            first = 0
    return first


def forward(evidence: Evidence, start: int = 0, stop: int | None = None) -> float:
    """Seconds of one example through stages start … stop-1."""
    return sum(stage.seconds for stage in evidence.stage_curve[start:stop])


def step(evidence: Evidence, first: int) -> float:
    """Seconds of one example, forward and backward, through the stages from `first` on."""
    whole = forward(evidence) or 1e-9
    return (evidence.train_seconds or BACKWARD * whole) * forward(evidence, first) / whole


def epoch_steps(task: Task, phase: Phase) -> int:
    """Optimiser steps of one pass over the training part."""
    return math.ceil(len(task.train) / phase.batch)


def stored_bytes(task: Task, evidence: Evidence, phase: Phase) -> int:
    """Bytes that the frozen prefix's output takes, of training views and validation."""
    first = boundary(phase.train, len(evidence.stage_curve))
    if not first:
        return 0
    return evidence.stage_curve[first - 1].bytes * (len(task.train) * max(1, phase.views) + len(task.val))


def seconds(task: Task, evidence: Evidence, phases: tuple[Phase, ...]) -> float:
    """Seconds of these phases in order, features that an earlier one stored not counted again."""
    total, filled = OPENING, {(len(evidence.stage_curve), 1)} if evidence.n_used == len(task.train) else set()
    swept = 0  # deepest boundary whose prefix has been run: shallower ones are filled in the same sweep
    for phase in phases:
        first = boundary(phase.train, len(evidence.stage_curve))
        epochs = math.ceil(phase.steps / epoch_steps(task, phase))
        examples = min(phase.steps * phase.batch, epochs * len(task.train))
        pass_seconds = forward(evidence, 0, first) + evidence.prepare_seconds
        if phase.solver == "exact":
            total += SOLVING * len(task.train) / 1000 * max(1, len(task.outputs) / 2)
        if first and phase.stored:
            if (first, phase.views) not in filled and first > swept:
                total += (len(task.train) * max(1, phase.views) + len(task.val)) * pass_seconds
                swept = first
            elif phase.solver == "exact":
                total += len(task.val) * pass_seconds
            filled.add((first, phase.views))
        elif phase.solver != "exact":  # streamed, or the whole network: raw files every epoch
            total += (examples + (epochs + 1) * len(task.val)) * pass_seconds
        total += examples * step(evidence, first) + (epochs + 1) * len(task.val) * forward(evidence, first)
    return total
