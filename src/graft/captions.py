"""Report, Exhibits → what each section of the page says, above its picture."""

from collections.abc import Sequence

from graft.core import figures
from graft.core.exhibits import DROPPED, Closeup, Exhibits
from graft.core.nouns import Report

NAMES = {
    "adapted": "adapted (transfer)", "linear_probe": "linear probe (transfer)", "joint": "source and target",
    "source_only": "source only", "pixels": "linear model on pixels", "columns": "linear model on columns",
    "boosting": "boosted trees", "tfidf": "linear model on words", "wordtags": "linear model on words",
    "trivial": "always the same", "scratch": "from scratch", "scratch_small": "from scratch, smaller",
    "logmel": "linear model on spectra", "bandpower": "linear model on band power", "covariance": "covariances",
    "aligned": "aligned covariances", "kernels": "random kernels", "series": "linear model on samples",
}  # fmt: skip
GRADIENTS = "Strong colour is where the answer comes from, by the network's gradients (Grad-CAM)."
HIDING = "Marked is what the answer hangs on: it was hidden piece by piece, and the model asked again. "
WIDE = 0.1  # of a calibration error: so far off, a percentage says little
FOR = {
    "photo": "Where the colour is strong, hiding takes most from the answer.",
    "": "Green speaks for the answer, orange against it.",
}


def called(name: str, shown: Exhibits | None = None) -> str:
    """A row, as the page calls it."""
    said = NAMES.get(name, name.replace("_", " "))
    return said.replace(" (transfer)", "") if shown and not shown.pretrained else said


def adapted(shown: Exhibits) -> str:
    """What the adapted row is."""
    if shown.tuned:
        return "the adapted network"
    start = "the pretrained network" if shown.pretrained else "the network with its random weights"
    return f"{start} as it came, with a new last layer"


def beaten(report: Report) -> str:
    """The gain over the row that decides."""
    row = next(row for row in report.rows if row.name == report.reference)
    return f"The adapted model is {figures.lead(row.gain, report.metric, f'“{called(row.name)}”')}."


def glossary(report: Report, shown: Exhibits) -> str:
    """What the bars of networks are, where there are several."""
    if not shown.pretrained:
        return ""
    said = {
        "adapted": "" if shown.tuned else f"Adapted: {adapted(shown)}.",
        "linear_probe": "Linear probe: the pretrained network as it came, with a new last layer.",
        "scratch": "From scratch: the same network without what it had learned before.",
    }
    return " ".join(text for name, text in said.items() if any(row.name == name for row in report.rows))


def phases(shown: Exhibits) -> list[str]:
    """What learned in which phase."""
    told, ways = [], len({step.way for step in shown.steps})
    for number, step in enumerate(shown.steps, 1):
        way = f" (way {step.way} of {ways}, {'kept' if step.kept else 'tried and not kept'})" if ways > 1 else ""
        how = f"at a rate of {step.rate:g}" if step.rate else "solved exactly"
        told.append(f"Phase {number}{way}: {step.learns}, {how}; {step.frozen} of {step.stages} stages frozen.")
    return told


def ranked(report: Report, shown: Exhibits) -> str:
    """What was tried, in words where it is one."""
    if len(shown.ranking) != 1:
        early = any(DROPPED in one.note for one in shown.ranking)
        grey = " In grey: given up after fewer examples, and not to be compared with the others." if early else ""
        which = "Pretrained networks" if shown.pretrained else "Networks without pretrained weights"
        return f"{which}, each with a linear layer on top; {shown.backbone} was taken.{grey}"
    (one,) = shown.ranking
    reached = f"{figures.score(one.score, report.metric)} ± {figures.gain(one.error, report.metric)}"
    return (
        f"{one.id} alone was tried. A linear layer on top of it reaches {reached} ({figures.called(report.metric)}) on "
        f"training {shown.word[1]} that the layer had not seen."
    )


def mapped(shown: Exhibits, ships: str) -> str:
    """What the dots are."""
    which = f"{'Words of test' if shown.head == 'tagging' else 'Test'} and validation {shown.word[1]}"
    colour = " Each has the colour of the rarest of its labels." if shown.head == "multilabel" else ""
    return (
        f"{which} by what the model that ships, “{ships}”, sees of them ({shown.mapped}): near each other means alike "
        f"to it.{colour}"
    )


def labels(report: Report) -> str:
    """How many labels transfer saved."""
    curve = report.curve
    if curve is None:
        return ""
    told = []
    for name, (mean, low, high) in curve.saved.items():
        if round(low) > 0:
            told.append(
                f"What “{called(name)}” reaches with all labels, transfer reaches with about {mean:.0f} fewer "
                f"({low:.0f} to {high:.0f})."
            )
    return " ".join(told or ["Transfer saves no labels here that could be shown."])


def calibrated(report: Report, shown: Exhibits) -> str:
    """How far its percentages are off, and how surely."""
    worth, many = report.calibration, shown.word[1]
    if not worth or not worth.after:
        return ""
    before, after = (
        f"{100 * mean:.1f} points (95 % interval {100 * low:.1f} to {100 * high:.1f})"
        for mean, low, high in (worth.before, worth.after)
    )
    doubt = ""
    if worth.after[2] > WIDE:
        doubt = " So few cannot show whether its percentages can be believed."
        if round(worth.after[1], 3) > 0:
            doubt = " So its percentages are surely off, by how much is not known: do not take them at their word."
    heat = f", by {after} as shipped (temperature {worth.temperature:.2f}, from {worth.count} validation {many})"
    if worth.temperature == 1:
        heat = f" and shipped: {worth.count} validation {many} show no need of a temperature"
    return (
        f"On the dotted line it is right as often as it says; bars are what chance may have done with {shown.tested} "
        f"test {many}. Beyond chance it is off by {before} as trained{heat}.{doubt}{_part(report, shown)}"
    )


def _part(report: Report, shown: Exhibits) -> str:
    """Where the figures above are of more examples than those shown, why."""
    if not report.folds:
        return ""
    return f" (Of the part set aside alone: what ships has learned from others of the {report.n_test} compared above.)"


def mistaken(report: Report, shown: Exhibits) -> str:
    """How many mistakes there are, and how to read those that are shown."""
    first = (
        f"The {shown.word[1]} where answer and truth are furthest apart."
        if shown.pairs
        else f"{shown.wrong} of {shown.tested} test {shown.word[1]} were answered wrongly; these it was surest of."
    )
    told = (first, _how(shown.mistakes), "Where the label is wrong, the mistake is the data's.")
    return " ".join(filter(None, told)) + _part(report, shown)


def looked(shown: Exhibits) -> str:
    """Which examples are shown, and how to read them."""
    return f"Test {shown.word[1]} it answered well. {_how(shown.looks)}"


def _how(found: Sequence[Closeup]) -> str:
    """How to read what is marked in these examples."""
    if any(one.looked == "gradients" for one in found):
        return GRADIENTS
    kinds = [one.kind for one in found if one.looked]
    return HIDING + FOR.get(kinds[0], FOR[""]) if kinds else ""
