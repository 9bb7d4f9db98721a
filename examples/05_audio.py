"""Sounds: what a bird means by its call, learned from six birds and tried on a seventh.

    python examples/05_audio.py

Offline: the network is the small one that graft pretrains itself, to tell generated sounds apart, and the calls are
generated. With your own, name a folder with one folder per class, and leave out `backbones`.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

import graft
from graft.data import toys

MEANT = {"rise": "question", "fall": "answer", "a": "song", "bursts": "alarm"}


def calls(folder: Path, birds: range, each: int = 64) -> Path:
    """`folder` with WAV files in meaning/bird/: nobody whose calls are learned from is tested.

    What differs between birds and says nothing of what they mean: how near they are, and how much it rains.
    """
    kinds = toys.FACTS["sounds"]["sound"]
    for bird in birds:
        rng = np.random.default_rng(bird)
        near, rain = rng.uniform(0.05, 0.5), rng.uniform(0.0, 0.15)
        sounds, told = toys.sounds(each, seed=bird)
        for number, (sound, kind) in enumerate(zip(sounds, told["sound"], strict=True)):
            if meant := MEANT.get(kinds[kind]):
                place = folder / meant / f"bird{bird}"
                place.mkdir(parents=True, exist_ok=True)
                heard = near * (sound + rain * rng.standard_normal(len(sound)))
                soundfile.write(place / f"{number:02}.wav", heard, toys.RATE)
    return folder


def main(folder: Path) -> None:
    data = calls(folder / "calls", range(1, 7))
    artifact = graft.transfer(data, out=folder / "model", backbones=["tiny/sounds"], budget=graft.Budget(seconds=12))
    print(artifact.verdict, "→ ships", artifact.ships)
    print(artifact.sentence)

    new = calls(folder / "new", range(7, 8), each=16)
    for answer in graft.open(artifact.path).predict(sorted(new.glob("*/*/*.wav"))):
        meant = Path(answer["input"]).parent.parent.name
        print(f"{meant:<8} sounds like {answer['label']} ({answer['probability']:.2f})")


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        os.environ.setdefault("GRAFT_HOME", f"{place}/home")
        main(Path(place))
