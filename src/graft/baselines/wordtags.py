"""Classical tagging: a word, how it begins, ends and is written, and the words beside it; a linear head.

What a tagger without pretraining goes by (Ratnaparkhi, 1996), each word by itself: no tag looks at the one before.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MODALITIES = ("text",)
HEADS = ("tagging",)
CALLED = "a linear model on each word and those beside it"
RAGGED = True
SIGNS = 11  # of a word
LEAST = 2  # words that a sign must be of to be learned from
MOST = 50_000  # signs, the commonest
TRAINED = 20_000  # words that are learned from at most: the texts that come first


def describe(example: Sequence[str]) -> NDArray[np.uint64]:
    """Eleven signs of each word as 64-bit hashes, one word behind the other: shape (words · 11,)."""
    words = list(example)
    around = ["", *words, ""]
    found = []
    for at, word in enumerate(words):
        before, after, low = around[at], around[at + 2], word.lower()
        found += [
            f"w {low}", f"b {before.lower()}", f"a {after.lower()}", f"wb {before.lower()} {low}",
            f"wa {low} {after.lower()}", f"s3 {low[-3:]}", f"s2 {low[-2:]}", f"p3 {low[:3]}", f"l {_look(word)}",
            f"lb {_look(before)} {_look(word)}", f"la {_look(word)} {_look(after)}",
        ]  # fmt: skip
    return np.array([_hash(sign) for sign in found], np.uint64)


def fit(x: Sequence[NDArray[np.uint64]], y: np.ndarray, head: Any, outputs: int, seed: int) -> dict[str, np.ndarray]:
    """Which signs count and how much, of N texts x with y, the tags of their words (N,), each of its own length.

    Raises:
        DataError: fewer than two words.
    """
    from graft.model import sparse

    signs = _signs(x)[:TRAINED]
    tags = head.by_row(y)[:TRAINED, 0]
    names, count = np.unique(signs, return_counts=True)
    common = np.flatnonzero(count >= LEAST)
    common = np.sort(common[np.argsort(-count[common], kind="stable")[:MOST]])
    state = {"signs": names[common].view(np.int64)}
    found = sparse.fit(_rows(state, signs), tags, "softmax", outputs, seed=seed)
    return {**state, "weight": np.ascontiguousarray(found.weight, np.float32), "bias": found.bias}


def predict(state: dict[str, np.ndarray], x: Sequence[NDArray[np.uint64]]) -> NDArray[np.float64]:
    """Logits (words of all texts, outputs)."""
    rows = _rows(state, _signs(x))
    return np.asarray(rows @ state["weight"].astype(np.float64).T + state["bias"])


def _signs(x: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """(words, 11)."""
    return np.concatenate([np.empty(0, np.uint64), *(np.asarray(each, np.uint64) for each in x)]).reshape(-1, SIGNS)


def _rows(state: dict[str, np.ndarray], signs: NDArray[np.uint64]) -> "csr_array":
    """Words as rows of length 1 or less (words, known signs)."""
    from scipy.sparse import csr_array

    known = state["signs"].view(np.uint64)
    at = np.minimum(np.searchsorted(known, signs), max(len(known) - 1, 0))
    there = known[at] == signs if len(known) else np.zeros(signs.shape, bool)
    starts = np.concatenate([[0], np.cumsum(there.sum(1))])
    return csr_array((np.full(int(starts[-1]), SIGNS**-0.5), at[there], starts), shape=(len(signs), len(known)))


def _look(word: str) -> str:
    """How a word is written: Xx for Anna, d for 1984, X.X. for U.S., x-x for well-known."""
    kinds = ["X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word[:20]]
    return "".join(kind for kind, last in zip(kinds, ["", *kinds], strict=False) if kind != last)


def _hash(sign: str) -> int:
    return int.from_bytes(blake2b(sign.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
