"""Another domain beside the data's own: examples of a target to be answered for, or of a source that may help."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graft.core.errors import DataError
from graft.core.nouns import Part
from graft.data import audit
from graft.parts import SHOWN, Seen


def elsewhere(
    rows: Sequence[Any],
    facts: Mapping[str, tuple[str, dict[str, Any]]],
    own: Sequence[Seen],
    kind: Any,
    outputs: Sequence[str],
    notes: list[str],
) -> Part:
    """The examples of a target domain that no part holds; with targets if all lie in folders of known classes.

    Raises:
        DataError: there are not even two, or the task is none that a target domain helps.
    """
    if kind.KIND != "softmax" or kind.ROWS:
        raise DataError(
            "A target domain is aligned with by probabilities of classes: this task has none. Leave it out."
        )
    known = {row.id for row in own}
    kept = [row for row in rows if "error" not in facts[row.item][1] and facts[row.item][0] not in known]
    count = f"{len(kept)} of {len(rows)} examples of the target domain can be read and stand in no part of the data"
    if len(kept) < 2:
        raise DataError(f"{count}; two are needed.")
    folders = [Path(row.item).parent.name for row in kept]
    labelled = {*folders} <= {*outputs}
    notes.append(f"{count}; their folders are {'their labels' if labelled else 'no labels'}.")
    targets = tuple(kind.encode(folder, outputs) for folder in folders) if labelled else ()
    return Part(tuple(row.item for row in kept), targets, tuple(facts[row.item][0] for row in kept))


def sourced(
    rows: Sequence[Any],
    facts: Mapping[str, tuple[str, dict[str, Any]]],
    own: Sequence[Seen],
    kind: Any,
    outputs: Sequence[str],
    notes: list[str],
) -> Part:
    """The examples of a source domain whose labels the task knows, each content once, without those that it has itself.

    Copies of its training examples go as well: over folds those are tested, too.

    Raises:
        DataError: none is left, or the task's examples have no one label.
    """
    if kind.ROWS or not getattr(kind, "LABELLED", True):
        raise DataError("Source data are learned from by one label an example, and this task has none: leave them out.")
    held, kept = {row.id for row in own}, dict[str, tuple[Any, Any]]()
    both = audit.contradictions([repr(row.label) for row in rows], [facts[row.item][0] or row.item for row in rows])
    out, strange = Counter[str](), Counter[str]()
    for row in rows:
        id, fact = facts[row.item]
        if "error" in fact:
            out[f"cannot be read ({fact['error']})"] += 1
        elif id in held:
            out["are copies of the data's own examples"] += 1
        elif id in both:
            out["have two labels"] += 1
        else:
            try:
                kept[id] = (row, kind.encode(row.label, outputs))
            except DataError:
                out["have labels that the task does not know"] += 1
                strange[str(row.label)] += 1
    left = f"{len(kept)} of {len(rows)} source examples can be learned from" + "".join(
        f"; {count} {why}" for why, count in out.most_common(4)
    )
    theirs = f": {_some(strange)}, where the task has {_some(outputs)}" if strange else ""
    if not kept:
        raise DataError(f"{left}{theirs}. Labels must have the same names in both, and examples differ.")
    notes.append(f"{left}{theirs}.")
    hashes = [
        fact.get("hash", 0) for fact in (*(row.facts for row in own), *(facts[r.item][1] for r, _ in kept.values()))
    ]
    parts = ["own"] * len(own) + ["source"] * len(kept)
    _, across, _ = audit.alike(hashes, [*(row.id for row in own), *kept], parts)
    if count := sum(row >= len(own) for row in across):
        alike = f"{count} of {len(kept)} source examples look like one of the data's own"
        notes.append(f"{alike}; what they teach may be too good.")
    groups = tuple(row.group for row, _ in kept.values())
    targets = tuple(target for _, target in kept.values())
    return Part(tuple(row.item for row, _ in kept.values()), targets, tuple(kept), groups if any(groups) else ())


def _some(labels: Iterable[str]) -> str:
    names = sorted(labels)
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
