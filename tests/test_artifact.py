"""The artifact: what its folder holds, what it refuses to open, and that every form of it answers alike."""

import base64
import importlib
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graft
from command import cli, here
from conftest import at_home
from graft.core.codec import to_json
from graft.core.keys import file_sha256
from graft.core.nouns import Budget, Phase, Plan, Suspect
from graft.core.shelf import take
from graft.export import unplaced
from shipping import report

FAST = Budget(seconds=20, firm=False)
ONE = "tiny/shapes"


@pytest.fixture(scope="module")
def home(tiny_place):
    """The home that keeps the tiny backbones, for the whole file."""
    with pytest.MonkeyPatch.context() as patch:
        yield at_home(patch, tiny_place)


@pytest.fixture(scope="module")
def made(home, photos, tmp_path_factory):
    """A linear probe of the tiny backbone on photos, in every exact format: (task, run, report, folder)."""
    task = graft.load(photos)
    run = graft.adapt(task, graft.plan(task, graft.rank(task, [ONE], FAST)[0], "linear_probe", FAST))
    said = report(task, run)
    folder = tmp_path_factory.mktemp("made") / "shapes"
    graft.export(task, run, said, folder, formats=("torch_export", "openvino"))
    return task, run, said, folder


@pytest.fixture(scope="module")
def tuned(made, tmp_path_factory):
    """The same photos with every convolution behind the first stage tuned by LoRA, in eight bits too: (run, folder)."""
    task, folder = made[0], tmp_path_factory.mktemp("made") / "tuned"
    phases = (
        Phase(("head",), solver="exact"),
        Phase(("head", "stages[1:]"), adapter="lora", steps=12, lr=0.003, backbone_lr=1.0),
    )
    run = graft.adapt(task, Plan(graft.find(ONE), "classification", "x", phases))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(take("formats", "int8"), "BOUND", 1.0)  # nine photos show nothing closer
        graft.export(task, run, report(task, run), folder, formats=["int8"], examples=False)
    return run, folder


@pytest.fixture(scope="module")
def other(home, tmp_path_factory):
    """Other photos and labels, the same frozen backbone, no examples kept: (task, folder)."""
    from photos import photos as write_photos

    place = tmp_path_factory.mktemp("other")
    task = graft.load(write_photos(place / "photos", classes=2, each=14, seed=5))
    run = graft.adapt(task, graft.plan(task, graft.rank(task, [ONE], FAST)[0], "linear_probe", FAST))
    graft.export(task, run, report(task, run), place / "discs", examples=False)
    return task, place / "discs"


def card_of(folder: Path) -> dict:
    return json.loads((folder / "card.json").read_text())


def rewritten(folder: Path, copy: Path, change) -> Path:
    """A copy of an artifact with another card, its hashes true again, as somebody with bad intentions would make it."""
    shutil.copytree(folder, copy)
    card = card_of(copy)
    change(card, copy)
    card["files"] = {n: file_sha256(copy / n) if (copy / n).is_file() else "0" * 64 for n in card["files"]}
    (copy / "card.json").write_text(json.dumps(card))
    return copy


def in_torch(task, run, part) -> np.ndarray:
    """What the trained network answers, in memory: the oracle."""
    from graft.adapt import logits

    return logits(task, run, part, on="cpu")[0]


def test_the_card_says_what_it_takes_to_use_the_artifact(made):
    task, *_, folder = made
    card = card_of(folder)
    assert card["schema"] == 3
    assert card["labels"] == list(task.outputs)
    assert (card["input"]["size"], card["schema_in"]["x"]["shape"]) == ([32, 32], ["batch", 3, 32, 32])
    assert card["schema_out"]["logits"]["shape"] == ["batch", 3]
    assert card["trust"] == {"level": 0.9, "temperature": 1.25, "quantiles": [0.95]}
    assert card["license"] == "Apache-2.0"
    assert card["files"] == {n: sha256((folder / n).read_bytes()).hexdigest() for n in card["files"]}
    assert set(card["files"]) == {entry.name for entry in folder.iterdir()} - {"card.json"}
    assert not any(str(Path(graft.__file__).parent).encode() in entry.read_bytes() for entry in folder.iterdir())


