"""Folders of networks as the transformers library keeps them: local, in the hub's cache, or fetched from the hub."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graft.core.errors import BackboneError, nearest

log = logging.getLogger("graft")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
DESCRIBING = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab*", "*.model", "merges.txt", "modules.json", "sentence_bert_config.json", "*/config.json"),
    *("preprocessor_config.json", "README.md"),
)


def card(folder: Path, field: str) -> Iterator[str]:
    """What the README's front matter says of a field."""
    readme = folder / "README.md"
    lines = readme.read_text(encoding="utf-8", errors="replace").split("---")[1].splitlines() if readme.is_file() and (
        readme.read_bytes().startswith(b"---")
    ) else []  # fmt: skip
    for at, line in enumerate(lines):
        if line.startswith(f"{field}:"):
            if value := line.partition(":")[2].strip():
                yield value
            for below in lines[at + 1 :]:
                if not below.startswith("- "):
                    return
                yield below[2:].strip()


def settings(file: Path) -> Any:
    """What a JSON file says.

    Raises:
        BackboneError: it is missing or damaged.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BackboneError(f"{file} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise BackboneError(f"{file} is damaged: {error}.") from None


def weights(folder: Path) -> list[Path]:
    """The weight files of a folder."""
    for name in WEIGHTS:
        if (file := folder / name).is_file():
            if not name.endswith("index.json"):
                return [file]
            return [folder / part for part in sorted(set(settings(file)["weight_map"].values()))]
    raise BackboneError(f"{folder} holds no weights ({', '.join(WEIGHTS)}).")


def static(folder: Path) -> Path | None:
    """Where a table of token vectors lies in a folder, as model2vec or sentence-transformers write it, or None."""
    if (file := folder / "modules.json").is_file() and (modules := settings(file)):
        return folder / modules[0]["path"] if modules[0]["type"].endswith(".StaticEmbedding") else None
    file = folder / "config.json"
    return folder if file.is_file() and settings(file).get("model_type") == "model2vec" else None


def cached() -> list[str]:
    """The repositories in the hub's cache that are there with their weights."""
    from huggingface_hub.constants import HF_HUB_CACHE

    mark = "models--"
    names = [path.name.removeprefix(mark).replace("--", "/") for path in Path(HF_HUB_CACHE).glob(f"{mark}*")]
    return sorted(name for name in names if not name.startswith("timm/") and _snapshot(name))


def _snapshot(name: str) -> Path | None:
    """The folder of a repository in the hub's cache, if its description and weights are there."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(name, file) for file in ("config.json", *WEIGHTS)]
    here = [Path(file) for file in found if isinstance(file, str)]
    return here[0].parent if len(here) > 1 and here[0].name == "config.json" else None


def folder(name: str, whole: bool = False) -> Path:
    """Where the files of a name lie, fetched first if need be.

    Args:
        name: of a repository, or the path of a folder.
        whole: with its weights, not only what describes it.

    Raises:
        BackboneError: it is neither here nor reachable.
    """
    local = Path(name).expanduser()
    if local.is_dir():
        return local
    if name.startswith(("/", ".", "~")):
        raise BackboneError(f"There is no folder {name}.")
    if name.count("/") > 1:
        raise BackboneError(f"{name!r} is neither a folder nor a repository (OWNER/NAME).")
    if (here := _snapshot(name)) is not None:
        return here
    from huggingface_hub import snapshot_download

    try:
        if whole:
            log.warning("fetching transformers/%s…", name)
        for files in (["*.safetensors", "*.safetensors.index.json"], ["pytorch_model*.bin*"]):  # the older ones at need
            wanted = [*DESCRIBING, *(["*/pytorch_model.bin", *files] if whole else [])]
            place = Path(snapshot_download(name, allow_patterns=wanted, etag_timeout=10))
            if not whole or any((place / file).is_file() for file in WEIGHTS):
                break
        return place
    except Exception as error:  # the hub's client raises its HTTP library's own errors, which change between releases
        first = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].rstrip(": .")
        raise BackboneError(
            f"{name} is not in the hub's cache, and the hub cannot be reached ({first}). Give a local folder "
            f"(transformers//path/to/folder) or a package/… backbone.{nearest(name, cached())}"
        ) from error
