"""Task, Plan → Run: per phase freeze, split, fit. Resumes where it was interrupted; asked twice, answers once."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import graft
from graft.build import build, described, examples, form_here
from graft.core import home
from graft.core.codec import from_json, to_json
from graft.core.costs import boundary
from graft.core.errors import GraftError, PlanError
from graft.core.events import say, tell
from graft.core.examples import kept_apart
from graft.core.keys import key
from graft.core.nouns import Cost, Epoch, Part, Phase, Plan, Run, Task
from graft.core.shelf import contents, function, take
from graft.data.dataset import Dataset, table
from graft.features import features, sweep
from graft.learners.supervised import Objective, evaluate, fit, hash_seed, optimiser, predict
from graft.meter import Meter
from graft.mix import carried_out, mix
from graft.model.adapters import insert, merge
from graft.model.chain import Chain, Rest
from graft.model.checkpoints import Progress, Saved, unshared
from graft.model.prefix import Prefix
from graft.objective import moving as moving_in
from graft.objective import objective, settle, target_examples, weights
from graft.plan import check
from graft.rank import learned, unknown
from graft.regularized import needing, parsed

log = logging.getLogger("graft")
EVERY = 10.0  # seconds between checkpoints, at the ends of epochs: little is lost, and little time is spent on writing


def adapt(task: Task, plan: Plan, seed: int = 0, watch: Callable[[int, Epoch], None] | None = None) -> Run:
    """Carry out a plan.

    The same task, plan and seed give the same run: it is returned if it is finished, and continued if it is not.

    A plan with alternatives is carried out in all of them, each a run of its own, and their weights are mixed as the
    plan chooses; what several of them freeze is computed once.

    Args:
        watch: is shown each epoch of a plan without alternatives, as the history's last and how long that is; what it
            raises ends the run.

    Raises:
        PlanError: the plan does not fit the backbone; all its faults together.
        TrainingDiverged: the loss left the finite numbers.
    """
    name = run_key(task, plan, seed)
    place = home.folder("runs", name)
    with home.lock("runs", name):
        if (done := finished(name)) is not None:
            home.touch(place)
            return replace(done, plan=plan)  # what is said of it may be another
        if plan.alternatives:
            return _mixed(task, plan, seed, name, place)
        return _adapt(task, plan, seed, name, place, watch or (lambda count, epoch: None))


def run_key(task: Task, plan: Plan, seed: int) -> str:
    """The content key of a run: what is learned, what is done and the seed; not what was expected or why.

    Of a person's own files on the shelves it is what they hold that counts.
    """
    bare = replace(plan, strategy="", seconds=0.0, peak_bytes=0, store_bytes=0, stages=(), boundaries=())
    bare = replace(bare, why=(), looks=0, trials=1, suspects=())
    named = {name for p in plan.every for name in (p.adapter, *(parsed(entry)[0] for entry in p.regularizers))}
    own = contents({plan.head, plan.backbone.modality, *named})
    return key("run", graft.__version__, torch.__version__, task.key, bare, seed, *own)


def finished(name: str) -> Run | None:
    """The run of this key, if it came to its end."""
    try:
        run = from_json(Run, (home.home() / "runs" / name / "run.json").read_text(encoding="utf-8"))
    except (OSError, GraftError):
        return None
    return run if Path(run.weights).is_file() else None


def belongs(task: Task, run: Run) -> None:
    """Refuse a run that learned another task: the test examples of this one may be among those that it learned from.

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


