"""The choice between the strategies, by numbers that it states."""

from dataclasses import replace

from graft.core import figures
from graft.core.costs import OPENING, seconds
from graft.core.nouns import Budget, Evidence, Plan, Task
from graft.core.phases import LONGEST, contrastive, deepest, exact_head, folded, passes, share
from graft.core.shelf import function

FEW = 8  # examples of the rarest class: below, a validation part cannot tell tuning from luck
FEW_IN_ALL = 40  # the same where examples are of no one class
KIND = ("text", "classification")
FEWEST, MOST_FEW = 5, 64  # examples of the rarest class between which contrastive tuning of texts pays
TELLING = 50  # validation examples: of fewer, the best of many looks is more often luck than a gain
FAR = 1.0  # proxy A-distance of training and validation part from which tuning is held back: halfway to wholly apart


def auto(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """A linear probe where little can be gained or told, else tuning down to the stage that the budget reaches.

    Where the budget reaches several runs, their mean is taken: which of them is the best, few examples cannot tell.
    """
    texts = (task.modality, task.head) == KIND and evidence.per_class > MOST_FEW  # tuning gains them points by itself
    few = len(task.val) < TELLING and not texts
    if few:  # the probe beside it is a run of its own
        budget = replace(budget, seconds=max(budget.seconds - OPENING / share(task), budget.seconds / 2))
    made, why = _chosen(task, evidence, budget, few)
    if few and made.strategy == "lp_ft":
        made = replace(made, alternatives=((exact_head(task),),), choice="sure")
    return replace(made, why=(why, *made.why))


def _chosen(task: Task, evidence: Evidence, budget: Budget, unsure: bool) -> tuple[Plan, str]:
    """The strategy's plan, and why; `unsure` whether validation examples are too few to choose by."""

    def made(name: str) -> Plan:
        plan: Plan = function("strategies", name)(task, evidence, budget)
        return plan

    last = evidence.stage_curve[-1]
    room, unit = figures.best(task.metric) - last.score, figures.points(task.metric)
    left, noise = (figures.gain(value, task.metric) + unit for value in (room, last.error))
    classes = evidence.per_class < evidence.n_train  # else an example has no one class
    few, which = (FEW, "training examples of the rarest class") if classes else (FEW_IN_ALL, "training examples")
    if task.head == "grouping":
        why = "There are no labels to tune by: groups are looked for in the features as they are."
        return made("linear_probe"), why
    if room <= last.error:
        why = (
            f"What the probe leaves to gain, {left}, is within its standard error of {noise}: tuning could not show it."
        )
        return made("linear_probe"), why
    shot = FEWEST <= evidence.per_class <= MOST_FEW and (task.modality, task.head) == KIND
    if shot and contrastive(task, evidence, budget)[1]:
        return made("contrastive"), (
            f"Texts, {evidence.per_class} training examples of the rarest class: with {FEWEST} to {MOST_FEW} of them "
            "contrastive tuning beats a linear probe by 0 to 25 points on published sets (Tunstall et al. 2022)."
        )
    if evidence.per_class < few:
        return made("linear_probe"), f"There are {evidence.per_class} {which}, under {few}: only the head is fitted."
    time, one, longer = share(task) * budget.seconds, made("lp_ft"), 0.0
    if deepest(task, evidence, budget) is None:
        longer = seconds(task, evidence, one.every)  # from the last stage on
        most = time if folded(task) else LONGEST * budget.seconds  # folds take as long four times more
        if longer > most:
            why = f"Tuning even the last stage would take {longer:.0f} s, over the {most:.0f} s that it may take."
            return made("linear_probe"), why
    first, apart = evidence.stage_curve[0], evidence.domain_distance
    found = (
        f"The probe leaves {left} to gain, over its standard error of {noise}, with {evidence.n_train} training "
        f"examples{f', {evidence.per_class} of the rarest class' if classes else ''}: tuning may show it. From "
        f"{first.stage} to {last.stage} the probe goes from {figures.score(first.score, task.metric)} to "
        f"{figures.score(last.score, task.metric)}."
    )
    if apart is not None:
        found += f" Training and validation part lie {apart:.2f} apart (proxy A-distance, 0 alike to 2 apart)."
    if apart is not None and apart >= FAR:
        return made("wise_ft"), (
            f"{found} From {FAR:.0f} on tuning is held back: under a shift it distorts what the probe builds on (Kumar "
            "et al. 2022)."
        )
    if unsure:
        return one, (
            f"{found} With {len(task.val)} validation examples, under {TELLING}, the best of many looks is often luck: "
            "the probe is kept unless tuning is a standard error better."
        )
    if longer:
        return one, (
            f"{found} The {time:.0f} s set aside for it do not reach {passes(task)[-1]} passes of even the last stage. "
            f"It is tuned for {longer:.0f} s: that may gain more than further seeds would tell."
        )
    several = made("soup")
    alike = all(getattr(one.phases[-1], name) == getattr(several.phases[-1], name) for name in ("train", "steps"))
    took = seconds(task, evidence, several.every) + OPENING * len(several.alternatives)
    if not alike or took > time:
        return one, f"{found} One run of it fits in {time:.0f} s, several as deep and as long do not."
    return several, (
        f"{found} {time:.0f} s reach several runs; {len(task.val)} validation examples cannot tell which of them is "
        "the best by a few points, so they are averaged."
    )
