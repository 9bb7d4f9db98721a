"""Task, Run, Report → Exhibits: what the report shows beside its figures, gathered from what is stored already."""

import math
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import graft
from graft.adapt import finished
from graft.confidence import said as answered
from graft.confidence import vectors
from graft.core import home
from graft.core.costs import boundary
from graft.core.examples import called, look_at
from graft.core.exhibits import DROPPED, SCHEMA, Candidate, Closeup, Dot, Exhibits, Spent, Stage, Step, Told
from graft.core.keys import file_sha256, key
from graft.core.nouns import Part, Ranking, Report, Row, Run, Suspect, Task
from graft.core.shelf import names, take
from graft.examined import Examiner, truth, wrong
from graft.export import bare, example, unplaced
from graft.folds import distinct, joined
from graft.groups import groups, named
from graft.model.calibration import reliability
from graft.rivals import described

MISTAKES, LOOKS, SUSPECTS = 8, 6, 6  # examples that are shown
LISTED = 20  # files and pairs that are named
PAIRS, DOTS = 500, 500  # examples in a picture
NEIGHBOURS = 100  # examples from which near neighbours can be shown: t-SNE
PACKAGES = ("numpy", "torch", "timm", "transformers", "scikit-learn", "pillow", "soundfile")


def gathered(
    task: Task,
    run: Run,
    report: Report,
    ranking: Ranking | None = None,
    command: str = "",
    examples: bool = True,
    folder: str = "",
) -> Told:
    """A finished run's report, and what there is to show beside it.

    Args:
        command: what reproduces it.
        examples: whether the examples themselves are shown: people's photos may be private.
        folder: of the model, where one was written.
    """
    name = key("exhibits", graft.__version__, SCHEMA, task, run, report, ranking, command, examples, folder)
    return home.remember(
        "exhibits", name, Told, lambda: _gathered(task, run, report, ranking, command, examples, folder)
    )


def _gathered(
    task: Task, run: Run, report: Report, ranking: Ranking | None, command: str, examples: bool, folder: str
) -> Told:
    head, row = take("heads", task.head), next(row for row in report.rows if row.name == report.ships)
    part = distinct(task.test.open(report.test_openings[-1]))  # the same opening: nothing is chosen by it
    logits, y = answered(task, row, part)
    network = finished(row.run) if row.name not in names("baselines") else None
    found = groups(task, network) if network else ()
    labels = named(task, found)
    worth, plan, backbone = report.calibration, run.plan, run.plan.backbone
    heat = worth.temperature if worth else 1.0
    bad = wrong(head, logits, y, heat)
    ask = Examiner(task, row, labels, worth.trust if worth else {})

    def shown(rows: Sequence[int], look: bool = True, of: Part = part) -> tuple[Closeup, ...]:
        told = [truth(head, of.targets[at], labels) for at in rows] if of.targets else [""] * len(rows)
        if not examples:
            return tuple(Closeup(called(of.items[at]), "", label) for at, label in zip(rows, told, strict=True))
        return tuple(ask.closeup(of, at, label, look) for at, label in zip(rows, told, strict=True))

    errors = [int(at) for at in np.argsort(-bad, kind="stable")[:MISTAKES] if bad[at] > 0]
    plain = head.KIND == "softmax" and not head.ROWS
    evidence = [one for one in ranking.evidence if one.backbone.id == backbone.id] if ranking else []
    curve = evidence[0].stage_curve if evidence else ()
    dots, mapped = _map(task, row, part)
    doubt = look_at(report.suspects)  # these have a place of their own
    exhibits = Exhibits(
        name=task.name, modality=task.modality, head=task.head, word=take("modalities", task.modality).WORD,
        outputs=tuple(labels), parts={"train": len(task.train), "val": len(task.val), "test": len(part)},
        backbone=backbone.id, pretrained=run.plan.pretrained and not backbone.id.startswith("blank/"),
        strategy=plan.strategy, why=(*(said for said in plan.why if said != doubt), *run.notes[: len(run.shares) > 0]),
        ranking=_ranking(ranking), chosen=ranking.why if ranking else (), untried=ranking.untried if ranking else (),
        stages=tuple(Stage(one.stage, one.score, one.error) for one in curve),
        steps=tuple(
            Step(", ".join(phase.train), boundary(phase.train, len(plan.stages)), len(plan.stages),
                 phase.lr if phase.solver != "exact" else 0.0, way, not run.shares or run.shares[way - 1] > 0)
            for way, phases in enumerate(plan.ways, 1) for phase in phases
        ),
        history=tuple(epoch for epoch in run.history if epoch.phase < len(plan.every)),  # not looks at mixtures
        before=_reliability(logits, y, 1.0) if plain else (), after=_reliability(logits, y, heat) if plain else (),
        pairs=_pairs(logits, y) if head.KIND == "squared" else (),
        wrong=int((bad > 0).sum()) if head.KIND != "squared" else 0, tested=len(part),
        mistakes=shown(errors),
        looks=shown(_telling(head, logits, y, bad, heat)) if examples else (),
        suspects=_suspects(task, report.suspects, shown),
        dots=dots, mapped=mapped,
        groups=tuple((one.name, one.count, ", ".join(one.terms)) for one in found),
        skipped=tuple((called(where), why) for where, why in task.audit.skipped[:LISTED]),
        left_out=len(task.audit.skipped),
        alike=tuple((called(a), called(b)) for a, b in task.audit.near_duplicates[:LISTED]),
        alikes=len(task.audit.near_duplicates), copies=len(task.audit.moved), audit=bare(task, task.audit.notes),
        spent=_spent(run, report, ranking), passes=run.cost.prefix_passes, saved=_saved(task, run),
        peak_bytes=run.cost.peak_bytes, lineage=_lineage(task, run, row, command),
        folder=folder, example=example(task),
    )  # fmt: skip
    return Told(SCHEMA, unplaced(task, report), exhibits)


