"""Report, Exhibits → one page that stands alone, report.json from which it is drawn, and the model card."""

import html
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from graft import charts, svg
from graft.advice import advice, answer
from graft.closeups import gallery
from graft.core import figures, home
from graft.core.codec import from_json, to_json
from graft.core.errors import DataError, GraftError
from graft.core.exhibits import FILES, SCHEMA, Closeup, Exhibits, Told
from graft.core.nouns import Report
from graft.model_card import card
from graft.spendings import spendings

STYLE = Path(__file__).with_name("templates") / "report.css"
# Nothing is fetched and nothing is run, whatever a label or a file's name may hold.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
GRADIENTS = "Strong colour is where the answer comes from, by the network's gradients (Grad-CAM)."
HIDING = "Marked is what the answer hangs on: it was hidden piece by piece, and the model asked again. "
FOR = {
    "photo": "Where the colour is strong, hiding takes most from the answer.",
    "": "Green speaks for the answer, orange against it.",
}


def write(told: Told, out: str | os.PathLike[str]) -> list[Path]:
    """Write report.html, report.json and MODEL_CARD.md into a folder."""
    place, report, shown = Path(out), told.report, told.exhibits
    with home.storage():
        place.mkdir(parents=True, exist_ok=True)
    texts = (page(report, shown), to_json(told, indent=1), card(report, shown))
    for name, text in zip(FILES, texts, strict=True):
        home.write_text(place / name, text)
    return [place / name for name in FILES]


