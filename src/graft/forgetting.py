"""Task, Run → what adapting cost the source: a fresh linear probe on its features before and after.

The probe (Alain & Bengio 2016) is the exact head, fitted on source examples and asked about others that neither it nor
the run learned from. It says what the features still hold; the head of the source itself is not there any more.
"""

from dataclasses import replace

import numpy as np
from safetensors.torch import load_file

from graft.adapt import finished
from graft.build import build, examples, find, form_here, suited
from graft.core import figures, home
from graft.core.errors import GraftError
from graft.core.examples import kept_apart
from graft.core.nouns import Part, Report, Run, Sealed, Task
from graft.core.phases import uneven
from graft.core.shelf import take
from graft.data.dataset import table
from graft.entries import opened
from graft.features import features
from graft.joint import halves
from graft.model import linear, stats
from graft.rank import learned
from graft.regularized import chosen

MOST = 500  # source examples that the probe learns from, and as many that it is asked about
FEWEST = 10  # held-out source examples under which nothing is said


def forgotten(task: Task, run: Run, report: Report) -> Report:
    """The report with what adapting cost the source, where it is known: source data, or an earlier run's own.

    Not told where the backbone has seen the held-out examples, or what they were read from is gone.
    """
    known = _known(task, run)
    if known is None or take("heads", task.head).ROWS or take("heads", known.head).ROWS:
        return report
    if untouched(run):
        note = "Adapting cost the source nothing: no weight of the backbone has changed."
        return replace(report, forgetting=(0.0, 0.0, 0.0), notes=(*report.notes, note))
    if (old := _source(task, run, known)) is None:
        return report
    try:
        before, after = (_probed(task, run, old, adapted) for adapted in (False, True))
    except GraftError as error:
        note = f"What adapting cost the source is not told: {error}"
        return replace(report, notes=(*report.notes, note))
    head, metric = take("heads", old.head), old.metric
    share = head.share(head.array(old.test.part.targets, len(old.outputs)), metric)
    lost = stats.paired(before, after, share, shares=figures.is_share(metric))
    mean, low, high = (figures.gain(value, metric) for value in lost)
    was, now = (figures.score(float(one @ share), metric) for one in (before, after))
    note = (
        f"Adapting cost the source {mean}{figures.points(metric)} (95 % interval {low} to {high}): a fresh linear "
        f"probe of the backbone reaches {was} before and {now} after on {len(old.test)} held-out source examples."
    )
    return replace(report, forgetting=lost, notes=(*report.notes, note))


def untouched(run: Run) -> bool:
    """Whether a run left every weight and statistic of the backbone as it was."""
    return not run.tuned and not any(hasattr(file, "settle") for p in run.kept for file, _ in chosen(p))


def _known(task: Task, run: Run) -> Task | None:
    """The task that knows the source: this one, where it has source data, or that of the run that the backbone is."""
    backbone = run.plan.backbone
    if len(task.source):
        return task
    earlier = finished(backbone.id.removeprefix("checkpoint/")) if backbone.id.startswith("checkpoint/") else None
    found = home.recall("load", earlier.task, Task) if earlier else None
    return found if found and suited(find(backbone.id), found).input == backbone.input else None


def _source(task: Task, run: Run, known: Task) -> Task | None:
    """The source as a task of its own: what its probe learns from, and for a test part what nothing learned from."""
    if known is task:
        train, held = halves(task)
        old = replace(task, train=train, val=Part())
    else:
        reason = f"verify: what adapting it further to {task.name} forgets, {run.key}"
        opened(known, reason)
        old, train, held = known, known.train, known.test.open(reason)
    seen = learned(run.plan.backbone) | task.train.marks | task.val.marks
    held = _some(held.select(row for row, id in enumerate(held.ids) if id not in seen))
    return replace(old, train=_some(train), test=Sealed(held)) if len(held) >= FEWEST else None


def _some(part: Part) -> Part:
    return part.select(sorted(range(len(part)), key=part.ids.__getitem__)[:MOST])


def _probed(task: Task, run: Run, old: Task, adapted: bool) -> np.ndarray:
    """What each held-out source example adds to the score of a fresh head on the backbone, pretrained or adapted."""
    head, count, backbone = take("heads", old.head), len(old.outputs), run.plan.backbone
    chain, _ = build(backbone, task.head, len(task.outputs), run.seed, pretrained=not adapted)
    if adapted:
        chain.network.load_state_dict(load_file(run.weights))
    chain.freeze(("head",))
    prefix, _ = chain.split(form=form_here(run.plan.form))
    (x, y), (asked, known) = (
        table(features(prefix, examples(old, part, backbone, run.seed))) for part in (old.train, old.test.part)
    )
    found = head.solve(x, y, count, uneven(old), old.metric, groups=kept_apart(old.train, old.val))
    said = linear.logits(found.weight, found.bias, asked)
    return np.asarray(head.outcomes(said, known, old.metric, old.outputs), np.float64)
