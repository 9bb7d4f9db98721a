"""Fit what is left on the data it is given: epochs of shuffled batches, AdamW, warm-up and cosine."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from graft.core.errors import TrainingDiverged
from graft.core.nouns import Epoch, Phase
from graft.data.dataset import Batch, Dataset, ahead, chunks
from graft.model import contrast
from graft.model.adamw import AdamW
from graft.model.chain import Chain, Rest
from graft.model.modes import is_norm, pinned, precision, sent
from graft.model.terms import Blend, Terms


@dataclass(frozen=True)
class Objective:
    """What is minimised and what is reported, for one head on one task."""

    head: Any  # a file of the `heads` shelf
    metric: str
    weights: torch.Tensor | None  # per class
    smoothing: float
    names: tuple[str, ...] = ()  # of the outputs
    terms: Terms = field(default_factory=Terms)  # regularisers

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, blend: Blend | None = None) -> torch.Tensor:
        """A scalar; where examples are mixed, the loss is, in the same shares."""
        own = self.head.loss(logits, targets, self.weights, self.smoothing)
        if blend is None:
            return own  # type: ignore[no-any-return]
        other = self.head.loss(logits, targets[blend.partner], self.weights, self.smoothing)
        return blend.share * own + (1 - blend.share) * other  # type: ignore[no-any-return]


def optimiser(chain: Chain, phase: Phase) -> tuple[AdamW, tuple[str, ...]]:
    """AdamW over every parameter that learns, each in one group, and the names of those that get no gradient.

    The head learns at `phase.lr`; the last stage at `backbone_lr` of it, each stage below at `lr_decay` of the one
    above. Biases and norms are not decayed.
    """
    learning = {name: p for name, p in chain.network.named_parameters() if p.requires_grad}
    idle = tuple(sorted(unreached(chain, learning)))
    norms = {f"{n}.{p}" for n, m in chain.network.named_modules() if is_norm(m) for p, _ in m.named_parameters()}
    groups: dict[tuple[float, float], list[Any]] = {}
    depth = len(chain.stages)
    owner = {name: index for index in range(depth) for name in chain.stage_parameters(index)}
    for name, parameter in learning.items():
        if name in idle:
            continue
        below = depth - 1 - owner.get(name, depth - 1)
        rate = 1.0 if name.split(".")[0] == "head" else phase.backbone_lr * phase.lr_decay**below
        decay = 0.0 if parameter.ndim <= 1 or name in norms else phase.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    listed = [
        {"params": members, "lr": phase.lr * rate, "scale": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]
    return AdamW(listed), idle


def unreached(chain: Chain, learning: dict[str, torch.nn.Parameter]) -> set[str]:
    """Names of parameters that no gradient reaches: poolers that are not used, mask tokens, auxiliary heads."""
    from graft.model.cuts import first

    chain.network.eval()
    with torch.enable_grad():
        out = first(chain.network(**chain.example)).sum()
        grads = torch.autograd.grad(out, list(learning.values()), allow_unused=True)
    return {name for name, grad in zip(learning, grads, strict=True) if grad is None}


def rate(step: int, steps: int, warmup: float) -> float:
    """Share of the full rate at a step: linear warm-up over a share of the steps, then half a cosine to zero."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))


def batches(count: int, size: int, seed: int, classes: np.ndarray | None = None) -> list[np.ndarray]:
    """One epoch's rows, shuffled by the seed; a last batch of one row joins the one before (batch norm needs two).

    With `classes` (count,), pairs of one class stay side by side.
    """
    order = np.random.default_rng(seed).permutation(count) if classes is None else contrast.order(classes, seed)
    cut = [order[at] for at in chunks(count, size)]
    if len(cut) > 1 and len(cut[-1]) == 1:
        cut[-2:] = [np.concatenate(cut[-2:])]
    return cut


def view(rows: np.ndarray, epoch: int, views: int) -> np.ndarray:
    """Which view each row shows in an epoch: fresh ones (views=0), or the kept ones in turn, staggered over rows."""
    return np.full(len(rows), epoch) if views == 0 else (rows + epoch) % views


