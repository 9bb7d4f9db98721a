"""Shelves: being in the folder is being registered.

A shelf is a folder of this package (`scores`, `strategies`, `sources`, …). A file on it is imported when it is first
asked for; a person's own file is named by its path and behaves as if it stood on the shelf.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from graft.core.errors import PlanError, nearest
from graft.core.keys import file_sha256

ROOT = Path(__file__).parent.parent
SHELVES = (
    *("modalities", "heads", "sources", "scores", "strategies", "adapters", "regularizers"),
    *("baselines", "formats", "learners"),
)


def names(shelf: str) -> list[str]:
    """The names of the files on a shelf, sorted."""
    if shelf not in SHELVES:
        raise PlanError(f"There is no shelf {shelf!r}.{nearest(shelf, SHELVES)} The shelves are {', '.join(SHELVES)}.")
    return sorted(path.stem for path in (ROOT / shelf).glob("*.py") if not path.stem.startswith("_"))


def take(shelf: str, name: str) -> ModuleType:
    """The file `name` of a shelf, imported on first use; `name` may also be the path of a person's own .py file.

    Raises:
        PlanError: there is no such file; the nearest names are offered.
    """
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise PlanError(f"There is no file {name}.")
        spec = importlib.util.spec_from_file_location(f"graft_user_{shelf}_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses ask for it while the file runs
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise PlanError(f"{name} cannot be read: {type(error).__name__}: {error}.") from error
        return module
    return _known(shelf, name)


def first_line(shelf: str, name: str) -> str:
    """A file's first sentence, read from its text: importing it may load torch."""
    return (ROOT / shelf / f"{name}.py").read_text(encoding="utf-8").split("\n", 1)[0].strip('" ')


def contents(files: Iterable[str]) -> list[str]:
    """The sha256 of each of these files that is a person's own, by path: a key of what is done with them needs it."""
    return [file_sha256(name) for name in sorted(files) if name.endswith(".py")]


@cache
def _known(shelf: str, name: str) -> ModuleType:
    known = names(shelf)
    if name not in known and Path(name).is_file():
        raise PlanError(f"{name} is a file, but its name does not end in .py.")
    if name not in known:
        raise PlanError(f"There is no {name!r} among the {shelf}.{nearest(name, known)} There are: {', '.join(known)}.")
    return importlib.import_module(f"graft.{shelf}.{name}")


def function(shelf: str, name: str) -> Any:
    """The function that a file of a shelf is named after: `scores/logme.py` holds `logme`."""
    module, stem = take(shelf, name), Path(name).stem
    if not callable(getattr(module, stem, None)):
        there = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        holds = f" It holds {', '.join(there)}." if there else ""
        raise PlanError(f"{name} must hold a function of the file's own name, {stem}.{holds}")
    return getattr(module, stem)
