"""Report → what to do next, in plain words, for someone who has never trained a model."""

from graft.charts import called
from graft.core import figures
from graft.core.exhibits import Exhibits
from graft.core.nouns import Report

HEADS = {
    "positive": "Yes: transfer helped. Use this model.",
    "negative": "No: transfer hurt. Do not use the adapted network.",
    "inconclusive": "Not proven: the test is too small, or the gain is.",
    "blank": "Nothing was transferred: there were no pretrained weights.",
}
UNSURE = 0.05  # share of the answers that are unsure from which a person is wanted
STEEP = 0.01  # gain of a share that twice the labels must promise to be worth a word


def answer(report: Report, shown: Exhibits) -> str:
    """Did it help, in a line."""
    return HEADS[report.verdict if shown.pretrained else "blank"]


def advice(report: Report, shown: Exhibits) -> list[str]:
    """What to do next, the most pressing first."""
    many, told = shown.word[1], [_ship(report, shown)]
    if report.verdict == "inconclusive" and report.enough > report.n_test:
        told.append(f"To be sure, label more {many} and keep them for testing: about {report.enough} would tell.")
    if report.suspects:
        several = f"{len(report.suspects)} {many} whose labels are"
        some = several if len(report.suspects) > 1 else f"{shown.word[0]} whose label is"
        told.append(f"Look at the {some} probably wrong, below.")
    worse = [one.name for one in report.slices if one.gain[2] < 0]
    if worse and report.ships == "adapted":
        told.append(f"Take care with {', '.join(worse[:5])}: there the adapted model is surely worse.")
    if shown.alikes:
        told.append(
            f"{shown.alikes} pairs of look-alikes stand in different parts: if they are copies, the figures flatter."
        )
    worth = report.calibration
    if worth and worth.thresholds and worth.after and 1 - worth.answered > UNSURE:
        told.append(
            f"Let a person see the answers marked unsure: {100 * (1 - worth.answered):.0f} % of them were on the test."
        )
    if report.curve and figures.is_share(report.metric) and report.curve.doubling[1] > 0:
        gain = report.curve.doubling[0]
        if gain > STEEP:
            told.append(f"More labels still pay: twice as many would add about {100 * gain:.0f} points.")
    return told


def _ship(report: Report, shown: Exhibits) -> str:
    if report.ships != "adapted":
        return f"What ships is “{called(report.ships, shown)}”, the better one here: use that."
    if report.verdict == "positive":
        return "What ships is the adapted network: use that."
    return "You may use what ships, the adapted network, but do not count on a gain."
