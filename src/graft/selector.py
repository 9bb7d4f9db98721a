"""Which candidates come into question, and which is to be preferred: a prior and a screen, weighed by precision."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft.core import figures
from graft.core.costs import forward
from graft.core.errors import BackboneError
from graft.core.nouns import Backbone, Budget, Evidence
from graft.prior import SURE, Known, known, log_odds

log = logging.getLogger("graft")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """Where the candidates stand, higher being better: in log-odds of accuracy, or in the probe's unit without a prior.

    Shape: all (n,), in the order of the candidates.
    """

    prior: Array  # NaN where nothing is published
    value: Array
    deviation: Array  # of the value, by the probe's own error
    gain: Array  # the share in which the screen counts; the prior has the rest


def standing(
    backbones: Sequence[Backbone],
    probes: Sequence[float],
    errors: Sequence[float],
    metric: str = "accuracy",
    published: Known | None = None,
    tuned: float | Sequence[float] = 1.0,
) -> Standing:
    """What each candidate would reach, fine-tuned or as a probe, by what is published of it and by its probe here.

    The prior is what others reached with the network, or what its ImageNet top-1 foretells (`prior.Known`), on a level
    that fits the probes, since how hard a task is nobody published; a network of which nothing is published is taken
    for an average one. The probe errs by its own error and, of a candidate that will be fine-tuned, by the gap between
    probes and fine-tuning; of one that will not, the prior, which is of fine-tuning, errs by the gap. Where the probes
    lie further from the prior than all of that, either may be at fault, and each takes half of the excess variance;
    the prior all of it where the probe is what is sought.
    The value is the precision-weighted mean, prior + gain · (probe − prior), gain the prior's share of the variance.

    It needs two networks of which something is published and a probe that is a share; else the probe alone counts.

    Args:
        probes, errors: scores and their standard errors.
        published: all that is, by default.
        tuned: how surely each will be fine-tuned, and not only a head fitted on it, from 0 to 1.
    """
    measured, error = np.array(probes, np.float64), np.array(errors, np.float64)
    published = published or known()
    foretold = [published.foretold(one) for one in backbones]
    some = np.array([one is not None for one in foretold])
    if not figures.is_share(metric) or some.sum() < 2:
        return Standing(np.full(len(measured), np.nan), measured, error, np.ones(len(measured)))
    edge = np.clip(error, SURE, 0.5)
    p = np.clip(measured, edge, 1.0 - edge)
    measured, error = log_odds(p), error / (p * (1.0 - p))
    average = float(np.mean([one[0] for one in foretold if one]))
    prior, spread = np.array([one or (average, published.wide) for one in foretold]).T
    prior = prior + (measured - prior)[some].mean()
    within = spread**2 + published.gap**2 + error**2
    excess = max(0.0, float((measured - prior)[some].var(ddof=1) - within[some].mean()))
    sure = np.asarray(tuned, np.float64)
    astray = spread**2 + sure * excess / 2.0 + (1.0 - sure) * (published.gap**2 + excess)
    gain = astray / (within + excess)
    return Standing(prior, prior + gain * (measured - prior), gain * error, gain)


def within(ranked: Sequence[Evidence], budget: Budget) -> Evidence:
    """The first of those ranked that keeps the limits of the budget; who does not is told.

    Raises:
        BackboneError: none does.
    """
    refused = []
    for one in ranked:
        why = beyond(one.backbone, budget, one.prepare_seconds + forward(one))
        if budget.params is not None and one.backbone.params is None:
            why = "how many parameters it has is not known here; `graft rank` with the limit counts them"
        if not why:
            return one
        refused.append(f"{one.backbone.id}: {why}")
        log.warning("%s is left out: %s", one.backbone.id, why)
    raise BackboneError(f"No backbone of the ranking is within the limits. {'; '.join(refused[:3])}.")


def beyond(backbone: Backbone, budget: Budget, seconds: float = 0.0) -> str:
    """The limit of the budget that a backbone breaks, in words; "" where it keeps them all.

    Args:
        seconds: of one example, once they are measured.
    """
    allowed = {one.casefold() for one in budget.licenses}
    if allowed and not {one.strip().casefold() for one in backbone.license.split(",")} <= allowed:
        return f"its licence is {backbone.license}; allowed is {', '.join(budget.licenses)}"
    if budget.params is not None and (backbone.params or 0) > budget.params:
        return f"it has {backbone.params:,} parameters; {budget.params:,} are allowed"
    if budget.latency is not None and seconds > budget.latency:
        return f"it takes {1e3 * seconds:.3g} ms for an example; {1e3 * budget.latency:.3g} ms are allowed"
    return ""
