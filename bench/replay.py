"""``make bench-replay``: how fast ``replay`` is, beside a full parse, and how soon ``serve`` is ready.

1. ``replay`` of a day of one node: 8,640 scrapes of 300 processes with two shells, each a message in zstd.
2. Three hours of it, in turn with ``replay`` and with :mod:`bench.readers`, which parses and walks everything
   and has the same detector behind it; both must print the same bytes. And the readers alone, in memory.
3. ``serve`` from its start until it takes requests, on each of the states of :mod:`bench.restart`.

Takes about seven minutes, and 6 GB for a while. ``--quick`` shows in seconds that all of it works.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import circumstances, restart
from bench.day import DAY, write_day
from bench.page import ROOT, write_results
from tests.e2e.processes import environment_without_keys
from tests.reliability.serving import peak

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REPLAY: Final = ("otel_shell_detector", "replay")
_FULL: Final = ("bench.readers",)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    day: int = DAY
    compared: int = DAY // 8
    read: int = 200
    rounds: int = 5
    starts: int = 3
    state: restart.Sizes = field(default_factory=restart.Sizes)


QUICK: Final = Sizes(20, 20, 3, 1, 1, restart.Sizes(nodes=1, journal=200_000, events=1_000))


def say(text: str) -> None:
    """Tell a person who waits."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def run(module: Sequence[str], path: Path, out: Path) -> dict[str, float]:
    """Run one on a capture, with its output in ``out``: seconds, CPU seconds, and the peak of its memory."""
    begun = time.monotonic()
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *module, path], cwd=ROOT, env=environment_without_keys(), stdout=file
        )
    most = 0
    while True:
        # A process that has ended has no memory any more: what it took in its last moment goes unseen.
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        most = peak(status) if "VmHWM" in status else most
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            break
        time.sleep(0.01)
    seconds = time.monotonic() - begun
    _, code, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise RuntimeError(f"{' '.join(module)}: exit status {process.returncode}")
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak": most}


def replay_a_day(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """``replay`` of the whole of it."""
    path = folder / "day.pb"
    say(f"{sizes.day} scrapes are made")
    plain = write_day(path, sizes.day)
    rounds = []
    for number in range(sizes.rounds):
        rounds.append(run(_REPLAY, path, folder / "events"))
        say(f"replay of {sizes.day} scrapes, round {number + 1}: {rounds[-1]['seconds']:.1f} s")
    found = {"scrapes": sizes.day, "bytes": plain, "file_bytes": path.stat().st_size, "rounds": rounds}
    path.unlink()
    return found


def compare(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """``replay``, and the same with the full parse, in turn."""
    path, ours, full = (folder / name for name in ("part.pb", "ours", "full"))
    write_day(path, sizes.compared)
    rounds = []
    for number in range(sizes.rounds):
        rounds.append({"ours": run(_REPLAY, path, ours), "full": run(_FULL, path, full)})
        if ours.read_bytes() != full.read_bytes():
            raise RuntimeError("the two readers do not find the same")
        took = " and ".join(f"{each['seconds']:.1f} s" for each in rounds[-1].values())
        say(f"{sizes.compared} scrapes by both readers, round {number + 1}: {took}")
    events = ours.read_bytes().count(b"\n")
    return {"scrapes": sizes.compared, "events": events, "rounds": rounds}


def read(sizes: Sizes) -> dict[str, Any]:
    """The readers alone."""
    rounds = []
    for _ in range(sizes.rounds):
        command = [sys.executable, "-m", "bench.readers", "--only", str(sizes.read)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        rounds.append(json.loads(done.stdout))
    say("the readers alone are measured")
    return {"scrapes": sizes.read, "rounds": rounds}


def start(folder: Path, sizes: Sizes) -> Mapping[str, Any]:
    """``serve`` on each state, one after the other."""
    states = restart.make_states(folder, sizes.state, say)
    starts: dict[str, list[dict[str, float]]] = {name: [] for name in states}
    for number in range(sizes.starts):
        for name, state in states.items():
            starts[name].append(asdict(restart.start(state, folder / "start")))
            say(f"start on {name}, round {number + 1}: {starts[name][-1]['seconds']:.1f} s")
    return {"sizes": asdict(sizes.state), "states": starts}


def main() -> None:
    """Measure, and keep it for the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="little of everything; the page stays as it is")
    asked = parser.parse_args()
    sizes = QUICK if asked.quick else Sizes()
    cache = ROOT / ".cache"  # on the disk, which the system's folder for temporary files need not be
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-replay-", dir=cache) as name:
        folder = Path(name)
        results = {
            "here": circumstances.here(),
            "day": replay_a_day(folder, sizes),
            "compared": compare(folder, sizes),
            "read": read(sizes),
            "start": start(folder, sizes),
        }
    if asked.quick:
        json.dump(results, sys.stdout)
    else:
        write_results("replay", results)


if __name__ == "__main__":
    main()
