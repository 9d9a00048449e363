"""A state that a service lived through: shells told, folded, suppressed, over, and one that is dead."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from detector.context import Process
from detector.identity import session_id
from detector.types import CommandLine, ShellId
from otel_shell_detector import wiring
from otel_shell_detector.clocks import Clocks
from otel_shell_detector.control import ControlServer
from otel_shell_detector.core import Core
from otel_shell_detector.policies.file import load
from otel_shell_detector.sources import load as load_settings
from tests.detector.world import HOST, NODE, cpu, memory, ns, record, sample
from tests.otel_shell_detector.test_core import submit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from detector.types import Sample

INIT = Process(1, ns(-9000), "systemd")
STORE_ID = "otel-shell-detector"
TOLD, FOLDED, SUPPRESSED, DEAD, GONE = 23, 103, 40, 50, 60
POLICY = """\
rules:
  - {id: nightly, reason: known, owner: sre, action: suppress, matchers: 'process.owner="backup"'}
  - id: admins
    reason: known
    owner: sre
    action: annotate
    matchers: [process.owner="admin", shell.mode="login"]
"""


def session_of(pid: int, name: str = "bash") -> str:
    return session_id(STORE_ID, ShellId(NODE, HOST, pid, ns(-100), name), 0)


def shells_at(at: float) -> list[Sample]:
    """The shells of a scrape; the one that is gone is in the first alone."""
    job = CommandLine("sh -c true", 10)
    told = sample(at, (*memory(at), *cpu(at, 0.25)), pid=TOLD)
    same = [sample(at, pid=100 + number, line="bash -c true") for number in range(4)]
    suppressed = replace(sample(at, pid=SUPPRESSED), owner="backup", command_line=job)
    dead = sample(at, memory(at, 0.0), pid=DEAD, line="", path="")
    gone = [sample(at, pid=GONE, line="bash -i")] if at < 10 else []
    return [told, *same, suppressed, dead, *gone]


@dataclass
class Lived:
    """The core, turned by hand, and what it keeps."""

    folder: Path
    seconds: float = 0.0
    core: Core = field(init=False)

    def __post_init__(self) -> None:
        self.settings = load_settings(None, {"OTEL_SHELL_DETECTOR_STATE__PATH": str(self.folder)})
        self.store = wiring.store(self.settings)
        self.bench = wiring.bench(self.settings)
        clocks = Clocks(lambda: round(self.seconds * 1e9), lambda: ns(self.seconds))
        self.core = Core(wiring.rules(self.settings), self.store, self.bench, lambda: None, clocks)

    def live(self, policy: Path) -> None:
        """Two minutes of scrapes."""
        self.core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
        self.bench.adopt(load(policy, ns(0), {}))
        self.core.turn(0)
        for at in range(0, 130, 10):
            self.turn_to(at + 0.5)
            item = replace(record(at, *shells_at(at)), processes=(INIT,))
            assert submit(self.core, item) == []
        del self.core.is_alive

    def scrape_reused(self, pid: int) -> None:
        """A scrape with another shell of that pid, and one without the shell that was first there."""
        self.core.is_alive = lambda: True  # type: ignore[method-assign]  # as above
        item = record(130, sample(130, pid=pid, start=125))
        assert submit(self.core, item) == []
        del self.core.is_alive

    def turn_to(self, seconds: float) -> None:
        while self.seconds < seconds:
            self.seconds = min(self.seconds + 4, seconds)
            self.core.turn(0)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """As the service does: the core turns by itself and its socket answers."""
        self.core.start()
        control = ControlServer(self.folder, self.core.call, inspect=self.core.inspect)
        control.start()
        try:
            yield
        finally:
            control.stop()
            self.core.stop()
            self.core.close()
            self.store.close()
