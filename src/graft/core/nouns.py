"""The nouns that travel along the path. Frozen, printable, JSON both ways; standard library only.

Task → Evidence → Plan (of Phases) → Run → Report → Artifact
"""

from dataclasses import dataclass, field
from typing import Any

from graft.core.errors import PlanError
from graft.core.examples import Audit as Audit
from graft.core.examples import Part as Part
from graft.core.examples import Sealed as Sealed
from graft.core.examples import Suspect as Suspect
from graft.core.reports import Artifact as Artifact
from graft.core.reports import Calibration as Calibration
from graft.core.reports import Cost as Cost
from graft.core.reports import Curve as Curve
from graft.core.reports import Group as Group
from graft.core.reports import Point as Point
from graft.core.reports import Report as Report
from graft.core.reports import Row as Row
from graft.core.reports import Slice as Slice


@dataclass(frozen=True)
class Task:
    """What is to be learned?"""

    name: str
    modality: str
    head: str
    outputs: tuple[str, ...]  # label names, a target being an index into them; or names of quantities
    metric: str
    reading: dict[str, Any]  # how the modality reads an example: columns, filters, rates
    train: Part
    val: Part
    test: Sealed
    seed: int
    audit: Audit
    key: str
    target: Part = field(
        default_factory=Part
    )  # examples of the domain that is to be answered for, where it is another one
    source: Part = field(default_factory=Part)  # labelled examples of another domain, targets by these outputs


@dataclass(frozen=True)
class Backbone:
    """What do we start from? Known before a weight is loaded."""

    id: str  # "source/name": package/resnet18, timm/resnet18.a1_in1k, checkpoint/…
    modality: str = "image"
    family: str = ""
    architecture: str = ""  # "library/name" that builds the empty network: timm/resnet18
    input: dict[str, Any] = field(default_factory=dict)  # what it is fed, in the words of its modality
    config: dict[str, Any] = field(default_factory=dict)  # of the empty network, where its library builds it from one
    params: int | None = None  # None: not known before it is opened
    accuracy: float | None = None  # published ImageNet-1k top-1 in percent: the static choice
    pretrained_on: str = ""
    license: str = "unknown"
    revision: str = ""  # package version, hub revision or run key
    sha256: str = ""  # of the file the weights come in, where it is known beforehand
    note: str = ""


@dataclass(frozen=True)
class Loading:
    """How the weights fitted the network, key by key."""

    matched: int = 0
    missing: tuple[str, ...] = ()  # in the network, not in the file: left at their initial values
    unused: tuple[str, ...] = ()  # in the file, not in the network
    shape: tuple[str, ...] = ()  # in both, with other shapes: left at their initial values


@dataclass(frozen=True)
class Form:
    """How a frozen prefix runs. Part of every feature's key: rows are bit-equal only within one form."""

    runtime: str = "eager"  # or openvino
    dtype: str = "float32"  # or bfloat16
    device: str = "cpu"
    batch: int = 32  # always exactly this many rows (photos, windows, tokens), a short last batch filled up


@dataclass(frozen=True)
class StageProbe:
    """One point of the stage curve: what a linear probe reaches on the output of a stage."""

    stage: str
    score: float  # cross-validated, on the training part
    error: float  # standard error of the score
    seconds: float  # forward CPU wall seconds of this stage, for one example
    bytes: int  # stored size of one example's output
    saved: int = 0  # bytes that training this stage keeps of one example for the backward pass


