"""Artifacts for tests, without the minutes that a verdict takes: the report is written by hand."""

from importlib import import_module
from pathlib import Path

import graft
from graft.build import suited
from graft.core.nouns import Calibration, Phase, Plan, Report, Row, Run, Task
from graft.core.shelf import take

PROBE = (Phase(("head",), solver="exact"),)


def report(task: Task, run: Run, ships: str = "adapted", key: str = "") -> Report:
    """What `verify` might have said of a run; `key` names what ships, where that is a baseline."""
    row = Row(ships, 0.9, 0.8, 1.0, 0.9, run=key or run.key)
    trust = Calibration(ships, 20, 0.9, thresholds=(0.95,), temperature=1.25)
    return Report(
        task=task.key, run=run.key, metric=task.metric, verdict="positive", sentence="Transfer helped.", reference="",
        gain=(0.1, 0.05, 0.15), rows=(row,), ships=ships, seeds=(0,), looks=1, test_openings=(), n_test=len(task.test),
        calibration=trust if hasattr(take("heads", task.head), "calibrated") else None,
    )  # fmt: skip


def probed(data: Path, backbone: str, folder: Path, **asked: str) -> Task:
    """A linear probe of a backbone on some data, shipped unproven: the task."""
    task = graft.load(data, **asked)
    run = graft.adapt(task, Plan(suited(graft.find(backbone), task), task.head, "x", PROBE))
    unproven(task, run, folder)
    return task


def unproven(task: Task, run: Run, folder: Path) -> None:
    """The artifact of a run as `export` writes it, without the comparison in a fresh process."""
    from graft.forms import written

    export = import_module("graft.export")  # `graft.export` is the function
    folder.mkdir()
    card = (
        export._described(task, report(task, run).rows[0], report(task, run))
        | written(task, run.key, folder, ["onnx"])[1]
    )
    export.keep({**card, "files": export.listed(folder)}, folder)
