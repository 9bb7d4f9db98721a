"""Generated examples of every modality: what each one shows is known, nothing is fetched, the same seed the same bits.

What is told of the examples stands in FACTS; everything else about them (place, size, light, pace, other words) varies
and tells nothing. Pretraining learns these facts; another task may ask for something else that hangs on them.
"""

import json
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Told = dict[str, NDArray[np.int64]]  # fact → which of its words each example shows

SIZE = 32  # pixels
RATE = 8_000  # Hz of sounds, which last a second
CHANNELS, HERTZ, SAMPLES = ("C1", "C2", "C3", "C4"), 100.0, 200  # of waves, which last two seconds
COLUMNS, PROGRAMMES = tuple(f"g{column}" for column in range(40)), 6  # of cells; what goes on in them beside their type
SLOWER = {"clicks": 80, "a": 5, "i": 5, "u": 5}  # times, than tones: clicks can be counted, voices are low
VOWELS = {"a": (730.0, 1090.0, 2440.0), "i": (270.0, 2290.0, 3010.0), "u": (300.0, 870.0, 2240.0)}  # Hz, resonances

NOUNS = {
    "weather": "rain sun wind snow storm cloud fog frost heat thunder breeze hail",
    "food": "soup bread cheese apple cake fish rice salad pasta sandwich coffee pie",
    "sport": "match goal team coach race player ball score league stadium runner tennis",
    "money": "bill price bank loan tax refund invoice payment fee account wage budget",
    "travel": "train flight hotel ticket luggage airport bus ferry passport taxi journey platform",
    "music": "song band concert guitar piano singer drum album melody choir violin tune",
    "health": "doctor nurse fever pill cough clinic vaccine surgery bandage dentist hospital medicine",
    "home": "kitchen sofa roof window garden carpet lamp door shelf bathroom chimney stairs",
}
ADJECTIVES = {
    "bad": "awful terrible dreadful poor nasty horrible disappointing sad broken useless unpleasant shabby",
    "plain": "usual ordinary common typical average regular normal familiar standard everyday",
    "good": "lovely great superb pleasant wonderful excellent splendid delightful perfect brilliant charming fine",
}
OPPOSITE = {"bad": "good", "good": "bad"}  # of what is said not to be
WHO = "we they i you everyone nobody somebody people"
WHEN = ["today", "yesterday", "last week", "in the morning", "on monday", "this time", "again", "as we saw", "at noon"]
ASIDE = ["honestly ,", "well ,", "to be fair ,", "in short ,", "you know ,", "so", "and", "but"]
THINGS = "house street corner friend letter table box man woman child dog bag book phone year day place room"
SYLLABLES = "ba ko mi ra te lu so ne fa di vo zu pe ha gi"  # of names, which no vocabulary knows
SENTENCES = [  # none is more than 16 tokens
    "{who} thought the {noun} was {adjective} {when}",
    "the {noun} {when} was {adjective} , {who} said",
    "{aside} it was a {adjective} {noun} for the {thing}",
    "{when} the {noun} near the {thing} was {adjective}",
    "{aside} {who} had a {adjective} {noun} and a {thing}",
    "the {noun} and the {other} were {adjective} , said the {thing}",
    "{name} wrote to the {thing} about a {adjective} {noun}",
    "of the {noun} , {name} said it was {adjective}",
]

FACTS: dict[str, dict[str, tuple[str, ...]]] = {  # kind of example → fact → words
    "pictures": {"shape": ("disc", "square", "triangle", "stripes", "ring", "cross", "checks", "blobs")},
    "sentences": {"topic": tuple(NOUNS), "mood": tuple(ADJECTIVES)},
    "sounds": {"sound": ("rise", "fall", *VOWELS, "hiss", "bursts", "clicks"), "pitch": ("low", "high")},
    "waves": {"event": ("spikes", "spindle", "saw", "rise", "fall", "alpha"), "side": ("left", "right")},
    "cells": {"type": tuple(f"type {letter}" for letter in "ABCDEFGH"), "state": ("resting", "active", "stressed")},
}


