"""timm's networks, with published weights from the model hub's cache or a local folder.

A name is an architecture with or without a tag (`resnet18.a1_in1k`), or a folder that holds config.json and
model.safetensors, as `timm.models.save_for_hf` writes them (`local-dir:FOLDER`, or just its path).
"""

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import BackboneError, nearest
from graft.core.keys import file_sha256
from graft.core.nouns import Backbone, Loading
from graft.core.shelf import take
from graft.model.lean import lean

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("graft")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, where a network does not say
FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# The words of a tag, in the order in which the network saw the data.
DATA = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "laion2b": "LAION-2B",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "openai": "OpenAI's image-text pairs",
    "webli": "WebLI",
}


def catalog(modality: str) -> list[Backbone]:
    """The published networks whose weights already lie in the hub's cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    mark = "models--timm--"
    kept = [path.name.removeprefix(mark) for path in Path(HF_HUB_CACHE).glob(f"{mark}*")]
    if modality != "image" or not kept:
        return []
    timm = lean("timm")

    names = sorted(set(kept) & set(timm.list_pretrained()))
    return [find(name) for name in names if _cached(f"timm/{name}")]


def find(name: str) -> Backbone:
    """The backbone called timm/`name`; nothing is fetched.

    Raises:
        BackboneError: timm has no such network, or the folder is not one that timm wrote.
    """
    if folder := _folder(name):
        return _local(name, folder)
    timm = lean("timm")

    cfg = _cfg(name)
    weighted = bool(cfg.hf_hub_id or cfg.url)
    full = f"{cfg.architecture}.{cfg.tag}" if weighted and cfg.tag else str(cfg.architecture)
    return Backbone(
        id=f"timm/{full}",
        family=timm.model_entrypoint(cfg.architecture).__module__.rpartition(".")[2],
        architecture=f"timm/{cfg.architecture}",
        input=_input(cfg.to_dict(remove_source=False, remove_null=False)),
        pretrained_on=" then ".join(dict.fromkeys(DATA[word] for word in (cfg.tag or "").split("_") if word in DATA)),
        license=cfg.license or "unknown",
        revision=_revision(cfg.hf_hub_id) if cfg.hf_hub_id else "",
        note="" if weighted else "no published weights: it can only be trained from scratch",
    )


def open(backbone: Backbone, pretrained: bool = True) -> "tuple[nn.Module, Loading]":
    """The headless network, (B, 3, h, w) → (B, width), in eval mode, and how its weights fitted.

    timm itself fits the published file to the whole network, strictly; the headless one takes its share of that.

    Raises:
        BackboneError: the weights are neither cached nor reachable, or do not fit.
    """
    from graft.model.loading import load

    size = _size(backbone.input)
    net = build(backbone.architecture.removeprefix("timm/"), backbone.input)
    if not pretrained:
        return net, Loading()
    name = backbone.id.removeprefix("timm/")
    if folder := _folder(name):
        whole = _create(f"local-dir:{folder}", size, pretrained=True)
    else:
        whole = _create(name, size, pretrained=True, pretrained_cfg_overlay={"file": str(_file(name))})
    return net, load(net, whole.state_dict())


def build(name: str, input: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None) -> "nn.Module":
    """The empty headless network, in eval mode: random weights from torch's current generator."""
    return _create(name, _size(input), num_classes=0)


def classifier(name: str, input: Mapping[str, Any], outputs: int, **arguments: Any) -> "nn.Module":
    """The empty network with a classifier of its own, as timm ships it; raises BackboneError where it has none."""
    return _create(name, _size(input), num_classes=outputs, **arguments)


def convert(state: "dict[str, Tensor]", module: "nn.Module") -> "dict[str, Tensor]":
    """Older names renamed and position embeddings resized by timm's own rule for this network, where it has one."""
    rule = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    return dict(rule(state, module)) if rule else state


def _size(input: Mapping[str, Any] | None) -> tuple[int, int] | None:
    return (input["size"][0], input["size"][1]) if input else None


def _create(name: str, size: tuple[int, int] | None, **arguments: Any) -> "nn.Module":
    timm = lean("timm")

    if folder := _folder(name):
        name, fixed = f"local-dir:{folder}", _config(folder)[0].get("fixed_input_size", False)
    else:
        fixed = _cfg(name).fixed_input_size
    if size and fixed:
        arguments["img_size"] = size
    try:
        net: nn.Module = timm.create_model(name, **arguments)
    except Exception as error:  # asserts, shape errors, damaged files: whatever the network's author thought of
        raise BackboneError(f"timm/{name} cannot be made for input of {size} ({_why(error)}).") from error
    return net.eval()


