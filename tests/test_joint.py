"""Source data: what may be learned from, whether it helps the target, and what adapting costs the source."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graft
from command import here
from graft.core.codec import from_json, to_json
from graft.core.errors import DataError
from graft.core.examples import kept_apart
from graft.core.nouns import Budget, Part, Phase, Plan, Report, Sealed, Task
from graft.folds import distinct, folds
from graft.forgetting import untouched
from graft.joint import alone, halves, together
from photos import photos as write_photos

FAST, ONE = Budget(seconds=8, firm=False), "tiny/shapes"
PROBE = (Phase(("head",), solver="exact"),)
# It forgets, whatever the processor.
HARD = (Phase(("head", "stages[0:]"), steps=150, lr=0.3, backbone_lr=1.0, stored=False, patience=99),)


def brighter(folder: Path, each: int, seed: int, light: float = 90, contrast: float = 0.6) -> Path:
    """The same shapes in another light, lying on their side."""
    for file in sorted(write_photos(folder, 4, each, seed=seed).rglob("*.jpg")):
        pixels = np.asarray(Image.open(file), np.float64)
        Image.fromarray((light + contrast * pixels).clip(0, 255).astype(np.uint8)).rotate(90).save(file, quality=95)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brighter(tmp_path_factory.mktemp("source"), 60, seed=5)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of their own: two labels a class to learn from, and enough to test on."""
    place = tmp_path_factory.mktemp("few")
    for seed, (part, each) in enumerate((("train", 2), ("val", 4), ("test", 40))):
        write_photos(place / part, 4, each, seed=31 + seed)
    return place


@pytest.fixture
def task(tiny_home: Path, few: Path, source: Path) -> Task:
    return graft.load(few, source=source)


def planned(task: Task, phases: tuple[Phase, ...], start: str = ONE) -> Plan:
    return Plan(graft.find(start), task.head, "own", phases, stages=("a", "b", "c", "d"))


def alike(task: Task) -> int:
    """Source examples that are said to look like one of the task's own."""
    found = [re.match(r"(\d+) of \d+ source examples look like", note) for note in task.audit.notes]
    return sum(int(one[1]) for one in found if one)


# ── what may be learned from ──────────────────────────────────────────────────────────────────────────────────────────


def test_source_data_are_read_and_part_of_the_key(task: Task, few: Path, source: Path, tmp_path: Path) -> None:
    assert (len(task.source), sorted(set(task.source.targets))) == (240, [0, 1, 2, 3])
    assert from_json(Task, to_json(task)) == task
    assert "240 of 240 source examples can be learned from." in task.audit.notes
    bare = graft.load(few)
    assert (bare.key != task.key, bare.train, bare.test) == (True, task.train, task.test)
    for item, target in zip(task.source.items, task.source.targets, strict=True):
        assert Path(item).parent.name == task.outputs[target]  # by name, wherever the label stands in the source
    saved = tmp_path / "task.json"
    saved.write_text(to_json(task))
    with pytest.raises(DataError, match="which says itself"):
        graft.load(saved, source=source)
    with pytest.raises(DataError, match="give one of them"):
        graft.load(few, source=source, target=source)


def test_planted_leaks_are_caught(tiny_home: Path, few: Path, source: Path, tmp_path: Path) -> None:
    leaky, own = shutil.copytree(source, tmp_path / "leaky"), sorted(few.glob("*/*/*.jpg"))
    for number, file in enumerate(own[::5]):
        shutil.copy(file, leaky / file.parent.name / f"copy{number}.jpg")
    again = sorted((leaky / "disc").glob("0*.jpg"))
    shutil.copy(again[0], leaky / "ring" / "other.jpg")  # one content, two labels
    shutil.copy(again[1], leaky / "disc" / "twice.jpg")
    Image.open(own[0]).save(leaky / own[0].parent.name / "again.png")  # the same picture in other bytes
    task = graft.load(few, source=leaky)
    ours = {*task.train.ids, *task.val.ids, *task.test.ids}
    assert ours.isdisjoint(task.source.ids)
    assert len(set(task.source.ids)) == len(task.source) == 240  # one with two labels less, one that looks alike more
    (note,) = [note for note in task.audit.notes if "source examples can" in note]
    assert f"{len(own[::5])} are copies of the data's own examples" in note
    assert "2 have two labels" in note
    assert alike(task) == alike(graft.load(few, source=source)) + 1


