"""The command line: one sub-command per verb, reading and writing the same JSON nouns.

Standard output carries the result alone; progress, warnings and errors go to standard error. Exit status 0 when done,
2 for a fault that the person can mend, 1 for a fault of ours, 130 when interrupted.
"""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from graft import asked, words
from graft.arguments import ARTIFACT, parse
from graft.core.errors import DataError, GraftError, PlanError
from graft.given import noun
from graft.model import lean

STEPS = ("load", "rank", "plan", "search", "adapt", "verify", "export")  # whose result is a noun for the next


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    if argv is None:
        lean.own()
    arguments = parse(argv)
    _report_progress(arguments)
    try:
        COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
    except GraftError as error:
        print(f"graft: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ngraft: interrupted. The same command goes on from where it was.", file=sys.stderr, flush=True)
        os._exit(130)  # threads of libraries that still work may abort an orderly end; what is on disk is whole anyway
    except BrokenPipeError:  # the reader of our output has gone: `graft list backbones | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ModuleNotFoundError as error:
        print(
            f"graft: `graft {arguments.command}` needs {error.name}, which is not installed here. Install graft with "
            "all that it depends on, as its README says; only answering with a finished model does without.",
            file=sys.stderr,
        )
        return 2
    except Exception as error:
        if os.environ.get("GRAFT_DEBUG"):
            raise
        kind = type(error).__name__
        print(
            f"graft: a fault of graft's own: {kind}: {error}. GRAFT_DEBUG=1 shows where; please report it.",
            file=sys.stderr,
        )
        return 1
    return 0


def _load(a: argparse.Namespace) -> None:
    task = asked.task(a)
    _show(a, task, words.task(task))


def _rank(a: argparse.Namespace) -> None:
    ranking = asked.ranking(a, asked.task(a))
    _show(a, ranking, words.ranking(ranking))


def _plan(a: argparse.Namespace) -> None:
    from graft.plan import considered, explain, known, plan
    from graft.proof import expectation

    known(a.strategy, a.regularize)
    task = asked.task(a)
    evidence, budget = asked.evidence(a, task), asked.budget(a)
    chosen = plan(task, evidence, a.strategy, budget, a.regularize)
    seconds, proof = expectation(task, chosen, budget, chosen.seconds, evidence)
    text = f"{explain(chosen)}\n  {proof}"
    if not a.explain:
        return _show(a, chosen, text)
    others = considered(task, evidence, budget, a.regularize)
    text = f"{text}\n\n{words.plans(chosen, others)}"
    return _show(a, {"chosen": chosen, "considered": others, "proof": seconds}, text)


def _search(a: argparse.Namespace) -> None:
    from graft.plan import explain
    from graft.search import search

    task = asked.task(a)
    plan = search(task, asked.evidence(a, task), asked.budget(a), trials=a.trials, seed=a.seed)
    _show(a, plan, explain(plan))


def _adapt(a: argparse.Namespace) -> None:
    run, _ = asked.run(a, asked.task(a))
    _show(a, run, f"validation {run.score:.3f} in {run.cost.seconds:.0f} s; weights in {run.weights}")


def _verify(a: argparse.Namespace) -> None:
    from graft.export import writable
    from graft.verify import verify

    if a.out:
        writable(a.out)
    task = asked.task(a)
    run, spent = asked.run(a, task)
    report = verify(task, run, asked.budget(a), spent)
    if a.out:
        from graft.exhibits import gathered
        from graft.report import write

        ranking = None if a.plan or a.finished else asked.ranking(a, task)  # which is stored by now
        write(gathered(task, run, report, ranking, shlex.join(["graft", *a.words])), a.out)
    _show(a, report, words.report(report))


def _report(a: argparse.Namespace) -> None:
    from graft.report import redraw

    files = [str(path) for path in redraw(a.folder)]
    _show(a, {"files": files}, "\n".join(files))


def _export(a: argparse.Namespace) -> None:
    from graft.convert import convert
    from graft.core.nouns import Report
    from graft.export import check_out, export
    from graft.forms import chosen
    from graft.hf import vacant
    from graft.verify import verify

    if a.to:
        vacant(a.to[1])
    changed = a.format or a.no_examples
    if os.path.isfile(os.path.join(a.data, "card.json")) and (changed or a.to):  # an artifact that stands
        artifact, place = convert(a.data, a.format, a.out, not a.no_examples) if changed else None, a.data
    else:
        place = a.out or ARTIFACT
        check_out(place)
        chosen(a.format)
        task = asked.task(a)
        run, spent = asked.run(a, task)
        report = noun(Report, a.report) if a.report else verify(task, run, asked.budget(a), spent)
        artifact = export(task, run, report, place, not a.no_examples, a.format)
    if a.to:
        _to_hf(a, place)
    return _show(a, artifact or {"path": a.to[1]}, words.artifact(artifact) if artifact else "")


