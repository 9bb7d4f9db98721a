"""The house stands: imports only go down, starting costs nothing, files stay small, and names mean what they say."""

import ast
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import graft
from graft.core.errors import GraftError
from graft.core.shelf import SHELVES

ROOT = Path(graft.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MECHANICS = ("data", "model")  # floor 1
PATH = (
    "parts",
    "domains",
    "load",
    "features",
    "meter",
    "build",
    "speed",
    "candidate",
    "prior",
    "selector",
    "rank",
    "regularized",
    "expected",
    "plan",
    "objective",
    "mix",
    "adapt",
    "align",
    "seeds",
    "search",
    "groups",
    "rivals",
    "entries",
    "clock",
    "folds",
    "joint",
    "scratch",
    "sentences",
    "confidence",
    "forgetting",
    "verdict",
    "curve",
    "proof",
    "verify",
    "runtime",
    "predict",
    "known",
    "forms",
    "parity",
    "occlusion",
    "export",
    "convert",
    "merge",
    "twins",
    "hf",
    "examined",
    "exhibits",
    "svg",
    "captions",
    "charts",
    "closeups",
    "advice",
    "spendings",
    "model_card",
    "report",
)  # floor 3
FACES = ("words", "given", "asked", "transfer", "demo", "serving", "studio", "listing", "arguments", "cli")  # floor 4
ALONE = {"runtime", "predict"}  # run where an artifact is used: of the path they need each other alone
LINES = 300
START = 0.2  # CPU seconds


def place(path: Path) -> str:
    """A file's dotted name under graft; "" is the package itself."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that a file imports, at its top or inside functions, but not for types only."""
    package = ["graft", *path.relative_to(ROOT).parent.parts]

    def walk(node: ast.AST) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for below in node.orelse:
                yield from walk(below)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            for (
                alias
            ) in node.names:  # `from graft.core import home` imports a file, `from graft.load import load` a name
                yield node.lineno, ".".join([*base, alias.name]) if _is_file([*base, alias.name]) else ".".join(base)
        else:
            for below in ast.iter_child_nodes(node):
                yield from walk(below)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")))


def _is_file(parts: list[str]) -> bool:
    inside = ROOT.joinpath(*parts[1:])
    return parts[0] == "graft" and (inside.is_dir() or inside.with_suffix(".py").is_file())


def fault(importer: str, imported: str) -> str | None:
    """Why a file (dotted, under graft) may not import another (dotted, absolute), or None where it may."""
    top, *rest = imported.split(".")
    floor = importer.split(".")[0]
    if top != "graft":
        standard = top in sys.stdlib_module_names
        return None if standard or floor not in ("core", "") else "floor 0 knows the standard library only"
    if not rest:  # by way of the package everything could be had
        return None if floor in (*PATH, *FACES) else "only the path and the faces import the package itself"
    target = rest[0]
    if floor == "":
        return None if target == "core" else "`import graft` may load floor 0 only"
    if target == "core":
        return None
    if floor == "core":
        return "floor 0 imports nothing above it"
    if floor in MECHANICS:
        return None if target == floor else f"{floor}/ imports floor 0 and itself only"
    if floor in SHELVES:
        return None if target in MECHANICS else f"a shelf imports floors 0 and 1 only, not {target}"
    if floor in PATH:
        if floor in ALONE:
            return None if target in (*SHELVES, *ALONE) else f"{floor} imports floor 0 and shelves only"
        earlier = PATH[: PATH.index(floor)]
        return None if target in (*MECHANICS, *SHELVES, *earlier) else f"{target} does not come before {floor}"
    if floor in FACES:
        if target == floor:
            return None
        return None if target not in FACES[FACES.index(floor) :] else f"{target} does not come before {floor}"
    return f"{importer} stands on no floor: name it in tests/test_floors.py"


@pytest.mark.parametrize("path", FILES, ids=[place(path) or "graft" for path in FILES])
def test_imports_only_go_down(path: Path) -> None:
    name = place(path)
    faults = [f"{path.relative_to(ROOT)}:{line} imports {what}: {why}" for line, what in imports(path)
              if (why := fault(name, what))]  # fmt: skip
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("core.keys", "numpy"), ("core.keys", "graft.data.store"), ("data.store", "graft.model.chain"),
        ("model.cuts", "graft.data.dataset"), ("model.cuts", "graft.scores.knn"), ("scores.knn", "graft.heads.any"),
        ("sources.timm", "graft.build"), ("load", "graft.rank"), ("rank", "graft.plan"), ("adapt", "graft.verify"),
        ("predict", "graft.adapt"), ("predict", "graft.model.chain"), ("export", "graft.transfer"),
        ("transfer", "graft.cli"), ("", "graft.load"), ("", "torch"), ("scores.knn", "graft"), ("new", "graft.load"),
    ],
)  # fmt: skip
def test_what_goes_up_is_noticed(importer: str, imported: str) -> None:
    assert fault(importer, imported)


def test_every_way_to_write_an_import_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from graft.rank import rank
else:
    import graft.plan
def late():
    from graft.core import home, keys
    from .. import adapt
    from ..model.chain import Chain
    try:
        import torch.nn as nn
    except ImportError:
        pass
