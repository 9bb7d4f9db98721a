"""Texts: which desk a guest's message goes to, learned from a hundred messages.

    python examples/04_text.py

Offline: the encoder is the small one that graft pretrains itself, on the topics and moods of generated sentences, and
the messages are generated too. With your own, name a table with a column of texts and one of labels, in any language
that the backbone reads, and leave out `backbones`.
"""

import csv
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import graft
from graft.data import toys

DESKS = {"food": "kitchen", "home": "kitchen", "money": "office", "health": "office", "music": "office"}
NEW = [
    "Honestly, the invoice was dreadful again.",
    "What a charming concert we had!",
    "Of the soup, Bazu said it was not lovely.",
]


def desk(topic: str, mood: str) -> str:
    """Praise is passed on; everything else goes to those who know the topic."""
    return "thanks" if mood == "good" else DESKS.get(topic, "front desk")


def messages(table: Path, count: int = 140) -> Path:
    """`table` with a text and its label in each row."""
    texts, told = toys.sentences(count, seed=1)
    facts = toys.FACTS["sentences"]
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for text, topic, mood in zip(texts, told["topic"], told["mood"], strict=True):
            rows.writerow([text, desk(facts["topic"][topic], facts["mood"][mood])])
    return table


def main(folder: Path) -> None:
    data = messages(folder / "messages.csv")
    artifact = graft.transfer(data, out=folder / "model", backbones=["tiny/phrases"], budget=graft.Budget(seconds=12))
    print(artifact.verdict, "→ ships", artifact.ships)
    print(artifact.sentence)
    for answer in graft.open(artifact.path).predict(NEW):
        print(f"{answer['label']:<10} ({answer['probability']:.2f})  {answer['input']}")


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        os.environ.setdefault("GRAFT_HOME", f"{place}/home")
        main(Path(place))
