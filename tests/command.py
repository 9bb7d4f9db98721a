"""The command line in a process of its own, as users call it; or in this one, where starting another is slow."""

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
