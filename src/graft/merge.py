"""Several artifacts → one: every task has its own head, and what their backbones have in common runs once."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

import graft
from graft.core import home
from graft.core.card import SCHEMA, Card
from graft.core.codec import to_json
from graft.core.errors import ExportMismatch, PlanError
from graft.core.keys import file_sha256
from graft.core.nouns import Artifact
from graft.core.shelf import take
from graft.export import drafted, held, keep, listed
from graft.model import graphs
from graft.parity import BATCHES, TOLERANCE, drawn
from graft.predict import Predictor

ALIKE = ("modality", "reading", "input", "schema_in", "assets")  # what is read and prepared once must be the same
# What each task keeps of its own card.
OWN = (
    *("head", "labels", "thresholds", "trust", "unlike", "groups"),
    *("task", "ships", "report", "license", "run", "learned"),
)
ONNX = "model.onnx"


def merge(folders: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str] = "artifact") -> Artifact:
    """Write one artifact that answers the tasks of several, each called after its folder, in one forward pass.

    What their networks share is told by its bytes: a backbone that all of them kept frozen runs once; where they were
    tuned, it runs once up to the layer where they part.

    Raises:
        PlanError: they have nothing in common, or cannot be merged; the reason.
        ExportMismatch: the merged network computes something else than one of them.
    """
    opened = _named([graft.open(folder, "onnx") for folder in folders])
    first = next(iter(opened.values()))
    paths = {name: one.folder / ONNX for name, one in opened.items()}
    try:
        merged = graphs.merge(paths)
    except ValueError as error:
        raise PlanError(f"These artifacts cannot be merged: {error}. Export them again with this version.") from None
    sentence = _sentence(opened, merged)
    with held(out) as place, drafted(place) as draft:
        with home.storage():
            (draft / ONNX).write_bytes(merged.model.SerializeToString())
            (draft / "weights.safetensors").write_bytes(save(_weights(opened)))
            for file in first.card["assets"].values():
                (draft / file).write_bytes((first.folder / file).read_bytes())
            if any(output.name == "features" for output in merged.model.graph.output):
                _remember(opened, draft)
            parity = _compared(draft, opened)
            card: Card = {
                "schema": SCHEMA, "graft": graft.__version__, **{name: first.card[name] for name in ALIKE},
                "labels": [], "groups": [], "ships": "merged", "report": {"sentence": sentence}, "parity": parity,
                "tasks": {n: {key: p.card[key] for key in OWN if key in p.card} for n, p in opened.items()},
                "license": ", ".join(sorted({p.card["license"] for p in opened.values()})),
                "formats": {"onnx": {"files": [ONNX]}}, "notes": [], "files": listed(draft),
            }  # fmt: skip
        keep(card, draft)
    return Artifact(
        path=str(out), ships="merged", verdict="", sentence=sentence, labels=(), parity=parity,
        files={**card["files"], "card.json": file_sha256(place / "card.json")},
        predict=f"graft predict {out} {first.modality.WORD[0].upper()}",
    )  # fmt: skip


def _named(opened: Sequence[Predictor]) -> dict[str, Predictor]:
    """The artifacts by the names of their folders, if they can be merged at all."""
    named = {one.folder.resolve().name: one for one in opened}
    if len(opened) < 2 or len(named) < len(opened):
        raise PlanError("Name two artifacts or more, in folders of different names: tasks are called after them.")
    first, *others = named
    for name, one in named.items():
        if "tasks" in one.card:
            raise PlanError(f"{name} is merged already. Name the artifacts that it was made of, all at once.")
        if "baseline" in one.card:
            raise PlanError(f"{name} ships the baseline {one.card['baseline']}, which has no network to share.")
        if one.by_word:
            raise PlanError(f"{name} answers for every word, which cannot be merged with answers for whole texts.")
    for name in others:
        if unlike := [key for key in ALIKE if named[name].card[key] != named[first].card[key]]:
            raise PlanError(f"{name} and {first} read or prepare their examples differently ({', '.join(unlike)}).")
    return named


def _sentence(opened: Mapping[str, Predictor], merged: graphs.Merged) -> str:
    """What is shared; refused where that is nothing."""
    own, share = {name: _tensors(one) for name, one in opened.items()}, merged.apart - merged.once
    first, *others = own
    apart = [at for at in own[first] if at.startswith("backbone.") and any(_other(own, first, n, at) for n in others)]
    if not share:
        raise PlanError(
            f"{', '.join(opened)} have nothing in common: their backbones were tuned apart, from {apart[0]} on. Heads "
            "can share a backbone that all of them kept frozen: --strategy linear_probe, with one --backbone."
            if apart
            else f"{', '.join(opened)} have nothing in common."
        )
    what = "The backbone is the same in all of them and runs once" if not apart else (
        f"The backbones were tuned apart from {apart[0]} on; what comes before runs once"
    )  # fmt: skip
    return (
        f"{len(opened)} tasks in one forward pass: {', '.join(opened)}. {what}: {merged.once} operations with weights "
        f"in the place of {merged.apart}."
    )


def _tensors(one: Predictor) -> dict[str, np.ndarray]:
    return load_file(one.folder / "weights.safetensors")


def _other(own: Mapping[str, Mapping[str, np.ndarray]], first: str, name: str, at: str) -> bool:
    return at not in own[name] or own[name][at].tobytes() != own[first][at].tobytes()


def _weights(opened: Mapping[str, Predictor]) -> dict[str, np.ndarray]:
    """Every tensor once where all have the same, else as TASK/name."""
    own = {name: _tensors(one) for name, one in opened.items()}
    first = next(iter(own))
    alike = {at for at in own[first] if not any(_other(own, first, name, at) for name in own)}
    kept = {at: own[first][at] for at in alike}
    return kept | {
        f"{name}/{at}": value for name, state in own.items() for at, value in state.items() if at not in alike
    }


def _remember(opened: Mapping[str, Predictor], draft: Path) -> None:
    """The training examples of all tasks, each with its task: their features are of one network."""
    known = {name: one.known for name, one in opened.items() if one.known}
    if known:
        told = [{**example, "task": name} for name, (examples, _) in known.items() for example in examples]
        (draft / "known.json").write_text(to_json({"examples": told}), encoding="utf-8")
        features = np.concatenate([features for _, features in known.values()]).astype(np.float16)
        (draft / "known.safetensors").write_bytes(save({"features": features}))


def _compared(draft: Path, opened: Mapping[str, Predictor]) -> float:
    """The largest difference of a logit between the merged network and each single one, on random examples."""
    first, worst, read = next(iter(opened.values())), 0.0, take("formats", "onnx").read
    merged, single = read(draft / ONNX), {name: read(one.folder / ONNX) for name, one in opened.items()}
    for batch in BATCHES:
        fed = drawn(first, batch)
        together = merged(fed)
        for name, run in single.items():
            difference = float(np.abs(together[f"logits.{name}"] - run(fed)["logits"]).max())
            if not difference <= TOLERANCE:
                raise ExportMismatch(f"Merged, {name} answers otherwise than alone, by {difference:.2g} in a logit.")
            worst = max(worst, difference)
    return worst
