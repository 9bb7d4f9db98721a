"""Linear probe: the backbone stays frozen and the head is fitted exactly."""

from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import exact_head


def linear_probe(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """One phase, solved on features that ranking has already stored."""
    why = (
        f"A linear probe fits {len(task.outputs)} output{'s'[: len(task.outputs) > 1]} on frozen features: nothing is "
        "forgotten, and it takes seconds."
    )
    return Plan(evidence.backbone, task.head, "linear_probe", (exact_head(task),), why=(why,))
