"""The code on a page, run as its reader would: block by block in one folder, each beside the output it promises."""

import contextlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from command import here
from graft.arguments import parse, parser

FENCE = re.compile(r"^```(\w*) ?([\w./-]*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-−]?\d+(?:[.,]\d+)*")
ASIDE = re.compile(r"\s+#.*")
PLAIN = re.compile(r"graft [^|;&$`<]*")  # a command that needs no shell
PATIENCE, SECONDS = 20, "4s"  # a budget above so many seconds is made this small, where a page means minutes


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
    return set(next(action.choices for action in parser()._actions if isinstance(action.choices, dict)))


def followed(page: Path) -> None:
    """Run a page in the current folder."""
    names: dict = {"__name__": "__main__"}
    said, started = "", list[subprocess.Popen]()
    try:
        for kind, file, text in blocks(page):
            if kind == "python" and file:
                Path(file).write_text(text, encoding="utf-8")
            elif kind == "python":
                said = seen(lambda text=text: exec(compile(text, page.name, "exec"), names))
            elif kind == "sh":
                said = "".join(typed(line, started) for line in lines(text))
            elif kind == "text":
                missing = unsaid(text, said)
                assert not missing, f"{page.name} promises {missing!r}; what came was\n{said}"
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


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


def typed(line: str, started: list[subprocess.Popen]) -> str:
    """What a line of a shell prints. Commands of graft alone run in this process: another costs seconds to start."""
    command, _, place = line.partition(" > ")
    if PLAIN.fullmatch(command):
        words, answer, status = brisk(shlex.split(command)[1:]), io.StringIO(), list[int]()

        def ask() -> None:
            with contextlib.redirect_stdout(answer) if place else contextlib.nullcontext():
                status.append(here(*words))

        said = seen(ask)
        assert status == [0], f"{line}\n{said}"
        if place:
            Path(place.strip()).write_text(answer.getvalue(), encoding="utf-8")
        return said
    environment = {**os.environ, "PATH": f"{tools()}{os.pathsep}{os.environ['PATH']}"}
    if line.endswith("&"):
        run, log = ["bash", "-c", f"exec {line[:-1]}"], Path(".log").open("ab")
        started.append(subprocess.Popen(run, stdout=log, stderr=log, env=environment, start_new_session=True))
        log.close()
        return ""
    run = ["bash", "-c", line]
    done = subprocess.run(run, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def tools() -> Path:
    """A folder with this Python and its graft, for lines that need a shell."""
    place = Path(".tools").absolute()
    place.mkdir(exist_ok=True)
    for name, module in (("python", ""), ("graft", "-m graft.cli")):
        (place / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (place / name).chmod(0o755)
    return place


def brisk(words: list[str]) -> list[str]:
    """The same command, done within seconds: where a page leaves the backbone open, a small one is taken."""
    asked = parse(words)
    slow = getattr(asked, "budget", 0) > PATIENCE
    blank = "backbone" in asked and not asked.backbone
    return [*words, *(["--budget", SECONDS] if slow else []), *(["--backbone", "tiny/shapes"] if blank else [])]


def unsaid(promised: str, said: str) -> str | None:
    """The first passage of a promise that did not come; numbers may differ, and … stands for anything."""
    rest = plain(said)
    for passage in re.split(r"…|^\.\.\.$", promised, flags=re.MULTILINE):
        found = rest.find(wanted := plain(passage))
        if found < 0:
            return wanted
        rest = rest[found + len(wanted) :]
    return None


def plain(text: str) -> str:
    """Text on one line, every number alike."""
    return " ".join(NUMBER.sub("0", text).split())
