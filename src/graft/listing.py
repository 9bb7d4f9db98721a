"""What stands on a shelf."""

from typing import Any

from graft.core.errors import PlanError, nearest
from graft.core.shelf import SHELVES, first_line, names, take


def listed(shelf: str | None) -> list[dict[str, Any]]:
    """The entries of a shelf, each with its name and what it is; without a shelf, the shelves, likewise.

    Raises:
        PlanError: there is no such shelf.
    """
    shelves = ("backbones", *SHELVES)
    if shelf is None:
        what = {shelf: first_line(shelf, "__init__").partition(":")[0] for shelf in SHELVES}
        return [{"name": name, "what": what.get(name, "Networks to start from")} for name in shelves]
    if shelf not in shelves:
        raise PlanError(f"There is no shelf {shelf!r}.{nearest(shelf, shelves)} The shelves are {', '.join(shelves)}.")
    if shelf != "backbones":
        return [{"name": name, "what": first_line(shelf, name)} for name in names(shelf)]
    known = [
        b for kind in names("modalities") for source in names("sources") for b in take("sources", source).catalog(kind)
    ]
    return [
        {"name": b.id, "for": b.modality, "family": b.family, "imagenet": b.accuracy, "license": b.license,
         "note": b.note}
        for b in known
    ]  # fmt: skip
