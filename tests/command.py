"""The command line in a process of its own, as a user calls it."""

import subprocess
import sys


def cli(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "graft.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
