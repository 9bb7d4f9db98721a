"""The forms in which a frozen network can run here: how fast each is, and whether a probe of its features is as good.

    python benchmarks/forms.py photos/ --backbone package/resnet18 package/mobilenet_v2 --out forms.json

Beside eager float32 stand bfloat16 and OpenVINO in both, whether or not graft would take them; a > marks the form that
it takes for these data. Of each form: CPU seconds of an example as a share of float32's, in turn, the median of the
rounds with the lowest and highest; the least centred cosine over all stages at the first percentile of 256 examples,
which must exceed 0.999 (graft asks it of up to 32); and the accuracy of a linear probe on the training and validation
part less that on float32's features, paired over five splits into halves, with its 95 % interval over examples.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import graft
from beside import move
from graft.build import build, examples, find, suited
from graft.core.nouns import Form, Task
from graft.data.dataset import Examples, table
from graft.features import sweep
from graft.folds import joined
from graft.model import linear, openvino
from graft.model.chain import Chain
from graft.model.probes import centred_cosine
from graft.model.stats import paired
from graft.speed import forward
from peers import spread

SPLITS, LOOKED = 5, 256


def right(chain: Chain, form: Form, data: Examples, classes: int) -> np.ndarray:
    """How often each example is answered rightly by a probe that learned from the other half. Shape: (1, examples)."""
    stored = sweep(chain.split(len(chain.stages), form)[0], chain.stages[-1:], data, pool=True)[0]
    x, y = table(stored)
    halves = [np.random.default_rng(seed).permutation(len(y)) % 2 for seed in range(SPLITS)]
    return np.mean([[linear.fit(x, y, classes, fold=half).held.argmax(1) == y] for half in halves], axis=0)


def measured(task: Task, id: str, rounds: int) -> dict[str, dict[str, object]]:
    """Every form of a backbone."""
    backbone = suited(find(id), task)
    chain, _ = build(backbone, task.head, len(task.outputs))
    taken, _ = forward(task, backbone, chain)
    plain = replace(taken, runtime="eager", dtype="float32")
    forms = {"eager float32": plain, "eager bfloat16": replace(plain, dtype="bfloat16")}
    forms |= {f"openvino {d}": replace(plain, runtime="openvino", dtype=d) for d in openvino.dtypes()}
    data = examples(task, joined(task.train, task.val), backbone)
    some = data.read(np.arange(min(LOOKED, len(data))), np.zeros(min(LOOKED, len(data)), int))
    some.pop("y")
    outputs, seconds = {}, {name: list[float]() for name in forms}
    for _ in range(rounds + 1):  # the first one compiles and warms up
        for name, form in forms.items():
            prefix, began = chain.split(len(chain.stages), form)[0], time.process_time()
            outputs[name] = prefix.run(some, chain.stages)
            seconds[name].append(time.process_time() - began)
    score = {name: right(chain, form, data, len(task.outputs)) for name, form in forms.items()}
    found, share = dict[str, dict[str, object]](), np.full(len(data), 1 / len(data))
    for name, form in forms.items():
        exact, own = outputs["eager float32"], outputs[name]
        times = np.array(seconds[name][1:]) / np.array(seconds["eager float32"][1:])
        found[name] = {
            "taken": (form.runtime, form.dtype) == (taken.runtime, taken.dtype), "time": spread(times.tolist()),
            "cosine": min(centred_cosine(exact[cut.name], own[cut.name]) for cut in chain.stages),
            "gain": paired(score[name], score["eager float32"], share), "accuracy": float(score[name].mean()),
        }  # fmt: skip
    return found


def main() -> None:
    """Measure, print a table, and write it."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("data")
    ask.add_argument("--backbone", nargs="+", default=["package/resnet18"])
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--out", type=Path)
    args = ask.parse_args()
    with TemporaryDirectory() as folder:
        move(Path(folder) / "home")
        task = graft.load(args.data)
        table = {id: measured(task, id, args.rounds) for id in args.backbone}
    print(f"{len(task.train) + len(task.val)} examples of {task.name}")
    for id, forms in table.items():
        for name, one in forms.items():
            (low, middle, high), (gain, least, most) = one["time"], (100 * value for value in one["gain"])
            print(
                f"{'>' if one['taken'] else ' '} {id:24} {name:20} time {middle:.2f} [{low:.2f}, {high:.2f}]  cosine "
                f"{one['cosine']:.5f}  accuracy {100 * one['accuracy']:.1f} %, {gain:+.2f} [{least:+.2f}, {most:+.2f}]"
            )
    if args.out:
        args.out.write_text(json.dumps({task.name: table}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
