"""Task, Evidence → Plan: what to freeze, what to train, for how long, and why; nothing is run."""

from dataclasses import replace

from graft.core.costs import boundary, forward, seconds, stored_bytes
from graft.core.errors import PlanError
from graft.core.nouns import Budget, Evidence, Phase, Plan, Task
from graft.core.shelf import function

BASE_BYTES = 900 << 20  # resident once torch, a backbone library and one backbone are loaded


def plan(task: Task, evidence: Evidence, strategy: str = "auto", budget: Budget = Budget()) -> Plan:
    """The strategy's plan, with what it is expected to cost.

    Args:
        strategy: a name on the `strategies` shelf, or the path of a .py file with a function of the file's name.

    Raises:
        PlanError: there is no such strategy.
    """
    chosen = function("strategies", strategy)(task, evidence, budget)
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
