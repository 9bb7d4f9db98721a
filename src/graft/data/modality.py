"""What a file on the `modalities` shelf gives: how one kind of example is found, read, prepared and varied."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from graft.data.hiding import Pieces
from graft.data.layout import Found

if TYPE_CHECKING:
    from torch import nn


class Modality(Protocol):
    """Functions and constants of one file. The path calls nothing else of it.

    Raw bytes become an example (a picture, a text, an array), and an example what a network is fed: arrays by name, the
    main one "x". Where examples are ragged the arrays have a leading axis of rows (windows, tokens), as many as the
    example has; in a batch the rows lie one behind the other, and "length" says how many belong to each.

    What a file may have beside that: `claims(rows) -> bool`, whether a table's rows hold such examples as values;
    `holds(file) -> bool`, whether a file of arrays, which may be a table, holds such examples instead; `remarks(input,
    reading, examples)`, sentences on how these examples fit that backbone; `assets(input)`, files that an artifact
    needs; INLINE, that a str is an example and no file's name, unless it ends in one of these; FLAT, that an array of
    two axes is several examples; `told`, answers row by row; `preview(example)`, a text by which a person recognises an
    example (a small JPEG in base64, how it begins); `ranges(examples, reading)`, from where to where values lie, by
    name, `slack(examples, reading, ranges)`, how far others like them lie outside, and `odd(reading, ranges, slack)`,
    which tells of an example in sentences what of it was not learned from, and whether it lies beyond that; BORROWED,
    what of its input a small network from scratch takes from the adapted one (a tokenizer).
    """

    __name__: str
    WORD: tuple[str, str]  # what one example is called, and several
    SUFFIXES: tuple[str, ...]  # lower-case endings of files that are examples
    VERSION: str  # of what `decode`, `prepare` and `vary` compute: part of every feature's key
    RAGGED: bool
    ROWS: int  # of one forward pass through a frozen prefix
    VIEWS: tuple[int, ...]  # augmented views of an example that are worth keeping, most first

    def parse(self, raw: Mapping[str, Any]) -> Any:
        """What a backbone is fed, from Backbone.input; raises PlanError."""

    Reading: type  # how a task's raw examples are read: a frozen dataclass, stated in the Task

    def find(self, place: Path, asked: Mapping[str, Any], labelled: bool = True) -> Found:
        """Where the examples stand; `asked` is what the person named (columns, rates). Without labels, for answers."""

    def fetch(self, item: str, reading: Any) -> bytes:
        """The raw bytes of an item, by whose hash the example is known."""

    def given(self, value: Any, reading: Any) -> bytes:
        """The raw bytes of an example that is no file: a text, an array, a row."""

    def look(self, raw: bytes, reading: Any) -> Any:
        """What an example shows at a glance: a dataclass with a 64-bit `hash` for look-alikes; raises DataError."""

    def decode(self, raw: bytes, reading: Any, input: Any = None) -> Any:
        """Raw bytes to an example; for an input, perhaps no larger than that needs."""

    def suited(self, input: Mapping[str, Any], reading: Any, examples: Iterable[Any]) -> dict[str, Any]:
        """A backbone's input with what it leaves open set for a task, from its training examples."""

    def smaller(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """A cheaper input, for training from scratch."""

    def pieces(self, raw: bytes, reading: Any, input: Any = None) -> Pieces:
        """The example parted, so that each piece can be hidden: squares, words, stretches, columns."""

    def prepare(self, example: Any, input: Any) -> dict[str, np.ndarray]:
        """The plain view of an example, as the backbone wants it."""

    def vary(self, example: Any, input: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """An augmented view; the same generator, the same bits."""

    def example(self, input: Any, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A batch of n random prepared examples, of different lengths where they are ragged."""

    def ship(self, examples: Sequence[Mapping[str, np.ndarray]], input: Any) -> dict[str, np.ndarray]:
        """Prepared examples as the exported network takes them."""

    def front(self, input: Any) -> "nn.Module":
        """What stands before the backbone within the network: x as prepared to what the backbone takes."""

    def schema(self, input: Any) -> dict[str, dict[str, Any]]:
        """What the exported network takes: dtype, shape (free sizes by name) and meaning of each array."""
