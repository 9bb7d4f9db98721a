"""Task, Run → Report: was transferring better than not transferring, by how much, how surely? Opens the test part."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import graft
from graft.adapt import adapt, belongs
from graft.clock import WHOLE, Clock
from graft.confidence import calibrated
from graft.core import home
from graft.core.codec import from_json, to_json
from graft.core.costs import OPENING
from graft.core.errors import DataError, TrainingDiverged
from graft.core.events import aside
from graft.core.examples import kept_apart
from graft.core.keys import key
from graft.core.nouns import Budget, Cost, Part, Plan, Report, Row, Run, Task
from graft.core.phases import exact_head
from graft.core.shelf import take
from graft.curve import charted
from graft.entries import Answers, Entry, Test, asked, complete, entry, opened
from graft.folds import FOLDS, distinct, foldable, joined, more, once, over_folds
from graft.forgetting import forgotten
from graft.joint import beside, rows_for
from graft.meter import Meter
from graft.proof import CURVE_SHARE, SCRATCH_SHARE, expectation, further
from graft.rank import ranked, unknown
from graft.rivals import answered, described, fitted, fitting
from graft.scratch import Blank, blank, scratch, smaller, sweep
from graft.seeds import dead, reseeded
from graft.verdict import judged

log = logging.getLogger("graft")
SMALLER_SHARE = 0.25  # of the time from scratch: the smaller network, where there is one


def verify(task: Task, run: Run, budget: Budget = Budget(firm=False), spent: float = 0.0) -> Report:
    """Compare the adapted model with everything that does not transfer, on examples that none of them has seen.

    Rows: the adapted model over several seeds, its linear probe, the `baselines` of the modality, the same architecture
    from random weights and a smaller one, with learning rates of their own and a stated budget; where there are source
    data, the plan taught source and target together, and the source alone. They are asked about
    the untouched test part; where that is small, about every labelled example, in folds. Gains are paired by example
    (bootstrap over examples and seeds). Positive: the interval of the gain over every row that does not transfer lies
    above zero. Negative: that over one of them lies below zero (level corrected for their number). A row from scratch
    that is still improving cannot carry a positive verdict: a finished one must be beaten too.

    A firm budget is kept as far as it can be: the run at hand, the baselines, some training from scratch and the rows
    of source data are there in any case. Where time is short, these are left out or shortened, the first of them first:
    the learning curve; asking every example a second time; further seeds; the smaller network; training from scratch;
    folds. The report says what was left out, and what it would have taken.

    Args:
        budget: of the whole path; its seconds size the parts. If it is firm, as one that is named is, it is kept.
        spent: seconds of it that went into choosing and adapting; 0 if all of them are for this.
    """
    Budget.needed(budget)
    belongs(task, run)
    if run.plan.pretrained:
        unknown(task, run.plan.backbone)
    name = key(
        "verify",
        graft.__version__,
        task.key,
        run.key,
        run.plan.looks,
        run.plan.trials,
        budget.seconds,
        budget.firm and round(spent, 3),
        fitting(task),
        ranked(task),
    )
    if (kept := home.recall("verify", name, Report)) and not all(_there(row) for row in kept.rows):
        home.forget("verify", name)  # `graft cache --clear runs` took what it says can be shipped
    with aside():
        return home.remember("verify", name, Report, lambda: _verify(task, run, budget, Clock(budget, spent)))


def _there(row: Row) -> bool:
    return not row.run or (home.home() / "runs" / row.run / "weights.safetensors").is_file()


def _verify(task: Task, run: Run, budget: Budget, clock: Clock) -> Report:
    net, taught = blank(task, run), rows_for(task)
    least = net.least(task)
    log.info("%s", expectation(task, run.plan, budget, clock.spent, least=least)[1])
    folding = (FOLDS - 1) * ((1 + len(taught)) * run.cost.seconds + least)
    several = foldable(task, run, budget) and clock.holds(WHOLE, folding, least)  # before any test example is seen
    openings = opened(task, f"verify: the run {run.key} beside what does not transfer, {budget.seconds:g} s")
    part = distinct(task.test.open(openings[-1]))
    whose = kept_apart(joined(task.train, task.val), part)
    test = asked(task, part, groups=part.groups if whose else ())
    runs, broken = [run], list[str]()
    adapted = _transferred("adapted", task, runs, test)
    others = [_baseline(name, task, test) for name in fitting(task)]
    clock.lap("the baselines")
    ahead = len(taught) * adapted.lasts
    if several:
        ahead += (FOLDS - 1) * (ahead + sum(one.lasts for one in (adapted, *others)))
    others += _scratches(task, run, test, net, budget, clock, ahead, 1 + several)
    clock.lap("training from scratch")
    if any(phase.solver != "exact" for phase in run.kept):  # else it is what the adapted one is
        log.info("linear probe: the head alone, to compare with")
        probe = Plan(run.plan.backbone, run.plan.head, "linear_probe", (exact_head(task),), run.plan.form)
        others.append(_transferred("linear_probe", task, [adapt(task, probe, run.seed)], test))
    if len(task.source) and not taught:
        broken.append("There are no rows joint and source_only, since too little of the source can be learned from.")
    for sourced, of in taught.items():
        try:
            others.append(_transferred(sourced, task, [reseeded(of(task), run.plan, run.seed)], test, of))
        except (TrainingDiverged, DataError) as error:  # at every seed; targets that do not vary
            broken.append(f"There is no row {sourced}, since it could not be trained: {error}")
    clock.lap("other rows that transfer")
    if WHOLE not in clock.out and not several and foldable(task, run, replace(budget, seconds=math.inf)):
        if budget.firm:
            clock.leave(WHOLE, more(task, run))
        else:
            broken.append(
                f"In folds, each of all {len(task.train) + len(task.val) + len(part)} labelled examples would have "
                f"been asked, and smaller gains shown; at {run.cost.seconds:.0f} s a run that takes too long."
            )
    alone = {entry.row.name: entry.answers[0] for entry in (adapted, *others)}
    wide = _wide(task, run, [adapted, *others], part, budget, broken, clock) if several else None
    clock.lap("folds")
    if not wide:  # seeds stand for folds
        runs, also = _seeds(task, run, budget, clock)
        adapted, broken = _transferred("adapted", task, runs, test) if len(runs) > 1 else adapted, broken + also
        clock.lap("further seeds")
    measured = [(entry.row, entry.outcomes) for entry in (adapted, *others)]
    over, (adapted, *others) = wide or (test, [adapted, *others])
    adapted = replace(adapted, notes=(*adapted.notes, *broken))
    report = forgotten(task, run, beside(task, judged(task, run, runs, adapted, others, over, openings)))
    clock.lap("the verdict")
    # The curve and the calibration are of the models that there are, on the test part alone.
    report = charted(task, run, report, part, test.share, measured, CURVE_SHARE * budget.seconds, clock)
    clock.lap("the learning curve")
    report = calibrated(task, report, alone[report.ships])
    clock.lap("the verdict")
    out, notes, parts = tuple(clock.out), (*clock.told(), *report.notes), tuple(clock.parts.values())
    return replace(report, left_out=out, notes=notes, spent=parts)


def _scratches(
    task: Task, run: Run, test: Test, net: Blank, budget: Budget, clock: Clock, ahead: float, times: int
) -> list[Entry]:
    """The adapted network from random weights and, where it is large and there is time, a smaller one.

    Args:
        ahead: seconds of what is yet to come and counts more than that they train longer than they must.
        times: what they take in the end, as a multiple of what they take now; folds take as long again.
    """
    trials = max(ranked(task), run.plan.trials, 1 + len(run.plan.alternatives))  # that transfer had
    whole = max(run.cost.seconds, SCRATCH_SHARE * budget.seconds)
    little, share = smaller(task, run, net), SMALLER_SHARE * times * whole
    if little and not clock.holds("a smaller network from scratch", share, ahead + times * whole - share):
        little = None
    least, room = net.least(task), (clock.left - ahead) / times
    sweeping = least + OPENING * len(sweep(trials))
    seconds, short = min(whole, max(least, room)), room < sweeping
    if seconds < whole or short:
        clock.leave("longer training from scratch, at more rates", times * (max(whole, sweeping) - seconds))
    if not little:
        return [scratch(task, run, test, net, seconds, trials, short)]
    small = scratch(task, run, test, little, SMALLER_SHARE * seconds, trials, short)
    return [scratch(task, run, test, net, (1 - SMALLER_SHARE) * seconds, trials, short), small]


def _wide(
    task: Task, run: Run, entries: list[Entry], part: Part, budget: Budget, told: list[str], clock: Clock
) -> tuple[Test, list[Entry]] | None:
    """The entries over folds; None where these are given up, and `told` why."""
    try:
        wide = over_folds(task, run, entries, part, budget, ranked(task), told, clock)
        why = "a class would be missing from one, or they would take too long"
        if not wide and WHOLE in clock.out:  # which says itself that it was left out
            return None
    except TrainingDiverged as error:
        wide, why = None, f"training diverged in one of them at every seed: {error}"
    if not wide:
        told.append(f"Folds were foreseen and given up ({why.rstrip('.')}): the test part alone was asked.")
    return wide


def _seeds(task: Task, run: Run, budget: Budget, clock: Clock) -> tuple[list[Run], list[str]]:
    """The run, and further seeds of its plan while the budget lasts.

    Beside them a sentence on each that could not be trained, nor the seeds that stood in for it.
    """
    runs, broken = [run], list[str]()
    for extra in range(1, last := 1 + further(task, run.plan, budget, run.cost.seconds)):
        if run.cost.seconds > clock.left:
            clock.leave("further seeds", (last - extra) * run.cost.seconds)
            break
        log.info("seed %d of %d", extra + 1, last)
        try:
            runs.append(reseeded(task, run.plan, run.seed + extra))
        except TrainingDiverged as error:
            broken.append(
                f"Seed {run.seed + extra} of {run.plan.strategy}, and those tried in its place, diverged: the adapted "
                f"row is the mean of the others alone, and looks better than this plan on a new seed would. {error}"
            )
    return runs, broken


def _transferred(
    name: str, task: Task, runs: list[Run], test: Test, of: Callable[[Task], Task] = lambda fold: fold
) -> Entry:
    answers = [complete(task, run, test.part) for run in runs]
    mean = Cost(
        seconds=float(np.mean([run.cost.seconds for run in runs])),
        cpu_seconds=float(np.mean([run.cost.cpu_seconds for run in runs])),
        peak_bytes=max(run.cost.peak_bytes for run in runs),
    )
    score, plan, seed = float(np.mean([run.score for run in runs])), runs[0].plan, runs[0].seed
    about = {"transfers": True, "run": runs[0].key}
    made = entry(name, task, test, answers, score, mean, lambda fold: once(of(fold), plan, seed), None, **about)
    # Whoever hands a dead run to verify is told: it is what would ship.
    broken = [f"The run at hand is dead: {why}" for one in runs[:1] if not one.notes and (why := dead(task, one))]
    return replace(made, notes=(*broken, *(note for run in runs for note in run.notes)))


def _baseline(name: str, task: Task, test: Test) -> Entry:
    """A file of the `baselines` shelf, fitted on the training part; its state is kept, to be shipped if it wins."""
    meter, method, head = Meter(), take("baselines", name), take("heads", task.head)
    state_key = key("baseline", graft.__version__, name, task.key)
    place = home.folder("runs", state_key) / "weights.safetensors"
    if not place.is_file():
        log.info("%s: %s, to compare with", name, method.CALLED)
        state = {at: np.ascontiguousarray(array) for at, array in fitted(name, task).items()}  # written as it lies
        with home.placed(place) as draft:
            save_file(state, draft, metadata={"cost": to_json(meter.cost())})
    with safe_open(place, "np") as file:
        cost = from_json(Cost, file.metadata()["cost"])
    state = load_file(place)
    val, answers = (
        answered(head, task, each, method.predict(state, described(name, task, each))) for each in (task.val, test.part)
    )

    def again(fold: Task) -> Answers:
        part = fold.test.part
        return answered(head, fold, part, method.predict(fitted(name, fold), described(name, fold, part)))

    score = head.metric(*val, task.metric, task.outputs)
    return entry(name, task, test, [answers], score, cost, again, run=state_key)
