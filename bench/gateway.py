"""A fleet that sends for some rounds, and what the service used meanwhile."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.cost import memory_mib
from bench.fleet import Fleet, Planned, Shape
from bench.hec import Hec
from bench.scrapes import Body, Moment, Scrape, Shell, shell_frame
from bench.senders import Load, Sent
from bench.watching import Figures, percentile, spread, state_mib
from tests.e2e.processes import Service, Started

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SETTLED_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the service is set up: ``keys`` of its configuration, beside those that every service here has.

    ``told_s`` is allowed from the arrival of a shell's first sample to its event: window + lateness + 1 s.
    """

    told_s: float = 16.0
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Course:
    """So many rounds, of which those before ``measured_from`` are left out of the figures."""

    rounds: int
    measured_from: int = 0
    wait_for_events: bool = False


@dataclass
class Subject:
    """A service, and what its events arrive at."""

    service: Service
    hec: Hec
    state: Path


@contextmanager
def subject(conditions: Conditions) -> Iterator[Subject]:
    """``serve``, started on a new state, delivering to a HEC server of this process."""
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        started, hec = Started(Path(name)), Hec()
        try:
            service = Service(started, "scale", hec, **conditions.keys)
            yield Subject(service, hec, Path(name) / "state-scale")
        finally:
            started.end()
            hec.close()


@dataclass
class Sending:
    """The rounds of one fleet, sent as they are due."""

    fleet: Fleet
    load: Load
    scrape: Scrape
    begin_s: float
    sent: list[tuple[Planned, Sent]] = field(default_factory=list)
    first_in: dict[Shell, Sent] = field(default_factory=dict)
    _moments: dict[int, Moment] = field(default_factory=dict)
    _shells: dict[int, dict[int, list[Shell]]] = field(default_factory=dict)

    def round(self, number: int) -> None:
        """Send one; it takes as long as a round."""
        planned, self._shells[number] = self.fleet.next_round(number)
        self._shells.pop(number - 2, None)
        before_ns = self.fleet.time_ns(number - 1, 0)
        self._moments = {time_ns: each for time_ns, each in self._moments.items() if time_ns >= before_ns}
        begin_s = self.begin_s + number * self.fleet.shape.round_s
        for request in planned:
            moment = self._moment(self.fleet.time_ns(request.of_round, request.at_s))
            self.load.wait(begin_s + request.at_s)
            shells = [
                shell for node in request.nodes for shell in self._shells[request.of_round].get(node, ())
            ]
            sent = self.load.send(
                request.gateway, self._body(request, moment, shells), begin_s + request.at_s
            )
            self.sent.append((request, sent))
            for shell in shells:
                self.first_in.setdefault(shell, sent)
        self.load.wait(begin_s + self.fleet.shape.round_s)

    def _moment(self, time_ns: int) -> Moment:
        if time_ns not in self._moments:
            self._moments[time_ns] = Moment(self.scrape, time_ns)
        return self._moments[time_ns]

    def _body(self, request: Planned, moment: Moment, shells: Sequence[Shell]) -> bytes:
        time_ns = self.fleet.time_ns(request.of_round, request.at_s)
        body = Body()
        for node in request.nodes:
            body.scrape(moment, node)
        if shells:
            body.frames(b"".join(shell_frame().of(shell, time_ns) for shell in shells))
        return body.finished()


def run(shape: Shape, course: Course, conditions: Conditions) -> dict[str, Any]:
    """Let a fleet send, and say what the service used."""
    with subject(conditions) as watched:
        load = Load(watched.service.port, shape.gateways)
        sending = Sending(Fleet(shape, time.time_ns()), load, Scrape(shape.processes), time.monotonic())
        try:
            for number in range(course.measured_from):
                sending.round(number)
            generator_s, figures = time.process_time(), [Figures.of(watched.service)]
            for number in range(course.measured_from, course.rounds):
                sending.round(number)
                figures.append(Figures.of(watched.service))
            generator_s = time.process_time() - generator_s
            load.finish(shape.round_s)
            if course.wait_for_events:
                _wait_for_events(sending, watched.hec)
            return (
                {
                    "nodes": shape.nodes,
                    "processes": shape.processes,
                    "shells": shape.shells,
                    "round_s": shape.round_s,
                }
                | _answers(sending, course)
                | _used(figures, shape.round_s)
                | {"generator_cores": generator_s / (len(figures) - 1) / shape.round_s}
                | _holds(watched)
                | {"latency_s": _latency(sending, watched.hec, conditions.told_s)}
            )
        finally:
            load.close()


