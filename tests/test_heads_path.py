"""The whole path for several labels, quantities and tags: on photos, tables and texts, as users walk it."""

import csv
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import graft
from command import here, ran
from graft import words
from graft.adapt import finished, logits
from graft.charts import ladder, ranking, stages
from graft.core import figures
from graft.core.codec import from_dict
from graft.core.exhibits import Candidate, Exhibits, Stage, Step
from graft.core.nouns import Budget, Cost, Evidence, Phase, Plan, Report, Row, Run, StageProbe
from graft.core.shelf import take
from graft.entries import asked
from graft.exhibits import gathered
from graft.folds import distinct
from graft.model.wordwise import by_row, complete, within
from graft.plan import explain
from graft.rivals import Asked, described, fitted
from graft.scratch import blank, scratch, smaller
from photos import draw, encode

SHORT = Budget(seconds=10, firm=False)
TINY = ("--backbone", "tiny/shapes", "--budget", "10s", "--quiet")


def card(folder: Path) -> Any:
    return json.loads((folder / "card.json").read_text())


# ── photos ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with none, one or two things in them, named in a CSV and in JSON lines; and discs, with their sizes."""
    place, rng = tmp_path_factory.mktemp("shown"), np.random.default_rng(0)
    with (place / "things.csv").open("w", newline="") as table, (place / "things.jsonl").open("w") as lines:
        writer = csv.writer(table)
        writer.writerow(["path", "labels"])
        for number in range(120):
            things = list(rng.permutation(("disc", "square", "stripes"))[: rng.choice(3, p=[0.15, 0.45, 0.4])])
            picture = Image.new("RGB", (96, 64), tuple(int(v) for v in rng.uniform(0, 255, 3)))
            for at, thing in enumerate(things):
                picture.paste(draw(thing, (48, 64), rng), (48 * at, 0))
            (place / f"{number}.jpg").write_bytes(encode(picture, quality=90))
            writer.writerow([f"{number}.jpg", "|".join(things)])
            lines.write(json.dumps({"path": f"{number}.jpg", "labels": things}) + "\n")
    with (place / "discs.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["path", "radius", "offset"])
        y, x = np.mgrid[:64, :80]
        for number in range(120):
            radius, offset = rng.uniform(6, 28), rng.uniform(-12, 12)
            pixels = rng.normal(0, 8, (64, 80, 3)) + rng.uniform(30, 100)
            pixels[np.hypot(x - 40 - offset, y - 32) < radius] += rng.uniform(60, 120)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"d{number}.jpg", quality=92)
            writer.writerow([f"d{number}.jpg", f"{radius * 250:.1f}", f"{offset:.2f}"])  # micrometres, pixels
    return place


def on_the_test_part(task: graft.Task, row: str, monkeypatch: pytest.MonkeyPatch) -> float:
    """What a row of a linear probe's report scores where no folds are made."""
    monkeypatch.setattr("graft.folds.SMALL", 0)
    run = graft.adapt(task, graft.plan(task, graft.rank(task, ["tiny/shapes"], SHORT)[0], "linear_probe", SHORT))
    return {one.name: one.score for one in graft.verify(task, run, SHORT).rows}[row]


