"""The same architecture from random weights, and a smaller one: what their training data give without a transfer."""

import logging
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graft.adapt import adapt
from graft.build import build, find, suited, views
from graft.core import figures
from graft.core.costs import OPENING
from graft.core.errors import GraftError, TrainingDiverged
from graft.core.nouns import Backbone, Cost, Phase, Plan, Run, Task
from graft.core.phases import exact_head, uneven
from graft.core.shelf import take
from graft.entries import Entry, Test, complete, entry
from graft.folds import FOLDS, once
from graft.model.chain import Chain
from graft.seeds import reseeded
from graft.speed import Training, training

log = logging.getLogger("graft")
RATES = (3e-4, 1e-3, 3e-3)  # tried; the best on validation gets the rest of the time
WIDEST = (1e-4, 1e-2)  # between which more are tried, where transfer had more trials
MOST = 7  # rates, however many trials transfer had: each gets a share of the same time
TRIALS = 0.45  # of the time for all rates together
FEWEST = 40  # optimiser steps, however little time there is
SMALL = {  # small networks for any such data
    "image": "tiny/shapes", "text": "tiny/phrases", "audio": "tiny/sounds", "signal": "blank/eegnet",
    "vector": "blank/mlp_small",
}  # fmt: skip
SMALLER = 0.25  # of the parameters of the adapted one, from which on another network is a smaller one


@dataclass(frozen=True)
class Blank:
    """A network with random weights, and what an example of training it takes here."""

    name: str  # of its row
    backbone: Backbone
    chain: Chain
    terms: str  # how it differs from the adapted one
    speed: Training

    def each(self, task: Task) -> float:
        """Wall seconds of an example in a step, validation included, whose forward pass is a third of one."""
        validation = len(task.val) / len(task.train) * (self.speed.prepare + self.speed.step / 3)
        return self.speed.prepare + self.speed.step + validation

    def least(self, task: Task) -> float:
        """Wall seconds that training it takes, however little time there is."""
        return fewest(task, self.each(task))


def blank(task: Task, run: Run) -> Blank:
    """The adapted architecture."""
    start, modality = run.plan.backbone, take("modalities", task.modality)
    fed = start.input if take("heads", task.head).ROWS else modality.smaller(start.input)  # every word counts
    backbone = suited(replace(start, input=fed), task)
    try:
        chain = _built(backbone, task, run)
    except (GraftError, ValueError, RuntimeError, AssertionError):  # an architecture made for one size
        backbone, chain = start, _built(start, task, run)
    return Blank("scratch", backbone, chain, _terms(backbone, start), _speed(task, backbone, chain))


def smaller(task: Task, run: Run, large: Blank) -> Blank | None:
    """A smaller network; None where the adapted one is no larger."""
    head = take("heads", task.head)
    if task.modality not in SMALL or head.ROWS or not getattr(head, "LABELLED", True):
        return None
    backbone, start = find(SMALL[task.modality]), run.plan.backbone.input
    borrowed = {name: start[name] for name in getattr(take("modalities", task.modality), "BORROWED", ())}
    backbone = suited(replace(backbone, input={**backbone.input, **borrowed}), task)
    chain = _built(backbone, task, run)
    if _size(chain) > SMALLER * _size(large.chain):
        return None
    terms = f"{backbone.architecture}, {_size(chain):,} parameters, "
    return Blank("scratch_small", backbone, chain, terms, _speed(task, backbone, chain))


def scratch(
    task: Task, run: Run, test: Test, net: Blank, seconds: float, trials: int = 1, short: bool = False
) -> Entry:
    """A network from random weights: its own rates tried, the best by validation with the time left.

    Args:
        trials: how many transfer had, in backbones or in plans; as many rates are tried, from three to seven.
        short: there is no time to try rates; the middle one is taken.
    """
    if not getattr(take("heads", task.head), "LABELLED", True):  # there is nothing to train by: random features
        return _untrained(net.name, task, run, test, net.backbone)
    made = _swept(task, run, test, net, seconds, trials, short)
    if task.modality in SMALL:
        return made
    alone = f"There is no smaller network for the modality {task.modality}: from scratch, the same one alone was tried."
    return replace(made, notes=(*made.notes, alone))


def fewest(task: Task, each: float) -> float:
    """Wall seconds of the fewest steps, an example taking so many."""
    return OPENING + FEWEST * batch(task) * each


def batch(task: Task) -> int:
    """Examples in a step."""
    return 32 if len(task.train) >= 256 else 16


def sweep(trials: int) -> tuple[float, ...]:
    """Learning rates to try: three, or as many as there were trials, evenly on a logarithmic scale."""
    return RATES if trials <= len(RATES) else tuple(map(float, np.geomspace(*WIDEST, min(trials, MOST))))


