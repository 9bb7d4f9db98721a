"""Task, Evidence → Plan: what to freeze, what to train, for how long, and why; nothing is run."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from graft.core.costs import boundary, stages, stored_bytes
from graft.core.errors import PlanError, nearest
from graft.core.nouns import Budget, Evidence, Form, Phase, Plan, Task
from graft.core.shelf import function, names, take
from graft.expected import aligning, expected, held_beside, stored_beside
from graft.regularized import parsed, regularized, unfit

if TYPE_CHECKING:
    from graft.model.chain import Chain

DTYPES, RUNTIMES = ("float32", "bfloat16"), ("eager", "openvino")
BOUNDS = (
    ("smoothing", 0, 1),
    ("weight_decay", 0, 1e3),
    ("warmup", 0, 1),
    ("patience", 1, 1e9),
    ("backbone_lr", 0, 1e3),
    ("lr_decay", 0, 10),
    ("views", 0, 1e6),
)
CHOICES = {
    "best": "the one that is best on validation is kept",
    "soup": "those whose mean is no worse on validation are averaged",
    "sure": "the last is kept, unless another is a standard error better on validation",
    "line": "the point between the two that is best on validation is kept",
}
SELECTORS, SOLVERS, OBJECTIVES = ("head", "norm", "bias"), ("adamw", "exact"), ("head", "contrastive")
EXACT_BYTES = {"softmax": 2 * 4, "sigmoid": 2 * 4}  # an exact head takes for a value: it, and it turned; in single
DOUBLE_BYTES = 3 * 8  # other heads take: in double precision, with what is computed of it
BASE_BYTES = 900 << 20  # resident once torch, a backbone library and one backbone are loaded
EXAMPLE_BYTES = 3000  # of an example as `load` leaves it: where it lies, its hash, its target (benchmarks/growth.py)


def plan(
    task: Task,
    evidence: Evidence,
    strategy: str | Callable[[Task, Evidence, Budget], Plan] = "auto",
    budget: Budget = Budget(),
    regularizers: Sequence[str] = (),
) -> Plan:
    """The strategy's plan, with what it is expected to cost.

    Args:
        strategy: a name on the `strategies` shelf, the path of a .py file with a function of the file's name, or such
            a function.
        regularizers: names on the `regularizers` shelf, perhaps with a strength ("l2_sp:0.01"), for every phase that
            they suit; none by default.

    Raises:
        PlanError: there is no such strategy, or what it plans cannot be carried out.
    """
    Budget.needed(budget)
    own = callable(strategy) or strategy.endswith(".py")
    decide = strategy if callable(strategy) else function("strategies", strategy)
    name = getattr(strategy, "__name__", strategy)
    try:
        chosen = decide(task, evidence, budget)
    except Exception as error:
        if not own:
            raise
        raise PlanError(f"The strategy {name} fails: {type(error).__name__}: {error}.") from error
    if not isinstance(chosen, Plan):
        raise PlanError(f"The strategy {name} must return a Plan, not {type(chosen).__name__}.")
    chosen = regularized(chosen, regularizers, len(evidence.stage_curve))
    if found := faults(chosen, len(evidence.stage_curve)):
        raise PlanError(f"The strategy {name}: " + " ".join(found))
    return estimated(task, evidence, chosen, budget)


def estimated(task: Task, evidence: Evidence, chosen: Plan, budget: Budget) -> Plan:
    """The plan with stage names, boundaries, expected seconds, memory and disk; too much to store is streamed."""
    depth = len(evidence.stage_curve)

    def kept(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        fitting = [p.views > 0 and stored_bytes(task, evidence, p) <= budget.bytes for p in phases]
        return tuple(replace(p, stored=p.stored and fits) for p, fits in zip(phases, fitting, strict=True))

    chosen = replace(chosen, phases=kept(chosen.phases), alternatives=tuple(kept(way) for way in chosen.alternatives))
    every = chosen.every
    stored = {(boundary(p.train, depth), p.views): stored_bytes(task, evidence, p) for p in every if p.stored}
    wanted, (tries, together) = expected(task, evidence, chosen), aligning(task, evidence, chosen)
    trying = f"Alignments with the target domain, {tries}, are tried when it is carried out: at most {_time(together)}."
    kept_bytes = sum(stored.values()) + stored_beside(task, evidence, chosen)
    each = EXACT_BYTES.get(take("heads", task.head).KIND, DOUBLE_BYTES)
    over = f"It is expected to take longer than the {budget.seconds:g} s that were asked for."
    return replace(
        chosen,
        form=evidence.form,
        stages=tuple(stage.stage for stage in evidence.stage_curve),
        boundaries=tuple(boundary(phase.train, depth) for phase in every),
        seconds=wanted,
        store_bytes=kept_bytes,
        # Stored rows are read through a map of their file, which counts as memory in use as long as there is room.
        peak_bytes=BASE_BYTES
        + EXAMPLE_BYTES * task.audit.found
        + max((_peak(evidence, p, evidence.form, each) + held_beside(evidence, p) for p in every), default=0)
        + kept_bytes,
        why=(
            *chosen.why,
            *([trying] if tries else []),
            *([over] if max(wanted, together) > budget.seconds else []),
            *evidence.why,
        ),
        suspects=evidence.suspects,
    )


def considered(
    task: Task, evidence: Evidence, budget: Budget = Budget(), regularizers: Sequence[str] = ()
) -> dict[str, Plan | str]:
    """Every strategy's plan, by name and quickest first, or why it has none for this task; nothing is run.

    `auto` is not among them: it takes one of these.
    """
    found: dict[str, Plan | str] = {}
    for name in names("strategies"):
        try:
            found[name] = plan(task, evidence, name, budget, regularizers)
        except PlanError as error:
            found[name] = str(error)
    del found["auto"]
    return dict(sorted(found.items(), key=lambda one: one[1].seconds if isinstance(one[1], Plan) else math.inf))


def known(strategy: str, regularizers: Sequence[str] = ()) -> None:
    """Refuse a strategy or a regulariser that does not exist, before anything slow is done for it."""
    function("strategies", strategy)
    for entry in regularizers:
        take("regularizers", parsed(entry)[0])


def check(plan: Plan, chain: "Chain") -> None:
    """Refuse a plan that this network cannot carry out.

    Raises:
        PlanError: all the plan's faults, together.
    """
    found = faults(plan, len(chain.stages))
    if not found:
        found = [
            f"Phase {index} lets nothing learn: {', '.join(phase.train)}."
            for index, phase in enumerate(plan.every)
            if not chain.select(phase.train)
        ]
    if found:
        raise PlanError(" ".join(found))


def faults(plan: Plan, depth: int) -> list[str]:
    """Everything about a plan that cannot be carried out on a backbone of this many stages."""
    found = [] if plan.phases else ["The plan has no phases."]
    try:
        take("modalities", plan.backbone.modality).parse(plan.backbone.input)
    except PlanError as error:
        found.append(str(error))
    kind = take("heads", plan.head)
    if not getattr(kind, "LABELLED", True) and any(p.solver != "exact" for p in plan.every):
        found.append(f"The head {plan.head} has no labels to train by: its one phase is exact (strategy linear_probe).")
    if any(p.objective == "contrastive" for p in plan.every) and (kind.KIND != "softmax" or kind.ROWS):
        found.append(f"The contrastive objective needs one class for each example; the head is {plan.head}.")
    if plan.choice not in CHOICES:
        found.append(f"There is no choice {plan.choice!r}; there are {', '.join(CHOICES)}.")
    if not all(plan.alternatives) or (plan.choice == "line" and len(plan.alternatives) != 1):
        found.append("Each alternative needs a phase, and a line one alternative: it has two ends.")
    for index, phase in enumerate(plan.every):
        found += [f"Phase {index}: {fault}" for fault in (*_faults(phase, depth), *_misfits(phase, plan, depth))]
    if plan.form.batch < 1 or plan.form.dtype not in DTYPES:
        found.append(f"The form's batch must be 1 or more and its dtype {' or '.join(DTYPES)}: {plan.form}.")
    if plan.form.runtime not in RUNTIMES:
        found.append(f"The form's runtime must be {' or '.join(RUNTIMES)}: {plan.form}.")
    return found


def _faults(phase: Phase, depth: int) -> list[str]:
    found = [] if phase.train else ["its list of what learns is empty."]
    for selector in phase.train:
        if (asked := stages(selector, depth)) is not None:
            if max(asked.start, asked.stop) > depth:
                found.append(f"{selector} is asked for, but the backbone has the stages 0 to {depth - 1}.")
        elif selector not in SELECTORS:
            found.append(f"there is no selector {selector!r}.{nearest(selector, (*SELECTORS, 'stages[0:]'))}")
    if phase.solver not in SOLVERS:
        found.append(f"there is no solver {phase.solver!r}; there are {' and '.join(SOLVERS)}.")
    if phase.objective not in OBJECTIVES:
        found.append(f"there is no objective {phase.objective!r}; there are {' and '.join(OBJECTIVES)}.")
    if phase.objective == "contrastive" and (phase.solver == "exact" or "head" in phase.train):
        found.append("the contrastive objective does not see the head: let stages alone learn, by adamw.")
    if phase.solver == "exact" and tuple(phase.train) != ("head",):
        found.append(f"the exact solver fits the head alone, not {', '.join(phase.train)}.")
    if phase.adapter:
        try:
            take("adapters", phase.adapter)
        except PlanError as error:
            found.append(str(error))
        if all(stages(selector, depth) is None for selector in phase.train):
            found.append(
                f"the adapter {phase.adapter} stands in no stage: let some learn, such as 'stages[{depth // 2}:]'."
            )
    if phase.solver != "exact" and phase.steps < 1:
        found.append(f"it takes {phase.steps} steps; it needs one at least.")
    if phase.solver != "exact" and not phase.lr > 0:
        found.append(f"lr is {phase.lr}; it must be above 0 (to freeze a part, leave it out of `train`).")
    if phase.dtype not in DTYPES:
        found.append(f"dtype is {phase.dtype!r}; it must be {' or '.join(DTYPES)}.")
    for field, least, most in BOUNDS:
        if not least <= (value := getattr(phase, field)) <= most:
            found.append(f"{field} is {value}; it must lie between {least:g} and {most:g}.")
    if phase.batch < 2:
        found.append(f"batch is {phase.batch}; it must be 2 or more.")
    if phase.stored and phase.views == 0 and boundary(phase.train, depth):
        found.append("fresh views (views=0) cannot be stored; set `stored` to false, or views to 1 or more.")
    return found


def _misfits(phase: Phase, plan: Plan, depth: int) -> list[str]:
    """What is wrong with a phase's regularisers."""
    found, names, mixing, comparing = [], list[str](), list[str](), list[str]()
    for entry in phase.regularizers:
        try:
            name, strength = parsed(entry)
            found += [fault] if (fault := unfit(name, phase, plan, depth)) else []
            file = take("regularizers", name)
            names.append(name)
            if strength != 0:
                comparing += [name] if "features" in file.NEEDS else []
                mixing += [name] if hasattr(file, "blend") and "steady" in file.NEEDS else []
        except PlanError as error:
            found.append(str(error))
    if len(mixing) > 1:
        found.append(f"{' and '.join(mixing)} both mix targets: keep one of them.")
    if mixing and comparing:  # what a mixed example is like is not what either of its two is
        found.append(f"{mixing[0]} mixes examples, and {comparing[0]} compares each with itself: keep one of them.")
    if twice := {name for name in names if names.count(name) > 1}:
        found.append(f"{', '.join(sorted(twice))} stands there twice: name it once.")
    return found