def test_labels_are_matched_by_name(tiny_home: Path, few: Path, source: Path, tmp_path: Path) -> None:
    some, none = (shutil.copytree(source, tmp_path / name) for name in ("some", "none"))
    (some / "disc").rename(some / "wheel")
    for place in list(none.iterdir()):
        place.rename(none / f"a {place.name}")
    task = graft.load(few, source=some)
    assert (len(task.source), task.outputs.index("disc") in task.source.targets) == (180, False)
    assert any("60 have labels that the task does not know: wheel, where the task has" in n for n in task.audit.notes)
    assert len(set(together(task).train.targets)) == 4
    report = graft.verify(task, graft.adapt(task, planned(task, PROBE)), FAST)  # the source alone has three classes
    assert {"joint", "source_only"} < {row.name for row in report.rows}
    with pytest.raises(DataError, match=r"a disc, a ring, a square, …, where the task has disc, ring, square, …"):
        graft.load(few, source=none)


def test_a_share_is_never_learned_from_and_both_domains_count_alike(task: Task) -> None:
    learned, held = halves(task)
    assert (len(learned), len(held)) == (192, 48)
    assert set(learned.ids).isdisjoint(held.ids)
    assert halves(replace(task, source=task.source.select(range(239, -1, -1))))[1].marks == held.marks  # by content
    both, only = together(task), alone(task)
    assert set(both.train.ids) == {*learned.ids, *task.train.ids}
    assert (sum(id in task.train.ids for id in both.train.ids), len(both.train)) == (192, 384)
    assert (only.train, only.val, both.val, both.test) == (learned, task.val, task.val, task.test)
    assert len({task.key, both.key, only.key}) == 3


def test_over_folds_nothing_is_tested_that_was_learned(tiny_home: Path, photos: Path, source: Path) -> None:
    task = graft.load(photos, source=source)
    whose = [tuple(f"{who}{row % 6}" for row in range(len(part))) for who, part in
             (("a", task.train), ("b", task.val), ("c", task.test.part), ("a", task.source))]  # fmt: skip
    grouped = replace(
        task, train=replace(task.train, groups=whose[0]), val=replace(task.val, groups=whose[1]),
        test=Sealed(replace(task.test.part, groups=whose[2])), source=replace(task.source, groups=whose[3]),
    )  # fmt: skip
    for one in (task, grouped):
        for fold in folds(one, distinct(one.test.part), 1):
            for made in (together(fold), alone(fold)):
                assert set(fold.test.ids).isdisjoint(made.train.ids)
                assert set(fold.val.ids).isdisjoint(made.train.ids)
                if one is grouped:  # nor is anybody known who is asked
                    assert set(fold.test.part.groups).isdisjoint(made.train.groups)
    hermit = replace(grouped, source=replace(grouped.source, groups=(whose[2][0],) * len(grouped.source)))
    assert alone(hermit).train == grouped.train  # nobody is left


def test_copies_of_quantities_are_left_out_together(home: Path, tmp_path: Path) -> None:
    """A head that leaves out row by row would know what it is asked from the copies of it."""
    rng = np.random.default_rng(0)
    for name, count, shift in (("own", 60, 0.0), ("other", 300, 1.0)):
        rows = [",".join(f"{value:.4f}" for value in (*x, x @ [1.0, 0.5])) for x in rng.normal(shift, 1, (count, 2))]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a,b,label", *rows]))
    task = graft.load(tmp_path / "own.csv", source=tmp_path / "other.csv", head="regression")
    both = together(task)
    assert len(task.source) == 300
    assert kept_apart(both.train, both.val) == both.train.ids
    assert [sum(id in {*part.ids} for id in both.train.ids) for part in (task.train, task.source)] == [240, 240]
    one = lambda part: replace(part, groups=("one",) * len(part))  # noqa: E731
    mixed = together(replace(task, train=one(task.train), val=one(task.val), source=one(task.source)))
    assert kept_apart(mixed.train, mixed.val) == mixed.train.ids  # people are in both parts anyway; copies are not


@pytest.mark.parametrize("count", [1, 2])
def test_too_little_to_learn_from_is_told(task: Task, count: int) -> None:
    little = replace(task, source=task.source.select(range(count)), key=f"{task.key}-{count}")
    assert len(halves(little)[0]) == 1
    report = graft.verify(little, graft.adapt(little, planned(little, PROBE)), FAST)
    assert {"joint", "source_only"}.isdisjoint(row.name for row in report.rows)
    assert any("too little of the source can be learned from" in note for note in report.notes)


