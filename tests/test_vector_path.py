"""The whole path on tables of numbers, as users walk it: a source, a target that shares some columns, quantities."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import graft
from command import here, ran
from conftest import at_home
from graft import words
from graft.adapt import finished
from graft.adapt import logits as answers_of
from graft.build import examples, find, reading
from graft.core.nouns import Budget, Sealed
from graft.core.shelf import take
from graft.data.dataset import content
from graft.folds import distinct, folds
from graft.model.distance import distance
from graft.rivals import described

SHORT = Budget(seconds=10, firm=False)
PATH = ("--backbone", "blank/mlp", "--budget", "10s", "--quiet")


def table(
    place: Path, columns: Sequence[str], x: np.ndarray, label: str, y: Iterable[Any], holes: float = 0.0, **more: Any
) -> Path:
    """A CSV file of numbers with some values missing, other columns before them, and the labels last."""
    rng = np.random.default_rng(0)
    with place.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*more, *columns, label])
        for number, (row, target) in enumerate(zip(x, y, strict=True)):
            cells = ["" if rng.random() < holes else f"{value:.7g}" for value in row]
            writer.writerow([*(values[number] for values in more.values()), *cells, target])
    return place


def decoded(task: graft.Task, part: Any) -> np.ndarray:
    """The rows of a part as the task reads them: (n, columns and levels), NaN where missing."""
    return np.asarray(described("columns", task, part), np.float64)


def trials(task: graft.Task, report: dict[str, Any]) -> Iterator[tuple[np.ndarray, ...]]:
    """What is learned from and what is asked, numbers and targets, in every fold that the report compares over."""
    test = distinct(task.test.open("a test by hand"))
    whole = [fold for repeat in range(report["repeats"]) for fold in folds(task, test, repeat)]
    for one in whole if report["folds"] else [replace(task, test=Sealed(test))]:
        parts = (one.train, one.test.part)
        yield tuple(made for part in parts for made in (decoded(task, part), np.array(part.targets)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source table, and a target one that another instrument has measured: fewer columns, reordered."""
    folder, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    found = datasets.load_breast_cancer()
    names = [name.replace(" ", "_") for name in found.feature_names]
    kinds = np.array(found.target_names)[found.target]
    order = rng.permutation(len(kinds))
    source, target = order[:300], order[300:520]
    sites = rng.choice(["Graz", "Lyon", "Oslo"], len(kinds))
    table(folder / "source.csv", names, found.data[source], "diagnosis", kinds[source], 0.04,
          id=source + 1000, site=sites[source])  # fmt: skip
    fewer = rng.permutation(30)[:20]
    moved = found.data * rng.uniform(0.5, 2, 30) + rng.normal(0, 1, 30) * found.data.std(0)
    table(folder / "target.csv", [names[c] for c in fewer], moved[target][:, fewer], "diagnosis", kinds[target], 0.04,
          id=target + 9000, site=sites[target])  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def vector_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vectors") / "home"


