"""Which columns of a table hold texts."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from graft.core.errors import DataError
from graft.data.columns import Roles, named, shown
from graft.data.writing import words

NAMES = (
    *("text", "sentence", "review", "content", "body", "message", "tweet", "comment", "document", "utterance", "query"),
    *("question", "sms", "email", "mail", "post", "description", "abstract", "article", "headline", "title", "tokens"),
)
PAIRS = (
    *(("sentence1", "sentence2"), ("premise", "hypothesis"), ("question", "sentence"), ("question", "context")),
    *(("question1", "question2"), ("text_a", "text_b"), ("text1", "text2"), ("query", "passage"), ("title", "body")),
)


def columns(place: Path, rows: Sequence[Mapping[str, Any]], asked: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that hold the texts: those asked for, a usual name, a usual pair, or the one with the most words."""
    every = [column for column in rows[0] if column is not None]
    if wanted := asked.get("columns"):
        several = wanted.split(",") if isinstance(wanted, str) else list(wanted)
        return tuple(str(named(place, every, column.strip(), ())) for column in several)
    free = [column for column in every if column not in (asked.get("label"), asked.get("group"))]
    lower = {column.lower().strip(): column for column in free}
    for pair in PAIRS:
        if set(pair) <= lower.keys():
            return tuple(lower[name] for name in pair)
    if usual := next((lower[name] for name in NAMES if name in lower), None):
        return (usual,)
    if found := wordy([{column: row.get(column) for column in free} for row in rows[:50]]):
        return (max(found, key=found.__getitem__),)
    raise DataError(f"Which column of {place} holds the texts? It has: {shown(every)}. Name it: --read columns=NAME.")


def said(name: str, rows: Sequence[Mapping[str, Any]], texts: Sequence[str], role: Roles) -> list[str]:
    """What was read of a table, and what was not."""
    left = [str(c) for c in rows[0] if c is not None and c not in (*texts, *role.labels, role.part, role.group)]
    read = f"Read {name}: texts from {together(texts)}, labels from {together(role.labels)}"
    return [f"{read}; {shown(left, 5)} not read." if left else f"{read}."]


def listed(text: Any) -> Any:
    """The words of a list that was written as JSON; anything else as it is."""
    if isinstance(text, str) and text.lstrip().startswith('["'):
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    return text


def together(names: Sequence[str]) -> str:
    """'a' and 'b'."""
    return " and ".join(map(repr, names))


def called(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column has a usual name and holds words, not numbers or names of files."""
    lower = {str(column).lower().strip(): column for column in (rows[0] if rows else ())}
    values = [row.get(lower[name]) for name in NAMES if name in lower for row in rows]
    return bool(values) and all(isinstance(value, str) and any(map(str.isalpha, value)) for value in values)


def wordy(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Columns that read like text, with their mean number of characters."""
    found = {}
    for column in rows[0] if rows else ():
        values = [row.get(column) for row in rows]
        lists = [value for value in values if isinstance(value, list) and value and isinstance(value[0], str)]
        texts = [value for value in values if isinstance(value, str)]
        if len(lists) > len(rows) / 2 and len({len(value) for value in lists}) > 1:
            found[column] = float(np.mean([len(" ".join(value)) for value in lists]))
        elif len(texts) > len(rows) / 2 and np.mean([words(text) for text in texts]) > 3:
            found[column] = float(np.mean([len(text) for text in texts]))
    return found


def name_files(rows: Sequence[Mapping[str, Any]], suffixes: tuple[str, ...]) -> bool:
    """Whether a column names text files."""
    return any(
        all(str(row.get(column) or "").lower().endswith(suffixes) and len(str(row[column])) < 300 for row in rows[:50])
        for column in rows[0]
        if column is not None
    )
