"""Phases that strategies share: the exact head, and fine-tuning from a stage on within a budget."""

from dataclasses import replace

from graft.core.costs import epoch_steps, seconds, stored_bytes
from graft.core.nouns import Budget, Evidence, Phase, Task

SHARE = 0.2  # of the budget's seconds that one adaptation may take: ranking, more seeds and baselines take the rest
LONGEST = 0.5  # of them, with texts, where depth counts for most, or where less would not reach even the last stage
SMALL = 400  # test examples, under which rows are compared over folds: so many show a gain of 8 points by themselves
EPOCHS = 20  # passes wanted; the rate falls to zero over them, and the last ones are often the best
FEWEST_EPOCHS = 6  # fewer passes over the data are not worth starting
TEXT_EPOCHS = 4  # the same with texts, on which whole networks are tuned in two to four (Devlin et al. 2019)
FEWEST_STEPS = 150  # too few steps, not too many, is the usual fault with few examples (Zhang et al. 2021)
MOST_STEPS = 6000
CONTRASTS = 300  # steps of contrastive tuning: the gain comes early


def share(task: Task) -> float:
    """Of the budget's seconds, what one adaptation may take; a tenth where folds will take four more of it.

    Where other domains are at hand there are no folds, or too many rows in them.
    """
    if folded(task):
        return SHARE / 2
    return LONGEST if task.modality == "text" else SHARE


def folded(task: Task) -> bool:
    """Whether rows will be compared over folds."""
    return task.audit.drawn and len(task.test) < SMALL and not len(task.target) and not len(task.source)


def passes(task: Task) -> tuple[int, ...]:
    """Passes over the training part that a stage should learn for, the most first, down to the fewest."""
    return (TEXT_EPOCHS,) if task.modality == "text" else (EPOCHS, EPOCHS // 2, FEWEST_EPOCHS)


def uneven(task: Task) -> bool:
    """Whether every class is to count alike."""
    return task.metric == "balanced_accuracy"


def exact_head(task: Task) -> Phase:
    """The head alone, fitted exactly on frozen features."""
    return Phase(train=("head",), solver="exact", class_weights=uneven(task))


def fine_tuning(task: Task, evidence: Evidence, budget: Budget, first: int, before: tuple[Phase, ...] = ()) -> Phase:
    """The stages from `first` on and the head, augmented, for as many steps as are wanted and can be afforded.

    Before a boundary the augmented views are kept with the features, if an example is seen more than EPOCHS times: in
    fewer, the plain one teaches more. With nothing frozen they are fresh every epoch. Where variants teach nothing, as
    with texts, there are none.
    """
    batch = 32 if len(task.train) >= 256 else 16
    phase = Phase(
        train=("head", f"stages[{first}:]"), batch=batch, lr=1e-3, backbone_lr=0.1, lr_decay=0.8, smoothing=0.05,
        class_weights=uneven(task), dtype=evidence.train_dtype, steps=1, patience=EPOCHS,
    )  # fmt: skip
    often = epoch_steps(task, phase) * EPOCHS < FEWEST_STEPS
    choices = (
        [replace(phase, views=0 if evidence.views else 1, stored=False)]
        if first == 0
        else [replace(phase, views=k) for k in (*(evidence.views if often else ()), 1)]
    )
    for choice in choices:
        if first and stored_bytes(task, evidence, choice) > budget.bytes // 2:
            continue
        steps = _affordable(task, evidence, budget, choice, before)
        if steps >= passes(task)[-1] * epoch_steps(task, phase):
            return replace(choice, steps=steps)
    last = choices[-1]
    return replace(last, steps=max(FEWEST_STEPS, _affordable(task, evidence, budget, last, before)))


def deepest(task: Task, evidence: Evidence, budget: Budget) -> int | None:
    """The lowest stage from which fine-tuning fits the budget; None when not even the last one does.

    The passes that are wanted go before depth: few stages that learn long gain more than many that hardly begin to.
    With texts depth goes first.
    """
    before = (exact_head(task),)
    for wanted in passes(task):
        for first in range(len(evidence.stage_curve)):
            phase = fine_tuning(task, evidence, budget, first, before)
            enough = phase.steps >= wanted * epoch_steps(task, phase)
            if enough and seconds(task, evidence, (*before, phase)) <= share(task) * budget.seconds:
                return first
    return None


def _affordable(task: Task, evidence: Evidence, budget: Budget, phase: Phase, before: tuple[Phase, ...]) -> int:
    per_epoch = epoch_steps(task, phase)
    wanted = min(MOST_STEPS, max(FEWEST_STEPS, EPOCHS * per_epoch))
    one, two = (seconds(task, evidence, (*before, replace(phase, steps=n * per_epoch))) for n in (1, 2))
    epochs = 1 + (share(task) * budget.seconds - one) / max(two - one, 1e-9)
    return max(0, min(wanted, int(epochs) * per_epoch))


def contrastive(task: Task, evidence: Evidence, budget: Budget) -> tuple[Phase, bool]:
    """Stages that learn that examples of one class belong together, as many as the budget reaches; whether it does.

    The rate is what sentence encoders are tuned with; few steps are enough, since every batch holds all its pairs.
    """
    depth, batch = len(evidence.stage_curve), 32 if len(task.train) >= 64 else 16
    phase = Phase(
        train=("stages[0:]",), objective="contrastive", batch=batch, lr=3e-5, backbone_lr=1.0, views=1, stored=False,
        dtype=evidence.train_dtype,
    )  # fmt: skip
    steps = min(CONTRASTS, max(FEWEST_STEPS // 2, EPOCHS * epoch_steps(task, phase)))
    for first in range(depth):
        tried = replace(phase, train=(f"stages[{first}:]",), steps=steps, stored=first > 0)
        if seconds(task, evidence, (tried, exact_head(task))) <= share(task) * budget.seconds:
            return tried, True
    last = f"stages[{depth - 1}:]"
    return replace(phase, train=(last,), steps=FEWEST_STEPS // 2, stored=depth > 1), False


def reached(task: Task, evidence: Evidence, budget: Budget) -> int:
    """The lowest stage that the budget lets learn, or else the last one: what a named strategy does at least."""
    first = deepest(task, evidence, budget)
    return len(evidence.stage_curve) - 1 if first is None else first


def through(task: Task, evidence: Evidence, budget: Budget, adapter: str, rate: float) -> tuple[Phase, Phase]:
    """The exact head, then an adapter in the stages that the budget reaches, which learns at `rate` times the head's.

    Nothing pulls it back to where it was born: weight decay would pull IA³ to zero, and LoRA is small as it is.
    """
    head = exact_head(task)
    tuned = fine_tuning(task, evidence, budget, reached(task, evidence, budget), (head,))
    return head, replace(tuned, adapter=adapter, backbone_lr=rate, lr_decay=1.0, weight_decay=0.0)


def some(task: Task, evidence: Evidence, budget: Budget, selector: str) -> tuple[Phase, Phase]:
    """The exact head, then it and one kind of parameter in all stages, at the head's rate: they are few and small."""
    head = exact_head(task)
    tuned = fine_tuning(task, evidence, budget, 0, (head,))
    return head, replace(tuned, train=("head", selector), backbone_lr=1.0, lr_decay=1.0)
