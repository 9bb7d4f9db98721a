"""What a command line asks for, as nouns: read from files that were handed in, or made."""

import argparse
import sys
from typing import Any

from graft import words
from graft.given import first, noun


def task(a: argparse.Namespace) -> Any:
    """The data, read; what was found goes to standard error."""
    from graft.load import load

    found = load(a.data, seed=a.seed, **asked(a))
    if not a.quiet and not (a.command == "load" and sys.stdout.isatty()):  # there it is the answer itself
        print(words.task(found), file=sys.stderr)
    return found


def asked(a: argparse.Namespace) -> dict[str, Any]:
    """How the data are to be read, where they do not tell."""
    names = ("modality", "head", "path", "label", "group", "time", "target", "source")
    named = {name: getattr(a, name) for name in names}
    return named | dict(a.read or [])


def ids(a: argparse.Namespace) -> list[str] | None:
    """The candidates that were named; None where none were."""
    return [id for group in a.backbone for id in group] if a.backbone else None


def budget(a: argparse.Namespace) -> Any:
    """What it may cost: firm if it was named."""
    from graft.core.nouns import Budget

    limits = {"params": a.max_params, "latency": a.max_latency, "licenses": tuple(a.license or ())}
    return Budget(a.budget, **limits) if a.budget else Budget(firm=False, **limits)


def ranking(a: argparse.Namespace, task: Any) -> Any:
    """The candidates, measured."""
    from graft.rank import rank

    return rank(task, ids(a), budget(a), seed=a.seed)


def evidence(a: argparse.Namespace, task: Any) -> Any:
    """What is known of the backbone that comes first, in the ranking that was handed in or in a new one."""
    if file := getattr(a, "ranking", None):
        return first(file, task, ids(a), budget(a))
    return ranking(a, task)[0]


def run(a: argparse.Namespace, task: Any) -> tuple[Any, float]:
    """The run that was handed in, or one of the plan that was, or of a new one; and what making it took of the budget.

    What was handed in took nothing of it, whenever that was made.
    """
    from graft.align import align
    from graft.core.nouns import Plan, Run
    from graft.plan import known, plan
    from graft.proof import spent
    from graft.seeds import reseeded

    if getattr(a, "finished", None):
        return noun(Run, a.finished), 0.0
    if a.plan:
        ranked, chosen = None, noun(Plan, a.plan)
    else:
        known(a.strategy, a.regularize)
        ranked = ranking(a, task)
        chosen = plan(task, ranked[0], a.strategy, budget(a), a.regularize)
    made = reseeded(task, align(task, chosen, a.seed) if len(task.target) else chosen, a.seed)
    return made, spent(task, ranked, chosen, made) if ranked else made.cost.seconds
