"""Task, Evidence → Plan: what to freeze, what to train, for how long, and why; nothing is run."""

from dataclasses import replace
from typing import TYPE_CHECKING

from graft.core.costs import boundary, forward, seconds, stored_bytes
from graft.core.errors import PlanError
from graft.core.nouns import Budget, Evidence, Phase, Plan, Task
from graft.core.shelf import function

if TYPE_CHECKING:
    from graft.model.chain import Chain

DTYPES = ("float32", "bfloat16")
BOUNDS = (
    ("smoothing", 0, 1),
    ("weight_decay", 0, 1e3),
    ("warmup", 0, 1),
    ("patience", 1, 1e9),
    ("backbone_lr", 0, 1e3),
)
BASE_BYTES = 900 << 20  # resident once torch, a backbone library and one backbone are loaded


def plan(task: Task, evidence: Evidence, strategy: str = "auto", budget: Budget = Budget()) -> Plan:
    """The strategy's plan, with what it is expected to cost.

    Args:
        strategy: a name on the `strategies` shelf, or the path of a .py file with a function of the file's name.

    Raises:
        PlanError: there is no such strategy.
    """
    decide = function("strategies", strategy)
    try:
        chosen = decide(task, evidence, budget)
    except Exception as error:
        if not strategy.endswith(".py"):
            raise
        raise PlanError(f"The strategy {strategy} fails: {type(error).__name__}: {error}.") from error
    if not isinstance(chosen, Plan):
        raise PlanError(f"The strategy {strategy} must return a Plan, not {type(chosen).__name__}.")
    return estimated(task, evidence, chosen, budget)


def estimated(task: Task, evidence: Evidence, chosen: Plan, budget: Budget) -> Plan:
    """The plan with stage names, boundaries, expected seconds, memory and disk; too much to store is streamed."""
    depth = len(evidence.stage_curve)
    phases = []
    for phase in chosen.phases:
        size = stored_bytes(task, evidence, phase)
        phases.append(replace(phase, stored=phase.stored and phase.views > 0 and size <= budget.bytes))
    kept = tuple(phases)
    return replace(
        chosen,
        phases=kept,
        form=evidence.form,
        stages=tuple(stage.stage for stage in evidence.stage_curve),
        boundaries=tuple(boundary(phase.train, depth) for phase in kept),
        seconds=seconds(task, evidence, kept),
        store_bytes=sum(stored_bytes(task, evidence, phase) for phase in kept if phase.stored),
        peak_bytes=BASE_BYTES + max((_activations(evidence, phase) for phase in kept), default=0),
        why=(*chosen.why, *evidence.why),
    )


def known(strategy: str) -> None:
    """Refuse a strategy that does not exist, before anything slow is done for it."""
    function("strategies", strategy)


def check(plan: Plan, chain: "Chain") -> None:
    """All the faults of a plan, together.

    Raises:
        PlanError: there are some.
    """
    faults = []
    for index, phase in enumerate(plan.phases):
        where = f"Phase {index}"
        try:
            chosen = chain.select(phase.train)
        except PlanError as error:
            faults.append(f"{where}: {error}")
            continue
        if not chosen:
            faults.append(f"{where} lets nothing learn: {', '.join(phase.train) or 'its list is empty'}.")
        if phase.solver not in ("adamw", "exact"):
            faults.append(f"{where}: there is no solver {phase.solver!r}; there are adamw and exact.")
        if phase.solver == "exact" and tuple(phase.train) != ("head",):
            faults.append(f"{where}: the exact solver fits the head alone, not {', '.join(phase.train)}.")
        if phase.solver == "adamw" and phase.steps < 1:
            faults.append(f"{where} takes {phase.steps} steps; it needs one at least.")
        if phase.solver == "adamw" and not phase.lr > 0:
            faults.append(f"{where}: lr is {phase.lr}; it must be above 0 (to freeze a part, leave it out of `train`).")
        if phase.dtype not in DTYPES:
            faults.append(f"{where}: dtype is {phase.dtype!r}; it must be {' or '.join(DTYPES)}.")
        for field, least, most in BOUNDS:
            if not least <= (value := getattr(phase, field)) <= most:
                faults.append(f"{where}: {field} is {value}; it must lie between {least:g} and {most:g}.")
        if phase.batch < 2:
            faults.append(f"{where}: batch is {phase.batch}; it must be 2 or more.")
        if phase.views < 0 or (phase.stored and phase.views == 0 and chain.freeze(phase.train)):
            faults.append(
                f"{where}: fresh views (views=0) cannot be stored; set `stored` to false, or views to 1 or more."
            )
    if plan.form.batch < 1 or plan.form.dtype not in DTYPES:
        faults.append(f"The form's batch must be 1 or more and its dtype {' or '.join(DTYPES)}: {plan.form}.")
    if not plan.phases:
        faults.append("The plan has no phases.")
    if faults:
        raise PlanError(" ".join(faults))


def explain(chosen: Plan) -> str:
    """A plan in plain sentences."""
    lines = [
        f"{chosen.strategy} on {chosen.backbone.id}, about {_time(chosen.seconds)}, "
        f"{chosen.store_bytes / 1e6:.0f} MB on disk, {chosen.peak_bytes / 1e9:.1f} GB of memory."
    ]
    for index, phase in enumerate(chosen.phases):
        lines.append(f"  phase {index}: {_phase(phase, boundary(phase.train, len(chosen.stages)), chosen)}")
    return "\n".join([*lines, *(f"  {sentence}" for sentence in chosen.why)])


def _phase(phase: Phase, first: int, chosen: Plan) -> str:
    if phase.solver == "exact":
        return "the head alone, by an exact solver on stored features; its strength by cross-validation."
    frozen = f"{first} of {len(chosen.stages)} stages stay frozen" if first else "nothing stays frozen"
    views = {0: "fresh augmented views", 1: "plain views"}.get(phase.views, f"{phase.views} views an example")
    kept = "stored" if phase.stored and first else "streamed" if first else "from the files"
    return (
        f"{', '.join(phase.train)} for {phase.steps} steps of {phase.batch}; {frozen}; {views}, {kept}; head rate "
        f"{phase.lr:g}, last stage {phase.lr * phase.backbone_lr:g}, ×{phase.lr_decay:g} per stage down; {phase.dtype}."
    )


def _activations(evidence: Evidence, phase: Phase) -> int:
    """Bytes alive in a training step: about six tensors of each learning stage's size, weights and moments."""
    first = boundary(phase.train, len(evidence.stage_curve))
    if phase.solver == "exact":
        return 8 * evidence.n_train * evidence.stage_curve[-1].bytes
    maps = sum(stage.bytes for stage in evidence.stage_curve[first:])
    weights = 4 * (evidence.backbone.params or 25_000_000)
    return 6 * phase.batch * maps + 4 * weights + phase.batch * int(forward(evidence) > 0) * 200_000


def _time(value: float) -> str:
    return f"{value:.0f} s" if value < 100 else f"{value / 60:.0f} min"
