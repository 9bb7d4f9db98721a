"""Task, Run → groups that say what they are: how many, which examples stand for them, which words set them apart."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import graft
from graft.adapt import logits
from graft.build import reading
from graft.core import home
from graft.core.keys import key
from graft.core.nouns import Group, Run, Task
from graft.core.shelf import take
from graft.data.dataset import content
from graft.model.clusters import terms

SHOWN = 3  # examples that stand for a group
WORDS = 10  # that set a group apart
TITLE = 3  # of them, in its name
COMMON = 1 / 3  # share of the texts beyond which a word says nothing: "said", "that"


def groups(task: Task, run: Run) -> tuple[Group, ...]:
    """The groups that a run of the head `grouping` found in the training part, largest first; none for other heads."""
    if getattr(take("heads", task.head), "LABELLED", True):
        return ()
    name = key("groups", graft.__version__, task.key, run.key, task.train.items)  # which may lie elsewhere by now
    return home.remember("groups", name, tuple[Group, ...], lambda: _groups(task, run))


def _groups(task: Task, run: Run) -> tuple[Group, ...]:
    said, _ = logits(task, run, task.train)
    own = said.argmax(1)
    found = [
        Group(name, int((own == index).sum()), tuple(task.train.items[row] for row in _nearest(said, own, index)))
        for index, name in enumerate(task.outputs)
        if (own == index).any()
    ]
    modality, read = take("modalities", task.modality), reading(task)
    if not hasattr(modality, "words") or len(found) < 2:
        return tuple(found)
    kept = [index for index in range(len(task.outputs)) if (own == index).any()]
    documents = [
        modality.words(modality.decode(content(task.train, row, modality, read), read))
        for row in range(len(task.train))
    ]
    often = Counter(word for document in documents for word in set(document))
    told = [[word for word in document if often[word] <= COMMON * len(documents)] for document in documents]
    lists = terms(told, np.searchsorted(kept, own), WORDS)
    return tuple(
        replace(group, name=_title(group.name, words), terms=tuple(words))
        for group, words in zip(found, lists, strict=True)
    )


def named(task: Task, found: Sequence[Group]) -> list[str]:
    """What each output is called in an artifact: a group by its words."""
    titles = {group.name.partition(":")[0]: group.name for group in found}
    return [titles.get(name, name) for name in task.outputs]


def _nearest(said: np.ndarray, own: np.ndarray, index: int) -> list[int]:
    rows = np.flatnonzero(own == index)
    return [int(row) for row in rows[np.argsort(-said[rows, index], kind="stable")[:SHOWN]]]


def _title(name: str, words: Sequence[str]) -> str:
    return f"{name}: {', '.join(words[:TITLE])}" if words else name