@dataclass(frozen=True)
class Evidence:
    """What did we measure of one backbone on one task?"""

    backbone: Backbone
    scores: dict[str, float]  # by the name of the score; the ranking follows "probe" and a prior
    stage_curve: tuple[StageProbe, ...] = ()  # in the order of the stages; empty when dropped early
    n_train: int = 0
    n_used: int = 0  # training examples that the scores saw
    per_class: int = 0  # training examples of the rarest class; all of them where an example has no one class
    rows: float = 1.0  # tokens or windows of an example, in the mean
    domain_distance: float | None = None  # proxy A-distance of training and validation part: 0 (alike) to 2 (apart)
    source_distance: float | None = None  # the same of source and training examples, where there are source data
    form: Form = Form()
    prepare_seconds: float = 0.0  # reading and preparing one example
    train_seconds: float = 0.0  # one example, forward and backward through the whole network, once
    train_dtype: str = "float32"
    views: tuple[int, ...] = ()  # augmented views of an example that are worth keeping, most first
    loading: Loading = Loading()
    why: tuple[str, ...] = ()
    suspects: tuple[
        Suspect, ...
    ] = ()  # training examples whose label is worth a second look, the surest first, at most 50

    @property
    def probe_error(self) -> float:
        """Standard error of the probe at the last stage."""
        return self.stage_curve[-1].error if self.stage_curve else 0.0


@dataclass(frozen=True)
class Ranking:
    """Backbones, best first, beside what choosing at random or by published accuracy would have taken."""

    task: str
    evidence: tuple[Evidence, ...]
    static: str = ""  # the candidate with the best published accuracy
    random: float = 0.0  # mean probe score over the candidates: what a blind choice expects
    failed: tuple[tuple[str, str], ...] = ()  # (backbone, why) of candidates that could not be opened
    untried: tuple[str, ...] = ()  # candidates that there was no time for
    refused: tuple[tuple[str, str], ...] = ()  # (backbone, why) of candidates that a limit of the budget rules out
    regret: dict[str, float] = field(default_factory=dict)  # what "chosen", "static", "random" lose to the best probe
    seconds: float = 0.0
    why: tuple[str, ...] = ()
    metric: str = "accuracy"  # of the probes

    def __len__(self) -> int:
        return len(self.evidence)

    def __getitem__(self, index: int) -> Evidence:
        return self.evidence[index]


@dataclass(frozen=True)
class Phase:
    """A stretch of training: what learns, from which data, at what rates."""

    train: tuple[str, ...]  # selectors: "head", "stages[4:]", "stages[0]", "norm", "bias"
    objective: str = "head"  # the head's own loss; or "contrastive": examples of one class come together
    adapter: str = (
        ""  # what learns in the place of the stages' own weights: a file of the `adapters` shelf; "": they do
    )
    solver: str = "adamw"  # or "exact": the head alone, by convex optimisation, strength chosen by cross-validation
    steps: int = 0  # optimiser steps at most; 0 with the exact solver
    lr: float = 1e-3  # of the head
    backbone_lr: float = 0.1  # the last trained stage's rate, as a share of lr
    lr_decay: float = 1.0  # each stage further down learns at this share of the one above
    views: int = 1  # variants kept per example: 1 is the plain one, more are augmented and cached; 0: fresh every epoch
    batch: int = 32
    warmup: float = 0.1  # share of the steps over which the rate rises
    weight_decay: float = 0.01  # decoupled; never on biases and norms
    smoothing: float = 0.0  # of the labels
    class_weights: bool = False  # weigh each class by the inverse of its share of the training part
    batch_stats: bool = False  # batch norms learn the statistics of the batches; False: they keep the pretrained ones
    dtype: str = "float32"  # of the activations while training; weights stay float32
    regularizers: tuple[str, ...] = ()  # by name, perhaps with a strength: "l2_sp", "l2_sp:0.01"
    stored: bool = True  # keep the frozen prefix's output; False: compute it for every batch (more than the disk holds)
    patience: int = 10  # epochs without a better validation before the phase ends; the best weights are restored


def tunes(phases: tuple[Phase, ...]) -> bool:
    """Whether anything but the head learns in these phases."""
    return any(set(phase.train) != {"head"} for phase in phases)


