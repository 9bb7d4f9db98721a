"""Task, Run → Curve: what labels are worth, with transfer and without, on the test part that verify has open."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from graft.adapt import adapt, finished, logits
from graft.build import build, examples, form_here
from graft.clock import Clock
from graft.core import figures
from graft.core.costs import OPENING
from graft.core.errors import TrainingDiverged
from graft.core.examples import kept_apart
from graft.core.keys import key
from graft.core.nouns import Curve, Part, Point, Report, Row, Run, Task
from graft.core.phases import uneven
from graft.core.shelf import names, take
from graft.data.dataset import table
from graft.features import features
from graft.model import curves, linear, stats
from graft.rivals import answered, described, fitted

log = logging.getLogger("graft")
FEWEST = 10  # labels that a curve starts with, and two of each class
UNDONE = ("unfinished", "diverged")  # rows that are no goal: with more time, or a cure, they would be further
WHOLE = ("adapted", "scratch")  # rows that are shown with all labels, beside the curve
DRAWS = range(2, 9)  # samples of each size, as many as there is time for

Learner = Callable[[np.ndarray], np.ndarray]  # examples to learn from → what each test example adds to the score
Measured = tuple[Row, np.ndarray]  # a row, and by seed what each test example adds to its score (seeds, n)


def charted(
    task: Task,
    run: Run,
    report: Report,
    part: Part,
    share: np.ndarray,
    rows: Sequence[Measured],
    seconds: float,
    clock: Clock,
) -> Report:
    """The report with a learning curve, where there is something to transfer and enough to halve.

    The probe learns from stored features, so that nothing frozen is computed again; of the baselines the best by
    validation is beside it. Both learn from the same samples, each inside the next larger one.

    Args:
        share: what each test example counts for.
        rows: what was compared, and how it scores on this part; those without transfer say what is to be reached with
            all labels.
        seconds: what the curve may take, and training from scratch again; two samples of each size are taken anyway.
    """
    head = take("heads", task.head)
    classes = len(task.outputs) if head.KIND == "softmax" else 0
    numbers = curves.sizes(len(task.train), max(FEWEST, 2 * classes))
    rivals = {row.name: (row, made) for row, made in rows if not row.transfers}
    learned = [row for name, (row, _) in rivals.items() if name in names("baselines") and name != "trivial"]
    if head.ROWS or not getattr(head, "LABELLED", True) or len(numbers) < 2 or not run.plan.pretrained:
        return report
    if run.plan.backbone.id.startswith("blank/") or not learned:
        return report
    best = max(learned, key=lambda row: row.validation).name
    if not clock.holds("the learning curve", OPENING + DRAWS.start * rivals[best][0].cost.seconds):
        return report
    seconds = min(seconds, clock.left / 2)  # as much again from scratch
    probe, other = _probe(task, run, part), _baseline(best, task, part)
    ours: list[list[np.ndarray]] = []
    theirs: list[list[np.ndarray]] = []
    began = time.perf_counter()
    whole = probe(np.arange(len(task.train)))  # of all labels there is one sample
    strata, groups = head.strata(task.train.targets), kept_apart(task.train, task.val)
    while len(ours) < DRAWS.stop - 1:
        spent = time.perf_counter() - began
        if len(ours) >= DRAWS.start and spent * (1 + 1 / len(ours)) > seconds:
            break
        at = curves.order(strata, groups, task.seed + len(ours))
        ours.append([*(probe(at[:n]) for n in numbers[:-1]), whole])
        theirs.append([*(other(at[:n]) for n in numbers[:-1]), rivals[best][1][0]])
    tables = [np.stack(made, axis=1) for made in (ours, theirs)]  # (sizes, draws, n)
    transfer, without = ([_point(n, one, share, task.metric) for n, one in zip(numbers, made, strict=True)]
                         for made in tables)  # fmt: skip
    drawn, scores = curves.resampled(tables[0], share), np.array([point.score for point in transfer])
    top = figures.best(task.metric)
    law = curves.doubled(numbers, top - scores, top - drawn)
    doubling, exponent = law or (
        stats.paired(tables[0][-1], tables[0][-2], share, shares=figures.is_share(task.metric)), 0.0
    )  # fmt: skip
    goals = [
        name for name, (row, _) in rivals.items() if name == best or (name == "scratch" and row.state not in UNDONE)
    ]
    saved = {name: _saved(numbers, scores, drawn, rivals[name][1], share, len(ours)) for name in goals}
    blank = _scratch(task, rivals["scratch"][0], part, share, numbers, seconds) if "scratch" in goals else ()
    rest = {row.name: Point(numbers[-1], row.score, row.low, row.high) for row, _ in rows if row.name in WHOLE}
    found = Curve(tuple(transfer), best, tuple(without), len(ours), saved, doubling, blank, rest, len(part), exponent)
    return replace(report, curve=found, notes=(*report.notes, *_sentences(task, run, found)))


def _probe(task: Task, run: Run, part: Part) -> Learner:
    """The exact head on what the backbone, as pretrained, says of any of the training examples."""
    head, count, backbone = take("heads", task.head), len(task.outputs), run.plan.backbone
    chain, _ = build(backbone, task.head, count, run.seed)
    chain.freeze(("head",))
    learned, plain = run.plan.form, replace(run.plan.form, dtype="float32")  # as adapt learns, and as it is judged
    parts = ((task.train, learned), (task.val, learned), (part, plain))
    (x, y), val, test = (
        table(features(chain.split(form=form_here(form))[0], examples(task, one, backbone, run.seed)))
        for one, form in parts
    )
    whose = kept_apart(task.train, task.val)

    def outcomes(rows: np.ndarray) -> np.ndarray:
        of = [whose[row] for row in rows] if whose else ()
        found = head.solve(x[rows], y[rows], count, uneven(task), task.metric, groups=of)
        said, known = (linear.logits(found.weight, found.bias, one[0]) for one in (test, val))
        if hasattr(head, "thresholds"):
            said = said - head.thresholds(known, val[1])
        return np.asarray(head.outcomes(said, test[1], task.metric, task.outputs), np.float64)

    return outcomes


def _baseline(name: str, task: Task, part: Part) -> Learner:
    """A baseline on any of the training examples."""
    method, head, seen = take("baselines", name), take("heads", task.head), described(name, task, part)

    def outcomes(rows: np.ndarray) -> np.ndarray:
        state = fitted(name, replace(task, train=task.train.select(rows.tolist())))
        answers = answered(head, task, part, method.predict(state, seen))
        return np.asarray(head.outcomes(*answers, task.metric, task.outputs), np.float64)

    return outcomes


def _scratch(
    task: Task, row: Row, part: Part, share: np.ndarray, numbers: Sequence[int], seconds: float
) -> tuple[Point, ...]:
    """The network from scratch on a quarter and, while time lasts, half of the labels, by the plan it had with all.

    It takes as many steps as with all labels: fewer would be too few for a fair comparison, not too many.
    """
    run, head, points = finished(row.run), take("heads", task.head), [Point(numbers[-1], row.score, row.low, row.high)]
    at = curves.order(head.strata(task.train.targets), kept_apart(task.train, task.val), task.seed)
    for n in numbers[-3:-1]:
        if run is None or (seconds := seconds - run.cost.seconds) < 0:
            break
        rows = np.sort(at[:n]).tolist()
        sample = replace(task, train=task.train.select(rows), key=key("sample", task.key, rows))
        try:
            answers = logits(sample, adapt(sample, run.plan, run.seed), part)
        except TrainingDiverged as error:
            log.warning("The learning curve has no point from scratch at %d labels: %s", n, error)
            continue
        points.insert(-1, _point(n, head.outcomes(*answers, task.metric, task.outputs)[None], share, task.metric))
    return tuple(points)


def _point(labels: int, outcomes: np.ndarray, share: np.ndarray, metric: str) -> Point:
    """All draws of one size (draws, n); of all labels, the draws are one and the same."""
    distinct = outcomes if (outcomes != outcomes[0]).any() else outcomes[:1]
    return Point(labels, *stats.interval(distinct, share, shares=figures.is_share(metric)))


def _saved(
    numbers: Sequence[int], scores: np.ndarray, drawn: np.ndarray, made: np.ndarray, share: np.ndarray, draws: int
) -> tuple[float, float, float]:
    """Labels that transfer needs fewer than all to score what a row does with all of them: mean, low, high."""
    each = made.mean(0)
    goals = curves.resampled(np.broadcast_to(each, (1, draws, len(each))), share)[:, 0]
    found, spread = curves.reached(numbers, scores, [each @ share]), curves.reached(numbers, drawn, goals)
    spare = [numbers[-1] - float(value) for value in (*found, *np.quantile(spread, (0.975, 0.025), method="nearest"))]
    mean, low, high = (max(0.0, value) for value in spare)
    return mean, min(low, mean), max(high, mean)


def _sentences(task: Task, run: Run, curve: Curve) -> list[str]:
    """How many labels transfer saved, and whether more would help."""
    all_, first, start = curve.transfer[-1].labels, curve.transfer[0].labels, run.plan.backbone.id
    told = []
    for name, (mean, low, high) in curve.saved.items():
        rival = "the same network from scratch" if name == "scratch" else take("baselines", name).CALLED
        if round(low) <= 0:
            told.append(
                f"That a linear probe of {start} needs fewer labels than {rival} is not shown: of {all_} it may save "
                f"none, or up to {high:.0f} (95 % interval)."
                if round(high) > 0
                else f"With all {all_} labels a linear probe of {start} does no better than {rival}: none was saved."
            )
        elif mean >= all_ - first:
            told.append(
                f"With {first} labels or fewer a linear probe of {start} does as well as {rival} with all {all_}: "
                f"transfer saved more than {all_ - first} labels (at least {low:.0f} with 97.5 % confidence)."
            )
        else:
            told.append(
                f"With about {all_ - mean:.0f} labels a linear probe of {start} does as well as {rival} with all "
                f"{all_}: transfer saved about {mean:.0f} labels (95 % interval {low:.0f} to {high:.0f})."
            )
    gain, least, most = (figures.gain(value, task.metric) for value in curve.doubling)
    half, sure = curve.transfer[-2].labels, float(least) > 0  # as it is shown
    unit = figures.points(task.metric)
    if curve.exponent:
        told.append(
            f"Twice the labels would add about {gain}{unit} (95 % interval {least} to {most}) to the probe, if its "
            f"curve goes on as from {first} to {all_} (error a + b n^-{curve.exponent:.2f})"
            f"{'.' if sure else ': whether they would add anything cannot be told.'}"
        )
    elif sure:
        told.append(
            f"From {half} to {all_} labels the probe gained {gain}{unit} (95 % interval {least} to {most}): another "
            "doubling is likely to add no more."
        )
    else:
        led = figures.lead(curve.doubling, task.metric, f"itself with {half}")
        told.append(f"With all {all_} labels the probe is {led}: what further labels would add cannot be told.")
    return told
