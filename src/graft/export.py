"""Task, Run, Report → Artifact: write what the report ships, reload it in a fresh process, compare."""

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import graft
from graft.adapt import belongs, finished
from graft.build import build
from graft.confidence import familiar, said
from graft.core import home
from graft.core.codec import from_dict, to_dict, to_json
from graft.core.errors import DataError, ExportMismatch, PlanError
from graft.core.keys import file_sha256, key
from graft.core.nouns import Artifact, Backbone, Part, Report, Row, Run, Task
from graft.core.shelf import names, take
from graft.data.batches import stacked, unstacked
from graft.groups import groups, named
from graft.known import remember
from graft.predict import SCHEMA, WHOLE, spoken
from graft.rank import learned

TOLERANCE = 1e-4  # largest difference of a logit between memory and a fresh process, in float32
PICTURES = ("ranking.png", "stages.png", "verdict.png", "labels.png")  # which `report` puts beside it
COMPARED = 64  # real examples that are compared, of the validation part

# What a fresh process runs: the artifact's own answers, and those of its safetensors in torch.
CHECK = """
import json, sys, graft
ask = json.load(sys.stdin)
answers = {"predictor": graft.open(ask["folder"]).logits(ask["items"]).tolist()}
if ask["torch"]:
    from graft.export import rebuilt
    answers["weights"] = rebuilt(ask["folder"], ask["items"]).tolist()
json.dump(answers, sys.stdout)
"""


def export(
    task: Task, run: Run, report: Report, out: str | os.PathLike[str] = "artifact", examples: bool = True
) -> Artifact:
    """Write the artifact folder that ships, and prove that it computes what was trained.

    After a negative verdict this is not the adapted model but the better row. The folder holds card.json, weights
    (safetensors), an ONNX file unless a baseline ships, and no pickle.

    Args:
        examples: whether the folder keeps names, small previews and features of training examples, so that an answer
            can show what it resembles; False where these are nobody else's business.

    Raises:
        ExportMismatch: a fresh process computes something else.
        DataError: `out` exists and is not an artifact.
        PlanError: the run or the report belongs to other data.
    """
    belongs(task, run)
    if report.task != task.key or report.run != run.key:
        raise PlanError("The report is of another run or other data. Run `graft verify` on these.")
    row = next(row for row in report.rows if row.name == report.ships)
    check_out(out)
    place = Path(os.path.realpath(out))  # a name of its own, also for "."
    with home.storage():
        place.parent.mkdir(parents=True, exist_ok=True)
    with home.lock("results", f"out-{key(str(place))}"):  # two that write one folder do so one after the other
        return _written(task, row, report, out, place, examples)


