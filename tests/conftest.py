"""What tests share: homes, photos, and a network that is not there."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from graft.core.shelf import names, take

# Before numpy and torch are imported, here and in every process that a test starts: idle OpenMP threads spin, and two
# processes on two cores then wait for each other. It also makes sums come out alike on every machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


# Files whose tests take minutes, the longest first: where two workers share the files, none is left alone with one of
# them at the end.
LONGEST = (
    "docs", "path", "identity", "audio_path", "contracts", "readme", "text", "studio", "resume", "heads_path",
    "artifact", "signal_path", "planted", "vector_path", "verdict", "joint", "report", "serve_attacks", "search",
    "encoders", "sources", "text_path", "page", "serve", "hf", "grouping", "divergence", "regularizers",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files before short ones."""
    place = {f"test_{name}": at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def at_home(monkeypatch: pytest.MonkeyPatch, place: Path) -> Path:
    """Make a folder the home of this process and of those it starts, with model hubs out of reach."""
    monkeypatch.setenv("GRAFT_HOME", str(place))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return place


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for one test."""
    return at_home(monkeypatch, tmp_path / "home")


@pytest.fixture(scope="session")
def packages_place() -> Path:
    """Where fetched packages are kept from one session to the next: GRAFT_TEST_HOME, or .home in the repository."""
    place = Path(os.environ.get("GRAFT_TEST_HOME") or Path(__file__).parent.parent / ".home").absolute()
    place.mkdir(parents=True, exist_ok=True)
    (place / ".gitignore").write_text("*\n")  # nothing that is fetched is ours to commit
    return place


@pytest.fixture
def weights_home(packages_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that keeps fetched packages."""
    return at_home(monkeypatch, packages_place)


@pytest.fixture(scope="session")
def tiny_weights(packages_place: Path) -> list[Path]:
    """The tiny backbones as they are made once, for every worker and from one session to the next."""
    from graft.data import tokens

    with pytest.MonkeyPatch.context() as monkeypatch:
        at_home(monkeypatch, packages_place)
        source = take("sources", "tiny")
        for modality in names("modalities"):
            for backbone in source.catalog(modality):
                source.open(backbone)
        tokenizer = tokens.place(source.find("phrases").input["tokenizer"])
    return [tokenizer, *(packages_place / "weights").glob(f"tiny-*-{source.REVISION}.safetensors")]


@pytest.fixture(scope="session")
def tiny_place(tiny_weights: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the tiny backbones have been made."""
    place = tmp_path_factory.mktemp("tiny") / "home"
    (place / "weights").mkdir(parents=True)
    for file in tiny_weights:
        shutil.copy(file, place / "weights")
    return place


@pytest.fixture
def own_home(tiny_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that holds the tiny weights and nothing that another test computed."""
    shutil.copytree(tiny_place / "weights", at_home(monkeypatch, tmp_path / "home") / "weights")


@pytest.fixture
def tiny_home(tiny_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that keeps the tiny backbones, shared by the tests of a session: what one computes, others find."""
    return at_home(monkeypatch, tiny_place)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of small JPEG photos; read only."""
    from photos import photos as write_photos

    return write_photos(tmp_path_factory.mktemp("photos"), classes=3, each=20)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unlabelled photos of the same shapes, in one folder."""
    from photos import photos as write_photos

    place = tmp_path_factory.mktemp("elsewhere")
    for index, file in enumerate(sorted(write_photos(place / "drawn", 3, 8, seed=7).rglob("*.jpg"))):
        file.rename(place / f"{index}.jpg")
    return place


@pytest.fixture(autouse=True)
def _operations_are_read_once() -> Iterator[None]:
    """For every export torch reads the sources of ONNX's operations again, a second each: a worker exports dozens."""
    yield
    place = sys.modules.get("onnxscript._framework_apis.torch_2_11")
    if place and not hasattr(place.get_torchlib_ops, "cache_info"):
        place.get_torchlib_ops = cache(place.get_torchlib_ops)


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is asked of a network, unless a test fetches a package; what code catches is still counted."""
    if request.node.get_closest_marker("weights"):
        yield
        return
    real, asked = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}, []

    def guarded(name: str):
        def connect(self: socket.socket, address):
            if self.family != socket.AF_UNIX and not _loopback(address[0]):
                asked.append(address)
                raise ConnectionRefusedError(f"a test asked the network for {address}")
            return real[name](self, address)

        return connect

    def lookup(host, *rest, **more):
        if not _loopback(host):
            asked.append(host)
            raise socket.gaierror(socket.EAI_NONAME, f"a test asked the network for {host}")
        return resolve(host, *rest, **more)

    resolve = socket.getaddrinfo
    for name in real:
        monkeypatch.setattr(socket.socket, name, guarded(name))
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    yield
    assert not asked, f"the network was asked for {asked}; mark a test that fetches a package with `weights`"


def _loopback(host: str | bytes | None) -> bool:
    name = host.decode() if isinstance(host, bytes) else host or ""
    return name in ("", "localhost", "::1") or name.startswith("127.")
