"""What README.md, CONTRIBUTING.md and docs/ say is true: their code runs, their commands parse, their links lead somewhere."""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import test_scores

from graft.cli import parser
from graft.core import shelf

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
DEMO = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e . && .venv/bin/graft demo"
TEST = 'python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e ".[test]" && .venv/bin/pytest'
TITLE = re.compile(r"^#+ (.+)$", re.MULTILINE)


def blocks(page: Path, kind: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    """A page as a test is called after it."""
    return str(page.relative_to(ROOT))


def commands(page: Path) -> list[str]:
    """Every graft command of a page, in blocks and inside sentences, without comments and redirections."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += re.findall(r"`(graft [a-z][^`|…]*)`", text.replace("\n", " "))
    return [re.split(r"\s+[>#]", line)[0].strip() for line in lines if line.startswith("graft ")]


def anchor(title: str) -> str:
    """A heading's name in links."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.fixture
def desk(tmp_path: Path, photos: Path, tiny_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, as the README supposes it: photos/ and new.jpg."""
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copyfile(next(photos.glob("*/*.jpg")), tmp_path / "new.jpg")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> str:
    """Standard output of a command of this Python, in the current folder."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", [DEMO, TEST])
def test_the_two_commands_stand_in_the_readme(command: str) -> None:
    assert f"\n    {command}\n" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for place, heading in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
        target = page.parent / place if place else page
        assert target.exists(), f"{page.name} links to {place}"
        if heading:
            assert heading in [anchor(title) for title in TITLE.findall(target.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:src|tests|docs|examples|benchmarks)/[\w/.]+)`", text):
        assert (ROOT / name).exists(), f"{page.name} names {name}"
    for name in re.findall(r"-c (\w+\.txt)", text):
        assert (ROOT / name).is_file(), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_parse(page: Path) -> None:
    for command in commands(page):
        try:
            parser().parse_args(shlex.split(command)[1:])
        except SystemExit:
            pytest.fail(f"{page.name}: {command}")


def test_the_readme_speaks_of_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = re.findall(r"[{,](\w+)", re.search(r"\{.*?\}", run("-m", "graft.cli", "cache", "--help"))[0]) if False else []
    assert not verbs


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_runs(page: Path, desk: Path) -> None:
    for block in blocks(page, "python"):
        run("-c", block)


def test_the_commands_of_the_readme_run(desk: Path) -> None:
    page = ROOT / "README.md"
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            words = re.split(r"\s+#", line)[0].replace("graft ", f"{shlex.quote(sys.executable)} -m graft.cli ", 1)
            if re.match(r"graft (transfer|rank|plan|export|verify|adapt)", line) and "--run" not in line and "--plan" not in line:
                words = re.sub(r"( >|$)", r" --backbone tiny/shapes\1", words, count=1)
            done = subprocess.run(words, shell=True, capture_output=True, text=True, check=False, timeout=300)
            assert done.returncode == 0, f"{line}: {done.stderr}"


def test_the_strategy_in_the_readme_is_the_example() -> None:
    assert (ROOT / "examples" / "top_two.py").read_text(encoding="utf-8") in blocks(ROOT / "README.md", "python")


def test_the_score_in_contributing_keeps_the_contract() -> None:
    space: dict[str, object] = {}
    exec(blocks(ROOT / "CONTRIBUTING.md", "python")[0], space)
    checks = [check for name, check in vars(test_scores).items() if name.startswith("test_contract")]
    assert checks
    for check in checks:
        assert list(inspect.signature(check).parameters) == ["score"]
        check(space["fisher"])


@pytest.mark.parametrize("example", EXAMPLES, ids=named)
def test_examples_are_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.name[0].isdigit()], ids=named)
def test_examples_run(example: Path, tiny_home: Path) -> None:
    assert run(str(example))
