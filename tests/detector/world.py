"""A world for the detector: scraped nodes and a store that remembers, in one thread, without a clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.detector import Detector
from detector.rules import Rules
from detector.types import (
    NANOSECONDS,
    Arrival,
    CommandLine,
    Finding,
    Metric,
    NodeId,
    Point,
    Record,
    Sample,
    SessionRow,
    ShellId,
    SilentNode,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

NODE = NodeId("prod", "worker-1")
OTHER_NODE = NodeId("prod", "worker-2")
HOST = "worker-1.example"
EPOCH = 1_800_000_000
"""A multiple of 10: event time 0 of the tests, so that bins begin at 0, 10, 20, ..."""


def ns(seconds: float) -> int:
    """Event time of the tests in ns since the epoch."""
    return EPOCH * NANOSECONDS + round(seconds * NANOSECONDS)


def service(seconds: float) -> int:
    """Service time in ns."""
    return round(seconds * NANOSECONDS)


def cpu(at: float, user: float, system: float = 0.0, wait: float = 0.0) -> tuple[Point, ...]:
    """The three points of a process's CPU utilization."""
    return tuple(
        Point(Metric.CPU, slot, ns(at), value)
        for slot, value in (("user", user), ("system", system), ("wait", wait))
    )


def memory(at: float, value: float = 0.01) -> tuple[Point, ...]:
    """The point of a process's memory utilization."""
    return (Point(Metric.MEMORY, "", ns(at), value),)


def sample(
    at: float,
    points: Iterable[Point] | None = None,
    *,
    pid: int = 23,
    start: float = -100,
    name: str = "bash",
    host: str = HOST,
    path: str = "/usr/bin/bash",
    line: str = "-bash",
) -> Sample:
    """A frame of a shell; by default an idle one, that has memory and no CPU."""
    return Sample(
        host=host,
        pid=pid,
        start_ns=ns(start),
        name=name,
        time_ns=ns(at),
        points=memory(at) if points is None else tuple(points),
        parent_pid=1,
        path=path,
        owner="root",
        command_line=CommandLine(line, len(line)) if line else None,
    )


def record(
    at: float, *samples: Sample, node: NodeId = NODE, probe: bool = True, init: float | None = None
) -> Record:
    """A request's part of a node; the probe frame is any process that is no shell."""
    return Record(
        node,
        samples,
        probe_times_ns=(ns(at),) if probe else (),
        init_start_ns=0 if init is None else ns(init),
    )


@dataclass
class World:
    """A detector with its store's memory. ``findings`` are all so far, in order of output."""

    rules: Rules = field(default_factory=Rules)
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    rows: dict[ShellId, SessionRow] = field(default_factory=dict)
    blind: list[NodeId] = field(default_factory=list)
    silent: list[SilentNode] = field(default_factory=list)
    unplaced: list[NodeId] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.detector = Detector(self.rules)

    def feed(self, at: float, item: Record, wall: float | None = None) -> None:
        """A record arrives at a service time; its wall time is far in the future unless told."""
        wall_ns = ns(wall) if wall is not None else ns(10**7)
        answers = {shell: self.rows[shell] for shell in self.detector.unknown(item) if shell in self.rows}
        self.detector.feed(Arrival(item, service(at), wall_ns), answers)
        self._take()

    def scrape(self, at: float, *samples: Sample, delay: float = 0.0, init: float | None = None) -> None:
        """A scrape whose event time and service time are the same, but for the delay."""
        self.feed(at + delay, record(at, *samples, init=init))

    def run_to(self, at: float) -> None:
        """Service time passes."""
        self.detector.advance(service(at))
        self._take()

    def finish(self, *, close_sessions: bool = False) -> None:
        self.detector.finish(close_sessions=close_sessions)
        self._take()

    def _take(self) -> None:
        step: Step = self.detector.take_step()
        self.findings += step.findings
        self.blind += step.blind_nodes
        self.silent += step.silent_nodes
        self.unplaced += step.unplaced_nodes
        for row in step.rows:
            self.rows[row.shell] = row
        for name, how_often in step.counts.items():
            self.counts[name] = self.counts.get(name, 0) + how_often

    def story(self) -> list[tuple[object, ...]]:
        """(kind, pid, reason) of each finding."""
        return [(str(f.kind), f.shell.pid, str(f.reason) if f.reason else None) for f in self.findings]


def seconds(time_ns: int) -> float:
    """Event time of the tests in seconds."""
    return (time_ns - EPOCH * NANOSECONDS) / NANOSECONDS
