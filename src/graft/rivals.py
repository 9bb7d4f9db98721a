"""What not transferring would give: the files of the `baselines` shelf on one task, asked as the task asks."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from safetensors.numpy import load_file

import graft
from graft.build import reading
from graft.core import home
from graft.core.examples import kept_apart
from graft.core.keys import key
from graft.core.nouns import Part, Task
from graft.core.phases import uneven
from graft.core.shelf import names, take
from graft.data.dataset import ahead, chunks, content
from graft.data.store import open_store


def fitting(task: Task) -> list[str]:
    """The baselines that there are for this kind of example and head."""
    found = {name: take("baselines", name) for name in names("baselines")}
    labelled = getattr(take("heads", task.head), "LABELLED", True)
    return [
        name
        for name, method in found.items()
        if task.modality in (method.MODALITIES or (task.modality,))
        and (task.train.groups or not hasattr(method, "aligned"))
        and task.head in getattr(method, "HEADS", (task.head,) * labelled)
    ]


def fitted(name: str, task: Task) -> dict[str, np.ndarray]:
    """A baseline's state, learned from the training part; thresholds, where there are such, by the validation part."""
    method, head, count = take("baselines", name), take("heads", task.head), len(task.outputs)
    x = described(name, task, task.train)
    y = head.array(task.train.targets, count)
    state: dict[str, np.ndarray] = method.fit(x, y, Asked(head, task), count, task.seed)
    offset = getattr(method, "OFFSET", "bias")  # what is added to every answer
    if hasattr(head, "thresholds") and offset in state:
        val = method.predict(state, described(name, task, task.val))
        state[offset] = state[offset] - head.thresholds(val, head.array(task.val.targets, count))
    return state


class Asked:
    """The head as a baseline asks it: for the task's metric, all classes counting alike where that counts them so."""

    def __init__(self, head: Any, task: Task) -> None:
        self.head, self.metric, self.balanced = head, task.metric, uneven(task)
        self.groups = kept_apart(task.train, task.val)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.head, name)

    def solve(self, x: np.ndarray, y: np.ndarray, outputs: int, seed: int = 0) -> Any:
        """The exact head."""
        return self.head.solve(x, y, outputs, self.balanced, self.metric, seed, groups=self.groups)

    def constant(self, y: np.ndarray, outputs: int) -> Any:
        """The best answer that looks at nothing."""
        return self.head.constant(y, outputs, self.metric)


def answered(head: Any, task: Task, part: Part, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Answers with the targets beside them; where every word is asked for, each has the answer of its example."""
    y = head.array(part.targets, len(task.outputs))
    if not head.ROWS:
        return answers, y
    words = head.by_row(y)
    return answers if len(answers) == len(words) else np.repeat(answers, [len(tags) for tags in y], axis=0), words


def answering(name: str, run: str) -> Callable[[Sequence[Any]], np.ndarray]:
    """What a baseline, whose state the home keeps, says of decoded examples."""
    state, method = load_file(home.folder("runs", run) / "weights.safetensors"), take("baselines", name)
    ragged = getattr(method, "RAGGED", False)

    def say(examples: Sequence[Any]) -> np.ndarray:
        seen = [np.asarray(method.describe(example)) for example in examples]
        return np.asarray(method.predict(state, seen if ragged else np.stack(seen)))

    return say


def described(name: str, task: Task, part: Part) -> Any:
    """What a baseline sees of every example, kept in the feature store like any other feature.

    Shape: (n, width), or a list of arrays where the baseline's descriptions are of any length.
    """
    method, modality, read = take("baselines", name), take("modalities", task.modality), reading(task)
    ragged = getattr(method, "RAGGED", False)

    def one(row: int) -> np.ndarray:
        return np.asarray(method.describe(modality.decode(content(part, row, modality, read), read)))

    probe = one(0)
    if not probe.size and not ragged:
        return np.zeros((len(part), 0), np.float32)
    keys = [bytes.fromhex(key(id)) for id in part.ids]
    shape = () if ragged else probe.shape
    kept = key("described", graft.__version__, modality.VERSION, read, name)
    store = open_store(kept, probe.dtype.name, shape)
    todo = np.flatnonzero(~store.has(keys))
    asks = list(chunks(len(todo), 64))
    for rows, values in zip(asks, ahead(lambda rows: [one(row) for row in todo[rows]], asks), strict=True):
        names = [keys[row] for row in todo[rows]]
        if ragged:
            store.write(names, np.concatenate(values), [len(value) for value in values])
        else:
            store.write(names, np.stack(values))
    if not ragged:
        rows = store.rows(keys)
        return method.aligned(rows, part.groups) if hasattr(method, "aligned") else rows
    tokens, lengths = store.ragged(keys)
    return np.split(tokens, np.cumsum(lengths)[:-1])