def logits(task: Task, run: Run, part: Part, on: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What a finished run answers for a part (n, outputs), on a device (by default this machine's), and the targets."""
    return predict(*reopened(task, run, part, on))


def reopened(task: Task, run: Run, part: Part, on: str | None = None) -> tuple[Rest, Dataset]:
    """The rest of a finished run's network and a part as it is fed it: examples that it has seen as they are stored, in
    its form; others in float32, as the model ships."""
    chain, _ = build(run.plan.backbone, task.head, len(task.outputs), run.seed, pretrained=False, on=on)
    chain.network.load_state_dict(load_file(run.weights))
    first = min(boundary(p.train, len(chain.stages)) for p in run.kept)
    seen = not on and {*task.train.ids, *task.val.ids}.issuperset(part.ids)
    form = run.plan.form if seen else replace(run.plan.form, dtype="float32")
    prefix, rest = chain.split(first if run.plan.pretrained else 0, replace(form, device=on) if on else form_here(form))
    return rest, features(prefix, examples(task, part, run.plan.backbone, run.seed))


def _adapt(task: Task, plan: Plan, seed: int, name: str, place: Path, watch: Callable[[int, Epoch], None]) -> Run:
    saved = Saved.read(place)
    at = saved.progress if saved else Progress(0, 0, (-np.inf, -np.inf), 0, (), (), Cost())
    meter = Meter(at.cost)
    if plan.pretrained:
        described(plan.backbone)
        unknown(task, plan.backbone)
    chain, loading = build(plan.backbone, plan.head, len(task.outputs), seed, pretrained=plan.pretrained)
    check(plan, chain)
    raw_train, raw_val = (examples(task, part, plan.backbone, seed) for part in (task.train, task.val))
    raw_target, head = target_examples(task, plan, seed), take("heads", task.head)
    if not saved:
        settle(chain, plan, raw_train, seed)
    head.start(chain.network.head, raw_train.targets)
    history, untrained = list(at.history), set(at.untrained)
    say("%s on %s, seed %d", plan.strategy, plan.backbone.id, seed)
    tell("training", strategy=plan.strategy, backbone=plan.backbone.id, seed=seed, pretrained=plan.pretrained)
    form, written = form_here(plan.form), time.monotonic()
    for index, phase in enumerate(plan.phases):
        if index < at.phase:
            continue
        if phase.adapter:
            kind, make = take("adapters", phase.adapter), function("adapters", phase.adapter)
            if left := insert(chain, kind.fits, make, phase.train, hash_seed(seed, index)):
                say("%d layers take no %s: %s", len(left), phase.adapter, ", ".join(left[:5]))
        if saved and index == at.phase:
            chain.network.load_state_dict(saved.now)
            say("resuming at phase %d, epoch %d", at.phase, at.epoch + 1)
        first = chain.freeze(phase.train)
        prefix, rest = chain.split(form=form)
        if prefix and phase.stored:
            _fill(prefix, plan, index, raw_train, raw_val)
        train = features(prefix, raw_train, max(1, phase.views), stored=phase.stored)
        val = features(prefix, raw_val, stored=phase.stored)
        aim = objective(task, plan, phase, prefix, rest, raw_train, train, seed)
        say("phase %d: %s learns, %d of %d stages frozen", index, ", ".join(phase.train), first, len(chain.stages))
        if phase.solver == "exact":
            history.append(_solve(chain, rest, train, val, aim, phase, index, task))
            continue
        engine, idle = optimiser(chain, phase)
        aim.terms.join(engine, phase.lr)
        if idle:
            log.warning("%d parameters were to learn but get no gradient: %s", len(idle), ", ".join(idle[:5]))
        untrained |= set(idle)
        moving = moving_in(rest)
        held = _Held({n: t.clone() for n, t in moving.items()})
        if saved and index == at.phase:
            engine.load(saved.engine)
            aim.terms.load(saved.terms)
            held = _Held(saved.best, at.record, at.waited, at.epoch + 1)
        epochs = fit(rest, engine, train, val, phase, aim, seed, held.start, index)
        last = phase.objective == "contrastive"  # of few examples validation has too few to choose an epoch by
        for epoch in _tuned(epochs, held, moving, phase.patience, last):
            history.append(epoch)
            watch(len(history), epoch)
            if time.monotonic() - written > EVERY:
                so_far = (tuple(history), tuple(sorted(untrained)), meter.cost())
                now = Progress(index, epoch.epoch, held.record, held.waited, *so_far)
                Saved(now, chain.network.state_dict(), held.best, engine.state(), aim.terms.state()).write(place)
                written = time.monotonic()
        if phase.adapter:
            merge(chain)
    if choose := getattr(head, "finish", None):  # what is set by validation: thresholds
        choose(chain.network.head, *predict(rest, val, plan.phases[-1].dtype))
    score, notes = evaluate(rest, val, aim, phase)[1], tuple[str, ...]()
    if settle(chain, plan, raw_target, seed):
        notes = ("Batch norms ended with the target domain's statistics; validation was with the source's.",)
    run = Run(
        key=name, task=task.key, plan=plan, seed=seed, weights=str(place / "weights.safetensors"),
        history=tuple(history), score=score, cost=meter.cost(), untrained=tuple(sorted(untrained)), loading=loading,
        notes=notes,
    )  # fmt: skip
    return _kept(task, run, chain.network.state_dict())


def _mixed(task: Task, plan: Plan, seed: int, name: str, place: Path) -> Run:
    """All alternatives, each a run of its own, and what their weights make; one that diverges may be left out."""
    chain, _ = build(plan.backbone, plan.head, len(task.outputs), seed, pretrained=False)
    check(plan, chain)  # before the first of them is carried out
    bare = replace(plan, alternatives=(), choice="best")
    runs, broken = carried_out(plan, lambda way: adapt(task, replace(bare, phases=way), seed))
    weighed = weights(task, plan.phases[-1], examples(task, task.train, plan.backbone, seed))
    aim = Objective(take("heads", task.head), task.metric, weighed, 0.0, task.outputs)
    run, state = mix(task, plan, chain, runs, aim)
    where = str(place / "weights.safetensors")
    return _kept(task, replace(run, key=name, weights=where, notes=(*run.notes, *broken)), state)


def _kept(task: Task, run: Run, state: dict[str, torch.Tensor]) -> Run:
    """The finished run, in its place."""
    place, plan = Path(run.weights).parent, run.plan
    with home.placed(Path(run.weights)) as part:
        save_file(unshared({n: t.cpu() for n, t in state.items()}), part)
    about = {"name": task.name, "outputs": task.outputs, "head": task.head}
    known = task.train.marks | task.val.marks | (learned(plan.backbone) if plan.pretrained else set())
    known |= task.target.marks if needing(plan, "target") else set()
    home.write_text(place / "task.json", to_json({**about, "learned": sorted(known)}))
    home.write_text(place / "run.json", to_json(run))
    shutil.rmtree(place / "checkpoint", ignore_errors=True)
    return run


def _fill(prefix: Prefix, plan: Plan, index: int, raw_train: Dataset, raw_val: Dataset) -> None:
    """Fill, in one sweep, the stores of this phase and of later ones that freeze no more, nor what is moved before."""
    chain, phase, depth = prefix.chain, plan.phases[index], len(prefix.chain.stages)
    later = {
        boundary(p.train, depth)
        for at, p in enumerate(plan.phases[index:], index)
        if p.stored
        and p.views == phase.views
        and boundary(p.train, depth) <= chain.boundary
        and all(boundary(q.train, depth) >= boundary(p.train, depth) for q in plan.phases[index:at])
    }
    cuts = [chain.stages[at - 1] for at in sorted(later) if at]
    if not cuts:
        return
    sweep(prefix, cuts, raw_train, max(1, phase.views))
    sweep(prefix, cuts, raw_val)


def _solve(
    chain: Chain, rest: Rest, train: Dataset, val: Dataset, objective: Objective, phase: Phase, index: int, task: Task
) -> Epoch:
    """Set the head to the exact optimum of its regularised linear model, the strength chosen within `train`."""
    began = time.perf_counter()
    x, y = table(train)
    whose = kept_apart(task.train, task.val)
    found = objective.head.solve(x, y, len(task.outputs), phase.class_weights, task.metric, groups=whose)
    own, layer = getattr(chain.network.head, "install", None), chain.network.head
    weight, bias = (torch.from_numpy(np.asarray(values, np.float32)) for values in (found.weight, found.bias))
    with torch.no_grad():
        if own:
            own(weight, bias)
        else:
            layer.weight.copy_(weight)  # type: ignore[union-attr,operator]
            layer.bias.copy_(bias)  # type: ignore[union-attr,operator]
    loss, score = evaluate(rest, train, objective, phase)
    val_loss, val_score = evaluate(rest, val, objective, phase)
    return Epoch(index, 1, 0, loss, score, val_loss, val_score, 0.0, time.perf_counter() - began)


@dataclass
class _Held:
    """The best weights of a phase by validation, which are restored at its end."""

    best: dict[str, torch.Tensor]
    record: tuple[float, float] = (-np.inf, -np.inf)
    waited: int = 0  # epochs without a better one
    start: int = 0  # epoch to go on from

    def see(self, epoch: Epoch, moving: dict[str, torch.Tensor], last: bool = False) -> None:
        """Keep what moves if this epoch is the best so far, or whichever is the last."""
        rank = (np.inf, float(epoch.epoch)) if last else (epoch.val_score, -epoch.val_loss)
        # Before the first step there is nothing to keep unless an earlier phase has trained the head.
        if rank > self.record and (epoch.epoch or epoch.phase):
            self.record, self.waited = rank, 0
            self.best = {name: tensor.detach().clone() for name, tensor in moving.items()}
        elif epoch.epoch:
            self.waited += 1


def _tuned(
    epochs: Iterator[Epoch], held: _Held, moving: dict[str, torch.Tensor], patience: int, last: bool = False
) -> Iterator[Epoch]:
    """These epochs, until none has been the best for as many as patience allows; then the best weights are put back."""
    while held.waited < patience and (epoch := next(epochs, None)):  # a phase that had stopped stays stopped
        held.see(epoch, moving, last)
        if epoch.epoch:
            words = (epoch.phase, epoch.epoch, epoch.loss, epoch.val_score)
            say("phase %d epoch %d: loss %.3f, validation %.3f", *words)
            tell("epoch", phase=epoch.phase, epoch=epoch.epoch, loss=epoch.loss, score=epoch.val_score)
        elif epoch.val_score == epoch.val_score:  # a contrastive phase has none yet
            say("phase %d before its first step: validation %.3f", epoch.phase, epoch.val_score)
        yield epoch
    with torch.no_grad():
        for name, tensor in moving.items():
            tensor.copy_(held.best[name])
