"""The verdict in words: the sentence for who decides, and what the figures do not say by themselves."""

from graft.core import figures
from graft.core.examples import lookalikes
from graft.core.nouns import Report, Row, Run, Task
from graft.core.shelf import take
from graft.entries import Entry, Test

SHIPPED = {
    "scratch": "the network trained from scratch (scratch)",
    "scratch_small": "the smaller network trained from scratch (scratch_small)",
    "linear_probe": "the linear probe of the same backbone (linear probe)",
    "joint": "the same plan taught source and target together (joint)",
    "source_only": "the same plan taught the source alone (source only)",
}
FEWEST = 30  # test examples from which the needed number can be told roughly
NAMED = 5  # slices that are named where they are harmed


def sentence(task: Task, run: Run, report: Report) -> str:
    """The verdict, for someone who has to decide and has never trained a model."""
    many, metric, count = take("modalities", task.modality).WORD[1], task.metric, report.n_test
    rows = {row.name: row for row in report.rows}
    adapted, reference, scratch = rows["adapted"], rows[report.reference], rows["scratch"]
    rival, start = called(reference), run.plan.backbone.id
    unseen = "that it had not seen when it was asked" if report.folds else "it has never seen"
    if alike := len(task.audit.near_duplicates):
        unseen = f"held out from it ({lookalikes(alike)})"

    def said(row: Row) -> str:
        return str(take("heads", task.head).said(row.score, metric))

    gain, low, high = (figures.gain(value, metric) for value in reference.gain)
    lead, of = (figures.lead(reference.gain, metric, name) for name in ("", rival))
    if report.verdict == "positive":
        ahead = scratch.score > reference.score  # unfinished: it may not carry the verdict, nor be passed over
        text = (
            f"Transfer helped: starting from {start}, the model is {said(adapted)} {count} {many} {unseen}; "
            f"that beats the best {'finished model ' if ahead else ''}without transfer, {rival}, by "
            f"{gain}{figures.points(metric)} (95 % interval {low} to {high})."
        )
        if ahead:
            so_far = f"{figures.gain(scratch.gain[0], metric)}{figures.points(metric)}"
            text += f" Over {called(scratch)}, the gain is {so_far} so far."
    elif blank(run):
        text = (
            f"Nothing was transferred, since {start} has no pretrained weights: the model is {said(adapted)} {count} "
            f"{many} {unseen}, {of}, which is {said(reference)} them."
        )
    elif report.verdict == "negative":
        text = (
            f"Transfer hurt: {rival} is {said(reference)} {count} {many} {unseen}, and the model adapted from {start} "
            f"{said(adapted)} them, {lead}."
        )
    else:
        text = (
            f"It cannot be told from {count} test {many} whether transfer helped: the adapted model is "
            f"{said(adapted)} them, {of}, which is {said(reference)} them."
        )
        if reference.gain[2] < 0:
            text += " Since one of several comparisons may come out so by chance, that is not sure enough."
        if report.slight:
            least = f"{figures.gain(report.shows, metric)}{figures.points(metric)}"
            text += f" The difference, if there is one, is likely smaller than the {least} that such a test shows."
        elif report.enough:
            text += f" If the difference is real, about {figures.about(max(report.enough, count + 1))} would show it."
    if report.ships != "adapted":
        name = SHIPPED.get(report.ships) or f"{take('baselines', report.ships).CALLED} ({report.ships})"
        reached = f", {said(rows[report.ships])} them" if report.ships != report.reference else ""
        text += f" What ships instead is {name}{reached}."
        if not blank(run):
            more = ": use that." if report.verdict == "negative" else ", which is likelier the better one."
            text = text[:-1] + more
    return text


def harm(report: Report) -> list[str]:
    """Which classes, labels or groups are surely worse off with the adapted model, and which surely better."""
    if report.metric not in ("accuracy", "balanced_accuracy", "sample_f1"):  # else an example has no outcome of its own
        return []
    told = []
    for word, found in (
        ("worse", [one for one in report.slices if one.gain[2] < 0]),
        ("better", [one for one in report.slices if one.gain[1] > 0]),
    ):
        found = sorted(found, key=lambda one: -abs(one.gain[0]))
        names = [f"{one.name} ({100 * one.gain[0]:+.1f} points, {one.count} examples)" for one in found]
        some = figures.some(names, NAMED)
        if found:
            rival = called(next(row for row in report.rows if row.name == report.reference))
            told.append(
                f"Part by part, the adapted model is surely {word} than {rival} on {some} (paired intervals, "
                f"corrected for {len(report.slices)} parts)."
            )
    return told


