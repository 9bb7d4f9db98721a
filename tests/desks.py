"""The files that a page supposes its reader to have: small ones, under the names that the page uses."""

import csv
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import graft
from graft.core.home import folder
from graft.data import toys
from pages import SECONDS, SMALL
from photos import photos as drawn

WORDS = ("yes", "no")
VOICED = {"yes": "rise", "no": "fall"}


def photos(desk: Path) -> None:
    """Photos in class folders, a new one, and drawings of the same things."""
    drawn(desk / "photos", classes=3, each=20)
    drawn(desk / "drawings", classes=3, each=24, seed=5)
    next((desk / "photos").glob("*/*.jpg")).rename(desk / "new.jpg")


def shipped(desk: Path) -> None:
    """The same, and the model that `graft transfer photos/ --out model` makes of them; made once in a home."""
    photos(desk)
    kept = folder("results", "docs") / "model"
    if not kept.exists():
        graft.transfer(desk / "photos", backbones=SMALL, budget=graft.Budget(float(SECONDS[:-1]), firm=False), out=kept)
    shutil.copytree(kept, desk / "model")


def clips(desk: Path) -> None:
    """Clips in class folders by speaker, and a table of them."""
    kinds, rows = toys.FACTS["sounds"]["sound"], []
    for speaker in range(6):
        sounds, told = toys.sounds(24, seed=speaker)
        for number, (sound, kind) in enumerate(zip(sounds, told["sound"], strict=True)):
            word = WORDS[kind % 2]
            file = desk / "clips" / word / f"s{speaker}" / f"{kinds[kind]}{number}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, sound, toys.RATE)
            rows.append((file.relative_to(desk), word, f"s{speaker}"))
    table(desk / "clips.csv", ("file", "word", "speaker"), rows)


def recordings(desk: Path) -> None:
    """A folder of EEG, a file for each person, and a table of heartbeats as the UCR archive has them."""
    (desk / "eeg").mkdir()
    for person in range(6):
        waves, told = toys.waves(12, seed=person)
        told_by = {"channels": toys.CHANNELS, "rate": toys.HERTZ, "unit": "uV", "subject": f"p{person}"}
        np.savez(desk / "eeg" / f"p{person}.npz", X=waves, y=told["side"], **told_by)
    waves, told = toys.waves(60, seed=9)
    beats = [[side + 1, *wave[0].round(4)] for wave, side in zip(waves, told["side"], strict=True)]
    (desk / "beats.tsv").write_text("".join("\t".join(map(str, beat)) + "\n" for beat in beats))


def texts(desk: Path) -> None:
    """Mails in class folders, and a table of reviews."""
    sentences, told = toys.sentences(90, seed=3)
    rows = []
    for number, (sentence, mood) in enumerate(zip(sentences, told["mood"], strict=True)):
        place = desk / "mails" / toys.FACTS["sentences"]["mood"][mood]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_text(sentence)
        rows.append((sentence.split()[0], sentence, f"{mood} stars"))
    table(desk / "reviews.csv", ("title", "body", "stars"), rows)


def cells(desk: Path) -> None:
    """A table of measured cells."""
    rng = np.random.default_rng(0)
    rows = [(*rng.normal(size=2).round(3) + odd, f"p{row // 4}", ("healthy", "tumour")[odd])
            for row in range(80) for odd in [row % 2]]  # fmt: skip
    table(desk / "cells.csv", ("area", "roundness", "patient", "diagnosis"), rows)


def table(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV file."""
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])


# Page → what lies on its reader's desk; all others begin in an empty folder.
DESKS: dict[str, Callable[[Path], None]] = {
    **dict.fromkeys(("README.md", "docs/search.md", "docs/explanation/when-not.md"), photos),
    "docs/report.md": photos,
    **{f"docs/how-to/{name}.md": photos for name in ("freeze", "domain", "local-weights", "add-strategy")},
    **dict.fromkeys(("docs/how-to/deploy.md", "docs/how-to/export.md"), shipped),
    **dict.fromkeys(("docs/artifact.md", "docs/serve.md", "docs/page.md"), shipped),
    "docs/audio.md": clips, "docs/signal.md": recordings, "docs/text.md": texts, "docs/vector.md": cells,
}  # fmt: skip
