"""The code on a page, run as its reader would: block by block in one folder, each beside the output it promises."""

import contextlib
import io
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from command import here
from graft.arguments import parse, parser

FENCE = re.compile(r"^```(\w*) ?([\w./-]*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-−]?\d+(?:[.,]\d+)*")
ASIDE = re.compile(r"\s+#.*")
PLAIN = re.compile(r"graft [^|;&$`<]*")  # a command that needs no shell
SMALL = ("tiny/shapes", "tiny/random")  # backbones where a page leaves them open
PATIENCE, SECONDS = 20, "5s"  # a budget above so many seconds is made this small, where a page means minutes


class Terminal(io.StringIO):
    """What a person sees: commands that write to it know that somebody reads."""

    def isatty(self) -> bool:
        return True


class Beside(io.TextIOBase):
    """Progress on the same screen."""

    def __init__(self, screen: Terminal) -> None:
        self.write = screen.write


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Language, file name behind it, and text of every fenced block."""
    return (match.groups() for match in FENCE.finditer(page.read_text(encoding="utf-8")))


def commands(page: Path) -> list[str]:
    """Every graft command of a page, in blocks and inside sentences, without redirections."""
    text = page.read_text(encoding="utf-8")
    said = [line for kind, _, block in blocks(page) if kind == "sh" for line in lines(block)]
    said += re.findall(r"`(graft [a-z][^`|…]*)`", text.replace("\n", " "))
    return [re.split(r"\s+[>&]", line)[0].strip() for line in said if line.startswith("graft ")]


def known() -> set[str]:
    """The sub-commands that there are."""
    return set(parser().commands)


@mock.patch("graft.clock.Clock.left", math.inf)
def followed(page: Path) -> None:
    """Run a page in the current folder, as on a machine that is quick enough for its budgets."""
    names: dict = {"__name__": "__main__"}
    said, started = "", list[int]()
    try:
        for kind, file, text in blocks(page):
            if kind == "python" and file:
                Path(file).write_text(text, encoding="utf-8")
            elif kind == "python":
                said = seen(lambda text=text: exec(compile(text, page.name, "exec"), names))
            elif kind == "sh":
                said = typed(text, started)
            elif kind == "text":
                missing = unsaid(text, said)
                assert not missing, f"{page.name} promises {missing!r}; what came was\n{said}"
    finally:
        for group in started:  # servers that a page leaves running
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)


def lines(text: str) -> list[str]:
    """Commands, those over several lines joined, without what is said beside them."""
    whole = text.replace("\\\n", " ").splitlines()
    return [line for line in (ASIDE.sub("", line).strip() for line in whole) if line and line[0] != "#"]


def seen(what) -> str:
    """What a call prints."""
    screen = Terminal()
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(Beside(screen)):
        what()
    return screen.getvalue()


def typed(text: str, started: list[int]) -> str:
    """What a block of a shell prints. Commands of graft alone run in this process: another costs seconds to start."""
    if all(PLAIN.fullmatch(line.partition(" > ")[0]) for line in lines(text)):
        return "".join(asked(line) for line in lines(text))
    environment = {**os.environ, "PATH": f"{tools()}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as screen:  # a pipe would stay open as long as what ends in &
        shell = subprocess.Popen(
            ["bash", "-euc", text], stdout=screen, stderr=screen, env=environment, start_new_session=True
        )
        started.append(shell.pid)
        status = shell.wait(300)
        screen.seek(0)
        said = screen.read()
    assert status == 0, f"{text}\n{said}"
    return said


def asked(line: str) -> str:
    """What one command of graft prints."""
    command, _, place = line.partition(" > ")
    answer, status = io.StringIO(), list[int]()

    def ask() -> None:
        with contextlib.redirect_stdout(answer) if place else contextlib.nullcontext():
            status.append(here(*brisk(shlex.split(command)[1:])))

    said = seen(ask)
    assert status == [0], f"{line}\n{said}"
    if place:
        Path(place.strip()).write_text(answer.getvalue(), encoding="utf-8")
    return said


def tools() -> Path:
    """A folder with this Python and its graft, for lines that need a shell."""
    place = Path(".tools").absolute()
    place.mkdir(exist_ok=True)
    for name, module in (("python", ""), ("graft", "-m graft.cli")):
        (place / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (place / name).chmod(0o755)
    return place


def brisk(words: list[str]) -> list[str]:
    """The same command, done within seconds: where a page leaves the backbones open, small ones are taken."""
    given = parse(words)
    slow = "budget" in given and (given.budget or 600) > PATIENCE
    blank = "backbone" in given and not given.backbone
    return [*words, *(["--budget", SECONDS] if slow else []), *(["--backbone", *SMALL] if blank else [])]


def unsaid(promised: str, said: str) -> str | None:
    """The first passage of a promise that did not come; numbers may differ, and … stands for anything."""
    rest = plain(said)
    for passage in promised.split("…"):
        found = rest.find(wanted := plain(passage))
        if found < 0:
            return wanted
        rest = rest[found + len(wanted) :]
    return None


def plain(text: str) -> str:
    """Text on one line, every number alike."""
    return " ".join(NUMBER.sub("0", text).split())