def _swept(task: Task, run: Run, test: Test, net: Blank, seconds: float, trials: int, short: bool) -> Entry:
    name, backbone, rates, size = net.name, net.backbone, RATES[1:2] if short else sweep(trials), batch(task)
    room = max(seconds - OPENING * (1 + len(rates)), seconds / 2)
    total = max(FEWEST, room / (size * net.each(task)))
    called, some = name.replace("_", " "), max(seconds, total * size * net.each(task))
    log.info("%s: the network from random weights, to compare with, about %d steps in %.0f s", called, total, some)
    kept = 0 if views(task) else 1  # fresh views in every epoch, where variants teach

    def planned(rate: float, steps: float) -> Plan:
        phase = Phase(
            train=("head", "stages[0:]"), steps=math.ceil(steps), lr=rate, backbone_lr=1.0, views=kept,
            stored=False, batch_stats=True, batch=size, weight_decay=0.05, smoothing=0.05,
            class_weights=uneven(task), dtype=net.speed.dtype, patience=10**6,
        )  # fmt: skip
        return Plan(backbone, task.head, f"from scratch at rate {rate:g}", (phase,), pretrained=False)

    runs: list[Run] = []
    tried: dict[float, float] = {}
    notes: list[str] = []
    for number, rate in enumerate(rates if len(rates) > 1 else ()):
        which = f"{called}: learning rate {number + 1} of {len(rates)}, {rate:g}"
        try:
            runs.append(adapt(task, planned(rate, TRIALS / len(rates) * total), run.seed))
            tried[rate] = runs[-1].score
            log.info("%s: validation %s", which, figures.plain(tried[rate], task.metric))
        except TrainingDiverged as error:
            notes.append(f"From scratch, the rate {rate:g} diverged: {error}")
            log.info("%s: diverged", which)
    best, share = max(tried, key=tried.__getitem__, default=min(rates)), 1 - TRIALS if len(rates) > 1 else 1.0
    train = adapt if short else reseeded  # of so few steps no other seed makes more
    try:
        final = train(task, planned(best, share * total), run.seed)
    except TrainingDiverged as error:
        notes.append(f"From scratch, every seed diverged at the rate {best:g}: {error}")
        if not runs:
            made = _untrained(name, task, run, test, backbone, budget=seconds, trials=len(rates), state="diverged")
            return replace(made, notes=tuple(notes))
        final, share = runs.pop(list(tried).index(best)), TRIALS / len(rates)  # the trial itself had held
    log.info("%s: at the rate %g, validation %s", called, best, figures.plain(final.score, task.metric))
    tried = tried or {best: final.score}
    spent = [one.cost for one in (*runs, final)]
    cost = Cost(seconds=sum(each.seconds for each in spent), cpu_seconds=sum(each.cpu_seconds for each in spent))
    state = state_of(final, task)
    # In a fold, until a while after the epoch that was the best here, as far as the time goes.
    good = max(final.history, key=lambda epoch: (epoch.val_score, -epoch.val_loss)).epoch
    last = max(1, final.history[-1].epoch)
    steps = max(FEWEST, share * total * min(1.5 * good / last, seconds / (FOLDS * max(final.cost.seconds, 1e-9)), 1))
    capped = f" ({len(rates)}; transfer chose from {trials})" if trials > MOST else ""
    note = f"{net.terms}{last} epoch{'s' * (last > 1)}, rates tried{capped}: " + ", ".join(
        f"{rate:g} ({figures.plain(tried[rate], task.metric) if rate in tried else 'diverged'})" for rate in rates
    )
    more = {"budget": seconds, "trials": len(rates), "state": state, "note": note, "run": final.key}
    answers = [complete(task, final, test.part)]
    lasts = final.cost.seconds * steps / (share * total)
    made = entry(
        name,
        task,
        test,
        answers,
        final.score,
        cost,
        lambda fold: once(fold, planned(best, steps), run.seed),
        lasts,
        **more,
    )
    return replace(made, notes=(*notes, *final.notes))


def _untrained(name: str, task: Task, run: Run, test: Test, backbone: Backbone, **more: Any) -> Entry:
    """An exact head on random weights: the row where there is nothing to train by, or training leaves the numbers."""
    plan = Plan(backbone, task.head, "random weights", (exact_head(task),), run.plan.form, pretrained=False)
    final = adapt(task, plan, run.seed)
    answers = [complete(task, final, test.part)]
    more |= {"note": "random weights, as they are", "run": final.key}
    return entry(name, task, test, answers, final.score, final.cost, lambda fold: once(fold, plan, run.seed), **more)


def state_of(run: Run, task: Task) -> str:
    """Saturated: it knows its training part by heart and validation stood still for the last third of the epochs."""
    epochs = [epoch for epoch in run.history if epoch.epoch]
    if len(epochs) < 6:
        return "unfinished"
    third = len(epochs) // 3
    before, after = (max(epoch.val_score for epoch in part) for part in (epochs[:-third], epochs[-third:]))
    by_heart = 0.99 if figures.best(task.metric) else 0.01 * run.history[0].val_score  # of the error it began with
    known = max(epoch.score for epoch in epochs[-third:]) >= by_heart
    return "saturated" if known and after <= before else "unfinished"


def _built(backbone: Backbone, task: Task, run: Run) -> Chain:
    return build(backbone, task.head, len(task.outputs), run.seed, pretrained=False)[0]


def _speed(task: Task, backbone: Backbone, chain: Chain) -> Training:
    labelled = getattr(take("heads", task.head), "LABELLED", True)
    return training(task, backbone, chain, pretrained=False) if labelled else Training(0.0, 0.0, "float32")


def _size(chain: Chain) -> int:
    return sum(parameter.numel() for parameter in chain.network.parameters())


def _terms(backbone: Backbone, start: Backbone) -> str:
    """What it was fed: the fixed sizes of its input, and what is smaller than the adapted one's."""
    modality = take("modalities", backbone.modality)
    shape = modality.schema(modality.parse(backbone.input))["x"]["shape"]
    fed = " × ".join(str(size) for size in shape if isinstance(size, int))
    others = [f"{name} {value}" for name, value in backbone.input.items() if value != start.input.get(name, value)]
    return "".join(f"{term}, " for term in ([f"fed {fed}"] if fed else []) + others if "[" not in term)
