"""Runs of a plan's alternatives → one network: the best of them, or a mixture, chosen on validation."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
from safetensors.torch import load_file

from graft.build import examples, form_here
from graft.core import figures
from graft.core.costs import boundary
from graft.core.errors import TrainingDiverged
from graft.core.nouns import Cost, Epoch, Phase, Plan, Run, Task, tunes
from graft.features import features
from graft.learners.supervised import Objective, evaluate, predict
from graft.meter import Meter
from graft.model.chain import Chain
from graft.model.mixing import CHOICES, Rank, Shares, State, mixed

log = logging.getLogger("graft")


def carried_out(plan: Plan, adapted: Callable[[tuple[Phase, ...]], Run]) -> tuple[list[Run], list[str]]:
    """The runs of the plan's alternatives, and a sentence on each that diverged and is left out.

    Raises:
        TrainingDiverged: no other that was trained is there, or a line has lost an end.
    """
    runs, told = list[Run](), list[str]()
    for way in plan.ways:
        try:
            runs.append(adapted(way))
        except TrainingDiverged as error:
            last = error
            told.append(f"An alternative is left out, since it diverged: {error}")
    if told and (plan.choice == "line" or all(p.solver == "exact" for run in runs for p in run.plan.phases)):
        raise last
    return runs, told


def mix(task: Task, plan: Plan, chain: Chain, runs: Sequence[Run], objective: Objective) -> tuple[Run, State]:
    """What the runs' weights make by the plan's choice, and a run that says so; the test part is not touched.

    Every look at validation, in the runs and here, is an epoch of the history.
    """
    ways = plan.ways
    meter = Meter(_sum([run.cost for run in runs]))
    members = [load_file(run.weights) for run in runs]
    chain.network.load_state_dict(members[0])
    lowest = min(boundary(phase.train, len(chain.stages)) for phase in plan.every)
    prefix, rest = chain.split(lowest if plan.pretrained else 0, form_here(plan.form))
    val = features(prefix, examples(task, task.val, plan.backbone, runs[0].seed))
    starts = list(accumulate((len(way) for way in ways), initial=0))
    numbers = [ways.index(run.plan.phases) for run in runs]  # one that diverged is missing
    history = [
        replace(e, phase=starts[at] + e.phase) for run, at in zip(runs, numbers, strict=True) for e in run.history
    ]
    seen: dict[Shares, Rank] = {}
    finish = getattr(objective.head, "finish", None)

    def made(shares: Shares) -> None:
        """The network of these shares; what is set by validation, such as thresholds, is set for it, not averaged."""
        chain.network.load_state_dict(mixed(members, shares))
        if finish and sum(map(bool, shares)) > 1:
            finish(chain.network.head, *predict(rest, val, plan.phases[-1].dtype))

    def judge(shares: Shares) -> Rank:
        if shares not in seen:
            began = time.perf_counter()
            made(shares)
            loss, score = evaluate(rest, val, objective, plan.phases[-1])
            seen[shares] = score, -loss
            spent = time.perf_counter() - began
            history.append(Epoch(starts[-1], len(seen), 0, np.nan, np.nan, loss, score, 0.0, spent))
        return seen[shares]

    sure = runs[-1].score  # of a share, what chance alone makes of it on so many examples
    error = (max(sure * (1 - sure), 0.0) / len(task.val)) ** 0.5 if figures.is_share(task.metric) else 0.0
    shares = CHOICES[plan.choice](len(runs), judge, error)
    said = _said(plan, shares, judge(shares)[0], runs, numbers, task.metric)
    log.info("%s", said)
    notes = tuple(dict.fromkeys((said, *(note for run in runs for note in run.notes))))
    run = replace(
        runs[0], plan=plan, history=tuple(history), score=judge(shares)[0], cost=meter.cost(),
        untrained=tuple(sorted({name for run in runs for name in run.untrained})), notes=notes,
        shares=tuple(sum(s for n, s in zip(numbers, shares, strict=True) if n == at) for at in range(len(ways))),
    )  # fmt: skip
    made(shares)
    return run, chain.network.state_dict()


def _said(plan: Plan, shares: Shares, score: float, runs: Sequence[Run], numbers: Sequence[int], metric: str) -> str:
    """What was chosen, beside what the others reached."""
    each = " and ".join(figures.plain(run.score, metric) for run in runs)
    each_share = zip(shares, numbers, strict=True)
    parts = [f"{100 * share:.0f} % of the {_which(at + 1)}{_alone(plan.ways[at])}" for share, at in each_share if share]
    kept = " and ".join(parts) if len(parts) > 1 else parts[0].removeprefix("100 % of ")
    rule = "; any but the last must be a standard error better" if plan.choice == "sure" else ""
    return (
        f"The plan was carried out in {len(runs)} ways, which reach {each}; {kept} was kept by validation "
        f"({figures.plain(score, metric)}{rule})."
    )


def _alone(way: tuple[Phase, ...]) -> str:
    return "" if tunes(way) else " (the head alone)"


def _which(number: int) -> str:
    return ("first", "second", "third")[number - 1] if number < 4 else f"{number}th"


def _sum(costs: Sequence[Cost]) -> Cost:
    return Cost(
        seconds=sum(cost.seconds for cost in costs),
        cpu_seconds=sum(cost.cpu_seconds for cost in costs),
        peak_bytes=max(cost.peak_bytes for cost in costs),
        prefix_passes=sum(cost.prefix_passes for cost in costs),
        prefix_hits=sum(cost.prefix_hits for cost in costs),
    )
