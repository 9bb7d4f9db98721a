"""Contrastive tuning, then the exact head: a few labels teach an encoder what belongs together (Tunstall et al. 2022)."""

from graft.core.costs import boundary
from graft.core.errors import PlanError
from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import SHARE, exact_head
from graft.core.phases import contrastive as pulling


def contrastive(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """Stages learn by the classes' pairs, none written down, and the head is solved on what they then say.

    Raises:
        PlanError: not even the last stage fits the budget.
    """
    phase = pulling(task, evidence, budget)
    if phase is None:
        raise PlanError(
            f"Contrastive tuning of even one stage takes over {SHARE * budget.seconds:.0f} s: raise --budget."
        )
    depth = len(evidence.stage_curve)
    why = (
        f"{depth - boundary(phase.train, depth)} of {depth} stages learn for {phase.steps} steps that examples of one "
        "class belong together; then the head is solved exactly."
    )
    return Plan(evidence.backbone, task.head, "contrastive", (phase, exact_head(task)), why=(why,))
