"""Task, Evidence → Plan: strategies, depths, rates and regularisers tried in turn, the best by validation kept.

Every trial is a plan that `adapt` carries out: all of them ask one store for the same frozen features, a trial that was
tried before is not run again, and a search that was killed goes on with the trial that it was in.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import graft
from graft.adapt import adapt
from graft.core import figures, home
from graft.core.costs import boundary, stages
from graft.core.errors import PlanError, TrainingDiverged
from graft.core.events import aside
from graft.core.keys import key
from graft.core.nouns import Budget, Epoch, Evidence, Phase, Plan, Run, Task
from graft.core.phases import share
from graft.core.shelf import take
from graft.plan import estimated, plan
from graft.regularized import regularized, unfit
from graft.seeds import dead

log = logging.getLogger("graft")
USUAL = ("lp_ft", "gradual", "full")  # that differ in more than depth and rates
STRATEGIES = (*USUAL, "wise_ft", "soup")  # those with alternatives take several runs of the same time together
REGULARIZERS = ("none", "l2_sp", "bss", "ema", "mixup")  # each at its own strength, where it suits the plan
WARM = 5  # the look at validation from which on a trial may be cut short: its first epochs say little
FIRST = 10  # trials from which on what the others showed leads the next: TPE's own default


def search(task: Task, evidence: Evidence, budget: Budget = Budget(), *, trials: int = 20, seed: int = 0) -> Plan:
    """The plan of the best validation score: of the linear probe, the strategies as they are, and what Optuna asks for.

    The sampler is TPE (Bergstra et al. 2011). It is seeded by the seed and the trial's number, so that the same trials
    are made however often the search is cut off. The test part stays sealed; `Plan.looks` says how often validation was
    asked, and `verify` counts it in.

    Args:
        budget: wall time of all trials together; what each may take is its part of it.
        trials: at most so many beside the linear probe; one that diverges counts, and no other seed is tried for it.

    Raises:
        PlanError: Optuna is not installed, there are no labels, or the number of trials is not one.
    """
    Budget.needed(budget)
    optuna = _optuna()
    if trials < 1:
        raise PlanError(f"A search needs 1 trial or more, not {trials}.")
    if not getattr(take("heads", task.head), "LABELLED", True):
        raise PlanError(f"The head {task.head} has no labels to validate by: there is nothing to search for.")
    one, began = replace(budget, seconds=budget.seconds / trials / share(task)), time.monotonic()
    runs = [adapt(task, plan(task, evidence, "linear_probe", one), seed)]
    name = key("search", graft.__version__, task.key, evidence, one, seed)
    with home.lock("results", f"search-{name}"):
        storage = optuna.storages.RDBStorage(f"sqlite:///{home.folder('results', 'search') / name}.sqlite")
        try:
            pruner = optuna.pruners.MedianPruner(n_startup_trials=len(_starts(2)), n_warmup_steps=WARM)
            study = optuna.create_study(
                storage=storage, pruner=pruner, study_name=name, direction="maximize", load_if_exists=True
            )
            for number in range(trials):
                spent = time.monotonic() - began
                if number and spent + spent / number > budget.seconds:
                    log.warning("There was time for %d of %d trials.", number, trials)
                    break
                asked = _asked(optuna, study, number, len(evidence.stage_curve), seed)
                if study.trials[number].state.name == "PRUNED":
                    continue
                try:
                    with aside():
                        runs.append(adapt(task, drawn(task, evidence, asked, one), seed, _watch(optuna, study, number)))
                except optuna.TrialPruned as stopped:
                    log.info("trial %d of %d: %s, %s", number + 1, trials, _said(asked), stopped)
                    study.tell(number, state=optuna.trial.TrialState.PRUNED)
                    continue
                except TrainingDiverged as error:
                    log.warning("trial %d of %d: %s", number + 1, trials, error)
                    study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
                    continue
                if why := dead(task, runs[-1]):  # its score is as poor as it is, and says what these rates do
                    log.warning("trial %d of %d is dead: %s", number + 1, trials, why)
                study.tell(number, runs[-1].score, skip_if_finished=True)
                said = figures.plain(runs[-1].score, task.metric)
                log.info("trial %d of %d: %s, validation %s", number + 1, trials, _said(asked), said)
            cut = [max(one.intermediate_values) for one in study.trials[:trials] if one.state.name == "PRUNED"]
            over = sum(one.state.is_finished() for one in study.trials[:trials])  # those that diverged, too
        finally:
            storage.remove_session()
            storage.engine.dispose()
    found = replace(_best(task, evidence, runs, cut), trials=1 + over)
    best = next(run for run in runs if run.plan.phases == found.phases and run.plan.alternatives == found.alternatives)
    Path(best.weights).with_name("run.json").touch()  # of a task's runs the newest is what another task is offered
    return found


def drawn(task: Task, evidence: Evidence, params: dict[str, Any], budget: Budget) -> Plan:
    """The strategy's plan with at least so many stages frozen, at these rates; phases that are then alike are one."""
    made = plan(task, evidence, params["strategy"], budget)
    views, depth, ways = max(evidence.views, default=1), len(evidence.stage_curve), list[tuple[Phase, ...]]()
    usual = next(phase.lr for phase in made.phases if phase.solver != "exact")
    for way in made.ways:
        phases = list[Phase]()
        for phase in way:
            if phase.solver != "exact":  # alternatives may differ by their rates
                phase = _at(phase, {**params, "lr": params["lr"] * phase.lr / usual}, depth, views)
            if not phases or phase != phases[-1]:
                phases.append(phase)
        ways.append(tuple(phases))
    made, name = replace(made, phases=ways[0], alternatives=tuple(ways[1:]), why=()), params["regularizer"]
    if name != "none" and not all(unfit(name, phase, made, depth) for phase in made.every):
        made = regularized(made, (name,), depth)
    return estimated(task, evidence, made, budget)


