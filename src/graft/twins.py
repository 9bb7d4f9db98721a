"""torchvision's networks as timm has them: under which name, built how, and the weights under timm's names."""

from collections.abc import Iterable, Mapping
from typing import Any

from graft.core.errors import PlanError
from graft.core.nouns import Backbone
from graft.core.shelf import take

INSTEAD = "Its model.onnx runs anywhere without graft, too."
TWINS = {  # timm's names of networks that torchvision calls otherwise; a network of one name is looked for by it
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
}


def twin(backbone: Backbone) -> tuple[str, Any]:
    """What timm calls the network, and torchvision's own, empty, where it is torchvision's."""
    import timm

    library, _, name = backbone.architecture.partition("/")
    known = TWINS.get(name, name) if library == "torchvision" else name
    if library not in ("timm", "torchvision") or "." in known or not timm.is_model(known):
        part = f", which is {library}'s {name}" if library == "torchvision" else ""
        raise PlanError(f"timm has no network such as {backbone.id}{part}. {INSTEAD} package/resnet18 it has, say.")
    return known, take("sources", library).build(name, backbone.input) if library == "torchvision" else None


def arguments(net: Any) -> dict[str, Any]:
    """What timm is to build otherwise than it would, to build what torchvision has: the epsilon of the batch norms."""
    eps = {one.eps for one in net.modules() if "BatchNorm" in type(one).__name__} if net else set()
    return {"bn_eps": eps.pop()} if len(eps) == 1 and eps != {1e-5} else {}  # timm's own, if it is not told


def renamed(ours: dict[str, Any], net: Any, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """torchvision's weights under timm's names, where both hold the same layers in the same order; else None.

    A linear layer is a convolution of one pixel, so ones in a shape do not matter.
    """
    order = [*net.state_dict()] if net else []
    if set(order) != set(ours) or _shapes(ours[at] for at in order) != _shapes(body.values()):
        return None
    return {to: ours[at].reshape(value.shape) for at, (to, value) in zip(order, body.items(), strict=True)}


def _shapes(side: Iterable[Any]) -> list[list[int]]:
    return [[n for n in value.shape if n > 1] for value in side]
