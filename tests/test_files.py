"""What reading a file showed is remembered exactly as long as the file has not changed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graft.data.files import Stamp, known, learn, stamp


def old(path: Path, text: str = "some text", age: float = 10.0) -> Stamp:
    """The stamp of a file that was written a while ago."""
    path.write_text(text)
    os.utime(path, (time.time() - age, time.time() - age))
    return stamp(path)


def test_what_was_learnt_is_known_under_the_absolute_path(home: Path, tmp_path: Path, monkeypatch) -> None:
    stamps = [old(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    facts = {"size": [3, 4], "mode": "RGB", "why": None}
    assert known(stamps) == {}
    assert learn([(stamps[0], "one", facts), (stamps[1], "two", {})]) == 2
    monkeypatch.chdir(tmp_path)
    again = [stamp("a.jpg"), stamp(tmp_path / "b.jpg"), stamp(Path("c.jpg"))]
    assert known(again) == {str(tmp_path / "a.jpg"): ("one", facts), str(tmp_path / "b.jpg"): ("two", {})}
    assert known([]) == {}
    assert learn([]) == 0


def rewritten(path: Path) -> None:
    path.write_text("other txt")  # the same size


def longer(path: Path) -> None:
    path.write_text("a longer text")
    os.utime(path, ns=(0, path.stat().st_mtime_ns))


def replaced(path: Path) -> None:
    before = path.stat().st_mtime_ns
    part = path.with_suffix(".part")
    part.write_text("other txt")
    os.utime(part, ns=(before, before))
    part.rename(path)


def set_back(path: Path) -> None:
    before = path.stat().st_mtime_ns
    time.sleep(0.02)  # the clock of some file systems ticks every 10 ms
    path.write_text("other txt")
    os.utime(path, ns=(before, before))


@pytest.mark.parametrize("change", [rewritten, longer, replaced, set_back])
def test_a_changed_file_is_not_known(home: Path, tmp_path: Path, change) -> None:
    path = tmp_path / "a.jpg"
    learn([(old(path), "one", {})])
    assert known([stamp(path)])
    change(path)
    assert not known([stamp(path)])
    after = old(path, "other txt")
    learn([(after, "two", {})])
    assert known([after]) == {str(path): ("two", {})}


def test_a_file_modified_within_two_seconds_of_being_read_is_not_remembered(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    for age, remembered in ((0.0, 0), (1.8, 0), (-5.0, 0), (2.1, 1)):
        at = old(path, age=age)
        assert learn([(at, "one", {})]) == remembered
        assert len(known([at])) == remembered


def test_reading_long_after_the_stamp_does_not_excuse_a_fresh_file(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    at = old(path, age=1.0)
    time.sleep(1.1)  # the file is two seconds old by now, but was not when its stamp was taken
    assert learn([(at, "one", {})]) == 0


def test_any_file_name_and_many_files(home: Path, tmp_path: Path) -> None:
    weird = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 '\".jpg"))
    at = old(weird)
    learn([(at, "weird", {"note": "\udce9"})])
    many = [at._replace(path=f"/somewhere/{i}.jpg") for i in range(2500)]
    learn([(one, f"id{i}", {"i": i}) for i, one in enumerate(many)])
    found = known([*many, at])
    assert len(found) == 2501
    assert found[str(weird)] == ("weird", {"note": "\udce9"})
    assert all(found[f"/somewhere/{i}.jpg"] == (f"id{i}", {"i": i}) for i in range(2500))


LEARN = """
import sys
from graft.data.files import Stamp, known, learn
for i in range(int(sys.argv[1]), int(sys.argv[2])):
    at = Stamp(f"/somewhere/{i}", i, 0, 0, i, 10**18)
    learn([(at, str(i), {})])
    if i % 10 == 9:
        print(i, flush=True)
"""


def learner(first: int, last: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", LEARN, str(first), str(last)], stdout=subprocess.PIPE, text=True)


def stamps(first: int, last: int) -> list[Stamp]:
    return [Stamp(f"/somewhere/{i}", i, 0, 0, i, 10**18) for i in range(first, last)]


def test_two_processes_learn_at_once(home: Path) -> None:
    pair = [learner(0, 30), learner(20, 50)]
    for one in pair:
        one.communicate(timeout=60)
    assert known(stamps(0, 60)) == {f"/somewhere/{i}": (str(i), {}) for i in range(50)}


def test_a_killed_learner_loses_only_what_it_had_not_learnt(home: Path) -> None:
    for start in (0, 100_000):
        one = learner(start, start + 100_000)
        assert one.stdout.readline() == f"{start + 9}\n"
        time.sleep(random.uniform(0, 0.05))
        one.kill()
        one.communicate()
        found = known(stamps(start, start + 1000))
        assert len(found) >= 10
        assert all(found[f"/somewhere/{i}"] == (str(i), {}) for i in range(start, start + len(found)))
    assert len(known(stamps(0, 10))) == 10


@pytest.mark.parametrize("content", [b"not a database " * 1000, None, b"half"])
def test_a_damaged_table_is_thrown_away(home: Path, content: bytes | None) -> None:
    learn([(at, "x" * 100, {}) for at in stamps(0, 500)])
    (path,) = (home / "files").glob("*.sqlite")
    sound = path.read_bytes()
    if content is None:  # pages of zeros within
        content = sound[:4096] + bytes(len(sound) - 4096)
    path.write_bytes(sound[: len(sound) // 2] if content == b"half" else content)
    assert known(stamps(0, 500)) == {}
    learn([(at, "again", {}) for at in stamps(0, 3)])
    assert len(known(stamps(0, 500))) == 3


def test_a_full_disk_is_said(home: Path) -> None:
    learn([(at, "id", {}) for at in stamps(0, 5)])
    script = """
import resource
from graft.core.errors import StorageError
from graft.data.files import Stamp, known, learn
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
many = [Stamp(f"/else/{i}", i, 0, 0, i, 10**18) for i in range(10_000)]
try:
    learn([(at, "id", {}) for at in many])
except StorageError as error:
    print(error)
assert not known(many)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "no room left" in out.stdout, out.stderr
    assert len(known(stamps(0, 5))) == 5
