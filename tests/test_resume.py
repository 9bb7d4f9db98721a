"""A run that is cut off anywhere ends in the bits of one that was not; what learns, and at what rates, is the same."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import graft
from graft.core.codec import to_json
from graft.core.nouns import Backbone, Budget, Evidence, Phase, Plan, StageProbe, Task
from graft.core.shelf import function, names
from graft.model.adamw import AdamW
from photos import photos as write_photos

STEPS = 6  # of every phase: two epochs of three batches
WHOLE = ("lp_ft", "gradual", "discriminative", "full", "contrastive", "chain_thaw")  # every boundary; else the first
PLANS = [name for name in names("strategies") if name not in ("auto", "linear_probe")]


class Cut(Exception):
    """The power went."""


@pytest.fixture(scope="module")
def task(tiny_place: Path, tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = write_photos(tmp_path_factory.mktemp("few"), classes=3, each=8, size=(40, 32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(tiny_place))
        return graft.load(folder)


def plan(task: Task, strategy: str, backbone: Backbone) -> Plan:
    """What the strategy plans where everything may learn, every phase of it short."""
    curve = tuple(StageProbe(f"s{at}", 0.5, 0.01, 1e-4, 4096, 4096) for at in range(4))
    count = len(task.train)
    evidence = Evidence(backbone, {"probe": 0.5}, curve, count, count, 5, views=(2, 1))
    made = function("strategies", strategy)(task, evidence, Budget())
    size = -(-count // 3)

    def short(way: tuple[Phase, ...]) -> tuple[Phase, ...]:
        few = {"steps": STEPS, "batch": size, "patience": 99}
        return tuple(phase if phase.solver == "exact" else replace(phase, **few) for phase in way)

    return replace(made, phases=short(made.phases), alternatives=tuple(map(short, made.alternatives)))


class Watch:
    """Optimiser steps counted over all phases, perhaps cut off at one; what each phase's optimiser was given."""

    def __init__(self, patch: pytest.MonkeyPatch, before: int = 0, after: int = 0) -> None:
        self.steps, self.phases = 0, dict[Phase, Any]()
        module, step = importlib.import_module("graft.adapt"), AdamW.step
        fit = module.fit

        def stepped(optimiser: AdamW, *rest: Any, **more: Any) -> Any:
            if self.steps + 1 == before:
                raise Cut
            done = step(optimiser, *rest, **more)
            self.steps += 1
            if self.steps == after:
                raise Cut
            return done

        def fitted(rest: Any, optimiser: Any, *others: Any) -> Iterator[Any]:
            network, phase = rest.network, next(each for each in others if isinstance(each, Phase))
            named = {id(p): name for name, p in network.named_parameters()}
            groups = [
                ([named[id(p)] for p in group["params"]], group["scale"], group["weight_decay"])
                for group in optimiser.param_groups
            ]
            learns = {name: p.requires_grad for name, p in network.named_parameters()}
            self.phases[phase] = groups, learns
            return fit(rest, optimiser, *others)

        patch.setattr(AdamW, "step", stepped)
        patch.setattr(module, "fit", fitted)
        patch.setattr(module, "EVERY", 0.0)


