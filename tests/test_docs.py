"""What the pages say is true: code runs and prints what is promised, commands parse, links lead somewhere."""

import importlib
import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

import graft
import pages
from conftest import at_home
from desks import DESKS
from graft.arguments import parser
from graft.core.shelf import names

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def named(page: Path) -> str:
    """A page as a test is called after it."""
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def place(packages_place: Path, tiny_weights: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for all pages, where nothing is computed yet; weights are those of every session."""
    home = tmp_path_factory.mktemp("docs") / "home"
    home.mkdir()
    (home / "weights").symlink_to(packages_place / "weights")
    return home


@pytest.mark.parametrize("page", [p for p in PAGES if {"python", "sh"} & {k for k, _, _ in pages.blocks(p)}], ids=named)
def test_a_page_runs(page: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first block to its last, on the desk that its reader has; prints what it says."""
    at_home(monkeypatch, place)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    DESKS.get(named(page), lambda _: None)(tmp_path)
    pages.followed(page)


@pytest.mark.parametrize(
    ("promised", "missing"),
    [
        ("Transfer helped: right on 90.1 % …\nof 32 photos", None),
        ("right on 3 %  of 5\nphotos", None),
        ("Transfer hurt", "Transfer hurt"),
        ("photos … right", "right"),
        ("32 sounds", "0 sounds"),
    ],
)
def test_a_promise_is_kept_or_not(promised: str, missing: str | None) -> None:
    assert pages.unsaid(promised, "Transfer helped: right on 87.5 % of 32 photos\nthat it has not seen.") == missing


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:src|tests|docs|examples|benchmarks)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), f"{page.name} names {name}"
    for name in re.findall(r"-c (\w+\.txt)", text):
        assert (ROOT / name).is_file(), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_parse(page: Path) -> None:
    for command in pages.commands(page):
        words = shlex.split(command)[1:]
        if len(words) == 1 and words[0] in pages.known():  # a sentence about the command
            continue
        try:
            parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{page.name}: {command}")


class Leads(HTMLParser):
    """The ids of a page, and where it leads or what it loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids, self.links = set[str](), list[str]()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            if name in ("href", "src") and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def build() -> Iterator[ModuleType]:
    """docs/build.py as a module."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(ROOT / "docs"))
        yield importlib.import_module("build")


@pytest.fixture(scope="module")
def site(build: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is built."""
    out = tmp_path_factory.mktemp("site")
    build.build(ROOT, out)
    return out


def test_every_link_of_the_site_leads_to_a_page_and_a_heading(site: Path) -> None:
    """Read back from what was written, by another parser."""
    drawn = {page: Leads(page) for page in site.rglob("*.html")}
    assert len(drawn) > len(PAGES)
    for page, leads in drawn.items():
        for link in leads.links:
            assert not link.startswith(("http:", "//")), f"{page} leads to {link}"
            if not link.startswith(("https:", "data:", "mailto:")):
                target, _, heading = link.partition("#")
                there = (page.parent / target).resolve() if target else page
                assert there.is_file(), f"{page} leads to {link}"
                assert not heading or heading in drawn[there].ids, f"{page} leads to {link}"


def test_the_reference_is_of_everything_that_is_public(site: Path) -> None:
    from graft.core.nouns import Phase

    python, line = ((site / f"docs/reference/{page}.html").read_text() for page in ("python", "command-line"))
    assert [name for name in graft.__all__ if f">graft.{name}</h3>" not in python] == []
    assert [name for name in Phase.__dataclass_fields__ if f"<code>{name}</code>" not in python] == []
    assert [name for name in pages.known() if f">graft {name}</h2>" not in line] == []
    assert "--max-latency TIME" in line
    shelves = (site / "docs/reference/shelves.html").read_text()
    assert [name for name in names("strategies") if f"<code>{name}</code>" not in shelves] == []


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ("[there](docs/gone.md)", "README.md links to docs/gone.md, which is not there"),
        ("[there](#nowhere)", "README.md has no such heading"),
        ("![picture](gone.png)", "gone.png, which is not there"),
    ],
)
def test_a_link_that_leads_nowhere_ends_the_build(build: ModuleType, tmp_path: Path, page: str, fault: str) -> None:
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "README.md").write_text(f"# A page\n\n{page}\n")
    with pytest.raises(build.Broken, match=re.escape(fault)):
        build.build(tmp_path, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_page_that_nothing_leads_to_ends_the_build(build: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "lonely.md").write_text("# Lonely\n")
    with pytest.raises(build.Broken, match=r"docs/lonely.md is not in the navigation"):
        build.build(tmp_path, tmp_path / "site")
