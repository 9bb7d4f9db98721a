"""What people really hand in: a clear sentence and exit status 2, or a counted, named skip. Nothing is lost."""

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graft
from command import cli, ran
from photos import hostile
from photos import photos as write_photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "my photos ünï", classes=2, each=8)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit status 2, one sentence on standard error that holds these words, nothing on standard output."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr, done.stderr


def test_empty_folder_and_no_folder(home, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(cli("load", tmp_path / "empty"), "No examples", "one folder per class")
    refused(cli("load", tmp_path / "emty"), "There is no", str(tmp_path / "empty"))


def test_one_class_only(home, folder):
    other = sorted(entry for entry in folder.iterdir())[1]
    for file in other.iterdir():
        file.unlink()
    refused(ran("load", folder), "one class", "two are needed")


def test_a_class_with_one_photo_is_left_out_by_name(home, folder):
    (folder / "rare").mkdir()
    Image.new("RGB", (30, 30), "red").save(folder / "rare" / "only.png")
    task = graft.load(folder)
    assert "rare" not in task.outputs
    assert [why for where, why in task.audit.skipped if where.endswith("only.png")] == [
        "the class 'rare' has 1 distinct example, and 3 are needed"
    ]


def test_every_hostile_file_is_used_or_named(home, folder, tmp_path):
    label = sorted(entry.name for entry in folder.iterdir())[0]
    bad = hostile(tmp_path / "hostile")
    for path in bad.values():
        path.rename(folder / label / path.name)
    task = graft.load(folder)
    used = {Path(p).name for part in (task.train, task.val, task.test.part) for p in part.items}
    named = {Path(where).name for where, _ in task.audit.skipped}
    assert {path.name for path in bad.values()} <= used | named
    assert not used & named
    assert task.audit.found == sum(len(p) for p in (task.train, task.val, task.test)) + len(task.audit.skipped)
    assert all(why for _, why in task.audit.skipped)


def test_extreme_shapes_are_used(home, folder):
    label = sorted(entry.name for entry in folder.iterdir())[0]
    Image.new("RGB", (1, 1), "blue").save(folder / label / "dot.png")
    Image.new("RGB", (20_000, 20), "green").save(folder / label / "line.png")
    assert graft.load(folder).audit.skipped == ()


def test_symlink_loops_and_unreadable_files(home, folder):
    label = sorted(folder.iterdir())[0]
    (label / "loop").symlink_to(folder, target_is_directory=True)
    (label / "self.jpg").symlink_to(label / "self.jpg")
    (label / "gone.jpg").symlink_to(label / "nowhere.jpg")
    named = {Path(where).name for where, _ in graft.load(folder).audit.skipped}
    assert {"self.jpg", "gone.jpg"} <= named


def test_labels_that_differ_in_case(home, folder):
    label = sorted(folder.iterdir())[0]
    write_photos(folder.parent / "more", classes=1, each=4, seed=9)
    (next((folder.parent / "more").iterdir())).rename(folder / label.name.upper())
    refused(ran("load", folder), "differ only in case", label.name.upper())


def test_contradicting_and_copied_files(home, folder):
    one, two = sorted(folder.iterdir())
    source = sorted(one.iterdir())[0]
    (two / "stolen.jpg").write_bytes(source.read_bytes())
    twin = sorted(one.iterdir())[1]
    for number in range(4):
        (one / f"copy{number}.jpg").write_bytes(twin.read_bytes())
    task = graft.load(folder)
    assert len([why for _, why in task.audit.skipped if "is labelled" in why]) == 2
    parts = [{i for p, i in zip(part.items, part.ids, strict=True)} for part in (task.train, task.val, task.test.part)]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    assert len(task.audit.moved) == 5


def test_a_leak_between_given_parts_is_closed(home, tmp_path):
    for part, seed in (("train", 1), ("val", 2), ("test", 3)):
        write_photos(tmp_path / "d" / part, classes=2, each=6, seed=seed)
    label = sorted((tmp_path / "d" / "train").iterdir())[0].name
    leaked = sorted((tmp_path / "d" / "test" / label).iterdir())[0]
    (tmp_path / "d" / "train" / label / "leak.jpg").write_bytes(leaked.read_bytes())
    task = graft.load(tmp_path / "d")
    assert not set(task.train.ids) & set(task.test.part.ids)
    assert any("moved from test to train" in why for _, why in task.audit.moved)


def table(folder: Path, kind: str) -> Path:
    rows = [
        {"photo": str(p.relative_to(folder.parent)), "species": p.parent.name} for p in sorted(folder.rglob("*.jpg"))
    ]
    rows += [{"photo": "missing.jpg", "species": rows[0]["species"]}, {"photo": rows[0]["photo"], "species": ""}]
    place = folder.parent / f"table.{kind}"
    if kind == "csv":
        place.write_text("photo,species\n" + "".join(f"{r['photo']},{r['species']}\n" for r in rows), encoding="utf-8")
    elif kind == "jsonl":
        place.write_text("\n".join(json.dumps(r) for r in rows))
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), place)
    return place


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables(kind, home, folder):
    task = graft.load(table(folder, kind))
    assert sum(map(len, (task.train, task.val, task.test))) == 16
    reasons = sorted(why for _, why in task.audit.skipped)
    assert "empty label" in reasons[0] or "empty label" in reasons[1]
    assert any("not there" in why for why in reasons)
    assert task.key == graft.load(folder).key  # the same content is the same task, however it is described