def test_another_share_that_is_held_out_is_another_task(task: Task) -> None:
    """Parts of the data's own have one key whatever the seed, and the source is split by it all the same."""
    other = replace(task, seed=1)
    for made in (together, alone):
        assert made(task).train != made(other).train
        assert made(task).key != made(other).key


# ── whether it helps ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_source_helps_where_labels_are_few(task: Task, tmp_path: Path) -> None:
    run = graft.adapt(task, planned(task, PROBE))
    report = graft.verify(task, run, FAST)
    rows = {row.name: row for row in report.rows}
    assert rows["joint"].transfers
    assert rows["source_only"].transfers
    assert rows["joint"].gain[2] < 0, "two labels a class alone are surely worse"
    assert report.reference not in ("joint", "source_only")
    assert report.ships in ("joint", "source_only")
    assert "What ships instead is the same plan taught" in report.sentence
    assert any("192 source examples alone (source only)" in note for note in report.notes)
    artifact = graft.export(task, run, report, tmp_path / "out")
    assert (artifact.ships, artifact.parity < 1e-4) == (report.ships, True)


def test_the_distance_of_the_domains_is_told(tiny_home: Path, few: Path, tmp_path: Path) -> None:
    task = graft.load(few, source=brighter(tmp_path / "far", 60, 5, light=170, contrast=0.2))  # far for any processor
    evidence = graft.rank(task, [ONE])[0]
    assert evidence.source_distance > 1
    assert any("they are two domains" in why for why in graft.plan(task, evidence, "linear_probe").why)
    bare = graft.rank(graft.load(few), [ONE])[0]
    assert (bare.source_distance, any("two domains" in why for why in bare.why)) == (None, False)


# ── what it costs the source ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_long_full_fine_tune_forgets_and_a_probe_does_not(task: Task) -> None:
    report = graft.verify(task, graft.adapt(task, planned(task, HARD)), FAST)
    assert report.forgetting[1] > 0
    assert any("Adapting cost the source" in note and "48 held-out source" in note for note in report.notes)
    assert from_json(Report, to_json(report)) == report
    probed = graft.verify(task, graft.adapt(task, planned(task, PROBE)), FAST)
    assert probed.forgetting == (0, 0, 0)
    assert any("no weight of the backbone has changed" in note for note in probed.notes)
    probe = graft.adapt(task, planned(task, PROBE))
    assert untouched(probe)
    settled = planned(task, (replace(PROBE[0], regularizers=("adabn",)),))
    assert not untouched(replace(probe, plan=settled))


def test_an_earlier_run_is_asked_about_its_own_task(tiny_home: Path, photos: Path, few: Path, tmp_path: Path) -> None:
    place = shutil.copytree(photos, tmp_path / "first")
    min(place.rglob("*.jpg")).unlink()  # so that no other test has opened this task
    first = graft.load(place)
    gentle = (Phase(("head", "stages[3:]"), steps=40, lr=3e-3, patience=99),)
    earlier = graft.adapt(first, planned(first, gentle))
    second = graft.load(few)
    looks = tiny_home / "openings" / f"{first.key}.txt"
    probed = graft.verify(second, graft.adapt(second, planned(second, PROBE, f"checkpoint/{earlier.key}")), FAST)
    assert (probed.forgetting, looks.exists()) == ((0, 0, 0), False)  # said without a look
    run = graft.adapt(second, planned(second, HARD, f"checkpoint/{earlier.key}"))
    report = graft.verify(second, run, FAST)
    assert len(report.forgetting) == 3
    assert "forgets" in looks.read_text()
    assert any(f"{len(first.test)} held-out source examples" in note for note in report.notes)
    assert not graft.verify(second, graft.adapt(second, planned(second, PROBE)), FAST).forgetting  # no source is known
    shutil.rmtree(place)
    gone = graft.verify(second, graft.adapt(second, run.plan, seed=1), FAST)
    assert gone.forgetting == ()
    assert any("is not told" in note for note in gone.notes)


def test_the_command_line_takes_a_source(tiny_home: Path, few: Path, source: Path, capsys) -> None:
    asked = (str(few), "--source", str(source), "--backbone", ONE, "--strategy", "linear_probe", "--budget", "8s")
    assert here("verify", *asked) == 0
    report = from_json(Report, capsys.readouterr().out)
    assert {"joint", "source_only"} < {row.name for row in report.rows}
    assert report.task == graft.load(few, source=source).key
    assert here("load", str(few), "--source", str(few)) != 0
    assert "are copies of the data's own examples" in capsys.readouterr().err
    assert Part() == graft.load(few).source
