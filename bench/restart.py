"""From the start of ``serve`` until it takes requests, and its peak then, by what there is to read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from store.sqlite import SqliteStore
from tests.e2e.processes import ROOT, Started, free_port
from tests.reliability.backlog import ROOM
from tests.reliability.serving import delivering, environment, is_ready, peak

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WITHIN_S: Final = 120


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is to read."""

    nodes: int = 500
    journal: int = 64 << 20
    events: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until it takes requests, peak bytes, and how much was read."""

    seconds: float
    peak: int
    records: int
    sessions: int
    waiting: int


def make_states(folder: Path, sizes: Sizes, say: Callable[[str], None]) -> Mapping[str, Path]:
    """The states, by what there is to read."""
    say(f"a state with a journal of {sizes.journal >> 20} MiB, of a process that was killed")
    states = {name: folder / name for name in ("nothing", "journal", "sessions", "outbox")}
    _make_killed("journal", states["journal"], sizes.nodes, sizes.journal)
    say("the same, all of it in checkpoints")
    shutil.copytree(states["journal"], states["sessions"])
    _make("checkpoints", states["sessions"])
    say(f"a state with {sizes.events:,} events to deliver")
    _make("outbox", states["outbox"], sizes.events)
    states["nothing"].mkdir(mode=0o700)
    return states


def _command(kind: str, folder: Path, *more: int) -> list[str]:
    return [sys.executable, "-m", "bench.states", kind, str(folder), *map(str, more)]


def _make(kind: str, folder: Path, *more: int) -> None:
    done = subprocess.run(
        _command(kind, folder, *more), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)


def _make_killed(kind: str, folder: Path, *more: int) -> None:
    """The process that makes it gets SIGKILL when it says that it is done."""
    log = folder.with_suffix(".log")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            _command(kind, folder, *more),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    with process:
        is_made = b"made\n" in (process.stdout or ())  # reads its lines up to this one
        process.kill()
    if not is_made:
        raise RuntimeError(log.read_text(encoding="utf-8", errors="replace"))


def start(state: Path, folder: Path) -> Start:
    """Start ``serve`` on a copy of a state; it is killed when it is ready."""
    folder.mkdir()
    shutil.copytree(state, folder / "state")
    for file in (folder / "state").iterdir():
        _sync(file)
    http, started = free_port(), Started(folder)
    keys = delivering(folder, http, free_port())  # where nobody listens
    command = [sys.executable, "-m", "otel_shell_detector", "serve"]
    begun = time.monotonic()
    service = started.start("service", command, environment(folder / "state", ROOM, **keys))
    try:
        # /readyz agrees a moment before the receiver listens.
        while not ('"event": "service.started"' in started.log("service") and is_ready(http)):
            if service.poll() is not None or time.monotonic() > begun + _WITHIN_S:
                raise RuntimeError(started.log("service"))
            time.sleep(0.02)
        seconds = time.monotonic() - begun
        taken = peak(Path(f"/proc/{service.pid}/status").read_text(encoding="ascii"))
    finally:
        service.kill()
        started.end()
    read = _recovered(started.log("service"))
    store = SqliteStore(folder / "state", max_size=ROOM)
    waiting = sum(store.backlog().values())
    store.close()
    shutil.rmtree(folder)
    return Start(seconds, taken, read["records"], read["sessions"], waiting)


def _recovered(log: str) -> dict[str, Any]:
    told = (json.loads(line) for line in log.splitlines() if line.startswith("{"))
    [found] = (each for each in told if each["event"] == "core.recovered")
    return dict(found)


def _sync(path: Path) -> None:
    """Have it on the disk, so that its writing does not slow what follows."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
