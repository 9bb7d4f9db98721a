"""Report, Exhibits → a model card in Markdown, as model hubs show it (Mitchell et al. 2019)."""

import re

from graft.advice import advice, answer
from graft.captions import called
from graft.core import figures
from graft.core.exhibits import Exhibits
from graft.core.nouns import Report
from graft.spendings import spendings

OUT = {
    "classification": "one of these classes", "multilabel": "any of these labels", "regression": "these quantities",
    "tagging": "a tag for each word", "grouping": "one of these groups",
}  # fmt: skip
SHOWN = 50  # labels that are named
UNSAFE = re.compile(r"([\\`*_{}\[\]<>#|!&~$])")


def card(report: Report, shown: Exhibits) -> str:
    """What the model is for, what it was learned from, how good it is and how that is known."""
    one, many = shown.word
    licence = shown.lineage.get("licence of the weights", "unknown")
    names = ", ".join(_plain(name) for name in shown.outputs[:SHOWN])
    more = f" and {len(shown.outputs) - SHOWN} more" if len(shown.outputs) > SHOWN else ""
    parts = ", ".join(f"{count} {name}" for name, count in shown.parts.items())
    rows = [
        f"| {_plain(called(row.name, shown))} | {figures.score(row.score, report.metric)} | "
        f"{figures.interval(row.low, row.high, report.metric)} | {'yes' if row.transfers else 'no'} |"
        for row in report.rows
    ]
    metric = figures.called(report.metric)
    ships = next(row for row in report.rows if row.name == report.ships)
    base = [f"license: {_yaml(licence)}", f"base_model: {_yaml(shown.backbone)}"] if ships.transfers else []
    lines = [
        "---", "library_name: graft", *(base if shown.pretrained else []),
        f"tags: [{_yaml(shown.modality)}, {_yaml(shown.head)}]", "---", "",
        f"# {_plain(shown.name)}", "",
        f"**{answer(report, shown)}** {_plain(report.sentence)}", "",
        *(f"- {_plain(sentence)}" for sentence in advice(report, shown)), "",
        "## What it does", "",
        f"One {one} in, {_plain(OUT.get(shown.head, shown.head))} out: {names}{more}.", "",
        *_use(shown),
        "## What it is not for", "",
        f"Other {many} than those it learned from and was tested on: the figures below say nothing of them. Decisions "
        "about people need a test on whom they are about.", "",
        "## Training", "",
        f"{parts} {many}. What ships: {_plain(called(report.ships, shown))}. Tried: {_plain(shown.backbone)}, strategy "
        f"{_plain(shown.strategy)}.", "",
        *(f"- {_plain(sentence)}" for sentence in shown.why), "",
        "## How good it is", "",
        f"{metric} on {report.n_test} {many}; “{_plain(called(report.ships, shown))}” ships.", "",
        "| model | score | 95 % interval | uses pretrained weights |", "|---|---|---|---|", *rows, "",
        *(f"- {_plain(note)}" for note in report.notes), "",
        "## Cost", "", *(f"- {_plain(sentence)}" for sentence in spendings(shown)), "",
        "## Where it comes from", "",
        *(f"- {_plain(name)}: {_plain(value)}" for name, value in shown.lineage.items()), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _use(shown: Exhibits) -> list[str]:
    """How it is asked, where there is a model beside this card."""
    if not shown.folder:
        return []
    line = f"graft.open({shown.folder!r}).predict([{shown.example!r}])"
    return ["    import graft", f"    print({line})", ""]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return UNSAFE.sub(r"\\\1", " ".join(str(text).split()).encode("utf-8", "replace").decode())


def _yaml(text: str) -> str:
    return '"' + re.sub(r'[\\"\x00-\x1f]', " ", text) + '"'
