"""CPU seconds of another process, to the nanosecond and without asking it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_SCHEDULER = 2  # CPUCLOCK_SCHED of Linux's <linux/posix-timers.h>: the clock id is the inverted pid and this
_STAT = Path("/proc/stat")
_IDLE = (3, 4)  # idle and waiting for input, of the columns of proc_stat(5); from the ninth on time is counted twice
_COLUMNS = 8


def machine_seconds() -> float:
    """CPU seconds that the whole machine has worked since it was started, what it was denied by others (steal) included."""
    ticks = [int(each) for each in _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:][:_COLUMNS]]
    return sum(each for column, each in enumerate(ticks) if column not in _IDLE) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its threads, ended ones too, since it began; children do not count.

    It is the clock of clock_getcpuclockid(3): Linux only. ProcessLookupError when there is no such process.
    """
    if sys.platform != "linux":
        raise RuntimeError("the CPU clocks of other processes can only be read on Linux: run the benchmarks there")
    try:
        return time.clock_gettime(~pid << 3 | _SCHEDULER)
    except OSError as error:
        raise ProcessLookupError(f"process {pid} has ended") from error