def explain(chosen: Plan) -> str:
    """A plan in plain sentences."""
    lines = [
        f"{chosen.strategy} on {chosen.backbone.id}, about {_time(chosen.seconds)}, "
        f"{chosen.store_bytes / 1e6:.0f} MB on disk, {chosen.peak_bytes / 1e9:.1f} GB of memory."
    ]
    for index, phase in enumerate(chosen.phases):
        lines.append(f"  phase {index}: {_phase(phase, boundary(phase.train, len(chosen.stages)), chosen)}")
    for way in chosen.alternatives:
        own = [phase for phase in way if phase not in chosen.phases] or way[-1:]
        lines += [f"  or:      {_phase(phase, boundary(phase.train, len(chosen.stages)), chosen)}" for phase in own]
    if chosen.alternatives:
        lines.append(f"  {len(chosen.alternatives) + 1} alternatives: {CHOICES[chosen.choice]}.")
    return "\n".join([*lines, *(f"  {sentence}" for sentence in chosen.why)])


def _phase(phase: Phase, first: int, chosen: Plan) -> str:
    if phase.solver == "exact":
        return "the head alone, by an exact solver on stored features; its strength by cross-validation."
    frozen = f"{first} of {len(chosen.stages)} stages stay frozen" if first else "nothing stays frozen"
    views = {0: "fresh augmented views", 1: "plain views"}.get(phase.views, f"{phase.views} views an example")
    kept = "stored" if phase.stored and first else "streamed" if first else "read anew"
    if phase.objective == "contrastive":
        return (
            f"{', '.join(phase.train)} learn for {phase.steps} steps of {phase.batch} that examples of one class "
            f"belong together; {frozen}; rate {phase.lr * phase.backbone_lr:g}; {phase.dtype}."
        )
    learns = ", ".join(phase.train) + (f" (through {phase.adapter})" if phase.adapter else "")
    return (
        f"{learns} for {phase.steps} steps of {phase.batch}; {frozen}; {views}, {kept}; head rate "
        f"{phase.lr:g}, last stage {phase.lr * phase.backbone_lr:g}, ×{phase.lr_decay:g} per stage down; {phase.dtype}"
        f"{''.join(f'; {entry}' for entry in phase.regularizers)}."
    )


def _peak(evidence: Evidence, phase: Phase, form: Form, each: int) -> int:
    """Bytes alive at once: the widest stage of the prefix, or what a training step keeps, with weights and moments.

    each: bytes that an exact head takes for each value of the features.
    """
    curve = evidence.stage_curve
    if not curve:
        return 0
    first = boundary(phase.train, len(curve))
    together = form.batch / evidence.rows  # examples that a frozen pass holds
    prefix = int(together * max((stage.saved for stage in curve[:first]), default=0))
    if phase.solver == "exact":
        return max(prefix, each * evidence.n_train * curve[-1].bytes // 4)
    weights = 4 * (evidence.backbone.params or 25_000_000)
    return (
        max(prefix, phase.batch * sum(stage.saved for stage in curve[first:])) + (1 if phase.adapter else 4) * weights
    )


def _time(value: float) -> str:
    return f"{value:.0f} s" if value < 100 else f"{value / 60:.0f} min"
