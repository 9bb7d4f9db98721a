"""Weights that are already here: a file with the name of its architecture, a finished run, or an exported artifact.

timm/resnet18@/path/weights.pth     the architecture before the @, a safetensors or torch file after it
3f9a2c…                             the key of a finished run, or as much of its beginning as is unique
/path/to/folder                     the folder of a run (run.json) or of an artifact (card.json)
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.codec import from_dict, from_json
from graft.core.errors import BackboneError, GraftError, nearest
from graft.core.home import home
from graft.core.keys import file_sha256
from graft.core.nouns import Backbone, Loading, Phase, Run
from graft.core.shelf import take

if TYPE_CHECKING:
    from torch import nn

LIBRARIES = ("timm/", "torchvision/", "transformers/", "blank/", "tiny/")
NEWEST = 8  # runs offered unasked: each one costs a ranking pass


def catalog(modality: str) -> list[Backbone]:
    """The newest finished runs of this modality that changed pretrained weights, one of each task.

    Of a run that was carried out in several ways, none is offered by itself: it may have been tried and not kept.
    """
    found: list[Backbone] = []
    tasks, parts = set[str](), set[tuple[str, str, int, tuple[Phase, ...]]]()
    for folder in sorted(_finished(), key=_age):
        try:
            run, backbone = _run(folder)
        except GraftError:
            continue  # half written, or by another version
        plan = run.plan
        if plan.alternatives:  # newer than its parts
            parts |= {(run.task, plan.backbone.id, run.seed, way) for way in plan.ways}
        elif (run.task, plan.backbone.id, run.seed, plan.phases) in parts:
            continue
        # One whose head alone was fitted is what it started from.
        if plan.pretrained and run.tuned and backbone.modality == modality and run.task not in tasks:
            tasks.add(run.task)
            found.append(backbone)
        if len(found) == NEWEST:
            break
    return found


def find(name: str) -> Backbone:
    """The backbone called checkpoint/`name`.

    Raises:
        BackboneError: there is no such file, run or folder, or the architecture is unknown.
    """
    if _is_file(name):
        return _file(name)
    folder = _place(name)
    return _run(folder)[1] if (folder / "run.json").is_file() else _artifact(folder)


def open(backbone: Backbone, pretrained: bool = True) -> "tuple[nn.Module, Loading]":
    """The headless network, one vector an example, in eval mode, and how its weights fitted (a head is unused).

    Raises:
        BackboneError: the file is missing or damaged, or belongs to another architecture.
    """
    from graft.model.loading import load
    from graft.model.pickles import read

    library, architecture = _library(backbone.architecture)
    shelf = take("sources", library)
    net: nn.Module = shelf.build(architecture, backbone.input, backbone.config)
    if not pretrained:
        return net, Loading()
    name = backbone.id.removeprefix("checkpoint/")
    path = Path(name.partition("@")[2]).expanduser() if _is_file(name) else _place(name) / "weights.safetensors"
    return net, load(net, read(path), shelf.convert)


def learned(backbone: Backbone) -> frozenset[str]:
    """Content ids of the examples that a run or artifact, and the runs it started from, were fitted on or chosen by."""
    name = backbone.id.removeprefix("checkpoint/")
    if _is_file(name):
        return frozenset()
    try:
        folder = _place(name)
        account = folder / ("task.json" if (folder / "run.json").is_file() else "card.json")
        return frozenset(json.loads(account.read_text(encoding="utf-8"))["learned"])
    except (OSError, ValueError, KeyError, TypeError, GraftError):  # gone, or a baseline's: nothing is known
        return frozenset()


def _is_file(name: str) -> bool:
    """Whether the name is an architecture and a file; folders may have an @ in their names too."""
    return "@" in name and name.startswith(LIBRARIES)


def _finished() -> list[Path]:
    return sorted(record.parent for record in (home() / "runs").glob("*/run.json"))


def _age(folder: Path) -> float:
    """Seconds to sort by, newest first; a run that is being evicted just now comes last."""
    try:
        return -(folder / "run.json").stat().st_mtime
    except OSError:
        return 0.0


def _library(architecture: str) -> tuple[str, str]:
    """("timm", "resnet18") of "timm/resnet18"."""
    library, _, name = architecture.partition("/")
    if not architecture.startswith(LIBRARIES) or not name:
        raise BackboneError(
            f"{architecture!r} does not name an architecture. Write timm/<name>, torchvision/<name>, blank/<name> "
            "or tiny/shapes before the @."
        )
    return library, name


def _file(name: str) -> Backbone:
    architecture, _, file = name.partition("@")
    path = Path(file).expanduser()
    if not path.is_file():
        raise BackboneError(f"There is no weight file {path}.")
    library, inner = _library(architecture)
    base: Backbone = take("sources", library).find(inner)
    return Backbone(
        id=f"checkpoint/{name}",
        modality=base.modality,
        family=base.family,
        architecture=base.architecture,
        input=base.input,
        sha256=file_sha256(path),
    )


def _place(name: str) -> Path:
    """The folder of a run or an artifact, by path, key or beginning of a key."""
    if name and (path := Path(name).expanduser().absolute()).is_dir():
        return path
    runs = _finished()
    fitting = [run for run in runs if run.name.startswith(name)] if name else []
    if len(fitting) == 1 or (fitting and fitting[0].name == name):
        return fitting[0]
    if fitting:
        raise BackboneError(
            f"{len(fitting)} finished runs begin with {name!r}: {', '.join(run.name for run in fitting[:5])}."
        )
    raise BackboneError(
        f"There is no finished run or folder {name!r}.{nearest(name, [run.name for run in runs])} "
        "A weight file needs its architecture: checkpoint/timm/<architecture>@<file>."
    )


def _run(folder: Path) -> tuple[Run, Backbone]:
    try:
        run = from_json(Run, (folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, GraftError) as error:
        raise BackboneError(f"{folder} does not hold a finished run: {error}") from error
    if not (folder / "weights.safetensors").is_file():
        raise BackboneError(f"{folder} has lost its weights.safetensors. Adapt again to get it back.")
    inside = folder.parent == home() / "runs"
    start = run.plan.backbone
    backbone = replace(
        start,
        id=f"checkpoint/{run.key if inside else folder}",
        accuracy=None,
        pretrained_on=_schooled(start, _name(folder / "task.json")) if run.tuned else start.pretrained_on,
        revision=run.key,
        sha256="",
        note=f"{start.id} adapted to {run.task}",
    )
    return run, backbone


def _schooled(start: Backbone, task: str) -> str:
    """What a backbone was pretrained on, and after that on a task."""
    return task if start.pretrained_on in ("", "nothing") else f"{start.pretrained_on}, then {task}"


def _name(account: Path) -> str:
    """The name of the task in a run's account."""
    try:
        return str(json.loads(account.read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return "a task"


def _artifact(folder: Path) -> Backbone:
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        start, task = from_dict(Backbone, card["backbone"]), card.get("task", {}).get("name", "a task")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, GraftError) as error:
        raise BackboneError(
            f"{folder} holds neither a run (run.json) nor an artifact with a backbone (card.json)."
        ) from error
    weights = folder / "weights.safetensors"
    if not weights.is_file():
        raise BackboneError(f"{folder} ships no network: there is no weights.safetensors in it.")
    digest = file_sha256(weights)
    return replace(
        start, id=f"checkpoint/{folder}", accuracy=None, pretrained_on=_schooled(start, task), revision=digest[:32],
        sha256=digest, note=f"{start.id} adapted",
    )  # fmt: skip
