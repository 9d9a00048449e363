"""What one process frame shows of how well its node can be seen: bits of an integer.

They are plain integers, for they are put together for each request.
"""

from __future__ import annotations

from typing import Final

CPU: Final = 1
"""It has a data point of ``process.cpu.utilization``."""
MEMORY: Final = 2
"""It has a data point of ``process.memory.utilization``."""
PATH: Final = 4
"""Its ``process.executable.path`` is not empty."""
NO_PATH: Final = 8
"""It has a command line and no path: whoever read it may not look at other users' processes.

A zombie and a kernel thread have neither.
"""
RELATIVE: Final = 16
"""Its ``process.cgroup`` has a path that goes up: the collector is in a cgroup namespace of its own."""

_UP: Final = (":/..", b":/..")


def of_process(*, path: bool, command_line: bool, cgroup: str | bytes) -> int:
    """The signs in the attributes of a process."""
    # a line of /proc/<pid>/cgroup is hierarchy:controllers:path
    relative = _UP[0] in cgroup if isinstance(cgroup, str) else _UP[1] in cgroup
    return (PATH if path else NO_PATH if command_line else 0) | (RELATIVE if relative else 0)
