"""What reading the data shows before anything is trained: copies, contradictions, look-alikes."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

BITS = 3  # difference hashes of two photos at most this many bits apart look alike
CROWD = 50  # a hash that this many files share says nothing: blank pages, icons
SHOWN = 200  # pairs that are reported


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
) -> tuple[list[tuple[int, int]], list[int]]:
    """Rows whose hashes are at most BITS apart, though their contents differ: pairs across parts; rows within one.

    What is mirrored counts as alike, too, where its hashes are given. Two hashes that differ in at most 3 of 64 bits
    agree in one of four bands of 16 bits, so only those that share a band are compared.
    """
    values, count = np.array([*hashes, *mirrored], dtype=np.uint64), len(hashes)
    content, part = (np.unique(names, return_inverse=True)[1] for names in (ids, parts))
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    usable = np.flatnonzero((counts[inverse] < CROWD) & (values != 0))
    across, within = [np.zeros(0, np.int64)], np.zeros(count, bool)  # pairs as one number each: there may be millions
    for band in range(4):
        word = (values[usable] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(word, kind="stable")
        for run in np.split(usable[order], np.flatnonzero(np.diff(word[order])) + 1):
            for i, place in enumerate(run[:-1]):
                others = run[i + 1 :]
                near, row = others[np.bitwise_count(values[others] ^ values[place]) <= BITS] % count, place % count
                near = near[content[near] != content[row]]
                same = part[near] == part[row]
                within[near[same]] = True
                within[row] |= same.any()
                if (away := near[~same]).size:
                    across.append(np.minimum(row, away) * count + np.maximum(row, away))
    pairs = np.unique(np.concatenate(across))
    return list(zip((pairs // count).tolist(), (pairs % count).tolist(), strict=True)), np.flatnonzero(within).tolist()
