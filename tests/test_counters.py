"""Nothing frozen is computed twice, and nothing is loaded or moved that a job does not use: counted, not timed."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import graft
from command import cli
from graft.adapt import logits
from graft.build import build, find
from graft.confidence import familiar
from graft.core import home
from graft.core.nouns import Phase
from graft.data.store import Store
from graft.features import Count
from graft.learners.supervised import optimiser
from graft.model import probes

FAST = graft.Budget(seconds=8, firm=False)
ONE = "tiny/shapes"
pytestmark = pytest.mark.usefixtures("own_home")
Moved = dict[str, int]
HEAVY = {  # what only other jobs use: the compiler, other libraries of networks, formats, drawing, searching, serving
    "torch._dynamo", "torch._inductor", "sympy", "timm", "torchvision", "transformers", "sklearn", "pandas", "onnx",
    "onnxruntime", "onnxscript", "matplotlib", "optuna", "fastapi", "uvicorn", "xgboost", "lightgbm",
}  # fmt: skip


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bfloat16, whatever a timing of so small a network says: beside it, test photos are answered in float32, and
    one that another split puts elsewhere is computed in both."""
    monkeypatch.setattr(probes, "rough", lambda device: False)


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Moved:
    """Bytes of rows that stores wrote and read, since they were last set to nothing."""
    count = {"written": 0, "read": 0}
    write, rows = Store.write, Store.rows

    def written(store: Store, keys: Sequence[bytes], values: np.ndarray, *more: Any) -> Any:
        count["written"] += values.nbytes
        return write(store, keys, values, *more)

    def read(store: Store, keys: Sequence[bytes]) -> np.ndarray:
        found = rows(store, keys)
        count["read"] += found.nbytes
        return found

    monkeypatch.setattr(Store, "write", written)
    monkeypatch.setattr(Store, "rows", read)
    return count


def probed(task: graft.Task, seed: int = 0) -> graft.Run:
    """Ranked, planned, adapted and asked about its test part."""
    evidence = graft.rank(task, [ONE], FAST, seed=seed)[0]
    run = graft.adapt(task, graft.plan(task, evidence, "linear_probe", FAST), seed)
    logits(task, run, task.test.open("counted"))
    return run


def volumes() -> int:
    """Bytes of all stored rows on disk, without their indexes."""
    return sum(path.stat().st_size for path in (home.home() / "features").rglob("*.tokens"))


def test_another_task_on_the_same_photos_computes_and_writes_nothing(
    photos: Path, tmp_path: Path, moved: Moved
) -> None:
    first = graft.load(photos)
    before = Count.passes
    probed(first)
    files = sorted(path for path in Path(photos).rglob("*") if path.is_file())
    assert Count.passes - before == len(files)  # each example once: the ranking, the head and the test share them
    assert moved["written"] > 0
    table = tmp_path / "other.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        rows.writerows([path, "wide" if at % 2 else "tall"] for at, path in enumerate(map(str, files)))
    before, size = Count.passes, volumes()
    moved.update(written=0, read=0)
    probed(graft.load(table))
    assert (Count.passes - before, moved["written"], volumes() - size) == (0, 0, 0)
    assert moved["read"] > 0


def test_another_seed_computes_and_writes_nothing(photos: Path, moved: Moved) -> None:
    task = graft.load(photos)
    probed(task)
    before = Count.passes
    moved.update(written=0)
    probed(task, seed=1)
    assert (Count.passes - before, moved["written"]) == (0, 0)


