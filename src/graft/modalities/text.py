"""Texts: files or columns of a table, in any language, to the tokens that a network is fed.

An example is a text, two texts that belong together, or the words of a sentence where every word has a label. What is
longer than a backbone's window is read in several, up to `most`; what is longer still is cut. Both are counted.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.codec import from_dict
from graft.core.errors import DataError, PlanError
from graft.data import hiding, layout, prose, tables, tokens, writing
from graft.data.columns import PARTS, TABLES, label, roles
from graft.data.layout import Found, Row

if TYPE_CHECKING:
    from torch import nn

WORD = ("text", "texts")
SUFFIXES = (".txt", ".text", ".eml", ".md")
pieces = hiding.words
RAGGED, ROWS, VIEWS, BORROWED = True, 1024, (), ("tokenizer",)
INLINE = (*SUFFIXES, *TABLES)  # a text is an example itself, not the name of a file, unless it ends like one
GROUPED = (*layout.PEOPLE, "author", "conversation", "thread", "source")
VERSION = f"1, tokenizers {tokens.VERSION}"
DROPPED = 0.1  # share of the tokens that a view leaves out
BEGIN = 200  # characters of a preview
Example = str | tuple[str, str] | list[str]


@dataclass(frozen=True)
class Input:
    """What a text encoder is fed: tokens of its own tokenizer."""

    tokenizer: str = ""  # sha256 of tokenizer.json, or the file itself
    window: int = 512  # tokens that the network sees at once, its own marks included
    most: int = 8  # windows of a text; what is longer is cut
    kinds: bool = False  # whether it tells the two texts of a pair apart by a number beside each token
    pooling: str = "mean"  # of tokens to one vector: mean, cls, max, last
    after: tuple[dict[str, Any], ...] = ()  # what that vector goes through: dense layers, a normalisation


@dataclass(frozen=True)
class Reading:
    """Which columns of a table an example consists of; none: it is a file."""

    columns: tuple[str, ...] = ()
    words: bool = False  # every word has a label of its own: a text is taken for its words, parted by spaces


@dataclass(frozen=True)
class Look:
    """What a text shows at a glance."""

    words: int
    hash: int  # 64-bit SimHash (Charikar 2002) of its words: near-duplicates differ in few bits; 0 for short ones
    notes: tuple[str, ...] = ()


def parse(raw: Mapping[str, Any]) -> Input:
    """A backbone's input; raises PlanError where a field is unknown or out of its range."""
    input = from_dict(Input, raw)
    if input.window < 4 or input.most < 1:
        raise PlanError(f"The backbone's input needs a window of 4 tokens or more, and 1 window or more: {input}.")
    return input


