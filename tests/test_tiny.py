"""The small backbones are what they say: of use, of none or harmful, and the same wherever they are made."""

import io
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from graft.build import build
from graft.core.errors import BackboneError
from graft.core.nouns import Backbone
from graft.core.shelf import take
from graft.data import tokens, toys
from graft.data.batches import stacked
from graft.sources import tiny

TAUGHT = [name for name, variant in tiny.VARIANTS.items() if variant.pretrained_on != "nothing"]
FEW, MOST, COUNT = 80, 720, 1200  # examples that are learned from, and in all
TOKENIZER = "d1067a656a4dd76d7e263ac1f4b2f74b"  # the beginning of its sha256, on any machine
READ: dict[str, dict[str, Any]] = {
    "waves": {"channels": toys.CHANNELS, "rate": toys.HERTZ},
    "cells": {"columns": toys.COLUMNS},
}


def png(pixels: np.ndarray) -> bytes:
    """A picture (3, h, w) as a file."""
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file := io.BytesIO(), "png")
    return file.getvalue()


GIVEN = {  # as a person hands such an example over
    "pictures": png,
    "sentences": lambda text: text,
    "sounds": lambda clip: {"samples": clip, "rate": toys.RATE},
    "waves": lambda wave: {"x": wave, "channels": toys.CHANNELS, "rate": toys.HERTZ},
    "cells": lambda cell: dict(zip(toys.COLUMNS, cell.tolist(), strict=True)),
}


@cache
def generated(kind: str) -> tuple[Any, toys.Told]:
    """Examples that nothing was taught with."""
    return getattr(toys, kind)(COUNT, seed=9)


def features(backbone: Backbone, kind: str, pretrained: bool = True) -> np.ndarray:
    """What a backbone makes of generated examples that were handed over, read and prepared: (n, width)."""
    modality = take("modalities", backbone.modality)
    reading = modality.Reading(**READ.get(kind, {}))
    examples = [modality.decode(modality.given(GIVEN[kind](x), reading), reading) for x in generated(kind)[0]]
    backbone = replace(backbone, input=modality.suited(backbone.input, reading, examples[:FEW]))
    input = modality.parse(backbone.input)
    batch = stacked([modality.prepare(example, input) for example in examples], modality.RAGGED)
    network = build(backbone, "classification", 2, pretrained=pretrained)[0].network
    x, *beside = (torch.from_numpy(array) for array in batch.values())
    with torch.no_grad():
        return network.backbone(network.front(x), *beside).double().numpy()


def right(h: np.ndarray, kind: str, known: int = FEW) -> dict[str, float]:
    """The share that ridge regression gets right of all examples but the first, which it knows: fact by fact."""
    h = (h - h[:known].mean(0)) / (h[:known].std(0) + 1e-9)
    found = {}
    for fact, words in generated(kind)[1].items():
        classes = len(toys.FACTS[kind][fact])
        y = np.eye(classes)[words[:known]] - 1 / classes
        weights = np.linalg.solve(h[:known].T @ h[:known] + 10 * np.eye(h.shape[1]), h[:known].T @ y)
        found[fact] = float(((h[known:] @ weights).argmax(1) == words[known:]).mean())
    return found


@pytest.mark.parametrize("name", TAUGHT)
def test_what_was_learned_helps_with_few_labels(tiny_home: Path, name: str) -> None:
    backbone, kind = tiny.find(name), tiny.NETS[tiny.VARIANTS[name].net].shown
    learned, random = (right(features(backbone, kind, pretrained), kind) for pretrained in (True, False))
    for fact in toys.FACTS[kind]:
        assert learned[fact] > 0.85, (fact, learned, random)
        assert learned[fact] > random[fact] + 0.15, (fact, learned, random)


