"""On another device everything finds its way there and back, and comes to the same answers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import desks
from graft.data import toys

SEED = 3
CASES = {  # what learns, beside a head alone
    "tiny/shapes": (("lp_ft", "ema,delta,distill"), ("lora", "mixup"), ("contrastive", "")),
    "tiny/phrases": (("gradual", "l2_sp"), ("ia3", "")),
    "tiny/sounds": (("lp_ft", "l2_sp"),),
    "tiny/cells": (("full", "bss,mixup"),),
}


def genes(desk: Path) -> None:
    """A table of the genes that the network for them was taught with."""
    made, told = toys.cells(90, SEED)
    fact, numbers = next(iter(told.items()))
    rows = [(*cell, toys.FACTS["cells"][fact][number]) for cell, number in zip(made, numbers, strict=True)]
    desks.table(desk / "genes.csv", (*toys.COLUMNS, "label"), rows)


DATA = {
    "tiny/shapes": (desks.photos, "photos"), "tiny/phrases": (desks.texts, "mails"),
    "tiny/sounds": (desks.clips, "clips"), "tiny/cells": (genes, "genes.csv"),
}  # fmt: skip


@pytest.mark.parametrize("backbone", CASES)
def test_answers_are_the_same(own_home: None, tmp_path: Path, backbone: str) -> None:
    write, name = DATA[backbone]
    write(tmp_path)
    command = [sys.executable, __file__, str(tmp_path / name), backbone]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["device"] == "elsewhere"
    assert len(said["runs"]) == 1 + len(CASES[backbone])
    for here, there in said["runs"].values():
        np.testing.assert_allclose(there, here, atol=1e-4)  # a layer may be put together of other steps there


def compared(place: str, backbone: str) -> dict[str, object]:
    """What runs answer here, and on the other device, by strategy; and where their backbone was measured at last."""
    from torch.backends.cuda import enable_flash_sdp

    import graft
    from elsewhere import NAME, pretended, register
    from graft.adapt import logits
    from graft.core.nouns import Form

    register()
    enable_flash_sdp(False)  # which the other device has not: attention in the same steps on both
    task, budget, runs = graft.load(place), graft.Budget(seconds=8.0), {}
    evidence = graft.rank(task, [backbone], budget)[0]
    plain = replace(evidence, form=Form(batch=evidence.form.batch))

    def outcome(plan: graft.Plan) -> list[list[float]]:
        run = graft.adapt(task, plan, SEED)
        answers = logits(task, run, task.test.open("elsewhere"))[0]
        assert answers.std() > 0.01  # they tell examples apart
        return answers.tolist()  # type: ignore[no-any-return]

    for strategy, terms in (("linear_probe", ""), *CASES[backbone]):
        plan = graft.plan(task, plain, strategy, budget, [term for term in terms.split(",") if term])
        phases = tuple(replace(p, dtype="float32", steps=min(p.steps, 8)) for p in plan.phases)
        plan = replace(plan, phases=phases)
        here = outcome(plan)
        with pretended():
            runs[strategy] = here, outcome(replace(plan, form=replace(plain.form, device=NAME)))
    with pretended():
        measured = graft.rank(graft.load(place, seed=1), [backbone], budget)[0]
    return {"device": measured.form.device, "runs": runs}


if __name__ == "__main__":
    print(json.dumps(compared(*sys.argv[1:])), flush=True)
    os._exit(0)  # autograd's thread for a device that is not there cannot be ended
