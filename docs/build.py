"""The site: every page of the navigation, and whatever they link to, from Markdown to HTML without any network.

    python docs/build.py [--out site]

The site mirrors the repository: `docs/trust.md` becomes `docs/trust.html`, a README its folder's `index.html`, and a
linked program a page that shows it. A link that leads nowhere ends the build.
"""

import argparse
import html
import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from string import Template
from urllib.parse import unquote

import reference
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
SECTIONS = {  # what the navigation shows, in order; a page that is not there yet is left out
    "Start": ("README.md",),
    "Tutorials": tuple(f"docs/tutorials/{name}.md" for name in ("image", "text", "audio", "signal", "vector")),
    "How to": (
        *("docs/how-to/groups.md", "docs/how-to/freeze.md", "docs/how-to/domain.md", "docs/how-to/local-weights.md"),
        *("docs/how-to/add-score.md", "docs/how-to/add-strategy.md"),
        *("docs/how-to/deploy.md", "docs/how-to/export.md", "docs/serve.md", "docs/page.md", "docs/studio.md"),
    ),
    "Why": (
        *("docs/explanation/caching.md", "docs/explanation/verdict.md", "docs/explanation/when-not.md"),
        *("docs/report.md", "docs/choosing.md", "docs/trust.md", "docs/audit.md"),
    ),
    "In detail": (
        *(f"docs/{name}.md" for name in ("text", "audio", "signal", "vector", "heads", "strategies", "regularizers")),
        *("docs/search.md", "docs/scores.md", "docs/artifact.md", "benchmarks/README.md"),
        *("docs/architecture.md", "CONTRIBUTING.md"),
    ),
    "Reference": tuple(reference.PAGES),
}
ELSEWHERE = re.compile(r"^[a-z]+:")  # a link to another site


class Broken(Exception):
    """Links that lead nowhere, or pages that nothing leads to."""