def test_every_format_answers_as_the_trained_network(made):
    task, run, _, folder = made
    proof, right = card_of(folder)["proof"], in_torch(task, run, task.train)
    assert set(proof) == {"onnx", "torch_export", "openvino", "weights"}
    for name in ("onnx", "torch_export", "openvino"):
        assert (proof[name]["batches"], proof[name]["flipped"]) == ([1, 7], 0)
        assert proof[name]["examples"] == len(task.val) + len(task.train)
        predictor = graft.open(folder, name)
        np.testing.assert_allclose(predictor.logits(task.train.items), right, atol=1e-4)
    fed = predictor.prepared(task.val.items[:2])
    said = {n: graft.open(folder, n).compute(*zip(*fed, strict=True)) for n in ("onnx", "torch_export", "openvino")}
    for name in ("features", "novelty"):
        for form in ("torch_export", "openvino"):
            np.testing.assert_allclose(said[form][1][name], said["onnx"][1][name], atol=1e-5)
    with pytest.raises(graft.PlanError, match="holds no int8"):
        graft.open(folder, "int8")


def test_openvino_answers_where_it_was_asked_for_and_is_installed(made, monkeypatch):
    from graft.runtime import _chosen

    card = card_of(made[3])
    assert _chosen(card, "") == "openvino"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert _chosen(card, "") == "onnx"


def test_lora_on_convolutions_is_merged_before_batch_norms_are_folded(made, tuned):
    import onnx
    from safetensors.numpy import load_file
    from torch import nn

    from graft.build import build

    task, (run, folder) = made[0], tuned
    chain, _ = build(run.plan.backbone, task.head, len(task.outputs), pretrained=False)
    assert any(isinstance(module, nn.BatchNorm2d) for module in chain.network.modules())
    state, before = load_file(folder / "weights.safetensors"), load_file(made[3] / "weights.safetensors")
    assert state.keys() == chain.network.state_dict().keys()  # adapters are gone
    assert [n for n in state if n.endswith(".0.weight") and not np.array_equal(state[n], before[n])]
    kinds = {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}
    assert "Conv" in kinds
    assert "BatchNormalization" not in kinds
    np.testing.assert_allclose(graft.open(folder).logits(task.val.items), in_torch(task, run, task.val), atol=1e-4)


@pytest.mark.weights
def test_a_published_network_tuned_by_lora_ships_as_it_was_trained(weights_home, tmp_path):
    from photos import photos as write_photos

    task = graft.load(write_photos(tmp_path / "photos", classes=2, each=8))
    phases = (Phase(("head", "stages[4:]"), adapter="lora", steps=2, batch=8, lr=0.003, backbone_lr=1.0),)
    run = graft.adapt(task, Plan(graft.find("package/resnet18"), "classification", "x", phases))
    graft.export(task, run, report(task, run), tmp_path / "model", examples=False)
    proof = card_of(tmp_path / "model")["proof"]
    assert max(proof["onnx"]["difference"], proof["weights"]["difference"]) <= 1e-4
    assert proof["onnx"]["flipped"] == 0
    right = in_torch(task, run, task.val)
    np.testing.assert_allclose(graft.open(tmp_path / "model").logits(task.val.items), right, atol=1e-4)


def test_eight_bits_are_kept_only_within_their_bound(made, tuned):
    import onnx

    from graft.forms import judged

    task, (run, folder) = made[0], tuned
    form = card_of(folder)["formats"]["int8"]
    assert form["bound"] == 1.0
    assert form["gain"][1] <= form["gain"][0] <= form["gain"][2]
    kinds = {node.op_type for node in onnx.load(folder / "model.int8.onnx").graph.node}
    assert "DequantizeLinear" in kinds
    exact, lossy = (graft.open(folder, name).logits(task.val.items) for name in ("onnx", "int8"))
    assert 0 < np.abs(exact - lossy).max() < 0.5 * np.ptp(exact)
    row = report(task, run).rows[0]
    gain, within = judged(task, row, folder, "int8", take("formats", "int8").BOUND)
    assert not within  # nine photos cannot show two points
    assert gain[1] < -0.02


