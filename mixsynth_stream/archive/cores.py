"""`usable_cores`: how many cores this process may use, which in containers and on shared machines are fewer."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of the second version of control groups


def usable_cores() -> int:
    """The cores that the system schedules this process on, within the quota of a container; 1 or more."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota_us, period_us = Path(_QUOTA).read_text(encoding="ascii").split()
        cores = min(cores, int(quota_us) // int(period_us))  # "max" is no number
    return max(cores, 1)