def test_several_labels_of_photos(tiny_home, shown, tmp_path, monkeypatch) -> None:
    listed, split = (
        graft.load(shown / "things.jsonl"),
        graft.load(shown / "things.csv", head="multilabel"),
    )
    assert listed.head == "multilabel"
    assert listed.outputs == split.outputs == ("disc", "square", "stripes")
    assert (listed.train.targets, listed.val.ids) == (split.train.targets, split.val.ids)
    options = ["--head", "multilabel", *TINY, "--strategy", "linear_probe", "--out", tmp_path / "model"]
    done = ran("transfer", shown / "things.csv", *options)
    assert done.returncode == 0, done.stderr
    assert "(mean F1 of an example's labels)" in done.stdout
    kept = card(tmp_path / "model")
    report = from_dict(Report, kept["report"])
    assert {row.name for row in report.rows} == {"adapted", "pixels", "trivial", "scratch"}
    assert {one.metric for one in report.slices} == {"sample_f1"}
    assert {one.name for one in report.slices} >= {"with disc", "with square", "with stripes"}
    assert "Part by part (F1 of an example; in brackets" in words.report(report)

    told = json.loads((tmp_path / "model" / "report.json").read_text())["exhibits"]
    tests, dots = told["parts"]["test"], told["dots"]  # those of the test part first
    assert len(dots) == tests + told["parts"]["val"]
    assert sum(dot["truth"] != dot["answer"] for dot in dots[:tests]) == told["wrong"]
    assert "none" in (tmp_path / "model" / "report.html").read_text()

    task = graft.load(shown / "things.csv", head="multilabel")
    y = take("heads", "multilabel").array(task.test.part.targets, 3)
    answers = json.loads(ran("predict", tmp_path / "model", *task.test.part.items, "--json").stdout)
    given = np.array([[name in answer["labels"] for name in task.outputs] for answer in answers])
    both, sizes = (given & (y > 0)).sum(1), given.sum(1) + (y > 0).sum(1)
    f1 = np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), 1.0)  # by hand
    assert on_the_test_part(task, report.ships, monkeypatch) == pytest.approx(f1.mean())
    for answer in answers:
        assert {name for name, score in answer["scores"].items() if score > 0.5} == set(answer["labels"])


def test_quantities_of_photos_are_learned_from_plain_views(tiny_home, shown, tmp_path, monkeypatch) -> None:
    task = graft.load(shown / "discs.csv", head="regression", label="radius,offset")
    assert task.outputs == ("radius", "offset")
    evidence = graft.rank(task, ["tiny/shapes"], SHORT)[0]
    assert evidence.views == ()  # a mirrored photo shows another offset, a cropped one another radius
    assert set(evidence.scores) == {"probe"}
    chosen = graft.plan(task, evidence, "lp_ft", Budget(seconds=60))
    assert "plain views" in explain(chosen)
    options = ["--head", "regression", "--label", "radius,offset", *TINY, "--strategy", "linear_probe"]
    done = ran("transfer", shown / "discs.csv", *options, "--out", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    report = from_dict(Report, card(tmp_path / "model")["report"])
    assert [note[:35] for note in report.notes if note.startswith("In the unit")] == [
        "In the unit of radius, the adapted ", "In the unit of offset, the adapted "
    ]  # fmt: skip
    test = task.test.open("a test of quantities")
    answers = json.loads(ran("predict", tmp_path / "model", *test.items, "--json").stdout)
    told, y = np.array([[*answer["values"].values()] for answer in answers]), np.array(test.targets)
    r2 = (1 - ((told - y) ** 2).mean(0) / y.var(0)).mean()
    assert on_the_test_part(task, report.ships, monkeypatch) == pytest.approx(r2, abs=1e-4)
    assert r2 > 0.5
    assert np.abs(told[:, 0] - y[:, 0]).mean() < 1500  # micrometres
    shown_words = ran("predict", tmp_path / "model", test.items[0]).stdout
    assert shown_words.startswith(f"{test.items[0]}: radius ")
    assert ", offset " in shown_words


# ── tables: fair rivals ───────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(place: Path, x: np.ndarray, label: str, y: Sequence[Any]) -> Path:
    with place.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                [*(f"c{k}" for k in range(x.shape[1])), label],
                *([*map(repr, row), t] for row, t in zip(x.tolist(), y, strict=True)),
            ]
        )
    return place


def test_thresholds_of_baselines_are_chosen_by_validation(home, tmp_path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6))
    there = x @ rng.normal(size=(6, 4)) + rng.logistic(size=(300, 4)) > np.array([0, 1, 2, 2.5])
    y = ["|".join(name for name, t in zip("abcd", row, strict=True) if t) for row in there]
    task = graft.load(rows_of(tmp_path / "t.csv", x, "labels", y), head="multilabel", label="labels")
    head, count = take("heads", "multilabel"), len(task.outputs)
    val = head.array(task.val.targets, count)
    for name, offset in (("columns", "bias"), ("boosting", "start")):
        method = take("baselines", name)
        seen = {part: described(name, task, each) for part, each in (("train", task.train), ("val", task.val))}
        plain = method.fit(seen["train"], head.array(task.train.targets, count), Asked(head, task), count, task.seed)
        moved = fitted(name, task)
        said = method.predict(plain, seen["val"])
        np.testing.assert_allclose(moved[offset], plain[offset] - head.thresholds(said, val))
        np.testing.assert_allclose(method.predict(moved, seen["val"]), said - head.thresholds(said, val), atol=1e-9)
        assert head.metric(method.predict(moved, seen["val"]), val, "micro_f1") >= head.metric(said, val, "micro_f1")


