"""The choice between the strategies, by numbers that it states."""

from dataclasses import replace

from graft.core import figures
from graft.core.costs import seconds
from graft.core.nouns import Budget, Evidence, Phase, Plan, Task
from graft.core.phases import RATES, SHARE, contrastive, deepest, exact_head, fine_tuning, soup

FEW = 8  # examples of the rarest class: below, a validation part cannot tell tuning from luck
FEW_IN_ALL = 40  # the same where examples are of no one class
KIND = ("text", "classification")
FEWEST, MOST_FEW = 5, 64  # examples of the rarest class between which contrastive tuning of texts pays


def auto(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """A linear probe where little can be gained or told, else LP-FT down to the stage that the budget reaches.

    Where the budget reaches several runs, their mean is taken: which of them is the best, few examples cannot tell.
    """
    last, depth = evidence.stage_curve[-1], len(evidence.stage_curve)
    head = exact_head(task)
    room, unit = figures.best(task.metric) - last.score, figures.points(task.metric)
    left, noise = (figures.gain(value, task.metric) + unit for value in (room, last.error))
    classes = evidence.per_class < evidence.n_train  # else an example has no one class
    few, which = (FEW, "training examples of the rarest class") if classes else (FEW_IN_ALL, "training examples")
    first = deepest(task, evidence, budget)
    if task.head == "grouping":
        why = "There are no labels to tune by: groups are looked for in the features as they are."
    elif room <= last.error:
        why = (
            f"What the probe leaves to gain, {left}, is within its standard error of {noise}: tuning could not show it."
        )
    elif pulled := _few_texts(task, evidence, budget):
        why = (
            f"Texts, {evidence.per_class} training examples of the rarest class: with {FEWEST} to {MOST_FEW} of them "
            "contrastive tuning beats a linear probe by 0 to 25 points on published sets (Tunstall et al. 2022)."
        )
        return Plan(evidence.backbone, task.head, "contrastive", (pulled, head), why=(why,))
    elif evidence.per_class < few:
        why = f"There are {evidence.per_class} {which}, under {few}: only the head is fitted."
    elif first is None:
        cost = seconds(task, evidence, (head, fine_tuning(task, evidence, budget, depth - 1, (head,))))
        why = (
            f"Tuning even the last stage would take {cost:.0f} s, over the {SHARE * budget.seconds:.0f} s set aside "
            "for it."
        )
    else:
        share = replace(budget, seconds=budget.seconds / len(RATES))
        several = deepest(task, evidence, share)
        at, time = (first, budget.seconds) if several is None else (several, share.seconds)
        found = (
            f"The probe leaves {left} to gain, over its standard error of {noise}, with {evidence.per_class} {which}: "
            f"LP-FT{'' if several is None else f' at {len(RATES)} rates'}.",
            f"{depth - at} of {depth} stages learn, from {evidence.stage_curve[at].stage}: the most that fits in "
            f"{SHARE * time:.0f} s{'' if several is None else ' at each rate'}.",
        )
        if several is None:
            kept = "Where validation does not improve, the probe is kept."
            ways: tuple[tuple[Phase, ...], ...] = ((head, fine_tuning(task, evidence, budget, first, (head,))),)
        else:
            kept = (
                f"{len(task.val)} validation examples cannot tell which run is the best by a few points, so the "
                "weights of those whose mean is no worse on them are averaged, the probe's among them."
            )
            ways = soup(task, evidence, budget)
        name, choice = ("lp_ft", "best") if several is None else ("soup", "soup")
        return Plan(
            evidence.backbone, task.head, name, ways[0], alternatives=ways[1:], choice=choice, why=(*found, kept)
        )
    return Plan(evidence.backbone, task.head, "linear_probe", (head,), why=(why,))


def _few_texts(task: Task, evidence: Evidence, budget: Budget) -> Phase | None:
    """The contrastive phase, where the task is of the kind that it pays for and the budget reaches it."""
    if not FEWEST <= evidence.per_class <= MOST_FEW or (task.modality, task.head) != KIND:
        return None
    phase, fits = contrastive(task, evidence, budget)
    return phase if fits else None
