"""The artifact: what its folder holds, what it refuses to open, and that every form of it answers alike."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graft
from conftest import at_home
from graft.core.nouns import Budget
from shipping import report

FAST = Budget(seconds=20)
ONE = "tiny/shapes"


@pytest.fixture(scope="module")
def made(tiny_place, photos, tmp_path_factory):
    """A linear probe of the tiny backbone on photos, exported: (task, run, report, folder)."""
    with pytest.MonkeyPatch.context() as patch:
        at_home(patch, tiny_place)
        task = graft.load(photos)
        run = graft.adapt(task, graft.plan(task, graft.rank(task, [ONE], FAST)[0], "linear_probe", FAST))
        said = report(task, run)
        folder = tmp_path_factory.mktemp("made") / "model"
        graft.export(task, run, said, folder)
        yield task, run, said, folder


def test_nearest_examples_are_those_a_search_in_torch_finds(made):
    from graft.confidence import vectors
    from graft.model.novelty import unit

    task, run, _, folder = made
    predictor, asked = graft.open(folder), task.val.items[0]
    found = predictor.nearest(asked)
    like = (unit(vectors(task, run, task.train)[0]) @ unit(vectors(task, run, task.val)[0][:1]).T)[:, 0].numpy()
    best = np.argsort(-like)[:3]
    assert [one["name"] for one in found] == [Path(task.train.items[row]).name for row in best]
    assert [one["label"] for one in found] == [task.outputs[task.train.targets[row]] for row in best]
    np.testing.assert_allclose([one["similarity"] for one in found], like[best], atol=2e-3)  # kept in half precision
    preview = Image.open(io.BytesIO(base64.b64decode(found[0]["preview"])))
    assert max(preview.size) == 64
    own = predictor.nearest(Path(task.train.items[0]).read_bytes(), k=1)[0]
    assert own["name"] == Path(task.train.items[0]).name
    assert own["similarity"] == pytest.approx(1, abs=2e-3)
    with pytest.raises(graft.DataError):
        predictor.nearest(b"no photo")


def test_no_place_on_this_machine_is_told(made):
    task, *_, folder = made
    kept = (folder / "known.json").read_text()
    assert str(Path(task.train.items[0]).parent) not in kept
    assert not any("/" in one["name"] for one in json.loads(kept)["examples"])


def test_an_artifact_without_examples_keeps_none(made, tmp_path):
    task, run, said, _ = made
    graft.export(task, run, said, tmp_path / "model", examples=False)
    assert not [entry.name for entry in (tmp_path / "model").iterdir() if entry.name.startswith("known")]
    assert graft.open(tmp_path / "model").nearest(task.val.items[0]) == []


def test_every_class_is_remembered_as_often():
    from graft.known import MOST, _balanced

    strata = ["a"] * 2000 + ["b"] * 300 + ["c"] * 7
    rows = _balanced(strata)
    kept = [strata[row] for row in rows]
    assert (len(rows), kept.count("c"), abs(kept.count("b") - kept.count("a"))) == (MOST, 7, 1)
    assert rows == sorted(set(rows))
