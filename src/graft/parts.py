"""What can be learned from, and what stands in which part: copies and people together, in proportion or by time."""

from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

from graft.core.errors import DataError
from graft.core.examples import PAIRS
from graft.data import audit
from graft.data.splits import SHARES, later, split

FEWEST = 3  # distinct examples a class needs to stand in train, val and test
SHOWN = 3  # groups that are named
KNOWN = "what is measured is how well it does on those it knows"  # of groups in two parts; found in notes by it
LATER = "how well it does on what comes later is not measured"  # of parts that overlap in time


class Seen(NamedTuple):
    """A labelled example that was read."""

    item: str
    label: Any
    part: str
    group: str
    id: str
    facts: dict[str, Any]
    time: float | None = None


def remarks(rows: list[Seen]) -> list[str]:
    """What is odd about single examples, counted."""
    odd = Counter(note for row in rows for note in row.facts.get("notes", ()))
    first = {note: row.item for row in reversed(rows) for note in row.facts.get("notes", ())}
    return [f"{count} of {len(rows)} are {note}, such as {first[note]}." for note, count in odd.most_common(8)]


def legible(rows: list[Seen], kind: Any) -> tuple[list[Seen], list[tuple[str, str]]]:
    """The examples whose label the head can read, and why the others are left out."""
    kept, skipped = [], []
    for row in rows:
        try:
            kind.encode(row.label, kind.outputs([row.label]))
            kept.append(row)
        except DataError as error:
            skipped.append((row.item, str(error)))
    return kept, skipped


def by_word(reader: Any, reading: Any) -> Any:
    """The reading of examples whose words have a label each.

    Raises:
        DataError: examples of this kind have no words.
    """
    if not hasattr(reading, "words"):
        raise DataError(f"A {reader.WORD[0]} has no words that could be tagged. Ask for another --head.")
    return replace(reading, words=True)


def worded(rows: list[Seen], kind: Any, reader: Any, reading: Any) -> tuple[list[Seen], list[tuple[str, str]]]:
    """The examples that have as many labels as words, and why the others are left out."""
    kept, skipped = [], []
    for row in rows:
        example = reader.decode(reader.fetch(row.item, reading), reading)
        tags = len(kind.encode(row.label, kind.outputs([row.label])))
        if not isinstance(example, list):
            raise DataError("Tags stand beside words: a table with a column of lists of words is needed.")
        if len(example) == tags:
            kept.append(row)
        else:
            skipped.append((row.item, f"it has {len(example)} words and {tags} tags: each word needs one"))
    return kept, skipped


def apart(rows: list[Seen]) -> tuple[list[Seen], list[tuple[str, str]]]:
    """Copies of one content brought into one part: that of training, where one of them stands there."""
    order = {"train": 0, "val": 1, "test": 2, "": 0}
    home: dict[str, str] = {}
    for row in rows:
        home[row.id] = min(row.part, home.get(row.id, row.part), key=order.__getitem__)
    moved = [
        (row.item, f"moved from {row.part} to {home[row.id]}, where a copy of it stands")
        for row in rows
        if row.part != home[row.id]
    ]
    copies = Counter(row.id for row in rows)
    first: dict[str, str] = {}
    for row in rows:
        source = first.setdefault(row.id, row.item)
        if copies[row.id] > 1 and row.part == home[row.id]:
            kept = f"has copies ({copies[row.id] - 1})" if source == row.item else f"a copy of {source}"
            moved.append((row.item, f"{kept}; all of them stand in one part"))
    return [row._replace(part=home[row.id]) for row in rows], moved


def enough(rows: list[Seen], given: bool) -> tuple[list[Seen], list[tuple[str, str]]]:
    """Classes with too few distinct examples to stand in every part are left out, file by file, by name."""
    if given:
        return rows, []
    distinct = Counter(label for label, _ in {(str(row.label), row.id) for row in rows})
    few = [
        (row.item, f"the class {str(row.label)!r} has {_count(distinct[str(row.label)])}, and {FEWEST} are needed")
        for row in rows
        if distinct[str(row.label)] < FEWEST
    ]
    return [row for row in rows if distinct[str(row.label)] >= FEWEST], few


def _count(distinct: int) -> str:
    return "1 distinct example" if distinct == 1 else f"{distinct} distinct examples"


def dated(rows: list[Seen]) -> bool:
    """Whether all examples say when they were taken, and not all at once: then the parts follow in time."""
    times = [row.time for row in rows if row.time is not None]
    return len(times) == len(rows) and len(set(times)) >= FEWEST


