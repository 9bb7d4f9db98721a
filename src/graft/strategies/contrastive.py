"""Contrastive tuning, then the exact head: few labels teach an encoder what belongs together (Tunstall et al. 2022)."""

from graft.core.costs import boundary
from graft.core.errors import PlanError
from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import contrastive as pulling
from graft.core.phases import exact_head


def contrastive(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """Stages learn by the classes' pairs, none written down, and the head is solved on what they then say.

    Raises:
        PlanError: the examples are rows of a table.
    """
    if task.modality == "vector":
        raise PlanError(
            "Contrastive tuning suits encoders that know a language or pictures: at the small rate that keeps what "
            "they know, a network of columns hardly moves."
        )
    phase, fits = pulling(task, evidence, budget)
    depth = len(evidence.stage_curve)
    why = (
        f"{depth - boundary(phase.train, depth)} of {depth} stages learn for {phase.steps} steps that examples of one "
        f"class belong together{'' if fits else f', though that is more than {budget.seconds:.0f} s allow'}; then the "
        "head is solved exactly."
    )
    return Plan(evidence.backbone, task.head, "contrastive", (phase, exact_head(task)), why=(why,))
