"""The whole path on texts through the command line: what comes in is answered one for one, or refused in words."""

import json
import random
from pathlib import Path

import pytest

import graft
from command import here, ran
from conftest import at_home
from graft.build import find
from graft.rank import _unseen


@pytest.fixture(scope="module")
def model(tiny_place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a table of short messages became."""
    folder, rng = tmp_path_factory.mktemp("texts"), random.Random(0)
    words = {"billing": ("invoice", "refund", "paid", "price"), "access": ("password", "login", "locked", "account")}
    lines = []
    for number in range(90):
        team = rng.choice(list(words))
        said = " ".join(rng.choice([*words[team], "please", "help", "my", "the"]) for _ in range(rng.randint(4, 12)))
        lines.append(json.dumps({"message": said, "team": team, "nr": number}))
    (folder / "tickets.jsonl").write_text(
        "\n".join([*lines, *lines[:8], json.dumps({"message": " ", "team": "access"})])
    )
    with pytest.MonkeyPatch.context() as patch:
        at_home(patch, tiny_place)
        options = ["--label", "team", "--backbone", "tiny/phrases", "--budget", "10s", "--quiet"]
        done = ran("transfer", folder / "tickets.jsonl", *options, "--out", folder / "model")
    assert done.returncode == 0, done.stderr
    return folder / "model"


def test_copies_in_the_test_part_count_once_and_that_is_said(model: Path) -> None:
    report = json.loads((model / "card.json").read_text())["report"]
    task = graft.load(model.with_name("tickets.jsonl"), label="team")
    asked = (
        {id for part in (task.train, task.val, task.test) for id in part.ids} if report["folds"] else {*task.test.ids}
    )
    assert report["n_test"] == len(asked)
    if not report["folds"]:
        several = len(task.test) - len(asked)
        assert (several > 0) == any("copies of others and count once" in note for note in report["notes"])
    assert any("is empty" in why for _, why in task.audit.skipped)


def test_every_input_has_its_answer(model: Path) -> None:
    predictor = graft.open(model)
    answers = predictor.predict(["my invoice", "", "login locked", " "])
    assert ["error" in answer for answer in answers] == [False, True, False, True]
    assert [answer["input"] for answer in answers[::2]] == ["my invoice", "login locked"]
    assert "error" in predictor.predict([""])[0]


def test_a_file_that_is_not_there_is_no_text(model: Path, capsys) -> None:
    assert here("predict", model, "nofile.csv") == 2
    assert "There is no nofile.csv" in capsys.readouterr().err
    assert here("predict", model, "see nofile.csv", "--json") == 0  # a text that names a file
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert here("predict", model, "") == 2
    assert "empty" in capsys.readouterr().err
    assert here("predict", model, "nofile.csv", "my login", "--json") == 0
    assert ["error" in one for one in json.loads(capsys.readouterr().out)] == [True, False]


def test_a_run_on_other_columns_of_the_same_rows_is_no_candidate(model: Path, tiny_place: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in model.with_name("tickets.jsonl").read_text().splitlines()[:60]]
    place = tmp_path / "both.jsonl"
    place.write_text("\n".join(json.dumps({**row, "subject": f"about {k % 7}"}) for k, row in enumerate(rows)))
    with pytest.MonkeyPatch.context() as patch:
        at_home(patch, tiny_place)
        one = graft.load(place, label="team", columns="message")
        both = graft.load(place, label="team", columns="subject,message")
        assert not {*one.train.ids} & {*both.train.ids}
        evidence = graft.rank(one, ["tiny/phrases"], graft.Budget(seconds=5))[0]
        run = graft.adapt(one, graft.plan(one, evidence, "linear_probe", graft.Budget(seconds=5)))
        pool = [find(f"checkpoint/{run.key}"), find("tiny/phrases")]
        assert [backbone.id for backbone in _unseen(both, pool)] == ["tiny/phrases"]


def test_one_row_of_a_table(model: Path, capsys) -> None:
    table = model.with_name("tickets.jsonl")
    assert here("predict", model, table, "--json") == 0
    every = json.loads(capsys.readouterr().out)
    assert here("predict", model, f"{table}#4", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [every[3]]
