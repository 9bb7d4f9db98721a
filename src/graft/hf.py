"""Artifact → a folder that timm or transformers loads without graft, compared with the artifact in a fresh process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import load_file as arrays
from safetensors.numpy import save_file
from safetensors.torch import load_file

import graft
from graft.core import home
from graft.core.codec import from_dict
from graft.core.errors import DataError, ExportMismatch, PlanError
from graft.core.nouns import Backbone
from graft.core.shelf import take
from graft.export import writable
from graft.parity import TOLERANCE, drawn
from graft.predict import Predictor
from graft.twins import INSTEAD, arguments, renamed, twin

ASKED = 7  # random examples that both are asked

# What the fresh processes run: the library alone, on prepared examples; and what a person writes to use the folder.
TIMM = """
import sys, timm, torch
from safetensors.numpy import load_file, save_file
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
facts = timm.data.resolve_model_data_config(model)
x = torch.from_numpy(load_file(sys.argv[2])["x"]).float() / 255
mean, std = (torch.tensor(facts[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
with torch.no_grad():
    save_file({"logits": model((x - mean) / std).numpy()}, sys.argv[3])
"""
TOKENS = """
import sys, torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForTokenClassification, AutoTokenizer
AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForTokenClassification.from_pretrained(sys.argv[1]).eval()
fed = {name: torch.from_numpy(value) for name, value in load_file(sys.argv[2]).items()}
names = {"x": "input_ids", "mask": "attention_mask", "kind": "token_type_ids"}
with torch.no_grad():
    logits = model(**{names[name]: value for name, value in fed.items() if name in names}).logits
mask = fed["mask"][..., None]
if sys.argv[4] == "mean":
    logits = (logits * mask).sum(1) / mask.sum(1)
elif sys.argv[4] == "cls":
    logits = logits[:, 0]
save_file({"logits": logits.contiguous().numpy()}, sys.argv[3])
"""
TEXT = """import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForTokenClassification.from_pretrained("FOLDER").eval()
with torch.no_grad():
    logits = model(**tokenizer("a text", truncation=True, return_tensors="pt")).logits[0]
logits = LOGITS
print(model.config.id2label[int(logits.argmax())])"""
USE = {
    "timm": """import timm, torch
from PIL import Image

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
with torch.no_grad():
    logits = model(prepare(Image.open("photo.jpg").convert("RGB"))[None])[0]
print(model.pretrained_cfg["label_names"][logits.argmax()])""",
    "mean": TEXT.replace("LOGITS", "logits.mean(0)  # over its tokens"),
    "cls": TEXT.replace("LOGITS", "logits[0]  # of its first token"),
    "tokens": """from transformers import pipeline

print(pipeline("token-classification", "FOLDER")("Anna flew to Oslo"))""",
}


def vacant(out: str | os.PathLike[str]) -> Path:
    """The folder to write, refused before anything slow is done where it holds something or cannot be made."""
    place = Path(os.path.realpath(out))
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise DataError(f"{place} exists and is no empty folder. Choose another.")
    writable(place)
    return place


def to_hf(artifact: str | os.PathLike[str], out: str | os.PathLike[str]) -> Path:
    """Write an artifact's network as timm or transformers load it: config.json, weights, tokenizer, README.md.

    Photos go to timm as a classifier. Texts go to transformers as a token classifier: each word has its own answer, or,
    where a text has one, it is the first token's, or the mean over its tokens (a linear layer of a mean is the mean of
    the linear layer). transformers' own classifiers of texts put a layer of theirs before the last, which ours has not.

    Raises:
        PlanError: neither library has such a network; which part it is.
        ExportMismatch: loaded by the library alone, in a fresh process, it answers otherwise.
        DataError: `out` exists and holds something, or cannot be written.
    """
    predictor, place = graft.open(artifact, "onnx"), vacant(out)
    card = predictor.card
    if "tasks" in card or "baseline" in card:
        what = "answers several tasks" if "tasks" in card else f"ships the baseline {card['baseline']}"
        instead = INSTEAD if "tasks" in card else "`graft serve` and `graft predict` answer with it."  # it has no ONNX
        raise PlanError(f"{artifact} {what}, and neither timm nor transformers has such a network. {instead}")
    backbone = from_dict(Backbone, card["backbone"])
    weight, bias = _linear(predictor)
    draft = place.with_name(f".{place.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with home.storage():
            draft.mkdir(parents=True)
        if backbone.modality == "image":
            library, code = "timm", TIMM
            _timm(predictor, backbone, weight, bias, draft)
        else:
            library, code = "tokens" if predictor.by_word else card["input"].get("pooling", "mean"), TOKENS
            _transformers(predictor, backbone, weight, bias, draft)
        (draft / "README.md").write_text(_readme(card, backbone, library, place.name), encoding="utf-8")
        _compare(predictor, draft, code, library)
        with home.storage():
            draft.replace(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


def _linear(predictor: Predictor) -> tuple[Any, Any]:
    """The head as one linear layer (K, D) and (K,): a head for numbers is one, in the user's unit."""
    state = load_file(predictor.folder / "weights.safetensors")
    head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}
    if predictor.card["head"] == "grouping" or not {"weight", "bias"} <= set(head):
        raise PlanError(f"A head for {predictor.card['head']} is no linear layer, as these libraries have. {INSTEAD}")
    weight, bias = head["weight"], head["bias"]
    return (
        (weight * head["scale"][:, None], bias * head["scale"] + head["shift"]) if "scale" in head else (weight, bias)
    )


def _body(predictor: Predictor, within: str = "backbone.") -> dict[str, Any]:
    state = load_file(predictor.folder / "weights.safetensors")
    return {name.removeprefix(within): value for name, value in state.items() if name.startswith(within)}


def _named(labels: list[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: at for at, label in enumerate(labels)}}


def _timm(predictor: Predictor, backbone: Backbone, weight: Any, bias: Any, place: Path) -> None:
    import timm
    from torch import nn

    ours, (name, net) = _body(predictor), twin(backbone)
    otherwise = arguments(net)
    model: Any = take("sources", "timm").classifier(name, backbone.input, len(predictor.labels), **otherwise)
    last = model.get_classifier()
    if not isinstance(last, nn.Linear) or last.weight.shape != weight.shape:
        raise PlanError(f"timm's {name} ends in more than a linear layer, which the head is not. {INSTEAD}")
    last.weight.data, last.bias.data = weight, bias
    own = {at for at, one in model.named_modules() if one is last}
    body = {at: value for at, value in model.state_dict().items() if at.rpartition(".")[0] not in own}
    if not (named := ours if set(body) == set(ours) else renamed(ours, net, body)):
        raise PlanError(f"timm's {name} is built otherwise than {backbone.id}. {INSTEAD}")
    model.load_state_dict(named, strict=False)
    if model.pretrained_cfg.get("fixed_input_size"):
        otherwise["img_size"] = backbone.input["size"]
    input = backbone.input
    facts: dict[str, Any] = {
        "input_size": [3, *input["size"]],
        "interpolation": input["interpolation"],
        "crop_pct": input["crop"],
    }
    about = {
        "pretrained_cfg": {**facts, "mean": input["mean"], "std": input["std"]},
        "label_names": [*predictor.labels],
    }
    config = {**about, **_named([*predictor.labels])}
    timm.models.save_for_hf(model, str(place), config, otherwise or None, safe_serialization=True)


def _transformers(predictor: Predictor, backbone: Backbone, weight: Any, bias: Any, place: Path) -> None:
    from transformers import AutoConfig, AutoModelForTokenClassification, PreTrainedTokenizerFast

    library, _, kind = backbone.architecture.partition("/")
    input: Any = predictor.input
    if library != "transformers" or backbone.modality != "text":
        raise PlanError(
            f"Only photos and texts are written for these libraries, and {backbone.id} is none of their networks for "
            f"either. {INSTEAD}"
        )
    if not predictor.by_word and (input.pooling not in ("mean", "cls") or input.after):
        how = "normalised" if input.after else f'"{input.pooling}"'
        raise PlanError(f"transformers has no {kind} classifier whose tokens become one vector so ({how}). {INSTEAD}")
    settings = {name: value for name, value in backbone.config.items() if name != "model_type"}
    config = AutoConfig.for_model(kind, **{**settings, **_named([*predictor.labels])})
    try:
        model: Any = AutoModelForTokenClassification.from_config(config)
    except ValueError:
        raise PlanError(f"transformers has no token classifier of the kind {kind}. {INSTEAD}") from None
    if getattr(model, "classifier", None) is None or model.classifier.weight.shape != weight.shape:
        raise PlanError(
            f"transformers' token classifier of the kind {kind} ends otherwise than in a linear layer. {INSTEAD}"
        )
    model.classifier.weight.data, model.classifier.bias.data = weight, bias
    found = model.base_model.load_state_dict(_body(predictor, "backbone.model."), strict=False)
    if found.missing_keys:
        raise PlanError(f"The weights do not fill transformers' {kind}: {', '.join(found.missing_keys[:3])}. {INSTEAD}")
    model.save_pretrained(place)
    file = predictor.folder / predictor.card["assets"]["tokenizer"]
    PreTrainedTokenizerFast(tokenizer_file=str(file), model_max_length=input.window, **_marks(file)).save_pretrained(
        place
    )


def _marks(tokenizer: Path) -> dict[str, str]:
    """The special tokens of a tokenizer, by transformers' names for them."""
    told = json.loads(tokenizer.read_text(encoding="utf-8"))
    there = {one["content"] for one in told.get("added_tokens", [])}
    names = {"pad_token": ("[PAD]", "<pad>"), "unk_token": ("[UNK]", "<unk>"), "mask_token": ("[MASK]", "<mask>")}
    return {name: mark for name, marks in names.items() for mark in marks if mark in there}


def _compare(predictor: Predictor, place: Path, code: str, how: str) -> None:
    """Refuse a folder that the library alone, in a fresh process, answers otherwise from."""
    fed = drawn(predictor, ASKED)
    right = take("formats", "onnx").read(predictor.folder / "model.onnx")(fed)["logits"]
    with TemporaryDirectory() as desk:
        asked, told = Path(desk, "asked.safetensors"), Path(desk, "told.safetensors")
        save_file({name: np.ascontiguousarray(value) for name, value in fed.items()}, asked)
        command = [sys.executable, "-c", code, str(place), str(asked), str(told), how]
        fresh = subprocess.run(command, capture_output=True, text=True, check=False)
        if fresh.returncode:
            last = fresh.stderr.strip().splitlines()[-1:] or [f"status {fresh.returncode}"]
            raise ExportMismatch(f"{place} cannot be loaded by the library alone: {last[0]}")
        logits = arrays(told)["logits"]
    mask = fed["mask"].astype(bool) if predictor.by_word else slice(None)
    difference = float(np.abs(logits[mask] - right[mask]).max()) / max(1.0, float(np.abs(right[mask]).max()))
    if not difference <= TOLERANCE:
        raise ExportMismatch(f"Loaded by the library alone, {place} answers otherwise, by {difference:.2g} in a logit.")


def _readme(card: Mapping[str, Any], backbone: Backbone, library: str, name: str) -> str:
    """A model card: what it answers, what was shown of it, under which licence, and how to use it."""
    license, report = backbone.license.lower(), card["report"]
    known = license if license in ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0") else "other"
    task = {"timm": "image-classification", "tokens": "token-classification"}.get(library, "text-classification")
    kind = "timm" if library == "timm" else "transformers"
    labels = ", ".join(card["labels"])
    beside = f", pretrained on {backbone.pretrained_on}" if backbone.pretrained_on else ""
    return "\n".join(
        [
            *(
                "---",
                f"library_name: {kind}",
                f"pipeline_tag: {task}",
                f"license: {known}",
                "tags:",
                "- graft",
                "---",
                "",
            ),
            *(f"# {card['task']['name']}", "", report["sentence"], "", f"It answers: {labels}.", ""),
            f"Backbone: {backbone.architecture}{beside}; its licence: {backbone.license}. Written by graft-learn "
            f"{card['graft']}, and compared with what was trained."
            + (f" Texts are cut after {card['input']['window']} tokens." if task == "text-classification" else ""),
            *("", "```python", USE[library].replace("FOLDER", name), "```", ""),
        ]
    )
