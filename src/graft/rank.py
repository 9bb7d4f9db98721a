"""Task → Ranking: which pretrained backbone suits it, measured on the training part alone."""

import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

import graft
from graft.build import find, suited
from graft.candidate import SCORES, Candidate
from graft.core import figures, home
from graft.core.errors import BackboneError, GraftError
from graft.core.keys import key
from graft.core.nouns import Backbone, Budget, Evidence, Ranking, Task
from graft.core.shelf import names, take
from graft.selector import Standing, beyond, standing
from graft.speed import subset, training

log = logging.getLogger("graft")
Names = tuple[str, ...]
Named = tuple[tuple[str, str], ...]  # backbones, each with a reason
SHARE = 0.25  # of the budget's seconds
LEAST = 200  # examples of the first round, or 10 a class: fewer say little about which backbone is better
FASTER = 0.8  # share of the time from which one is faster, and not merely timed so
TIED = 2.0  # standard errors within which two probes are taken for equal: about 95 %


def candidates(modality: str) -> list[Backbone]:
    """What is at hand without being asked for by name: the package catalogue, local caches, at last finished runs."""
    order = [*(source for source in names("sources") if source not in ("tiny", "checkpoint")), "checkpoint"]
    return [backbone for source in order for backbone in take("sources", source).catalog(modality)]


def rank(
    task: Task,
    backbones: Sequence[str] | None = None,
    budget: Budget = Budget(),
    *,
    seed: int = 0,
) -> Ranking:
    """The candidates, best first, with every stage's probe and what was measured on the way.

    They stand by a linear probe and a prior, what is published of them, weighed by precision (`selector.standing`); the
    prior counts for little where `auto` would fit no more than a head.
    Candidates within two standard errors of the best cannot be told apart: of these the fastest comes first if it is
    clearly faster, since it can be tuned deeper in the same time. What a limit of the budget rules out is left out,
    before it is fetched where its size and its licence are known.

    Half of the candidates are dropped after each round (successive halving, Jamieson & Talwalkar 2016), the examples
    doubling, if there is not time for all of them on all examples. Features are kept, so no example is run twice.

    Args:
        backbones: ids; by default everything at hand (`candidates`).

    Raises:
        BackboneError: an id is unknown, every candidate breaks a limit, or none could be opened.
    """
    Budget.needed(budget)
    backbones = [backbones] if isinstance(backbones, str) else backbones
    pool = _asked(task, backbones) if backbones else _unseen(task, candidates(task.modality))
    if not pool:
        raise BackboneError("No backbone is at hand. Name one with --backbone SOURCE/NAME.")
    known = sorted((b.id, b.revision, b.sha256) for b in pool)
    limits = (budget.seconds, budget.params, budget.latency, budget.licenses)
    name = key("rank", graft.__version__, task.key, known, limits, seed, SCORES)
    # What could not be fetched now may be fetched next time: then the ranking is not kept.
    made = home.remember(
        "rank", name, Ranking, lambda: _rank(task, pool, budget, seed), lambda result: not result.failed
    )
    _noted(task, [one.backbone.id for one in made.evidence])
    return made


def ranked(task: Task) -> int:
    """How many backbones were ever ranked on this task in this home: what a choice was made from; one at least."""
    kept = home.home() / "openings" / f"{task.key}-ranked.txt"
    return max(1, len(kept.read_text(encoding="utf-8").splitlines())) if kept.is_file() else 1


def _noted(task: Task, ids: Sequence[str]) -> None:
    with home.lock("results", f"ranked-{task.key}"):
        kept = home.home() / "openings" / f"{task.key}-ranked.txt"  # beside the openings: clearing must not forget
        with home.storage():
            kept.parent.mkdir(exist_ok=True)
        before = kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else []
        if set(ids) - {*before}:
            home.write_text(kept, "\n".join(dict.fromkeys((*before, *ids))) + "\n")


def _asked(task: Task, ids: Sequence[str]) -> list[Backbone]:
    """The candidates of these ids."""
    pool = [find(id) for id in ids]
    for backbone in pool:
        unknown(task, backbone)
    return pool


def unknown(task: Task, backbone: Backbone) -> None:
    """Refuse a backbone that an earlier run showed test examples of this task.

    Raises:
        BackboneError: it knows some.
    """
    if known := len(learned(backbone).intersection(task.test.ids)):
        raise BackboneError(
            f"{backbone.id} has learned from {known} of the {len(task.test)} test examples of {task.name}: what "
            "`verify` measures would be too good. Use the data and the seed that it was adapted with, or another."
        )