def adapted(place: Path, task: Task, chosen: Plan, **cut: int) -> tuple[dict[str, torch.Tensor], Any, Watch]:
    """Weights, history and what was watched of a run in this home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(place))
        watch = Watch(patch, **cut)
        run = graft.adapt(task, chosen, seed=5)
        return load_file(run.weights), [replace(epoch, seconds=0.0) for epoch in run.history], watch


def home(tiny_place: Path, place: Path) -> Path:
    """A home with the tiny weights and no run."""
    shutil.copytree(tiny_place / "weights", place / "weights")
    return place


@pytest.mark.parametrize("strategy", PLANS)
def test_cut_off_beside_every_boundary_it_ends_in_the_same_bits(tiny_place, task, tmp_path, strategy):
    """After the last step but one of a phase, after its last, before and after the first of the next one."""
    chosen = plan(task, strategy, graft.find("tiny/shapes"))
    whole, history, watched = adapted(home(tiny_place, tmp_path / "whole"), task, chosen)
    tuned = sum(phase.solver != "exact" for phase in chosen.every)
    assert watched.steps == STEPS * tuned, "the steps are not those that the plan says"
    ends = [STEPS * (at + 1) for at in range(tuned if strategy in WHOLE else 1)]
    sides = [("after", -1), ("after", 0), ("before", 1), ("after", 1)]
    cuts = [(when, end + at) for end in ends for when, at in sides if end + at <= watched.steps]
    place = home(tiny_place, tmp_path / "cut")
    for when, step in [("before", 1), *cuts]:
        with pytest.raises(Cut):
            adapted(place, task, chosen, **{when: step})
        again, story, seen = adapted(place, task, chosen)
        assert again.keys() == whole.keys()
        assert [n for n in whole if not torch.equal(whole[n], again[n])] == [], f"cut off {when} step {step}"
        assert str(story) == str(history)
        assert seen.phases, "nothing was left to do"
        assert all(seen.phases[phase] == watched.phases[phase] for phase in seen.phases)
        shutil.rmtree(place / "runs")


def stopped(patch: pytest.MonkeyPatch, file: str, name: str, at: int, after: bool) -> None:
    """The power goes at a call of this function: after it, or before."""
    module, count = importlib.import_module(file), [0]
    real = getattr(module, name)

    def counted(*given: Any, **more: Any) -> Any:
        count[0] += 1
        if count[0] == at and not after:
            raise Cut
        made = real(*given, **more)
        if count[0] == at:
            raise Cut
        return made

    patch.setattr(module, name, counted)


@pytest.mark.parametrize("strategy", ["soup", "wise_ft"])
def test_cut_off_beside_the_members_of_a_mixture_it_ends_in_the_same_bits(tiny_place, task, tmp_path, strategy):
    """After each of them, the last included; while their weights are mixed; and before what came of it is written."""
    chosen = plan(task, strategy, graft.find("tiny/shapes"))
    whole, history, _ = adapted(home(tiny_place, tmp_path / "whole"), task, chosen)
    members = 1 + len(chosen.alternatives)
    beside = [(at, "graft.adapt", "_kept", at, True) for at in range(1, members + 1)]
    within = [(members, "graft.mix", "evaluate", 2, False), (members, "graft.adapt", "_kept", members + 1, False)]
    place = home(tiny_place, tmp_path / "cut")
    for there, *cut in (*beside, *within):
        with pytest.MonkeyPatch.context() as patch:
            stopped(patch, *cut)
            with pytest.raises(Cut):
                adapted(place, task, chosen)
        done = {path: path.stat().st_mtime_ns for path in place.glob("runs/*/weights.safetensors")}
        assert len(done) == there
        again, story, _ = adapted(place, task, chosen)
        assert [n for n in whole if not torch.equal(whole[n], again[n])] == [], f"cut off at {cut}"
        assert str(story) == str(history)
        assert all(path.stat().st_mtime_ns == when for path, when in done.items()), "a member was made again"
        shutil.rmtree(place / "runs")


KILLED = """
import os, signal, sys
import torch, graft
from graft.core.codec import from_json
from graft.model.adamw import AdamW
sys.path.insert(0, sys.argv[1])
from test_resume import Watch
import pytest

with pytest.MonkeyPatch.context() as patch:
    Watch(patch)
    step, last = AdamW.step, int(sys.argv[4])
    count = [0]

    def stepped(*given, **more):
        done = step(*given, **more)
        count[0] += 1
        if count[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    patch.setattr(AdamW, "step", stepped)
    task, plan = (from_json(kind, open(path).read()) for kind, path in zip((graft.Task, graft.Plan), sys.argv[2:4]))
    graft.adapt(task, plan, seed=5)
"""


@pytest.mark.parametrize("step", [STEPS, STEPS + 4])
def test_killed_at_a_step_it_ends_in_the_same_bits(tiny_place, task, tmp_path, step):
    """kill -9 after the last step of a phase, and in the middle of a later epoch."""
    chosen = plan(task, "gradual", graft.find("tiny/shapes"))
    chosen = replace(chosen, phases=chosen.phases[:3])
    place = home(tiny_place, tmp_path / "killed")
    for name, noun in (("task", task), ("plan", chosen)):
        (tmp_path / name).write_text(to_json(noun))
    given = [str(Path(__file__).parent), str(tmp_path / "task"), str(tmp_path / "plan"), str(step)]
    environment = os.environ | {"GRAFT_HOME": str(place)}
    done = subprocess.run([sys.executable, "-c", KILLED, *given], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not list(place.glob("runs/*/run.json")), "the run was over before it was killed"
    assert list(place.glob("runs/*/checkpoint/state.safetensors")), "no checkpoint was written"
    again, story, _ = adapted(place, task, chosen)
    whole, history, _ = adapted(home(tiny_place, tmp_path / "whole"), task, chosen)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert str(story) == str(history)
