"""What comparing is expected to take, before and as it begins: arithmetic on what was measured."""

from graft.core.costs import step
from graft.core.nouns import Budget, Cost, Evidence, Plan, Ranking, Run, Task
from graft.expected import aligning
from graft.folds import FOLDS, REPEATS, SHARE, foldable
from graft.joint import rows_for
from graft.scratch import fewest

SEEDS = 3  # adapted runs that are compared, if the budget allows
SEED_SHARE, SCRATCH_SHARE = 0.4, 0.2  # of the budget's seconds: further seeds of the adapted run; training from scratch
CURVE_SHARE = 0.12  # of the budget's seconds, for the learning curve; as much again from scratch: a point or two


def foreseen(task: Task, plan: Plan, budget: Budget) -> float:
    """Wall seconds of comparing, whether or not a firm budget holds them: folds or further seeds, source data, scratch,
    the curve.

    The baselines, which nobody has timed, come on top.
    """
    run, plans = Run("", task.key, plan, task.seed, "", (), 0.0, Cost(seconds=plan.seconds)), len(rows_for(task))
    blank, curve = max(plan.seconds, SCRATCH_SHARE * budget.seconds), 2 * CURVE_SHARE * budget.seconds
    if foldable(task, run, budget):  # what is learned from scratch is learned again in folds, for as long together
        least, whole = (FOLDS - 1) * plan.seconds, FOLDS * plan.seconds
        again = sum(at * whole + least <= SHARE / 2 * budget.seconds for at in range(1 + plans)) * (REPEATS - 1)
        return 2 * blank + curve + least + (plans + again) * whole
    return blank + curve + (plans + further(task, plan, budget, plan.seconds)) * plan.seconds


def further(task: Task, plan: Plan, budget: Budget, seconds: float) -> int:
    """Further seeds that the budget affords at so many seconds each; a plan that is exact has only one outcome."""
    exact = all(phase.solver == "exact" for phase in plan.every)
    afford = 0 if exact else int(SEED_SHARE * budget.seconds / max(seconds, 1e-9))
    return max(0, min(SEEDS - 1, afford - len(rows_for(task))))  # which are runs of the same plan


def spent(task: Task, ranking: Ranking, plan: Plan, run: Run) -> float:
    """Seconds that went into choosing and adapting, as they were recorded: whoever asks again is told the same."""
    return ranking.seconds + max(run.cost.seconds, aligning(task, ranking[0], plan)[1])


def expectation(
    task: Task, plan: Plan, budget: Budget, spent: float = 0.0, evidence: Evidence | None = None, least: float = 0.0
) -> tuple[float, str]:
    """Wall seconds of comparing as it will be, and a sentence that says so and what of it no budget shortens.

    Args:
        spent: seconds of a firm budget that went, or will go, into what comes before.
        evidence: of the plan's backbone; from scratch it is fed no larger inputs, so it takes no longer than here.
        least: seconds from scratch where they are known better.
    """
    if evidence:
        least = fewest(task, evidence.prepare_seconds + step(evidence, 0))
    whole, left = foreseen(task, plan, budget), max(0.0, budget.seconds - spent)
    seconds = max(min(whole, left), least) if budget.firm else whole
    text = f"Proving it (graft verify) is expected to take about {seconds:.0f} s"
    if budget.firm and round(whole) > round(seconds):
        text += f", not the {whole:.0f} s that all of it would: what counts least is left out or shortened"
    if budget.firm and least > left:
        text += (
            f". {left:.0f} s are left of the budget, but training from scratch takes {least:.0f} s at least, and there "
            "is no verdict without it"
        )
    return seconds, f"{text}. Reading the data, the baselines, and writing and checking the model come on top."
