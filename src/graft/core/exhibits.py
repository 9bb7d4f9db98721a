"""What a report shows beside its figures: examples, curves and costs as plain data, from which the page is drawn.

Names are those of files, never where they lie; what is shown of an example stands in here itself.
"""

from dataclasses import dataclass, field

from graft.core.nouns import Epoch, Report
from graft.core.reports import Spent as Spent

SCHEMA = 1  # of report.json
FILES = ("report.html", "report.json", "MODEL_CARD.md")
DROPPED = "dropped after"  # in the note on a candidate that was given up early


@dataclass(frozen=True)
class Candidate:
    """A backbone as ranking found it."""

    id: str
    score: float  # of a linear probe, cross-validated
    error: float  # its standard error
    license: str
    note: str = ""


@dataclass(frozen=True)
class Stage:
    """What a stage of the chosen backbone tells."""

    name: str
    score: float
    error: float


@dataclass(frozen=True)
class Step:
    """A phase of training."""

    learns: str
    frozen: int  # stages before the boundary
    stages: int  # of the backbone
    rate: float = 0.0  # of the head; 0: solved exactly
    way: int = 1  # of the plan's alternatives
    kept: bool = True  # False: tried, and not what ships


@dataclass(frozen=True)
class Region:
    """A piece of an example, and what it did for the answer."""

    weight: float
    start: float = 0.0  # in characters or seconds
    end: float = 0.0
    name: str = ""


@dataclass(frozen=True)
class Closeup:
    """One example, as a person is shown it."""

    name: str
    kind: str  # photo, text, sound, signal, row; "": it is not shown
    truth: str = ""
    answer: str = ""
    probability: float | None = None
    photo: str = ""  # data URI, JPEG
    sound: str = ""  # data URI
    text: str = ""
    channels: tuple[str, ...] = ()
    traces: tuple[tuple[float, ...], ...] = ()  # of each channel
    seconds: float = 0.0  # of sound or signal
    cells: tuple[tuple[str, str], ...] = ()  # column and value
    looked: str = ""  # what the answer hangs on: "gradients" of the network, or "hiding" pieces; "": not asked
    regions: tuple[Region, ...] = ()
    grid: tuple[tuple[float, ...], ...] = ()  # weights of a photo's squares, row by row


@dataclass(frozen=True)
class Dot:
    """An example on the map."""

    x: float
    y: float
    truth: int  # an index of the outputs; their number: none of them
    answer: int  # another one where the answer is wrong in any way


@dataclass(frozen=True)
class Exhibits:
    """Everything that the page shows and the report does not hold."""

    name: str  # of the task
    modality: str
    head: str
    word: tuple[str, str]  # what one example is called, and several
    outputs: tuple[str, ...]
    parts: dict[str, int]  # examples in each
    backbone: str
    pretrained: bool
    strategy: str
    why: tuple[str, ...] = ()  # of the plan
    ranking: tuple[Candidate, ...] = ()  # best first
    chosen: tuple[str, ...] = ()  # why the first of them was taken
    untried: tuple[str, ...] = ()  # backbones that there was no time for
    stages: tuple[Stage, ...] = ()
    steps: tuple[Step, ...] = ()
    history: tuple[Epoch, ...] = ()
    before: tuple[tuple[float, ...], ...] = ()  # reliability as trained: confidence, share right, share of examples
    after: tuple[tuple[float, ...], ...] = ()  # the same at the temperature
    pairs: tuple[tuple[float, float], ...] = ()  # of a number that is learned: truth, answer
    wrong: int = 0  # test examples that were answered wrongly
    tested: int = 0  # of so many
    mistakes: tuple[Closeup, ...] = ()  # the surest first
    looks: tuple[Closeup, ...] = ()  # examples that were answered rightly, and what that hung on
    suspects: tuple[Closeup, ...] = ()  # training examples whose label is worth a second look
    dots: tuple[Dot, ...] = ()
    mapped: str = ""  # how: PCA, t-SNE
    groups: tuple[tuple[str, int, str], ...] = ()  # that were found: name, count, words
    skipped: tuple[tuple[str, str], ...] = ()  # file, why it was left out
    left_out: int = 0  # of them, in all
    alike: tuple[tuple[str, str], ...] = ()  # look-alikes in different parts
    alikes: int = 0
    copies: int = 0  # that were brought into one part
    audit: tuple[str, ...] = ()  # sentences
    spent: tuple[Spent, ...] = ()
    allowed: float = 0.0  # seconds that a firm budget gave the whole path; 0: none was named
    passes: int = 0  # examples that went through a frozen prefix to adapt
    saved: int = 0  # those that the cache spared
    peak_bytes: int = 0
    lineage: dict[str, str] = field(default_factory=dict)
    folder: str = ""  # of the model; "": only the report was written
    example: str = ""  # what could be handed to it

    @property
    def tuned(self) -> bool:
        """Whether the adapted network is more than a new head on what it started from."""
        return not self.steps or any(step.kept and step.learns != "head" for step in self.steps)


@dataclass(frozen=True)
class Told:
    """What report.json holds."""

    schema: int
    report: Report
    exhibits: Exhibits