def test_rivals_count_classes_as_the_task_does(home, tmp_path) -> None:
    rng = np.random.default_rng(0)
    ill = rng.random(500) < 0.1
    x = rng.normal(size=(500, 6)) + ill[:, None] * np.array([1, 1, 1, 0, 0, 0])
    task = graft.load(rows_of(tmp_path / "t.csv", x, "label", np.where(ill, "ill", "well").tolist()))
    assert task.metric == "balanced_accuracy"
    head = take("heads", "classification")
    for name in ("columns", "boosting"):
        method = take("baselines", name)
        seen, y = described(name, task, task.train), np.array(task.train.targets)
        asked, plain = (method.fit(seen, y, each, 2, 0) for each in (Asked(head, task), head))
        held, true = described(name, task, task.test.part), np.array(task.test.part.targets)
        gain, before = (head.metric(method.predict(state, held), true, task.metric) for state in (asked, plain))
        assert gain > before + 0.05, name


def test_answers_that_look_at_nothing_suit_the_metric() -> None:
    y = np.array([[0.0], [1.0], [2.0], [3.0], [1000.0]])
    regression, several = take("heads", "regression"), take("heads", "multilabel")
    assert regression.constant(y, 1, "mae") == [2.0]
    assert regression.constant(y, 1) == [201.2]
    rare = np.zeros((10, 2))
    rare[:3, 0] = 1
    assert (several.constant(rare, 2) > 0).tolist() == [False, False]  # nothing is right for most
    assert (several.constant(rare, 2, "micro_f1") > 0).tolist() == [True, False]


# ── tags ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

