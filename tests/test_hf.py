"""Folders that other libraries load: written by `graft export --to hf`, read here by timm and transformers alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graft
from command import cli
from conftest import at_home
from graft.build import suited
from graft.core.nouns import Budget, Phase, Plan
from shipping import report

FAST = Budget(seconds=20)
PROBE = (Phase(("head",), solver="exact"),)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield at_home(patch, tmp_path_factory.mktemp("home"))


def exported(data: Path, backbone: str, out: Path, **asked):
    """A linear probe of a backbone on some data, exported: the task."""
    task = graft.load(data, **asked)
    run = graft.adapt(task, Plan(suited(graft.find(backbone), task), task.head, "x", PROBE))
    graft.export(task, run, report(task, run), out, examples=False)
    return task


def alone(code: str) -> dict:
    """What a process prints that never imports graft."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_timm_loads_what_was_written_and_prepares_photos_alike(home, photos, tmp_path):
    import timm
    import torch

    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet.r160_in1k", pretrained=False).state_dict(), tmp_path / "w.pth")
    task = exported(photos, f"checkpoint/timm/test_resnet@{tmp_path / 'w.pth'}", tmp_path / "model")
    done = cli("export", tmp_path / "model", "--to", "hf", tmp_path / "hf")
    assert done.returncode == 0, done.stderr
    said = alone(
        "import json, timm, torch; from PIL import Image\n"
        f"model = timm.create_model('local-dir:{tmp_path / 'hf'}', pretrained=True).eval()\n"
        "prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model))\n"
        f"photos = [prepare(Image.open(p).convert('RGB')) for p in {list(task.val.items)!r}]\n"
        "with torch.no_grad(): logits = model(torch.stack(photos))\n"
        "print(json.dumps({'logits': logits.tolist(), 'names': model.pretrained_cfg['label_names']}))"
    )
    right = graft.open(tmp_path / "model").logits(task.val.items)
    np.testing.assert_allclose(said["logits"], right, atol=0.05 * np.ptp(right))  # resizing rounds to whole levels
    assert (np.argmax(said["logits"], 1) == right.argmax(1)).mean() > 0.9
    assert said["names"] == list(task.outputs)
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["id2label"] == {str(at): name for at, name in enumerate(task.outputs)}
    written = (tmp_path / "hf" / "README.md").read_text()
    assert "license: other" in written
    assert str(tmp_path) not in written
    again = cli("export", tmp_path / "model", "--to", "hf", tmp_path / "hf")
    assert again.returncode == 2
    assert "no empty folder" in again.stderr


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    """A folder as save_pretrained leaves it, with the tokenizer of the generated sentences and random weights."""
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    from graft.data import toys

    place = tmp_path_factory.mktemp("bert") / "bert"
    torch.manual_seed(0)
    size = Tokenizer.from_str(toys.tokenizer()).get_vocab_size()
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=size, initializer_range=0.2, **small)).eval().save_pretrained(place)
    (place / "tokenizer.json").write_text(toys.tokenizer(), encoding="utf-8")
    return place


def test_transformers_loads_what_was_written_for_texts(home, bert, tmp_path):
    from graft.data import toys

    texts, told = toys.sentences(60, seed=0)
    kind = next(iter(told.values()))
    texts = [f"{text} {text}" if row % 3 else text for row, text in enumerate(texts)]  # of several lengths
    rows = [f'"{text}",class{int(value) % 2}' for text, value in zip(texts, kind, strict=True)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
    task = exported(tmp_path / "texts.csv", f"transformers/{bert}", tmp_path / "model")
    lengths = json.loads((tmp_path / "model" / "card.json").read_text())["proof"]["onnx"]["lengths"]
    assert lengths[0] < lengths[1]  # short texts stood beside long ones, and alone
    done = cli("export", tmp_path / "model", "--to", "hf", tmp_path / "hf")
    assert done.returncode == 0, done.stderr
    asked = [texts[0], texts[1], texts[2]]
    said = alone(
        "import json, torch; from transformers import AutoModelForTokenClassification, AutoTokenizer\n"
        f"model = AutoModelForTokenClassification.from_pretrained({str(tmp_path / 'hf')!r}).eval()\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(tmp_path / 'hf')!r})\n"
        f"fed = [tokenizer(t, truncation=True, return_tensors='pt') for t in {asked!r}]\n"
        "with torch.no_grad(): logits = [model(**one).logits[0].mean(0).tolist() for one in fed]\n"
        "print(json.dumps({'logits': logits, 'names': model.config.id2label}))"
    )
    predictor = graft.open(tmp_path / "model")
    right = [one["probabilities"] for one in predictor.predict([{"text": text} for text in asked])]
    heat = predictor.card["trust"]["temperature"]
    shares = np.exp(np.array(said["logits"]) / heat)
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(shares, [[one[name] for name in task.outputs] for one in right], atol=1e-4)
    assert list(said["names"].values()) == list(task.outputs)


def test_what_neither_library_has_is_refused(home, photos, tmp_path):
    exported(photos, "tiny/shapes", tmp_path / "model")
    done = cli("export", tmp_path / "model", "--to", "hf", tmp_path / "hf")
    assert done.returncode == 2
    assert "timm has no network tiny/net" in done.stderr
    assert "model.onnx" in done.stderr
    assert not (tmp_path / "hf").exists()
