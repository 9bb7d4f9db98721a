"""torchvision's classification networks, with their published weights from torch's hub cache.

A name is an architecture (`resnet50`: its default weights) or an architecture and a tag (`resnet50.IMAGENET1K_V1`).
`vgg16.features` is the part called `features`, pooled: the network without its fully connected layers.
"""

import contextlib
import logging
import os
import re
import sys
import urllib.request
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import BackboneError, nearest
from graft.core.keys import file_sha256
from graft.core.nouns import Backbone, Loading
from graft.model.lean import lean

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("graft")
SIZED = {"vision_transformer": "image_size", "maxvit": "input_size"}  # families built for one input size
# Auxiliary classifiers are of no use without logits; the published weights expect the input they rescale themselves.
INCEPTIONS = ("googlenet", "inception_v3")


def catalog(modality: str) -> list[Backbone]:
    """The networks whose default weights already lie in torch's hub cache."""
    here = {path.name for path in _cache().glob("*.pth")} if modality == "image" else set()
    if not here:
        return []
    models = lean("torchvision.models")

    names = models.list_models(module=models)
    return [find(name) for name in names if Path(models.get_model_weights(name)["DEFAULT"].url).name in here]


def find(name: str) -> Backbone:
    """The backbone called torchvision/`name`; nothing is fetched.

    Raises:
        BackboneError: torchvision has no such network or no such weights.
    """
    models = lean("torchvision.models")

    architecture, features, weights = _parse(name)
    meta, transform = weights.meta, weights.transforms()
    top1 = meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    (crop,), (short,) = transform.crop_size, transform.resize_size
    return Backbone(
        id=f"torchvision/{name}",
        family=models.get_model_builder(architecture).__module__.rpartition(".")[2],
        architecture=f"torchvision/{architecture}{'.features' if features else ''}",
        input={
            "size": [crop, crop],
            "mean": list(transform.mean),
            "std": list(transform.std),
            "interpolation": transform.interpolation.value,
            "crop": crop / short,
        },
        accuracy=top1,
        pretrained_on="SWAG, ImageNet-1k" if "SWAG" in weights.name else "ImageNet-1k",
        license="CC-BY-NC-4.0" if "SWAG" in weights.name else "BSD-3-Clause",
        revision=weights.name,
    )


def open(backbone: Backbone, pretrained: bool = True) -> "tuple[nn.Module, Loading]":
    """The headless network, (B, 3, h, w) → (B, width), in eval mode, and how its weights fitted.

    Raises:
        BackboneError: the weights are neither cached nor reachable, or are damaged.
    """
    from graft.model.loading import load
    from graft.model.pickles import read

    net = build(backbone.architecture.removeprefix("torchvision/"), backbone.input)
    if not pretrained:
        return net, Loading()
    name = backbone.id.removeprefix("torchvision/")
    return net, load(net, read(_file(name, _parse(name)[2].url)), convert)


def build(name: str, input: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None) -> "nn.Module":
    """The empty headless network, in eval mode: random weights from torch's current generator."""
    from torch import nn

    models = lean("torchvision.models")

    architecture, features, _ = _parse(name)
    family = models.get_model_builder(architecture).__module__.rpartition(".")[2]
    size = tuple(input["size"]) if input else None
    arguments: dict[str, Any] = {}
    if architecture in INCEPTIONS:  # torchvision warns where the initial weights are left open
        arguments = {"aux_logits": False, "transform_input": True, "init_weights": True}
    if size and family in SIZED:
        if family == "vision_transformer" and size[0] != size[1]:
            raise BackboneError(f"torchvision/{name} takes square input only, not {size[0]}×{size[1]}.")
        arguments[SIZED[family]] = size[0] if family == "vision_transformer" else size
    try:
        net: nn.Module = models.get_model(architecture, weights=None, **arguments)
    except (ValueError, RuntimeError) as error:
        raise BackboneError(f"torchvision/{name} cannot be built for input of {size}: {_line(error)}.") from error
    if features:
        parts = {"features": net.get_submodule("features"), "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
        return nn.Sequential(OrderedDict(parts)).eval()
    # What makes the logits is the last layer with 1000 outputs: a Linear, or in SqueezeNet a convolution.
    outputs = [at for at, m in net.named_modules() if 1000 in (_int(m, "out_features"), _int(m, "out_channels"))]
    net.set_submodule(outputs[-1], nn.Identity())
    return net.eval()


def convert(state: "dict[str, Tensor]", module: "nn.Module") -> "dict[str, Tensor]":
    """The position embeddings of a vision transformer brought to the size the network was built for; else unchanged."""
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    if not isinstance(module, VisionTransformer):
        return state
    return dict(interpolate_embeddings(module.image_size, module.patch_size, dict(state)))


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


def _int(module: "nn.Module", name: str) -> int | None:
    value = getattr(module, name, None)
    return value if isinstance(value, int) else None


def _parse(name: str) -> tuple[str, bool, Any]:
    """(architecture, features only?, the weights' entry) of a name."""
    import torch

    models = lean("torchvision.models")

    architecture, _, tag = name.partition(".")
    known = models.list_models(module=models)
    if architecture not in known:
        raise BackboneError(f"torchvision has no network {architecture!r}.{nearest(architecture, known)}")
    weights = models.get_model_weights(architecture)
    if tag == "features":
        whole = None
        with torch.device("meta"), contextlib.suppress(NotImplementedError):  # names only: nothing is initialised
            whole = models.get_model(architecture, weights=None)  # RegNet needs values, and has no such part
        if not hasattr(whole, "features"):
            raise BackboneError(
                f"torchvision/{architecture} has no part called features; use torchvision/{architecture}."
            )
    if tag in ("", "features"):
        return architecture, tag == "features", weights["DEFAULT"]
    if tag not in weights.__members__:
        raise BackboneError(
            f"torchvision/{architecture} has no weights {tag!r}. There are: {', '.join(weights.__members__)}."
        )
    return architecture, False, weights[tag]


def _cache() -> Path:
    """Where torch.hub keeps weights; spelt out so that an empty cache is seen without importing torch."""
    base = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return Path(base).expanduser() / "hub" / "checkpoints"


def _file(name: str, url: str) -> Path:
    """The cached weight file, fetched first if need be, and true to the hash in its own name."""
    import torch

    path = _cache() / Path(url).name
    digest = match[1] if (match := re.search(r"-([0-9a-f]{8,})\.", path.name)) else ""
    if not path.exists():
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10).close()
            log.warning("fetching torchvision/%s…", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), digest, progress=sys.stderr.isatty())
        except (OSError, RuntimeError) as error:
            raise BackboneError(
                f"The weights of torchvision/{name} cannot be fetched ({_line(error)}). Put {path.name} into "
                f"{path.parent}, use checkpoint/torchvision/{name.partition('.')[0]}@<file>, or a package/… backbone."
            ) from error
    if not file_sha256(path).startswith(digest):
        raise BackboneError(f"{path} is damaged: its sha256 does not begin with {digest}. Remove it to fetch it again.")
    return path
