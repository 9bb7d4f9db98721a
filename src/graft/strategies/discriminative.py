"""Discriminative learning rates: each stage learns more slowly than the one above it (Howard & Ruder 2018)."""

from dataclasses import replace

from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import exact_head, fine_tuning

DECAY = 1 / 2.6  # ULMFiT's factor from one layer group to the next below


def discriminative(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """The exact head, then everything at once, the rates falling by 2.6 from stage to stage."""
    head = exact_head(task)
    tuned = replace(fine_tuning(task, evidence, budget, 0, (head,)), backbone_lr=0.3, lr_decay=DECAY)
    lowest = tuned.lr * tuned.backbone_lr * DECAY ** (len(evidence.stage_curve) - 1)
    why = f"The head learns at {tuned.lr:g}, the lowest stage at {lowest:.1e}: general features below move least."
    return Plan(evidence.backbone, task.head, "discriminative", (head, tuned), why=(why,))