def parts(rows: list[Seen], kind: Any, seed: int, notes: list[str]) -> list[str]:
    """The part of every example: as the data say, else cut by strata, whoever it comes from kept together."""
    outputs = kind.outputs([row.label for row in rows]) if rows else ()
    strata = kind.strata([kind.encode(row.label, outputs) for row in rows])
    ids, groups = [row.id for row in rows], [row.group for row in rows]
    several = len(set(groups)) > 1
    if any(groups) and not several:
        notes.append(f"All examples come from one, {groups[0]!r}: how well others will do is not measured.")
    who = groups if several else []
    times = [row.time for row in rows if row.time is not None] if dated(rows) else []
    own = [row.part for row in rows]
    if any(own) and "train" not in own:
        notes.append(f"All examples stand in the {max(own)} part, and none is left to learn from: they are split anew.")
        own = [""] * len(rows)
    if set(own) <= {""} and times:
        cut = later(times, ids, who)
        if not who or 0 < cut.count("test") <= 2 * SHARES["test"] * len(cut):  # else whom they come from cuts them
            own = cut
    if set(own) <= {""}:  # two can only fill two parts
        own = split(strata, ids, seed, ("test",) if len(set(who)) == 2 and all(who) else ("test", "val"), who)
    if wanted := [part for part in ("test", "val") if part not in own]:
        train = [i for i, part in enumerate(own) if part == "train"]
        apart = [who[i] for i in train if who]
        mixed = bool(apart) and len(set(apart)) <= len(wanted)
        rest = [] if mixed else apart
        if times:
            cut = later([times[i] for i in train], [ids[i] for i in train], rest, wanted)
        else:
            cut = split([strata[i] for i in train], [ids[i] for i in train], seed, wanted, rest)
        for i, part in zip(train, cut, strict=True):
            own[i] = part
        notes.append(
            f"There was no {' and no '.join(wanted)} part; it was cut from the training part"
            + (", whoever an example comes from: there are too few to keep apart." if mixed else ".")
        )
    if several and set(own) == {"train"}:
        raise DataError(_tied(rows))
    if several:
        sides = [{g for g, p in zip(groups, own, strict=True) if g and p == part} for part in ("train", "test")]
        notes.append(_together(sorted({*groups} - {""}), sides[0] & sides[1]))
    if times:
        notes.append(_in_time(times, own))
    return own


def lookalikes(kept: list[tuple[Seen, str]], alike: list[tuple[str, str]], notes: list[str]) -> list[tuple[int, int]]:
    """The first pairs of examples in different parts that look alike, by their hashes or by what the reader found."""
    plain, mirrored = ([row.facts.get(name, 0) for row, _ in kept] for name in ("hash", "mirrored"))
    pairs, *rows = audit.alike(plain, [row.id for row, _ in kept], [part for _, part in kept], mirrored)
    across, within = (set(some) for some in rows)
    at = {row.item: place for place, (row, _) in enumerate(kept)}
    for one, other in ((at[a], at[b]) for a, b in alike if a in at and b in at):
        if kept[one][1] == kept[other][1]:
            within |= {one, other}
        else:
            across |= {one, other}
            pairs.append((one, other))
    if within:
        said = f"{len(within)} of {len(kept)} look like another of their part, such as {kept[min(within)][0].item}"
        notes.append(f"{said}: they say less than so many different ones.")
    if across:
        notes.append(f"{len(across)} of {len(kept)} look like one of another part: what is measured may be too good.")
    return pairs[:PAIRS]


def _tied(rows: list[Seen]) -> str:
    """Why people who are many cannot fill three parts: copies make one of them."""
    first: dict[str, Seen] = {}
    pairs = [(first.setdefault(row.id, row), row) for row in rows]
    one, other = next((a, b) for a, b in pairs if a.group != b.group)
    return (
        f"The {len({row.group for row in rows})} groups are tied together by copies, and nobody is left to test on: "
        f"{one.item} of {one.group!r} and {other.item} of {other.group!r} are the same. Copies must stay in one part, "
        "and so must whoever they come from: leave out the copies, or mend the groups."
    )


def _in_time(times: list[float], own: list[str]) -> str:
    """Whether the test part is what comes after the training part, as in use."""
    last = max(time for time, part in zip(times, own, strict=True) if part == "train")
    test = [time for time, part in zip(times, own, strict=True) if part == "test"]
    if before := sum(time <= last for time in test):
        return f"{before} of the {len(test)} test examples are no later than the last training example: {LATER}."
    return f"The parts follow one another in time: the {len(test)} test examples are the latest."


def _together(groups: list[str], both: set[str]) -> str:
    if both:
        return (
            f"{len(both)} of {len(groups)} groups, such as {min(both)!r}, stand in the training and in the test part: "
            f"{KNOWN}."
        )
    some = ", ".join(groups[:SHOWN]) + (", …" if len(groups) > SHOWN else "")
    return (
        f"The examples come from {len(groups)} ({some}), and all of one stand in one part: the test part is of others "
        "than it knows."
    )
