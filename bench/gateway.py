"""A fleet that sends for some rounds, and what the service used meanwhile."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.fleet import ROUND_S, Fleet, Planned, Shape
from bench.hec import Hec
from bench.load import Load, Sent
from bench.scrapes import Body, Moment, Scrape, Shell, shell_frame
from bench.watching import Figures, memory_mib, percentile, state_mib
from tests.e2e.processes import Service, Started

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOLD_S: Final = 16.0
"""What is allowed from the arrival of a shell's first sample to its event: window + lateness + 1 s."""
_SETTLED_S: Final = 30.0
_SECOND_NS: Final = 1_000_000_000


@dataclass
class Subject:
    """A service, and what its events arrive at."""

    service: Service
    hec: Hec
    state: Path


@contextmanager
def subject() -> Iterator[Subject]:
    """``serve``, started on a new state, delivering to a HEC server of this process."""
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        started, hec = Started(Path(name)), Hec()
        try:
            service = Service(started, "scale", hec)
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
    _moments: dict[tuple[int, int], Moment] = field(default_factory=dict)
    _shells: dict[int, dict[int, list[Shell]]] = field(default_factory=dict)

    def round(self, number: int) -> None:
        """Send one; it takes :data:`ROUND_S`."""
        planned, self._shells[number] = self.fleet.next_round(number)
        self._shells.pop(number - 2, None)
        self._moments = {key: moment for key, moment in self._moments.items() if key[0] >= number - 1}
        begin_s = self.begin_s + number * ROUND_S
        for request in planned:
            moment = self._moment(request.of_round, int(request.at_s))
            self.load.wait(begin_s + request.at_s)
            shells = [
                shell
                for node in request.nodes
                for shell in self._shells[request.of_round].get(node, ())
            ]
            sent = self.load.send(
                request.gateway, self._body(request, moment, shells), begin_s + request.at_s
            )
            self.sent.append((request, sent))
            for shell in shells:
                self.first_in.setdefault(shell, sent)
        self.load.wait(begin_s + ROUND_S)

    def _moment(self, number: int, second: int) -> Moment:
        if (number, second) not in self._moments:
            self._moments[number, second] = Moment(self.scrape, self._time_ns(number, second))
        return self._moments[number, second]

    def _time_ns(self, number: int, second: int) -> int:
        return self.fleet.start_ns + (number * round(ROUND_S) + second) * _SECOND_NS

    def _body(self, request: Planned, moment: Moment, shells: Sequence[Shell]) -> bytes:
        time_ns = self._time_ns(request.of_round, int(request.at_s))
        body = Body()
        for node in request.nodes:
            body.scrape(moment, node)
        if shells:
            body.frames(b"".join(shell_frame().of(shell, time_ns) for shell in shells))
        return body.finished()


def run(shape: Shape, rounds: int, *, wait_for_events: bool, measured_from: int = 0) -> dict[str, Any]:
    """Let a fleet send for so many rounds, of which the first ones may be left out of the figures."""
    with subject() as watched:
        load = Load(watched.service.port, shape.gateways)
        scrape = Scrape(shape.processes)
        sending = Sending(Fleet(shape, time.time_ns()), load, scrape, time.monotonic())
        try:
            for number in range(measured_from):
                sending.round(number)
            before, generator_s = Figures.of(watched.service), time.process_time()
            for number in range(measured_from, rounds):
                sending.round(number)
            after, generator_s = Figures.of(watched.service), time.process_time() - generator_s
            load.finish(ROUND_S)
            if wait_for_events:
                _wait_for_events(sending, watched.hec)
            took_s = (rounds - measured_from) * ROUND_S
            return (
                {"nodes": shape.nodes, "processes": shape.processes, "shells": shape.shells, "rounds": rounds}
                | _answers(sending, range(measured_from, rounds))
                | _used(before, after, took_s)
                | {"generator_cores": generator_s / took_s}
                | _holds(watched)
                | {"latency_s": _latency(sending, watched.hec)}
            )
        finally:
            load.close()


def _answers(sending: Sending, rounds: range) -> dict[str, Any]:
    """Whether all requests of each round were answered OK until it was over, and how the answers were."""
    behind = {
        request.round
        for request, sent in sending.sent
        if not sent.ended or sent.answered_s > sending.begin_s + (request.round + 1) * ROUND_S
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


def _used(before: Figures, after: Figures, took_s: float) -> dict[str, float]:
    return {
        "cpu_s": after.cpu_s - before.cpu_s,
        "cores": (after.cpu_s - before.cpu_s) / took_s,
        "transactions_per_s": (after.transactions - before.transactions) / took_s,
        "group_commits_per_s": (after.group_commits - before.group_commits) / took_s,
        "received_bytes": after.received_bytes - before.received_bytes,
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


def _latency(sending: Sending, hec: Hec) -> dict[str, float]:
    """From when a shell's first sample was sent to when its event came, for those whose event was due by now."""
    opened, now_s = _opened(hec), time.monotonic()
    due = {
        shell: sent.first_s
        for shell, sent in sending.first_in.items()
        if sent.first_s and sent.first_s < now_s - TOLD_S
    }
    taken = [opened[key_of(shell)] - at_s for shell, at_s in due.items() if key_of(shell) in opened]
    figures = {"shells": len(due), "missing": len(due) - len(taken)}
    if not taken:
        return figures
    return figures | {"p50": percentile(taken, 50), "p99": percentile(taken, 99), "max": max(taken)}
