"""Groups without labels: the head is the nearest centre, the data tell how many there are, and groups have names."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from command import ran
from graft.adapt import finished
from graft.core.codec import from_dict
from graft.core.errors import PlanError
from graft.core.nouns import Budget, Group
from graft.core.shelf import take
from graft.groups import groups as found
from graft.load import load
from graft.plan import plan
from graft.rank import rank

grouping = take("heads", "grouping")


def blobs(k: int, each: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = 12 * rng.normal(size=(k, 8))
    return np.concatenate([centre + rng.normal(size=(each, 8)) for centre in centres]), np.repeat(np.arange(k), each)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_head_finds_the_groups_and_answers_by_the_nearest_centre(k: int) -> None:
    x, truth = blobs(k)
    names = grouping.outputs([])
    found = grouping.solve(x, np.zeros(len(x)), len(names))
    module = grouping.head(8, len(names))
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(found.weight))
        module.bias.copy_(torch.from_numpy(found.bias))
        logits = module(torch.from_numpy(x).float()).numpy()
    own = logits.argmax(1)
    assert len({(a, b) for a, b in zip(own, truth, strict=True)}) == k == len(set(own))
    centres = np.stack([x[own == label].mean(0) for label in range(k)])
    squares = ((x[:, None] - centres) ** 2).sum(-1)
    np.testing.assert_allclose(-logits[:, :k], squares, rtol=1e-3, atol=1e-2)
    near, second = np.sqrt(np.sort(squares, axis=1)[:, :2]).T
    assert grouping.metric(logits, truth) == pytest.approx((1 - near / second).mean(), abs=1e-3)
    told = grouping.answer(logits[0], names)
    assert told["group"] == names[own[0]]
    assert told["distance"] == pytest.approx(near[0], abs=1e-2)
    assert told["next_distance"] == pytest.approx(second[0], abs=1e-2)


def test_one_group_where_there_are_none() -> None:
    x = np.random.default_rng(0).uniform(size=(200, 6))
    found = grouping.solve(x, np.zeros(200), 10)
    logits = x @ found.weight.T + found.bias - (x**2).sum(1, keepdims=True)
    assert set(logits.argmax(1)) == {0}
    assert found.score == 0
    assert set(grouping.answer(logits[0], grouping.outputs([]))) == {"group", "distance"}


def test_labels_are_not_looked_for(home: Path, photos: Path, tmp_path: Path) -> None:
    task = load(photos, modality="image", head="grouping")
    assert (task.head, task.metric, set(task.train.targets)) == ("grouping", "silhouette", {0})
    rows = [(str(path),) for path in sorted(photos.rglob("*.jpg"))]
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("photo",), *rows])
    again = load(tmp_path / "table.csv", head="grouping")
    assert sorted(again.train.items + again.val.items + again.test.part.items) == sorted(row[0] for row in rows)


def test_training_by_labels_that_are_not_there_is_refused(tiny_home: Path, photos: Path) -> None:
    task = load(photos, modality="image", head="grouping")
    evidence = rank(task, ["tiny/shapes"], Budget(seconds=30))[0]
    with pytest.raises(PlanError, match="no labels to train by"):
        plan(task, evidence, "full")
    assert plan(task, evidence, "auto").strategy == "linear_probe"


def test_the_whole_path(tiny_home: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--head", "grouping", "--modality", "image", "--backbone", "tiny/shapes", "--budget", "8s"]
    done = ran("transfer", photos, *options, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    artifact = json.loads(done.stdout)
    report = json.loads((tmp_path / "out" / "card.json").read_text())["report"]
    assert any("the models compared here have spaces of their own" in note for note in report["notes"])
    groups = [from_dict(Group, group) for group in artifact["groups"]]
    assert sum(group.count for group in groups) == 60 - 12 - 9  # all of the training part
    assert all(Path(item).is_file() for group in groups for item in group.examples)
    monkeypatch.setattr("graft.groups.logits", None)  # what was found is not looked for again
    assert list(found(load(photos, head="grouping", modality="image"), finished(report["run"]))) == groups
    dots = json.loads((tmp_path / "out" / "report.json").read_text())["exhibits"]["dots"]
    assert len(dots) == 12 + 9
    assert all(dot["truth"] == dot["answer"] for dot in dots)  # nobody knows what is right
    for group in groups:  # what stands for a group is answered with it
        answers = json.loads(ran("predict", tmp_path / "out", *group.examples, "--json").stdout)
        assert {answer["group"] for answer in answers} == {group.name}