def beside(task: Task, adapted: Entry, beaten: Entry) -> list[str]:
    """What the head tells beside the metric, such as errors in the user's unit, of the runs that would ship."""
    head = take("heads", task.head)
    if not hasattr(head, "beside"):
        return []
    mine, its = (head.beside(*entry.answers[0], task.outputs) for entry in (adapted, beaten))
    rival = called(beaten.row)
    return [
        f"{where[0].upper()}{where[1:]}, the adapted model is {says}, {rival} {other}."
        for (where, says), (_, other) in zip(mine, its, strict=True)
    ]


def called(row: Row) -> str:
    """A row that does not transfer, in a sentence."""
    if row.name.startswith("scratch"):
        which = "the same" if row.name == "scratch" else "a smaller"
        if row.state == "diverged":
            return f"{which} network with random weights, since its training diverged"
        return f"{which} network trained from scratch ({row.state})"
    return str(take("baselines", row.name).CALLED)


def blank(run: Run) -> bool:
    """Whether the run started from no weights at all, so that there was nothing to transfer."""
    return run.plan.backbone.id.startswith("blank/")


def notes(task: Task, run: Run, report: Report, test: Test) -> tuple[str, ...]:
    """How to read the figures, and what they leave out."""
    rows, metric = {row.name: row for row in report.rows}, task.metric
    gain = f"a gain of {figures.gain(report.shows, metric)}{figures.points(metric)}"
    if figures.is_share(metric) and report.shows >= 1:
        gain = "no gain, however large,"
    found = [
        "Costs are those of the commands that did the work: features that ranking had stored are not counted again.",
        f"A test like this one would show {gain} over {called(rows[report.reference])} four times in five.",
    ]
    if report.power:
        sizes, shares = (", ".join(each) for each in (report.power, (f"{100 * p:.0f}" for p in report.power.values())))
        found.append(f"Of real gains of {sizes} points, such tests show {shares} % respectively.")
    if report.looks:
        found.append(
            f"Validation was looked at {report.looks} times to choose epochs, rates and plans: its scores promise a "
            "little too much."
        )
    if test.folds:
        found += _folds(task, test)
    if caveat := getattr(take("heads", task.head), "CAVEAT", ""):
        found.append(caveat)
    if len(report.runs) == 1 and not test.folds:
        found.append("One seed was compared: the interval covers the choice of test examples, not of seeds.")
    if test.groups:
        found.append("Intervals are over whom the examples come from, who were resampled whole.")
    if blank(run) and run.tuned:
        found.append(f"Another task can start from what this run has learned: --backbone checkpoint/{run.key}.")
    if not test.folds and (twice := len(task.test) - report.n_test):
        found.append(f"{twice} of the {len(task.test)} test examples are copies of others and count once.")
    for row in report.rows:
        if row.state == "unfinished":
            found.append(
                f"{row.name.replace('_', ' ').capitalize()} had {row.cost.seconds:.0f} s and was still learning: the "
                "gain over it is an upper bound, and it was not used alone to call the transfer positive."
            )
        if row.state == "diverged":
            found.append(
                f"{row.name.replace('_', ' ').capitalize()} diverged at each of {row.trials} rates: its row is an "
                "exact head on random weights, less than training might give, and was not used alone to call the "
                "transfer positive."
            )
    if len(report.test_openings) > 1:
        found.append(
            f"This test part has been opened {len(report.test_openings)} times: whoever chooses between runs by their "
            "test scores will see them promise too much."
        )
    return (*found, *task.audit.notes)


def _folds(task: Task, test: Test) -> list[str]:
    many = take("modalities", task.modality).WORD[1]
    how = "kept together by whom they come from" if test.groups else "stratified"
    repeated = f", {test.repeats} times over where time allowed" if test.repeats > 1 else ""
    told = [
        f"The test part alone is small ({len(task.test)} {many}), so every row was fitted anew in {test.folds} folds "
        f"({how}{repeated}), and each of all {len(test.part)} labelled {many} was asked of a model that had not "
        "learned from it. What ships is the model of the first fold, whose test part is the one that was set aside.",
        "The plan was made once, on examples that other folds test on. Its weights, heads and epochs were not: they "
        "are of each fold. Intervals allow for folds that share what they learn from.",
    ]
    if test.ranked > 1:
        told.append(
            f"The backbone was chosen from {test.ranked} by such examples: the verdict is positive only at a level "
            f"corrected for them ({100 - 5 / test.ranked:.4g} %)."
        )
    return told
