"""Whom a recording is of, and which part it belongs to, from the names of its folders and its file."""

import re
from collections.abc import Sequence
from pathlib import Path

from graft.data.columns import PARTS

WHO = [  # in the names of files and folders; what is tried first tells more
    re.compile(rf"(?<![a-z\d])({words})\d+", re.IGNORECASE)
    for words in (
        r"(sub|subj|subject|patient|pat|participant|person|user)[-_ ]?",
        r"(record|rec|session|ses)[-_ ]?",
        r"s(?=\d{1,3}(?!\d))",
        r"p(?=\d{1,2}(?!\d))",  # p300 is a brain wave
    )
]


def part_of(inside: Sequence[str]) -> str:
    """train, val or test, from a folder's name or the end of a file's, as in ECG200_TRAIN.tsv."""
    words = [*(part.lower() for part in inside[:-1]), re.split(r"[_\-. ]", Path(inside[-1]).stem.lower())[-1]]
    return next((PARTS[word] for word in words if word in PARTS), "")


def who(inside: Sequence[str]) -> str:
    """Whom a file is of, from the names of its folders and its own: sub-01, S003R04, patient_7."""
    for pattern in WHO:
        for name in inside:
            if found := pattern.search(Path(name).stem):
                return found[0].lower()
    return ""
