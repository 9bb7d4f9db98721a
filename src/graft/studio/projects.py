"""A project of the studio: a folder in the home with the data, what was chosen, and what each job gave.

    studio/<id>/  project.json   data/   jobs/<verb>/   artifact/

The steps are commands of graft. Each is asked with everything that was chosen so far, so a later one finds what an
earlier one has computed, and one that was interrupted goes on.
"""

import json
import os
import re
import secrets
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

from graft.core import home
from graft.core.errors import DataError, PlanError
from graft.core.shelf import take
from graft.data.columns import TABLES
from graft.studio import jobs, uploads

VERBS = ("load", "rank", "plan", "transfer")  # in order; each needs the one before
CHOICES: dict[str, Any] = {
    "seconds": 600, "builtin": False, "modality": "", "head": "", "label": "", "backbone": "", "strategy": "auto",
}  # fmt: skip
ASKED = ("modality", "head", "label")  # how the data are read


def place() -> Path:
    """Where the projects lie, created; nobody else on the machine may look into it."""
    path = home.home() / "studio"
    with home.storage():
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def create(name: str) -> Path:
    """A new project without data."""
    folder = place() / secrets.token_hex(4)
    with home.storage():
        (folder / "data").mkdir(parents=True)
    _keep(folder, {"name": name[:80] or "data", "made": time.time(), **CHOICES})
    return folder


def find(id: str) -> Path:
    """The folder of a project.

    Raises:
        DataError: there is none.
    """
    folder = place() / id
    if not re.fullmatch(r"[0-9a-f]{8}", id) or not (folder / "project.json").is_file():
        raise DataError("There is no such project any more. Begin a new one.")
    return folder


def everyone() -> list[Path]:
    """All projects, the newest first."""
    found = [entry.parent for entry in place().glob("*/project.json")]
    return sorted(found, key=lambda folder: -about(folder)["made"])


def about(folder: Path) -> dict[str, Any]:
    """What a project is called and what was chosen in it."""
    kept: dict[str, Any] = json.loads((folder / "project.json").read_text(encoding="utf-8"))
    return kept


def choose(folder: Path, **choices: Any) -> None:
    """Note choices; what was made with others is forgotten, since it no longer answers for these."""
    before = about(folder)
    changed = {name for name, value in choices.items() if before[name] != value}
    _keep(folder, {**before, **choices})
    late = VERBS[2:] if changed <= {"backbone", "strategy"} else VERBS[1:] if not changed & {*ASKED} else VERBS
    for verb in late if changed else ():
        shutil.rmtree(folder / "jobs" / verb, ignore_errors=True)


def settle(folder: Path) -> None:
    """Make the files that came in the project's data: an archive is unpacked."""
    data = folder / "data"
    files = list(data.iterdir())
    if len(files) == 1 and files[0].suffix.lower() == ".zip":
        archive = files[0].rename(folder / files[0].name)
        try:
            data.rmdir()
            uploads.unpack(archive, data)
        finally:
            archive.unlink(missing_ok=True)
            data.mkdir(exist_ok=True)


def root(folder: Path) -> Path:
    """What `load` is given: the data's folder, without folders that hold nothing but one, or the only table in it."""
    data = folder / "data"
    while len(inside := list(data.iterdir())) == 1:
        data = inside[0]
        if not data.is_dir():
            if data.suffix.lower() in (*TABLES, ".npz", ".npy"):
                return data
            raise DataError(f"{data.name} alone is no table and no zip of folders: drop a folder with one per class.")
    if not inside:
        raise DataError("Nothing has been handed over yet: drop a folder, a zip or a table.")
    return data


def argv(folder: Path, verb: str) -> list[str]:
    """The command of a step.

    Raises:
        PlanError: the step before it has not been done.
    """
    chosen = about(folder)
    if verb == "load":
        asked = [f"--{name}={chosen[name]}" for name in ASKED if chosen[name]]
        return ["load", str(root(folder)), "--json", *asked]
    earlier = VERBS[VERBS.index(verb) - 1]
    if jobs.result(folder / "jobs" / earlier) is None:
        raise PlanError("The step before this one has not been done yet.")
    command = [verb, str(folder / "jobs/load/out.json"), "--json"]
    if chosen["seconds"] != CHOICES["seconds"]:  # which nobody named: nothing is left out for it
        command.append(f"--budget={chosen['seconds']}s")
    command += [f"--backbone={id}" for id in _candidates(folder, chosen, verb)]
    if verb == "rank":
        return command
    command.append(f"--strategy={chosen['strategy']}")
    return command + (["--explain"] if verb == "plan" else [f"--out={folder / 'artifact'}"])


def _candidates(folder: Path, chosen: dict[str, Any], verb: str) -> list[str]:
    """The ids that are asked for; none: everything at hand."""
    if verb != "rank":
        ranking = jobs.result(folder / "jobs/rank")
        first = ranking["evidence"][0]["backbone"]["id"]
        if chosen["backbone"] not in ("", first) or ranking["failed"]:  # a ranking with failures is not kept
            return [chosen["backbone"] or first]
    if not chosen["builtin"]:
        return []
    task = jobs.result(folder / "jobs/load")
    return [backbone.id for backbone in take("sources", "tiny").catalog(task["modality"])]


def packed(folder: Path) -> Path:
    """The artifact as a zip archive, made when it is first asked for."""
    artifact, archive = folder / "artifact", folder / "model.zip"
    if not (artifact / "card.json").is_file():
        raise DataError("There is no model yet.")
    if archive.is_file() and archive.stat().st_mtime > (artifact / "card.json").stat().st_mtime:
        return archive
    name = re.sub(r"[^\w.-]+", "-", about(folder)["name"]).strip("-.") or "model"
    with home.placed(archive) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
        for file in sorted(entry for entry in artifact.rglob("*") if entry.is_file()):
            out.write(file, f"{name}/{file.relative_to(artifact)}")
    return archive


def remove(folder: Path) -> None:
    """Remove a project with all its data."""
    gone = folder.with_name(f".{folder.name}.gone")
    with home.storage():
        os.replace(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _keep(folder: Path, about: dict[str, Any]) -> None:
    home.write_text(folder / "project.json", json.dumps(about, ensure_ascii=False, indent=1))
