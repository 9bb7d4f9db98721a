"""Tables of numbers: which cells of a patient are to be looked at, by forty genes, learned from 150 labelled ones.

    python examples/07_vector.py

Offline: the network is the small one that graft pretrains itself, on types and states of generated cells, and the table
is generated. With your own, name a CSV, TSV, JSONL or Parquet file; columns are matched by name.
"""

import csv
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import graft
from graft.data import toys

ODD = {"type A", "type C", "type F"}  # that do not belong there


def finding(kind: str, state: str) -> str:
    """What a pathologist would write."""
    return "tumour" if kind in ODD else "repair" if state == "stressed" else "healthy"


def table(file: Path, count: int, seed: int) -> Path:
    """`file` with a cell in each row: its genes in any order, some of them not measured, and what was found."""
    cells, told = toys.cells(count, seed)
    kinds, states = toys.FACTS["cells"].values()
    columns = sorted(toys.COLUMNS)
    with file.open("w", encoding="utf-8", newline="") as out:
        rows = csv.DictWriter(out, [*columns, "label"])
        rows.writeheader()
        for row, (cell, kind, state) in enumerate(zip(cells, told["type"], told["state"], strict=True)):
            values = {gene: f"{value:.3f}" for gene, value in zip(toys.COLUMNS, cell, strict=True)}
            values[columns[row % len(columns)]] = ""
            rows.writerow({**values, "label": finding(kinds[kind], states[state])})
    return file


def main(folder: Path) -> None:
    data = table(folder / "cells.csv", 150, seed=1)
    artifact = graft.transfer(data, out=folder / "model", backbones=["tiny/cells"], budget=graft.Budget(seconds=12))
    print(artifact.verdict, "→ ships", artifact.ships)
    print(artifact.sentence)

    new = table(folder / "new.csv", 8, seed=2)
    with new.open(encoding="utf-8") as file:
        said = [row["label"] for row in csv.DictReader(file)]
    for answer, label in zip(graft.open(artifact.path).predict(new), said, strict=True):
        print(f"{label:<8} looks like {answer['label']} ({answer['probability']:.2f})")


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        os.environ.setdefault("GRAFT_HOME", f"{place}/home")
        main(Path(place))