@dataclass(frozen=True)
class Plan:
    """What will be done, and why?"""

    backbone: Backbone
    head: str
    strategy: str
    phases: tuple[Phase, ...]
    form: Form = Form()
    stages: tuple[str, ...] = ()  # names of the backbone's stages, in order
    boundaries: tuple[int, ...] = ()  # per phase: index of the first stage that learns (derived, shown for the reader)
    seconds: float = 0.0  # expected wall time of adapt
    peak_bytes: int = 0  # expected peak memory
    store_bytes: int = 0  # expected growth of the feature store
    pretrained: bool = True  # False: the same architecture from random weights
    alternatives: tuple[tuple[Phase, ...], ...] = ()  # to `phases`: each is carried out as well, as a run of its own
    choice: str = "best"  # of their weights, by validation; "sure"; or what they are mixed by: "soup", "line"
    why: tuple[str, ...] = ()
    looks: int = 0  # how often validation was used to choose this plan
    trials: int = 1  # plans that it was chosen from by training them
    suspects: tuple[Suspect, ...] = ()  # of the evidence, for whoever reads the report

    @property
    def ways(self) -> tuple[tuple[Phase, ...], ...]:
        """The phases, and those of each alternative to them."""
        return self.phases, *self.alternatives

    @property
    def every(self) -> tuple[Phase, ...]:
        """The phases of all ways, one after the other."""
        return tuple(phase for way in self.ways for phase in way)


@dataclass(frozen=True)
class Budget:
    """What may it cost?"""

    seconds: float = 600.0  # wall time of the whole path, or of the one verb that it is given to
    firm: bool = True  # verify leaves out, and names, what would not end in time; False: parts are sized by it alone
    bytes: int = 20_000_000_000  # of the feature store
    params: int | None = None  # most parameters of a backbone: four bytes each
    latency: float | None = None  # most wall seconds of one example, read and run through the backbone here
    licenses: tuple[str, ...] = ()  # of the weights, as `graft list backbones` writes them; () allows every one

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "seconds", float(self.seconds))  # 30 and 30.0 are one budget, and one key
        except (TypeError, ValueError):
            raise PlanError(f"A budget's seconds are a number, 300 for five minutes; not {self.seconds!r}.") from None
        if not (self.seconds > 0 and self.bytes >= 0):
            raise PlanError(f"A budget of {self.seconds:g} s and {self.bytes} bytes allows nothing: give more of both.")
        if (self.params is not None and self.params <= 0) or (self.latency is not None and not self.latency > 0):
            raise PlanError(
                f"A backbone of {self.params} parameters and {self.latency} s an example is none: give more of both."
            )

    @staticmethod
    def needed(given: object) -> None:
        """Refuse what is no budget, before anything slow is done.

        Raises:
            PlanError: such as for bare seconds.
        """
        if not isinstance(given, Budget):
            raise PlanError(f"A budget is a graft.Budget, such as graft.Budget(seconds=300); not {given!r}.")


@dataclass(frozen=True)
class Epoch:
    """One pass over the training part, as it ended."""

    phase: int
    epoch: int
    steps: int
    loss: float
    score: float  # on the training part
    val_loss: float
    val_score: float
    lr: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """What happened?"""

    key: str
    task: str
    plan: Plan
    seed: int
    weights: str  # path of a safetensors file: every parameter and buffer, under the network's own names
    history: tuple[Epoch, ...]
    score: float  # validation
    cost: Cost
    untrained: tuple[str, ...] = ()  # parameters that were to learn but received no gradient
    loading: Loading = Loading()
    notes: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()  # of each of the plan's ways in the weights; 0: tried, not kept; (): there is one

    @property
    def kept(self) -> tuple[Phase, ...]:
        """The phases of the ways that the weights came by."""
        shares = self.shares or (1.0,) * len(self.plan.ways)
        return tuple(phase for way, share in zip(self.plan.ways, shares, strict=True) if share for phase in way)

    @property
    def tuned(self) -> bool:
        """Whether anything but the head learned, and was kept."""
        return tunes(self.kept)