def claims(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a table's rows hold texts: a column of several words, of lists of words, or of words and a usual name."""
    return bool(prose.wordy(rows) or prose.called(rows))


def find(place: Path, asked: Mapping[str, Any], labelled: bool = True) -> Found:
    """Texts in class folders, or in the rows of a table.

    Raises:
        DataError: there are none, or a table's columns cannot be told apart.
    """
    if labelled:
        layout.refuse(asked, ("label", "group", "time", "path", "columns"))
    if (place.is_dir() and layout.only_table(place) is None) or place.suffix.lower() in SUFFIXES:
        return layout.files(place, SUFFIXES, asked, GROUPED, labelled)
    table = layout.only_table(place)
    assert table is not None
    rows = tables.read(table).records()
    if not rows:
        raise DataError(f"The table {table} is empty.")
    if asked.get("path") or prose.name_files(rows, SUFFIXES):
        return layout.table(table, SUFFIXES, asked, GROUPED, labelled)
    columns = prose.columns(table, rows, asked)
    found = Found(reading={"columns": list(columns)})
    items = [f"{table.absolute()}#{number}" for number in range(1, len(rows) + 1)]
    if not labelled:
        found.rows = [Row(item, None) for item in items]
        return found
    role = roles(table, rows, asked, GROUPED, columns)
    found.names = role.labels
    found.notes += prose.said(table.name, rows, columns, role)
    layout.noted(found, role)
    for item, row in zip(items, rows, strict=True):
        part = PARTS[str(row[role.part]).lower()] if role.part else ""
        group = str(row.get(role.group) or "") if role.group else ""
        found.rows.append(Row(item, label(row, role.labels), part, group, **role.beside(row)))
    return found


def fetch(item: str, reading: Reading) -> bytes:
    """A file's bytes, or the JSON of a row's texts."""
    return tables.row(item, reading.columns) if reading.columns else Path(item).read_bytes()


def given(value: Any, reading: Reading) -> bytes:
    """A text, two, or a row of them by column, as `fetch` would give it.

    Raises:
        DataError: it is none of that.
    """
    if isinstance(value, bytes):
        return value if not reading.columns else tables.canonical({reading.columns[0]: writing.decoded(value)[0]})
    if not reading.columns and isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    columns = reading.columns or ("text",)
    if isinstance(value, Mapping):
        if missing := [column for column in columns if column not in value]:
            raise DataError(f"The row has no {prose.together(missing)}; it has {prose.together(list(value))}.")
        return tables.canonical({column: value[column] for column in columns})
    parted = isinstance(value, tuple) or (len(columns) > 1 and not isinstance(value, str))
    several = list(value) if parted else [prose.listed(value)]
    if len(several) != len(columns):
        raise DataError(f"{len(columns)} texts are wanted ({prose.together(columns)}), not {len(several)}.")
    return tables.canonical(dict(zip(columns, several, strict=True)))


def look(raw: bytes, reading: Reading) -> Look:
    """Length, likeness, and what is odd; raises DataError where there is no text."""
    example, notes = _read(raw, reading)
    return Look(len(_line(example).split()), writing.simhash(_line(example)), notes)


def decode(raw: bytes, reading: Reading, input: Input | None = None) -> Example:
    """The text, the two texts, or the words; raises DataError where there is no text."""
    return _read(raw, reading)[0]


def suited(input: Mapping[str, Any], reading: Reading, examples: Iterable[Example]) -> dict[str, Any]:
    """The input as it is: a window belongs to the network."""
    return dict(input)


def remarks(input: Input, reading: Reading, examples: Iterable[Example]) -> Iterator[str]:
    """How many of these texts are longer than the backbone sees at once."""
    counts = np.array([len(tokens.encoded(input.tokenizer, example, input.window)[0]) for example in examples])
    long, cut = int((counts > input.window).sum()), int((counts > (room := input.window * input.most)).sum())
    if long:
        yield (
            f"{long} of {len(counts)} training texts looked at are longer than {input.window} tokens and are read in "
            f"windows of that length{f'; {cut} are cut after {room} tokens' if cut else ''}."
        )


def words(example: Example) -> list[str]:
    """What a text is about, to tell groups of them apart."""
    return writing.terms(_line(example))


def preview(example: Example) -> str:
    """How a text begins."""
    return _line(example)[:BEGIN]


def smaller(input: Mapping[str, Any]) -> dict[str, Any]:
    """One window of half the length: a network that has learned nothing yet has enough to learn from that."""
    return {**input, "window": max(32, parse(input).window // 2), "most": 1}


def prepare(example: Example, input: Input) -> dict[str, np.ndarray]:
    """Tokens, at most `most` windows of them.

    Shape: x int64 (T,); kind (T,) where the input wants it; word (T,), the word that a token begins or -1, for words.
    """
    ids, kinds, words = tokens.encoded(input.tokenizer, example, input.window)
    made = {"x": (whole := np.array(ids[: input.window * input.most], np.int64))}
    if input.kinds:
        made["kind"] = np.array(kinds[: len(whole)], np.int64)
    if isinstance(example, list):
        made["word"] = np.array(words[: len(whole)], np.int64)
    return made


def vary(example: Example, input: Input, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The text with one word in ten left out.

    Shape: as `prepare`.
    """
    if isinstance(example, list):  # every word has a label
        return prepare(example, input)
    kept = []
    for text in [example] if isinstance(example, str) else example:
        words = text.split(" ")
        stays = rng.random(len(words)) >= DROPPED
        kept.append(" ".join(word for word, stay in zip(words, stays, strict=True) if stay) or text)
    return prepare(kept[0] if len(kept) == 1 else (kept[0], kept[1]), input)


def example(input: Input, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random tokens of n texts, each longer than the one before.

    Shape: x (T,), length (n,).
    """
    length = np.array([min(input.window, 4 + 3 * at) for at in range(n)], np.int64)
    x = rng.integers(0, tokens.vocabulary(input.tokenizer), int(length.sum()))
    return {"x": x, "length": length} | ({"kind": np.zeros_like(x)} if input.kinds else {})


def ship(examples: Sequence[Mapping[str, np.ndarray]], input: Input) -> dict[str, np.ndarray]:
    """Texts as pieces of at most a window, filled up to the longest.

    Shape: x, mask (and kind) int64 (P, L); share (B, P), what each piece counts for in each text.
    """
    owners, pieces = [], []
    for owner, one in enumerate(examples):
        for at in range(0, len(one["x"]), input.window):
            owners.append(owner)
            pieces.append({name: array[at : at + input.window] for name, array in one.items() if name != "word"})
    sizes = np.array([len(piece["x"]) for piece in pieces])
    made = {name: np.zeros((len(pieces), sizes.max()), np.int64) for name in (*pieces[0], "mask")}
    for row, piece in enumerate(pieces):
        made["mask"][row, : sizes[row]] = 1
        for name, array in piece.items():
            made[name][row, : sizes[row]] = array
    weights = sizes if input.pooling == "mean" else np.ones(len(pieces))
    share = np.zeros((len(examples), len(pieces)), np.float32)
    share[owners, np.arange(len(pieces))] = weights
    return {**made, "share": share / share.sum(1, keepdims=True)}


def told(logits: np.ndarray, examples: Sequence[Mapping[str, np.ndarray]], input: Input) -> list[np.ndarray]:
    """Answers for every word from those for every token: (P, L, K) to one (words, K) an example."""
    at, answers = 0, []
    for one in examples:
        count = -(-len(one["x"]) // input.window)
        rows = logits[at : at + count].reshape(-1, logits.shape[-1])[: len(one["x"])]
        answers.append(rows[one["word"] >= 0])
        at += count
    return answers


def front(input: Input) -> "nn.Module":
    """Nothing: tokens are what the network takes."""
    from torch.nn import Identity

    return Identity()


def schema(input: Input) -> dict[str, dict[str, Any]]:
    """What the exported network takes."""
    piece = {"dtype": "int64", "shape": ["piece", "token"]}
    made = {
        "x": {**piece, "what": "token ids of tokenizer.json"},
        "mask": {**piece, "what": "1 where there is a token"},
        "share": {"dtype": "float32", "shape": ["batch", "piece"], "what": "what a piece counts for in each text"},
    }
    return made | {"kind": {**piece, "what": "which of two texts"}} if input.kinds else made


def assets(input: Input) -> dict[str, Path]:
    """The files that the input needs beside the network."""
    return {"tokenizer": tokens.place(input.tokenizer)}


def _line(example: Example) -> str:
    return example if isinstance(example, str) else " ".join(example)


def _read(raw: bytes, reading: Reading) -> tuple[Example, tuple[str, ...]]:
    if not reading.columns:
        text, notes = writing.decoded(raw)
        if not text.strip():
            raise DataError("The text is empty.")
        return text, notes
    try:
        cells = json.loads(raw)
        values = [cells[column] for column in reading.columns]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise DataError(f"This is no row with {prose.together(list(reading.columns))}.") from None
    if len(values) == 1 and isinstance(values[0], list):
        if not (words := [str(word) for word in values[0]]):
            raise DataError("The list of words is empty.")
        return words, ()
    texts = ["" if value is None else str(value) for value in values]
    if reading.words and texts[0].split():
        return texts[0].split(), ()
    if not "".join(texts).strip():
        raise DataError("The text is empty.")
    return (texts[0] if len(texts) == 1 else (texts[0], " ".join(texts[1:]))), ()
