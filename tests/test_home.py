"""The home: what is written there is whole, what is evicted was used least, and every refusal is said in a sentence."""

import os
import random
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from graft.arguments import _bytes
from graft.core import home as at
from graft.core.errors import StorageError

PROLOGUE = """
import errno, os, resource, sys, time
from pathlib import Path
from graft.core import home as at
from graft.core.errors import StorageError
"""


def process(script: str, *args: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + script, *map(str, args)], stdout=subprocess.PIPE, bufsize=0
    )


def finished(script: str, *args: object) -> str:
    worker = process(script, *args)
    out, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    return out.decode()


def test_where_the_home_is(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("GRAFT_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert at.home() == tmp_path / ".cache" / "graft"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert at.home() == tmp_path / "xdg" / "graft"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert at.home() == tmp_path / "Library" / "Caches" / "graft"
    monkeypatch.setenv("GRAFT_HOME", "~/mine")
    assert at.home() == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAFT_HOME", "here")
    assert at.home() == tmp_path / "here"
    assert not list(tmp_path.iterdir())  # asking makes nothing
    assert at.folder("runs", "a", "b") == tmp_path / "here" / "runs" / "a" / "b"
    assert (tmp_path / "here" / "runs" / "a" / "b").is_dir()


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(home: Path) -> None:
    path, rng = at.folder("results") / "x", random.Random(time.time_ns())
    for _ in range(5):
        worker = process(
            """
for i in range(10**9):
    at.write_text(Path(sys.argv[1]), "abcdefghij"[i % 10] * 3_000_000)
    if i == 1:
        print("going", flush=True)
""",
            path,
        )
        assert worker.stdout.readline() == b"going\n"
        time.sleep(rng.uniform(0, 0.1))
        worker.kill()
        worker.communicate()
        text = path.read_text()
        assert len(text) == 3_000_000
        assert len(set(text)) == 1
    at.write_text(path, "new")
    assert path.read_text() == "new"


def test_a_write_that_fails_leaves_what_was_there(home: Path) -> None:
    path = at.folder("results") / "x"
    at.write_text(path, "before")

    def broken() -> None:
        with at.placed(path) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    out = finished(
        """
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    at.write_text(Path(sys.argv[1]), "x" * 5000)
except StorageError as error:
    print(error)
""",
        path,
    )
    assert "no room left" in out
    assert path.read_text() == "before"
    assert [entry.name for entry in path.parent.iterdir()] == ["x"]


def test_tensors_that_find_the_disk_full_say_so(home: Path) -> None:
    """safetensors gives the system's refusal a text of its own."""
    out = finished(
        """
import numpy as np
from safetensors.numpy import save_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with at.placed(at.folder("runs") / "weights.safetensors") as part:
        save_file({"x": np.zeros(5000)}, part)
except StorageError as error:
    print(error)
"""
    )
    assert "no room left" in out
    assert list((home / "runs").iterdir()) == []


def test_other_refusals_pass_unchanged() -> None:
    with pytest.raises(FileNotFoundError), at.storage():
        Path("/nowhere/at/all").read_text()


CLOSED = """
if os.geteuid() == 0:
    os.setuid(65534)  # permissions do not bind the superuser
os.environ["GRAFT_HOME"] = sys.argv[1]
try:
    {act}
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "act",
    ['at.folder("runs")', 'at.write_text(at.home() / "x", "")', 'at.lock("results", "x").__enter__()', "at.limit(5)"],
)
def test_a_home_without_permission_is_said(act: str) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to others from above
        Path(name).chmod(0o755)
        closed = Path(name) / "closed"
        (closed / "results").mkdir(parents=True)
        for place in (closed / "results", closed):
            place.chmod(0o555)
        try:
            out = finished(CLOSED.format(act=act), closed)
        finally:
            closed.chmod(0o755)
    assert "cannot be written. Set GRAFT_HOME" in out


@pytest.mark.parametrize("below", ["", "graft"])
def test_a_file_in_the_place_of_the_home_is_said(tmp_path: Path, monkeypatch, below: str) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "file" / below))
    with pytest.raises(StorageError, match="Set GRAFT_HOME"):
        at.folder("features")


def entry(name: str, size: int, age: float, kind: str = "features") -> Path:
    """An entry of so many bytes, last used so many seconds ago."""
    place = at.folder(kind, name)
    (place / "rows").write_bytes(bytes(size))
    os.utime(place, (time.time() - age, time.time() - age))
    return place


def names(kind: str = "features") -> set[str]:
    return {path.name for path in (at.home() / kind).iterdir()}


def test_eviction_removes_the_least_recently_used_until_the_rest_fits(home: Path) -> None:
    for name, age in (("c", 300), ("a", 500), ("d", 200), ("b", 400)):
        entry(name, 1000, age)
    assert at.evict(4000) == 0
    assert at.evict(2500) == 2000
    assert names() == {"c", "d"}
    at.touch(home / "features" / "c")
    entry("e", 1000, 100)
    assert at.evict(2000) == 1000
    assert names() == {"c", "e"}  # c is older than d, but was used since


def test_eviction_spares_what_is_kept_or_in_use(home: Path) -> None:
    for name, age in (("kept", 500), ("old", 400), ("older", 450), ("new", 1), ("minute", 55)):
        entry(name, 1000, age)
    with at.lock("features", "old"):
        assert at.evict(0, keep=frozenset({"kept"})) == 2000
    assert names() == {"kept", "new", "minute", ".old.lock"}
    entry("other", 1000, 500, kind="weights")
    assert at.evict(0) == 1000
    assert names("weights") == {"other"}
    assert at.evict(0, "weights") == 1000
    assert at.evict(0, "runs") == 0


def test_sizes_and_clear(home: Path) -> None:
    assert at.sizes() == dict.fromkeys(at.KINDS, 0)
    entry("a", 1000, 0)
    entry("b", 500, 0)
    entry("c", 70, 0, kind="runs")
    assert at.sizes() == {**dict.fromkeys(at.KINDS, 0), "features": 1500, "runs": 70}
    assert at.size(home / "features" / "a" / "rows") == at.size(home / "features" / "a") == 1000
    assert at.clear("features") == 1500
    assert at.sizes() == {**dict.fromkeys(at.KINDS, 0), "runs": 70}
    entry("a", 1000, 0)
    assert at.clear() == 1070
    assert at.clear() == 0


@pytest.mark.parametrize(
    ("asked", "count"), [("5G", 5 * 10**9), ("1.5 GiB", 3 << 29), ("300K", 300_000), ("2mb", 2 * 10**6)]
)
def test_a_limit_reads_as_it_is_shown(asked: str, count: int) -> None:
    assert _bytes(asked) == count


def test_the_limit_is_kept(home: Path) -> None:
    assert at.limit() == 20_000_000_000
    assert at.limit(12345) == 12345
    assert finished("print(at.limit())") == "12345\n"
    (home / "limit").write_text("much")
    assert at.limit() == 20_000_000_000


@dataclass(frozen=True)
class Answer:
    value: int
    words: tuple[str, ...] = ()


def test_a_result_is_computed_once(home: Path) -> None:
    calls = []

    def compute() -> Answer:
        calls.append(1)
        return Answer(41 + len(calls), ("a", "é"))

    assert at.recall("rank", "k", Answer) is None
    first = at.remember("rank", "k", Answer, compute)
    assert (
        at.remember("rank", "k", Answer, compute) == first == at.recall("rank", "k", Answer) == Answer(42, ("a", "é"))
    )
    assert at.remember("rank", "other", Answer, compute).value == 43
    assert at.remember("plan", "k", Answer, compute).value == 44


@pytest.mark.parametrize(
    "stored",
    ['{"value": 1, "words": [], "since": 2}', '{"words": []}', '{"value": "1"}', '{"value": 1', "", "[1]", "\xff\x00"],
)
def test_a_result_of_another_version_is_computed_again(home: Path, stored: str) -> None:
    path = at.folder("results", "rank") / "k.json"
    path.write_bytes(stored.encode("latin-1"))
    assert at.recall("rank", "k", Answer) is None
    assert at.remember("rank", "k", Answer, lambda: Answer(5)) == Answer(5)
    assert at.recall("rank", "k", Answer) == Answer(5)


def test_a_recalled_result_counts_as_used(home: Path) -> None:
    at.remember("rank", "k", Answer, lambda: Answer(5))
    path = home / "results" / "rank" / "k.json"
    os.utime(path, (0, 0))
    at.recall("rank", "k", Answer)
    assert time.time() - path.stat().st_mtime < 60


HOLD = """
print("asks", flush=True)
with at.lock("weights", "x"):
    print("holds", flush=True)
    time.sleep(60)
"""


def test_a_lock_excludes_other_processes_and_dies_with_its_holder(home: Path) -> None:
    first = process(HOLD)
    assert first.stdout.readline() == b"asks\n"
    assert first.stdout.readline() == b"holds\n"
    second = process(HOLD)
    try:
        assert second.stdout.readline() == b"asks\n"
        assert select.select([second.stdout], [], [], 0.3) == ([], [], [])
        with at.lock("weights", "y"):  # another name is free
            first.kill()
        assert second.stdout.readline() == b"holds\n"
    finally:
        for worker in (first, second):
            worker.kill()
            worker.communicate()
    with at.lock("weights", "x"):
        pass
