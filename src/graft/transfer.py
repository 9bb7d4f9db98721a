"""The whole path on one screen."""

import logging
import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graft import words
from graft.align import align
from graft.core.exhibits import Spent
from graft.core.nouns import Artifact, Budget
from graft.exhibits import gathered
from graft.export import check_out, export
from graft.load import load
from graft.plan import explain, known, plan
from graft.proof import expectation, spent
from graft.rank import rank
from graft.report import kept, write
from graft.seeds import reseeded
from graft.spendings import total
from graft.verify import verify

log = logging.getLogger("graft")


def transfer(
    data: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] = "artifact",
    backbones: Sequence[str] | None = None,
    strategy: str = "auto",
    regularizers: Sequence[str] = (),
    budget: Budget = Budget(firm=False),
    modality: str | None = None,
    head: str | None = None,
    seed: int = 0,
    examples: bool = True,
    **asked: Any,
) -> Artifact:
    """From labelled files to a model that was shown to be better than not transferring.

    Args:
        data: what `load` reads.
        out: the artifact's folder.
        backbones: ids of the candidates; by default everything at hand.
        strategy: a name on the `strategies` shelf, or a .py file.
        regularizers: names on the `regularizers` shelf, for the phases that they suit.
        budget: what the whole path may cost. One that is named is kept as far as it can be, and the report says what
            was left out for it; by default parts are sized as for ten minutes, and nothing is left out.
        examples: whether the artifact keeps small previews of training examples, as `export` says.
        modality, head, asked: how `load` is to read the data, where they do not tell.

    Example:
        >>> transfer("photos/", out="artifact").sentence     # doctest: +SKIP
        'Transfer helped: starting from package/resnet18, …'
    """
    began = time.perf_counter(), time.process_time()
    Budget.needed(budget)
    known(strategy, regularizers)  # what is wrong with the request is said before anything slow
    check_out(out)
    task = load(data, modality=modality, head=head, seed=seed, **asked)  # files, table → Task
    read = _since(began, "reading the data")
    ranking = rank(task, backbones, budget, seed=seed)  # which pretrained backbone suits it, measured
    chosen = plan(
        task, ranking[0], strategy, budget, regularizers
    )  # what to freeze, what to train, for how long, and why
    foretold = expectation(task, chosen, budget, ranking.seconds + chosen.seconds, ranking[0])[1]
    log.info("%s\n%s", "\n".join(ranking.why), foretold)
    # With a target domain: whether making its features alike helps.
    aligned = align(task, chosen, seed) if len(task.target) else chosen
    log.info("%s", explain(aligned))
    run = reseeded(task, aligned, seed)  # do it; from another seed where training breaks
    report = verify(task, run, budget, spent(task, ranking, chosen, run))  # better than not transferring? how surely?
    shipping = time.perf_counter(), time.process_time()
    artifact = export(task, run, report, out, examples=examples)  # never ships a harmful transfer
    written, showing = _since(shipping, "writing and checking the model"), (time.perf_counter(), time.process_time())
    reading = {"modality": modality, "head": head, **asked}
    command = again(data, out, backbones, strategy, regularizers, budget, seed, examples, reading)
    told = gathered(task, run, report, ranking, command, examples, os.fspath(out))
    steps = (read, *told.exhibits.spent, written, _since(showing, "looking into its answers, for the report"))
    told = replace(told, exhibits=replace(told.exhibits, spent=steps, allowed=budget.seconds * budget.firm))
    if drawn := kept(told, out):
        told = drawn
    else:
        write(told, out)
    log.info("%s\n%s", words.rows(report), total(told.exhibits))
    return artifact


def _since(began: tuple[float, float], step: str) -> Spent:
    return Spent(step, time.perf_counter() - began[0], time.process_time() - began[1])


def again(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    backbones: Sequence[str] | None,
    strategy: str,
    regularizers: Sequence[str],
    budget: Budget,
    seed: int,
    examples: bool,
    asked: dict[str, Any],
) -> str:
    """The command that does the same once more."""
    words = ["graft", "transfer", os.fspath(data), "--out", os.fspath(out), "--strategy", strategy]
    words += ["--budget", f"{budget.seconds:.12g}s"] if budget.firm else []
    words += ["--seed", str(seed), *(["--backbone", *backbones] if backbones else [])]
    words += ["--regularize", ",".join(regularizers)] if regularizers else []
    words += ["--max-params", str(budget.params)] if budget.params else []
    words += ["--max-latency", f"{budget.latency:f}s"] if budget.latency else []
    for license in budget.licenses:
        words += ["--license", license]
    words += [] if examples else ["--no-examples"]
    for name, value in asked.items():
        if value:
            own = name in ("modality", "head", "label", "group", "time", "path", "target", "source")
            said = str(value) if isinstance(value, (str, int, float)) else ",".join(map(str, value))
            words += [f"--{name}", said] if own else ["--read", f"{name}={said}"]
    return shlex.join(words)
