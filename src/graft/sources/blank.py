"""Networks without weights: to be trained on one's own source data first, and to carry weights that lie elsewhere.

For signals and tables hardly any pretrained network is ready-made. What an earlier run leaves behind (checkpoint/…) is
one; it starts from here.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from graft.core.errors import BackboneError, nearest
from graft.core.nouns import Backbone, Loading

if TYPE_CHECKING:
    from torch import Tensor, nn

KNOWN = {  # name: (modality, family, what it is)
    "eegnet": ("signal", "eegnet", "filters in time, then across channels (Lawhern et al. 2018)"),
    "resnet1d": ("signal", "resnet", "four residual blocks over time"),
    "mlp": ("vector", "mlp", "three residual blocks over columns"),
    "mlp_small": ("vector", "mlp", "one residual block over columns, 64 wide"),
}
REVISION = "1"  # of the initial weights: torch's generator at seed 0


def catalog(modality: str) -> list[Backbone]:
    """The networks for a modality."""
    return [find(name) for name, (kind, *_) in KNOWN.items() if kind == modality]


def find(name: str) -> Backbone:
    """The network called blank/`name`.

    Raises:
        BackboneError: there is none.
    """
    if name not in KNOWN:
        raise BackboneError(f"There is no blank/{name}.{nearest(name, KNOWN)} There are: {', '.join(KNOWN)}.")
    modality, family, note = KNOWN[name]
    return Backbone(
        id=f"blank/{name}", modality=modality, family=family, architecture=f"blank/{name}", pretrained_on="nothing",
        license="Apache-2.0", revision=REVISION, note=f"random weights: {note}",
    )  # fmt: skip


def open(backbone: Backbone, pretrained: bool = True) -> "tuple[nn.Module, Loading]":
    """The network for this input, in eval mode: always the same random weights, or new ones where not pretrained."""
    import torch

    name = backbone.architecture.removeprefix("blank/")
    if not pretrained:
        return build(name, backbone.input), Loading()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return build(name, backbone.input), Loading()


def build(name: str, input: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None) -> "nn.Module":
    """The empty network, in eval mode: random weights from torch's current generator.

    Raises:
        BackboneError: there is none of this name.
    """
    makers: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
        "eegnet": _eegnet, "resnet1d": _resnet1d, "mlp": _mlp, "mlp_small": _mlp_small,
        "ge2e": _ge2e, "ecapa": _ecapa, "whisper": _whisper, "ecg": _ecg,
    }  # fmt: skip
    if name not in makers:
        raise BackboneError(f"There is no blank/{name}.{nearest(name, makers)} There are: {', '.join(makers)}.")
    return makers[name](input or {}).eval()


def convert(state: "dict[str, Tensor]", module: "nn.Module") -> "dict[str, Tensor]":
    """Tensors that depend on the length of a window, cut to it; others as they are."""
    from graft.model import hearing

    return dict(hearing.convert(state, module))


def _eegnet(input: Mapping[str, Any]) -> "nn.Module":
    from graft.model.waves import eegnet

    rate = float(input["rate"])  # 0: not known, and the window counts samples
    return eegnet(len(input["channels"]), round((rate or 1.0) * float(input["window"])), rate)


def _resnet1d(input: Mapping[str, Any]) -> "nn.Module":
    from graft.model.waves import resnet1d

    return resnet1d(len(input["channels"]))


def _ecg(input: Mapping[str, Any]) -> "nn.Module":
    from graft.model.waves import ecg_transformer

    return ecg_transformer()


def _mlp(input: Mapping[str, Any]) -> "nn.Module":
    from graft.model import tabular

    return tabular.build(_columns(input))


def _mlp_small(input: Mapping[str, Any]) -> "nn.Module":
    from graft.model import tabular

    return tabular.build(_columns(input), tabular.LEAST, blocks=1)


def _columns(input: Mapping[str, Any]) -> int:
    return len(input["columns"]) + sum(map(len, input.get("categories", {}).values()))


def _ge2e(input: Mapping[str, Any]) -> "nn.Module":
    from graft.model.voices import GE2E

    return GE2E()


def _ecapa(input: Mapping[str, Any]) -> "nn.Module":
    from graft.model.voices import Ecapa

    return Ecapa()


def _whisper(input: Mapping[str, Any]) -> "nn.Module":
    from graft.data import mel
    from graft.model.whisper import SIZES, Whisper

    return Whisper(SIZES["tiny"], mel.window_frames(input))
