"""Signals: what a sleeper's brain does, from one .npz file per person, learned from six and tried on a seventh.

    python examples/06_signal.py

Offline: the network is the small one that graft pretrains itself, on events in four noisy channels, and the recordings
are generated. With your own, name a folder of .npz, EDF or text files; channels are matched by name.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import graft
from graft.data import toys

MEANS = {"spikes": "seizure", "spindle": "asleep", "fall": "asleep", "rise": "waking"}  # alpha and saw: awake


def recordings(folder: Path, people: range, trials: int = 24) -> Path:
    """`folder` with one file a person: trials X, labels y, and the names, rate and unit of the channels.

    What differs between people and says nothing of their state: the order of the channels, and how well they conduct.
    """
    kinds = toys.FACTS["waves"]["event"]
    folder.mkdir(exist_ok=True)
    for person in people:
        rng = np.random.default_rng(person)
        order, gain = rng.permutation(len(toys.CHANNELS)), rng.uniform(0.5, 2.0)
        waves, told = toys.waves(trials, seed=person)
        np.savez(
            folder / f"person{person}.npz",
            X=gain * waves[:, order],
            y=[MEANS.get(kinds[event], "awake") for event in told["event"]],
            channels=np.array(toys.CHANNELS)[order],
            rate=toys.HERTZ,
            unit="uV",
            subject=f"person{person}",
        )
    return folder


def main(folder: Path) -> None:
    data = recordings(folder / "people", range(1, 7))
    artifact = graft.transfer(data, out=folder / "model", backbones=["tiny/waves"], budget=graft.Budget(seconds=12))
    print(artifact.verdict, "→ ships", artifact.ships)
    print(artifact.sentence)

    new = recordings(folder / "new", range(7, 8), trials=8) / "person7.npz"
    answers = graft.open(artifact.path).predict(new)
    for answer, state in zip(answers, np.load(new)["y"], strict=True):
        print(f"{state:<8} looks like {answer['label']} ({answer['probability']:.2f})")


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        os.environ.setdefault("GRAFT_HOME", f"{place}/home")
        main(Path(place))
