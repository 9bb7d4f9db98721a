"""Backbone, head → Chain: open the pretrained network, put a head on it, find its stages."""

import logging
from dataclasses import replace

import numpy as np
import torch

from graft.core.errors import BackboneError, nearest
from graft.core.nouns import Backbone, Form, Loading
from graft.core.shelf import names, take
from graft.model.chain import Chain
from graft.model.network import Network, Normalise

log = logging.getLogger("graft")


def device() -> str:
    """Where networks run here: the GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def find(id: str) -> Backbone:
    """The backbone of this id, "source/name", known without loading a weight.

    Raises:
        BackboneError: the source or the name is unknown; the nearest ones are offered.
    """
    source, _, name = id.partition("/")
    if source not in names("sources") or not name:
        known = [backbone.id for each in names("sources") for backbone in take("sources", each).catalog("image")]
        raise BackboneError(
            f"There is no backbone {id!r}.{nearest(id, known)} Write SOURCE/NAME with a source of: "
            f"{', '.join(names('sources'))}; `graft list backbones` shows what is at hand."
        )
    return take("sources", source).find(name)  # type: ignore[no-any-return]


def build(
    backbone: Backbone,
    head: str,
    outputs: int,
    seed: int = 0,
    *,
    pretrained: bool = True,
    on: str | None = None,
) -> tuple[Chain, Loading]:
    """The backbone with a fresh head (a file of the `heads` shelf), as a chain on a device: by default this machine's.

    The head (and, without pretrained weights, the whole network) is initialised from the seed alone.
    """
    source, modality = take("sources", backbone.id.split("/")[0]), take("modalities", backbone.modality)
    torch.manual_seed(seed)
    body, loading = source.open(backbone, pretrained, backbone.input.size)
    if left := (*loading.missing, *loading.shape):
        log.warning(
            "%s: %d of its %d tensors are not in the weights or have another shape and stay random: %s%s",
            backbone.id, len(left), loading.matched + len(left), ", ".join(left[:5]), ", …" if len(left) > 5 else "",
        )  # fmt: skip
    example = {
        name: torch.from_numpy(value)
        for name, value in modality.example(backbone.input, 2, np.random.default_rng(0)).items()
    }
    normalise = Normalise(backbone.input)
    with torch.no_grad():
        width = body.eval()(normalise(example["x"])).shape[-1]
    torch.manual_seed(seed)
    network = Network(normalise, body, take("heads", head).head(width, outputs))
    place = on or device()
    network = network.to(place).to(memory_format=torch.channels_last)
    return Chain(network, {name: value.to(place) for name, value in example.items()}), loading


def resized(backbone: Backbone, size: int) -> Backbone:
    """The same architecture for smaller photos."""
    return replace(backbone, input=replace(backbone.input, size=(size, size), crop=1.0))


def form_here(form: Form) -> Form:
    """The form, on this machine's device."""
    return replace(form, device=device())
