"""Figures → SVG for a page: text stays text, colours follow the page's own, and who cannot see them is told."""

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.6  # inches: as wide as a phone, so that words are read there
# What is drawn in these is shown in the page's colours of these names, which differ in the dark.
COLOURS = {"ink": "#010203", "muted": "#040506", "accent": "#070809", "warn": "#0a0b0c", "soft": "#0d0e0f"}
INK, MUTED, ACCENT, WARN, SOFT = COLOURS.values()
# Okabe & Ito (2008): told apart by the colour-blind, and seen on white and on black.
CLASSES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999933", "#888888")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")  # beside the colour, for classes
STYLE: Any = {
    "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "none",
    "legend.frameon": False, "legend.fontsize": 9, "text.parse_math": False,
}  # fmt: skip


@contextmanager
def drawing() -> Iterator[None]:
    """Figures made within have the style."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def figure(height: float, rows: int = 1) -> "tuple[Figure, Any]":
    """A figure as wide as the page, and its axes."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(WIDTH, height))
    return made, made.subplots(rows, 1)


def text(made: "Figure", name: str, title: str, told: str) -> str:
    """The figure as an <svg> element.

    Args:
        name: of the figure on its page: what it refers to within itself is called after it.
        title, told: what it shows, in a word and in a sentence.
    """
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        kept = {"Date": None, "Creator": None, "Format": None, "Type": None}
        made.savefig(stream, format="svg", transparent=True, bbox_inches="tight", metadata=kept)
    drawn = stream.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'\bid="', f'id="{name}-', drawn)
    drawn = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", drawn)
    for called, colour in COLOURS.items():
        drawn = drawn.replace(colour, f"var(--{called})")
    box = re.search(r'viewBox="[^"]*"', drawn)
    head = (
        f'<svg {box[0] if box else ""} role="img" aria-labelledby="{name}-title {name}-desc" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="{name}-title">{html.escape(title)}</title><desc id="{name}-desc">{html.escape(told)}</desc>'
    )
    return head + drawn[drawn.index(">") + 1 :].strip()


def room(axes: "Axes", least: float, most: float, share: float = 0.22) -> None:
    """The axis from least to most, with room for words behind the longest bar."""
    axes.set_xlim(least, least + (1 + share) * ((most - least) or 1.0))


def above(axes: "Axes", y: float, said: str) -> None:
    """A name over its row of the picture: beside it, long ones would leave no room on a phone."""
    axes.annotate(said, (0, y), xycoords=("axes fraction", "data"), xytext=(0, 10), textcoords="offset points")


def beside(axes: "Axes", x: float, y: float, said: str) -> None:
    """Words to the right of a point."""
    axes.annotate(said, (x, y), xytext=(6, 0), textcoords="offset points", va="center")
