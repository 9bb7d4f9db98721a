"""What can go wrong, and the exit status that each kind of fault earns.

    GraftError                a fault the person can mend: one sentence, exit status 2
    ├── DataError             the labelled data cannot be read or cannot carry a task
    ├── BackboneError         a backbone is unknown, unreachable, damaged or does not fit
    ├── PlanError             a plan that cannot be carried out
    ├── StorageError          the home cannot be written (full disk, no permission)
    ├── TrainingDiverged      the loss left the finite numbers
    └── ExportMismatch        what was written does not compute what was trained

Anything else that escapes is a fault of ours: exit status 1.
"""

import difflib
from collections.abc import Iterable


class GraftError(Exception):
    """A fault that the person can mend; its text says what happened, with which values, and the next step."""


class DataError(GraftError):
    """The labelled data cannot be read or cannot carry a task."""


class BackboneError(GraftError):
    """A backbone is unknown, unreachable, damaged or does not fit."""


class PlanError(GraftError):
    """A plan, or a part of one, that cannot be carried out."""


class StorageError(GraftError):
    """The home, or the folder asked for, cannot be written."""


class TrainingDiverged(GraftError):
    """The loss left the finite numbers."""


class ExportMismatch(GraftError):
    """What was written does not compute what was trained."""


def nearest(word: str, known: Iterable[str], *, say: str = "Did you mean") -> str:
    """The names closest to a misspelt one, as the end of an error message (empty when nothing is close)."""
    pool = list(known)
    lower = {name.lower(): name for name in pool}
    near = difflib.get_close_matches(word.lower(), lower, n=3, cutoff=0.8)  # beside these the others are not meant
    close = [lower[found] for found in near or difflib.get_close_matches(word.lower(), lower, n=3, cutoff=0.5)]
    if not near:
        more = [name for name in pool if word and word.lower() in name.lower() and name not in close]
        close += more[: 3 - len(close)]
    return f" {say} {' or '.join(close)}?" if close else ""
