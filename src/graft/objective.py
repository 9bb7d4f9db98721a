"""What a phase minimises: the head's loss and its regularisers, with the features that they compare with."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from graft.build import build, examples, form_here
from graft.core.errors import PlanError
from graft.core.nouns import Form, Phase, Plan, Task
from graft.core.shelf import take
from graft.data.dataset import Dataset, Examples, chunks
from graft.features import features, sweep
from graft.learners.supervised import Objective, view
from graft.model.chain import Chain, Rest
from graft.model.modes import sent
from graft.model.prefix import Prefix
from graft.model.terms import Draw, Tensors, Terms
from graft.regularized import chosen, needing

SETTLED = 32  # examples in a batch whose statistics are taken
WEIGHED = 64  # training examples that show which channels matter


def objective(
    task: Task, plan: Plan, phase: Phase, prefix: Prefix, rest: Rest, raw: Examples, train: Dataset, seed: int
) -> Objective:
    """The phase's objective; what frozen networks say of its examples is computed once and kept.

    Raises:
        PlanError: a regulariser needs examples of a target domain, and the task has none.
    """
    found = [(file, strength) for file, strength in chosen(phase) if not hasattr(file, "settle")]
    terms, needs = Terms(), {need for file, _ in found for need in file.NEEDS}
    if found:
        before, origin, target = None, None, None
        if "pretrained" in needs:
            old, _ = build(plan.backbone, plan.head, len(task.outputs), seed)
            origin = {name: weight.detach() for name, weight in old.network.named_parameters()}
            if "features" in needs:
                before = _before(old, rest, raw, phase, prefix.form, "stages" in needs)
        if "target" in needs and (shown := target_examples(task, plan, seed)) is not None:
            target = _target(prefix, shown, phase)
        torch.manual_seed(seed)  # what a term learns itself starts from the seed alone
        every, others = "stages" in needs, len(task.target)
        terms = Terms(found, rest, moving(rest), origin, before, target, others, phase.dtype, every)
    head, weighed = take("heads", task.head), weights(task, phase, raw)
    aim = Objective(head, task.metric, weighed, phase.smoothing, task.outputs, terms)
    for file in (file for file, _ in found if hasattr(file, "weigh")):
        terms.weights = file.weigh(*_effects(rest, train, aim, seed))
    return aim


def weights(task: Task, phase: Phase, train: Examples) -> torch.Tensor | None:
    """What the head's loss weighs by, from the training part."""
    found = take("heads", task.head).weigh(train.targets, len(task.outputs), phase.class_weights)
    return None if found is None else torch.as_tensor(found, device=form_here(Form()).device)


def moving(rest: Rest) -> Tensors:
    """What training can change: the parameters that learn and the buffers that are not frozen."""
    frozen = rest.cut.modules if rest.cut else frozenset()
    found: Tensors = {n: p for n, p in rest.network.named_parameters() if p.requires_grad}
    return found | {n: b for n, b in rest.network.named_buffers() if n.rpartition(".")[0] not in frozen}


def settle(chain: Chain, plan: Plan, raw: Dataset | None, seed: int) -> bool:
    """Set what the plan wants to be set once by examples, such as batch-norm statistics; whether it wants that."""
    files = {file for phase in plan.every for file, _ in chosen(phase) if hasattr(file, "settle")}
    for file in files:
        assert raw is not None
        file.settle(chain, _even(raw, form_here(Form()).device, seed))
    return bool(files)


def target_examples(task: Task, plan: Plan, seed: int) -> Examples | None:
    """The raw examples of the target domain, where the plan needs them.

    Raises:
        PlanError: it does, and the task has none.
    """
    if not needing(plan, "target"):
        return None
    if not len(task.target):
        raise PlanError("The plan aligns with a target domain, and the task has none: load(…, target=FOLDER).")
    return examples(task, task.target, plan.backbone, seed)


def _before(old: Chain, rest: Rest, raw: Examples, phase: Phase, form: Form, every: bool) -> Draw:
    """What the pretrained network makes of training examples: stored, or computed as the phase wants it.

    Args:
        every: of each stage that learns; else of the last.
    """
    frozen = rest.cut.modules if rest.cut else frozenset()
    cuts = [cut for cut in old.stages if every and cut.name not in frozen] or old.stages[-1:]
    prefix, _ = old.split(len(old.stages), form)
    kept = sweep(prefix, cuts, raw, max(1, phase.views)) if phase.views and phase.stored else []

    def before(rows: np.ndarray, epoch: int) -> Tensors:
        which = view(rows, epoch, phase.views)
        if kept:
            found = {cut.name: one.map(one.read(rows, which))["h"] for cut, one in zip(cuts, kept, strict=True)}
        else:
            batch = raw.map(raw.read(rows, which))
            found = prefix.run({name: value for name, value in batch.items() if name != "y"}, cuts)
        return sent(found, form.device)

    return before


def _effects(rest: Rest, train: Dataset, aim: Objective, seed: int) -> tuple[Tensors, Tensors]:
    """What the stages that learn put out for some training examples, and the loss's gradient there."""
    rows = np.random.default_rng(seed).permutation(len(train))[:WEIGHED]
    device = next(rest.network.parameters()).device
    batch = sent(train.map(train.read(rows, np.zeros(len(rows), int))), device)
    rest.eval()
    with aim.terms.stages() as now:
        loss = aim.loss(rest(batch), batch["y"])
    gradients = torch.autograd.grad(loss, list(now.values())) if now else ()
    return {name: out.detach() for name, out in now.items()}, dict(zip(now, gradients, strict=True))


def _target(prefix: Prefix, raw: Examples, phase: Phase) -> Draw:
    """Batches of the target domain at the phase's boundary, varied as the training examples are."""
    data = features(prefix, raw, max(1, phase.views), stored=phase.stored)

    def target(rows: np.ndarray, epoch: int) -> dict[str, Any]:
        return sent(data.map(data.read(rows, view(rows, epoch, phase.views))), prefix.form.device)

    return target


def _even(raw: Dataset, device: str, seed: int) -> Iterator[Tensors]:
    """Shuffled batches of one size; what is left over is not shown, unless there is nothing else."""
    order, size = np.random.default_rng(seed).permutation(len(raw)), min(SETTLED, len(raw))
    for at in chunks(len(raw) // size * size, size):
        yield sent(raw.map(raw.read(order[at], np.zeros(len(at), int))), device)
