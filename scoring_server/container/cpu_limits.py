"""How many CPUs this process may use: its affinity, and the quota of its control group.

Files: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max) and cgroup v1's
cpu.cfs_quota_us and cpu.cfs_period_us.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Iterator, Optional


def available_cpus(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """The number of CPUs, at least 1; a part of a CPU counts as one.

    :param proc: the proc file system.
    :param cgroups: where control groups are mounted.
    """
    try:
        cpus: float = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cpus = os.cpu_count() or 1
    quotas = [_quota(folder) for folder in _folders(proc, cgroups)]
    limits = [quota for quota in quotas if quota is not None]
    return max(1, math.ceil(min([cpus, *limits])))


def _folders(proc: Path, cgroups: Path) -> Iterator[Path]:
    """The folders of this process's cpu control groups, innermost first."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers if controllers else cgroups
        if controllers and not root.is_dir():
            root = cgroups / "cpu"
        folder = root / path.lstrip("/")
        # In a container the path may be the host's, of which only the root is mounted here.
        while folder != root and root in folder.parents:
            yield folder
            folder = folder.parent
        yield root


def _quota(folder: Path) -> Optional[float]:
    """The CPUs that one group may use; None for no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
    except OSError:
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
