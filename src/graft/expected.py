"""What a plan is expected to take, with what its regularisers read beside it, and what trying alignments adds.

Arithmetic on what was measured, as in `core.costs`; what several phases share is counted once.
"""

import math

from graft.core.costs import OPENING, boundary, epoch_steps, forward, seconds, step
from graft.core.nouns import Evidence, Phase, Plan, Task
from graft.core.shelf import take
from graft.regularized import aligned, chosen, without


def expected(task: Task, evidence: Evidence, plan: Plan) -> float:
    """Wall seconds of adapt: the phases of all alternatives, and what stands beside them."""
    own = seconds(task, evidence, plan.every) + OPENING * len(plan.alternatives)
    return own + sum(_beside(task, evidence, plan).values())


def stored_beside(task: Task, evidence: Evidence, plan: Plan) -> int:
    """Bytes of the feature store that regularisers fill: the pretrained network's outputs, the target's features."""
    depth, curve, found = len(evidence.stage_curve), evidence.stage_curve, dict[tuple[str, int, int], int]()
    for phase in plan.every:
        needs, first, views = wants(phase), boundary(phase.train, depth), max(1, phase.views)
        if "features" in needs and phase.stored and phase.views:
            for at in range(first if "stages" in needs else depth - 1, depth):
                found["before", at, views] = curve[at].bytes * views * len(task.train)
        if "target" in needs and phase.stored and first:
            found["target", first, views] = curve[first - 1].bytes * views * len(task.target)
    return sum(found.values())


def held_beside(evidence: Evidence, phase: Phase) -> int:
    """Bytes alive while a phase trains: a pretrained network, an average of the weights, the target's activations."""
    needs, first = wants(phase), boundary(phase.train, len(evidence.stage_curve))
    copies = ("pretrained" in needs) + ("average" in needs)
    saved = sum(stage.saved for stage in evidence.stage_curve[first:])
    return copies * 4 * (evidence.backbone.params or 25_000_000) + ("target" in needs) * phase.batch * saved


def aligning(task: Task, evidence: Evidence, plan: Plan) -> tuple[int, float]:
    """How many alignments `align` tries for this plan, and at most how many seconds they and doing without take."""
    head, depth = take("heads", plan.head), len(evidence.stage_curve)
    if not len(task.target) or head.KIND != "softmax" or head.ROWS:
        return 0, 0.0
    tried = aligned(plan, depth)
    return len(tried), sum(expected(task, evidence, one) for one in (without(plan), *tried.values()))


def wants(phase: Phase) -> set[str]:
    """What a phase's regularisers need while it trains, with "average" where they keep one of the weights."""
    files = [file for file, _ in chosen(phase) if not hasattr(file, "settle")]
    return {need for file in files for need in (*file.NEEDS, *(["average"] if hasattr(file, "share") else []))}


def _beside(task: Task, evidence: Evidence, plan: Plan) -> dict[tuple[str, object], float]:
    """Seconds by what they are spent on."""
    depth, whole = len(evidence.stage_curve), evidence.prepare_seconds + forward(evidence)
    found = dict[tuple[str, object], float]()
    for index, phase in enumerate(plan.every):
        needs, first, views = wants(phase), boundary(phase.train, depth), max(1, phase.views)
        epochs = math.ceil(phase.steps / epoch_steps(task, phase))
        shown = min(phase.steps * phase.batch, epochs * len(task.train))
        if "pretrained" in needs:
            found["open", index] = OPENING
        if "features" in needs and phase.stored and phase.views:
            found["before", views] = views * len(task.train) * whole
        elif "features" in needs:
            found["before", -index] = shown * whole
        if "target" in needs:
            reading = evidence.prepare_seconds + forward(evidence, 0, first)
            once = phase.stored and first
            found["target", (first, views) if once else -index] = reading * (
                views * len(task.target) if once else shown
            )
            found["pulled", index] = shown * step(evidence, first)
        if any(hasattr(file, "settle") for file, _ in chosen(phase)):
            found["settle", 0] = (len(task.train) + len(task.target)) * whole
    return found
