"""The whole path on generated photos: files in, a model out that was compared with not transferring.

    python examples/01_transfer.py

Offline: the backbone is the small one that graft pretrains itself. With your own photos, name their folder and leave
out `backbones`, and everything at hand is tried.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import graft
from photos import photos


def main(folder: Path) -> None:
    data = photos(folder / "photos")
    artifact = graft.transfer(data, out=folder / "model", backbones=["tiny/shapes"], budget=graft.Budget(seconds=12))
    print(artifact.verdict, "→ ships", artifact.ships)
    print(artifact.sentence)
    for name, digest in artifact.files.items():
        print(f"  {name:<20} sha256 {digest[:12]}…")

    predictor = graft.open(artifact.path)  # every file is checked against its hash; torch is not needed
    new = photos(folder / "new", each=1, seed=1)
    for answer in predictor.predict(sorted(new.glob("*/*.jpg"))):
        print(f"{Path(answer['input']).parent.name:<8} looks like {answer['label']} ({answer['probability']:.2f})")


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        os.environ.setdefault("GRAFT_HOME", f"{place}/home")
        main(Path(place))
