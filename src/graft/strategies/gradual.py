"""Gradual unfreezing: the stages join one by one from the top (Howard & Ruder 2018)."""

from dataclasses import replace

from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import exact_head, fine_tuning, reached


def gradual(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """The exact head, then one phase for each further stage; all boundaries are filled in one sweep of the prefix."""
    depth = len(evidence.stage_curve)
    lowest = reached(task, evidence, budget)
    head = exact_head(task)
    whole = fine_tuning(task, evidence, budget, lowest, (head,))
    count = depth - lowest
    phases = []
    for first in range(depth - 1, lowest - 1, -1):
        views, stored = (0, False) if first == 0 else (max(1, whole.views), True)
        train = ("head", f"stages[{first}:]")
        phases.append(replace(whole, train=train, steps=max(1, whole.steps // count), views=views, stored=stored))
    why = f"Gradual unfreezing lets {count} stages join from the top, {phases[0].steps} steps each."
    return Plan(evidence.backbone, task.head, "gradual", (head, *phases), why=(why,))
