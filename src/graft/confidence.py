"""Row → how far its answers can be trusted, in numbers and in sentences; Run → what it would find familiar."""

from dataclasses import replace

import numpy as np
import torch
from safetensors.numpy import load_file

from graft.adapt import finished, logits, reopened
from graft.core import home
from graft.core.errors import PlanError
from graft.core.nouns import Calibration, Part, Report, Row, Run, Task
from graft.core.shelf import names, take
from graft.learners.supervised import predict
from graft.model import conformal, contrast
from graft.model.novelty import novelty, unit
from graft.rivals import answered, described

FAMILIAR = 500  # training examples that an artifact remembers: 1 MB where features are 512 wide
UNLIKE = 0.95  # share of the examples like the training data that are not called unlike them: 19 can tell
FEW = 10  # answers of which are told how many are right, not which share
SEED = 0  # of the choice of those that are remembered


def said(task: Task, row: Row, part: Part, on: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What the model of a row answers for a part, and the targets beside it.

    Raises:
        PlanError: it is no longer in the home.
    """
    if row.name not in names("baselines"):
        if run := finished(row.run):
            return logits(task, run, part, on)
        raise PlanError(f"The run {row.run} is no longer in the home. Run `graft adapt` again.")
    state, method = load_file(home.folder("runs", row.run) / "weights.safetensors"), take("baselines", row.name)
    return answered(take("heads", task.head), task, part, method.predict(state, described(row.name, task, part)))


def calibrated(task: Task, report: Report, test: tuple[np.ndarray, np.ndarray]) -> Report:
    """The report with what the shipped row's answers are worth, where its head can tell; `test`: those on that part."""
    head, row = take("heads", task.head), next(row for row in report.rows if row.name == report.ships)
    if row.name not in names("baselines") and not head.ROWS:
        report = replace(report, notes=(*report.notes, *strangers(task)))
    if not hasattr(head, "calibrated"):
        return report
    found = head.calibrated(row.name, said(task, row, task.val), test)
    return replace(report, calibration=found, notes=(*report.notes, *_sentences(task, found, len(test[1]))))


def strangers(task: Task) -> list[str]:
    """That an artifact cannot tell what is unlike the training data, where validation is too small to say it."""
    count, enough = len(task.val), round(UNLIKE / (1 - UNLIKE))
    if count >= enough:
        return []
    many = take("modalities", task.modality).WORD[1]
    return [
        f"{count} validation {many} are too few to tell which new ones are unlike the training data: it takes {enough}."
    ]


def familiar(task: Task, run: Run) -> tuple[torch.Tensor, float]:
    """What a run's head is given of training examples (M, D), as directions, and beyond which novelty little stands.

    Of new examples of the same kind, at most one in twenty lies beyond it; infinite where validation is too small.
    """
    rows = np.sort(np.random.default_rng(SEED).permutation(len(task.train))[:FAMILIAR])
    known = unit(vectors(task, run, task.train.select(rows))[0])
    return known, conformal.quantile(novelty(vectors(task, run, task.val)[0], known).numpy(), UNLIKE)


def vectors(task: Task, run: Run, part: Part) -> tuple[torch.Tensor, np.ndarray]:
    """What a run's head is given of a part (n, D), and what it makes of it (n, outputs)."""
    rest, data = reopened(task, run, part)
    with contrast.watched(rest.network.get_submodule("head")) as seen:
        said, _ = predict(rest, data)
    return torch.cat(seen).float().cpu(), said


def _sentences(task: Task, found: Calibration, count: int) -> list[str]:
    many, level = take("modalities", task.modality).WORD[1], f"{100 * found.level:.0f} %"
    if not found.thresholds:
        return [f"{found.count} validation {many} are too few for sets that hold the truth at {level}."]
    covered = f"{_share(found.coverage)} of {count} test {many}"
    if not found.after:
        return [f"The ranges at {level} hold the truth on {covered}."]
    before, after = (f"{100 * mean:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
                     for mean, low, high in (found.before, found.after))  # fmt: skip
    sure = round(found.answered * count)
    right = f", and right on {_share(found.right)} of these" if found.right else ""
    if sure and sure < FEW:
        right = f", and right on {round(found.right[0] * sure)} of these"
    heat = f", and by {after} at the temperature {found.temperature:.2f} that {found.count} validation {many} chose."
    if found.temperature == 1:
        heat = f"; {found.count} validation {many} show no need of a temperature."
    return [
        f"Beyond what chance does with {count} test {many}, probabilities were off by {before} as trained{heat}",
        f"The sets of labels at {level} hold the truth on {covered}; with exactly one label in its set the "
        f"model is sure of {sure} of them{right}.",
    ]


def _share(interval: tuple[float, ...]) -> str:
    mean, low, high = interval
    return f"{100 * mean:.1f} % ({100 * max(low, 0):.1f} to {100 * min(high, 1):.1f})"
