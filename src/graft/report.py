"""Report, Exhibits → one page that stands alone, report.json from which it is drawn, and the model card."""

import html
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graft import captions, charts, svg
from graft.advice import ODD, advice, answer
from graft.closeups import gallery
from graft.core import home
from graft.core.codec import from_json, to_json
from graft.core.errors import DataError, GraftError
from graft.core.examples import doubtful, lookalikes
from graft.core.exhibits import FILES, SCHEMA, Exhibits, Told
from graft.core.nouns import Report
from graft.model_card import card
from graft.spendings import spendings

STYLE = Path(__file__).with_name("templates") / "report.css"
PERCENT = re.compile(r"(?<=\d) %")
# Nothing is fetched and nothing is run, whatever a label or a file's name may hold.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"


def write(told: Told, out: str | os.PathLike[str]) -> list[Path]:
    """Write report.html, report.json and MODEL_CARD.md into a folder."""
    place, report, shown = Path(out), told.report, told.exhibits
    with home.storage():
        place.mkdir(parents=True, exist_ok=True)
    texts = (page(report, shown), to_json(told, indent=1), card(report, shown))
    for name, text in zip(FILES, texts, strict=True):
        home.write_text(place / name, text)
    return [place / name for name in FILES]


def kept(told: Told, out: str | os.PathLike[str]) -> Told | None:
    """What a folder's report tells, if it is the same but for what that cost: it was drawn when the work was done."""
    try:
        there = _told(Path(out))
    except DataError:
        return None
    whole = all((Path(out) / name).is_file() for name in FILES)
    same = replace(there, exhibits=replace(there.exhibits, spent=told.exhibits.spent)) == told
    return there if whole and same else None


def redraw(folder: str | os.PathLike[str]) -> list[Path]:
    """Write them again from a folder's report.json: neither the data nor the model is needed.

    Raises:
        DataError: there is none, or it is not one of this version's.
    """
    return write(_told(Path(folder)), folder)


