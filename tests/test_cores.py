"""How many cores are used: as many as the kernel lets this process have."""

import subprocess
import sys
from pathlib import Path

from graft.core.cores import quotas


def test_a_process_bound_to_one_core_uses_one():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); from graft.core.cores import cores; "
    told = subprocess.run([sys.executable, "-c", f"{code}print(cores())"], capture_output=True, text=True, check=True)
    assert told.stdout == "1\n"


def group(root: Path, line: str, files: dict[str, str]) -> list[float]:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"4:memory:/else\n{line}\n")
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return sorted(quotas(root))


def test_a_containers_quota_counts_in_both_versions_of_the_kernels_files(tmp_path):
    second = {"cpu.max": "max 100000\n", "pod/cpu.max": "300000 100000\n", "pod/one/cpu.max": "150000 100000\n"}
    assert group(tmp_path / "second", "0::/pod/one", second) == [1.5, 3.0]
    first = {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}
    assert group(tmp_path / "first", "2:cpu,cpuacct:/a/b", {**first, "cpu/cpu.cfs_quota_us": "-1\n"}) == [0.5]
    assert group(tmp_path / "seen", "0::/not/to/be/seen", {"cpu.max": "200000 100000"}) == [2.0]
    assert not list(quotas(tmp_path / "none"))
