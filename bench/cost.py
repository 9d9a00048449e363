"""What a process costs, as Linux counts it for it: nothing is asked of the process."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

_SCHED: Final = 2
"""Of a clock of a process: the time that it ran, in nanoseconds; the ticks of its ``stat`` are of 10 ms."""
_KIB: Final = 1024
MIB: Final = 1 << 20


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process has used: of all its threads, in the kernel and out of it."""
    return time.clock_gettime(~pid << 3 | _SCHED)  # clock_getcpuclockid(3)


def memory_mib(pid: int, what: str = "VmRSS") -> float:
    """What a process holds now, or held at most (``VmHWM``). Raises :class:`AssertionError`."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    if not found:
        raise AssertionError(f"/proc/{pid}/status: no {what}")
    return int(found[1]) * _KIB / MIB
