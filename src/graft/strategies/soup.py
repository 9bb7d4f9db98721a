"""A greedy soup of the probe and runs at several rates: averaged by validation (Wortsman et al. 2022)."""

from dataclasses import replace

from graft.core.costs import OPENING
from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import exact_head, fine_tuning, reached, share

RATES = (1.0, 0.3, 3.0)  # times the usual one


def soup(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """LP-FT at three rates, and the exact head that all start from, which keeps them close enough to be averaged."""
    left = budget.seconds - OPENING / share(task)  # the probe is a run of its own
    each = replace(budget, seconds=max(left, budget.seconds / 2) / len(RATES))
    depth, first = len(evidence.stage_curve), reached(task, evidence, each)
    head = exact_head(task)
    tuned = fine_tuning(task, evidence, each, first, (head,))
    way, *others = ((head, replace(tuned, lr=tuned.lr * rate)) for rate in RATES)
    why = (
        f"{depth - first} of {depth} stages learn, from {evidence.stage_curve[first].stage}, for {tuned.steps} steps "
        f"at each of {len(RATES)} rates; their weights and the probe's are averaged from the best down, as long as "
        "validation does not suffer."
    )
    return Plan(
        evidence.backbone, task.head, "soup", way, alternatives=(*others, (head,)), choice="soup", why=(why,)
    )  # fmt: skip
