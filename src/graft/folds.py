"""Few labels: every labelled example is asked of a model that has not seen it, in repeated folds.

The test part as it was drawn is the first fold, and the run at hand its model. What is frozen runs once over every
example, whatever its folds: features are kept by content.
"""

import logging
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

import graft
from graft.adapt import run_key
from graft.clock import WHOLE, Clock
from graft.core import home
from graft.core.errors import TrainingDiverged
from graft.core.examples import kept_apart
from graft.core.keys import key
from graft.core.nouns import Budget, Part, Plan, Run, Sealed, Task
from graft.core.phases import SMALL
from graft.core.shelf import take
from graft.data.splits import folded, split
from graft.entries import Answers, Entry, Test, asked, complete, widened
from graft.rank import learned
from graft.seeds import APART, TRIES, reseeded

log = logging.getLogger("graft")
FOLDS = 5  # of which the test part is one: it is a fifth of what there is
REPEATS = 2  # of the folds, where the budget allows: they tell how much hangs on who is learned from
SHARE = 0.5  # of the budget's seconds
AGAIN = "asking them all a second time"
SPARED = ("linear_probe", "scratch_small")  # rows that it may leave out of them


def foldable(task: Task, run: Run, budget: Budget) -> bool:
    """Whether the rows are to be compared over folds. Looks at no test example.

    Where the test part is small and was drawn at random, with one label or value an example, the source has seen none
    of them, and the budget reaches four more runs of the plan.
    """
    head = take("heads", task.head)
    return (
        task.audit.drawn
        and not len(task.target)
        and len(set(task.test.ids)) < SMALL
        and not head.ROWS
        and getattr(head, "LABELLED", True)
        and more(task, run) <= SHARE * budget.seconds
        and not (run.plan.pretrained and learned(run.plan.backbone) & (task.train.marks | task.val.marks))
    )


def more(task: Task, run: Run) -> float:
    """Seconds that the folds' runs of a plan take, as long as the run at hand each; hardly any where all is exact."""
    if all(phase.solver == "exact" for phase in run.plan.every):
        return 0.0
    plans = 3 if len(task.source) else 1  # joint and source-only are runs of the same plan
    return plans * (FOLDS - 1) * run.cost.seconds


def folds(task: Task, test: Part, repeat: int) -> list[Task]:
    """The task with each fold for its test part; that of repetition 0 whose test part is the task's own comes first.

    Empty where some fold would leave a class with nothing to train on, or a part without an example.
    """
    own = joined(task.train, task.val)
    whose = kept_apart(own, test)
    if repeat == 0:
        made = [task, *_dealt(task, own, test, FOLDS - 1, 0, whose)]
    else:
        made = _dealt(task, joined(own, test), Part(), FOLDS, repeat, bool(whose))
    left_out = take("heads", task.head).KIND == "softmax" and any(
        set(one.train.targets) != set(task.train.targets) for one in made
    )
    hollow = any(not len(part) for one in made for part in (one.train, one.val, one.test))
    return [] if left_out or hollow else made


def joined(*parts: Part) -> Part:
    """The examples of several parts in one."""
    grouped = all(part.groups for part in parts if len(part))
    return Part(
        tuple(item for part in parts for item in part.items),
        tuple(target for part in parts for target in part.targets),
        tuple(id for part in parts for id in part.ids),
        tuple(group for part in parts for group in part.groups) if grouped else (),
    )


def distinct(part: Part) -> Part:
    """Each content once: a copy says nothing new."""
    return part.select({id: row for row, id in enumerate(part.ids)}.values())


