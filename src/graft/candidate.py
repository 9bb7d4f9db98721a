"""One backbone while it is being measured: what it costs here, and what a probe of each of its stages reaches."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from graft.build import build, examples, find, remarks, suited, views
from graft.core import figures
from graft.core.cores import cores
from graft.core.events import tell
from graft.core.examples import Suspect, kept_apart, look_at
from graft.core.nouns import Backbone, Budget, Evidence, Form, Loading, Part, StageProbe, Task
from graft.core.shelf import function, take
from graft.data.dataset import Stored, table
from graft.features import sweep
from graft.model import identity
from graft.model.chain import Chain
from graft.model.cuts import Cut
from graft.model.distance import distance, domains, shift
from graft.model.suspects import chances, suspects
from graft.speed import Forward, Training, forward, subset

DOUBTED, LIKELY = 50, 0.5  # suspects that are kept; the chance of a wrong label from which an example is one
SCORES = ("knn", "logme")  # beside the probe, on the last stage
GLANCED = 200  # examples by which an early stage is looked at where there are no labels
ABOUT = tuple(2.0 ** (at / 4) for at in range(-4, 5))  # of the seconds of a budget: half to twice, evenly by ratio
SMALL = 64_000_000  # bytes of the widest stage's vectors up to which stages are probed side by side
COMPARED = 1000  # examples of both parts by which their distance is told, at most


@dataclass
class Candidate:
    """One backbone being measured."""

    backbone: Backbone
    chain: Chain
    loading: Loading
    form: Form
    speed: Forward
    remarks: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    curve: list[StageProbe] = field(default_factory=list)
    used: int = 0
    tuned: float = 1.0  # how surely it will be, and not only a head fitted on it, as far as can be foreseen
    features: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  # the last stage's, of what was used
    suspects: tuple[Suspect, ...] = ()
    apart: tuple[float, float] | None = None  # domain distance, and what it would be by chance
    abroad: tuple[float, float] | None = None  # the same of source data
    training: Training = field(default=Training(0.0, 0.0, "float32"))

    @property
    def each(self) -> float:
        """Wall seconds of one example, read and run through."""
        return sum(self.speed.stages) + self.speed.prepare

    @classmethod
    def open(cls, backbone: Backbone, task: Task, seed: int) -> "Candidate":
        chain, loading = build(suited(backbone, task), task.head, len(task.outputs), seed)
        backbone = suited(find(backbone.id), task)  # a hub's revision is known once it is here
        form, speed = forward(task, backbone, chain)
        return cls(backbone, chain, loading, form, speed, remarks(backbone, task))

    def measure(self, task: Task, part: Part, seed: int) -> None:
        """Scores and the stage curve on these training examples, every stage from one sweep."""
        prefix, _ = self.chain.split(len(self.chain.stages), self.form)
        raw, head = examples(task, part, self.backbone, seed), take("heads", task.head)
        stored = sweep(prefix, self.chain.stages, raw, pool=True)
        labelled, classes = getattr(head, "LABELLED", True), head.KIND == "softmax" and not head.ROWS
        more = {"groups": kept_apart(part, task.val), **({"names": task.outputs} if head.ROWS else {})}

        def probed(cut: Cut, data: Stored) -> Any:
            x, y = table(data)
            if not labelled and cut is not self.chain.stages[-1]:  # how many groups there are takes long to tell
                x, y = x[:GLANCED], y[:GLANCED]
            return head.solve(x, y, len(task.outputs), metric=task.metric, **more)

        self.curve = []
        for at, found in enumerate(_side_by_side(probed, self.chain.stages, stored)):
            if classes and found.score > max((p.score for p in self.curve), default=0):
                self.suspects = _suspects(task, part, found.held)
            cut = self.chain.stages[at]
            rows = 1 if cut.unit == "example" else self.speed.rows
            each = 2 if prefix.halved(cut) else 4
            name, size = cut.name.removeprefix("backbone."), int(each * rows * np.prod(cut.shape))
            costs = self.speed.stages[at], size, self.speed.saved[at]
            self.curve.append(StageProbe(name, found.score, found.error, *costs))
        x, y = table(stored[-1])
        others = SCORES if classes else ()
        self.scores = {"probe": self.curve[-1].score, **{name: function("scores", name)(x, y) for name in others}}
        self.used, self.features = len(part), x
        tell("measured", backbone=self.backbone.id, score=self.scores["probe"], examples=len(part))

    def foresee(self, task: Task, budget: Budget) -> None:
        """How surely it will be tuned: the share of budgets, from half of this one to twice as much, at which `auto`
        would tune it and not only a head, by what is known so far.

        A speed measured on a busy machine is off by as much: it must not turn the choice over.
        """
        auto, evidence = function("strategies", "auto"), self.evidence(task)
        plans = [auto(task, evidence, replace(budget, seconds=times * budget.seconds)) for times in ABOUT]
        self.tuned = float(np.mean([any(phase.solver != "exact" for phase in plan.every) for plan in plans]))

    def compare(self, task: Task, seed: int) -> None:
        """Whom the last stage's features tell apart, and how far the validation part lies from the training part."""
        head, part = take("heads", task.head), subset(task, task.train, self.used)
        if head.ROWS:  # whose features are those of words
            return
        one_class = head.KIND == "softmax" and not kept_apart(part, task.val)  # where that is not the probe itself
        y = head.array(part.targets, len(task.outputs)) if one_class else None
        self.remarks += identity.remarks(self.features, part.groups, y, task.metric, seed)
        self.apart = self._distance(task, task.val, seed)
        self.abroad = self._distance(task, task.source, seed) if len(task.source) else None

    def _distance(self, task: Task, part: Part, seed: int) -> tuple[float, float]:
        """How far some examples of a part lie from some training examples, with its error."""
        some = part.select(sorted(range(len(part)), key=part.ids.__getitem__)[: COMPARED // 2])
        prefix, _ = self.chain.split(len(self.chain.stages), self.form)
        (data,) = sweep(prefix, self.chain.stages[-1:], examples(task, some, self.backbone, seed), pool=True)
        order = np.random.default_rng(0).permutation(len(self.features))[: COMPARED - len(some)]
        return distance(self.features[order], table(data)[0], seed)

    def evidence(self, task: Task) -> Evidence:
        """The noun."""
        head, count = take("heads", task.head), len(task.train)
        one_class = head.KIND == "softmax" and not head.ROWS
        best, last = max(self.curve, key=lambda stage: stage.score), self.curve[-1]
        if getattr(head, "LABELLED", True):
            apart = ", by whom they come from" if kept_apart(task.train, task.val) else ""
            why = [
                f"A linear probe on its features reaches {figures.around(last.score, last.error, task.metric)} "
                f"({figures.called(task.metric)}, cross-validated on {self.used} training examples{apart})."
            ]
        else:
            why = [f"Its features fall into groups with a {task.metric} of {last.score:.3f} ± {last.error:.3f}."]
        if best.score > last.score + last.error:
            reached = figures.plain(best.score, task.metric)
            why.append(f"Its best stage is {best.stage} ({reached}): what comes after it serves these data less.")
        if self.used < len(task.train):
            why.append(f"It was dropped after {self.used} of {len(task.train)} examples.")
        doubt = look_at(self.suspects)
        why += (*shift(self.apart), *domains(self.abroad, self.apart), *self.remarks, *([doubt] if doubt else []))
        return Evidence(
            backbone=self.backbone, scores=self.scores, stage_curve=tuple(self.curve), n_train=len(task.train),
            n_used=self.used, per_class=min(Counter(task.train.targets).values()) if one_class else count,
            domain_distance=self.apart and self.apart[0], form=self.form, prepare_seconds=self.speed.prepare,
            train_seconds=self.training.step, train_dtype=self.training.dtype, loading=self.loading, why=tuple(why),
            views=views(task), rows=self.speed.rows, suspects=self.suspects,
            source_distance=self.abroad and self.abroad[0],
        )  # fmt: skip


def _side_by_side(probed: Callable[[Cut, Stored], Any], cuts: list[Cut], stored: list[Stored]) -> Iterator[Any]:
    """The probes of all stages, in order, on as many cores as there are; where they are large one after the other:
    together they would be several times as large as the widest."""
    small = all(not data.ragged and 4 * len(data) * int(np.prod(data.store.shape)) < SMALL for data in stored)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores() if small else 1) as pool:
        yield from pool.map(probed, cuts, stored)


def _suspects(task: Task, part: Part, held: np.ndarray) -> tuple[Suspect, ...]:
    """The surest of those whose label the probe's folds, which did not see them, contradict, likely wrong."""
    wrong, names = chances(held, part.targets), task.outputs
    found = zip(*(column.tolist() for column in suspects(held, part.targets)), strict=True)
    made = [
        Suspect(part.items[row], names[int(part.targets[row])], names[k], p, round(float(wrong[row]), 3))
        for row, k, p in found
        if wrong[row] >= LIKELY
    ]
    return tuple(made[:DOUBTED])
