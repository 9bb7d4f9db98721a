"""Surgical fine-tuning: one block of stages learns, and validation says which (Lee et al. 2023)."""

from dataclasses import replace

from graft.core.costs import epoch_steps, seconds
from graft.core.nouns import Budget, Evidence, Phase, Plan, Task
from graft.core.phases import exact_head, fine_tuning, passes, share

BLOCKS = 4  # the network is tried in so many parts at most


def surgical(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """The exact head, then it and one block, each block that the budget reaches in turn; the best is kept.

    The first block is what suits inputs that look different, the last one labels that mean something else. Which it is
    cannot be told before: that would take the source's examples, and they are not at hand.
    """
    depth, head = len(evidence.stage_curve), exact_head(task)
    count = min(BLOCKS, depth)
    edges = [round(depth * at / count) for at in range(count + 1)]
    each = replace(budget, seconds=budget.seconds / count)
    ways: list[tuple[Phase, ...]] = []
    for at in range(count):
        tuned = fine_tuning(task, evidence, each, edges[at], (head,))
        enough = tuned.steps >= passes(task)[-1] * epoch_steps(task, tuned)
        fits = seconds(task, evidence, (head, tuned)) <= share(task) * each.seconds
        if (enough and fits) or at == count - 1:
            ways.append((head, replace(tuned, train=("head", f"stages[{edges[at]}:{edges[at + 1]}]"), lr_decay=1.0)))
    least = min(way[-1].steps for way in ways)
    first, *others = ((*way[:-1], replace(way[-1], steps=least)) for way in ways)
    why = (
        f"{len(ways)} of {count} blocks of stages fit in {share(task) * budget.seconds:.0f} s; each learns alone for "
        f"{least} steps, and validation chooses: the first suits a shift of inputs, the last one of labels."
    )
    return Plan(evidence.backbone, task.head, "surgical", first, alternatives=tuple(others), why=(why,))
