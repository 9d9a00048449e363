"""States that a service leaves, made in little time: a long journal, many sessions, a long backlog.

Each is made by the core and the store of the service, with a clock of its own: nodes of 200 shells, scraped
every 10 s. ``python -m bench.states journal FOLDER NODES BYTES`` says ``made`` and waits to be killed, since
that is how such a journal comes to be. ``checkpoints FOLDER`` starts from there, lets more than a minute
pass, so that every shell is told and every node checkpointed, and ends. ``outbox FOLDER EVENTS`` queues
events.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector.types import NodeId
from otel_shell_detector import wiring
from otel_shell_detector.clocks import Clocks
from otel_shell_detector.core import Core
from otel_shell_detector.sources import load
from store.sqlite import SqliteStore
from tests.detector.world import cpu, memory, ns, record, sample, service
from tests.reliability.backlog import ROOM, build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.types import Record

SHELLS: Final = 200
"""Of a node."""
_INTERVAL_S: Final = 10
_AT_ONCE: Final = 25
"""Nodes of a request."""
_STEPS: Final = 100
"""Seconds until all is told and checkpointed: after 15 s and after a minute, node by node."""


class _Clock:
    """The time of the story."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.clocks = Clocks(lambda: service(self.seconds), lambda: ns(self.seconds))


def _scrape(node: int, at: float) -> Record:
    """Each shell uses some CPU and has a command line of its own."""
    host = f"worker-{node}.example.internal"
    line = f"bash -c 'while read -r item; do handle --node {node} \"$item\"; done' < /var/run/queue/"
    samples = (
        sample(at, (*cpu(at, 0.25, 0.01), *memory(at, 0.05)), pid=number, host=host, line=f"{line}{number}")
        for number in range(1000, 1000 + SHELLS)
    )
    return record(at, *samples, node=NodeId("prod", f"worker-{node}"), init=-5000)


@contextmanager
def _core(folder: Path, clock: _Clock) -> Iterator[Core]:
    settings = load(None, {})
    store = SqliteStore(folder, max_size=ROOM)
    core = Core(wiring.rules(settings), store, wiring.bench(settings), lambda: None, clock.clocks)
    core.start()
    while not core.wait_until_recovered(1):
        if core.failed:
            raise core.failed
    yield core
    core.stop()
    core.close()
    store.close()


def make_journal(folder: Path, nodes: int, size: int) -> None:
    """Fill the journal up to ``size`` bytes, and wait for the end of this process."""
    clock = _Clock()
    with _core(folder, clock) as core:
        used = added = 0
        for first in cycle(range(0, nodes, _AT_ONCE)):
            of_request = range(first, min(first + _AT_ONCE, nodes))
            core.accept([_scrape(node, clock.seconds) for node in of_request])
            before, used = used, core.call(lambda store: store.journal_bytes())
            added = used - before
            if used + added > size:
                break
            clock.seconds += _INTERVAL_S * len(of_request) / nodes
        print("made", flush=True)
        sys.stdin.read()


def make_checkpoints(folder: Path) -> None:
    """Go on from a journal until it is all in checkpoints."""
    clock = _Clock()
    with _core(folder, clock) as core:
        for _ in range(_STEPS):
            clock.seconds += 1
            core.call(lambda store: store.service_ns())  # a turn


def main() -> None:
    """Make one."""
    kind, folder, *more = sys.argv[1:]
    match kind:
        case "journal":
            make_journal(Path(folder), *map(int, more))
        case "checkpoints":
            make_checkpoints(Path(folder))
        case _:
            build(Path(folder), *map(int, more))


if __name__ == "__main__":
    main()