def test_the_proof_loads_no_compiler(made):
    """The fresh process builds the network and runs it, without the seconds of import that compiling one takes."""
    task, _, _, folder = made
    code = f"""
import sys, graft
from graft.parity import rebuilt
fed, _ = graft.open({str(folder)!r}).prepared([{task.val.items[0]!r}])[0]
rebuilt({str(folder)!r}, [fed])
print(*sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" in done.stdout.split()
    assert not {"torch._dynamo", "graft.adapt", "scipy.optimize"} & set(done.stdout.split())


def test_what_is_too_far_off_is_not_kept(made):
    """Formats that answer otherwise, by a little more than is allowed or with a label flipped, end the export."""
    from graft.parity import _apart, expected, faithful, proven

    task, _, said, folder = made
    right = expected(task, said.rows[0])
    assert len(right.items) == len(task.val) + len(task.train)
    wrong = replace(right, logits=right.logits + 2e-4)
    with pytest.raises(graft.ExportMismatch, match=r"0\.0002 in a logit"):
        faithful(proven(folder, wrong, torch=False), [])
    near = np.array([[1.0, 1.00005, 0], [3, 0, 0]])
    assert _apart(near[:, [1, 0, 2]], near, replace(right, unit=np.ones(3))) == (3.0, 2)
    assert _apart(near + np.nan, near, replace(right, unit=np.ones(3)))[0] == np.inf


def test_an_export_that_stands_is_not_made_again(made, monkeypatch):
    task, run, said, folder = made
    before = {entry.name: entry.stat().st_mtime_ns for entry in folder.iterdir()}

    def never(*_):
        raise AssertionError("it was exported again")

    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module("graft.export"), "written", never)
        again = graft.export(task, run, said, folder, formats=("torch_export", "openvino"))
        assert {entry.name: entry.stat().st_mtime_ns for entry in folder.iterdir()} == before
        assert again.parity == card_of(folder)["parity"]
        assert again.files["model.onnx"] == file_sha256(folder / "model.onnx")
        for change in ({"examples": False}, {"formats": ()}):
            with pytest.raises(AssertionError, match="again"):
                graft.export(task, run, said, folder, **{"formats": ("torch_export", "openvino"), **change})
        with pytest.raises(AssertionError, match="again"):
            graft.export(task, run, replace(said, sentence="Other."), folder, formats=("torch_export", "openvino"))
        assert {entry.name for entry in folder.parent.iterdir()} == {folder.name}


@pytest.fixture
def standing(other, tmp_path) -> Path:
    """A copy of an artifact with a report and a person's own file beside it."""
    shutil.copytree(other[1], tmp_path / "discs")
    for name in ("report.html", "mine.txt"):
        (tmp_path / "discs" / name).write_text(name)
    return tmp_path / "discs"


def test_an_artifact_that_stands_is_converted_where_it_stands(other, standing, tmp_path):
    """Nothing is trained, no home is written to but by reading: the same bytes, two formats more, proven on photos."""
    (task, _), before = other, card_of(standing)
    done = cli("export", standing, "--format", "openvino", "torch_export", "int8", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    told, card = json.loads(done.stdout), card_of(standing)
    assert set(card["formats"]) == {"onnx", "openvino", "torch_export"}
    assert set(card["proof"]) == {*card["formats"], "weights"}
    for name in card["formats"]:
        assert (card["proof"][name]["examples"], card["proof"][name]["flipped"]) == (len(task.val) + len(task.train), 0)
    assert "int8 was not kept" in card["notes"][-1]  # eight photos cannot show two points
    assert told["files"] == {**card["files"], "card.json": file_sha256(standing / "card.json")}
    assert before["files"].items() < card["files"].items()
    changed = ("files", "formats", "notes", "parity", "proof")
    assert {n: v for n, v in card.items() if n not in changed} == {n: v for n, v in before.items() if n not in changed}
    assert {entry.name for entry in standing.iterdir()} == {*card["files"], "card.json", "report.html", "mine.txt"}
    right = graft.open(standing, "onnx").logits(task.val.items)
    for name in ("openvino", "torch_export"):
        np.testing.assert_allclose(graft.open(standing, name).logits(task.val.items), right, atol=1e-4)
    stamps = {entry.name: entry.stat().st_mtime_ns for entry in standing.iterdir()}
    assert graft.convert(standing, ["openvino"]).files == told["files"]
    assert {entry.name: entry.stat().st_mtime_ns for entry in standing.iterdir()} == stamps
    assert [entry.name for entry in tmp_path.iterdir()] == [standing.name]


def test_without_its_data_an_artifact_has_the_formats_that_its_onnx_file_gives(made, standing, tmp_path, monkeypatch):
    at_home(monkeypatch, tmp_path / "elsewhere")
    shutil.copytree(made[3], tmp_path / "shapes")
    (tmp_path / "shapes" / "report.html").touch()
    assert here("export", tmp_path / "shapes", "--no-examples") == 0
    left = {entry.name for entry in made[3].iterdir()} - {entry.name for entry in (tmp_path / "shapes").iterdir()}
    assert left == {"known.json", "known.safetensors"}
    assert not (tmp_path / "shapes" / "report.html").exists()  # it may show photos
    assert graft.open(tmp_path / "shapes").known is None
    graft.convert(standing, ["openvino"], tmp_path / "new")
    card = card_of(tmp_path / "new")
    assert "openvino was made of the ONNX file, and compared with it on random examples" in card["notes"][-1]
    assert (tmp_path / "new" / "report.html").is_file()
    assert "model.xml" not in card_of(standing)["files"]
    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module("graft.convert"), "TOLERANCE", -1.0)
        with pytest.raises(graft.ExportMismatch, match="openvino differs from the ONNX file by"):
            graft.convert(standing, ["openvino"])
    assert card_of(standing)["formats"].keys() == {"onnx"}


