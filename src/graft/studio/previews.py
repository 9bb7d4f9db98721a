"""A few of a task's own training examples, small, so that a person sees what was read."""

import base64
import io
from typing import Any

from graft.core.codec import from_dict
from graft.core.errors import GraftError
from graft.core.nouns import Task
from graft.core.shelf import take

LABELS, EACH = 8, 4  # that are shown
SIDE, LETTERS = 128, 140


def examples(task: Task) -> list[dict[str, Any]]:
    """The first training examples of each label: photos as small JPEGs, texts by their beginnings; of others none."""
    if task.modality not in ("image", "text") or not all(isinstance(target, int) for target in task.train.targets):
        return []
    shown = []
    for label, name in list(enumerate(task.outputs))[:LABELS]:
        items = [item for item, target in zip(task.train.items, task.train.targets, strict=True) if target == label]
        some = [made for item in items[:EACH] if (made := _small(task, item))]
        shown.append({"label": name, task.modality: some})
    return shown


def _small(task: Task, item: str) -> str:
    modality = take("modalities", task.modality)
    reading = from_dict(modality.Reading, task.reading)
    try:
        example = modality.decode(modality.fetch(item, reading), reading)
    except (GraftError, OSError):  # the file has gone since
        return ""
    if task.modality == "text":
        text = example if isinstance(example, str) else " · ".join(example)
        return text if len(text) <= LETTERS else f"{text[:LETTERS]}…"
    example.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    example.convert("RGB").save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
