"""Nouns that a person hands in as files."""

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import TypeVar

from graft.core import nouns
from graft.core.codec import from_json
from graft.core.errors import PlanError

T = TypeVar("T")
KINDS = (nouns.Task, nouns.Ranking, nouns.Plan, nouns.Run, nouns.Report, nouns.Artifact)


def noun(kind: type[T], file: str) -> T:
    """The noun of this kind in a JSON file; "-" is standard input.

    Raises:
        PlanError: the file cannot be read, or holds something else.
    """
    try:
        if file == "-":
            text = sys.stdin.read()
        else:
            with open(file, encoding="utf-8") as opened:
                text = opened.read()
    except OSError as error:
        raise PlanError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise PlanError(f"{file} is not the JSON of a {kind.__name__}.") from None
    if other := _other(kind, text):
        raise PlanError(f"{file} holds a {other}, and a {kind.__name__} is wanted here.")
    return from_json(kind, text)


def first(file: str, task: nouns.Task, ids: Sequence[str] | None, budget: nouns.Budget) -> nouns.Evidence:
    """Of a ranking in a JSON file the first, of these ids if any are named, that keeps the limits of the budget.

    Raises:
        PlanError: the ranking is of other data, or ranks none of these ids.
        BackboneError: none keeps the limits.
    """
    from graft.selector import within

    ranking = noun(nouns.Ranking, file)
    if ranking.task != task.key or not len(ranking):
        raise PlanError(f"{file} is not a ranking of these data and this split. Run `graft rank` on them again.")
    known = [one.backbone.id for one in ranking.evidence]
    if not (found := [one for one in ranking.evidence if one.backbone.id in (ids or known)]):
        raise PlanError(f"{file} does not rank {', '.join(ids or ())}. It ranks {', '.join(known)}.")
    return within(found, budget)


def _other(kind: type, text: str) -> str:
    """The name of the noun that this JSON is, where it is another one."""
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        for each in KINDS:
            needed = {field.name for field in fields(each) if field.default is MISSING}
            if each is not kind and isinstance(found, dict) and needed <= found.keys():
                return each.__name__
    return ""
