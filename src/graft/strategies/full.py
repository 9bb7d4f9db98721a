"""Full fine-tuning: everything learns at once, from a fresh head."""

from dataclasses import replace

from graft.core.costs import epoch_steps, seconds
from graft.core.nouns import Budget, Evidence, Phase, Plan, Task
from graft.core.phases import fine_tuning, share

BLANK = "blank/"  # how the ids of networks begin that have no weights
PASSES = 100  # over the data that such a network is given, where the budget allows: five times what tuning takes


def full(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """One phase with the empty prefix; the backbone learns at a tenth of the head's rate, a blank one as fast as it."""
    phase = replace(fine_tuning(task, evidence, budget, 0), lr_decay=1.0, batch_stats=True)
    if evidence.backbone.id.startswith(BLANK):
        phase = _from_nothing(task, evidence, budget, phase)
    views = "" if phase.views else ", with fresh augmented views in every epoch"
    why = f"Full fine-tuning trains every stage for {phase.steps} steps{views}."
    return Plan(evidence.backbone, task.head, "full", (phase,), why=(why,))


def _from_nothing(task: Task, evidence: Evidence, budget: Budget, phase: Phase) -> Phase:
    """The same with no weights to spare: at a high rate and long, since validation may stand still for a while."""
    whole = replace(phase, steps=PASSES * epoch_steps(task, phase))
    room = share(task) * budget.seconds / seconds(task, evidence, (whole,))
    steps = max(phase.steps, int(whole.steps * min(1.0, room)))
    return replace(phase, lr=3e-3, backbone_lr=1.0, weight_decay=0.05, steps=steps, patience=PASSES)
