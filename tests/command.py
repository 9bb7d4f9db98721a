"""The command line in a process of its own, as users call it; or in this one, where starting another is slow."""

import contextlib
import io
import logging
import os
import subprocess
import sys
from unittest import mock


def cli(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "graft.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def here(*arguments: object) -> int:
    """The exit status; what the command sets for its own process is put back."""
    from graft.cli import main

    logger = logging.getLogger("graft")
    before = logger.handlers[:], logger.propagate, logger.level
    try:
        with mock.patch.dict(os.environ):
            return main([*map(str, arguments)])
    finally:
        logger.handlers[:], logger.propagate = before[:2]
        logger.setLevel(before[2])


def ran(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What a process of its own would have said: `cli` without the seconds that importing torch takes."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = here(*arguments)
        except SystemExit as end:  # of the parser
            status = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())