class Draws:
    """Random numbers for so many examples, a row each, and facts that are told of them."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.rng = count, np.random.default_rng(seed)

    def __call__(self, low: float, high: float, *shape: int) -> Array:
        """Even ones. Shape: (count, *shape)."""
        return self.rng.uniform(low, high, (self.count, *shape)).astype(np.float32)

    def noise(self, *shape: int) -> Array:
        """Normal ones."""
        return self.rng.standard_normal((self.count, *shape), np.float32)

    def told(self, kind: str) -> Told:
        """Each fact of this kind of example, any as likely as another."""
        return {fact: self.rng.integers(len(words), size=self.count) for fact, words in FACTS[kind].items()}


def pictures(count: int, seed: int) -> tuple[NDArray[np.uint8], Told]:
    """Shapes of random place, size, angle, colours and light.

    Shape: (count, 3, 32, 32).
    """
    draw = Draws(count, seed)
    told = draw.told("pictures")
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / SIZE - 0.5
    dx, dy = x - draw(-0.1, 0.1, 1, 1), y - draw(-0.1, 0.1, 1, 1)
    angle, r = draw(0, 2 * np.pi, 1, 1), draw(0.2, 0.42, 1, 1)
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    length, far, near = np.hypot(u, v), np.maximum(abs(u), abs(v)), np.minimum(abs(u), abs(v))
    wave = 2 * np.pi / draw(0.15, 0.35, 1, 1)
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
    shapes = FACTS["pictures"]["shape"]
    mask = np.stack([inside[name] for name in shapes])[told["shape"], np.arange(count)][:, None]
    front = draw(0, 255, 3, 1, 1)
    back = (front + draw(80, 176, 3, 1, 1)) % 256  # never close to the front
    light = (draw(-80, 80, 1, 1) * x + draw(-80, 80, 1, 1) * y)[:, None]
    noise = draw.noise(3, SIZE, SIZE) * 8
    return (np.where(mask, front, back) + light + noise).clip(0, 255).astype(np.uint8), told


def sentences(count: int, seed: int) -> tuple[list[str], Told]:
    """English-like sentences about a topic, in a mood; one in four says of something what it is not."""
    draw = Draws(count, seed)
    told, rng = draw.told("sentences"), draw.rng

    def one(words: str | list[str]) -> str:
        listed = words.split() if isinstance(words, str) else words
        return listed[rng.integers(len(listed))]

    def written(topic: str, mood: str) -> str:
        turned = mood in OPPOSITE and rng.random() < 0.25
        adjective = f"not {one(ADJECTIVES[OPPOSITE[mood]])}" if turned else one(ADJECTIVES[mood])
        name = "".join(one(SYLLABLES) for _ in range(2)).capitalize()
        text = one(SENTENCES).format(
            noun=one(NOUNS[topic]), other=one(NOUNS[topic]), adjective=adjective, name=name, who=one(WHO),
            when=one(WHEN), aside=one(ASIDE), thing=one(THINGS),
        )  # fmt: skip
        return text[0].upper() + text[1:].replace(" ,", ",") + "."

    topics, moods = (FACTS["sentences"][fact] for fact in ("topic", "mood"))
    return [written(topics[t], moods[m]) for t, m in zip(told["topic"], told["mood"], strict=True)], told


@cache
def tokenizer() -> str:
    """A tokenizer.json that knows the words of `sentences`; any other word becomes its bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    spoken = [*NOUNS.values(), *ADJECTIVES.values(), *SENTENCES, *WHEN, *ASIDE, WHO, THINGS, "not"]
    words = {word for text in spoken for word in text.split() if word.isalpha()}
    letters = sorted(ByteLevel.alphabet())
    known = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *letters, *(f"##{letter}" for letter in letters)]
    known += sorted(words.difference(letters))
    pieces = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    plain = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
    marks = {"sep": ["[SEP]", known.index("[SEP]")], "cls": ["[CLS]", known.index("[CLS]")]}
    as_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [],
            "normalizer": {**plain, "lowercase": True},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}, as_bytes]},
            "post_processor": {"type": "BertProcessing", **marks},
            "model": {**pieces, "max_input_chars_per_word": 100, "vocab": {word: id for id, word in enumerate(known)}},
        }
    )


