"""Entities in a sequence of tags, as conlleval finds them (Tjong Kim Sang & De Meulder, 2003).

An entity begins at B and S, after another entity's end, and wherever the type changes: an I with nothing before it
begins one as well. So a model's tags need not be well formed to be scored, nor BIO be told from IOB2.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Whole = NDArray[np.int64]
Kinds = list[tuple[str, str]]  # of each tag, its role and its type

OUTSIDE = "O"
TAG = re.compile(r"([BIESLU])(?:[-_](.+))?", re.DOTALL)  # BIO, IOB2, IOBES, and BILOU, where L ends and U stands alone
SAME = {"L": "E", "U": "S"}
ROLES = "OBIES"


def kinds(names: Sequence[str]) -> Kinds | None:
    """The role (O, B, I, E, S) and the type of each tag, "" where there is but one; None if they mark no entities."""
    found = [(OUTSIDE, "") if name == OUTSIDE else _kind(name) for name in names]
    marked = [kind for kind in found if kind is not None]
    if len(marked) < len(found) or all(role == OUTSIDE for role, _ in marked):
        return None
    if OUTSIDE not in names and any(not type for _, type in marked):  # letters that may stand for anything
        return None
    return marked


def spans(tags: ArrayLike, number: ArrayLike, kinds: Kinds) -> tuple[Whole, Whole, Whole]:
    """The first and the last place of each entity in a sequence of tags (T,), and the number of its type, in order.

    Shape: number (T,) the example that each tag belongs to, which stand behind one another.
    """
    types = sorted({type for _, type in kinds})
    at = np.asarray(tags, np.int64)
    role = np.array([ROLES.index(role) for role, _ in kinds], np.int64)[at]
    type = np.array([types.index(type) for _, type in kinds], np.int64)[at]
    owner = np.asarray(number)
    new = np.append(True, owner[1:] != owner[:-1])[: len(at)]
    before, type_before = (np.append(0, values[:-1])[: len(at)] for values in (role, type))
    before = np.where(new, 0, before)
    out, begin, inside, end, alone = (ROLES.index(letter) for letter in ROLES)
    fresh = np.isin(role, (begin, alone)) | (np.isin(role, (inside, end)) & np.isin(before, (out, end, alone)))
    starts = (role != out) & (fresh | (type != type_before))
    stops = (role != out) & np.append((starts | new | (role == out))[1:], True)[: len(at)]
    return np.flatnonzero(starts), np.flatnonzero(stops), type[starts]


def counts(said: ArrayLike, true: ArrayLike, number: ArrayLike, kinds: Kinds, examples: int) -> Whole:
    """Of each example, how many entities were found, were there, and were found as they are (examples, 3).

    Shape: said, true, number (T,), the numbers from 0 to examples - 1.
    """
    owner = np.asarray(number)
    (first, last, type), (begin, end, kind) = spans(said, owner, kinds), spans(true, owner, kinds)
    last_there, kind_there = np.full(len(owner), -1), np.full(len(owner), -1)
    last_there[begin], kind_there[begin] = end, kind
    right = first[(last_there[first] == last) & (kind_there[first] == type)]
    return np.column_stack([np.bincount(owner[at], minlength=examples) for at in (first, begin, right)])


def _kind(name: str) -> tuple[str, str] | None:
    found = TAG.fullmatch(name)
    return None if found is None else (SAME.get(found[1], found[1]), found[2] or "")
