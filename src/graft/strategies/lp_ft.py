"""LP-FT: a linear probe first, then fine-tuning from it (Kumar et al. 2022): a random head distorts the features."""

from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import deepest, exact_head, fine_tuning


def lp_ft(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """The exact head, then every stage that the budget lets learn; the probe is kept where tuning does not beat it."""
    first = deepest(task, evidence, budget)
    depth = len(evidence.stage_curve)
    at = depth - 1 if first is None else first
    head = exact_head(task)
    tuned = fine_tuning(task, evidence, budget, at, (head,))
    why = (
        f"LP-FT starts from the exact head and tunes {depth - at} of {depth} stages, from "
        f"{evidence.stage_curve[at].stage}, for {tuned.steps} steps, "
    )
    if first is None:
        why += "the least that is worth starting."
    else:
        why += "those that its share of the budget reaches."
    return Plan(evidence.backbone, task.head, "lp_ft", (head, tuned), why=(why,))