@pytest.fixture
def vector_home(vector_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, shared by the tests of this file: what one computes, others find."""
    return at_home(monkeypatch, vector_place)


@pytest.fixture(scope="module")
def walked(vector_place: Path, place: Path) -> tuple[dict[str, Any], Path, str]:
    """A source run from random weights, then the target from what it has learned: artifact, folder, key of the run."""
    with pytest.MonkeyPatch.context() as patch:
        at_home(patch, vector_place)
        taught = ran("adapt", place / "source.csv", *PATH, "--strategy", "full")
        assert taught.returncode == 0, taught.stderr
        key = json.loads(taught.stdout)["key"]
        options = ["--backbone", f"checkpoint/{key}", "--budget", "10s", "--quiet", "--json"]
        done = ran("transfer", place / "target.csv", *options, "--out", place / "model")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), place / "model", key


def card(folder: Path) -> Any:
    return json.loads((folder / "card.json").read_text())


def test_a_target_starts_from_a_source_with_other_columns(walked, vector_home, place) -> None:
    artifact, folder, key = walked
    report = card(folder)["report"]
    rows = {row["name"]: row for row in report["rows"]}
    assert set(rows) - {"linear_probe"} == {"adapted", "columns", "boosting", "trivial", "scratch"}
    assert artifact["verdict"] in ("positive", "inconclusive", "negative")
    assert artifact["parity"] <= 1e-4
    assert artifact["predict"].endswith("model new.csv")
    assert rows["adapted"]["score"] > rows["trivial"]["score"] + 0.15
    assert "fed 23," in rows["scratch"]["note"]  # its own twenty columns and three sites, not the source's
    assert "test rows" in report["sentence"] or "rows it has never seen" in report["sentence"]
    backbone = find(f"checkpoint/{key}")
    assert backbone.pretrained_on == "source"
    why = graft.rank(graft.load(place / "target.csv"), [backbone.id], SHORT)[0].why
    assert any("lacks 10 of the backbone's 31 columns" in sentence for sentence in why)


def test_answers_are_those_of_the_network(walked, vector_home, place, tmp_path) -> None:
    _, folder, _ = walked
    task = graft.load(place / "target.csv")
    predictor = graft.open(folder)
    with (place / "target.csv").open() as file:
        rows = list(csv.DictReader(file))
    bare = tmp_path / "new.csv"
    with bare.open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in reversed(rows[0]) if name not in ("diagnosis", "id")])
        writer.writeheader()
        writer.writerows({name: row[name] for name in writer.fieldnames} for row in rows[:6])
    told = json.loads(ran("predict", folder, bare, "--json").stdout)
    assert [answer["input"] for answer in told] == [f"{bare}#{number}" for number in range(1, 7)]
    assert json.loads(ran("predict", folder, f"{bare}#3", "--json").stdout) == [told[2]]
    known = json.loads(ran("predict", folder, place / "target.csv", "--json").stdout)
    by_dict = predictor.predict(rows[:6])
    text = json.dumps({name: value for name, value in rows[0].items() if name != "diagnosis"})
    (spoken,) = json.loads(ran("predict", folder, text, "--json").stdout)
    for one, other, third in zip(told, known, by_dict, strict=False):
        assert one["probabilities"] == other["probabilities"] == third["probabilities"]
    assert spoken["probabilities"] == told[0]["probabilities"]
    if run := finished(card(folder).get("run", "")):
        logits = answers_of(task, run, task.val)[0] / card(folder)["trust"]["temperature"]
        shifted = np.exp(logits - logits.max(1, keepdims=True))
        expected = shifted / shifted.sum(1, keepdims=True)
        answers = {answer["input"]: answer["probabilities"] for answer in known}
        got = [[answers[item][label] for label in task.outputs] for item in task.val.items]
        np.testing.assert_allclose(got, expected, atol=2e-5)
    assert "error" in predictor.predict("nowhere.csv")[0]
    assert "None of its" in predictor.predict(dict.fromkeys(rows[0], ""))[0]["error"]


def test_values_that_were_not_learned_from_are_answered_with_a_word(walked, vector_home, place, tmp_path) -> None:
    _, folder, _ = walked
    task = graft.load(place / "target.csv")
    seen, known = decoded(task, task.train), card(folder)["ranges"]
    for at, name in enumerate(task.reading["columns"]):
        assert known[name] == pytest.approx([np.nanmin(seen[:, at]), np.nanmax(seen[:, at])], rel=1e-5)
    first, second, *_ = known
    row = dict(zip(task.reading["columns"], seen[0, : len(known)].tolist(), strict=True)) | {"site": "Graz"}
    plain = {name: None if value != value else value for name, value in row.items()}
    odd = plain | {first: "abc", second: 9e9, "site": "Paris"}
    said = [
        f"{first}: 'abc' is no number, taken as missing",
        f"{second}: 9e+09 lies beyond the {known[second][0]:g} to {known[second][1]:g} of the training rows",
        "site: 'Paris' was in no training row",
    ]
    (told,) = json.loads(ran("predict", folder, json.dumps(odd), "--json").stdout)
    assert told["odd"] == said
    assert told["unlike"]
    assert ran("predict", folder, json.dumps(odd)).stdout.endswith(
        f" [unlike what it learned from] [{'; '.join(said)}]\n"
    )
    with (tmp_path / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*odd])
        writer.writeheader()
        writer.writerows([odd, plain])
    from_table, familiar = graft.open(folder).predict(tmp_path / "new.csv")
    assert (from_table["odd"], from_table["probabilities"]) == (said, told["probabilities"])
    assert "odd" not in familiar
    assert not familiar.get("unlike")
    without, stray = graft.open(folder).predict([plain | {first: None}, plain | {first: "abc"}])
    assert stray["probabilities"] == without["probabilities"]  # taken as missing
    assert stray.get("unlike") == without.get("unlike")
    graft.convert(folder, [], tmp_path / "private", examples=False)
    assert not {"ranges", "slack"} & card(tmp_path / "private").keys()
    assert card(folder)["slack"] >= 0.1
    assert graft.open(tmp_path / "private").predict([odd])[0]["odd"] == [said[0], said[2]]
    lying = card(folder) | {"ranges": {first: "everything"}}
    (tmp_path / "private" / "card.json").write_text(json.dumps(lying | {"files": card(tmp_path / "private")["files"]}))
    with pytest.raises(graft.ExportMismatch, match=r"card\.json is damaged"):
        graft.open(tmp_path / "private")


def test_baselines_do_what_scikit_learn_does(walked, vector_home, place) -> None:
    _, folder, _ = walked
    task = graft.load(place / "target.csv")
    linear = make_pipeline(
        SimpleImputer(strategy="median"),
        StandardScaler(),
        LogisticRegressionCV(Cs=10, use_legacy_attributes=False, l1_ratios=(0,), scoring="accuracy"),
    )
    boosted = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=150, random_state=0)
    report = card(folder)["report"]
    rows = {row["name"]: row["score"] for row in report["rows"]}
    for name, theirs in (("columns", linear), ("boosting", boosted)):
        scores = [(theirs.fit(x, y).predict(ask) == true).mean() for x, y, ask, true in trials(task, report)]
        assert rows[name] == pytest.approx(np.mean(scores), abs=0.07), name


def test_the_probe_is_that_of_the_same_features(walked, vector_home, place) -> None:
    task = graft.load(place / "source.csv")
    evidence = graft.rank(task, ["blank/mlp"], SHORT)[0]
    raw = examples(task, task.train, evidence.backbone)
    chain, _ = graft.build(evidence.backbone, task.head, 2)
    prefix, _ = chain.split(len(chain.stages), evidence.form)
    h = graft.features(prefix, raw).read(np.arange(len(raw)), np.zeros(len(raw), int))["h"].numpy()
    theirs = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(Cs=10, use_legacy_attributes=False, l1_ratios=(0,), scoring="accuracy"),
    )
    said = cross_val_predict(theirs, h, raw.targets, cv=5)
    assert evidence.scores["probe"] == pytest.approx(np.mean(said == raw.targets), abs=0.04)
    assert set(evidence.scores) == {"probe", "knn", "logme"}


def test_a_blank_network_transfers_nothing_and_says_so(vector_home, tmp_path) -> None:
    found = datasets.load_wine()
    np.savez(tmp_path / "wine.npz", X=found.data, y=np.array(found.target_names)[found.target])
    done = ran("transfer", tmp_path / "wine.npz", *PATH, "--strategy", "linear_probe", "--out", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("Nothing was transferred, since blank/mlp has no pretrained weights", "Transfer"))
    report = card(tmp_path / "model")["report"]
    assert report["verdict"] != "positive"
    assert not any("--backbone checkpoint/" in note for note in report["notes"])  # its network is as random as it was
    assert done.stdout.splitlines()[-2].endswith("model new.npz")
    predictor = graft.open(tmp_path / "model")
    many, one = predictor.predict(found.data), predictor.predict(found.data[5])
    assert len(many) == 178
    assert many[5]["probabilities"] == one[0]["probabilities"]
    right = np.mean([answer["label"] == found.target_names[k] for answer, k in zip(many, found.target, strict=True)])
    assert right > 0.9
    assert "13 numbers in their order" in predictor.predict(found.data[:, :12])[0]["error"]


@pytest.fixture(scope="module")
def progress(place: Path) -> Path:
    """Diabetes: whole numbers, too many different ones to be classes."""
    found = datasets.load_diabetes(scaled=False)
    return table(place / "diabetes.csv", found.feature_names, found.data, "progression", map(int, found.target), 0.03)


def test_quantities_in_the_user_s_unit(vector_home, place, progress) -> None:
    task = graft.load(progress, label="progression")
    assert (task.head, task.outputs, task.metric) == ("regression", ("progression",), "r2")
    options = ["--label", "progression", *PATH, "--strategy", "lp_ft"]
    done = ran("transfer", progress, *options, "--out", place / "progress")
    assert done.returncode == 0, done.stderr
    report = card(place / "progress")["report"]
    rows = {row["name"]: row for row in report["rows"]}
    ridge = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), RidgeCV(np.logspace(-2, 4, 20)))
    said = [
        (true, ridge.fit(x, y).predict(ask), np.full(len(true), y.mean())) for x, y, ask, true in trials(task, report)
    ]
    whole = np.split(np.concatenate(said, axis=1), report["repeats"], axis=1)
    linear, mean = (np.mean([r2_score(one[0], one[at]) for one in whole]) for at in (1, 2))
    assert rows["columns"]["score"] == pytest.approx(linear, abs=0.04)
    assert rows["trivial"]["score"] == pytest.approx(mean, abs=1e-6)
    assert any(note.startswith("In the unit of progression, the adapted model is off by") for note in report["notes"])
    assert {one["metric"] for one in report["slices"]} == {"mae"}
    assert all(20 < -one["score"] < 120 for one in report["slices"])
    assert "%" not in words.slices(graft.core.codec.from_dict(graft.core.nouns.Report, report))
    assert "(R²)" in report["sentence"]
    assert "points" not in report["sentence"]
    answers = json.loads(ran("predict", place / "progress", progress, "--json").stdout)
    told = np.array([answer["value"] for answer in answers])
    assert np.corrcoef(told, datasets.load_diabetes().target)[0, 1] > 0.5


def test_the_unit_does_not_matter(vector_home, tmp_path) -> None:
    """The same rows with a target in thousandths and in millions: the same split, the same R², and parity."""
    found, said = datasets.load_diabetes(scaled=False), []
    for unit in (1e-3, 1e6):
        target = (found.target[:160] + 0.25) * unit
        place = table(tmp_path / "t.csv", found.feature_names, found.data[:160], "cost", target)
        task = graft.load(place, label="cost")
        evidence = graft.rank(task, ["blank/mlp"], SHORT)[0]
        run = graft.adapt(task, graft.plan(task, evidence, "linear_probe", SHORT))
        assert run.history[-1].val_loss < 2  # in shares of the variance, whatever the unit
        said.append((evidence.scores["probe"], run.score, run.history[-1].val_loss))
    assert said[0] == pytest.approx(said[1], abs=1e-4)
    artifact = graft.export(task, run, graft.verify(task, run, Budget(seconds=6, firm=False)), tmp_path / "model")
    assert artifact.parity <= 1e-4  # of the targets' spread: a millionth of them is nothing


def test_another_unit_and_another_zero_are_fed_alike(walked, vector_home, place) -> None:
    task, backbone, vector = (
        graft.load(place / "target.csv"),
        find(f"checkpoint/{walked[2]}"),
        take("modalities", "vector"),
    )
    read, stated = reading(task), vector.parse(backbone.input)
    raws = [vector.decode(content(task.train, at, vector, read), read) for at in range(len(task.train))]
    count, fed = len(read.columns), []
    for scale, shift in ((1.0, 0.0), (1000.0, 500.0)):
        moved = [replace(raw, values=np.append(raw.values[:count] * scale + shift, raw.values[count:])) for raw in raws]
        input = vector.parse(vector.suited(backbone.input, read, moved))
        assert input.columns == stated.columns
        fed.append(np.array([vector.prepare(raw, input)["x"] for raw in moved]))
    np.testing.assert_allclose(fed[0], fed[1], atol=1e-4)
    few = vector.parse(vector.suited(backbone.input, read, raws[:10]))
    assert few.centre == pytest.approx(stated.centre)  # ten rows tell no middle: the source's stands


def test_parts_that_differ_are_told(vector_home, tmp_path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(360, 6))
    y = np.where(x[:, 0] + x[:, 1] > 0, "ill", "well")
    parts = np.repeat(["train", "val", "test"], [240, 60, 60])
    found = []
    for shift in (0.0, 1.5):
        moved = x + shift * (parts != "train")[:, None] * np.array([0, 0, 1, -1, 1, 0])
        place = table(tmp_path / f"{shift:g}.csv", list("abcdef"), moved, "label", y, split=parts)
        found.append(graft.rank(graft.load(place), ["blank/mlp"], SHORT))
    same, apart = (ranking[0] for ranking in found)
    assert same.domain_distance is not None
    assert apart.domain_distance is not None
    assert same.domain_distance < 0.4
    assert apart.domain_distance > 1
    assert not any("A-distance" in sentence for sentence in same.why)
    assert any("the parts differ" in sentence for sentence in apart.why)
    assert f"domain distance {apart.domain_distance:.2f}" in words.ranking(found[1])


def test_distances_by_hand() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 4)), rng.normal(size=(100, 4))
    near, error = distance(a, b)
    assert error == pytest.approx(2 * np.sqrt(0.25 * (1 / 200 + 1 / 100)))
    assert 0 <= near < 3 * error
    assert distance(a, b + 50)[0] == 2  # 2 (1 - 2 · 0)
    gap = distance(np.sign(a[:, :1]) * 0.0 - 1, np.append(-np.ones(20), np.ones(80))[:, None])[0]
    assert gap == pytest.approx(2 * (1 - 2 * 0.1), abs=0.02)  # a fifth of one of two sets is mistaken


BAD = (
    ("a,b,label\n" + "".join(f"{i},{i * i},x\n" for i in range(40)), [], "leaves one class, 'x', to learn"),
    ("a,b,label\n" + "1,2,x\n3,5,y\n" * 10, ["--label", "lable"], "has no column 'lable'. Did you mean label?"),
    ("a,b,y\n" + "".join(f"{i},{i * i},7\n" for i in range(40)), ["--head", "regression"], "the same y, 7"),
    ("a,b,y\n" + "".join(f"{i},{i * i},high\n" for i in range(40)), ["--head", "regression"], "'high' is no number"),
    ("a,b,y\n" + "".join(f"{i},{i % 7},x|y\n" for i in range(40)), ["--head", "multilabel"], "the same labels, x, y"),
    ("a,b,label\n" + "1,2,x\n3,5,y\n" * 10, ["--read", "columns=a,c"], "has no column 'c'"),
    ("name,note,label\n" + "".join(f"n{i},some words {i},{'xy'[i % 2]}\n" for i in range(40)), [], "no column of val"),
)


@pytest.mark.parametrize(("text", "options", "says"), BAD)
def test_bad_tables_are_refused_in_a_sentence(home, tmp_path, capsys, text, options, says) -> None:

    (tmp_path / "t.csv").write_text(text)
    assert here("load", tmp_path / "t.csv", "--modality", "vector", "--quiet", *options) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert not said.out


def test_text_in_a_column_of_numbers_is_said(home, tmp_path) -> None:
    rows = "".join(f"{i},{'n.d. today' if i == 3 else i % 7},{'xy'[i % 2]}\n" for i in range(40))
    (tmp_path / "t.csv").write_text("a,b,label\n" + rows)
    notes = graft.load(tmp_path / "t.csv").audit.notes
    assert any("1 of 40 values of 'b' are no finite numbers, such as 'n.d. today'" in note for note in notes)