def _unseen(task: Task, pool: list[Backbone]) -> list[Backbone]:
    """The candidates without earlier runs that learned from this task's examples, or from other columns or channels."""
    ours = task.train.marks | task.val.marks | task.test.marks
    return [b for b in pool if not ours & learned(b) and (not b.id.startswith("checkpoint/") or _fits(b, task))]


def _fits(backbone: Backbone, task: Task) -> bool:
    with suppress(BackboneError):
        return bool(suited(backbone, task))
    return False


def learned(backbone: Backbone) -> frozenset[str]:
    """Content ids of what earlier runs showed this backbone; nothing is known of what others trained it on."""
    earlier = backbone.id.startswith("checkpoint/")
    return take("sources", "checkpoint").learned(backbone) if earlier else frozenset()


def _rank(task: Task, pool: list[Backbone], budget: Budget, seed: int) -> Ranking:
    began = time.perf_counter()
    opened: list[Candidate] = []
    failed: list[tuple[str, str]] = []
    untried: list[str] = []
    refused: list[tuple[str, str]] = []
    for backbone in pool:
        if why := beyond(backbone, budget):
            refused.append((backbone.id, why))
            continue
        if len(opened) > 1 and time.perf_counter() - began > SHARE * budget.seconds / 2:
            untried.append(backbone.id)
            continue
        try:
            candidate = Candidate.open(backbone, task, seed)
        except GraftError as error:
            if len(pool) == 1:
                raise
            failed.append((backbone.id, str(error)))
            continue
        counted = sum(parameter.numel() for parameter in candidate.chain.network.get_submodule("backbone").parameters())
        known = replace(candidate.backbone, params=candidate.backbone.params or counted)
        if why := beyond(known, budget, candidate.each):  # what was not known before
            refused.append((backbone.id, why))
        else:
            opened.append(candidate)
    for id, why in failed + refused:
        log.warning("%s is left out: %s", id, why)
    if not opened:
        said = "; ".join(f"{id}: {why}" for id, why in (refused + failed)[:3])
        raise BackboneError(f"No candidate {'is within the limits' if refused else 'could be opened'}. {said}.")

    if budget.firm and (least := len(task.train) * min(c.each for c in opened)) > SHARE * budget.seconds:
        log.info("One pass of %d examples takes about %.0f s, whatever the budget.", len(task.train), least)
    alive, until = opened, began + SHARE * budget.seconds
    for size in (sizes := _rounds(task, opened, until - time.perf_counter())):
        if len(sizes) > 1 and size == sizes[-1]:
            alive = _affordable(task, _cheapest_first(alive, task.metric), until - time.perf_counter())
        part = subset(task, task.train, size)
        for candidate in alive:
            candidate.measure(task, part, seed)
            candidate.foresee(task, budget)
            probe = figures.plain(candidate.scores["probe"], task.metric)
            log.info("%s: probe %s on %d examples", candidate.backbone.id, probe, len(part))
        alive = _best_first(alive, task.metric)
        if size != sizes[-1]:
            alive = alive[: max(2, (len(alive) + 1) // 2)]
    for candidate in alive:
        candidate.compare(task, seed)
    alive = _cheapest_first(alive, task.metric)
    alive[0].training = training(task, alive[0].backbone, alive[0].chain)
    order = alive + sorted((c for c in opened if c not in alive), key=lambda c: (-c.used, -c.scores["probe"]))
    seconds = time.perf_counter() - began
    made = _ranking(task, order, len(alive), tuple(failed), tuple(untried), tuple(refused), seconds)
    given = "a budget of" if budget.firm else "what is aimed at without --budget,"
    late = f"Not tried, for want of time within {given} {budget.seconds:.0f} s: {figures.some(untried)}."
    return replace(made, why=(*made.why, late)) if untried else made


def _standing(alive: list[Candidate], metric: str) -> Standing:
    probes, errors = [c.scores["probe"] for c in alive], [c.curve[-1].error for c in alive]
    return standing([c.backbone for c in alive], probes, errors, metric, tuned=[c.tuned for c in alive])


def _best_first(alive: list[Candidate], metric: str) -> list[Candidate]:
    order = np.argsort(-_standing(alive, metric).value, kind="stable")
    return [alive[row] for row in order]


def _cheapest_first(alive: list[Candidate], metric: str) -> list[Candidate]:
    """Of those within two standard errors of the best, which cannot be told apart, a clearly faster one comes first."""
    alive = _best_first(alive, metric)
    where = _standing(alive, metric)
    tied = [
        c for c, value in zip(alive, where.value, strict=True) if value >= where.value[0] - TIED * where.deviation[0]
    ]
    quick = min(tied, key=lambda c: c.each)
    first = quick if quick.each < FASTER * alive[0].each else alive[0]
    return [first, *(c for c in alive if c is not first)]


def _rounds(task: Task, opened: list[Candidate], seconds: float) -> list[int]:
    """Numbers of examples, ending with all of them; one round if there is time for every candidate on everything."""
    total, each = len(task.train), sum(candidate.each for candidate in opened)
    least = max(LEAST, 10 * len(task.outputs))
    if each * total <= seconds or len(opened) < 2 or 2 * least > total:
        return [total]
    first = int(np.clip(seconds / 2 / each, least, total // 2))
    rounds = max(2, math.ceil(math.log2(len(opened))))
    return [round(size) for size in np.geomspace(first, total, rounds)]


def _affordable(task: Task, alive: list[Candidate], seconds: float) -> list[Candidate]:
    """The first, and those after it that there is time for on all examples too."""
    kept, spent = list[Candidate](), 0.0
    for candidate in alive:
        cost = (len(task.train) - candidate.used) * candidate.each
        if not kept or spent + cost <= seconds:
            kept.append(candidate)
            spent += cost
    return kept


def _ranking(
    task: Task, order: list[Candidate], full: int, failed: Named, untried: Names, refused: Named, seconds: float
) -> Ranking:
    """The noun; the first `full` of the candidates were measured on as many examples."""
    evidence = tuple(candidate.evidence(task) for candidate in order)
    alike, metric = order[:full], task.metric
    probes = [c.scores["probe"] for c in alike]
    best, top, random = evidence[0], evidence[int(np.argmax(probes))], float(np.mean(probes))
    published = [e for e in evidence if e.backbone.accuracy is not None]
    static = max(published, key=lambda e: e.backbone.accuracy or 0.0, default=None)
    lost = {"chosen": probes[0], **({"static": static.scores["probe"]} if static else {}), "random": random}
    regret = {name: top.scores["probe"] - score for name, score in lost.items()}
    why = [
        f"{best.backbone.id} is first of {len(evidence)}: probe "
        f"{figures.around(best.scores['probe'], best.probe_error, metric)}."
    ]
    if full > 1:
        leader, where = _best_first(alike, metric)[0].backbone.id, _standing(alike, metric)
        why += [_weighed(alike, where, leader), *_tied(best, leader)]
        why += _lost(regret, static, top, metric)
    elif len(order) > 1:
        why.append(f"On {order[1].used} examples prior and probe preferred it, and no other had time for all of them.")
    name = static.backbone.id if static else ""
    return Ranking(task.key, evidence, name, random, failed, untried, refused, regret, seconds, tuple(why), metric)


def _weighed(alike: list[Candidate], where: Standing, leader: str) -> str:
    """Whom the prior and the probe would each have put first, and what came of both."""
    ids = [c.backbone.id for c in alike]
    if np.isnan(where.prior).all():
        return "No prior: an accuracy is published of fewer than two, or the probe is no share. It decides alone."
    probes, row = [c.scores["probe"] for c in alike], ids.index(leader)
    by_prior, share = ids[int(np.nanargmax(where.prior))], where.gain[row]
    by_probe = leader if probes[row] == max(probes) else ids[int(np.argmax(probes))]
    text = f"By the prior, published accuracies, {by_prior} would be first; by the probe, {by_probe}."
    sure, most = alike[row].tuned, "no more than a head"
    fitted = f"there may be time for {most} on it" if sure else f"{most} would be fitted on it"
    head = f", since {fitted}" if sure < 1 else ""
    text += f" For {leader} the prior counts {1 - share:.0%} and the probe {share:.0%}{head}"
    return f"{text}: together they prefer it."


def _tied(best: Evidence, leader: str) -> list[str]:
    if best.backbone.id == leader:
        return []
    return [f"{leader} is slower, and ahead by less than {TIED:g} standard errors: {best.backbone.id} comes first."]


def _lost(regret: dict[str, float], static: Evidence | None, top: Evidence, metric: str) -> list[str]:
    """Regret beside static and random, and a word where static wins."""

    def shown(name: str) -> str:
        return figures.gain(regret[name], metric) + figures.points(metric)

    text = f"Beside the best probe, {top.backbone.id}'s, this choice loses {shown('chosen')}, a choice at random"
    text += f" {shown('random')}"
    if static is None:
        return [f"{text}."]
    dropped = "" if static.n_used == top.n_used else f", dropped after {static.n_used} examples"
    name = f"{static.backbone.id} with {static.backbone.accuracy:.1f} %{dropped}"
    text += f", and the best published accuracy ({name}) {shown('static')}."
    gap = regret["chosen"] - regret["static"]
    if gap == 0:
        return [text, "The published accuracies would have chosen as well without measuring."]
    return [text, *(["Static wins here: the published accuracies would have chosen better."] if gap > 0 else [])]
