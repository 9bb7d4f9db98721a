"""Artifacts for tests, without the minutes that a verdict takes: the report is written by hand."""

from graft.core.nouns import Calibration, Report, Row, Run, Task


def report(task: Task, run: Run, ships: str = "adapted", key: str = "") -> Report:
    """What `verify` might have said of a run; `key` names what ships, where that is a baseline."""
    row = Row(ships, 0.9, 0.8, 1.0, 0.9, run=key or run.key)
    trust = Calibration(ships, 20, 0.9, thresholds=(0.95,), temperature=1.25)
    return Report(
        task=task.key, run=run.key, metric=task.metric, verdict="positive", sentence="Transfer helped.", reference="",
        gain=(0.1, 0.05, 0.15), rows=(row,), ships=ships, seeds=(0,), looks=1, test_openings=(), n_test=len(task.test),
        calibration=trust,
    )  # fmt: skip