def test_random_weights_help_little_and_noise_does_harm(tiny_home: Path) -> None:
    chance, found = 1 / len(toys.FACTS["pictures"]["shape"]), {}
    for name in ("random", "noise"):
        found[name] = right(features(tiny.find(name), "pictures"), "pictures", MOST)["shape"]
    assert 1.5 * chance < found["random"] < 0.6, found
    assert found["noise"] < 1.4 * chance, found


def test_they_are_made_once_and_disturb_nobody(home: Path) -> None:
    before = torch.get_rng_state(), torch.get_num_threads()
    made, _ = tiny.open(tiny.find("cells"))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    (path,) = (home / "weights").glob("*.safetensors")
    written = path.stat().st_ino
    again, _ = tiny.open(tiny.find("cells"))
    assert path.stat().st_ino == written
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True))
    fresh, _ = tiny.open(tiny.find("cells"), pretrained=False)
    assert not torch.equal(next(fresh.parameters()), next(made.parameters()))


@pytest.mark.parametrize("name", ["random", "shapes", "phrases", "cells"])
def test_the_same_bits_in_every_home(name: str, home: Path, tiny_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(place: Path) -> dict[str, torch.Tensor]:
        monkeypatch.setenv("GRAFT_HOME", str(place))
        return tiny.open(tiny.find(name))[0].state_dict()

    there = weights(tiny_place)
    torch.rand(7)
    threads = torch.get_num_threads()
    torch.set_num_threads(1 + threads % 2)  # sums come out in another order by several
    try:
        here = weights(home)
    finally:
        torch.set_num_threads(threads)
    assert here.keys() == there.keys()
    assert all(torch.equal(here[key], there[key]) for key in here)


def test_pictures_of_any_size_are_seen(tiny_home: Path) -> None:
    shapes = tiny.find("shapes")
    other, _ = tiny.open(replace(shapes, input=shapes.input | {"size": [48, 48]}))
    assert other(torch.rand(2, 3, 48, 48)).shape == (2, 128)


def test_what_there_is_not_is_said() -> None:
    with pytest.raises(BackboneError, match="Did you mean tiny/shapes"):
        tiny.find("shape")
    with pytest.raises(BackboneError, match=r"no architecture tiny/wave\b.*waves"):
        tiny.build("wave")


@pytest.mark.parametrize("text", ["Rain!", "naïve ﬁancée 东京", "🙂🙂", "\x00\tdef f(x): return x**2", "x" * 90])
def test_any_text_has_tokens(tiny_home: Path, text: str) -> None:
    tokenizer = tiny.find("phrases").input["tokenizer"]
    assert tokenizer.startswith(TOKENIZER)
    first, *inner, last = tokens.encoded(tokenizer, text, 64)[0]
    known = tokens._opened(str(tokens.place(tokenizer)))
    assert (known.id_to_token(first), known.id_to_token(last)) == ("[CLS]", "[SEP]")
    assert inner
    assert known.token_to_id("[UNK]") not in inner


def test_words_that_sentences_are_made_of_are_tokens(tiny_home: Path) -> None:
    tokenizer = tiny.find("phrases").input["tokenizer"]
    for word in " ".join([*toys.NOUNS.values(), *toys.ADJECTIVES.values(), toys.WHO, toys.THINGS]).split():
        assert len(tokens.encoded(tokenizer, word, 64)[0]) == 3, word
    texts, _ = toys.sentences(100, seed=3)
    assert max(len(tokens.encoded(tokenizer, text, 64)[0]) for text in texts) <= 16


@pytest.mark.parametrize("kind", toys.FACTS)
def test_generated_examples_are_pure(kind: str) -> None:
    (x, told), (same, again), (other, _) = (getattr(toys, kind)(40, seed) for seed in (3, 3, 4))
    assert np.array_equal(x, same)
    assert not np.array_equal(x, other)
    assert told.keys() == toys.FACTS[kind].keys()
    for fact, words in told.items():
        assert np.array_equal(words, again[fact])
        assert set(words) <= set(range(len(toys.FACTS[kind][fact])))
