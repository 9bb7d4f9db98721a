"""What verify compares: examples that are asked, and rows in the making with what each example adds to their score."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graft.adapt import logits
from graft.core import figures, home
from graft.core.events import tell
from graft.core.nouns import Cost, Part, Row, Run, Task
from graft.core.shelf import take
from graft.model import stats

Answers = tuple[np.ndarray, np.ndarray]  # and the targets beside them


@dataclass(frozen=True)
class Test:
    """The examples that are asked, and how."""

    part: Part
    share: np.ndarray  # what each counts for; see `stats.example_weights`
    groups: tuple[str, ...] = ()  # whom they come from, where others are meant by the score
    folds: int = 0  # 0: the test part alone; else each is asked of a model that has not seen it
    repeats: int = 1  # of the folds
    ranked: int = 1  # backbones that the adapted one was chosen from, by examples that folds test on

    @property
    def how(self) -> dict[str, Any]:
        """What intervals go by."""
        return {"folds": self.folds > 0, "groups": self.groups}


@dataclass(frozen=True)
class Entry:
    """A row in the making, by seed or repetition: its answers, and what every example adds to its score."""

    row: Row
    answers: list[Answers]
    outcomes: np.ndarray  # (seeds, n): for accuracy, whether an example is right
    again: Callable[[Task], Answers]  # what its like, fitted to another task, answers for the test part of that
    lasts: float  # wall seconds that its like is expected to take there
    notes: tuple[str, ...] = ()  # of runs that broke


def opened(task: Task, reason: str) -> tuple[str, ...]:
    """Why the test part was ever opened in this home, with this reason last; one that goes on counts once."""
    with home.lock("results", f"openings-{task.key}"):
        kept = home.home() / "openings" / f"{task.key}.txt"  # no kind of its own: clearing must not forget a look
        with home.storage():
            kept.parent.mkdir(exist_ok=True)
        before = kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else []
        reasons = (*(line for line in before if line != reason), reason)
        home.write_text(kept, "\n".join(reasons) + "\n")
    return reasons


def asked(task: Task, part: Part, **more: Any) -> Test:
    """These examples, with what each counts for in the task's metric."""
    head = take("heads", task.head)
    return Test(part, head.share(head.array(part.targets, len(task.outputs)), task.metric), **more)


def entry(
    name: str,
    task: Task,
    test: Test,
    answers: list[Answers],
    validation: float,
    cost: Cost,
    again: Callable[[Task], Answers],
    lasts: float | None = None,
    **more: Any,
) -> Entry:
    """The row of these answers, one pair a seed; its like `lasts` as long as it did, unless it is known better."""
    head, bounded = take("heads", task.head), figures.is_share(task.metric)
    outcomes = np.stack([np.asarray(head.outcomes(*each, task.metric, task.outputs), np.float64) for each in answers])
    score, low, high = stats.interval(outcomes, test.share, shares=bounded, **test.how)
    if bounded:  # pseudo-values reach beyond
        low, high = max(low, 0.0), min(high, 1.0)
    tell("compared", name=name)
    row = Row(name, score, low, high, validation, cost=cost, **more)
    return Entry(row, answers, outcomes, again, cost.seconds if lasts is None else lasts)


def widened(one: Entry, task: Task, test: Test, answers: list[Answers]) -> Entry:
    """The entry over other examples, asked of its likes."""
    wide = entry(one.row.name, task, test, answers, one.row.validation, one.row.cost, one.again)
    return replace(
        wide, notes=one.notes, row=replace(one.row, score=wide.row.score, low=wide.row.low, high=wide.row.high)
    )


def complete(task: Task, run: Run, part: Part) -> Answers:
    """A run's answers, with those for words that its network does not read, where every word counts."""
    answers, y = logits(task, run, part)
    head = take("heads", task.head)
    if not head.ROWS:
        return answers, y
    whole: Answers = head.complete(answers, y, head.array(part.targets, len(task.outputs)))
    return whole