def test_what_is_gone_is_named_with_what_brings_it_back(other, standing, capsys, home, tmp_path, monkeypatch):
    empty = at_home(monkeypatch, tmp_path / "elsewhere")
    (empty / "results" / "load").mkdir(parents=True)
    record = f"results/load/{other[0].key}.json"

    def refused() -> str:
        assert here("export", standing, "--format", "int8") == 2
        return capsys.readouterr().err

    assert f"not in this home ({empty}). `graft export DATA --format int8 --out {standing}`, DATA being" in refused()
    (empty / "runs").symlink_to(home / "runs")
    assert "knows none of them. Run `graft load DATA`, DATA being these, with the options of then, and" in refused()
    (empty / record).write_text((home / record).read_text().replace(".jpg", ".gif"))
    assert ".gif is gone. Run `graft load DATA`" in (said := refused())
    assert f"and `graft export {standing} --format int8` again." in said
    assert card_of(standing)["formats"].keys() == {"onnx"}


def test_an_artifact_of_schema_2_is_read(made, tmp_path):
    """As version 0.1 wrote it before: one form, and quantiles called thresholds."""

    def downgrade(card, place):
        for name in ("formats", "notes", "proof", "parity", "made"):
            card.pop(name)
        card["schema"] = 2
        card["trust"]["thresholds"] = card["trust"].pop("quantiles")
        card["files"] = dict.fromkeys(("model.onnx", "weights.safetensors"), "")
        for entry in place.iterdir():
            if entry.name not in (*card["files"], "card.json"):
                entry.unlink()

    task, *_, folder = made
    old, new = graft.open(rewritten(folder, tmp_path / "old", downgrade)), graft.open(folder, "onnx")
    asked = list(task.val.items[:3])
    assert old.predict(asked) == new.predict(asked)
    assert old.nearest(asked[0]) == []


def test_a_newer_schema_says_which_version_reads_it(made, tmp_path):
    newer = rewritten(made[3], tmp_path / "new", lambda card, _: card.update(schema=9, graft="7.1.2"))
    with pytest.raises(graft.ExportMismatch, match=r"schema 9.* graft-learn 7\.1\.2: install that version or a newer"):
        graft.open(newer)
    with pytest.raises(graft.ExportMismatch, match="Export it again"):
        graft.open(rewritten(made[3], tmp_path / "ancient", lambda card, _: card.update(schema=1)))


