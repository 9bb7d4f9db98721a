"""What README.md, CONTRIBUTING.md and docs/ say is true: code runs, commands parse, links lead somewhere."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from graft.arguments import parser
from graft.core.shelf import names

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


def known() -> set[str]:
    """The sub-commands that there are."""
    return set(next(action.choices for action in parser()._actions if isinstance(action.choices, dict)))


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
        words = shlex.split(command)[1:]
        if len(words) == 1 and words[0] in known():  # a sentence about the command
            continue
        try:
            parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{page.name}: {command}")


def test_the_readme_speaks_of_every_command() -> None:
    assert {command.split()[1] for command in commands(ROOT / "README.md")} == known()


def test_the_tree_is_that_of_the_files() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "graft"
    told = set(re.findall(r"^      ([\w/]+\.py) ", text, re.MULTILINE))
    for shelf, files in re.findall(r"^      (\w+)/ +(.+)$", text, re.MULTILINE):
        told |= {f"{shelf}/{name}.py" for name in files.split(", ")}
    there = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    assert told == {name for name in there if not name.endswith("/__init__.py")}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_runs(page: Path, desk: Path) -> None:
    for block in blocks(page, "python"):
        run("-c", block)


def test_the_commands_of_the_readme_run(desk: Path) -> None:
    """As they stand, in their order; where backbones are measured, only with the small ones and for seconds."""
    for line in "".join(blocks(ROOT / "README.md", "sh")).splitlines():
        command, arrow, place = line.partition("#")[0].partition(">")
        words = shlex.split(command)[1:]
        if hasattr(parser().parse_args(words), "budget"):
            words += ["--backbone", "tiny/shapes", "--budget", "5s"]
        answer = run("-m", "graft.cli", *words)
        if arrow:
            (desk / place.strip()).write_text(answer, encoding="utf-8")
    assert (desk / "model" / "card.json").is_file()


def test_the_readme_names_every_strategy_and_source() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in names("strategies") if f"`{name}`" not in text] == []
    assert [name for name in names("sources") if f"`{name}/" not in text] == []


def test_the_strategy_in_the_readme_is_the_example() -> None:
    assert (ROOT / "examples" / "top_two.py").read_text(encoding="utf-8") in blocks(ROOT / "README.md", "python")


def test_the_score_in_contributing_arrives_with_its_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy of the package: the file alone puts it on the shelf and under the contract."""
    shutil.copytree(ROOT / "src" / "graft", tmp_path / "graft", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "graft" / "scores" / "fisher.py"
    file.write_text(blocks(ROOT / "CONTRIBUTING.md", "python")[0], encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "fisher" in run("-m", "graft.cli", "list", "scores")
    tests = str(ROOT / "tests" / "test_scores.py")
    assert " passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "contract and fisher", tests)


@pytest.mark.parametrize("example", EXAMPLES, ids=named)
def test_examples_are_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.name[0].isdigit()], ids=named)
def test_examples_run(example: Path, tiny_home: Path) -> None:
    assert run(str(example))