def _cfg(name: str) -> Any:
    """timm's published facts about a name.

    Raises:
        BackboneError: unknown name or tag.
    """
    timm = lean("timm")

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = [*timm.list_models(), *timm.list_pretrained()]
        raise BackboneError(f"timm has no network {name!r}.{nearest(name, known)}")
    tags = timm.list_pretrained(f"{architecture}.*") or []
    if tag and name not in tags:
        offer = f" There are: {', '.join(tags)}." if tags else " It has none."
        raise BackboneError(f"timm has no weights {tag!r} for {architecture}.{nearest(name, tags) or offer}")
    return timm.get_pretrained_cfg(name)


def _input(cfg: dict[str, Any]) -> dict[str, Any]:
    size = cfg.get("input_size") or (3, 224, 224)
    if size[0] != 3:
        raise BackboneError(f"This network takes {size[0]} channels; graft feeds photos of 3.")
    return {
        "size": [int(size[1]), int(size[2])],
        "mean": list(cfg.get("mean") or MEAN),
        "std": list(cfg.get("std") or STD),
        "interpolation": cfg.get("interpolation") or "bicubic",
        "crop": float(cfg.get("crop_pct") or 0.875),
    }


def _folder(name: str) -> Path | None:
    """The folder that a name means, or None where it is a published name."""
    path = name.removeprefix("local-dir:")
    return Path(path).expanduser() if path != name or "/" in path else None


def _config(folder: Path) -> tuple[dict[str, Any], str, bool]:
    """(input facts, architecture, built with special arguments?) from a folder's config.json."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config.get("pretrained_cfg", config), str(config["architecture"]), bool(config.get("model_args"))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise BackboneError(
            f"{folder} is not a folder that timm wrote: no config.json with an architecture in it. For a bare weight "
            "file use checkpoint/timm/<architecture>@<file>."
        ) from error


def _local(name: str, folder: Path) -> Backbone:
    facts, architecture, special = _config(folder)
    weights = folder / FILES[0]
    return Backbone(
        id=f"timm/{name}",
        family=find(architecture).family,
        architecture=f"timm/local-dir:{folder}" if special else f"timm/{architecture}",
        input=_input(facts),
        license=facts.get("license") or "unknown",
        sha256=file_sha256(weights) if weights.is_file() else "",
    )


def _why(error: Exception) -> str:
    """The first line of an error, with its kind."""
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].rstrip(": .")


def _cached(repository: str) -> Path | None:
    """The weight file of a hub repository, if it is in the cache."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, name) for name in FILES)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _revision(repository: str) -> str:
    """The hub commit that the cached weights belong to: the name of the folder they lie in."""
    path = _cached(repository)
    return path.parent.name if path else ""


def _file(name: str) -> Path:
    """The weight file of a published name, from the cache or else from the hub."""
    cfg = _cfg(name)
    if not (cfg.hf_hub_id or cfg.url):
        raise BackboneError(f"timm publishes no weights for {name}. It can only be trained from scratch.")
    if not cfg.hf_hub_id:
        raise BackboneError(
            f"The weights of timm/{name} are not on the hub. Fetch {cfg.url} and use checkpoint/timm/…@file."
        )
    if cached := _cached(cfg.hf_hub_id):
        return cached
    from huggingface_hub import HfApi, hf_hub_download

    try:
        # Asked first because it fails at once: the download itself retries for most of a minute per file name.
        listed = {file.rfilename for file in HfApi().model_info(cfg.hf_hub_id, timeout=10).siblings or []}
        file = next((file for file in (cfg.hf_hub_filename, *FILES) if file in listed), FILES[0])
        log.warning("fetching timm/%s…", name)
        return Path(hf_hub_download(cfg.hf_hub_id, file))
    except Exception as error:  # the hub's client raises its HTTP library's own errors, which change between releases
        offered = [one.id for one in take("sources", "package").catalog("image")]
        near = nearest(f"package/{cfg.architecture}", offered, say="With the package client alone:").rstrip("?")
        raise BackboneError(
            f"The weights of timm/{name} are not in the hub's cache, and the hub cannot be reached "
            f"({_why(error)}). Give a local folder (timm//path/to/folder) or a package/… backbone."
            + (f"{near}." if near else f" There are: {', '.join(offered)}.")
        ) from error
