"""Small networks that are built in: no download, pretrained here in seconds, for tests, demonstrations and first tries.

Four stages of convolution, batch norm and ReLU, for pictures of 32×32. The three variants differ in their weights: one
helps on photos of shapes, one helps nobody, and one does harm, so that it can be seen whether harm is noticed.
"""

from collections import OrderedDict
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from graft.core.errors import BackboneError, nearest
from graft.core.home import folder, lock, placed, touch
from graft.core.nouns import Backbone, Loading

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

VARIANTS = {  # name: (pretrained on, note)
    "shapes": ("generated shapes", "eight shapes in random colours, told apart"),
    "random": ("nothing", "random weights, always the same ones"),
    "noise": ("nothing", "deliberately harmful: all it tells of a picture is how bright it is"),
}
SHAPES = ("disc", "square", "triangle", "stripes", "ring", "cross", "checks", "blobs")
WIDTHS = (16, 32, 64, 128)
SIZE = 32  # pixels
PICTURES, EPOCHS, BATCH, RATE = 3072, 6, 64, 0.01  # a few seconds on one core; RATE: AdamW's at its peak
REVISION = "1"  # of the weights; another one makes them anew


def catalog(modality: str) -> list[Backbone]:
    """Every variant."""
    return [find(name) for name in VARIANTS] if modality == "image" else []


def find(name: str) -> Backbone:
    """The backbone called tiny/`name`.

    Raises:
        BackboneError: there is no such variant.
    """
    if name not in VARIANTS:
        raise BackboneError(f"There is no tiny/{name}.{nearest(f'tiny/{name}', [f'tiny/{v}' for v in VARIANTS])}")
    pretrained_on, note = VARIANTS[name]
    return Backbone(
        id=f"tiny/{name}",
        family="tiny",
        architecture="tiny/net",
        input={
            "size": [SIZE, SIZE],
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "interpolation": "bilinear",
            "crop": 1.0,
        },
        params=97_680,
        pretrained_on=pretrained_on,
        license="Apache-2.0",
        revision=REVISION,
        note=note,
    )


def open(backbone: Backbone, pretrained: bool = True) -> "tuple[nn.Module, Loading]":
    """The headless network, (B, 3, h, w) → (B, 128), in eval mode, and how its weights fitted."""
    import torch

    from graft.model.loading import load

    name = find(backbone.id.removeprefix("tiny/")).id.removeprefix("tiny/")
    with torch.random.fork_rng(devices=[], enabled=pretrained):  # random weights are taken from the caller's generator
        net = build("net")
    return net, load(net, _weights(name)) if pretrained else Loading()


def build(name: str, input: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None) -> "nn.Module":
    """The empty headless network, in eval mode: random weights from torch's current generator; any size will do."""
    from torch import nn

    if name != "net":
        raise BackboneError(f"There is one tiny architecture, tiny/net; {name!r} is none.")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (inside, outside) in enumerate(pairwise((3, *WIDTHS))):
        convolution = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
        parts[f"stage{index}"] = nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU())
    parts |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return nn.Sequential(parts).eval()


def convert(state: "dict[str, Tensor]", module: "nn.Module") -> "dict[str, Tensor]":
    """Nothing to convert: there are no older names, and no tensor's shape depends on the input's size."""
    return state


def pictures(count: int, seed: int) -> "tuple[np.ndarray, np.ndarray]":
    """Shapes of random place, size, angle, colours and light, (count, 3, 32, 32) uint8, and which shape each one is."""
    import numpy as np

    rng = np.random.default_rng(seed)

    def draw(low: float, high: float, *shape: int) -> "np.ndarray":
        return rng.uniform(low, high, (count, *(shape or (1, 1)))).astype(np.float32)

    targets = rng.integers(len(SHAPES), size=count)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / SIZE - 0.5
    dx, dy, angle, r = x - draw(-0.1, 0.1), y - draw(-0.1, 0.1), draw(0, 2 * np.pi), draw(0.2, 0.42)
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    length, far, near = np.hypot(u, v), np.maximum(abs(u), abs(v)), np.minimum(abs(u), abs(v))
    wave = 2 * np.pi / draw(0.15, 0.35)
    inside = {
        "disc": length < r,
        "square": far < r,
        "triangle": (u > -r / 2) & (u / 2 + 0.87 * abs(v) < r / 2),
        "stripes": np.sin(wave * u) > 0,
        "ring": abs(length - 0.8 * r) < 0.2 * r,
        "cross": (far < r) & (near < 0.25 * r),
        "checks": np.sin(wave * u) * np.sin(wave * v) > 0,
        "blobs": np.sin(wave * u) + np.sin(wave * v) > 0.8,
    }
    mask = np.stack([inside[name] for name in SHAPES])[targets, np.arange(count)][:, None]
    front = draw(0, 255, 3, 1, 1)
    back = (front + draw(80, 176, 3, 1, 1)) % 256  # never close to the front
    light = (draw(-80, 80) * x + draw(-80, 80) * y)[:, None]
    noise = rng.standard_normal((count, 3, SIZE, SIZE), np.float32) * 8
    return (np.where(mask, front, back) + light + noise).clip(0, 255).astype(np.uint8), targets


def _weights(name: str) -> "dict[str, Tensor]":
    """A variant's weights from the home, made first where they are not there."""
    import torch
    from safetensors.torch import load_file, save_file

    path = folder("weights") / f"tiny-{name}-{REVISION}.safetensors"
    with lock("weights", path.stem):
        if not path.exists():
            with torch.random.fork_rng(devices=[]), placed(path) as part:
                torch.default_generator.manual_seed(0)
                save_file({"shapes": _shapes, "random": _random, "noise": _noise}[name]().state_dict(), part)
        touch(path)
        return load_file(path)


def _random() -> "nn.Module":
    return build("net")


def _noise() -> "nn.Module":
    """Every filter takes the mean of what it sees, so that all channels show one blurred grey picture."""
    net = build("net")
    for weight in net.parameters():
        if weight.ndim == 4:
            weight.data.fill_(1 / weight[0].numel())
    return net


def _shapes() -> "nn.Module":
    """Trained to name the shapes."""
    import torch
    from torch import nn

    shown, targets = pictures(PICTURES, seed=0)
    x, y = (torch.from_numpy(shown).float() / 255 - 0.5) / 0.25, torch.from_numpy(targets)
    net, head = build("net"), nn.Linear(WIDTHS[-1], len(SHAPES))
    whole = nn.Sequential(net, head).train()
    optimiser = torch.optim.AdamW(whole.parameters(), lr=RATE, weight_decay=0.05)
    steps = EPOCHS * PICTURES // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    rows = torch.cat([torch.randperm(PICTURES) for _ in range(EPOCHS)]).split(BATCH)
    with torch.enable_grad():
        for at in rows:
            loss = nn.functional.cross_entropy(whole(x[at]), y[at])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.eval()