def _at(phase: Phase, params: dict[str, Any], depth: int, views: int) -> Phase:
    """A phase with the lower stages frozen; with something to keep, its variants are kept."""
    train = []
    for selector in phase.train:
        asked = stages(selector, depth)
        start = max(asked.start, params["frozen"]) if asked else 0
        train.append(f"stages[{start}:]" if asked and asked.stop == depth else selector)
    rates = {name: params[name] for name in ("lr", "backbone_lr", "lr_decay")}
    if boundary(tuple(train), depth) and not phase.views:
        phase = replace(phase, views=views, stored=True)
    return replace(phase, train=tuple(train), **rates)


def _starts(depth: int) -> list[dict[str, Any]]:
    """Every usual strategy at the rates that it would plan, all stages learning and half of them."""
    usual = {"lr": 1e-3, "backbone_lr": 0.1, "lr_decay": 0.8, "regularizer": "none"}
    return [{"strategy": name, "frozen": at, **usual} for at in sorted({0, depth // 2}) for name in USUAL]


def _asked(optuna: ModuleType, study: Any, number: int, depth: int, seed: int) -> dict[str, Any]:
    """What the trial of this number asks for; one that was begun before goes on, and what it had drawn stays."""
    known, starts = study.trials, _starts(depth)
    if number < len(starts) and number == len(known):
        study.enqueue_trial(starts[number])
        known = study.trials
    study.sampler = _sampler(optuna, seed, number)
    waiting = number == len(known) or known[number].state.name == "WAITING"
    if not waiting and known[number].state.is_finished():
        return dict(known[number].params)
    trial = study.ask() if waiting else optuna.trial.Trial(study, known[number]._trial_id)
    asks = (
        lambda: trial.suggest_categorical("strategy", STRATEGIES),
        lambda: trial.suggest_int("frozen", 0, depth - 1),
        lambda: trial.suggest_float("lr", 1e-4, 1e-2, log=True),
        lambda: trial.suggest_float("backbone_lr", 0.01, 1.0, log=True),
        lambda: trial.suggest_float("lr_decay", 0.3, 1.0),
        lambda: trial.suggest_categorical("regularizer", REGULARIZERS),
    )
    for at, ask in enumerate(asks):
        study.sampler = _sampler(optuna, seed, number, at)  # each by itself: one may have been drawn before a kill
        ask()
    return dict(trial.params)


def _watch(optuna: ModuleType, study: Any, number: int) -> Callable[[int, Epoch], None]:
    """What cuts a trial short whose best validation so far lies under the others' median at as many looks."""
    trial = optuna.trial.Trial(study, study.trials[number]._trial_id)
    known = set(study.trials[number].intermediate_values)

    def watch(count: int, epoch: Epoch) -> None:
        if not np.isfinite(epoch.val_score):
            return
        if count not in known:  # else told before a kill, which may have come before it was cut short
            trial.report(epoch.val_score, count)
        if trial.should_prune():
            raise optuna.TrialPruned(f"cut short at {count} looks, validation {epoch.val_score:.3f}")

    return watch


def _sampler(optuna: ModuleType, *numbers: int) -> Any:
    drawn = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    return optuna.samplers.TPESampler(n_startup_trials=FIRST, seed=drawn)


def _said(params: dict[str, Any]) -> str:
    rates = f"head rate {params['lr']:.2g}, last stage ×{params['backbone_lr']:.2g}, ×{params['lr_decay']:.2g} a stage"
    held = "" if params["regularizer"] == "none" else f", {params['regularizer']}"
    return f"{params['strategy']}{held}, {params['frozen']} stages frozen or more, {rates}"


def _best(task: Task, evidence: Evidence, runs: list[Run], cut: list[int]) -> Plan:
    """The plan of the best run; of equals the one that learns least, then the cheapest.

    Args:
        cut: looks at validation of each trial that was cut short.
    """
    order = sorted(runs, key=lambda run: (-run.score, -min(run.plan.boundaries), run.cost.seconds))
    best, middle, probe = (figures.plain(run.score, task.metric) for run in (order[0], order[len(order) // 2], runs[0]))
    looks = sum(len(run.history) for run in {run.key: run for run in runs}.values()) + sum(cut)
    short = f" {len(cut)} trials were cut short, since they lay under the median." if cut else ""
    why = (
        f"The best of {len(runs) - 1} whole trials and the linear probe by validation: {best}; the middle one reached "
        f"{middle}, the linear probe {probe}.{short}",
        f"Validation ({len(task.val)} examples) was asked {looks} times to choose it, so that it promises too much: "
        "`verify` compares on the test part, and counts these looks in.",
    )
    return replace(order[0].plan, looks=looks, why=(*why, *evidence.why))


def _optuna() -> ModuleType:
    """Optuna, quiet.

    Raises:
        PlanError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise PlanError("A search needs Optuna: pip install optuna.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
