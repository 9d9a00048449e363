"""Run as pid 1 of a pid namespace: a collector, and two shells one after the other with the same pid.

Not a test; it starts what its arguments say and reads its input: each line ends the shell and goes on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PID = 20_000
_ATTEMPTS = 1000


def shell() -> subprocess.Popen[bytes]:
    """A bash with that pid. Threads of the collector take pids too, so it may need some attempts."""
    for _ in range(_ATTEMPTS):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(_PID - 1))
        process = subprocess.Popen(["bash", "-c", "read answer; exit 0"], stdin=subprocess.PIPE)
        if process.pid == _PID:
            return process
        process.kill()
        process.wait()
    raise SystemExit(f"no shell got pid {_PID}")


def main() -> None:
    """Start, and change the shell at each line of input until it ends."""
    with subprocess.Popen(sys.argv[1:]) as collector:
        while True:
            process = shell()
            line = sys.stdin.readline()
            process.kill()
            process.wait()
            if not line:
                break
        collector.terminate()


if __name__ == "__main__":
    main()
