"""Small networks that are built in: no download, pretrained here in seconds, for tests, demonstrations and first tries.

One for every modality, pretrained to tell what is shown by generated examples (`graft.data.toys`). For pictures there
are two more, with the same architecture and other weights: one helps nobody, and one does harm, so that it can be seen
whether harm is noticed.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from graft.core.codec import from_dict
from graft.core.errors import BackboneError, nearest
from graft.core.home import folder, lock, placed, touch
from graft.core.nouns import Backbone, Loading

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

REVISION = "1"  # of the weights; another one makes them anew
SEED = 0  # of the examples that are learned from


@dataclass(frozen=True)
class Net:
    """An architecture: what it is fed, and how much it learns from in a few seconds on one core."""

    modality: str
    shown: str  # what it learns from, a function of graft.data.toys
    params: int
    input: Mapping[str, Any]
    count: int  # examples
    epochs: int
    rate: float  # AdamW's, at its peak


@dataclass(frozen=True)
class Variant:
    """An architecture, and what its weights know."""

    net: str
    pretrained_on: str
    note: str


PIXELS = {"size": [32, 32], "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "crop": 1.0}
TOKENS: dict[str, Any] = {"window": 64, "pooling": "mean"}  # of a tokenizer that `find` adds
MEL = {"bands": 32, "frame": 256, "hop": 128, "mean": -20.0, "std": 20.0}
SOUND = {"rate": 8_000, "longest": 4.0, "loudness": -20.0, "mel": MEL}
WAVES: dict[str, Any] = {"channels": ["C1", "C2", "C3", "C4"], "rate": 100.0, "window": 2.0, "scale": "channel"}
GENES = {"columns": [f"g{gene}" for gene in range(40)]}
NETS = {
    "net": Net("image", "pictures", 97_680, PIXELS, 3072, 6, 0.01),
    "phrases": Net("text", "sentences", 94_128, TOKENS, 2048, 6, 0.004),
    "sounds": Net("audio", "sounds", 41_012, SOUND, 1024, 6, 0.01),
    "waves": Net("signal", "waves", 56_256, WAVES, 1536, 6, 0.01),
    "cells": Net("vector", "cells", 15_616, GENES, 2048, 6, 0.005),
}
VARIANTS = {
    "shapes": Variant("net", "generated shapes", "eight shapes in random colours, told apart"),
    "random": Variant("net", "nothing", "random weights, always the same ones"),
    "noise": Variant("net", "nothing", "deliberately harmful: all it tells of a picture is how bright it is"),
    "phrases": Variant("phrases", "generated sentences", "their topics and moods, whichever words say them"),
    "sounds": Variant("sounds", "generated sounds", "glides, vowels, noise and clicks, told apart"),
    "waves": Variant("waves", "generated waves", "events under noise, and on which side of four channels"),
    "cells": Variant("cells", "generated cells", "types and states, whatever else goes on in forty genes"),
}


def catalog(modality: str) -> list[Backbone]:
    """The variants for a modality."""
    return [find(name) for name, variant in VARIANTS.items() if NETS[variant.net].modality == modality]


def find(name: str) -> Backbone:
    """The backbone called tiny/`name`; the home keeps a text encoder's tokenizer from then on.

    Raises:
        BackboneError: there is no such variant.
    """
    if name not in VARIANTS:
        raise BackboneError(f"There is no tiny/{name}.{nearest(f'tiny/{name}', [f'tiny/{v}' for v in VARIANTS])}")
    variant = VARIANTS[name]
    net = NETS[variant.net]
    return Backbone(
        id=f"tiny/{name}",
        modality=net.modality,
        family="tiny",
        architecture=f"tiny/{variant.net}",
        input=_input(variant.net),
        params=net.params,
        pretrained_on=variant.pretrained_on,
        license="Apache-2.0",
        revision=REVISION,
        note=variant.note,
    )


def open(backbone: Backbone, pretrained: bool = True) -> "tuple[nn.Module, Loading]":
    """The headless network, one vector an example or window, in eval mode, and how its weights fitted."""
    import torch

    from graft.model.loading import load

    name = find(backbone.id.removeprefix("tiny/")).id.removeprefix("tiny/")
    with torch.random.fork_rng(devices=[], enabled=pretrained):  # random weights are taken from the caller's generator
        net = build(backbone.architecture.removeprefix("tiny/"), backbone.input)
    return net, load(net, _weights(name)) if pretrained else Loading()


def build(name: str, input: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None) -> "nn.Module":
    """The empty headless network, in eval mode: random weights from torch's current generator.

    Raises:
        BackboneError: there is none of this name.
    """
    from graft.data import tokens
    from graft.model import toys

    if name not in NETS:
        raise BackboneError(f"There is no architecture tiny/{name}.{nearest(name, NETS)} There are: {', '.join(NETS)}.")
    fed = {**_input(name), **(input or {})}
    makers: dict[str, Callable[[], nn.Module]] = {
        "net": toys.pictures,
        "phrases": lambda: toys.sentences(tokens.vocabulary(fed["tokenizer"]), fed["window"], fed["pooling"]),
        "sounds": toys.sounds,
        "waves": lambda: toys.waves(len(fed["channels"])),
        "cells": lambda: toys.cells(len(fed["columns"]) + sum(map(len, fed.get("categories", {}).values()))),
    }
    return makers[name]()


def convert(state: "dict[str, Tensor]", module: "nn.Module") -> "dict[str, Tensor]":
    """Nothing to convert: there are no older names, and no tensor's shape depends on the input's size."""
    return state


def _weights(name: str) -> "dict[str, Tensor]":
    """A variant's weights from the home, made first where they are not there."""
    from safetensors.torch import load_file, save_file

    makers = {"random": lambda: build("net"), "noise": _blind}
    path = folder("weights") / f"tiny-{name}-{REVISION}.safetensors"
    with lock("weights", path.stem):
        if not path.exists():
            with _alone(), placed(path) as part:
                save_file(makers.get(name, lambda: _taught(VARIANTS[name].net))().state_dict(), part)
        touch(path)
        return load_file(path)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Torch at seed 0 and on one thread, so that the same bits come out whatever else goes on; then as it was."""
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _blind() -> "nn.Module":
    """Every filter takes the mean of what it sees, so that all channels show one blurred grey picture."""
    net = build("net")
    for weight in net.parameters():
        if weight.ndim == 4:
            weight.data.fill_(1 / weight[0].numel())
    return net


def _taught(name: str) -> "nn.Module":
    """The network after it learned from generated examples, prepared as their modality does."""
    import torch

    from graft.data import filters, mel, tokens, toys
    from graft.model.toys import taught

    recipe = NETS[name]
    x, told = getattr(toys, recipe.shown)(recipe.count, seed=0)
    prepared: dict[str, Callable[[], Iterable[Any]]] = {
        "pictures": lambda: (x.astype("float32") / 255 - 0.5) / 0.25,
        "sentences": lambda: [tokens.encoded(_tokenizer(), text, TOKENS["window"])[0] for text in x],
        "sounds": lambda: [mel.spectrum(clip, toys.RATE, from_dict(mel.Mel, MEL)) for clip in x],
        "waves": lambda: filters.scaled(x, WAVES["scale"]),
        "cells": lambda: _standard(x),
    }
    rows = [torch.as_tensor(row) for row in prepared[recipe.shown]()]
    facts = {fact: torch.as_tensor(words) for fact, words in told.items()}
    return taught(build(name), rows, facts, recipe.epochs, recipe.rate)


def _standard(x: "np.ndarray") -> "np.ndarray":
    """Columns in spreads from their middle."""
    from graft.data.numbers import robust

    centre, spread = robust(x.astype("float64"))
    return ((x - centre) / spread).astype("float32")


def _input(name: str) -> dict[str, Any]:
    """What an architecture is fed."""
    return {**NETS[name].input, **({"tokenizer": _tokenizer()} if NETS[name].modality == "text" else {})}


def _tokenizer() -> str:
    """The sha256 of the tokenizer that knows the generated sentences; the home keeps it from then on."""
    from graft.data import tokens, toys

    digest = sha256(toys.tokenizer().encode()).hexdigest()
    if not tokens.kept(digest):
        with TemporaryDirectory() as place:
            file = Path(place, "tokenizer.json")
            file.write_text(toys.tokenizer(), encoding="utf-8")
            tokens.keep(file, digest)
    return digest