def _written(
    task: Task, row: Row, report: Report, out: str | os.PathLike[str], place: Path, examples: bool
) -> Artifact:
    draft = place.with_name(f".{place.name}.draft")
    _restored(place)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with home.storage():
            draft.mkdir()
            part = task.val.select(range(min(COMPARED, len(task.val))))
            card: dict[str, Any] = {
                "schema": SCHEMA,
                "graft": graft.__version__,
                "modality": task.modality,
                "head": task.head,
            }
            run = finished(row.run)
            found = groups(task, run) if run else ()
            card |= {
                "reading": task.reading,
                "labels": named(task, found),
                "groups": to_dict(found),
                "task": {"name": task.name, "key": task.key, "metric": task.metric},
            }
            card |= {"ships": report.ships, "report": to_dict(report)}
            if worth := report.calibration:
                card["trust"] = {name: getattr(worth, name) for name in ("level", "temperature", "thresholds")}
            card |= (
                _baseline(row.name, row.run, draft)
                if row.name in names("baselines")
                else _network(task, row.run, card["labels"], draft, examples)
            )
            expected = _expected(task, row, part)
            card["files"] = {entry.name: file_sha256(entry) for entry in sorted(draft.iterdir())}
            (draft / "card.json").write_text(to_json(card, indent=1), encoding="utf-8")
        parity = _compare(draft, part, expected, torch="baseline" not in card, unit=_unit(task, expected))
        kept = _placed(draft, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Artifact(
        path=str(out), ships=report.ships, verdict=report.verdict, sentence=report.sentence,
        labels=tuple(card["labels"]), groups=found,
        files={**card["files"], "card.json": file_sha256(kept / "card.json")}, parity=parity,
        predict=f"graft predict {out} {take('modalities', task.modality).WORD[0].upper()}",
    )  # fmt: skip


def check_out(out: str | os.PathLike[str]) -> None:
    """Refuse a folder that is somebody else's, before anything slow is done.

    Raises:
        DataError: it exists and is not an artifact, or nothing can be written there.
    """
    place = Path(out)
    if place.exists() and not place.is_dir():
        raise DataError(f"{place} exists and is no folder. Choose another --out.")
    above = next((one for one in Path(os.path.realpath(place)).parents if one.exists()), place)
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise DataError(
            f"{place} cannot be written: {above} is no folder that you may write into. Choose another --out."
        )
    if place.exists() and not (place / "card.json").is_file() and any(place.iterdir()):
        raise DataError(f"{place} exists and holds something other than an artifact. Choose another --out.")


def rebuilt(folder: str, items: list[str]) -> np.ndarray:
    """Logits of an artifact's safetensors weights in torch, from the folder alone."""
    import torch
    from safetensors.torch import load_file

    predictor, place = graft.open(folder), Path(folder)
    backbone = from_dict(Backbone, predictor.card["backbone"])
    chain, _ = build(backbone, predictor.card["head"], len(predictor.labels), pretrained=False, on="cpu")
    chain.network.load_state_dict(load_file(place / "weights.safetensors"))
    network, made = chain.network.eval(), predictor.prepared(items)
    with torch.no_grad():
        each = [stacked([one], predictor.modality.RAGGED) for one in made]
        said = [network(**{n: torch.from_numpy(a) for n, a in one.items()}).numpy() for one in each]
    return np.concatenate([spoken(rows, one) for rows, one in zip(said, made, strict=True)])


def _network(task: Task, run_key: str, labels: list[str], draft: Path, examples: bool) -> dict[str, Any]:
    run = finished(run_key)
    if run is None:
        raise PlanError(
            f"The run {run_key} is no longer in the home. Run `graft adapt` again: it takes as long as before."
        )
    import torch
    from safetensors.torch import load_file

    from graft.model.network import Shipped

    chain, _ = build(run.plan.backbone, task.head, len(task.outputs), run.seed, pretrained=False, on="cpu")
    chain.network.load_state_dict(load_file(run.weights))
    shutil.copyfile(run.weights, draft / "weights.safetensors")
    modality, shipped = take("modalities", task.modality), replace(run.plan.backbone, id=f"checkpoint/{run.key}")
    input = modality.parse(run.plan.backbone.input)
    sample = modality.ship(unstacked({n: value.numpy() for n, value in chain.example.items()}), input)
    by_row = take("heads", task.head).ROWS
    fed = {name: entry for name, entry in modality.schema(input).items() if name not in WHOLE * by_row}
    example = {name: torch.from_numpy(sample[name]) for name in fed}
    free = {name: entry["shape"] for name, entry in fed.items()}
    known, unlike = (None, math.inf) if by_row else familiar(task, run)
    form = Shipped(chain.network, by_row, known)
    take("formats", "onnx").write(form, example, draft / "model.onnx", free, form.outputs)
    if examples and not by_row:
        remember(task, run, labels, draft)
    assets = modality.assets(input) if hasattr(modality, "assets") else {}  # a tokenizer, say
    for name, file in assets.items():
        shutil.copyfile(file, draft / f"{name}{Path(file).suffix}")
    whole = ["piece", "token"] if by_row else ["batch"]
    return {
        "backbone": to_dict(run.plan.backbone), "input": to_dict(run.plan.backbone.input), "plan": to_dict(run.plan),
        "run": run.key, "seed": run.seed, "learned": sorted(learned(shipped)),
        "loading": to_dict(run.loading), "license": run.plan.backbone.license,
        "schema_in": fed, "assets": {n: f"{n}{Path(file).suffix}" for n, file in assets.items()},
        "schema_out": {
            "logits": {"dtype": "float32", "shape": [*whole, len(task.outputs)]},
            **({} if by_row else {"features": {"dtype": "float32", "shape": ["batch", "feature"]}}),
            **({} if known is None else {"novelty": {"dtype": "float32", "shape": ["batch"]}}),
        },
        **({"unlike": unlike} if math.isfinite(unlike) else {}),
    }  # fmt: skip


def _baseline(name: str, state_key: str, draft: Path) -> dict[str, Any]:
    weights = home.folder("runs", state_key) / "weights.safetensors"
    if not weights.is_file():
        raise PlanError(f"The fitted {name} baseline is no longer in the home. Run `graft verify` again.")
    shutil.copyfile(weights, draft / "weights.safetensors")
    return {"baseline": name, "license": "Apache-2.0"}


def _expected(task: Task, row: Row, part: Part) -> np.ndarray:
    answers, y = said(task, row, part, on="cpu")  # where the fresh process computes: a GPU rounds otherwise
    by_token = take("heads", task.head).ROWS and row.name not in names("baselines")
    return answers[y[:, 0] >= 0] if by_token else answers


def _unit(task: Task, expected: np.ndarray) -> np.ndarray:
    """What a difference of 1 is: 1 for logits; for values the training targets' spread, and what float32 rounds off."""
    head = take("heads", task.head)
    if head.KIND != "squared":
        return np.ones(expected.shape[1])
    rounding = 4 * np.finfo(np.float32).eps * np.abs(expected).max(0) / TOLERANCE
    return np.asarray(head.array(task.train.targets, len(task.outputs)).std(0) + rounding)


def _compare(folder: Path, part: Part, expected: np.ndarray, torch: bool, unit: np.ndarray) -> float:
    ask = json.dumps({"folder": str(folder), "items": list(part.items), "torch": torch})
    fresh = subprocess.run([sys.executable, "-c", CHECK], input=ask, capture_output=True, text=True, check=False)
    if fresh.returncode:
        last = fresh.stderr.strip().splitlines()[-1] if fresh.stderr.strip() else f"status {fresh.returncode}"
        raise ExportMismatch(f"The artifact could not be used by a fresh process: {last}")
    answers = {name: np.asarray(rows) for name, rows in json.loads(fresh.stdout).items()}
    worst = {name: float((np.abs(rows - expected) / unit).max()) for name, rows in answers.items()}
    flipped = {name: int((rows.argmax(1) != expected.argmax(1)).sum()) for name, rows in answers.items()}
    for name, difference in worst.items():
        if difference > TOLERANCE or not np.isfinite(difference):
            raise ExportMismatch(
                f"The artifact's {name} differs from what was trained by {difference:.2g} in a logit (at most "
                f"{TOLERANCE:.0e} is allowed) and changes {flipped[name]} of {len(part)} answers. It was not kept."
            )
    return max(worst.values())


def _placed(draft: Path, place: Path) -> Path:
    """The draft in its place; of an artifact that stood there, what was not its own is kept."""
    old = _old(place)
    with home.storage():
        if not place.exists():
            draft.rename(place)
            return place
        place.rename(old)
        try:
            draft.rename(place)
        except BaseException:
            old.rename(place)
            raise
        _restored(place)
    return place


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _restored(place: Path) -> None:
    """What a process that was killed while it replaced an artifact has left behind, put right."""
    old = _old(place)
    if old.is_dir() and not place.exists():
        old.rename(place)
    elif old.is_dir():
        own = {"card.json", *_files(old), *PICTURES}
        for entry in old.iterdir():
            if entry.name not in own and not (place / entry.name).exists():
                entry.rename(place / entry.name)
        shutil.rmtree(old, ignore_errors=True)


def _files(artifact: Path) -> set[str]:
    """Names that an artifact's card lists."""
    try:
        return set(json.loads((artifact / "card.json").read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()
