"""Task, Run → Report: was transferring better than not transferring, by how much, how surely? Opens the test part."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import graft
from graft.adapt import adapt, belongs
from graft.confidence import calibrated
from graft.core import home
from graft.core.codec import from_json, to_json
from graft.core.errors import DataError, TrainingDiverged
from graft.core.examples import kept_apart
from graft.core.keys import key
from graft.core.nouns import Budget, Cost, Part, Plan, Report, Row, Run, Task
from graft.core.phases import exact_head
from graft.core.shelf import take
from graft.curve import charted
from graft.entries import Answers, Entry, Test, asked, complete, entry, opened
from graft.folds import FOLDS, REPEATS, SHARE, distinct, foldable, joined, more, once, over_folds
from graft.forgetting import forgotten
from graft.joint import beside, rows_for
from graft.meter import Meter
from graft.rank import ranked, unknown
from graft.rivals import answered, described, fitted, fitting
from graft.scratch import scratch, smaller
from graft.seeds import dead, reseeded
from graft.verdict import judged

SEEDS = 3  # adapted runs that are compared, if the budget allows
SEED_SHARE, SCRATCH_SHARE = 0.4, 0.2  # of the budget's seconds: further seeds of the adapted run; training from scratch
CURVE_SHARE = 0.12  # of the budget's seconds, for the learning curve; as much again from scratch: a point or two
SMALLER_SHARE = 0.25  # of the time from scratch: the smaller network, where there is one


def verify(task: Task, run: Run, budget: Budget = Budget()) -> Report:
    """Compare the adapted model with everything that does not transfer, on examples that none of them has seen.

    Rows: the adapted model over several seeds, its linear probe, the `baselines` of the modality, the same architecture
    from random weights and a smaller one, with learning rates of their own and a stated budget; where there are source
    data, the plan taught source and target together, and the source alone. They are asked about
    the untouched test part; where that is small, about every labelled example, in folds. Gains are paired by example
    (bootstrap over examples and seeds). Positive: the interval of the gain over every row that does not transfer lies
    above zero. Negative: that over one of them lies below zero (level corrected for their number). A row from scratch
    that is still improving cannot carry a positive verdict: a finished one must be beaten too.
    """
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
        fitting(task),
        ranked(task),
    )
    if (kept := home.recall("verify", name, Report)) and not all(_there(row) for row in kept.rows):
        home.forget("verify", name)  # `graft cache --clear runs` took what it says can be shipped
    return home.remember("verify", name, Report, lambda: _verify(task, run, budget))


def foreseen(task: Task, plan: Plan, budget: Budget) -> float:
    """Wall seconds that this is expected to take of a plan: folds or further seeds, source data, scratch, the curve.

    The baselines, which nobody has timed, come on top.
    """
    run, plans = Run("", task.key, plan, task.seed, "", (), 0.0, Cost(seconds=plan.seconds)), len(rows_for(task))
    blank, curve = max(plan.seconds, SCRATCH_SHARE * budget.seconds), 2 * CURVE_SHARE * budget.seconds
    if foldable(task, run, budget):  # what is learned from scratch is learned again in folds, for as long together
        least, whole = (FOLDS - 1) * plan.seconds, FOLDS * plan.seconds
        again = sum(at * whole + least <= SHARE / 2 * budget.seconds for at in range(1 + plans)) * (REPEATS - 1)
        return 2 * blank + curve + least + (plans + again) * whole
    exact = all(phase.solver == "exact" for phase in plan.every)
    afford = 0 if exact else int(SEED_SHARE * budget.seconds / max(plan.seconds, 1e-9))
    return blank + curve + (plans + max(0, min(SEEDS - 1, afford - plans))) * plan.seconds


def _there(row: Row) -> bool:
    return not row.run or (home.home() / "runs" / row.run / "weights.safetensors").is_file()


def _verify(task: Task, run: Run, budget: Budget) -> Report:
    several = foldable(task, run, budget)  # decided before any test example is seen
    openings = opened(task, f"verify: the run {run.key} beside what does not transfer, {budget.seconds:g} s")
    part = distinct(task.test.open(openings[-1]))
    whose = kept_apart(joined(task.train, task.val), part)
    test = asked(task, part, groups=part.groups if whose else ())
    runs, broken = ([run], []) if several else _seeds(task, run, budget)
    adapted = _transferred("adapted", task, runs, test)
    others = [_baseline(name, task, test) for name in fitting(task)]
    seconds = max(run.cost.seconds, SCRATCH_SHARE * budget.seconds)
    trials = max(ranked(task), run.plan.trials, 1 + len(run.plan.alternatives))  # that transfer had
    small = smaller(task, run, test, SMALLER_SHARE * seconds, trials)
    others.append(scratch(task, run, test, (1 - SMALLER_SHARE) * seconds if small else seconds, trials))
    others += [small] if small else []
    if any(phase.solver != "exact" for phase in run.plan.every):
        probe = Plan(run.plan.backbone, run.plan.head, "linear_probe", (exact_head(task),), run.plan.form)
        others.append(_transferred("linear_probe", task, [adapt(task, probe, run.seed)], test))
    taught = rows_for(task)
    if len(task.source) and not taught:
        broken.append("There are no rows joint and source_only, since too little of the source can be learned from.")
    for sourced, of in taught.items():
        try:
            others.append(_transferred(sourced, task, [reseeded(of(task), run.plan, run.seed)], test, of))
        except (TrainingDiverged, DataError) as error:  # at every seed; targets that do not vary
            broken.append(f"There is no row {sourced}, since it could not be trained: {error}")
    if not several and foldable(task, run, replace(budget, seconds=math.inf)):
        broken.append(
            f"In folds, each of all {len(task.train) + len(task.val) + len(part)} labelled examples would have been "
            f"asked, and smaller gains shown; they take a budget of {more(task, run) / SHARE:.0f} s or more."
        )
    alone = {entry.row.name: entry.answers[0] for entry in (adapted, *others)}
    wide = _wide(task, run, [adapted, *others], part, budget, broken) if several else None
    if several and not wide:  # the seeds that folds were to stand for
        runs, also = _seeds(task, run, budget)
        adapted, broken = _transferred("adapted", task, runs, test), broken + also
    measured = [(entry.row, entry.outcomes) for entry in (adapted, *others)]
    over, (adapted, *others) = wide or (test, [adapted, *others])
    adapted = replace(adapted, notes=(*adapted.notes, *broken))
    report = forgotten(task, run, beside(task, judged(task, run, runs, adapted, others, over, openings)))
    # The curve and the calibration are of the models that there are, on the test part alone.
    report = charted(task, run, report, part, test.share, measured, CURVE_SHARE * budget.seconds)
    return calibrated(task, report, alone[report.ships])


def _wide(
    task: Task, run: Run, entries: list[Entry], part: Part, budget: Budget, told: list[str]
) -> tuple[Test, list[Entry]] | None:
    """The entries over folds; None where these are given up, and `told` why."""
    try:
        wide = over_folds(task, run, entries, part, budget, ranked(task), told)
        why = "a class would be missing from one, or they would take too long"
    except TrainingDiverged as error:
        wide, why = None, f"training diverged in one of them at every seed: {error}"
    if not wide:
        told.append(f"Folds were foreseen and given up ({why.rstrip('.')}): the test part alone was asked.")
    return wide


def _seeds(task: Task, run: Run, budget: Budget) -> tuple[list[Run], list[str]]:
    """The run, and further seeds of its plan while the budget lasts; a plan that is exact has only one outcome.

    Beside them a sentence on each that could not be trained, nor the seeds that stood in for it.
    """
    runs, broken = [run], list[str]()
    exact = all(phase.solver == "exact" for phase in run.plan.every)
    afford = 0 if exact else int(SEED_SHARE * budget.seconds / max(run.cost.seconds, 1e-9))
    afford -= len(rows_for(task))  # which are runs of the same plan
    for extra in range(1, min(SEEDS, 1 + afford)):
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
    more = {"transfers": True, "run": runs[0].key}
    made = entry(name, task, test, answers, score, mean, lambda fold: once(of(fold), plan, seed), **more)
    # Whoever hands a dead run to verify is told: it is what would ship.
    broken = [f"The run at hand is dead: {why}" for one in runs[:1] if not one.notes and (why := dead(task, one))]
    return replace(made, notes=(*broken, *(note for run in runs for note in run.notes)))


def _baseline(name: str, task: Task, test: Test) -> Entry:
    """A file of the `baselines` shelf, fitted on the training part; its state is kept, to be shipped if it wins."""
    meter, method, head = Meter(), take("baselines", name), take("heads", task.head)
    state_key = key("baseline", graft.__version__, name, task.key)
    place = home.folder("runs", state_key) / "weights.safetensors"
    if not place.is_file():
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