def test_a_hundred_more_photos_are_a_hundred_passes_and_their_bytes(photos: Path, tmp_path: Path, moved: Moved) -> None:
    more = Path(shutil.copytree(photos, tmp_path / "more"))
    task = graft.load(more)
    before = Count.passes
    probed(task)
    each, rest = divmod(moved["written"], Count.passes - before)
    assert rest == 0
    drawn = np.random.default_rng(5)
    for number in range(100):
        place = more / task.outputs[number % len(task.outputs)] / f"new-{number}.png"
        Image.fromarray(drawn.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(place)
    before = Count.passes
    moved.update(written=0)
    probed(graft.load(more))
    assert Count.passes - before == 100
    assert moved["written"] == 100 * each


def test_what_a_run_has_seen_is_not_computed_again_in_other_numbers(photos: Path) -> None:
    """Calibration and what an artifact finds familiar ask for it in the run's form; the test part runs as it ships."""
    task = graft.load(photos)
    evidence = graft.rank(task, [ONE], FAST)[0]
    plan = graft.plan(task, replace(evidence, form=replace(evidence.form, dtype="bfloat16")), "linear_probe", FAST)
    run, test = graft.adapt(task, plan), task.test.open("counted")
    before = Count.passes
    said = logits(task, run, task.val)[0]
    familiar(task, run)
    assert Count.passes == before
    assert 1e-4 < np.abs(said - logits(task, run, task.val, on="cpu")[0]).max() < 0.3
    before = Count.passes
    answers = logits(task, run, test)[0]
    assert Count.passes - before == len(test)
    assert np.abs(answers - logits(task, run, test, on="cpu")[0]).max() < 1e-4


def test_a_head_alone_reads_each_row_twice(photos: Path, moved: Moved) -> None:
    """To be fitted, and to be asked what it says."""
    task = graft.load(photos)
    evidence = graft.rank(task, [ONE], FAST)[0]
    plan = graft.plan(task, evidence, "linear_probe", FAST)
    moved.update(written=0, read=0)
    graft.adapt(task, plan)
    width = build(find(ONE), task.head, len(task.outputs))[0].stages[-1].shape
    assert moved == {"written": 0, "read": 2 * 4 * int(np.prod(width)) * (len(task.train) + len(task.val))}


@pytest.mark.parametrize("frozen", [0, 2])
def test_what_is_frozen_is_in_no_group_of_the_optimiser(frozen: int) -> None:
    chain, _ = build(find(ONE), "classification", 3)
    assert chain.freeze(["head", f"stages[{frozen}:]"]) == frozen
    phase = Phase(("head",), lr=0.1, backbone_lr=0.5, lr_decay=0.5, weight_decay=0.1)
    engine, idle = optimiser(chain, phase)
    named = {id(p): name for name, p in chain.network.named_parameters()}
    learning = [named[id(p)] for group in engine.param_groups for p in group["params"]]
    assert len(learning) == len(set(learning))
    expected = {name for name, p in chain.network.named_parameters() if name.startswith("head")}
    depth = len(chain.stages)
    for index in range(frozen, depth):
        expected |= chain.stage_parameters(index)
    assert {*learning, *idle} == expected
    assert not any(p.requires_grad for name, p in chain.network.named_parameters() if name not in expected)
    rates = {1.0, *(0.5 * 0.5 ** (depth - 1 - index) for index in range(frozen, depth))}
    found = {(group["scale"], group["weight_decay"]) for group in engine.param_groups}
    assert len(found) == len(engine.param_groups)
    assert {scale for scale, _ in found} == rates
    assert {decay for _, decay in found} <= {0.0, 0.1}


def test_a_job_loads_nothing_that_it_does_not_use(photos: Path) -> None:
    """Ranked, tuned by gradient and written down, in a process of its own."""
    code = """
import json, sys
from graft.cli import main
status = main(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""
    words = ["adapt", photos, "--backbone", ONE, "--strategy", "lp_ft", "--budget", "8s", "--quiet"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True)
    status, loaded = json.loads(done.stderr.splitlines()[-1])
    assert status == 0
    assert any(epoch["steps"] for epoch in json.loads(done.stdout)["history"])
    assert not HEAVY & set(loaded)


def test_a_command_on_texts_loads_no_compiler_either(tmp_path: Path) -> None:
    """transformers would load it, for clusters and compiled attention; nor does what it loads later miss anything."""
    for number in range(24):
        word = ("good", "bad")[number % 2]
        (tmp_path / word).mkdir(exist_ok=True)
        (tmp_path / word / f"{number}.txt").write_text(f"a {word} thing it was, number {number}")
    code = """
import json, sys
from graft.cli import main
status = main()
loaded = sorted(sys.modules)
from transformers import Trainer
from transformers.utils import is_torch_distributed_available
print(json.dumps([status, loaded, is_torch_distributed_available()]), file=sys.stderr)
"""
    words = ["rank", tmp_path, "--backbone", "tiny/phrases", "--budget", "8s", "--quiet"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True)
    status, loaded, there = json.loads(done.stderr.splitlines()[-1])
    assert status == 0
    assert "transformers.modeling_utils" in loaded
    assert not {"torch._dynamo", "torch._inductor", "sympy", "torch.distributed.tensor"} & set(loaded)
    assert there


def test_an_unchanged_command_opens_no_network(photos: Path) -> None:
    words = ("adapt", photos, "--backbone", ONE, "--strategy", "linear_probe", "--json", "--quiet")
    first = cli(*words)
    shutil.rmtree(home.home() / "features")
    shutil.rmtree(home.home() / "weights")
    again = cli(*words)
    assert first.returncode == again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert not list((home.home() / "features").rglob("*.tokens"))
