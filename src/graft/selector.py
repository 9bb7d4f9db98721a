"""Which candidates come into question, and which is to be preferred: a prior and a screen, weighed by precision."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.core import figures
from graft.core.costs import forward
from graft.core.errors import BackboneError
from graft.core.nouns import Backbone, Budget, Evidence

log = logging.getLogger("graft")

Array = NDArray[np.float64]
# Of linear probes on the 11 datasets of SFDA's first group (published/): what ImageNet top-1 foretells of them, and how
# far they lie from it. `python benchmarks/selector.py` prints both.
SLOPE = 0.47  # log-odds of the probe for one of ImageNet top-1
SPREAD = 0.26  # standard deviation, in log-odds
SURE = 1e-3  # nearer to 0 or 1 a share says no more, nor nearer than its own error: its log-odds would have no end


def posterior(prior: ArrayLike, spread: ArrayLike, measured: ArrayLike, error: ArrayLike) -> tuple[Array, Array]:
    """Mean and standard deviation of a quantity that is N(prior, spread²) and was measured with N(0, error²) beside it.

    The precision-weighted mean, prior + gain · (measured − prior), gain = spread² / (spread² + error²), the deviation
    being √gain · error. Where there is no prior (NaN), the measurement stands as it is.

    Shape: all (n,) or (). Units: all in one.
    """
    mean, deviation = np.asarray(measured, np.float64), np.asarray(error, np.float64)
    gain = _gain(prior, spread, deviation)
    return mean + (1.0 - gain) * np.nan_to_num(np.asarray(prior) - mean), np.sqrt(gain) * deviation


def log_odds(share: ArrayLike) -> Array:
    """ln(p / (1 − p)): the scale on which accuracies of transferred networks are linear (Kornblith et al. 2019)."""
    p = np.clip(np.asarray(share, np.float64), SURE, 1.0 - SURE)
    return np.asarray(np.log(p / (1.0 - p)))


@dataclass(frozen=True)
class Standing:
    """Where the candidates stand, higher being better: in log-odds of the probe, or in its own unit without a prior.

    Shape: all (n,), in the order of the candidates.
    """

    prior: Array  # NaN where it is unknown
    value: Array
    deviation: Array
    gain: Array  # the share in which the screen counts; the prior has the rest


def standing(
    accuracies: Sequence[float | None], probes: Sequence[float], errors: Sequence[float], metric: str = "accuracy"
) -> Standing:
    """The probe that each candidate would show on ever more examples, by its published accuracy and its probe here.

    The prior is SLOPE · log-odds of ImageNet top-1 ± SPREAD, on a level that fits the probes, since how hard a task is
    nobody published; where the probes lie further from it than that and their errors, it is as wide as they say. It
    needs two published accuracies and a probe that is a share; else the probe alone counts. Precise probes overrule it:
    with an error of one point at 80 % it counts for 5 %, with five points for 59 %.

    Args:
        accuracies: ImageNet-1k top-1, in percent.
        probes, errors: scores and their standard errors.
    """
    measured, error = np.array(probes, np.float64), np.array(errors, np.float64)
    known = np.array([one is not None for one in accuracies])
    prior, spread = np.full(len(measured), np.nan), SPREAD
    if figures.is_share(metric) and known.sum() > 1:
        edge = np.clip(error, SURE, 0.5)
        p = np.clip(measured, edge, 1.0 - edge)
        measured, error = log_odds(p), error / (p * (1.0 - p))
        foretold = SLOPE * log_odds([one / 100.0 for one in accuracies if one is not None])
        left = measured[known] - foretold
        prior[known] = foretold + left.mean()
        spread = max(SPREAD**2, float(left.var(ddof=1) - (error[known] ** 2).mean())) ** 0.5
    value, deviation = posterior(prior, spread, measured, error)
    return Standing(prior, value, deviation, _gain(prior, spread, error))


def _gain(prior: ArrayLike, spread: ArrayLike, error: ArrayLike) -> Array:
    """The share in which a measurement counts beside its prior: all of it where there is none."""
    variance = np.square(np.asarray(spread, np.float64))
    return np.where(np.isnan(prior), 1.0, variance / np.maximum(variance + np.square(error), 1e-300))


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
