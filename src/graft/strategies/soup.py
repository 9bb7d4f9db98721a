"""A greedy soup of the probe and runs at several rates: averaged by validation (Wortsman et al. 2022)."""

from graft.core.costs import boundary
from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import RATES
from graft.core.phases import soup as ways


def soup(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """LP-FT at three rates, and the exact head that all start from: what they agree on is no chance of one run."""
    way, *others = ways(task, evidence, budget)
    depth = len(evidence.stage_curve)
    why = (
        f"{depth - boundary(way[-1].train, depth)} of {depth} stages learn for {way[-1].steps} steps at each of "
        f"{len(RATES)} rates; their weights and the probe's are averaged from the best down, as long as validation "
        "does not suffer."
    )
    return Plan(evidence.backbone, task.head, "soup", way, alternatives=tuple(others), choice="soup", why=(why,))