def over_folds(
    task: Task, run: Run, entries: list[Entry], part: Part, budget: Budget, ranked: int, told: list[str], clock: Clock
) -> tuple[Test, list[Entry]] | None:
    """The entries over all labelled examples, by repetition; None where folds cannot be made or take too long.

    One of source data that diverges in a fold is left out, and `told` gains a sentence. So is what the verdict can do
    without, where there is no time for it.

    Args:
        part: the task's own test part, for which the entries have answered.
        ranked: backbones that the run's was chosen from.

    Raises:
        TrainingDiverged: the plan itself, or a row that does not transfer, does in some fold at every seed.
    """
    classical = sum(one.row.cost.cpu_seconds for one in entries if not one.row.transfers and not one.row.budget)
    if (FOLDS - 1) * classical > SHARE * budget.seconds:
        return None
    lasts, needed = [one.lasts for one in entries], [at for at, one in enumerate(entries) if one.row.name not in SPARED]
    if not clock.holds(WHOLE, (FOLDS - 1) * sum(lasts[at] for at in needed)):
        return None
    everything = distinct(joined(task.train, task.val, part))
    where = {id: row for row, id in enumerate(everything.ids)}
    answers, took = [list[Answers]() for _ in entries], [0.0] * len(entries)
    for repeat in range(REPEATS):
        rounds, spent = folds(task, part, repeat), 0.0
        if not rounds and not repeat:
            return None
        # The adapted one first, since gains are of pairs; the dearest last, which goes without where time is short.
        order = sorted(range(len(entries)), key=lambda at: (at > 0, not repeat and at not in needed, took[at]))
        for place, number in enumerate(order if rounds else ()):
            if repeat and spent + took[number] * FOLDS / (FOLDS - 1) > SHARE / 2 * budget.seconds:
                break
            one, ways = entries[number], len(rounds) - (not repeat)  # the run at hand is one of them
            ahead = ways * sum(lasts[at] for at in order[place + 1 :])
            if repeat and not answers[number]:
                continue
            if repeat and ways * lasts[number] > clock.left:
                clock.leave(AGAIN, ahead + ways * lasts[number])
                break
            if number not in needed and not repeat and not clock.holds(f"row {one.row.name}", ways * lasts[number]):
                continue
            try:
                each = []
                for at, fold in enumerate(rounds):
                    if fold is task:
                        each.append((one.answers[0], 0.0))
                        continue
                    left = ahead + (len(rounds) - at) * lasts[number]
                    which = f"{at + 1} of {FOLDS}{', the second time' if repeat else ''}"
                    log.info("fold %s: %s; the folds have about %.0f s to go", which, one.row.name, left)
                    each.append(_kept(one, fold, run))
                    lasts[number] = each[-1][1]
            except TrainingDiverged as error:
                if not number or not one.row.transfers:  # no verdict without these
                    raise
                told.append(f"Repetition {repeat + 1} of the folds goes without {one.row.name}: {error}")
                continue
            ids = [part.ids if fold is task else fold.test.ids for fold in rounds]
            answers[number].append(_ordered([said for said, _ in each], ids, where))
            took[number] = sum(seconds for _, seconds in each)
            spent += took[number]
    groups = everything.groups if kept_apart(joined(task.train, task.val), part) else ()
    test = asked(task, everything, groups=groups, folds=FOLDS, repeats=len(answers[0]), ranked=ranked)
    return test, [widened(one, task, test, each) for one, each in zip(entries, answers, strict=True) if each]


def once(task: Task, plan: Plan, seed: int) -> Answers:
    """What a run of the plan answers for the task's test part; the run is not kept, since nothing may start from it."""
    fold = seed + int(task.key[:4], 16)  # another seed for every fold
    seeds = [fold + at * APART for at in range(TRIES)]
    run = reseeded(task, plan, fold)
    answers = complete(task, run, task.test.part)
    ways = [replace(plan, phases=way, alternatives=(), choice="best") for way in plan.ways]
    for name in {run.key, *(run_key(task, way, seed) for way in (plan, *ways) for seed in seeds)}:
        shutil.rmtree(home.folder("runs", name), ignore_errors=True)
    return answers


def _dealt(task: Task, own: Part, always: Part, count: int, repeat: int, apart: object) -> list[Task]:
    """Tasks whose test parts are so many folds of these examples; those in `always` are learned from by all."""
    head, groups = take("heads", task.head), own.groups if apart else ()
    fold = np.array(folded(head.strata(own.targets), own.ids, task.seed + repeat, count, groups))
    return [_task(task, own, always, fold == k, f"{repeat}.{k}", bool(groups)) for k in range(count)]


def _task(task: Task, own: Part, always: Part, out: np.ndarray, name: str, apart: bool) -> Task:
    rest = joined(own.select(np.flatnonzero(~out)), always)
    strata = take("heads", task.head).strata(rest.targets)
    side = np.array(split(strata, rest.ids, task.seed, ("val",), rest.groups if apart else ()))
    return replace(
        task,
        train=rest.select(np.flatnonzero(side == "train")),
        val=rest.select(np.flatnonzero(side == "val")),
        test=Sealed(distinct(own.select(np.flatnonzero(out)))),
        key=key("fold", task.key, name),
    )


def _kept(one: Entry, fold: Task, run: Run) -> tuple[Answers, float]:
    """What the entry's like answers for a fold, and the seconds it took; kept, so that an interrupted verify goes on
    where it was, and ends as if it had not been interrupted.
    """
    name = key("fold", graft.__version__, run.key, one.row.name, one.row.run, fold.key)
    place = home.folder("results", "folds") / f"{name}.safetensors"
    if not place.is_file():
        began = time.monotonic()
        answers, y = one.again(fold)
        arrays = {"answers": np.ascontiguousarray(answers), "y": np.ascontiguousarray(y)}
        with home.placed(place) as draft:
            save_file(arrays, draft, metadata={"seconds": repr(time.monotonic() - began)})
    with safe_open(place, "np") as file:
        return (file.get_tensor("answers"), file.get_tensor("y")), float(file.metadata()["seconds"])


def _ordered(each: list[Answers], ids: Iterable[tuple[str, ...]], where: dict[str, int]) -> Answers:
    """The folds' answers one below the other, in the order of the whole."""
    order = np.argsort([where[id] for fold in ids for id in fold])
    answers, y = (np.concatenate(column)[order] for column in zip(*each, strict=True))
    return answers, y
