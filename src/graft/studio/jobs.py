"""The command line's own verbs, run in a child process, one at a time; what they write is all that is known of them.

    jobs/<verb>/  out.json  what it printed      log.txt  what it said      events.jsonl  what it told on the way
                  status    how it ended: its exit status, or "stopped"; none where it was interrupted

A lock that the child holds open says that it still runs, also to a studio that was started after it.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graft.core.errors import GraftError
from graft.core.home import storage, write_text

PATIENCE = 10.0  # seconds that a job has to end in when it is asked to


class Jobs:
    """The one job of a studio."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.guard = threading.Lock()
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path, argv: Sequence[str]) -> None:
        """Run a command of graft for a project.

        Raises:
            GraftError: another job is still running.
        """
        with self.guard, (self.place / ".job.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise GraftError("Something is being worked on already. Wait for its end, or stop it.") from None
            shutil.rmtree(folder, ignore_errors=True)
            with storage():
                folder.mkdir(parents=True)
            environment = os.environ | {"GRAFT_EVENTS": str(folder / "events.jsonl"), "TQDM_MININTERVAL": "2"}
            with (folder / "out.json").open("wb") as out, (folder / "log.txt").open("wb") as log:
                self.child = subprocess.Popen(
                    [sys.executable, "-m", "graft.cli", *argv], env=environment, stdin=subprocess.DEVNULL, stdout=out,
                    stderr=log, start_new_session=True, pass_fds=(lock.fileno(),),
                )  # fmt: skip
            about = {"folder": str(folder), "pid": self.child.pid, "began": time.time()}
            write_text(self.place / "job.json", json.dumps(about))
            threading.Thread(target=_waited, args=(self.child, folder), daemon=True).start()

    def running(self) -> dict[str, Any] | None:
        """What runs now: its folder, its process and when it began."""
        with (self.place / ".job.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with contextlib.suppress(OSError, ValueError):
                    about: dict[str, Any] = json.loads((self.place / "job.json").read_text(encoding="utf-8"))
                    return about
        return None

    def stop(self, why: str = "stopped") -> None:
        """End what runs as Ctrl+C would, and wait for it."""
        if not (about := self.running()):
            return
        if why:
            write_text(Path(about["folder"]) / "status", why)
        for number in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(about["pid"], number)
            until = time.monotonic() + PATIENCE
            while self.running() and time.monotonic() < until:
                time.sleep(0.05)
            if not self.running():
                return


def _waited(child: subprocess.Popen[bytes], folder: Path) -> None:
    """Note how a child ended, unless it was said before."""
    code = child.wait()
    if code >= 0 and code != 130 and folder.is_dir() and not (folder / "status").exists():
        write_text(folder / "status", str(code))


def state(folder: Path, running: dict[str, Any] | None) -> dict[str, Any]:
    """How a job stands: absent, running, done, failed, stopped or interrupted; and what it said last."""
    if not folder.is_dir():
        return {"state": "absent"}
    if running and running["folder"] == str(folder):
        return {"state": "running", "seconds": time.time() - running["began"], "said": _last(folder)}
    try:
        status = (folder / "status").read_text(encoding="utf-8")
    except OSError:
        return {"state": "done" if result(folder) is not None else "interrupted"}
    if status == "0":
        return {"state": "done"}
    return {"state": "stopped"} if status == "stopped" else {"state": "failed", "why": _last(folder, "graft: ")}


def result(folder: Path) -> Any:
    """What a finished job printed, or None."""
    try:
        return json.loads((folder / "out.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def events(folder: Path) -> list[dict[str, Any]]:
    """What a job told on the way."""
    with contextlib.suppress(OSError):
        lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]
    return []


def _last(folder: Path, start: str = "") -> str:
    """The last line of a job's log that begins so, without that beginning."""
    with contextlib.suppress(OSError):
        with (folder / "log.txt").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8000))
            text = log.read().decode("utf-8", "replace").replace("\r", "\n")
        lines = [line for line in text.splitlines() if line.strip() and line.startswith(start)]
        return lines[-1].removeprefix(start).strip() if lines else ""
    return ""
