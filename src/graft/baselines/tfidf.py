"""Classical text: words and pairs of words, the rarer the weightier (TF-IDF; Salton & Buckley, 1988), a linear head.

Words are told by Unicode. Where a script puts no spaces between words (Chinese, Japanese, Thai, …), each character is
one, and pairs of them tell most.
"""

import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Hashes = NDArray[np.uint64]

MODALITIES = ("text",)
CALLED = "a linear model on words"
HEADS = ("classification", "multilabel", "regression")  # one answer for each text; words are not told apart by place
RAGGED = True
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)  # Thai and Lao, Burmese, Khmer, Japanese, Chinese
LEAST = 2  # documents that a term must stand in to be learned from
FEW = 20  # documents up to which one is enough
MOST = 50_000  # terms, the commonest; more hardly help and make the state large
PAIR, TURN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd: products lose nothing


def describe(example: str | Sequence[str]) -> Hashes:
    """The words of a text, or of several texts, each followed by its pair with the next: 64-bit hashes, shape (n,).

    They are the same on every machine. Pairs do not cross from one text to the next.
    """
    texts = [example] if isinstance(example, str) else example
    return np.concatenate([np.empty(0, np.uint64), *(_terms(text) for text in texts)])


def fit(x: Sequence[Hashes], y: np.ndarray, head: Any, outputs: int, seed: int) -> dict[str, np.ndarray]:
    """Which terms count and how much, and the exact linear head on them; x: one array of hashes for each of N texts.

    Raises:
        DataError: fewer than two texts.
    """
    from graft.model import sparse

    terms, documents = np.unique(
        np.concatenate([np.empty(0, np.uint64), *map(np.unique, map(_unsigned, x))]), return_counts=True
    )
    common = np.flatnonzero(documents >= (LEAST if len(x) > FEW else 1))
    common = np.sort(common[np.argsort(-documents[common], kind="stable")[:MOST]])
    rarity = np.log((1 + len(x)) / (1 + documents[common])) + 1
    state: dict[str, np.ndarray] = {"terms": terms[common].view(np.int64), "rarity": rarity.astype(np.float32)}
    balanced = getattr(head, "balanced", False)
    weights = head.weigh(y, outputs, True)[y] if balanced else None
    found = sparse.fit(_weighted(state, x), y, head.KIND, outputs, seed=seed, weights=weights)
    # Contiguous: safetensors writes the memory as it lies.
    return state | {"weight": np.ascontiguousarray(found.weight, np.float32), "bias": found.bias}


def predict(state: dict[str, np.ndarray], x: Sequence[Hashes]) -> NDArray[np.float64]:
    """Logits or values (N, outputs) of N texts' hashes."""
    return np.asarray(_weighted(state, x) @ state["weight"].astype(np.float64).T + state["bias"])


def _weighted(state: dict[str, np.ndarray], x: Sequence[Hashes]) -> "csr_array":
    """Texts as rows of length 1 (N, terms): (1 + log count) × rarity of each known term."""
    from scipy.sparse import csr_array

    terms = state["terms"].view(np.uint64)
    values, columns, starts = [np.empty(0)], [np.empty(0, np.int64)], [0]
    for text in x:
        found, count = np.unique(_unsigned(text), return_counts=True)
        at = np.searchsorted(terms, found)
        known = at < len(terms)
        known[known] = terms[at[known]] == found[known]
        weight = (1 + np.log(count[known])) * state["rarity"][at[known]]
        values.append(weight / (np.sqrt((weight**2).sum()) or 1.0))
        columns.append(at[known])
        starts.append(starts[-1] + len(weight))
    return csr_array((np.concatenate(values), np.concatenate(columns), starts), shape=(len(x), len(terms)))


def _unsigned(hashes: np.ndarray) -> Hashes:
    return np.asarray(hashes).astype(np.uint64, copy=False)


def _terms(text: str) -> Hashes:
    words = _pattern().findall(unicodedata.normalize("NFKC", text).casefold())
    each = np.fromiter(map(_hash, words), np.uint64, len(words))
    terms = np.empty(max(0, 2 * len(each) - 1), np.uint64)
    terms[::2] = each
    pairs = (each[:-1] * PAIR + (each[1:] >> np.uint64(7))) ^ (each[1:] * TURN)  # modulo 2⁶⁴; "a b" is not "b a"
    pairs ^= pairs >> np.uint64(29)
    terms[1::2] = pairs * PAIR
    return terms


@lru_cache(maxsize=1 << 16)
def _hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@cache
def _pattern() -> "re.Pattern[str]":
    """One character of a script without spaces, or a word; with the marks (accents, vowels) that belong to it."""
    marks = "".join(
        c for c in map(chr, range(0x300, min(sys.maxunicode, 0x20000))) if unicodedata.category(c)[0] == "M"
    )
    letters = rf"[^\W{SPACELESS}]+"
    return re.compile(rf"[{SPACELESS}](?<!\W)[{marks}]*|{letters}(?:[{marks}]+(?:{letters})?)*")
