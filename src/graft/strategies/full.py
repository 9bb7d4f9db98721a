"""Full fine-tuning: everything learns at once, from a fresh head."""

from dataclasses import replace

from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import fine_tuning


def full(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """One phase with the empty prefix; the backbone learns at a tenth of the head's rate."""
    phase = replace(fine_tuning(task, evidence, budget, 0), lr_decay=1.0, batch_stats=True)
    why = f"Full fine-tuning trains every stage for {phase.steps} steps, with fresh augmented views in every epoch."
    return Plan(evidence.backbone, task.head, "full", (phase,), why=(why,))
