"""The choice between the strategies, by numbers that it states."""

from graft.core.costs import seconds
from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import SHARE, deepest, exact_head, fine_tuning

FEW = 8  # examples of the rarest class: below, a validation part cannot tell tuning from luck


def auto(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """A linear probe where little can be gained or told, else LP-FT down to the stage that the budget reaches."""
    last, depth = evidence.stage_curve[-1], len(evidence.stage_curve)
    head = exact_head(task)
    room = 1 - last.score
    first = deepest(task, evidence, budget)
    if evidence.per_class < FEW:
        why = f"The rarest class has {evidence.per_class} training examples, under {FEW}: only the head is fitted."
    elif room <= last.error:
        why = (
            f"The probe's error, {room:.3f}, is within its standard error, {last.error:.3f}: "
            "tuning could not show a gain."
        )
    elif first is None:
        cost = seconds(task, evidence, (head, fine_tuning(task, evidence, budget, depth - 1, (head,))))
        why = (
            f"Tuning even the last stage would take {cost:.0f} s, over the {SHARE * budget.seconds:.0f} s set aside "
            "for it."
        )
    else:
        tuned = fine_tuning(task, evidence, budget, first, (head,))
        lines = [
            f"The probe leaves {room:.3f} to gain, over its standard error of {last.error:.3f}, with "
            f"{evidence.per_class} training examples of the rarest class: LP-FT.",
            f"{depth - first} of {depth} stages learn, from {evidence.stage_curve[first].stage}: the most that fits "
            f"in {SHARE * budget.seconds:.0f} s. Where validation does not improve, the probe is kept.",
        ]
        return Plan(evidence.backbone, task.head, "lp_ft", (head, tuned), why=tuple(lines))
    return Plan(evidence.backbone, task.head, "linear_probe", (head,), why=(why,))
