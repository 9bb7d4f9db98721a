"""card.json: what an artifact's folder holds, checked before anything else in it is read.

A folder may come from anyone. Nothing in it is run: a card names files beside it, files of graft's own shelves, and
numbers. What names anything else is refused, and so is a folder with other bytes than the card was written for.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from graft.core.errors import DataError, ExportMismatch
from graft.core.keys import file_sha256
from graft.core.shelf import names

SCHEMA = 3  # of card.json
LARGEST = 256_000_000  # bytes of a card: it lists a hash for every example that was learned from
KINDS = (".json", ".safetensors", ".onnx", ".pt2", ".xml", ".bin")  # endings of an artifact's files
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill")  # which would run code when they are read
Card = dict[str, Any]


def opened(folder: Path) -> Card:
    """The card of an artifact, in this version's schema, every file of it checked against its sha256.

    Raises:
        DataError: the folder holds no artifact.
        ExportMismatch: the card is damaged, of a newer schema, or names what it must not; a file is missing or changed.
    """
    card = _current(folder, _read(folder))
    if faults := list(_faults(card)):
        raise ExportMismatch(f"{folder / 'card.json'} {'; it '.join(faults)}. Nothing of it was used.")
    for found in sorted(folder.iterdir()):
        if found.suffix.lower() in PICKLES:
            raise ExportMismatch(f"{found} is a pickle, which no artifact holds and which may run code. Remove it.")
    for name, expected in card["files"].items():
        if not (folder / name).is_file():
            raise ExportMismatch(f"{folder / name} is missing from the artifact.")
        if file_sha256(folder / name) != expected:
            raise ExportMismatch(f"{folder / name} has been changed: its sha256 is not the one in the card.")
    return card


def _read(folder: Path) -> Card:
    place = folder / "card.json"
    try:
        if place.stat().st_size > LARGEST:
            raise ExportMismatch(f"{place} is larger than a card can be ({LARGEST / 1e6:.0f} MB).")
        card = json.loads(place.read_text(encoding="utf-8"))
    except OSError:
        raise DataError(
            f"{folder} holds no artifact: there is no card.json in it. `graft transfer DATA --out {folder}` makes one."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ExportMismatch(f"{place} is damaged: {error}.") from None
    if not isinstance(card, dict) or type(card.get("schema")) is not int:
        raise ExportMismatch(f"{place} is damaged: it states no schema.")
    return card


def _current(folder: Path, card: Card) -> Card:
    """The card in this version's schema."""
    schema = card["schema"]
    if schema > SCHEMA:
        raise ExportMismatch(
            f"{folder} has schema {schema}, and this version reads up to {SCHEMA}. It was written by graft-learn "
            f"{str(card.get('graft', 'of a later version'))[:40]}: install that version or a newer one."
        )
    while schema in UPGRADES:
        try:
            card = UPGRADES[schema](card)
        except (KeyError, TypeError, AttributeError) as error:
            raise ExportMismatch(f"{folder / 'card.json'} is damaged: schema {schema} wants {error}.") from None
        schema = card["schema"]
    if schema != SCHEMA:
        raise ExportMismatch(
            f"{folder} has schema {schema}, which graft-learn 0.1 wrote before its first release. Export it again."
        )
    return card


def _from_2(card: Card) -> Card:
    """Schema 2 had one form of the network, and called the conformal quantiles thresholds."""
    trust = dict(card.get("trust", {}))
    if trust:
        trust["quantiles"] = trust.pop("thresholds")
    formats = {} if "baseline" in card else {"onnx": {"files": ["model.onnx"]}}
    return {"notes": [], **card, "schema": 3, "formats": formats, **({"trust": trust} if trust else {})}


UPGRADES: dict[int, Callable[[Card], Card]] = {2: _from_2}  # by the schema that each one reads


def _faults(card: Card) -> Iterator[str]:
    """What is wrong with a card, each to be read behind its name."""
    for name, kind in {"modality": str, "reading": dict, "labels": list, "files": dict, "formats": dict}.items():
        if not isinstance(card.get(name), kind):
            yield f"lacks {name}, or holds something else under that name"
            return
    files = card["files"]
    for name in files:
        if Path(name).name != name or "\\" in name or name in (".", "..", "card.json"):
            yield f"names {name!r}, which is not a file of the artifact"
        elif Path(name).suffix not in KINDS:
            yield f"names {name!r}, which is no kind of file that an artifact holds ({', '.join(KINDS)})"
    tasks = card.get("tasks", {"": card})
    if not isinstance(tasks, dict) or not all(isinstance(one, dict) and "labels" in one for one in tasks.values()):
        yield "lacks the labels of its tasks"
        return
    shelves = [("modalities", card["modality"])]
    shelves += [("heads", one.get("head")) for one in tasks.values()]
    shelves += [("baselines", card["baseline"])] if "baseline" in card else []
    shelves += [("formats", name) for name in card["formats"]]
    for shelf, name in shelves:
        if name not in names(shelf):
            yield f"names {name!r}, which is none of this version's {shelf}"
    needed = ["weights.safetensors"] if "baseline" in card else []
    try:
        needed += [name for form in card["formats"].values() for name in form["files"]]
        needed += list(card.get("assets", {}).values())
    except (TypeError, KeyError, AttributeError):
        yield "does not say which files its formats and assets are"
    if not card["formats"] and "baseline" not in card:
        yield "lists no form of the network"
    for name in needed:
        if name not in files:
            yield f"needs {name!r}, for which it states no sha256"
