"""How many cores this process may use: what it is bound to, and what its container's quota is worth."""

import contextlib
import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path("/")


@cache
def cores() -> int:
    """At least one; of a quota of a core and a half, two."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(math.ceil(share) for share in quotas(ROOT))]))


def quotas(root: Path) -> Iterator[float]:
    """The cores that each control group around this process is granted, in both of the kernel's versions."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and "cpu" not in kinds.split(","):
                continue
            mount = root / "sys/fs/cgroup" / ("cpu" if kinds else "")
            own = mount / path.lstrip("/")
            # In a container the group that is named may not be seen, and the mount itself is it.
            for group in (own, *own.parents[: len(own.parents) - len(mount.parents)]):
                yield from _granted(group)


def _granted(group: Path) -> Iterator[float]:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # no such file, or no limit: "max"
            quota, period = map(int, " ".join((group / name).read_text() for name in names).split())
            if quota > 0 and period > 0:
                yield quota / period
