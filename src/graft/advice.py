"""Report → what to do next, in plain words, for someone who has never trained a model."""

from graft.captions import adapted, called
from graft.clock import WHOLE
from graft.core import figures
from graft.core.examples import doubtful, lookalikes
from graft.core.exhibits import Exhibits
from graft.core.nouns import Report
from graft.core.reports import SLIGHT
from graft.data.shortcuts import ALONE
from graft.parts import KNOWN, LATER

HEADS = {
    "positive": "Yes: transfer helped. Use this model: {right}.",
    "negative": "No: transfer hurt. Use {use}.",
    "outdone": "No: adapting it in this way hurt. Use {use}.",
    "perfect": "There is nothing to gain: without transfer “{rival}” is as faultless on {count}.",
    "inconclusive": "It cannot be told from {count} whether transfer helps. What ships reaches {right}.",
    "blank": "Nothing was transferred: there were no pretrained weights. What ships reaches {right}.",
}
ODD = "What is odd about the data"  # the section of the report
FAULTLESS = 60  # answers without a fault from which on fewer than one in twenty is wrong, surely: 3 / n (95 %)
UNSURE = 0.05  # share of the answers that are unsure from which a person is wanted
STEEP = 0.01  # gain of a share that twice the labels must promise to be worth a word


def answer(report: Report, shown: Exhibits) -> str:
    """Did it help, and how good is what ships, in a line."""
    rows = {row.name: row for row in report.rows}
    use, rival = rows[report.ships if report.ships != "adapted" else report.reference], rows[report.reference]
    good, other = (figures.score(row.score, report.metric) for row in (use, rows["adapted"]))
    kind = report.verdict if shown.pretrained else "blank"
    faultless = rows["adapted"].score == rival.score == figures.best(report.metric)
    if kind == "inconclusive" and faultless and report.n_test >= FAULTLESS:
        kind = "perfect"
    count = f"{report.n_test} {shown.word[1]}"
    return HEADS["outdone" if kind == "negative" and use.transfers else kind].format(
        use=f"“{called(use.name)}”, with {good} {figures.called(report.metric)} instead of {other}",
        rival=called(rival.name), count=count,
        right=f"{figures.score(rows[report.ships].score, report.metric)} {figures.called(report.metric)} on {count}",
    )  # fmt: skip


def advice(report: Report, shown: Exhibits) -> list[str]:
    """What to do next, the most pressing first."""
    many, told = shown.word[1], [_ship(report, shown)]
    if report.verdict == "inconclusive" and WHOLE in report.left_out:
        told.append(
            f"To be surer, give it more time first: without --budget every one of your {sum(shown.parts.values())} "
            f"{many} is asked, in folds, and smaller gains show."
        )
    elif report.verdict == "inconclusive" and report.slight and shown.pretrained:
        told.append(
            f"Do not label more {many} to settle it: that would take over {SLIGHT} times as many as were asked."
        )
    elif report.verdict == "inconclusive" and report.enough > report.n_test and shown.pretrained:
        enough = figures.about(report.enough)
        told.append(f"To be sure, label more {many} and keep them for testing: about {enough} would tell.")
    if report.verdict != "positive" and shown.untried:
        told.append(
            f"Not tried, for want of time: {figures.some(shown.untried)}. Give it more, or name one (--backbone)."
        )
    told += [note for note in shown.audit if KNOWN in note or LATER in note]
    for what in (note.partition(f" {ALONE}")[0] for note in shown.audit if ALONE in note):
        told.append(
            f"{what} {ALONE} in these data, and what ships may have learned that: before you rely on it, try it on "
            f"{many} of which that does not hold."
        )
    if report.suspects:
        told.append(f"{doubtful(report.suspects)}: the report shows them under “{ODD}”.")
    worse = [one.name for one in report.slices if one.gain[2] < 0]
    if worse and report.ships == "adapted":
        told.append(f"Take care with {', '.join(worse[:5])}: there the adapted model is surely worse.")
    if shown.alikes:
        told.append(f"{lookalikes(shown.alikes)}: if they are copies, the figures flatter.")
    worth = report.calibration
    if worth and worth.thresholds and worth.coverage[2] < worth.level:
        told.append(
            f"Do not rely on the sets of labels (or ranges) that come with answers: they were to hold the truth on "
            f"{100 * worth.level:.0f} % of test {many}, and held it on {100 * worth.coverage[0]:.0f} %."
        )
    if worth and worth.thresholds and worth.after and 1 - worth.answered > UNSURE:
        asked = shown.parts.get("test", 0)
        told.append(
            f"Let a person see the answers marked unsure, as {round(asked * (1 - worth.answered))} of {asked} test "
            f"{many} were."
        )
    if report.curve and figures.is_share(report.metric) and report.curve.doubling[1] > 0:
        gain = report.curve.doubling[0]
        if gain > STEEP:
            told.append(f"More labels may still pay: twice as many would add about {100 * gain:.0f} points.")
    return told


def _ship(report: Report, shown: Exhibits) -> str:
    if weak := _unproven(report):
        what = called(report.ships, shown)
        return f"What ships is “{what}”, which is not shown to be better than “{weak}”: do not rely on it."
    if report.ships != "adapted":
        likely = "" if report.verdict == "negative" else "likelier "
        return f"What ships is “{called(report.ships, shown)}”, {likely}the better one here: use that."
    if report.verdict == "negative":
        return f"“{called(report.reference)}” answers no single example, so that {adapted(shown)} ships: do not use it."
    if report.verdict == "positive":
        return f"What ships is {adapted(shown)}: use that."
    return f"You may use what ships, {adapted(shown)}, but do not count on a gain."


def _unproven(report: Report) -> str:
    """What always gives one answer, where what ships may be no better: to be told before anybody relies on it."""
    rows = {row.name: row for row in report.rows}
    ships, trivial = rows[report.ships], rows.get("trivial")
    if not trivial or ships is trivial or report.verdict == "positive":
        return ""
    alike = trivial.gain[1] <= 0 if ships.name == "adapted" else ships.low < trivial.score < ships.high
    return called("trivial") if alike else ""
