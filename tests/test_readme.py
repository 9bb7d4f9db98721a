"""What the README and the tree promise is there, and the examples run. The blocks of pages: test_docs.py."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import photos
from graft.core.shelf import names
from pages import blocks, commands, known

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
DEMO = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e . && .venv/bin/graft demo"
TEST = 'python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e ".[test]" && .venv/bin/pytest'


def named(page: Path) -> str:
    """A page as a test is called after it."""
    return str(page.relative_to(ROOT))


def run(*words: str) -> str:
    """Standard output of a command of this Python, in the current folder."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", [DEMO, TEST])
def test_the_two_commands_stand_in_the_readme(command: str) -> None:
    assert f"\n    {command}\n" in README.read_text(encoding="utf-8")


def test_the_readme_speaks_of_every_command() -> None:
    assert {command.split()[1] for command in commands(README)} == known()


def test_the_tree_is_that_of_the_files() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "graft"
    told = set(re.findall(r"^      ([\w/]+\.py) ", text, re.MULTILINE))
    for shelf, files in re.findall(r"^      (\w+)/ +(.+)$", text, re.MULTILINE):
        told |= {f"{shelf}/{name}.py" for name in files.split(", ")}
    there = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    assert told == {name for name in there if not name.endswith("/__init__.py")}


def test_the_readme_names_every_strategy_and_source() -> None:
    text = README.read_text(encoding="utf-8")
    assert [name for name in names("strategies") if f"`{name}`" not in text] == []
    assert [name for name in names("sources") if f"`{name}/" not in text] == []


def test_the_strategy_in_the_readme_is_the_example() -> None:
    assert (ROOT / "examples" / "top_two.py").read_text(encoding="utf-8") in [text for _, _, text in blocks(README)]


def test_the_score_in_the_docs_arrives_with_its_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy of the package: the file alone puts it on the shelf and under the contract."""
    shutil.copytree(ROOT / "src" / "graft", tmp_path / "graft", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "graft" / "scores" / "fisher.py"
    file.write_text(next(blocks(ROOT / "docs" / "how-to" / "add-score.md"))[2], encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "fisher" in run("-m", "graft.cli", "list", "scores")
    tests = str(ROOT / "tests" / "test_scores.py")
    assert " passed" in run(
        "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", "contract and fisher", tests
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=named)
def test_examples_are_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.name[0].isdigit()], ids=named)
def test_examples_run(
    example: Path, tiny_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The first as its reader starts it; the others in this process, where torch is at hand."""
    if example.name.startswith("01"):
        assert run(str(example))
        return
    monkeypatch.syspath_prepend(str(example.parent))
    monkeypatch.delitem(sys.modules, photos.__name__)  # ours: theirs stands beside them
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out