def _ranking(ranking: Ranking | None) -> tuple[Candidate, ...]:
    if not ranking:
        return ()
    most = max((one.n_used for one in ranking.evidence), default=0)

    def note(id: str, used: int) -> str:
        told = ["best published accuracy"] if id == ranking.static else []
        return ", ".join([*told, *([f"{DROPPED} {used} examples"] if used < most else [])])

    return tuple(
        Candidate(
            one.backbone.id,
            one.scores["probe"],
            one.probe_error,
            one.backbone.license,
            note(one.backbone.id, one.n_used),
        )
        for one in ranking.evidence
        if "probe" in one.scores
    )


def _reliability(logits: np.ndarray, y: np.ndarray, heat: float) -> tuple[tuple[float, ...], ...]:
    from scipy.special import softmax

    p = softmax(np.asarray(logits, np.float64) / heat, axis=1)
    return tuple(map(tuple, reliability(p.max(1), p.argmax(1) == y).round(4).tolist()))


def _pairs(logits: np.ndarray, y: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Truths and answers of the first quantity, evenly from all examples."""
    step = max(1, len(y) // PAIRS)
    return tuple((float(a), float(b)) for a, b in zip(y[::step, 0], logits[::step, 0], strict=True))


def _telling(head: Any, logits: np.ndarray, y: np.ndarray, bad: np.ndarray, heat: float) -> list[int]:
    """Right answers to look into: the surest of every class, or the best ones where there are no classes."""
    if head.KIND in ("softmax", "groups") and not head.ROWS:
        from scipy.special import softmax

        own = y if head.KIND == "softmax" else logits.argmax(1)
        p = softmax(np.asarray(logits, np.float64) / heat, axis=1).max(1)
        order = [int(at) for at in np.argsort(-p, kind="stable") if not bad[at]]
        first = {int(own[at]): at for at in reversed(order)}
        return [first[label] for label in sorted(first)][:LOOKS]
    tagged = (
        np.bincount(y[:, 1], weights=y[:, 0] > 0) if head.ROWS else np.zeros(len(bad))
    )  # what has nothing says nothing
    return [int(at) for at in np.lexsort((-tagged, bad))[:LOOKS]]


def _suspects(task: Task, found: Sequence[Suspect], shown: Any) -> tuple[Closeup, ...]:
    """The surest with the examples themselves, the others by name."""
    where = {item: row for row, item in enumerate(task.train.items)}
    made = []
    for number, one in enumerate(found):
        close = Closeup(called(one.item), "")
        if number < SUSPECTS and one.item in where:
            close = shown([where[one.item]], look=False, of=task.train)[0]
        made.append(
            Closeup(**{**vars(close), "truth": one.label, "answer": one.likely, "probability": one.probability})
        )
    return tuple(made)


def _map(task: Task, row: Row, part: Part) -> tuple[tuple[Dot, ...], str]:
    """Test and validation examples (words, where these are told) in the plane by what the model that ships sees."""
    head = take("heads", task.head)
    seen = joined(part, task.val)
    seen = seen.select(range(0, len(seen), math.ceil(len(seen) / DOTS)))
    x = _features(task, row, seen)
    if head.KIND == "squared" or x is None or len(x) < 5 or x.shape[1] < 2:
        return (), ""
    logits, y = answered(task, row, seen)
    if head.ROWS:
        some = np.flatnonzero(y[:, 0] >= 0)
        some = some[:: math.ceil(len(some) / DOTS)]
        x, truths, answers = x[some], y[some, 0], logits[some].argmax(1)
    elif head.KIND == "sigmoid":  # the rarest label stands for all; an answer is right if all are
        truths = np.array([int(label) if label else len(task.outputs) for label in head.strata(seen.targets)])
        answers = np.where(wrong(head, logits, y) > 0, -1, truths)
    else:
        answers = logits.argmax(1)
        truths = answers if head.KIND == "groups" else y
    flat, mapped = _flat(x)
    rows = zip(flat.round(4).tolist(), truths.tolist(), answers.tolist(), strict=True)
    return tuple(Dot(a, b, int(truth), int(said)) for (a, b), truth, said in rows), mapped


def _features(task: Task, row: Row, part: Part) -> np.ndarray | None:
    """What the model of a row sees of each example, or of each of its rows (n, D); None where that has no one width."""
    if row.name not in names("baselines"):
        run = finished(row.run)
        seen = vectors(task, run, part)[0].numpy() if run else None
    else:
        seen = described(row.name, task, part)
    if not isinstance(seen, np.ndarray) or seen.ndim != 2:
        return None
    x = np.nan_to_num(seen.astype(np.float64))
    return x / (x.std(0) + 1e-12) if row.name in names("baselines") else x  # columns in units of their own


def _flat(x: np.ndarray) -> tuple[np.ndarray, str]:
    """Rows in the plane, near ones beside each other, and how."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    flat, how = PCA(min(50, *x.shape), svd_solver="full").fit_transform(x), "PCA"
    if len(x) >= NEIGHBOURS:
        flat, how = TSNE(2, init="pca", random_state=0, perplexity=min(30, len(x) / 5)).fit_transform(flat), "t-SNE"
    return flat[:, :2] / (np.abs(flat[:, :2]).max() or 1.0), how


def _spent(run: Run, report: Report, ranking: Ranking | None) -> tuple[Spent, ...]:
    return (
        *([Spent("choosing a backbone", ranking.seconds)] if ranking else []),
        Spent("adapting it", run.cost.seconds, run.cost.cpu_seconds),
        *(replace(one, name=f"comparing: {one.name}") for one in report.spent if one.seconds >= 0.5),
    )


def _saved(task: Task, run: Run) -> int:
    """Passes through the frozen prefix that training would have made if it ran it for every batch, less those made."""
    steps, needed = run.plan.every, 0
    for number, phase in enumerate(steps):
        epochs = sum(epoch.phase == number and (epoch.epoch > 0) for epoch in run.history)
        if boundary(phase.train, len(run.plan.stages)) and phase.stored:
            needed += epochs * (len(task.train) + len(task.val))
    return max(0, needed - run.cost.prefix_passes)


def _lineage(task: Task, run: Run, row: Row, command: str) -> dict[str, str]:
    backbone, weights = run.plan.backbone, Path(run.weights)
    made = {
        "data": task.key, "what ships": row.name.replace("_", " "), "backbone": backbone.id,
        "pretrained on": backbone.pretrained_on, "licence of the weights": backbone.license,
        "revision": backbone.revision, "sha256 of the pretrained weights": backbone.sha256,
        "run": run.key, "sha256 of the adapted weights": file_sha256(weights) if weights.is_file() else "",
        "seed": str(run.seed), "graft": graft.__version__, "Python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES}, "command": command,
    }  # fmt: skip
    return {name: value for name, value in made.items() if value}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