def _told(folder: Path) -> Told:
    place = folder / "report.json"
    try:
        told = from_json(Told, place.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise DataError(
            f"{folder} holds no report.json. `graft transfer` writes one, and `graft verify --out`."
        ) from None
    except GraftError as error:
        raise DataError(f"{place} cannot be read: {error} `graft verify --out` writes it anew.") from None
    if told.schema != SCHEMA:
        raise DataError(f"{place} is of schema {told.schema}; this version of graft draws schema {SCHEMA}.")
    return told


def page(report: Report, shown: Exhibits) -> str:
    """The whole page: what to do first, then what that rests on."""
    with svg.drawing():
        sections = "\n".join(_sections(report, shown))
        body = f'{_verdict(report, shown)}\n<div class="sections">{sections}</div>'
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
    many, tuned = shown.word[1], len(charts.epochs(shown)) > 2

    def drawn(name: str, title: str, said: str, chart: Callable[..., Any] | None = None, more: str = "") -> str:
        made = chart(report, shown) if chart else None
        if made is None and not more:
            return ""
        picture = f"<figure>{svg.text(made, name, title, said)}</figure>" if made is not None else ""
        return f'<section id="{name}"><h2>{_safe(title)}</h2><p class="note">{_safe(said)}</p>{picture}{more}</section>'

    ships = captions.called(report.ships, shown)
    yield drawn(
        "ladder", "What was compared",
        f"Each bar is one way to build the model, asked of {many} held out from it; the line is the 95 % interval. "
        f"The coloured one, “{ships}”, is what ships. {captions.beaten(report)} {captions.glossary(report, shown)}",
        charts.ladder,
    )  # fmt: skip
    yield drawn(
        "ranking", "Which backbone suits the data",
        captions.ranked(report, shown), charts.ranking,
        _table(("backbone", "licence", ""), [(one.id, one.license, one.note) for one in shown.ranking])
        + _list(shown.chosen if len(shown.ranking) > 1 else ()),
    )  # fmt: skip
    yield drawn(
        "stages", "What stays fixed, and what learns",
        f"How much each stage of {shown.backbone} tells about these {many}. Strategy: {shown.strategy}.",
        charts.stages, _list(shown.why if tuned else (*shown.why, *captions.phases(shown))),
    )  # fmt: skip
    if tuned:  # a head that is found at once has nothing to show
        yield drawn(
            "training", "How training went",
            "Loss should fall and the score rise; where validation turns while training goes on, the best weights were "
            "kept. Numbers in it are those of the phases below.", charts.training, _list(captions.phases(shown)),
        )  # fmt: skip
    yield drawn("labels", "What labels are worth", captions.labels(report), charts.labels)
    first = f" Each was asked {report.repeats} times; these are the first answers." * (report.repeats > 1)
    what = f"Rows are the truth, columns the answers.{first}"
    yield drawn("confusion", "What is taken for what", what, charts.confusion, _confused(report, shown))
    yield drawn("scatter", "Answers beside the truth", "On the dotted line an answer is exactly right.", charts.scatter)
    yield drawn("groups", "The groups that were found", "Nobody named them.", None,
                _table(("group", many, "its words"), shown.groups))  # fmt: skip
    yield drawn(
        "calibration", "Can its confidence be believed?", captions.calibrated(report, shown), charts.calibration
    )
    yield drawn("mistakes", "Its surest mistakes" if not shown.pairs else "Where it is furthest off",
                captions.mistaken(report, shown), None, gallery(shown.mistakes))  # fmt: skip
    yield drawn("audit", ODD, f"Found by reading all {many} before training.", None,
                _audit(report, shown))  # fmt: skip
    yield drawn("looks", "What its answers hang on", captions.looked(shown), None, gallery(shown.looks))
    yield drawn(
        "map", "How alike the model finds them",
        captions.mapped(shown, ships), charts.map,
    )  # fmt: skip
    yield drawn(
        "harm", "Who gains and who loses",
        "Gain of the adapted model over what it is judged by, part by part, with intervals corrected for their number. "
        f"A part wholly on the left is surely worse off. It is judged by “{captions.called(report.reference)}”.",
        charts.harm,
    )  # fmt: skip
    yield drawn("cost", "What it cost", "Of this run, on this machine.", None, _list(spendings(shown)))
    rows = [(name, value) for name, value in shown.lineage.items() if name != "command"]
    command = shown.lineage.get("command", "")
    clock = " How far it gets in its time hangs on the machine, and with it what is tried." * ("--budget" in command)
    again = f"<p>The same again: <code>{_exact(command)}</code>{clock}</p>" if command else ""
    parts = ", ".join(f"{count} {name}" for name, count in shown.parts.items())
    yield drawn("lineage", "Where it comes from", f"{parts} {many}.", None, again + _table(("", ""), rows))
    if notes := [note for note in report.notes if note not in (*shown.audit, *shown.why)]:
        yield f"<section><details><summary>How to read these figures</summary>{_list(notes)}</details></section>"


def _confused(report: Report, shown: Exhibits) -> str:
    """The commonest confusions, where there are too many classes for a picture."""
    if len(shown.outputs) <= charts.MOST:
        return ""
    found = sorted((one for one in report.confusion if one[0] != one[1]), key=lambda one: -one[2])[:15]
    rows = [(shown.outputs[truth], shown.outputs[said], count) for truth, said, count in found]
    return _table(("truth", "answered", "times"), rows)


def _audit(report: Report, shown: Exhibits) -> str:
    parts = [_list(shown.audit)] if shown.audit else []
    if shown.left_out:
        rows = _table(("file", "why"), shown.skipped)
        parts.append(f"<details><summary>{shown.left_out} left out</summary>{rows}</details>")
    if shown.copies:
        parts.append(f"<p>{shown.copies} copies were kept together in one part.</p>")
    if shown.alikes:
        rows = _table(("looks like", "in another part"), shown.alike)
        parts.append(f"<details><summary>{lookalikes(shown.alikes)}</summary>{rows}</details>")
    if shown.suspects:
        parts.append("<h3>Labels worth a second look</h3>")
        parts.append(
            f"<p>{_safe(doubtful(report.suspects))}: a linear layer on {_safe(shown.backbone)} that had not learned "
            "from them is surer of something else than it is where examples are merely hard. Whether they are wrong is "
            "for you to say: where labels are partly chance, as what somebody buys is, most may be right.</p>"
        )
        pictured = tuple(one for one in shown.suspects if one.kind)
        parts.append(gallery(pictured, "looks like"))
        rest = [(one.name, one.truth, one.answer, f"{100 * (one.probability or 0):.0f} %")
                for one in shown.suspects if not one.kind]  # fmt: skip
        parts.append(_table(("file", "labelled", "looks like", "it is so sure"), rest))
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
    """Text that stays text, and in which no line ends between a number and its percent sign."""
    return PERCENT.sub("\N{NO-BREAK SPACE}%", _exact(value))


def _exact(value: Any) -> str:
    """Text that stays text, to the letter; a file's name may hold what is no character."""
    return html.escape(str(value).encode("utf-8", "replace").decode(), quote=True)