SYLLABLES = ("ba", "re", "lo", "min", "tor", "ka", "vel", "ni", "sho", "dra", "gu", "pel", "ost", "wi", "ma", "fen")
SENTENCES = (
    "P works for O in C .", "P flew from C to C .", "O opened an office near C .", "The report was written by P .",
    "Nobody at O answered the phone .", "It rained in C , said P .", "P left O after ten years .", "O sued O .",
)  # fmt: skip


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of people, firms and places with names of no meaning: what they are is told by the words around."""
    draw_from, place = random.Random(0), tmp_path_factory.mktemp("tagged") / "names.jsonl"

    def name() -> str:
        return "".join(draw_from.choices(SYLLABLES, k=2)).capitalize()

    with place.open("w") as file:
        for number in range(64):
            tokens, tags = [], []
            for word in draw_from.choice(SENTENCES).split():
                kind = {"P": "PER", "O": "ORG", "C": "LOC"}.get(word)
                found = [word] if kind is None else [name() for _ in range(2 if kind == "PER" else 1)]
                tokens += found
                tags += ["O"] * len(found) if kind is None else [f"B-{kind}", *[f"I-{kind}"] * (len(found) - 1)]
            if number == 5:  # a word of which no tokenizer makes a token has an answer too
                tokens, tags = [*tokens, "\u200b"], [*tags, "O"]
            file.write(json.dumps({"tokens": tokens, "tags": tags[: -1 if number == 9 else None]}) + "\n")
    return place


def entities(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """(first, behind the last, type) of a well-formed or ill-formed BIO sequence, as conlleval reads it."""
    found, start, kind = set(), None, ""
    for at, tag in enumerate([*tags, "O"]):
        role, _, type_ = tag.partition("-")
        if start is not None and (role != "I" or type_ != kind):
            found.add((start, at, kind))
            start = None
        if role != "O" and start is None:
            start, kind = at, type_
    return found


@pytest.mark.weights
def test_tags_step_by_step(weights_home, tagged, tmp_path, capsys) -> None:
    asked = ["--head", "tagging", "--label", "tags", "--read", "columns=tokens", "--quiet"]
    choice = ["--backbone", "package/minilm", "--budget", "15s"]
    task = graft.load(tagged, head="tagging", label="tags", columns="tokens")
    assert graft.load(tagged).head == "tagging"  # as many labels as words
    assert (task.modality, task.metric, task.outputs[0]) == ("text", "entity_f1", "O")
    assert any("words and" in why and "each word needs one" in why for _, why in task.audit.skipped)

    def step(name: str, *options: object) -> Path:
        status = here(name, tagged, *asked, *options)
        done = capsys.readouterr()
        assert status == 0, done.err
        (tmp_path / f"{name}.json").write_text(done.out)
        return tmp_path / f"{name}.json"

    ranking = json.loads(step("rank", *choice).read_text())
    assert set(ranking["evidence"][0]["scores"]) == {"probe"}
    assert ranking["metric"] == "entity_f1"
    assert "(F1 of entities, cross-validated" in ranking["evidence"][0]["why"][0]
    tuned = step("plan", *choice, "--strategy", "lp_ft", "--ranking", tmp_path / "rank.json")
    assert [phase["solver"] for phase in json.loads(tuned.read_text())["phases"]] == ["exact", "adamw"]
    plan = step("plan", *choice, "--strategy", "linear_probe", "--ranking", tmp_path / "rank.json")
    run = step("adapt", "--plan", plan)
    report = step("verify", "--run", run, "--budget", "5s")
    rows = {row["name"]: row for row in json.loads(report.read_text())["rows"]}
    assert set(rows) == {"adapted", "trivial", "wordtags", "scratch"}
    assert rows["trivial"]["score"] == 0
    shipped = json.loads(report.read_text()) | {"ships": "adapted"}  # whatever is best here: the network is tried
    report.write_text(json.dumps(shipped))
    artifact = step("export", "--run", run, "--report", report, "--out", tmp_path / "model")
    assert json.loads(artifact.read_text())["parity"] <= 1e-4
    assert list(card(tmp_path / "model")["schema_in"]) == ["x", "mask", "kind"]

    test = task.test.open("a test of tags")
    answers = json.loads(ran("predict", tmp_path / "model", tagged, "--json").stdout)
    by_item = {answer["input"]: answer for answer in answers}
    right = said = there = 0
    for item, target in zip(test.items, test.targets, strict=True):
        tags = [one["tag"] for one in by_item[item]["tags"]]
        mine, true = entities(tags), entities([task.outputs[at] for at in target])
        assert len(tags) == len(target)
        assert {(e["start"], e["end"], e["type"]) for e in by_item[item]["entities"]} == mine
        right, said, there = right + len(mine & true), said + len(mine), there + len(true)
    assert rows["adapted"]["score"] == pytest.approx(2 * right / (said + there), abs=1e-6)

    kept = finished(json.loads(run.read_text())["key"])
    assert kept is not None
    dots = gathered(task, kept, from_dict(Report, shipped), examples=False).exhibits.dots
    assert len(dots) == sum(map(len, (*test.targets, *task.val.targets)))  # a dot for every word
    assert {dot.truth for dot in dots} == {tag for part in (test, task.val) for tags in part.targets for tag in tags}
    spoken, y = logits(task, kept, task.val, on="cpu")
    best = spoken[y[:, 0] >= 0].argmax(1)
    tags = [one["tag"] for item in task.val.items for one in by_item[item]["tags"]]
    assert [task.outputs[at] for at in best] == tags
    (one,) = graft.open(tmp_path / "model").predict("Anna Novak flew to Oslo")
    assert [each["word"] for each in one["tags"]] == ["Anna", "Novak", "flew", "to", "Oslo"]
    (two,) = graft.open(tmp_path / "model").predict([["Anna", "Novak", "flew", "to", "Oslo"]])
    assert two["tags"] == one["tags"]


@pytest.mark.weights
def test_a_small_network_from_scratch_reads_with_the_adapted_ones_tokenizer(weights_home, tmp_path) -> None:
    rows = [{"text": f"{'good' if k % 2 else 'bad'} thing {k}", "label": "no" if k % 2 else "yes"} for k in range(120)]
    (tmp_path / "said.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task, backbone = graft.load(tmp_path / "said.jsonl", label="label"), graft.find("package/minilm")
    plan = Plan(backbone, task.head, "linear_probe", (Phase(("head",), solver="exact"),))
    run = Run("", task.key, plan, 0, "", (), 0.0, Cost(seconds=1.0))
    made = scratch(task, run, asked(task, distinct(task.test.part)), smaller(task, run, blank(task, run)), 1.0)
    assert made.row.score > 0.9
    tokenizer = finished(made.row.run).plan.backbone.input["tokenizer"]
    assert tokenizer == backbone.input["tokenizer"] != graft.find("tiny/phrases").input["tokenizer"]


@pytest.mark.weights
def test_long_texts_are_cut_and_every_word_counts(weights_home) -> None:
    text, tagging = take("modalities", "text"), take("heads", "tagging")
    backbone = graft.find("package/minilm")
    graft.build(backbone, "tagging", 3)  # its tokenizer is here from now on
    input = text.parse({**backbone.input, "window": 12, "most": 2})
    example = [f"word{number}" for number in range(30)]
    one = text.prepare(example, input)
    assert len(one["x"]) <= 24
    reached = int(one["word"].max()) + 1
    assert 3 < reached < 30
    assert sorted(set(one["word"][one["word"] >= 0])) == list(range(reached))
    target = np.arange(30) % 3
    y = tagging.aligned(target, one, 0)
    assert y[y[:, 0] >= 0, 0].tolist() == target[:reached].tolist()
    rng = np.random.default_rng(0)
    said, whole = complete(rng.normal(size=(len(y), 3)), y, tagging.array([target], 3))
    assert whole.tolist() == [[tag, 0] for tag in target]
    assert said[reached:].argmax(1).tolist() == [0] * (30 - reached)
    odd = text.prepare(["a", "\u200b", " ", "b"], input)
    assert odd["word"][odd["word"] >= 0].tolist() == [0, 1, 2, 3]


def test_rows_of_words_by_hand() -> None:
    whole = take("heads", "tagging").array([(0, 1, 2), (1,), (2, 0)], 3)
    assert by_row(whole).tolist() == [[0, 0], [1, 0], [2, 0], [1, 1], [2, 2], [0, 2]]
    y = np.array([[-1, 0], [0, 0], [1, 0], [-1, 1], [1, 1], [2, 2], [-1, 2]])  # the last words of two texts were cut
    said, full = complete(np.arange(21.0).reshape(7, 3), y, whole)
    assert full.tolist() == by_row(whole).tolist()
    np.testing.assert_array_equal(said[[0, 1, 3, 4]], np.arange(21.0).reshape(7, 3)[[1, 2, 4, 5]])
    assert said[[2, 5]].tolist() == [[1, 0, 0]] * 2
    assert within(full, np.array([True, False, True])).tolist() == [True, True, True, False, True, True]


def test_a_classical_tagger_learns_what_stands_beside_a_word() -> None:
    method, tagging = take("baselines", "wordtags"), take("heads", "tagging")
    rng = random.Random(0)
    names = ["".join(rng.choices("bcdfgaeiou", k=5)) for _ in range(200)]
    texts = [["at", name, "today"] if k % 2 else ["by", name, "today"] for k, name in enumerate(names)]
    y = tagging.array([(0, 1, 0) if k % 2 else (0, 2, 0) for k in range(200)], 3)
    seen = [method.describe(text) for text in texts]
    state = method.fit(seen[:150], y[:150], tagging, 3, 0)
    said = method.predict(state, seen[150:])
    assert said.shape == (150, 3)
    assert (said.argmax(1) == by_row(y[150:])[:, 0]).mean() == 1  # names never seen before
    assert method.predict(state, [method.describe(["quite", "unseen"])]).shape == (2, 3)


# ── what is said ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_figures_by_hand() -> None:
    assert [figures.score(0.931, m) for m in ("accuracy", "entity_f1")] == ["93.1 %"] * 2
    assert figures.score(-0.4927, "r2") == "-0.493"
    assert [figures.score(-v, "mae") for v in (43.21, 234567.8, 0.000123456, 0.0)] == [
        "43.2",
        "235000",
        "0.000123",
        "0",
    ]
    assert figures.interval(-12.0, -8.0, "rmse") == "8 to 12"
    assert figures.interval(0.5, 0.75, "r2") == "0.500 to 0.750"
    assert [figures.gain(0.053, m, sign=True) for m in ("accuracy", "r2", "mae")] == ["+5.3", "+0.053", "+0.053"]
    assert [figures.points(m) for m in ("micro_f1", "r2", "mae")] == [" points", "", ""]
    assert (figures.best("mae"), figures.best("r2")) == (0, 1)
    assert figures.around(-43.2, 2.15, "rmse") == "43.2 ± 2.15"


@pytest.mark.parametrize(
    ("head", "per_class", "score", "metric", "says"),
    [
        ("classification", 7, 0.7, "accuracy", "There are 7 training examples of the rarest class, under 8"),
        ("regression", 30, 0.4, "r2", "There are 30 training examples, under 40"),
        ("multilabel", 120, 0.7, "sample_f1", "The probe leaves 30.0 points to gain, over its standard error of 2.0 p"),
        (
            "regression",
            120,
            -43.2,
            "mae",
            "The probe leaves 43.2 to gain, over its standard error of 0.02, with 120 tr",
        ),
        ("tagging", 120, 0.99, "entity_f1", "What the probe leaves to gain, 1.0 points, is within its standard error"),
    ],
)
def test_auto_says_what_there_is(tiny_home, photos, head, per_class, score, metric, says) -> None:
    task = graft.load(photos)
    evidence = graft.rank(task, ["tiny/shapes"], SHORT)[0]
    curve = tuple(replace(stage, score=score, error=0.02) for stage in evidence.stage_curve)
    count = 120 if head == "classification" else per_class
    other = replace(evidence, stage_curve=curve, per_class=per_class, n_train=count, n_used=count)
    chosen = graft.plan(replace(task, head=head, metric=metric), replace(other, views=()), "auto", Budget(seconds=600))
    assert chosen.why[0].startswith(says), chosen.why
    assert "class" not in chosen.why[0] or head == "classification"


@pytest.mark.parametrize(
    ("metric", "scores"), [("r2", (-0.4, 0.3, 0.6)), ("mae", (-900.0, -43.0, -40.0)), ("micro_f1", (0, 0.4, 1))]
)
def test_pictures_of_any_score(home, metric, scores) -> None:
    rows = tuple(
        Row(name, score, score - 0.3 * abs(score) - 0.01, score + 0.3 * abs(score) + 0.01, score, cost=Cost(1, 1))
        for name, score in zip(("trivial", "columns", "adapted"), scores, strict=True)
    )
    report = Report(
        "t", "r", metric, "inconclusive", "said.", "columns", (0.0, -1.0, 1.0), rows, "adapted", (0,), 1, ("a",), 9
    )
    backbone = graft.find("blank/mlp")
    curve = tuple(StageProbe(f"s{k}", score, 0.1, 0.1, 4) for k, score in enumerate(scores))
    evidence = Evidence(backbone, {"probe": scores[-1]}, curve, 9, 9)
    ranked = graft.Ranking(
        "t", (evidence, replace(evidence, scores={"probe": scores[0]})), random=scores[1], metric=metric
    )
    beside = Exhibits(
        "t", "vector", "regression", ("row", "rows"), ("y",), {}, "blank/mlp", False, "linear_probe",
        ranking=(Candidate("blank/mlp", scores[-1], 0.1, ""), Candidate("other", scores[0], 0.1, "")),
        stages=tuple(Stage(f"s{k}", score, 0.1) for k, score in enumerate(scores)), steps=(Step("head", 3, 3),),
    )  # fmt: skip
    unit = -1.0 if metric == "mae" else 100.0 if metric == "micro_f1" else 1.0  # errors without their sign, shares in %
    bars = [bar.get_width() for bar in ladder(report, beside).axes[0].patches]
    np.testing.assert_allclose(sorted(bars), sorted(unit * score for score in scores))
    dots = [line.get_xdata()[0] for line in ranking(report, beside).axes[0].lines if line.get_marker() == "o"]
    assert dots == pytest.approx([unit * scores[-1], unit * scores[0]])
    (curve,) = [line.get_ydata() for line in stages(report, beside).axes[0].lines if line.get_marker() == "o"]
    assert list(curve) == pytest.approx([unit * score for score in scores])
    told = words.report(report) + words.ranking(ranked)
    assert ("%" in told) == (metric == "micro_f1")
    assert "--" not in told
