"""Task, Run → Report: was transferring better than not transferring, by how much, how surely? Opens the test part."""

import logging
import math
import time
from dataclasses import dataclass, replace

import numpy as np
from safetensors.numpy import load_file, save_file

import graft
from graft.adapt import adapt, belongs, logits, spent
from graft.build import build, resized
from graft.core import home
from graft.core.costs import OPENING
from graft.core.errors import GraftError
from graft.core.keys import key
from graft.core.nouns import Budget, Cost, Part, Phase, Plan, Report, Row, Run, Slice, Task
from graft.core.phases import exact_head, uneven
from graft.core.shelf import names, take
from graft.data.dataset import Examples, ahead, chunks
from graft.data.store import open_store
from graft.model import stats
from graft.model.probes import choose_training

log = logging.getLogger("graft")
SEEDS = 3  # adapted runs that are compared, if the budget allows
SEED_SHARE, SCRATCH_SHARE = 0.4, 0.2  # of the budget's seconds: further seeds of the adapted run; training from scratch
PIXELS = 112  # side of the photos for training from scratch: a quarter of the work, and a multiple of 14 and 16
RATES = (3e-4, 1e-3, 3e-3)  # tried from scratch; the best on validation gets the rest of the time
TRIAL = 0.15  # of the scratch budget for each rate


@dataclass(frozen=True)
class _Entry:
    """A row in the making: which test examples it gets right, one line per seed."""

    row: Row
    correct: np.ndarray  # (seeds, n) of bool


def verify(task: Task, run: Run, budget: Budget = Budget()) -> Report:
    """Compare the adapted model with everything that does not transfer, on the untouched test part.

    Rows: the adapted model over several seeds, its linear probe, every file on the `baselines` shelf, and the same
    architecture from random weights with three learning rates and a stated budget. Gains are paired by example
    (bootstrap over examples and seeds). Positive: the interval of the gain over every row that does not transfer lies
    above zero. Negative: that over one of them lies below zero (level corrected for their number). A row from scratch
    that is still improving cannot carry a positive verdict: a finished one must be beaten too.
    """
    belongs(task, run)
    name = key("verify", graft.__version__, task.key, run.key, budget.seconds, names("baselines"))
    if (kept := home.recall("verify", name, Report)) and not all(_there(row) for row in kept.rows):
        home.forget("verify", name)  # `graft cache --clear runs` took what it says can be shipped
    return home.remember("verify", name, Report, lambda: _verify(task, run, budget))


def _there(row: Row) -> bool:
    return not row.run or (home.home() / "runs" / row.run / "weights.safetensors").is_file()


def _verify(task: Task, run: Run, budget: Budget) -> Report:
    part = task.test.open("verify: every row is compared on it, once")
    part = part.select({id: row for row, id in enumerate(part.ids)}.values())  # a copy says nothing new
    share = stats.example_weights(part.targets, task.metric)
    runs = _seeds(task, run, budget)
    adapted = _transferred("adapted", task, runs, part, share)
    others = [_baseline(name, task, part, share) for name in names("baselines")]
    others.append(_scratch(task, run, part, share, max(run.cost.seconds, SCRATCH_SHARE * budget.seconds)))
    if any(phase.solver != "exact" for phase in run.plan.phases):
        probe = Plan(run.plan.backbone, run.plan.head, "linear_probe", (exact_head(task),), run.plan.form)
        others.append(_transferred("linear_probe", task, [adapt(task, probe, run.seed)], part, share))
    return _report(task, run, runs, adapted, others, part, share)


