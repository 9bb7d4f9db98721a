"""Closeup → HTML: a photo with where the model looked, a text with its words marked, a sound, a drawn signal, a row."""

import base64
import html
import io

import numpy as np
from PIL import Image

from graft.core.exhibits import Closeup, Region

BEFORE, AFTER = 60, 400  # characters of a long text that are shown before its first marked word, and in all
HEAT = (213, 94, 0)  # vermillion, which the colour-blind see too
STRONG = 0.75  # how much of the photo the strongest place hides
HIGH = 60.0  # of a drawn channel
ALSO = 0.5  # share of the strongest weight from which columns that are not shown are named


def gallery(found: tuple[Closeup, ...], verb: str = "answered") -> str:
    """Examples beside each other."""
    return f'<div class="gallery">{"".join(figure(one, verb) for one in found)}</div>' if found else ""


def figure(one: Closeup, verb: str = "answered") -> str:
    """One example with what it is, and what was said of it."""
    sure = f" ({100 * one.probability:.0f}\N{NO-BREAK SPACE}%)" if one.probability is not None else ""
    told = [f"<b>{_cut(one.answer)}</b>{sure}"]
    told = [f"{verb} {told[0]}"] if one.answer else []
    told += [f"labelled <b>{_cut(one.truth)}</b>"] if one.truth and one.truth != one.answer else []
    caption = f'{", ".join(told)}<br><span class="name">{_cut(one.name, 40)}</span>'
    return f'<figure class="one {one.kind}">{_body(one)}<figcaption>{caption}</figcaption></figure>'


def _body(one: Closeup) -> str:
    if one.kind == "photo":
        return _photo(one)
    if one.kind == "text":
        return f"<blockquote>{marked(one.text, one.regions)}</blockquote>"
    if one.kind == "row":
        weights = {region.name: region.weight for region in one.regions}
        most = max(map(abs, weights.values()), default=0) or 1.0
        rows = "".join(
            f'<tr{_tint(weights.get(name, 0.0) / most)}><th scope="row">{_cut(name)}</th><td>{_cut(value)}</td></tr>'
            for name, value in one.cells
        )
        shown = dict(one.cells)
        beyond = [_cut(name) for name, weight in weights.items() if name not in shown and abs(weight) > ALSO * most]
        return f"<table>{rows}</table>" + (f"<p>It also hangs on {', '.join(beyond[:5])}.</p>" if beyond else "")
    drawn = _traces(one) if one.traces else ""
    if one.sound:
        drawn += f'<audio controls preload="none" src="{html.escape(one.sound)}"></audio>'
    return drawn


def marked(text: str, regions: tuple[Region, ...]) -> str:
    """A text with the words that mattered marked, the stronger the more; those that spoke against it are underlined."""
    found = sorted(regions, key=lambda region: region.start)
    most = max((abs(region.weight) for region in found), default=0) or 1.0
    strongest = max(found, key=lambda region: abs(region.weight), default=None)
    begin = max(0, int(strongest.start) - BEFORE) if strongest and len(text) > AFTER else 0
    end = min(len(text), begin + AFTER)
    pieces, at = ["… "] if begin else [], begin
    for region in found:
        start, stop = int(region.start), min(int(region.end), end)
        if start < at or start >= end:
            continue
        pieces.append(html.escape(text[at:start]))
        pieces.append(f"<mark{_tint(region.weight / most)}>{html.escape(text[start:stop])}</mark>")
        at = stop
    return "".join([*pieces, html.escape(text[at:end]), " …" if end < len(text) else ""])


def _tint(share: float) -> str:
    """How strong a piece is, for the style sheet; the sign by a line below, not by colour alone."""
    if abs(share) < 0.05:
        return ""
    return f' class="{"for" if share > 0 else "against"}" style="--w:{min(1.0, abs(share)):.2f}"'


def _photo(one: Closeup) -> str:
    alt = html.escape(f"{one.name}" + (f", labelled {one.truth}" if one.truth else ""), quote=True)
    plain = f'<img src="{html.escape(one.photo)}" alt="{alt}">'
    if not one.grid:
        return plain
    weights = np.clip(np.array(one.grid, np.float64), 0, None)
    heat = np.zeros((*weights.shape, 4), np.uint8)
    heat[..., :3] = HEAT
    heat[..., 3] = 255 * STRONG * weights / (weights.max() or 1.0)
    stream = io.BytesIO()
    Image.fromarray(heat).save(stream, "PNG")
    over = f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
    return f'<span class="seen">{plain}<img class="heat" src="{over}" alt="where the model looked"></span>'


def _traces(one: Closeup) -> str:
    """Channels below each other; behind them the stretches that mattered."""
    high, width = HIGH * len(one.traces), 300.0
    most = max((abs(region.weight) for region in one.regions), default=0) or 1.0
    parts = [
        f'<rect x="{width * r.start / one.seconds:.1f}" width="{width * (r.end - r.start) / one.seconds:.1f}" y="0" '
        f'height="{high:g}"{_tint(r.weight / most)}/>'
        for r in one.regions
        if one.seconds and abs(r.weight) >= 0.05 * most
    ]
    for number, trace in enumerate(one.traces):
        y = np.array(trace)
        spread = np.abs(y - y.mean()).max() or 1.0
        at = HIGH * (number + 0.5 - 0.45 * (y - y.mean()) / spread)
        x = np.linspace(0, width, len(y))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, at, strict=True))
        parts.append(f'<polyline points="{points}"/>')
        if number < len(one.channels):
            parts.append(f'<text x="2" y="{HIGH * number + 12:g}">{_cut(one.channels[number])}</text>')
    title = html.escape(f"{one.name}, {one.seconds:.3g} s")
    return (
        f'<svg class="trace" viewBox="0 0 {width:g} {high:g}" role="img"><title>{title}</title>{"".join(parts)}</svg>'
    )


def _cut(text: str, most: int = 60) -> str:
    return html.escape(text if len(text) <= most else f"{text[: most - 1]}…", quote=True)
