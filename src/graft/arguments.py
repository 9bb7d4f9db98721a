"""Every command and its arguments; imports nothing heavy, so that `--help` answers at once."""

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from graft.core.errors import nearest

UNITS = {"s": 1, "m": 60, "h": 3600}
DEMOS = ("image", "text", "audio", "signal", "vector")
ARTIFACT = "artifact"  # where one is written, unless --out names another folder
SIZES = " KMGT"  # each a thousand times the one before, or 1024 times with an i: 5G, 5GiB


class Parser(argparse.ArgumentParser):
    """Ends with one sentence and where to read on, not with a page of usage."""

    commands: Mapping[str, "Parser"]  # of the topmost one, by name

    def error(self, message: str) -> NoReturn:
        """End with exit status 2."""
        self.exit(2, f"graft: {message}{'' if message.endswith(('.', '?')) else '.'} See `{self.prog} --help`.\n")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for; --backbone takes several ids, so that a DATA behind them is told apart from the last."""
    top, words = parser(), list(sys.argv[1:] if argv is None else argv)
    if not words:
        top.print_help(sys.stderr)
        top.exit(2)
    if not words[0].startswith("-") and words[0] not in top.commands:
        top.error(f"there is no command {words[0]!r}.{nearest(words[0], top.commands)}")
    a, left = top.parse_known_args(words)
    command = top.commands[a.command]
    if left:
        command.error(_unknown(left[0], a.command, top.commands))
    if getattr(a, "to", None):
        if a.to[0] != "hf":
            command.error(
                f"--to {a.to[0]}: what it writes is hf, as in --to hf DIR; other forms stand beside the ONNX file, "
                "as after `graft export DATA --format openvino`"
            )
        a.data = a.data or a.out or ARTIFACT
    a.words = words
    if "data" in a and a.data is None:
        groups = [ids for ids in getattr(a, "backbone", None) or [] if len(ids) > 1 and os.path.exists(ids[-1])]
        if not groups:
            command.error("DATA is missing: a folder of class folders, a table, or a Task")
        a.data = groups[-1].pop()
    return a


def _unknown(word: str, command: str, commands: Mapping[str, Parser]) -> str:
    """What to say of a word that a command does not take."""
    if not word.startswith("-"):
        return f"{word!r} is one argument more than `graft {command}` takes"
    option = word.partition("=")[0]
    known = {name: [*one._option_string_actions] for name, one in commands.items()}
    others = [f"`graft {name}`" for name, options in known.items() if option in options]
    there = f" {', '.join(others[:3])} {'have' if len(others) > 1 else 'has'} it" if others else ""
    return f"`graft {command}` has no option {option}.{there or nearest(option, known[command])}"


def parser() -> Parser:
    """Every command and its arguments."""
    from graft import __version__

    top = Parser(
        prog="graft", description="Transfer learning that is measured, explained and proven.",
        epilog="Begin with `graft transfer photos/ --out model`; `graft COMMAND --help` says what a command takes.",
    )  # fmt: skip
    top.add_argument("--version", action="version", version=f"graft {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    top.commands = commands.choices

    def command(name: str, help: str) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name, help=help, description=help, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        one.add_argument("--json", action="store_true", help="write the result as one JSON value and nothing else")
        one.add_argument("--quiet", action="store_true", help="no progress and no notes: errors alone")
        return one

    transfer = command("transfer", "the whole path: labelled files in, a proven model out")
    _data(transfer)
    _choice(transfer)
    _out(transfer)
    _kept(transfer)
    load = command("load", "read, audit and split labelled files: the Task")
    _data(load)
    rank = command("rank", "measure which pretrained backbone suits the data: the Ranking")
    _data(rank)
    _candidates(rank)
    plan = command("plan", "say what to freeze, what to train, for how long, and why: the Plan")
    _data(plan)
    _choice(plan)
    plan.add_argument("--ranking", metavar="FILE", help="a Ranking, as `graft rank` wrote it; by default it is made")
    plan.add_argument("--explain", action="store_true", help="also what every other strategy would train and cost")
    search = command("search", "try strategies, depths and rates, and keep the best by validation: the Plan")
    _data(search)
    _candidates(search)
    search.add_argument("--ranking", metavar="FILE", help="a Ranking, as `graft rank` wrote it; by default it is made")
    search.add_argument("--trials", type=_count, default=20, metavar="N", help="plans that are tried (default 20)")
    adapt = command("adapt", "carry out a plan: the Run; an interrupted one goes on")
    _data(adapt)
    _choice(adapt)
    adapt.add_argument("--plan", metavar="FILE", help="a Plan, as `graft plan` wrote it; - reads standard input")
    verify = command("verify", "compare with not transferring, on the test part: the Report")
    _data(verify)
    _choice(verify)
    verify.add_argument("--plan", metavar="FILE", help="a Plan; by default the one that `graft plan` makes")
    verify.add_argument("--run", dest="finished", metavar="FILE", help="a Run, as `graft adapt` wrote it")
    verify.add_argument("--out", metavar="DIR", help="also write report.html, report.json and MODEL_CARD.md there")
    report = command("report", "draw report.html and MODEL_CARD.md again from a folder's report.json")
    report.add_argument("folder", metavar="DIR", help="an artifact's folder, or what `graft verify --out` wrote")
    export = command("export", "write what ships, reload it in a fresh process, compare: the Artifact")
    _data(export)
    _choice(export)
    export.add_argument(
        "--out", metavar="DIR", help="where the artifact is written (default ./artifact, or where it stands)"
    )
    _kept(export)
    export.add_argument("--plan", metavar="FILE", help="a Plan; by default the one that `graft plan` makes")
    export.add_argument("--run", dest="finished", metavar="FILE", help="a Run, as `graft adapt` wrote it")
    export.add_argument(
        "--format", action="extend", nargs="+", default=[], metavar="NAME",
        help="also write these: torch_export, openvino, int8 (safetensors and ONNX always); DATA may then be an "
        "artifact that stands",
    )  # fmt: skip
    export.add_argument(
        "--to", nargs=2, metavar=("hf", "DIR"), help="also write a folder that timm or transformers loads, into DIR; "
        "DATA may then be an artifact that stands (default ./artifact)",
    )  # fmt: skip
    export.add_argument("--report", metavar="FILE", help="a Report, as `graft verify` wrote it; by default it is made")
    merge = command("merge", "several artifacts on one backbone → one that answers all their tasks: the Artifact")
    merge.add_argument("artifacts", metavar="DIR", nargs="+", help="artifacts; a task is called after its folder")
    _out(merge)
    predict = command("predict", "answer for new files with an artifact")
    predict.add_argument("artifact", metavar="DIR", help="the artifact's folder")
    predict.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="files, folders, tables of such; texts as they are; - reads one from standard input",
    )
    predict.add_argument("--path", help="a table's column of paths")
    serve = command("serve", "answer over HTTP with one or several artifacts")
    serve.add_argument("artifacts", metavar="DIR", nargs="+", help="artifacts' folders, each served under its name")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: this machine alone)")
    serve.add_argument("--port", type=int, choices=range(65536), default=8000, metavar="PORT", help="default 8000")
    serve.add_argument("--token", default=os.environ.get("GRAFT_TOKEN", ""), help="which requests show; or GRAFT_TOKEN")
    serve.add_argument("--max-batch", type=_count, default=32, metavar="N", help="examples at once (default 32)")
    serve.add_argument(
        "--max-wait-ms", type=_count, default=5, metavar="MS", help="that a batch waits for more at most (default 5)"
    )
    listing = command("list", "what is on a shelf: " + "backbones, strategies, scores, sources, …")
    listing.add_argument("shelf", metavar="SHELF", nargs="?", help="by default the shelves are listed")
    demo = command("demo", "the whole path on real data and weights, fetched with pip")
    demo.add_argument(
        "modality", nargs="?", default="image", choices=DEMOS, help="what the examples are (default: image)"
    )
    _out(demo)
    demo.add_argument("--seed", type=_seed, default=0)
    studio = command("studio", "the whole path in a browser, on this machine alone")
    studio.add_argument("--port", type=_port, default=8642, help="0 takes a free one (default 8642)")
    cache = command("cache", "what the home holds, by kind, and how to empty it")
    cache.add_argument("--clear", metavar="KIND", help="remove features, weights, runs, results, files or all")
    cache.add_argument(
        "--limit",
        type=_bytes,
        metavar="SIZE",
        help="most bytes of stored features from now on, such as 5G; the least recently used go",
    )
    return top


def _data(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help="a folder of class folders, one with train/ val/ test/, a table, or a Task",
    )
    one.add_argument("--path", help="a table's column of paths, where its name does not tell")
    one.add_argument("--label", help="a table's column of labels, where its name does not tell")
    one.add_argument("--group", help="a table's column that says who or what an example comes from: parts share none")
    one.add_argument("--time", help="a table's column that says when an example was taken: the latest ones test")
    one.add_argument("--modality", help="what the examples are (default: what they look like); `graft list modalities`")
    one.add_argument("--head", help="what is to be answered (default: what the labels look like); `graft list heads`")
    one.add_argument(
        "--read", type=_setting, action="append", metavar="NAME=VALUE",
        help="how an example is read: columns=title,body for texts, rate=250 for signals; see the docs",
    )  # fmt: skip
    one.add_argument("--target", metavar="DIR", help="examples of the domain to be answered for, where it differs")
    one.add_argument("--source", metavar="DIR", help="labelled examples of another domain, with the labels of DATA")
    one.add_argument("--seed", type=_seed, default=0, help="of the split and of training (default 0)")


def _candidates(one: argparse.ArgumentParser) -> None:
    one.add_argument("--backbone", action="append", nargs="+", metavar="ID", help="candidates (default: all at hand)")
    one.add_argument(
        "--budget",
        type=_seconds,
        metavar="TIME",
        help="wall time to keep to, such as 90s, 10m or 2h; if none is named, 10m are aimed at and all is compared",
    )
    one.add_argument("--max-params", type=_number, metavar="N", help="most parameters of a backbone, such as 25M")
    one.add_argument(
        "--max-latency", type=_seconds, metavar="TIME", help="most time of one example, such as 0.02s, measured here"
    )
    one.add_argument(
        "--license", action="append", metavar="NAME", help="a licence that is allowed (default: every one)"
    )


def _choice(one: argparse.ArgumentParser) -> None:
    _candidates(one)
    one.add_argument(
        "--strategy", default="auto", metavar="NAME|FILE", help="how to adapt (default auto); `graft list strategies`"
    )

    one.add_argument(
        "--regularize",
        type=_names,
        default=(),
        metavar="NAMES",
        help="such as l2_sp,ema:0.99; `graft list regularizers`",
    )


def _out(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--out", default=ARTIFACT, metavar="DIR", help="where the artifact is written (default ./artifact)"
    )


def _kept(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--no-examples",
        action="store_true",
        help="keep no previews of training examples in the artifact, by which an answer shows what it resembles",
    )


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more, below 2^63")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, from 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more, below a million")
    return int(text)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text)
    if not found or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time above zero such as 90s, 10m or 2h")
    return float(found[1]) * UNITS[found[2] or "s"]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _setting(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not (name and mark):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as rate=250")
    return name, value


def _number(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 50000 or 25M")
    return int(float(found[1]) * 1000 ** SIZES.index(found[2].upper() or " "))


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT])(i?)B?", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M or 5G")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** SIZES.index(found[2].upper()))
