"""Task, Plan → Run: per phase freeze, split, fit. Resumes where it was interrupted; asked twice, answers once."""

import logging
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import graft
from graft.build import build, form_here
from graft.core import home
from graft.core.codec import from_json, to_json
from graft.core.costs import boundary
from graft.core.errors import GraftError, PlanError
from graft.core.keys import key
from graft.core.nouns import Cost, Epoch, Form, Phase, Plan, Run, Task
from graft.core.shelf import take
from graft.data.dataset import Dataset, Examples, table
from graft.features import Count, features, sweep
from graft.learners.supervised import Objective, evaluate, fit, optimiser, predict
from graft.model import linear
from graft.model.chain import Chain, Rest
from graft.model.checkpoints import Saved, restore, state_of
from graft.plan import check

log = logging.getLogger("graft")
EVERY = 10.0  # seconds between checkpoints, at the ends of epochs: little is lost, and little time is spent on writing


def adapt(task: Task, plan: Plan, seed: int = 0) -> Run:
    """Carry out a plan.

    The same task, plan and seed give the same run: it is returned if it is finished, and continued if it is not.

    Raises:
        PlanError: the plan does not fit the backbone; all its faults together.
        TrainingDiverged: the loss left the finite numbers.
    """
    name = run_key(task, plan, seed)
    place = home.folder("runs", name)
    with home.lock("runs", name):
        if (done := finished(name)) is not None:
            home.touch(place)
            return done
        return _adapt(task, plan, seed, name, place)


def run_key(task: Task, plan: Plan, seed: int) -> str:
    """The content key of a run: what is learned, what is done and the seed; not what was expected or why."""
    bare = replace(plan, strategy="", seconds=0.0, peak_bytes=0, store_bytes=0, stages=(), boundaries=(), why=())
    return key("run", graft.__version__, torch.__version__, task.key, bare, seed)


def finished(name: str) -> Run | None:
    """The run of this key, if it came to its end."""
    try:
        run = from_json(Run, (home.home() / "runs" / name / "run.json").read_text(encoding="utf-8"))
    except (OSError, GraftError):
        return None
    return run if Path(run.weights).is_file() else None


def belongs(task: Task, run: Run) -> None:
    """Refuse a run that learned another task: the test photos of this one may be among those that it learned from.

    Raises:
        PlanError: it did.
    """
    if not Path(run.weights).is_file():
        raise PlanError(f"The weights of the run {run.key} are gone: {run.weights}. Run `graft adapt` again.")
    if run.task != task.key:
        raise PlanError(
            f"The run {run.key} learned other examples, or another split of these: the data or the seed have changed "
            "since. Run `graft adapt` on the data as they are now."
        )


def data(task: Task, plan: Plan, seed: int) -> tuple[Examples, Examples]:
    """The raw training and validation examples, as this plan's backbone wants them."""
    modality = take("modalities", task.modality)
    train, val = (Examples(part, modality, plan.backbone.input, seed) for part in (task.train, task.val))
    return train, val


def logits(task: Task, run: Run, raw: Dataset) -> np.ndarray:
    """What a finished run answers for raw examples, in float32: (n, outputs)."""
    chain, _ = build(run.plan.backbone, task.head, len(task.outputs), run.seed, pretrained=False)
    chain.network.load_state_dict(load_file(run.weights))
    last = boundary(run.plan.phases[-1].train, len(chain.stages))
    first = min([last, *(boundary(p.train, len(chain.stages)) for p in run.plan.phases)])
    prefix, rest = chain.split(first if run.plan.pretrained else 0, form_here(Form()))
    return predict(rest, features(prefix, raw))


def _adapt(task: Task, plan: Plan, seed: int, name: str, place: Path) -> Run:
    with spent() as cost:
        chain, loading = build(plan.backbone, plan.head, len(task.outputs), seed, pretrained=plan.pretrained)
        check(plan, chain)
        raw_train, raw_val = data(task, plan, seed)
        saved = Saved.read(place)
        if saved:
            chain.network.load_state_dict(saved.now)
            log.info("resuming at phase %d, epoch %d", saved.phase, saved.epoch + 1)
        history: list[Epoch] = list(saved.history) if saved else []
        untrained: set[str] = set(saved.untrained) if saved else set()
        form = form_here(plan.form)
        for index, phase in enumerate(plan.phases):
            if saved and index < saved.phase:
                continue
            first = chain.freeze(phase.train)
            prefix, rest = chain.split(form=form)
            if prefix and phase.stored:
                _fill(chain, plan, index, form, raw_train, raw_val)
            train = features(prefix, raw_train, max(1, phase.views), stored=phase.stored)
            val = features(prefix, raw_val, stored=phase.stored)
            objective = Objective(take("heads", task.head), task.metric, _weights(task, phase), phase.smoothing)
            log.info(
                "phase %d: %s learns, %d of %d stages frozen", index, ", ".join(phase.train), first, len(chain.stages)
            )
            if phase.solver == "exact":
                history.append(_solve(chain, rest, train, val, objective, phase, index, task))
            else:
                state = saved if saved and saved.phase == index else None
                epochs, idle = _train(
                    chain, rest, train, val, phase, objective, seed, index, place, history, untrained, state
                )
                history, untrained = epochs, untrained | set(idle)
        weights = place / "weights.safetensors"
        with home.placed(weights) as part:
            save_file({n: t.contiguous().cpu() for n, t in chain.network.state_dict().items()}, part)
        final = evaluate(rest, val, objective, phase)[1]
    run = Run(
        key=name, task=task.key, plan=plan, seed=seed, weights=str(weights), history=tuple(history), score=final,
        cost=cost, untrained=tuple(sorted(untrained)), loading=loading,
    )  # fmt: skip
    about = {"name": task.name, "outputs": task.outputs, "head": task.head}
    home.write_text(place / "task.json", to_json({**about, "learned": sorted({*task.train.ids, *task.val.ids})}))
    home.write_text(place / "run.json", to_json(run))
    shutil.rmtree(place / "checkpoint", ignore_errors=True)
    return run


