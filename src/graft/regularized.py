"""Which phases of a plan a regulariser suits, and the plan with it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from graft.core.costs import boundary
from graft.core.errors import PlanError
from graft.core.nouns import Phase, Plan
from graft.core.shelf import take

ALIGNMENTS = ("adabn", "coral", "mmd", "dann")


def parsed(entry: str) -> tuple[str, float | None]:
    """A regulariser's name and its strength: "l2_sp:0.01"; None where it is left to its file.

    Raises:
        PlanError: the strength is no number of 0 or more.
    """
    name, mark, text = entry.partition(":")
    try:
        strength = float(text) if mark else None
    except ValueError:
        strength = -1.0
    if strength is not None and not 0 <= strength < float("inf"):
        raise PlanError(f"{entry!r} is no regulariser: write NAME or NAME:STRENGTH, the strength a number from 0.")
    return name, strength


def chosen(phase: Phase) -> list[tuple[Any, float]]:
    """A phase's regularisers, as files of the shelf, with their strengths; those of strength zero are not there."""
    pairs = [(take("regularizers", name), strength) for name, strength in map(parsed, phase.regularizers)]
    each = [(file, file.STRENGTH if strength is None else strength) for file, strength in pairs]
    return [(file, strength) for file, strength in each if strength]


def needing(plan: Plan, what: str) -> bool:
    """Whether some regulariser of the plan needs this."""
    return any(what in file.NEEDS for phase in plan.every for file, _ in chosen(phase))


def regularized(plan: Plan, entries: Iterable[str], depth: int) -> Plan:
    """The plan with these regularisers in every phase that each of them suits.

    L2-SP stands in the place of weight decay, which would pull the same weights to zero.

    Raises:
        PlanError: one suits no phase of the plan.
    """
    for entry in entries:
        name, _ = parsed(entry)
        faults = [unfit(name, phase, plan, depth) for phase in plan.every]
        if all(faults):
            raise PlanError(f"The plan ({plan.strategy}) has no phase for {name}: {faults[-1]}")

        more = {phase: _with(phase, entry) for phase, fault in zip(plan.every, faults, strict=True) if not fault}
        plan = changed(plan, lambda phase, more=more: more.get(phase, phase))  # type: ignore[misc]
    return plan


def _with(phase: Phase, entry: str) -> Phase:
    name, strength = parsed(entry)
    decay = 0.0 if name == "l2_sp" and strength != 0 else phase.weight_decay
    return replace(phase, regularizers=(*phase.regularizers, entry), weight_decay=decay)


def changed(plan: Plan, change: Callable[[Phase], Phase]) -> Plan:
    """The plan with every phase changed, those of its alternatives too."""
    phases, *others = (tuple(change(phase) for phase in way) for way in plan.ways)
    return replace(plan, phases=phases, alternatives=tuple(others))


def aligns(entry: str) -> bool:
    """Whether a regulariser makes the domains' features alike."""
    return "target" in take("regularizers", parsed(entry)[0]).NEEDS


def without(plan: Plan) -> Plan:
    """The plan without what aligns domains."""
    return changed(plan, lambda p: replace(p, regularizers=tuple(e for e in p.regularizers if not aligns(e))))


def aligned(plan: Plan, depth: int) -> dict[str, Plan]:
    """The plan with each alignment in question alone: those that it names, or all, that suit one of its phases."""
    bare = without(plan)
    named = dict.fromkeys(entry for phase in plan.every for entry in phase.regularizers if aligns(entry))
    suited = [e for e in named or ALIGNMENTS if any(not unfit(parsed(e)[0], p, bare, depth) for p in bare.every)]
    return {entry: regularized(bare, (entry,), depth) for entry in suited}


def unfit(name: str, phase: Phase, plan: Plan, depth: int) -> str:
    """Why a regulariser does not suit a phase; empty where it does."""
    file, head, modality = take("regularizers", name), take("heads", plan.head), plan.backbone.modality
    if hasattr(file, "settle"):
        return f"{name} ends in the target's statistics; alternatives choose by the source's." * bool(plan.alternatives)
    if phase.solver == "exact":
        return f"the exact solver takes no steps that {name} could change."
    if phase.objective == "contrastive" and not hasattr(file, "penalty"):
        return f"the contrastive objective takes terms of the loss alone, and {name} is none."
    if "weights" in file.NEEDS and phase.adapter:
        return f"{name} holds weights near the pretrained ones, and {phase.adapter} leaves them as they are."
    if "pretrained" in file.NEEDS and not plan.pretrained:
        return f"{name} holds on to pretrained weights, and this plan has none."
    if head.ROWS and {"target", "features", "steady"} & {*file.NEEDS}:
        return f"{name} needs one vector an example, and {plan.head} has one for every word."
    if "steady" in file.NEEDS and take("modalities", modality).RAGGED:
        return f"{name} needs examples of one size, and those of {modality} differ."
    if "maps" in file.NEEDS and modality != "image":
        return f"{name} pastes parts of photos, and these are {modality}."
    if "cached" in file.NEEDS and not boundary(phase.train, depth):
        return f"{name} varies the output of frozen stages, and nothing is frozen."
    return ""