def _report(
    task: Task, run: Run, runs: list[Run], adapted: _Entry, others: list[_Entry], part: Part, share: np.ndarray
) -> Report:
    rivals = [entry for entry in others if not entry.row.transfers]
    level = 1 - 0.05 / len(rivals)
    rows = {"adapted": replace(adapted.row, times=1.0)}
    harmed = []
    for entry in others:
        gain = stats.paired(adapted.correct, entry.correct, share)
        times = entry.row.cost.cpu_seconds / max(adapted.row.cost.cpu_seconds, 1e-9)
        rows[entry.row.name] = replace(entry.row, gain=gain, times=times)
        if stats.paired(adapted.correct, entry.correct, share, level=level if entry in rivals else 0.95)[2] < 0:
            harmed.append(entry.row.name)
    against = [rows[entry.row.name] for entry in rivals]
    done = [row for row in against if row.state != "unfinished"]
    hurt = [row for row in against if row.name in harmed]
    if hurt:
        verdict, reference = "negative", min(hurt, key=lambda row: row.gain[0])
    elif all(row.gain[1] > 0 for row in against):
        verdict, reference = "positive", min(done or against, key=lambda row: row.gain[0])
    else:
        verdict, reference = "inconclusive", min(against, key=lambda row: row.gain[1])
    better = [rows[name] for name in harmed]
    ships = max(better, key=lambda row: row.validation).name if better else "adapted"
    beaten = {entry.row.name: entry for entry in others}[reference.name]
    slices = tuple(
        Slice(label, int(at.sum()), float(adapted.correct[:, at].mean()), float(beaten.correct[:, at].mean()))
        for index, label in enumerate(task.outputs)
        if (at := np.asarray(part.targets) == index).any()
    )
    return Report(
        task=task.key, run=run.key, metric=task.metric, verdict=verdict,
        sentence=_sentence(task, run, verdict, rows["adapted"], reference, rows["scratch"], ships, len(part)),
        reference=reference.name, gain=reference.gain, rows=tuple(rows.values()), ships=ships,
        seeds=tuple(each.seed for each in runs), looks=sum(len(each.history) for each in runs) + len(RATES),
        test_openings=tuple(task.test.reasons), n_test=len(part), slices=slices, runs=tuple(each.key for each in runs),
        notes=_notes(rows, runs, task),
    )  # fmt: skip


def _sentence(
    task: Task, run: Run, verdict: str, adapted: Row, reference: Row, scratch: Row, ships: str, count: int
) -> str:
    """The verdict, for someone who has to decide and has never trained a model."""
    score = "right on" if task.metric == "accuracy" else "right, class by class, on"
    gain, low, high = (100 * value for value in reference.gain)
    rival = _called(reference)
    shown = f"{abs(gain):.1f} points (95 % interval {low:.1f} to {high:.1f})"
    if verdict == "positive":
        ahead = scratch.score > reference.score  # unfinished: it may not carry the verdict, nor be passed over
        text = (
            f"Transfer helped: starting from {run.plan.backbone.id}, the model is {score} {100 * adapted.score:.1f} % "
            f"of {count} photos it has never seen; that beats the best "
            f"{'finished model ' if ahead else ''}without transfer, {rival}, by {shown}."
        )
        if ahead:
            text += f" Over {_called(scratch)}, the gain is {100 * scratch.gain[0]:.1f} points so far."
    elif verdict == "negative":
        text = (
            f"Transfer hurt: {rival} is {score} {100 * reference.score:.1f} % of {count} unseen photos, and the model "
            f"adapted from {run.plan.backbone.id} on {100 * adapted.score:.1f} %; the difference is {gain:.1f} points "
            f"(95 % interval {low:.1f} to {high:.1f})."
        )
    else:
        sd = (high - low) / 100 / 3.92 * math.sqrt(count)
        enough = stats.needed(reference.gain[0], sd)
        text = (
            f"It cannot be told from {count} test photos whether transfer helped: the adapted model is {score} "
            f"{100 * adapted.score:.1f} %, {rival} on {100 * reference.score:.1f} %; the gain is {gain:.1f} points "
            f"(95 % interval {low:.1f} to {high:.1f})."
            + (f" If the gain is real, about {max(enough, count + 1)} would show it." if gain > 0 and enough else "")
        )
    if ships != "adapted":
        text += f" What ships is {ships.replace('_', ' ')}."
    return text