def _fill(chain: Chain, plan: Plan, index: int, form: Form, raw_train: Dataset, raw_val: Dataset) -> None:
    """Fill, in one sweep, the stores of this phase and of later ones that freeze no more than it does."""
    depth, phase = len(chain.stages), plan.phases[index]
    later = {
        boundary(p.train, depth)
        for p in plan.phases[index:]
        if p.stored and p.views == phase.views and boundary(p.train, depth) <= chain.boundary
    }
    cuts = [chain.stages[at - 1] for at in sorted(later) if at]
    if not cuts:
        return
    prefix, _ = chain.split(form=form)
    sweep(prefix, cuts, raw_train, max(1, phase.views))
    sweep(prefix, cuts, raw_val)


def _solve(
    chain: Chain, rest: Rest, train: Dataset, val: Dataset, objective: Objective, phase: Phase, index: int, task: Task
) -> Epoch:
    """Set the head to the exact optimum of a regularised logistic regression, its strength chosen within `train`."""
    began = time.perf_counter()
    x, y = table(train)
    weights = None if objective.weights is None else objective.weights.cpu().numpy()[y]
    found = linear.fit(x, y, len(task.outputs), weights=weights)
    with torch.no_grad():
        chain.network.head.weight.copy_(torch.from_numpy(np.asarray(found.weight, np.float32)))  # type: ignore[union-attr,operator]
        chain.network.head.bias.copy_(torch.from_numpy(np.asarray(found.bias, np.float32)))  # type: ignore[union-attr,operator]
    loss, score = evaluate(rest, train, objective, phase)
    val_loss, val_score = evaluate(rest, val, objective, phase)
    return Epoch(index, 1, 0, loss, score, val_loss, val_score, 0.0, time.perf_counter() - began)


def _train(
    chain: Chain,
    rest: Rest,
    train: Dataset,
    val: Dataset,
    phase: Phase,
    objective: Objective,
    seed: int,
    index: int,
    place: Path,
    history: list[Epoch],
    untrained: set[str],
    saved: Saved | None,
) -> tuple[list[Epoch], tuple[str, ...]]:
    """One phase by gradient steps; the best weights by validation are restored at its end."""
    engine, idle = optimiser(chain, phase)
    if idle:
        log.warning("%d parameters were to learn but get no gradient: %s", len(idle), ", ".join(idle[:5]))
    moving = _moving(chain, rest)
    best = {name: tensor.clone() for name, tensor in moving.items()}
    record, waited, start = (-np.inf, -np.inf), 0, 0
    if saved:
        restore(engine, saved.engine)
        best, record, waited, start = saved.best, saved.record, saved.waited, saved.epoch + 1
    written = time.monotonic()
    for epoch in fit(rest, engine, train, val, phase, objective, seed, start, index):
        history.append(epoch)
        rank = (epoch.val_score, -epoch.val_loss)
        # Before the first step there is nothing to keep unless an earlier phase has trained the head.
        if rank > record and (epoch.epoch or index):
            record, waited = rank, 0
            best = {name: tensor.detach().clone() for name, tensor in moving.items()}
        elif epoch.epoch:
            waited += 1
        log.info("phase %d epoch %d: loss %.3f, validation %.3f", index, epoch.epoch, epoch.loss, epoch.val_score)
        if waited >= phase.patience:
            break
        if time.monotonic() - written > EVERY:
            Saved(
                index, epoch.epoch, record, waited, tuple(history), tuple(sorted(untrained | set(idle))),
                chain.network.state_dict(), best, state_of(engine),
            ).write(place)  # fmt: skip
            written = time.monotonic()
    with torch.no_grad():
        for name, tensor in moving.items():
            tensor.copy_(best[name])
    return history, idle


def _moving(chain: Chain, rest: Rest) -> dict[str, torch.Tensor]:
    """What training can change: the parameters that learn and the buffers that are not frozen."""
    frozen = rest.cut.modules if rest.cut else frozenset()
    moving: dict[str, torch.Tensor] = {n: p for n, p in chain.network.named_parameters() if p.requires_grad}
    return moving | {n: b for n, b in chain.network.named_buffers() if n.rpartition(".")[0] not in frozen}


def _weights(task: Task, phase: Phase) -> torch.Tensor | None:
    """One over each class's share of the training part, times one over the number of classes."""
    if not phase.class_weights:
        return None
    counts = np.bincount(task.train.targets, minlength=len(task.outputs))
    weights = len(task.train) / (len(task.outputs) * counts)
    return torch.tensor(weights, dtype=torch.float32, device=form_here(Form()).device)


@contextmanager
def spent() -> Iterator[Cost]:
    """What the block costs; the noun is filled in when it ends."""
    cost = Cost()
    wall, cpu, passes, hits = time.perf_counter(), time.process_time(), Count.passes, Count.hits
    yield cost
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    for name, value in {
        "seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu, "peak_bytes": peak,
        "prefix_passes": Count.passes - passes, "prefix_hits": Count.hits - hits,
    }.items():  # fmt: skip
        object.__setattr__(cost, name, value)
