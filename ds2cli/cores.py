"""How many cores this process may use.

`ds2` uses as many threads unless OMP_NUM_THREADS is set, and the number limits `--nproc`, `--nj`, `--readers` and the
jobs of utils/run.sh. `python -m ds2cli.cores` prints it, for shell scripts.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator

from ds2cli import cgroups
from ds2cli.errors import Ds2Error, UsageError


def count_cores() -> int:
    """Cores in the CPU affinity of this process, limited by the CPU quota of its container, at least 1.

    DS2_CORES=N is used instead, on machines where neither is right. UsageError if it is not a number.
    """
    if given := os.environ.get("DS2_CORES"):
        if not given.isdecimal() or int(given) < 1:
            raise UsageError(f"DS2_CORES={given}: expected the number of cores to use, at least 1")
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _read_quotas())]))


def _read_quotas() -> Iterator[float]:
    """The CPU quotas of this process's control groups, in cores."""
    for folder, version in cgroups.find_folders("cpu"):
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if version == 1 else ("cpu.max",)
        try:
            quota, period = " ".join((folder / name).read_text("ascii") for name in names).split()
        except (OSError, ValueError):
            continue
        if quota.isdecimal() and int(period) > 0:
            yield int(quota) / int(period)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{count_cores()}\n")
    except Ds2Error as error:
        sys.exit(str(error))