def sounds(count: int, seed: int) -> tuple[Array, Told]:
    """A second of sound at 8 kHz: a gliding tone, a vowel, noise or clicks, in a room that is never silent.

    Shape: (count, 8000), of root mean square 0.1.
    """
    draw = Draws(count, seed)
    told = draw.told("sounds")
    kind, high = np.array(FACTS["sounds"]["sound"])[told["sound"]], told["pitch"] > 0
    base, throat = np.where(high, draw(1000, 1600), draw(400, 640)), np.where(high, 1.15, 0.95) * draw(0.93, 1.07)
    start, length, glide, around = draw(0, 0.35), draw(0.4, 0.65), draw(0.6, 1.2), draw(-0.1, 0.1)
    beats, quiet, noise, room = draw(3, 6), draw(0.1, 0.7), draw.noise(RATE), draw.noise(RATE)
    time, frequency = np.arange(RATE) / RATE, np.fft.rfftfreq(RATE, 1 / RATE)

    def heard(at: int) -> Array:
        name = kind[at]
        along = ((time - start[at]) / length[at]).clip(0, 1)  # where it is there, from its beginning to its end
        bend = {"rise": glide[at], "fall": -glide[at]}.get(name, around[at])  # octaves
        turns = np.cumsum(base[at] / SLOWER.get(name, 1) / RATE * 2 ** (bend * (along - 0.5)))
        if name in ("rise", "fall"):
            x = np.sin(2 * np.pi * turns)
        else:  # a source, and what resonates to it
            source = noise[at] if name in ("hiss", "bursts") else np.diff(np.floor(turns), prepend=0)
            places = throat[at] * np.array(VOWELS[name]) if name in VOWELS else base[at] * np.array((1, 1.5, 2))
            off = (frequency - places[:, None]) / (90 if name in VOWELS else 250)  # in widths, which are Hz
            x = np.fft.irfft(np.fft.rfft(source) * (1 / (1 + off**2)).sum(0), RATE)
        beating = np.exp(-6 * (along * beats[at] % 1)) if name == "bursts" else 1
        return _level(x * np.sqrt(along * (1 - along)) * beating, 1)

    clips = np.stack([heard(at) for at in range(count)])
    return _level(clips + quiet[:, None] * room, 0.1), told


def waves(count: int, seed: int) -> tuple[Array, Told]:
    """Two seconds of four channels at 100 Hz, in µV: pink noise, and on one side (C1 and C2, or C3 and C4) an event.

    Shape: (count, 4, 200).
    """
    draw = Draws(count, seed)
    told = draw.told("waves")
    kind, side = np.array(FACTS["waves"]["event"])[told["event"]][:, None], told["side"][:, None]
    along = (np.arange(SAMPLES) / HERTZ - draw(0, 0.7, 1)) / draw(0.9, 1.3, 1)
    along = along.clip(0, 1)  # where it is there, from its beginning to its end
    low, high = draw(3, 5, 1), draw(14, 18, 1)
    paces: dict[str, NDArray[np.floating]] = {  # Hz
        "spikes": draw(3, 4, 1),
        "spindle": draw(11, 14, 1),
        "saw": draw(5, 7, 1),
        "alpha": draw(8, 11, 1),
        "rise": low + (high - low) * along,
        "fall": high + (low - high) * along,
    }
    pace = np.select([kind == name for name in paces], [*paces.values()]) + 0 * along
    turns = (np.cumsum(pace / HERTZ, axis=1) + draw(0, 1, 1)) % 1
    spikes = 3 * np.exp(-(((turns - 0.2) / 0.05) ** 2)) - np.exp(-(((turns - 0.6) / 0.2) ** 2))
    event = np.select([kind == "spikes", kind == "saw"], [spikes, 2 * turns - 1], np.sin(2 * np.pi * turns))
    event = event * np.sin(np.pi * along) * draw(14, 28, 1)
    spectrum = np.fft.rfft(draw.noise(4, SAMPLES)) / np.sqrt(np.maximum(np.arange(SAMPLES // 2 + 1), 1))
    noise = _level(np.fft.irfft(spectrum, SAMPLES), 10)
    there = np.where(side == np.array((0, 0, 1, 1)), draw(0.7, 1, 4), draw(0, 0.25, 4))
    return (noise + 0.4 * np.roll(noise, 1, axis=1) + there[..., None] * event[:, None]).astype(np.float32), told


def cells(count: int, seed: int) -> tuple[Array, Told]:
    """Forty measured genes of cells: their type and state, under programmes that move many genes further than these do.

    Shape: (count, 40).
    """
    draw = Draws(count, seed)
    told, genes = draw.told("cells"), np.random.default_rng(0)  # which gene belongs to what is always the same
    size = len(COLUMNS)
    base, types, states = genes.uniform(2, 6, size), genes.normal(0, 1, (8, size)), genes.normal(0, 1, (3, size))
    programmes = genes.normal(0, 1, (PROGRAMMES, size))
    moved = types[told["type"]] + states[told["state"]] + 2.5 * draw.noise(PROGRAMMES) @ programmes
    return (np.logaddexp(0, base + moved) + 0.4 * draw.noise(size)).astype(np.float32), told


def _level(x: NDArray[np.floating], size: float) -> Array:
    """The same at this root mean square over the last axis."""
    return np.asarray(x * (size / np.sqrt((x**2).mean(-1, keepdims=True))), np.float32)