class Site:
    """The pages that are there or are generated, and how they are drawn."""

    def __init__(self, root: Path) -> None:
        self.root, self.generated, self.faults = root, reference.pages(root), list[str]()
        self.drawn, self.files = dict[str, str](), set[str]()  # path → HTML of its middle; files that are copied
        self.shown = {
            section: there
            for section, names in SECTIONS.items()
            if (there := [name for name in names if name in self.generated or (root / name).is_file()])
        }
        self.reader = MarkdownIt("commonmark", {"html": False}).enable("table")

    def text(self, page: str) -> str:
        return self.generated[page] if page in self.generated else (self.root / page).read_text(encoding="utf-8")

    def tokens(self, page: str) -> list[Token]:
        return self.reader.parse(self.text(page))

    def title(self, page: str) -> str:
        lines = self.text(page).splitlines() if page.endswith(".md") else []
        return next((line[2:].replace("`", "") for line in lines if line.startswith("# ")), page)

    def draw(self) -> None:
        """Every page of the navigation, and what they link to, and so on."""
        waiting = [page for pages in self.shown.values() for page in pages]
        while waiting:
            page = waiting.pop()
            if page not in self.drawn:
                self.drawn[page], linked = self.body(page)
                waiting += linked
        listed = {page for pages in self.shown.values() for page in pages}
        lost = {path.relative_to(self.root).as_posix() for path in (self.root / "docs").rglob("*.md")}
        self.faults += [f"{page} is not in the navigation: add it to SECTIONS" for page in sorted(lost - listed)]
        if self.faults:
            raise Broken("\n".join(self.faults))

    def body(self, page: str) -> tuple[str, list[str]]:
        """A page's middle, and the pages that it links to."""
        if (self.root / page).is_dir():
            names = sorted(path.name for path in (self.root / page).iterdir() if path.suffix in (".py", ".md"))
            items = "".join(f'<li><a href="{address(name)}"><code>{name}</code></a></li>' for name in names)
            return f"<h1>{page}</h1><ul>{items}</ul>", [f"{page}/{name}" for name in names]
        if not page.endswith(".md"):
            return f"<h1>{page}</h1><pre><code>{html.escape(self.text(page))}</code></pre>", []
        tokens, linked = self.tokens(page), list[str]()
        for token, name in headed(tokens):
            token.attrs["id"] = name
        for token in tokens:
            for part in token.children or ():
                if part.type == "link_open":
                    part.attrs["href"], more = self.led(page, str(part.attrs["href"]))
                    linked += more
                if part.type == "image":
                    self.files.add(self.resolved(page, str(part.attrs["src"])))
        drawn = self.reader.renderer.render(tokens, self.reader.options, {})
        return drawn.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>"), linked

    def led(self, page: str, link: str) -> tuple[str, list[str]]:
        """Where a link leads on the site, and the page to be drawn for it."""
        if ELSEWHERE.match(link):
            return link, []
        place, mark, heading = unquote(link).partition("#")
        target = self.resolved(page, place) if place else page
        if heading and target.endswith(".md") and heading not in {name for _, name in headed(self.tokens(target))}:
            self.faults.append(f"{page} links to {link}: {target} has no such heading")
        there = posixpath.relpath(address(target), posixpath.dirname(address(page)) or ".")
        return there + mark + heading, [target]

    def resolved(self, page: str, place: str) -> str:
        """A link's target as a path in the repository."""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), place))
        if (self.root / target / "README.md").is_file():
            target = posixpath.normpath(f"{target}/README.md")
        if target not in self.generated and not (self.root / target).exists():
            self.faults.append(f"{page} links to {place}, which is not there")
            return page
        return target

    def write(self, out: Path) -> None:
        """The whole site."""
        here = Path(__file__).parent
        frame = Template((here / "template.html").read_text(encoding="utf-8"))
        order = [page for pages in self.shown.values() for page in pages]
        for page, body in self.drawn.items():
            file = out / address(page)
            file.parent.mkdir(parents=True, exist_ok=True)
            up = posixpath.relpath(".", posixpath.dirname(address(page)) or ".")
            at = order.index(page) if page in order else -1
            beside = {"prev": order[at - 1 : at], "next": order[at + 1 : at + 2]} if at >= 0 else {}
            steps = (
                f'<a rel="{way}" href="{up}/{address(other)}">{html.escape(self.title(other))}</a>'
                for way, others in beside.items()
                for other in others
            )
            title, navigation = html.escape(self.title(page)), self.navigation(page, up)
            drawn = frame.substitute(title=title, up=up, navigation=navigation, body=body, steps="".join(steps))
            file.write_text(drawn, encoding="utf-8")
        for name in self.files:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.root / name, out / name)
        shutil.copyfile(here / "style.css", out / "style.css")

    def navigation(self, page: str, up: str) -> str:
        """The list of all pages, this one marked."""

        def item(name: str) -> str:
            here = ' aria-current="page"' if name == page else ""
            title = re.sub(r"^(Tutorial: |How to )(.)", lambda found: found[2].upper(), self.title(name))
            return f'<li><a href="{up}/{address(name)}"{here}>{html.escape(title)}</a></li>'

        return "".join(
            f"<h2>{section}</h2><ul>{''.join(item(name) for name in pages)}</ul>"
            for section, pages in self.shown.items()
        )


def address(page: str) -> str:
    """Where a path of the repository stands on the site; what has no ending is taken for a folder."""
    folder, name = posixpath.split(page)
    stem, ending = posixpath.splitext(name)
    if name == "README.md" or not ending:
        return posixpath.join(folder, *([] if ending else [name]), "index.html")
    return posixpath.join(folder, f"{stem if ending == '.md' else name}.html")


def headed(tokens: list[Token]) -> Iterator[tuple[Token, str]]:
    """Every heading and its name in links, as code hosts form it."""
    for token, inside in pairwise(tokens):
        if token.type == "heading_open":
            yield token, re.sub(r"[^\w\- ]", "", inside.content.lower()).replace(" ", "-")


def build(root: Path, out: Path) -> Site:
    """Draw everything, then write it.

    Raises:
        Broken: links that lead nowhere, all of them.
    """
    site = Site(root)
    site.draw()
    site.write(out)
    return site


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Build the site of the documentation.")
    arguments.add_argument("--out", type=Path, default=Path("site"), metavar="DIR", help="by default ./site")
    place = arguments.parse_args().out
    try:
        pages = len(build(ROOT, place).drawn)
    except Broken as error:
        sys.exit(f"{error}")
    print(f"{pages} pages in {place}")
