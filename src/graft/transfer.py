"""The whole path on one screen."""

import logging
import os
import shlex
import time
from collections.abc import Sequence
from typing import Any

from graft import words
from graft.align import align
from graft.core.nouns import Artifact, Budget
from graft.exhibits import gathered
from graft.export import check_out, export
from graft.load import load
from graft.plan import explain, known, plan
from graft.rank import rank
from graft.report import write
from graft.seeds import reseeded
from graft.verify import verify

log = logging.getLogger("graft")
LATE = 1.5  # times the budget from which a word is owed: fetching weights is not foreseen, nor is a busy machine


def transfer(
    data: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] = "artifact",
    backbones: Sequence[str] | None = None,
    strategy: str = "auto",
    regularizers: Sequence[str] = (),
    budget: Budget = Budget(),
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
        budget: what the whole path may cost.
        examples: whether the artifact keeps small previews of training examples, as `export` says.
        modality, head, asked: how `load` is to read the data, where they do not tell.

    Example:
        >>> transfer("photos/", out="artifact").sentence     # doctest: +SKIP
        'Transfer helped: starting from package/resnet18, …'
    """
    began = time.perf_counter()
    known(strategy, regularizers)  # what is wrong with the request is said before anything slow
    check_out(out)
    task = load(data, modality=modality, head=head, seed=seed, **asked)  # files, table → Task
    ranking = rank(task, backbones, budget, seed=seed)  # which pretrained backbone suits it, measured
    chosen = plan(
        task, ranking[0], strategy, budget, regularizers
    )  # what to freeze, what to train, for how long, and why
    if len(task.target):
        chosen = align(task, chosen, seed)  # whether making the target domain's features alike helps
    log.info("%s\n%s", "\n".join(ranking.why), explain(chosen))
    run = reseeded(task, chosen, seed)  # do it; from another seed where training breaks
    report = verify(task, run, budget)  # better than not transferring? by how much, how surely?
    artifact = export(task, run, report, out, examples=examples)  # never ships a harmful transfer
    command = again(
        data, backbones, strategy, regularizers, budget, seed, {"modality": modality, "head": head, **asked}
    )
    write(gathered(task, run, report, ranking, command, examples), out)
    log.info("%s", words.rows(report))
    if (spent := time.perf_counter() - began) > LATE * budget.seconds:
        log.warning("This took %.0f s, more than the %.0f s that were asked for.", spent, budget.seconds)
    return artifact


def again(
    data: str | os.PathLike[str],
    backbones: Sequence[str] | None,
    strategy: str,
    regularizers: Sequence[str],
    budget: Budget,
    seed: int,
    asked: dict[str, Any],
) -> str:
    """The command that does the same once more."""
    words = ["graft", "transfer", os.fspath(data), "--strategy", strategy, "--budget", f"{budget.seconds:g}s"]
    words += ["--seed", str(seed), *(["--backbone", *backbones] if backbones else [])]
    words += ["--regularize", ",".join(regularizers)] if regularizers else []
    for name, value in asked.items():
        if value:
            own = name in ("modality", "head", "label", "group", "time", "path", "target", "source")
            words += [f"--{name}", str(value)] if own else ["--read", f"{name}={value}"]
    return shlex.join(words)