def _called(row: Row) -> str:
    names = {
        "pixels": "a linear model on small pixels and edges",
        "trivial": "always answering the commonest class",
        "scratch": f"the same network trained from scratch ({row.state})",
    }
    return names.get(row.name, row.name)


def _notes(rows: dict[str, Row], runs: list[Run], task: Task) -> tuple[str, ...]:
    notes = [
        "Costs are those of the commands that did the work: features that ranking had stored are not counted again.",
    ]
    if len(runs) == 1:
        notes.append("One seed was compared: the interval covers the choice of test examples, not of seeds.")
    scratch = rows["scratch"]
    if scratch.state == "unfinished":
        notes.append(
            f"From scratch was still improving after {scratch.cost.seconds:.0f} s: the gain over it is an upper bound, "
            "and it was not used alone to call the transfer positive."
        )
    if task.audit.near_duplicates:
        notes.append(
            f"{len(task.audit.near_duplicates)} pairs of photos in different parts look alike; scores may be too good."
        )
    return tuple(notes)


def _seeds(task: Task, run: Run, budget: Budget) -> list[Run]:
    """The run, and further seeds of its plan while the budget lasts; a plan that is exact has only one outcome."""
    if all(phase.solver == "exact" for phase in run.plan.phases):
        return [run]
    afford = int(SEED_SHARE * budget.seconds / max(run.cost.seconds, 1e-9))
    return [run, *(adapt(task, run.plan, run.seed + extra) for extra in range(1, min(SEEDS, 1 + afford)))]


def _transferred(name: str, task: Task, runs: list[Run], part: Part, share: np.ndarray) -> _Entry:
    raw = _raw(task, part, runs[0])
    right = np.stack([_right(logits(task, run, raw), part) for run in runs])
    mean = Cost(
        seconds=float(np.mean([run.cost.seconds for run in runs])),
        cpu_seconds=float(np.mean([run.cost.cpu_seconds for run in runs])),
    )
    row = _row(name, right, share, float(np.mean([run.score for run in runs])), mean)
    return _Entry(replace(row, transfers=True, run=runs[0].key), right)


def _raw(task: Task, part: Part, run: Run) -> Examples:
    return Examples(part, take("modalities", task.modality), run.plan.backbone.input, run.seed)


def _right(answers: np.ndarray, part: Part) -> np.ndarray:
    return np.asarray(answers.argmax(1) == np.asarray(part.targets))


def _row(name: str, right: np.ndarray, share: np.ndarray, validation: float, cost: Cost) -> Row:
    score, low, high = stats.interval(right, share)
    return Row(name, score, low, high, validation, cost=cost)


def _baseline(name: str, task: Task, part: Part, share: np.ndarray) -> _Entry:
    """A file of the `baselines` shelf, fitted on the training part; its state is kept, to be shipped if it wins."""
    with spent() as cost:
        method = take("baselines", name)
        state_key = key("baseline", graft.__version__, name, task.key)
        place = home.folder("runs", state_key) / "weights.safetensors"
        if place.is_file():
            state = load_file(place)
        else:
            x = described(name, task, task.train)
            state = method.fit(x, np.asarray(task.train.targets), len(task.outputs), task.seed)
            with home.placed(place) as draft:
                save_file(state, draft)
        val, test = (method.predict(state, described(name, task, each)) for each in (task.val, part))
    right = _right(test, part)[None]
    score = take("heads", task.head).metric(val, np.asarray(task.val.targets), task.metric)
    return _Entry(replace(_row(name, right, share, score, cost), run=state_key), right)


