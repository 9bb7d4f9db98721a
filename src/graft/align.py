"""Task with a target domain, Plan → Plan: the alignment that beats doing without, if any does.

The criterion is the metric where the target's examples are labelled. Without labels it is the mutual information of
example and answer (Shi & Sha 2012), which rises as answers become sure and stay various:

    H(mean p) - mean H(p)        of the answers' probabilities p on the target; 0 to ln C
"""

from dataclasses import replace

import numpy as np

from graft.adapt import adapt, logits
from graft.core.errors import PlanError, TrainingDiverged
from graft.core.nouns import Plan, Task
from graft.core.shelf import take
from graft.regularized import aligned, aligns, without

RESAMPLES = 1000  # of the target's examples, for the interval of a gain
PRIORS = 0.2  # of the classes' shares that may have moved: beyond, matching features matches the wrong classes


def align(task: Task, plan: Plan, seed: int = 0) -> Plan:
    """The plan with the alignment whose gain over the plan without is sure, and the largest; else without.

    Those that the plan names are tried, or all where it names none. Each is adapted in turn, so `adapt` of what comes
    back answers at once; `why` gains a sentence with the numbers. An alignment is kept if the interval of its gain over
    source-only (95 %, target examples resampled) lies above zero. Without labels of the target, and none named, it must
    also leave the classes' shares where they were, within 20 %, as its own answers tell them: features that are matched
    though the shares differ are matched with the wrong classes, and then its answers show neither the old shares nor
    the new ones. The answers of source-only would tell less: a shift that distorts them looks like one of shares.

    Raises:
        PlanError: the task has no target domain, or its answers are no classes.
    """
    head, depth = take("heads", task.head), len(plan.stages)
    if not len(task.target):
        raise PlanError("There is no target domain to align with: load(…, target=FOLDER).")
    if head.KIND != "softmax" or head.ROWS:
        raise PlanError(f"Alignments are judged by probabilities of classes, and {task.head} gives none.")
    named = any(aligns(entry) for phase in plan.every for entry in phase.regularizers)
    bare = without(plan)
    base, y = _answers(task, bare, seed), _labels(task)
    name = f"{task.metric} on {len(task.target)} target examples" if len(y) else "mutual information on the target"
    before = _criterion(base, y, task)
    best, found, gain, said = bare, "", 0.0, [f"source only {before:.3f}"]
    known = np.bincount(task.train.targets, minlength=len(task.outputs)) / len(task.train)
    for entry, one in aligned(plan, depth).items():
        try:
            answers = _answers(task, one, seed)
        except (PlanError, TrainingDiverged) as error:  # no batch norm; too strong
            said.append(f"{entry}: {error}")
            continue
        score, low, high = _criterion(answers, y, task), *reach(answers, base, y, task)
        said.append(f"{entry} {score:.3f} (gain {low:+.3f} to {high:+.3f})")
        moved = 0.0 if len(y) or named else apart(answers, known, one.phases[-1].class_weights)
        if moved > PRIORS:
            said[-1] += f", refused as by its answers the classes' shares seem to differ by {100 * moved:.0f} %"
            continue
        if low > 0 and score - before > gain:
            best, found, gain = one, entry, score - before
    what = f"{found} is kept" if found else "none is surely better, so none is kept"
    return _because(best, f"Alignments by {name}: {'; '.join(said)}: {what}.")


def information(logits: np.ndarray) -> float:
    """Mutual information of example and answer, in nats.

    Shape: logits (n, C). Range: 0 to ln C.
    """
    from scipy.special import softmax

    p = softmax(logits.astype(np.float64), axis=1)
    return _entropy(p.mean(0)) - float(np.mean([_entropy(row) for row in p]))


def shares(logits: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The classes' shares that make these answers likeliest, by expectation and maximisation (Saerens et al. 2002).

    q ← mean_i p_i q / known, normalised by example: answers p of a network that learned from shares `known`.

    Shape: logits (n, C), known (C,) → (C,).
    """
    from scipy.special import softmax

    p, q = softmax(logits.astype(np.float64), axis=1), known.astype(np.float64)
    for _ in range(1000):
        each = p * (q / np.maximum(known, 1e-12))
        q = (each / np.maximum(each.sum(1, keepdims=True), 1e-300)).mean(0)
    return np.asarray(q)


def apart(logits: np.ndarray, known: np.ndarray, alike: bool) -> float:
    """By these answers, the share of examples that would have to change class for the classes' shares to be the known.

    Args:
        known: the shares in training.
        alike: whether all classes counted alike there: then a network answers as if it had seen them equally often.
    """
    learned = (known > 0) / np.count_nonzero(known) if alike else known
    return float(abs(shares(logits, learned) - known).sum() / 2)


def _because(plan: Plan, sentence: str) -> Plan:
    """The plan with this sentence in the place of what an earlier look, or what was expected, had said."""
    said = tuple(one for one in plan.why if not one.startswith(("Alignments ", "No alignment: ")))
    return replace(plan, why=(*said, sentence))


def _answers(task: Task, plan: Plan, seed: int) -> np.ndarray:
    return logits(task, adapt(task, plan, seed), task.target)[0]


def _labels(task: Task) -> np.ndarray:
    """The target's labels, empty where there are none."""
    return np.asarray(task.target.targets, np.int64)


def _criterion(answers: np.ndarray, y: np.ndarray, task: Task) -> float:
    return float(take("heads", task.head).metric(answers, y, task.metric)) if len(y) else information(answers)


def reach(one: np.ndarray, other: np.ndarray, y: np.ndarray, task: Task) -> tuple[float, float]:
    """The 95 % interval of the criterion's gain, the same examples drawn for both."""
    rng, gains = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        at = rng.integers(0, len(one), len(one))
        labels = y[at] if len(y) else y
        gains.append(_criterion(one[at], labels, task) - _criterion(other[at], labels, task))
    low, high = np.quantile(gains, (0.025, 0.975))
    return float(low), float(high)


def _entropy(p: np.ndarray) -> float:
    return float(-(p * np.log(np.maximum(p, 1e-300))).sum())
