"""Folders that other libraries load: written by `graft export --to hf`, read here by timm and transformers alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graft
from command import ran
from conftest import at_home
from graft.hf import to_hf
from shipping import probed


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield at_home(patch, tmp_path_factory.mktemp("home"))


def test_timm_loads_what_was_written_and_prepares_photos_alike(home, photos, tmp_path):
    import timm
    import torch

    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet.r160_in1k", pretrained=False).state_dict(), tmp_path / "w.pth")
    task = probed(photos, f"checkpoint/timm/test_resnet@{tmp_path / 'w.pth'}", tmp_path / "model")
    to_hf(tmp_path / "model", tmp_path / "hf")
    model = timm.create_model(f"local-dir:{tmp_path / 'hf'}", pretrained=True).eval()
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.no_grad():
        said = model(torch.stack([prepare(Image.open(item).convert("RGB")) for item in task.val.items])).numpy()
    right = graft.open(tmp_path / "model").logits(task.val.items)
    np.testing.assert_allclose(said, right, atol=0.05 * np.ptp(right))  # resizing rounds to whole levels
    assert model.pretrained_cfg["label_names"] == list(task.outputs)
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["id2label"] == {str(at): name for at, name in enumerate(task.outputs)}
    written = (tmp_path / "hf" / "README.md").read_text()
    assert "license: other" in written
    assert str(tmp_path) not in written
    with pytest.raises(graft.DataError, match="no empty folder"):
        to_hf(tmp_path / "model", tmp_path / "hf")


def test_a_folder_that_holds_something_is_refused_before_the_data_are_read(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    done = ran("export", tmp_path / "nowhere", "--out", tmp_path / "model", "--to", "hf", tmp_path / "full")
    assert done.returncode != 0
    assert f"{tmp_path / 'full'} exists and is no empty folder" in done.stderr


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


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_transformers_loads_what_was_written_for_texts(home, bert, tmp_path, pooling):
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    from graft.data import toys

    texts, told = toys.sentences(60, seed=0)
    kind = next(iter(told.values()))
    texts = [f"{text} {text}" if row % 3 else text for row, text in enumerate(texts)]  # of several lengths
    rows = [f'"{text}",class{int(value) % 2}' for text, value in zip(texts, kind, strict=True)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
    place = shutil.copytree(bert, tmp_path / "encoder")
    (place / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Pooling", "path": "1"}]))
    (place / "1").mkdir()
    mode = {f"pooling_mode_{pooling}_{'tokens' if pooling == 'mean' else 'token'}": True}
    (place / "1" / "config.json").write_text(json.dumps(mode))
    task = probed(tmp_path / "texts.csv", f"transformers/{place}", tmp_path / "model")
    to_hf(tmp_path / "model", tmp_path / "hf")
    asked, place = texts[:3], tmp_path / "hf"
    model, tokenizer = AutoModelForTokenClassification.from_pretrained(place), AutoTokenizer.from_pretrained(place)
    with torch.no_grad():
        fed = [tokenizer(text, truncation=True, return_tensors="pt") for text in asked]
        tokens = [model.eval()(**one).logits[0] for one in fed]
    said = np.stack([(one.mean(0) if pooling == "mean" else one[0]).numpy() for one in tokens])
    predictor = graft.open(tmp_path / "model")
    right = [one["probabilities"] for one in predictor.predict([{"text": text} for text in asked])]
    heat = predictor.card["trust"]["temperature"]
    shares = np.exp(said / heat)
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(shares, [[one[name] for name in task.outputs] for one in right], atol=1e-4)
    assert list(model.config.id2label.values()) == list(task.outputs)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small"])
def test_torchvisions_networks_are_timms_under_its_names(name):
    import torch

    from graft.core.shelf import take
    from graft.twins import arguments, renamed, twin

    name, net = twin(graft.find(f"package/{name}"))
    torch.manual_seed(0)
    for one in net.modules():
        if isinstance(one, torch.nn.BatchNorm2d):  # so small that another epsilon shows
            one.running_var.uniform_(0.01, 0.1)
            one.weight.data.fill_(0.1)
    theirs = take("sources", "timm").classifier(name, {"size": [64, 64]}, 0, **arguments(net))
    theirs.load_state_dict(renamed(net.state_dict(), net, theirs.state_dict()))
    some = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        right = net(some)
        np.testing.assert_allclose(theirs(some), right, atol=1e-5 * float(right.abs().max()))


def test_a_part_of_a_network_that_timm_ships_whole_is_refused_as_such():
    from graft.twins import twin

    with pytest.raises(graft.PlanError, match=r"such as package/vgg16, which is torchvision's vgg16\.features\. Its"):
        twin(graft.find("package/vgg16"))


def test_what_no_other_library_has_is_refused_by_the_name_that_was_given(home, photos, tmp_path):
    probed(photos, "tiny/random", tmp_path / "model")
    with pytest.raises(graft.PlanError, match=r"timm has no network such as tiny/random\. Its model\.onnx"):
        to_hf(tmp_path / "model", tmp_path / "hf")