def redraw(folder: str | os.PathLike[str]) -> list[Path]:
    """Write them again from a folder's report.json: neither the data nor the model is needed.

    Raises:
        DataError: there is none, or it is not one of this version's.
    """
    place = Path(folder) / "report.json"
    try:
        kept = from_json(Told, place.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise DataError(
            f"{folder} holds no report.json. `graft transfer` writes one, and `graft verify --out`."
        ) from None
    except GraftError as error:
        raise DataError(f"{place} cannot be read: {error} `graft verify --out` writes it anew.") from None
    if kept.schema != SCHEMA:
        raise DataError(f"{place} is of schema {kept.schema}; this version of graft draws schema {SCHEMA}.")
    return write(kept, folder)


def page(report: Report, shown: Exhibits) -> str:
    """The whole page: what to do first, then what that rests on."""
    with svg.drawing():
        body = "\n".join([_verdict(report, shown), *_sections(report, shown)])
    title = f"{shown.name}: did transfer help?"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{_safe(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE.read_text(encoding='utf-8')}</style></head><body>\n{body}\n</body></html>\n"
    )


def _verdict(report: Report, shown: Exhibits) -> str:
    kind = report.verdict if shown.pretrained else "inconclusive"
    return (
        f'<header><h1>{_safe(shown.name)} · graft report</h1></header><main class="verdict {kind}">'
        f'<p class="answer">{_safe(answer(report, shown))}</p><p>{_safe(report.sentence)}</p>'
        f"{_list(advice(report, shown))}</main>"
    )


def _sections(report: Report, shown: Exhibits) -> Iterator[str]:
    """Every section that has something to say, in the order in which a person decides."""
    many = shown.word[1]

    def drawn(name: str, title: str, said: str, chart: Callable[..., Any] | None = None, more: str = "") -> str:
        made = chart(report, shown) if chart else None
        if made is None and not more:
            return ""
        picture = f"<figure>{svg.text(made, name, title, said)}</figure>" if made is not None else ""
        return f'<section id="{name}"><h2>{_safe(title)}</h2><p class="note">{_safe(said)}</p>{picture}{more}</section>'

    ships = charts.called(report.ships, shown)
    yield drawn(
        "ladder", "What was compared",
        f"Each bar is one way to build the model, asked of {many} that it had not seen; the line is the 95 % interval. "
        f"The coloured one ({ships}) is what ships. {_beaten(report)}", charts.ladder,
    )  # fmt: skip
    yield drawn(
        "ranking", "Which backbone suits the data",
        f"Pretrained networks, each with a linear layer on top; {shown.backbone} was taken.", charts.ranking,
        _table(("backbone", "licence", ""), [(one.id, one.license, one.note) for one in shown.ranking]),
    )  # fmt: skip
    yield drawn(
        "stages", "What stays fixed, and what learns",
        f"How much each stage of {shown.backbone} tells about these {many}. Strategy: {shown.strategy}.",
        charts.stages, _list(shown.why),
    )  # fmt: skip
    yield drawn(
        "training", "How training went",
        "Loss should fall and the score rise; where validation turns while training goes on, the best weights were "
        "kept. A vertical line is where a phase sets more of the network free." if len(shown.history) > 2
        else "The head was found at once, without epochs.", charts.training, _phases(shown),
    )  # fmt: skip
    yield drawn("labels", "What labels are worth", _labels(report), charts.labels)
    yield drawn("confusion", "What is taken for what", "Rows are the truth, columns the answers.", charts.confusion,
                _confused(report, shown))  # fmt: skip
    yield drawn("scatter", "Answers beside the truth", "On the dotted line an answer is exactly right.", charts.scatter)
    yield drawn("groups", "The groups that were found", "Nobody named them.", None,
                _table(("group", many, "its words"), shown.groups))  # fmt: skip
    yield drawn("calibration", "Can its confidence be believed?", _calibrated(report, many), charts.calibration)
    yield drawn("mistakes", "Its surest mistakes" if not shown.pairs else "Where it is furthest off",
                _mistaken(shown), None, gallery(shown.mistakes))  # fmt: skip
    yield drawn("audit", "What is odd about the data", f"Found by reading all {many} before training.", None,
                _audit(shown))  # fmt: skip
    yield drawn("looks", "What its answers hang on", _looked(shown), None, gallery(shown.looks))
    yield drawn(
        "map", "How alike the model finds them",
        f"Test and validation {many} by the network's own features ({shown.mapped}): near each other means alike to "
        "it. Every class has a shape and a colour.", charts.map,
    )  # fmt: skip
    yield drawn(
        "harm", "Who gains and who loses",
        "Gain of the adapted model over what it is judged by, part by part, with intervals corrected for their number. "
        "A part wholly on the left is surely worse off.", charts.harm,
    )  # fmt: skip
    yield drawn("cost", "What it cost", "Of this run, on this machine.", None, _list(spendings(shown)))
    rows = [(name, value) for name, value in shown.lineage.items() if name != "command"]
    command = shown.lineage.get("command", "")
    again = f"<p>The same again: <code>{_safe(command)}</code></p>" if command else ""
    parts = ", ".join(f"{count} {name}" for name, count in shown.parts.items())
    yield drawn("lineage", "Where it comes from", f"{parts} {many}.", None, again + _table(("", ""), rows))
    if notes := [note for note in report.notes if note not in shown.audit]:
        yield f"<section><details><summary>How to read these figures</summary>{_list(notes)}</details></section>"


def _beaten(report: Report) -> str:
    row = next(row for row in report.rows if row.name == report.reference)
    gain, low, high = (figures.gain(value, report.metric) for value in row.gain)
    unit = figures.points(report.metric)
    where = "above" if row.gain[0] >= 0 else "below"
    return f"Adapted is {gain.lstrip('-')}{unit} {where} “{charts.called(row.name)}” (gain {low} to {high})."


def _phases(shown: Exhibits) -> str:
    told = []
    for number, step in enumerate(shown.steps, 1):
        how = f"at a rate of {step.rate:g}" if step.rate else "solved exactly"
        told.append(f"Phase {number}: {step.learns}, {how}; {step.frozen} of {step.stages} stages frozen.")
    return _list(told)


def _labels(report: Report) -> str:
    curve = report.curve
    if curve is None:
        return ""
    told = []
    for name, (mean, low, high) in curve.saved.items():
        if mean > 0:
            told.append(
                f"What “{charts.called(name)}” reaches with all labels, transfer reaches with about {mean:.0f} fewer "
                f"({max(0, low):.0f} to {high:.0f})."
            )
    return " ".join(told or ["Transfer saves no labels here that could be shown."])


def _confused(report: Report, shown: Exhibits) -> str:
    """The commonest confusions, where there are too many classes for a picture."""
    if len(shown.outputs) <= charts.MOST:
        return ""
    found = sorted((one for one in report.confusion if one[0] != one[1]), key=lambda one: -one[2])[:15]
    rows = [(shown.outputs[truth], shown.outputs[said], count) for truth, said, count in found]
    return _table(("truth", "answered", "times"), rows)


def _calibrated(report: Report, many: str) -> str:
    worth = report.calibration
    if not worth or not worth.after:
        return ""
    return (
        f"On the dotted line it is right as often as it says. Off by {100 * worth.before[0]:.1f} points as trained, "
        f"{100 * worth.after[0]:.1f} as shipped (temperature {worth.temperature:.2f}, from {worth.count} {many})."
    )


def _mistaken(shown: Exhibits) -> str:
    first = (
        f"The {shown.word[1]} where answer and truth are furthest apart."
        if shown.pairs
        else f"{shown.wrong} of {shown.tested} test {shown.word[1]} were answered wrongly; these it was surest of."
    )
    return f"{first} {_how(shown.mistakes)} Where the label is wrong, the mistake is the data's."


def _looked(shown: Exhibits) -> str:
    return f"Test {shown.word[1]} it answered well. {_how(shown.looks)}"


def _how(found: Sequence[Closeup]) -> str:
    """How to read what is marked in these examples."""
    if any(one.looked == "gradients" for one in found):
        return GRADIENTS
    kinds = [one.kind for one in found if one.looked]
    return HIDING + FOR.get(kinds[0], FOR[""]) if kinds else ""


def _audit(shown: Exhibits) -> str:
    parts = [_list(shown.audit)] if shown.audit else []
    if shown.left_out:
        rows = _table(("file", "why"), shown.skipped)
        parts.append(f"<details><summary>{shown.left_out} left out</summary>{rows}</details>")
    if shown.copies:
        parts.append(f"<p>{shown.copies} copies were kept together in one part.</p>")
    if shown.alikes:
        rows = _table(("looks like", "in another part"), shown.alike)
        parts.append(f"<details><summary>{shown.alikes} pairs of look-alikes</summary>{rows}</details>")
    if shown.suspects:
        parts.append("<h3>Labels that are probably wrong</h3>")
        pictured = tuple(one for one in shown.suspects if one.kind)
        parts.append(gallery(pictured, "looks like"))
        rest = [(one.name, one.truth, one.answer, f"{100 * (one.probability or 0):.0f} %")
                for one in shown.suspects if not one.kind]  # fmt: skip
        parts.append(_table(("file", "labelled", "looks like", "surely"), rest))
    return "".join(parts)


def _list(sentences: Iterable[str]) -> str:
    entries = "".join(f"<li>{_safe(sentence)}</li>" for sentence in sentences)
    return f"<ul>{entries}</ul>" if entries else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    top = "".join(f'<th scope="col">{_safe(head)}</th>' for head in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_safe(cell)}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return ""
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _safe(value: Any) -> str:
    """Text that stays text; a file's name may hold what is no character."""
    return html.escape(str(value).encode("utf-8", "replace").decode(), quote=True)
