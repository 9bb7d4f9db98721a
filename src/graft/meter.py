"""What an adaptation spends: seconds, memory, examples sent through a frozen prefix."""

import contextlib
import resource
import sys
import time
from pathlib import Path

from graft.core.nouns import Cost
from graft.features import Count


class Meter:
    """What is spent from now on, on top of what an interrupted run had spent before."""

    def __init__(self, before: Cost | None = None) -> None:
        with contextlib.suppress(OSError):  # where it can be: the highest memory from now on, not since the start
            Path("/proc/self/clear_refs").write_text("5")
        self.before, self.start = before or Cost(), self._now()

    def cost(self) -> Cost:
        """So far."""
        spent = [now - then for now, then in zip(self._now(), self.start, strict=True)]
        return Cost(
            seconds=self.before.seconds + spent[0],
            cpu_seconds=self.before.cpu_seconds + spent[1],
            peak_bytes=max(self.before.peak_bytes, highest()),
            prefix_passes=self.before.prefix_passes + int(spent[2]),
            prefix_hits=self.before.prefix_hits + int(spent[3]),
        )

    def _now(self) -> tuple[float, ...]:
        return time.perf_counter(), time.process_time(), Count.passes, Count.hits


def highest() -> int:
    """Bytes of the largest resident set of this process, since a meter was last begun where that can be told."""
    with contextlib.suppress(OSError):  # what `resource` tells is that of the process which started this one, if larger
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