"""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (file := tmp_path / "heads" / "new.py").parent.mkdir()
    file.write_text(text)
    for name in ("core/home.py", "core/keys.py", "adapt.py", "model/chain.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [
        "typing",
        "graft.plan",
        "graft.core.home",
        "graft.core.keys",
        "graft.adapt",
        "graft.model.chain",
        "torch.nn",
    ]
    assert [name for _, name in imports(file)] == found


@pytest.mark.parametrize("path", FILES, ids=[place(path) or "graft" for path in FILES])
def test_files_are_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LINES


def test_a_modality_is_a_file_on_a_shelf() -> None:
    """No commit that adds a modality changes a file of the path; the first commits built the path itself."""
    git = ["git", "-C", str(ROOT), "log", "--no-renames", "--format=%H", "--name-status", "--", "."]
    if not (ROOT.parent.parent / ".git").exists():
        pytest.skip("this is no clone: there is no history to look at")
    done = subprocess.run(git, capture_output=True, text=True, check=True)
    path = {f"src/graft/{name}.py" for name in (*PATH, *FACES)}
    for commit, (added, touched) in commits(done.stdout).items():
        new = [name for name in added if name.startswith("src/graft/modalities/") and "__init__" not in name]
        assert not (new and (reached := touched & path)), f"{commit} adds {new} and changes {sorted(reached)}"


def commits(log: str) -> dict[str, tuple[set[str], set[str]]]:
    """Of each commit, the files that it adds and the files that it changes."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    commit = ""
    for line in filter(None, log.splitlines()):
        if "\t" not in line:
            found[commit := line] = (set(), set())
        else:
            kind, name = line.split("\t")
            found[commit][kind != "A"].add(name)
    return found


def test_a_modality_that_changes_the_path_is_noticed() -> None:
    log = "abc\n\nA\tsrc/graft/modalities/smell.py\nM\tsrc/graft/rank.py\n\ndef\n\nA\tsrc/graft/rank.py\n"
    assert commits(log) == {
        "abc": ({"src/graft/modalities/smell.py"}, {"src/graft/rank.py"}),
        "def": ({"src/graft/rank.py"}, set()),
    }


# ── starting ──────────────────────────────────────────────────────────────────────────────────────────────────────────

PROBE = """
import resource, sys, json
before = resource.getrusage(resource.RUSAGE_SELF)
{body}
after = resource.getrusage(resource.RUSAGE_SELF)
spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([spent, sorted({{name.partition(".")[0] for name in sys.modules}})]), file=sys.stderr)
"""
STARTS = {
    "import graft": "import graft",
    "graft --help": "from graft.cli import main\ntry: main(['--help'])\nexcept SystemExit as end: assert not end.code",
    "strategies": "from graft.core.shelf import names, take\n[take('strategies', n) for n in names('strategies')]",
}


def started(body: str) -> tuple[float, set[str]]:
    """CPU seconds that this took in a fresh process, and the top-level modules it loaded."""
    result = subprocess.run([sys.executable, "-c", PROBE.format(body=body)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    spent, modules = json.loads(result.stderr.splitlines()[-1])
    return spent, set(modules)


@pytest.mark.parametrize("body", STARTS.values(), ids=STARTS)
def test_starting_loads_nothing_heavy_and_is_quick(body: str) -> None:
    seconds = []
    for _ in range(5):  # the machine may be busy: the quickest counts
        spent, modules = started(body)
        assert not modules & {
            "torch",
            "numpy",
            "timm",
            "torchvision",
            "scipy",
            "pandas",
            "pyarrow",
            "PIL",
            "matplotlib",
        }
        seconds.append(spent)
        if spent < START:
            break
    assert min(seconds) < START


def test_the_command_answers() -> None:
    run = [sys.executable, "-c", "from graft.cli import main; main()", "--help"]
    result = subprocess.run(run, capture_output=True, text=True, timeout=60, env=os.environ | {"COLUMNS": "100"})
    assert (result.returncode, result.stderr) == (0, "")
    assert all(verb in result.stdout for verb in ("rank", "plan", "adapt", "verify", "export", "predict"))


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

VERBS = (
    "load",
    "features",
    "build",
    "rank",
    "plan",
    "adapt",
    "search",
    "verify",
    "export",
    "transfer",
    "open",
    "explain",
    "find",
)


def test_public_names_mean_verbs_and_nouns() -> None:
    for name in graft.__all__:
        value = getattr(graft, name)
        assert callable(value), name
        assert value.__name__ == name
        assert value.__doc__, name
    assert set(VERBS) <= set(graft.__all__) <= set(dir(graft))
    for error in (name for name in graft.__all__ if name.endswith("Error")):
        assert issubclass(getattr(graft, error), GraftError)
    with pytest.raises(AttributeError, match="no attribute 'adept'"):
        graft.adept  # noqa: B018


@pytest.mark.parametrize("first", ["import graft.adapt", "from graft import adapt"])
def test_a_verb_is_not_its_file_whatever_is_imported_first(first: str) -> None:
    code = f"""
{first}
import importlib, graft, graft.load, graft.predict
for name in {VERBS!r}:
    if name not in ("open", "find", "explain"):
        importlib.import_module("graft." + name)
    verb = getattr(graft, name)
    assert type(verb).__name__ == "function" and verb.__name__ == name, (name, verb)
from graft import adapt, load
import graft.adapt as file
assert adapt is graft.adapt and callable(adapt) and callable(load)
import sys
assert sys.modules["graft.adapt"].adapt is adapt
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_every_file_says_what_it_holds() -> None:
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
    assert importlib.import_module("graft").__version__.count(".") == 2