def test_a_table_as_spreadsheets_write_it_where_the_comma_is_the_decimal_mark(home, folder):
    place = table(folder, "csv")
    place.write_text("\ufeff" + place.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8")
    assert graft.load(place).key == graft.load(folder).key


@pytest.mark.parametrize("header", ['photo,"species (a; b; c)"', 'photo;"species, one, two"'])
def test_a_header_may_hold_the_other_mark(header, home, folder):
    place, mark = table(folder, "csv"), header[5]
    rows = place.read_text(encoding="utf-8").split("\n")
    place.write_text("\n".join([header, *(row.replace(",", mark) for row in rows[1:])]), encoding="utf-8")
    assert graft.load(place).key == graft.load(folder).key


def test_tables_that_cannot_be_read(home, folder):
    place = table(folder, "csv")
    refused(ran("load", place, "--label", "spicies"), "no column 'spicies'", "species")
    place.write_bytes("photo,species\nä.jpg,b\n".encode("latin-1"))
    refused(ran("load", place), "UTF-8")
    place.write_text("")
    refused(ran("load", place), "empty")
    (folder.parent / "t.jsonl").write_text('{"a": 1\n')
    refused(ran("load", folder.parent / "t.jsonl"), "cannot be read as a table", "line 1")
    (folder.parent / "p.csv").write_text("path\nx.jpg\n")
    refused(ran("load", folder.parent / "p.csv"), "no column of labels")
    refused(ran("load", folder, "--label", "species"), "is a folder")


def test_unknown_names_offer_the_nearest(home, folder):
    refused(ran("rank", folder, "--backbone", "package/resnet81"), "package/resnet81"[8:], "resnet18")
    refused(ran("rank", folder, "--backbone", "packge/resnet18"), "package/resnet18")
    refused(ran("plan", folder, "--strategy", "linear_prob"), "linear_probe")
    refused(ran("list", "strategie"), "strategies")
    refused(ran("cache", "--clear", "everything"), "features")
    refused(ran("predict", folder, "x.jpg"), "no artifact")


def test_a_hub_that_cannot_be_reached(home, folder):
    refused(cli("rank", folder, "--backbone", "timm/resnet18.a1_in1k"), "hub", "package/resnet18")


def test_a_full_disk_is_said_and_harms_nothing(tiny_home, folder):
    """A limit on file size stands in for the disk: the system answers a write in the same way."""

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    command = ("adapt", folder, "--backbone", "tiny/shapes", "--strategy", "linear_probe", "--budget", "23s")
    full = cli(*command, preexec_fn=small)
    refused(full, "no room")
    done = cli(*command)
    assert done.returncode == 0, done.stderr


def test_an_output_folder_of_ones_own_is_not_overwritten(tiny_home, folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = ran("export", folder, "--out", tmp_path / "mine", "--backbone", "tiny/shapes", "--budget", "9s")
    refused(done, "something other than an artifact")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_names_that_are_not_utf8(home, folder):
    label = sorted(folder.iterdir())[0]
    odd = os.fsencode(label) + b"/\xff\xfe.png"
    Image.fromarray(np.full((20, 20, 3), 7, np.uint8)).save(label / "plain.png")
    os.rename(label / "plain.png", odd)
    done = cli("load", folder)
    assert done.returncode == 0, done.stderr
    assert sum(len(json.loads(done.stdout)[part]["items"]) for part in ("train", "val")) > 0


def test_a_row_with_a_field_too_many(home, folder, tmp_path):
    rows = [f"{file},{label.name}," for label in sorted(folder.iterdir()) for file in sorted(label.iterdir())]
    (tmp_path / "table.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    assert len(graft.load(tmp_path / "table.csv").outputs) == 2


def test_paths_through_a_parent_are_read_once(home, folder, tmp_path, monkeypatch):
    from graft.data import files

    inner = tmp_path / "inner"
    inner.mkdir()
    rows = [f"../{file.relative_to(tmp_path)},{label.name}" for label in folder.iterdir() for file in label.iterdir()]
    (inner / "table.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    for file in folder.rglob("*.*"):
        os.utime(file, (1e9, 1e9))  # long unchanged
    learnt = []
    monkeypatch.setattr(files, "learn", lambda rows, learn=files.learn: learnt.append(learn(rows)))
    first, again = graft.load(inner / "table.csv"), graft.load(inner / "table.csv")
    assert first == again
    assert learnt == [len(rows), 0]


def test_a_class_called_train(home, folder):
    sorted(folder.iterdir())[0].rename(folder / "train")
    assert "train" in graft.load(folder).outputs


def test_faults_in_a_strategy_file_are_the_persons(home, folder, tmp_path):
    (tmp_path / "odd.py").write_text("def odd(task evidence):\n")
    refused(ran("plan", folder, "--strategy", tmp_path / "odd.py"), "odd.py", "SyntaxError")


def test_a_seed_below_zero(home, folder):
    refused(ran("load", folder, "--seed", "-1"), "whole number")


def test_a_place_that_cannot_be_written_is_said_first(home, folder, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "model", "/proc/model"):  # root may write into /proc, which takes nothing
        for command in (("transfer", folder), ("verify", folder), ("demo",)):
            done = ran(*command, "--out", place)
            refused(done, f"{place} cannot be written", "Choose another.")
            assert done.stderr.count("\n") == 1


def test_a_task_that_is_no_text(home, tmp_path):
    (tmp_path / "task.json").write_bytes(b"\xff\xfe\x00")
    refused(ran("load", tmp_path / "task.json"), "task.json")


def test_a_test_part_alone_is_split_anew(home, photos, tmp_path):
    table = tmp_path / "table.csv"
    rows = [f"{path},{path.parent.name},test" for path in sorted(photos.rglob("*.jpg"))]
    table.write_text("\n".join(["path,label,split", *rows]))
    task = json.loads(ran("load", table).stdout)
    assert len(task["train"]["items"]) > len(task["val"]["items"]) > 0
    assert any("split anew" in note for note in task["audit"]["notes"])