def described(name: str, task: Task, part: Part) -> np.ndarray:
    """What a baseline sees of every example: (n, width), kept in the feature store like any other feature."""
    method, modality = take("baselines", name), take("modalities", task.modality)
    keys = [bytes.fromhex(id) for id in part.ids]
    probe = method.describe(modality.decode(part.items[0]))
    if not probe.size:
        return np.zeros((len(part), 0), np.float32)
    store = open_store(key("described", graft.__version__, name), "float32", probe.shape)
    todo = np.flatnonzero(~store.has(keys))

    def describe(rows: np.ndarray) -> np.ndarray:
        return np.stack([method.describe(modality.decode(part.items[row])) for row in todo[rows]])

    asks = list(chunks(len(todo), 64))
    for rows, values in zip(asks, ahead(describe, asks), strict=True):
        store.write([keys[row] for row in todo[rows]], values)
    return store.rows(keys)


def _scratch(task: Task, run: Run, part: Part, share: np.ndarray, seconds: float) -> _Entry:
    """The same architecture from random weights: three rates tried, the best by validation with the time left."""
    with spent() as cost:
        backbone = resized(run.plan.backbone, min(PIXELS, *run.plan.backbone.input.size))
        try:
            chain, _ = build(backbone, task.head, len(task.outputs), run.seed, pretrained=False)
        except (GraftError, ValueError, RuntimeError, AssertionError):  # an architecture made for one size
            backbone = run.plan.backbone
            chain, _ = build(backbone, task.head, len(task.outputs), run.seed, pretrained=False)
        raw = Examples(task.train, take("modalities", task.modality), backbone.input, run.seed)
        rows = np.arange(min(32, len(raw)))
        began = time.perf_counter()
        batch = raw.read(rows, 1 + 0 * rows)
        prepare = (time.perf_counter() - began) / len(rows)
        each, dtype = choose_training(chain, batch, batch.pop("y"))
        size = 32 if len(task.train) >= 256 else 16
        validation = len(task.val) / len(task.train) * (prepare + each / 3)  # a forward pass is a third of a step
        room = seconds - OPENING * (1 + len(RATES))
        total = room / (size * (prepare + each + validation))
        log.info("from scratch at %d px: about %d steps in %.0f s", backbone.input.size[0], total, seconds)

        def trained(rate: float, allowance: float) -> Run:
            phase = Phase(
                train=("head", "stages[0:]"), steps=max(20, int(allowance * total)), lr=rate, backbone_lr=1.0, views=0,
                stored=False, batch_stats=True, batch=size, weight_decay=0.05, smoothing=0.05,
                class_weights=uneven(task), dtype=dtype, patience=10**6,
            )  # fmt: skip
            return adapt(task, Plan(backbone, task.head, "scratch", (phase,), pretrained=False), run.seed)

        trials = {rate: trained(rate, TRIAL).score for rate in RATES}
        best = max(RATES, key=lambda rate: trials[rate])
        final = trained(best, 1 - TRIAL * len(RATES))
    right = _right(logits(task, final, _raw(task, part, final)), part)[None]
    note = (
        f"{backbone.input.size[0]} × {backbone.input.size[1]} px, {len(final.history) - 1} epochs, rates tried: "
        + ", ".join(f"{rate:g} ({score:.3f})" for rate, score in trials.items())
    )
    row = _row("scratch", right, share, final.score, cost)
    return _Entry(replace(row, budget=seconds, trials=len(RATES), state=_state(final), note=note, run=final.key), right)


def _state(run: Run) -> str:
    """Saturated: it knows its training part by heart and validation stood still for the last third of the epochs."""
    epochs = [epoch for epoch in run.history if epoch.epoch]
    if len(epochs) < 6:
        return "unfinished"
    third = len(epochs) // 3
    before, after = (max(epoch.val_score for epoch in part) for part in (epochs[:-third], epochs[-third:]))
    known = max(epoch.score for epoch in epochs[-third:]) >= 0.99
    return "saturated" if known and after <= before else "unfinished"