def _to_hf(a: argparse.Namespace, artifact: str) -> None:
    from graft.hf import to_hf

    logging.getLogger("graft").info("%s can be loaded by timm or transformers.", to_hf(artifact, a.to[1]))


def _merge(a: argparse.Namespace) -> None:
    from graft.merge import merge

    artifact = merge(a.artifacts, a.out)
    _show(a, artifact, words.artifact(artifact))


def _transfer(a: argparse.Namespace) -> None:
    from graft.transfer import transfer

    artifact = transfer(
        a.data,
        out=a.out,
        backbones=asked.ids(a),
        strategy=a.strategy,
        regularizers=a.regularize,
        budget=asked.budget(a),
        seed=a.seed,
        examples=not a.no_examples,
        **asked.asked(a),
    )
    _show(a, artifact, words.artifact(artifact))


def _demo(a: argparse.Namespace) -> None:
    from graft.demo import demo

    artifact, example = demo(a.modality, a.out, a.seed)
    _show(a, artifact, words.artifact(artifact, example))


def _predict(a: argparse.Namespace) -> None:
    import graft

    predictor = graft.open(a.artifact)
    if a.path:
        predictor.card["reading"]["path"] = a.path
    result = []
    for given in a.inputs:
        raw = sys.stdin.buffer.read() if given == "-" else given
        result += [{**one, **({"input": "-"} if given == "-" else {})} for one in predictor.predict([raw])]
    for one in result:
        if "error" in one and not a.json:
            where = "" if one["input"] in one["error"] else f"{one['input']}: "
            print(f"graft: {where}{one['error']}", file=sys.stderr)
    _show(a, result, "\n".join(words.answer(one) for one in result if "error" not in one))
    if all("error" in one for one in result):
        raise DataError("Nothing could be answered." if result else "There was nothing to answer for.")


def _studio(a: argparse.Namespace) -> None:
    from graft.studio.run import serve

    serve(a.port)


def _serve(a: argparse.Namespace) -> None:
    from graft.serving.limits import Settings
    from graft.serving.run import serve

    serve(a.artifacts, Settings(a.host, a.port, a.token, a.max_batch, a.max_wait_ms / 1000))


def _list(a: argparse.Namespace) -> None:
    from graft.listing import listed

    entries = listed(a.shelf)
    _show(a, entries, words.table(entries))


def _cache(a: argparse.Namespace) -> None:
    from graft.core import home

    if a.clear is not None and a.clear not in (*home.KINDS, "all"):
        raise PlanError(f"There is no kind {a.clear!r} in the home. There are: {', '.join(home.KINDS)}, all.")
    freed = home.clear(None if a.clear == "all" else a.clear) if a.clear else 0
    if a.limit is not None:
        freed += home.evict(home.limit(a.limit))
    kinds = home.sizes()
    state: dict[str, Any] = {"home": str(home.home()), "limit": home.limit(), "freed": freed, "bytes": kinds}
    _show(a, state, words.cache(state))


def _show(a: argparse.Namespace, result: Any, text: str) -> None:
    """The noun as JSON where it is asked for, or where a step's output goes to a file or a pipe; else words."""
    from graft.core.codec import to_json

    step = not getattr(a, "explain", False) and a.command in STEPS
    if a.json or (step and not sys.stdout.isatty()):
        print(to_json(result, indent=None if a.command in ("load", "predict") else 1))
    elif text:
        print(text)


class Lines(logging.StreamHandler):
    """Lines on standard error; a progress bar that stands there is wiped off first, and drawn by its next step."""

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream.isatty() and (bars := sys.modules.get("tqdm")):
            # Not tqdm.write, which draws bars at once that are to wait for two seconds, and leaves them there.
            with bars.tqdm.get_lock():
                for bar in list(getattr(bars.tqdm, "_instances", ())):
                    bar.clear(nolock=True)
        super().emit(record)


def _report_progress(a: argparse.Namespace) -> None:
    """What the path says of itself, on standard error."""
    handler = Lines()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("graft")
    logger.addHandler(handler)
    logger.propagate = False
    loud = logging.DEBUG if os.environ.get("GRAFT_DEBUG") else logging.INFO
    logger.setLevel(logging.ERROR if a.quiet else loud)
    if a.quiet:
        os.environ["TQDM_DISABLE"] = "1"
    elif not sys.stderr.isatty():  # in a log, a line now and then
        os.environ.setdefault("TQDM_MININTERVAL", "10")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "transfer": _transfer, "load": _load, "rank": _rank, "plan": _plan, "search": _search, "adapt": _adapt,
    "verify": _verify, "report": _report, "export": _export, "merge": _merge, "predict": _predict, "serve": _serve,
    "studio": _studio, "list": _list, "demo": _demo, "cache": _cache,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