def test_merged_heads_answer_as_alone_and_the_backbone_runs_once(made, other, tmp_path, capsys):
    import onnx

    (task, *_, shapes), (second, discs) = made, other
    assert here("merge", shapes, discs, "--out", tmp_path / "both", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    both = graft.open(tmp_path / "both")
    for name, folder, items in (("shapes", shapes, task.val.items), ("discs", discs, second.val.items)):
        alone = graft.open(folder, "onnx")
        np.testing.assert_allclose(both.logits(items, name), alone.logits(items), atol=1e-6)
        right = [{k: v for k, v in one.items() if k != "input"} for one in alone.predict(items)]
        assert [one["tasks"][name] for one in both.predict(items)] == right
    single, merged = (
        [node.op_type for node in onnx.load(place / "model.onnx").graph.node] for place in (shapes, tmp_path / "both")
    )
    assert merged.count("Conv") == single.count("Conv") == 4
    assert merged.count("Gemm") == 2
    assert (tmp_path / "both" / "weights.safetensors").stat().st_size < 1.1 * (
        shapes / "weights.safetensors"
    ).stat().st_size
    assert "runs once" in told["sentence"]
    (nearest,) = both.nearest(task.train.items[0], k=1)
    assert (nearest["name"], nearest["task"]) == (Path(task.train.items[0]).name, "shapes")
    assert both.card["tasks"]["discs"]["labels"] == list(second.outputs)
    graft.convert(tmp_path / "both", ["openvino"], tmp_path / "fast")
    fast = graft.open(tmp_path / "fast", "openvino")
    np.testing.assert_allclose(
        fast.logits(second.val.items, "discs"), both.logits(second.val.items, "discs"), atol=1e-5
    )
    with pytest.raises(graft.PlanError, match="answers several tasks, and int8 is not made of its ONNX file alone"):
        graft.convert(tmp_path / "both", ["int8"])


def test_what_no_other_library_has_is_refused(made, tmp_path, capsys):
    assert here("export", made[3], "--to", "hf", tmp_path / "hf") == 2
    said = capsys.readouterr().err
    assert "timm has no network such as tiny/shapes" in said
    assert "model.onnx" in said
    assert not list(tmp_path.iterdir())


def test_backbones_that_were_tuned_share_what_comes_before(made, tuned, tmp_path):
    from graft.merge import merge

    task, (run, folder) = made[0], tuned
    artifact = merge([made[3], folder], tmp_path / "both")
    assert "tuned apart from backbone.stage1" in artifact.sentence
    both = graft.open(tmp_path / "both")
    np.testing.assert_allclose(both.logits(task.val.items, "tuned"), in_torch(task, run, task.val), atol=1e-4)


def test_what_cannot_be_merged_is_said(made, other, tmp_path):
    import onnx
    from safetensors.numpy import load_file, save_file

    from graft.merge import merge

    def apart(card, place):
        model = onnx.load(place / "model.onnx")
        for tensor in model.graph.initializer:
            if tensor.name.startswith("network.") and "front" not in tensor.name:
                tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + 1, tensor.name))
        onnx.save(model, place / "model.onnx")
        state = load_file(place / "weights.safetensors")
        save_file({n: np.asarray(value + 1) for n, value in state.items()}, place / "weights.safetensors")

    def sized(card, place):
        card["input"]["crop"] = 0.5

    shapes = made[3]
    for folders, words in (
        ([shapes, rewritten(other[1], tmp_path / "apart", apart)], "tuned apart, from backbone"),
        ([shapes, rewritten(other[1], tmp_path / "sized", sized)], r"prepare their examples differently \(input"),
        ([shapes, shapes], "folders of different names"),
    ):
        with pytest.raises(graft.PlanError, match=words):
            merge(folders, tmp_path / "none")
    assert not (tmp_path / "none").exists()


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
    task, _, said, folder = made
    kept = (folder / "known.json").read_text()
    assert str(Path(task.train.items[0]).parent) not in kept
    item = task.train.items[0]
    told = unplaced(task, replace(said, suspects=(Suspect(item, "a", "b", 0.9),), notes=(f"{item} is odd.",)))
    assert told.suspects[0].item == Path(item).name
    assert str(Path(item).parents[1]) not in to_json(told)
    assert str(Path(item).parent) not in (folder / "card.json").read_text()
    assert not any("/" in one["name"] for one in json.loads(kept)["examples"])


def test_an_artifact_without_examples_keeps_none(other):
    task, folder = other
    assert not [entry.name for entry in folder.iterdir() if entry.name.startswith("known")]
    assert graft.open(folder).nearest(task.val.items[0]) == []


def test_every_class_is_remembered_as_often():
    from graft.known import MOST, _balanced

    strata = ["a"] * 2000 + ["b"] * 300 + ["c"] * 7
    rows = _balanced(strata)
    kept = [strata[row] for row in rows]
    assert (len(rows), kept.count("c"), abs(kept.count("b") - kept.count("a"))) == (MOST, 7, 1)
    assert rows == sorted(set(rows))
