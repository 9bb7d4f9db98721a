"""Labelled examples as plain data: parts, the sealed test part, and what reading them showed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import PurePath

Target = int | float | tuple[int | float, ...]  # an index, a number, or several
PAIRS = 200  # look-alikes that an audit keeps


@dataclass(frozen=True)
class Part:
    """Labelled examples, as columns of one length.

    items: where each one is, a file or "file#row". targets: what its head makes of its label; empty where labels are
    not known. ids: the hash of its content. groups: who or what it comes from; empty where nothing says so.
    """

    items: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Part({len(self)} examples)"

    @property
    def marks(self) -> frozenset[str]:
        """What they are known by again: their contents, and their places, where other columns of a row are read."""
        places = (blake2b(item.encode(errors="surrogateescape"), digest_size=16).hexdigest() for item in self.items)
        return frozenset((*self.ids, *places))

    def select(self, indices: Iterable[int]) -> "Part":
        """The part that holds these rows, in this order."""
        at = list(indices)
        return Part(
            tuple(self.items[i] for i in at),
            tuple(self.targets[i] for i in at) if self.targets else (),
            tuple(self.ids[i] for i in at),
            tuple(self.groups[i] for i in at) if self.groups else (),
        )


def kept_apart(part: Part, other: Part) -> tuple[str, ...]:
    """Whom the part's examples come from, if none of those in the other part come from the same; else nothing.

    What is held out of such a part to choose or to estimate by must then come from others, too.
    """
    return part.groups if part.groups and set(part.groups).isdisjoint(other.groups) else ()


@dataclass(frozen=True)
class Sealed:
    """The test part. Nothing on the path but `verify` opens it, and every opening leaves its reason."""

    part: Part = Part()
    reasons: list[str] = field(default_factory=list, compare=False, metadata={"json": False})

    def __len__(self) -> int:
        return len(self.part)

    def __repr__(self) -> str:
        return f"Sealed({len(self)} examples, opened {len(self.reasons)} times)"

    @property
    def ids(self) -> tuple[str, ...]:
        """Which examples these are, without a look at them: no opening."""
        return self.part.ids

    @property
    def marks(self) -> frozenset[str]:
        """The same of what they are known by."""
        return self.part.marks

    def open(self, reason: str) -> Part:
        """The examples, for a stated reason."""
        self.reasons.append(reason)
        return self.part


@dataclass(frozen=True)
class Suspect:
    """A training example whose label is worth a second look."""

    item: str
    label: str
    likely: str  # what it looks like
    probability: float  # of that, by a probe that did not learn from it
    wrong: float = 0.5  # the chance that its label is wrong, where right labels are no matter of chance


def called(item: str) -> str:
    """What an example is called without saying where it lies."""
    return PurePath(item).name


def placeless(suspects: Iterable[Suspect]) -> tuple[Suspect, ...]:
    """The same for whoever is not to know where the data lie."""
    return tuple(replace(one, item=called(one.item)) for one in suspects)


def lookalikes(pairs: int) -> str:
    """Pairs across parts, of which PAIRS at most are kept, in a clause."""
    more = " or more" if pairs == PAIRS else ""
    stand = "1 pair of look-alikes stands" if pairs == 1 else f"{pairs}{more} pairs of look-alikes stand"
    return f"{stand} in different parts"


def look_at(suspects: Sequence[Suspect], most: int = 12) -> str:
    """Suspects in a sentence; "" where there are none."""
    said = [f"{called(s.item)} says {s.label}, looks like {s.likely} ({s.probability:.2f})" for s in suspects]
    if not said:
        return ""
    more = f"; and {len(said) - most} more" if len(said) > most else ""
    return f"{doubtful(suspects)}: {'; '.join(said[:most])}{more}."


def doubtful(suspects: Sequence[Suspect]) -> str:
    """How many labels are to be looked at, and why; not how many are wrong: what is chance by nature looks the same."""
    if len(suspects) == 1:
        return "One label is worth a second look, since examples like it are labelled otherwise"
    return f"{len(suspects)} labels are worth a second look, since examples like theirs are labelled otherwise"


@dataclass(frozen=True)
class Audit:
    """What reading the data showed. Nothing is dropped without a line here."""

    found: int = 0  # files or rows seen
    skipped: tuple[tuple[str, str], ...] = ()  # (where, why) of each one left out
    moved: tuple[tuple[str, str], ...] = ()  # (where, why): exact duplicates brought into one part
    near_duplicates: tuple[tuple[str, str], ...] = ()  # pairs that look alike and stand in different parts
    notes: tuple[str, ...] = ()  # sentences for the person
    drawn: bool = False  # whether all parts were drawn here: none is the data's own, which may differ on purpose