def fit(
    rest: Rest,
    optimiser: AdamW,
    train: Dataset,
    val: Dataset,
    phase: Phase,
    objective: Objective,
    seed: int,
    start: int = 0,
    index: int = 0,
) -> Iterator[Epoch]:
    """Train epoch by epoch until the phase's steps are used up; epoch 0 is the state before the first step.

    An epoch depends on nothing but the weights, the optimiser's state, the seed and its number, so a run that goes on
    from `start` ends in the same weights as one that was never interrupted.

    Raises:
        TrainingDiverged: the loss is not a finite number.
    """
    device = next(rest.network.parameters()).device
    per_epoch = len(batches(len(train), phase.batch, 0))
    epochs = math.ceil(phase.steps / per_epoch)
    if start == 0:
        before = math.nan, math.nan  # how alike a class is shows beside training examples only
        loss, score = before if phase.objective == "contrastive" else evaluate(rest, val, objective, phase)
        yield Epoch(index, 0, 0, math.nan, math.nan, loss, score, 0.0, 0.0)
    for epoch in range(max(1, start), epochs + 1):
        began = time.perf_counter()
        torch.manual_seed(hash_seed(seed, index, epoch))
        rest.train(phase.batch_stats)
        objective.terms.swap()
        losses, right, shown, lr = [], [], [], 0.0
        order = batches(len(train), phase.batch, hash_seed(seed, index, epoch), _paired(train, phase))
        order = order[: phase.steps - (epoch - 1) * per_epoch]

        def drawn(rows: np.ndarray, epoch: int = epoch) -> Batch:
            return pinned(train.read(rows, view(rows, epoch, phase.views)), device.type)

        asked = ahead(drawn, order)
        asked = tqdm(asked, f"phase {index}, epoch {epoch} of {epochs}", len(order), unit="step", delay=2, leave=False)
        for number, read in enumerate(asked):
            batch = sent(train.map(read), device)
            lr = rate((epoch - 1) * per_epoch + number, phase.steps, phase.warmup)
            for group in optimiser.param_groups:
                group["lr"] = phase.lr * group["scale"] * lr
            rest.train(phase.batch_stats)  # a streamed prefix has just run in eval mode
            at, draw = (epoch - 1) * per_epoch + number, hash_seed(seed, index, epoch, number)
            batch, blend = objective.terms.fed(batch, draw)
            seen = contrast.watched(rest.network.get_submodule("head"))
            with seen as vectors, objective.terms.stages() as now, precision(phase.dtype, device.type):
                logits = rest(batch)
            if phase.objective == "contrastive":
                logits = vectors[-1]
                loss_now = contrast.loss(logits, batch["y"])
            else:
                loss_now = objective.loss(logits, batch["y"], blend)
            if objective.terms.penalties:
                more = objective.terms.penalty(vectors[-1], now, order[number], epoch, at / phase.steps, draw)
                loss_now = loss_now + more
            if not math.isfinite(loss_now.item()):
                raise TrainingDiverged(
                    f"The loss is {loss_now.item()} in phase {index}, epoch {epoch}, step {number}, at a head rate of "
                    f"{phase.lr * lr:.2g}. Lower `lr` in that phase of the plan (try {phase.lr / 10:.2g})."
                )
            optimiser.zero_grad()
            loss_now.backward()
            optimiser.step()
            objective.terms.follow(at)
            losses.append(loss_now.item())
            right.append(logits.detach().float().cpu().numpy())
            shown.append(batch["y"].cpu().numpy())
        objective.terms.swap()
        known, targets = np.concatenate(right), np.concatenate(shown)
        if phase.objective == "contrastive":
            score, (val_loss, val_score) = math.nan, _likeness(rest, val, objective, phase, known, targets)
        else:
            score = objective.head.metric(known, targets, objective.metric, objective.names)
            val_loss, val_score = evaluate(rest, val, objective, phase)
        yield Epoch(
            index, epoch, len(order), float(np.mean(losses)), score, val_loss, val_score, phase.lr * lr,
            time.perf_counter() - began,
        )  # fmt: skip


def predict(rest: Rest, data: Dataset, dtype: str = "float32", size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, outputs), float32, of the plain view of every example (or its rows), and the targets beside them."""
    device = next(rest.network.parameters()).device
    rest.eval()
    out, targets = [], []
    with torch.no_grad(), precision(dtype, device.type):
        for read in ahead(lambda rows: data.read(rows, np.zeros(len(rows), int)), list(chunks(len(data), size))):
            batch = data.map(read)
            targets.append(batch["y"].cpu().numpy())
            rest.eval()
            out.append(rest(sent(batch, device)).float().cpu().numpy())
    return np.concatenate(out), np.concatenate(targets)


def _paired(train: Dataset, phase: Phase) -> np.ndarray | None:
    return train.targets if phase.objective == "contrastive" else None


def _likeness(
    rest: Rest, val: Dataset, objective: Objective, phase: Phase, known: np.ndarray, y: np.ndarray
) -> tuple[float, float]:
    """Loss and score on plain views where classes are told by likeness to what the epoch saw of them: known (n, D)."""
    with contrast.watched(rest.network.get_submodule("head")) as vectors:
        _, targets = predict(rest, val, phase.dtype)
    asked = torch.cat(vectors).float().cpu()
    logits = contrast.nearest(known, y, asked.numpy(), len(objective.names))
    loss = contrast.loss(asked, torch.from_numpy(targets)).item()
    return loss, objective.head.metric(logits, targets, objective.metric, objective.names)


def evaluate(rest: Rest, data: Dataset, objective: Objective, phase: Phase) -> tuple[float, float]:
    """Loss and score on plain views; quantities are weighed, which makes them comparable, and classes are not."""
    logits, y = predict(rest, data, phase.dtype)
    weights = objective.weights if objective.head.KIND == "squared" else None
    plain = Objective(objective.head, objective.metric, None if weights is None else weights.cpu(), 0.0)
    loss = plain.loss(torch.from_numpy(logits), torch.from_numpy(y)).item()
    return loss, objective.head.metric(logits, y, objective.metric, objective.names)


def hash_seed(*numbers: int) -> int:
    """One seed out of several numbers."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1)[0])
