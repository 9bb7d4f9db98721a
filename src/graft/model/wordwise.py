"""Targets and answers word by word: how those of several texts lie behind one another, and which belong to which."""

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]


def complete(logits: np.ndarray, y: Whole, whole: np.ndarray) -> tuple[np.ndarray, Whole]:
    """Answers and targets of every word; one behind what a network reads of a long text is answered with the first tag.

    That is O where there is one.

    Shape: logits (T, K), targets of tokens y (T, 2), of words whole (n,) → (words, K), (words, 2).
    """
    words = by_row(whole)
    first = np.searchsorted(words[:, 1], np.arange(len(whole)))
    tagged = np.flatnonzero(y[:, 0] >= 0)
    owner = y[tagged, 1]
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)  # among the words of its text
    full = np.zeros((len(words), logits.shape[1]), logits.dtype)
    full[:, 0] = 1
    full[first[owner] + place] = logits[tagged]
    return full, words


def within(y: Whole, examples: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows of targets (T, 2) belong to the examples (n,) that are marked."""
    kept: NDArray[np.bool_] = examples[np.unique(y[:, 1], return_inverse=True)[1]]
    return kept


def by_row(y: np.ndarray) -> Whole:
    """Targets as `aligned` gives them (T, 2); those of `array` have a row for every word."""
    if y.dtype != object:
        return y
    words = np.repeat(np.arange(len(y)), [len(tags) for tags in y])
    return np.column_stack([np.concatenate([*y, np.zeros(0, np.int64)]), words])