def _answers(sending: Sending, course: Course) -> dict[str, Any]:
    """Whether all requests of each round were answered OK until it was over, and how the answers were."""
    rounds = range(course.measured_from, course.rounds)
    round_s = sending.fleet.shape.round_s
    behind = {
        request.round
        for request, sent in sending.sent
        if not sent.ended or sent.answered_s > sending.begin_s + (request.round + 1) * round_s
    }
    measured = [(request, sent) for request, sent in sending.sent if request.round in rounds]
    waits = [sent.answered_s - sent.due_s for _, sent in measured if sent.ended]
    return {
        "rounds_kept_up": len(set(rounds) - behind),
        "rounds_measured": len(rounds),
        "requests": len(measured),
        "scrapes": sum(len(request.nodes) for request, _ in measured),
        "late_requests": sum(request.of_round < request.round for request, _ in measured),
        "tried_again": sum(sent.tries > 1 for _, sent in measured),
        "refused": sum(bool(sent.refused) for _, sent in measured),
        "unanswered": sum(not sent.ended for _, sent in measured),
        "answer_s": {"p50": percentile(waits, 50), "p99": percentile(waits, 99)} if waits else {},
    }


def _used(figures: Sequence[Figures], round_s: float) -> dict[str, Any]:
    cpu_s = [after.cpu_s - before.cpu_s for before, after in pairwise(figures)]
    first, last, took_s = figures[0], figures[-1], round_s * len(cpu_s)
    return {
        "cpu_s": sum(cpu_s),
        "cores": spread([each / round_s for each in cpu_s]),
        "transactions_per_s": (last.transactions - first.transactions) / took_s,
        "group_commits_per_s": (last.group_commits - first.group_commits) / took_s,
        "received_bytes": last.received_bytes - first.received_bytes,
    }


def _holds(watched: Subject) -> dict[str, float]:
    pid = watched.service.process.pid
    return {
        "rss_mib": memory_mib(pid),
        "peak_rss_mib": memory_mib(pid, "VmHWM"),
        "state_mib": state_mib(watched.state),
    }


def _opened(hec: Hec) -> dict[tuple[str, int, int], float]:
    """When the first event of each shell came, by node, pid and begin in milliseconds."""
    found: dict[tuple[str, int, int], float] = {}
    for at_s, envelope in hec.arrived():
        event = envelope["event"]
        if event["kind"] == "opened":
            began_ms = round(float(event["process.start_time"]) * 1000)
            found.setdefault((event["k8s.node.name"], int(event["process.pid"]), began_ms), at_s)
    return found


def key_of(shell: Shell) -> tuple[str, int, int]:
    """The same of a shell that was sent."""
    return f"node-{shell.node:05d}", shell.pid, round(shell.start_ns / 1e6)


def _wait_for_events(sending: Sending, hec: Hec) -> None:
    deadline_s = time.monotonic() + _SETTLED_S
    wanted = {key_of(shell) for shell in sending.first_in}
    while time.monotonic() < deadline_s and not wanted <= _opened(hec).keys():
        time.sleep(0.2)


def _latency(sending: Sending, hec: Hec, told_s: float) -> dict[str, float]:
    """From when a shell's first sample was sent to when its event came; ``missing`` if it was due."""
    opened, now_s = _opened(hec), time.monotonic()
    at_s = {key_of(shell): sent.first_s for shell, sent in sending.first_in.items() if sent.first_s}
    taken = [opened[key] - first_s for key, first_s in at_s.items() if key in opened]
    missing = sum(key not in opened and first_s < now_s - told_s for key, first_s in at_s.items())
    figures: dict[str, float] = {"shells": len(taken) + missing, "missing": missing}
    if not taken:
        return figures
    return figures | {"p50": percentile(taken, 50), "p99": percentile(taken, 99), "max": max(taken)}
