"""The nouns in which the path ends: what was compared, whether it helped, what ships."""

from dataclasses import dataclass, field

from graft.core.examples import Suspect

SLIGHT = 10  # times the examples at hand: so many more nobody will label to settle a verdict


@dataclass(frozen=True)
class Cost:
    """What something took."""

    seconds: float = 0.0  # wall
    cpu_seconds: float = 0.0
    peak_bytes: int = 0  # resident memory at its highest
    prefix_passes: int = 0  # examples sent through a frozen prefix
    prefix_hits: int = 0  # examples whose features were already stored


@dataclass(frozen=True)
class Spent:
    """What one step of the path took."""

    name: str
    seconds: float
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """One thing that was compared, on the test part."""

    name: str
    score: float  # mean over seeds
    low: float
    high: float
    validation: float
    gain: tuple[float, float, float] = (0.0, 0.0, 0.0)  # adapted minus this row: mean, low, high, paired
    cost: Cost = Cost()
    times: float = 0.0  # its CPU seconds as a multiple of the adapted one's
    budget: float = 0.0  # wall seconds it was given; 0: as many as it wanted
    trials: int = 1
    state: str = "finished"  # finished, saturated, unfinished, diverged
    transfers: bool = False  # whether the row itself uses pretrained weights
    run: str = ""  # key of what can be shipped: a run, or a baseline's state
    note: str = ""

    @property
    def of(self) -> str:
        """What follows its name where it is shown: a note that is not on how training from scratch went."""
        return f", {self.note}" if self.note and not self.budget else ""


@dataclass(frozen=True)
class Slice:
    """How the adapted model does on some of the test examples: those of one class, say."""

    name: str
    count: int
    score: float  # of the metric below, which need not be the task's: of one class, the share that is right
    reference: float  # what the reference row reaches there
    metric: str = "accuracy"
    gain: tuple[float, float, float] = (
        0.0,
        0.0,
        0.0,
    )  # over the reference: mean, low, high, corrected for their number


@dataclass(frozen=True)
class Calibration:
    """How far the answers of what ships can be trusted: set on the validation part, measured on the test part."""

    row: str  # that ships
    count: int  # validation examples that it was set on
    level: float  # share of the examples whose set of labels, or range of values, is to hold the truth
    thresholds: tuple[float, ...] = ()  # how strange a label may be; half the range of each quantity; (): too few
    coverage: tuple[float, float, float] = (0.0, 0.0, 0.0)  # share that does hold it: mean, low, high
    temperature: float = 1.0  # logits are divided by it
    seen: float = 0.0  # calibration error as it is counted, at this temperature
    before: tuple[float, ...] = ()  # calibration error without its bias, at temperature 1: mean, low, high
    after: tuple[float, ...] = ()  # the same at this temperature
    answered: float = 1.0  # share with exactly one label in the set: others are unsure
    right: tuple[float, ...] = ()  # share of those that is right: mean, low, high

    @property
    def trust(self) -> dict[str, object]:
        """What an answer needs of it, as an artifact's card holds it."""
        return {"level": self.level, "temperature": self.temperature, "quantiles": self.thresholds}


@dataclass(frozen=True)
class Point:
    """A point of a learning curve: what was reached on the test part, in the mean over draws."""

    labels: int  # training examples that were learned from
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """What labels are worth: scores against the number of training examples, all on the test part alone."""

    transfer: tuple[Point, ...]  # of a linear probe of the pretrained backbone
    rival: str  # the best baseline by validation
    without: tuple[Point, ...]  # of that baseline
    draws: int  # samples of each size
    saved: dict[str, tuple[float, float, float]]  # by row: labels that transfer needs fewer, mean, low, high; 0: none
    doubling: tuple[float, float, float]  # what twice the labels would add to the probe: mean, low, high
    scratch: tuple[Point, ...] = ()  # of the network from scratch, where it was done; one sample of each size
    whole: dict[str, Point] = field(default_factory=dict)  # by row: with all labels, asked of the same examples
    n_test: int = 0  # examples that were asked; rows over folds are of more
    exponent: float = 0.0  # c of the law, error = a + b n^-c; 0: none fits, and doubling is what the last one added


@dataclass(frozen=True)
class Report:
    """Did it help?"""

    task: str
    run: str
    metric: str
    verdict: str  # positive, inconclusive, negative
    sentence: str
    reference: str  # that decides: of the rows without transfer that leave the verdict open the least beaten
    gain: tuple[float, float, float]
    rows: tuple[Row, ...]
    ships: str  # the row that export writes
    seeds: tuple[int, ...]
    looks: int  # how often validation was used to choose something
    test_openings: tuple[str, ...]
    n_test: int
    slices: tuple[Slice, ...] = ()
    runs: tuple[str, ...] = ()  # keys of the adapted runs, one per seed
    notes: tuple[str, ...] = ()
    shows: float = 0.0  # the least gain over the reference that a test like this one shows four times in five
    power: dict[str, float] = field(default_factory=dict)  # by points: share of such tests that show so large a gain
    enough: int = 0  # test examples that would show the gain as it is, four times in five; 0: cannot be told
    left_out: tuple[str, ...] = ()  # what a firm budget had no time for
    folds: int = 0  # over which every labelled example was asked; 0: the test part alone was
    repeats: int = 1  # of the folds
    suspects: tuple[Suspect, ...] = ()  # training examples whose label is worth a second look, the surest first
    calibration: Calibration | None = None
    curve: Curve | None = None
    confusion: tuple[tuple[int, ...], ...] = ()  # of what ships: (truth, answer, how many of those that were asked)
    forgetting: tuple[float, ...] = ()  # what adapting cost the source by a fresh probe: mean, low, high; (): not told
    spent: tuple[Spent, ...] = ()  # part by part, all that comparing took

    @property
    def slight(self) -> bool:
        """Whether the difference, if there is one, is too small for any such test: it takes SLIGHT times as many."""
        return self.enough > SLIGHT * self.n_test


@dataclass(frozen=True)
class Group:
    """Examples that belong together though nobody said so."""

    name: str
    count: int  # of training examples
    examples: tuple[str, ...]  # items that stand for it, the nearest to its centre first
    terms: tuple[str, ...] = ()  # words that set it apart, the most telling first


@dataclass(frozen=True)
class Artifact:
    """What do we ship? A folder that stands alone."""

    path: str
    ships: str  # the row of the report: "adapted", "linear_probe", "scratch", or a baseline's name
    verdict: str
    sentence: str
    labels: tuple[str, ...]
    files: dict[str, str]  # name → sha256
    parity: float  # largest difference of a logit between memory and a fresh process
    predict: str  # the command that uses it
    groups: tuple[Group, ...] = ()  # that were found, where nobody named any
