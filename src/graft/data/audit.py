"""What reading the data shows before anything is trained: copies, contradictions, look-alikes."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from graft.core.examples import PAIRS

BITS = 3  # difference hashes of two photos at most this many bits apart look alike
CROWD = 50  # a hash that this many files share says nothing: blank pages, icons
LOOKS = 1 << 27  # comparisons in one band


def contradictions(labels: Sequence[str], ids: Sequence[str]) -> dict[str, list[str]]:
    """The labels of each content that carries more than one."""
    seen: dict[str, set[str]] = defaultdict(set)
    for label, id in zip(labels, ids, strict=True):
        seen[id].add(label)
    return {id: sorted(found) for id, found in seen.items() if len(found) > 1}


def case_twins(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of labels that differ only in case or in spaces around them."""
    seen: dict[str, str] = {}
    twins = []
    for label in sorted(set(labels)):
        plain = " ".join(label.casefold().split())
        if plain in seen:
            twins.append((seen[plain], label))
        seen[plain] = label
    return twins


def alike(
    hashes: Sequence[int], ids: Sequence[str], parts: Sequence[str], mirrored: Sequence[int] = ()
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Rows whose hashes are at most BITS apart, though their contents differ.

    What is mirrored counts as alike, too, where its hashes are given. Two hashes that differ in at most 3 of 64 bits
    agree in one of four bands of 16 bits, so only those that share a band are compared; where too many share one, each
    with those that come next to it by size.

    Returns: the first pairs across parts, PAIRS at most; every row that looks like one of another part; every row that
        looks like one of its own part. Among thousands that look alike pairs grow with the square, rows do not.
    """
    values, count = np.array([*hashes, *mirrored], dtype=np.uint64), len(hashes)
    content, part = (np.unique(names, return_inverse=True)[1] for names in (ids, parts))
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    usable = np.flatnonzero((counts[inverse] < CROWD) & (values != 0))
    pairs, across, within = np.zeros(0, np.int64), np.zeros(count, bool), np.zeros(count, bool)  # a pair as one number
    for band in range(4):
        word = (values[usable] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.lexsort((values[usable], word))
        row, value, word = usable[order], values[usable][order], word[order]
        last, one = np.searchsorted(word, word, "right") - 1, np.arange(len(word))
        for step in range(1, LOOKS // max(1, len(word))):
            one = one[one + step <= last[one]]
            if not one.size:
                break
            near = one[np.bitwise_count(value[one] ^ value[one + step]) <= BITS]
            a, b = row[near] % count, row[near + step] % count
            other, same = content[a] != content[b], part[a] == part[b]
            for flags, some in ((across, other & ~same), (within, other & same)):
                flags[a[some]] = flags[b[some]] = True
            found = (np.minimum(a, b) * count + np.maximum(a, b))[other & ~same]
            found = found[found < pairs[-1]] if len(pairs) == PAIRS else found
            pairs = np.unique(np.concatenate([pairs, found]))[:PAIRS] if found.size else pairs
    shown = list(zip((pairs // count).tolist(), (pairs % count).tolist(), strict=True))
    return shown, np.flatnonzero(across).tolist(), np.flatnonzero(within).tolist()
