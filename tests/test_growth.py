"""What must not grow faster than the number of examples, nor be kept for each of them: counted, not timed."""

import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

import graft
from graft import candidate
from graft.build import examples
from graft.core.keys import key
from graft.data import dataset, toys
from graft.model import linear
from graft.plan import BASE_BYTES, EXAMPLE_BYTES
from graft.scores.knn import ASKED, CELLS, knn


def most(do: Callable[[], object]) -> int:
    """Bytes that this takes at its highest, beside what was there."""
    tracemalloc.start()
    do()
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return taken


def test_the_exact_head_takes_the_memory_that_plan_states(tiny_home: Path, photos: Path) -> None:
    task = graft.load(photos)
    evidence = graft.rank(task, ["tiny/shapes"])[0]
    stated = graft.plan(task, evidence, "linear_probe")
    width, rng = evidence.stage_curve[-1].bytes // 4, np.random.default_rng(0)
    few, many = (rng.normal(size=(count, width)).astype(np.float32) for count in (20_000, 40_000))
    sizes = [
        x.nbytes + most(lambda x=x: linear.fit(x, np.arange(len(x)) % 2, 2, strengths=(0.1,))) for x in (few, many)
    ]
    examples = EXAMPLE_BYTES * task.audit.found
    each = (stated.peak_bytes - BASE_BYTES - examples - stated.store_bytes) / len(task.train)
    assert (sizes[1] - sizes[0]) / len(few) <= each


def test_an_example_takes_the_memory_that_plan_states(tiny_home: Path, tmp_path: Path) -> None:
    def drawn(count: int) -> Path:
        pictures, told = toys.pictures(count, seed=count)
        for number, (picture, shape) in enumerate(zip(pictures, told["shape"], strict=True)):
            place = tmp_path / str(count) / str(shape)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.transpose(1, 2, 0)).save(place / f"{number:04}.png")
        return tmp_path / str(count)

    few, many = (most(partial(graft.load, drawn(count))) for count in (400, 1600))
    assert 100 < (many - few) / 1200 <= EXAMPLE_BYTES


def test_the_nearest_of_many_rows_are_looked_for_in_little_memory() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(40_000) % 2
    x = rng.normal(size=(len(y), 3)) + 1.5 * y[:, None]
    found = [0.0]
    taken = most(lambda: found.append(knn(x, y)))
    assert taken < 4 * 8 * CELLS  # 34 MB, where a block of 1024 rows beside all others took 700

    z = x - x.mean(0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)  # as near by cosine as by distance
    near = KNeighborsClassifier(6).fit(z, y).kneighbors(z[:4000], return_distance=False)
    votes = np.array([np.bincount(y[row[row != at][:5]], minlength=2) for at, row in enumerate(near)])
    right = (votes.argmax(1) == y[:4000]).mean()
    assert found[-1] == pytest.approx(right, abs=4 * np.sqrt(right * (1 - right) * (1 / ASKED + 1 / 4000)))


def test_names_of_examples_are_made_once(tiny_home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, made = graft.load(photos), list[int]()
    real = dataset.keys
    monkeypatch.setattr(dataset, "keys", lambda ids, *rest: made.append(len(ids)) or real(ids, *rest))
    raw = examples(task, task.train, graft.find("tiny/shapes"), seed=5)
    rows = np.arange(len(task.train))
    first = raw.keys(rows, rows % 2)
    for epoch in range(3):
        assert raw.keys(rows[::-1], rows[::-1] % 2) == first[::-1], epoch
    assert made == [len(rows)] * 2  # of two views
    assert first[:2] == [bytes.fromhex(key(task.train.ids[v], raw._preparation, v, 5 if v else 0)) for v in (0, 1)]


def test_stages_are_probed_one_after_the_other(tiny_home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, real = list[weakref.ref](), candidate.table

    def table(data):
        assert sum(one() is not None for one in held) <= 1
        x, y = real(data)
        held.append(weakref.ref(x))
        return x, y

    monkeypatch.setattr(candidate, "table", table)
    graft.rank(graft.load(photos, seed=11), ["tiny/shapes"])
    assert len(held) > 3


def test_memory_is_a_process_s_own_and_not_that_of_whoever_started_it() -> None:
    ours = np.ones(1 << 27)  # one gigabyte, each page of it touched
    code = "from graft.meter import highest; print(highest())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 0 < int(told) < ours.nbytes
