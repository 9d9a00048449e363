"""How what the service uses grows: with the bytes of a request, with open sessions, and with connections."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from bench.cost import MIB, cpu_s, memory_mib
from bench.gateway import Conditions, Subject, subject
from bench.idle import Connections
from bench.scrapes import Body, Moment, Scrape, Shell, shell_frame
from bench.senders import Load
from bench.watching import spread, state_mib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_NODES: Final = 2_000
_AT_ONCE: Final = 4
"""Requests under way: few, as those of 3,000 processes have 6 MB each."""
_ENOUGH_S: Final = 240.0
_SHELLS_PER_NODE: Final = 100
_FIRST_PID: Final = 1_000
_GATEWAYS: Final = 10


def fit(points: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The line ``constant + slope * x`` with the least sum of squares of *relative* residuals.

    Relative, as over two decades the largest points alone would decide otherwise. ``worst`` is the largest
    relative residual.
    """
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True)) / spread
    constant = mean_y - slope * mean_x
    worst = max(abs(constant + slope * x - y) / y for x, y in points)
    return {"constant": constant, "slope": slope, "worst": worst}


def by_processes(requests: Mapping[int, int], rounds: int, conditions: Conditions) -> dict[str, Any]:
    """Processor of the service for requests without shells of several sizes, in turn, for some rounds.

    ``requests``: how many of each size make one measurement.
    """
    scrapes = {processes: Scrape(processes) for processes in requests}
    taken: dict[int, list[float]] = defaultdict(list)
    wire: dict[int, int] = {}
    with subject(conditions) as watched:
        load, pid = Load(watched.service.port, 1), watched.service.process.pid
        try:
            for _ in range(rounds + 1):
                for processes, often in requests.items():
                    moment = Moment(scrapes[processes], time.time_ns())
                    wire[processes] = len(_one(moment, 0))
                    before_s = cpu_s(pid)
                    bodies = (_one(moment, number % _NODES) for number in range(often))
                    again = _tried_again(load, bodies, _AT_ONCE)
                    if again:
                        raise AssertionError(
                            f"{processes} processes: {again} of {often} requests were refused"
                        )
                    taken[processes].append((cpu_s(pid) - before_s) / often)
        finally:
            load.close()
    points: list[dict[str, Any]] = [
        {
            "processes": processes,
            "requests": often,
            "bytes": len(scrapes[processes].body),
            "wire_bytes": wire[processes],
            "cpu_ms": spread([taken_s * 1e3 for taken_s in each]),
        }
        for processes, often in requests.items()
        if (each := taken[processes][1:])  # the first round makes the nodes known
    ]
    line = fit([(point["bytes"], point["cpu_ms"]["median"]) for point in points]) if points[1:] else {}
    return {"rounds": rounds, "points": points, "fit": line}


def _one(moment: Moment, node: int) -> bytes:
    body = Body()
    body.scrape(moment, node)
    return body.finished()


def _tried_again(load: Load, bodies: Iterable[bytes], at_once: int) -> int:
    """Send them all; how many were refused first. Raises :class:`AssertionError` if one was not taken."""
    sent = load.one_after_the_other(bodies, at_once, _ENOUGH_S)
    for each in sent:
        if not each.ended:
            raise AssertionError(f"not answered OK: {each.refused}")
    return sum(each.tries > 1 for each in sent)


def by_sessions(counts: Sequence[int], connections: int, conditions: Conditions) -> dict[str, Any]:
    """Memory with more and more open sessions, and then with so many idle connections beside them."""
    with subject(conditions) as watched:
        pid = watched.service.process.pid
        started_mib = memory_mib(pid)
        load = Load(watched.service.port, _GATEWAYS)
        try:
            sessions = _Sessions(watched, load, conditions.told_s)
            points = [sessions.grow(count) for count in counts]
            before_mib = memory_mib(pid)
            idle = Connections(watched.service.port, connections)
            held = {"connections": connections, "before_mib": before_mib, "after_mib": memory_mib(pid)}
            idle.close()
        finally:
            load.close()
        held["bytes_per_connection"] = (held["after_mib"] - before_mib) * MIB / connections
        return {
            "started_mib": started_mib,
            "nodes": -(-counts[-1] // _SHELLS_PER_NODE),
            "points": points,
            "bytes_per_session": _per_session(points),
            "connections": held,
            "peak_mib": memory_mib(pid, "VmHWM"),
            "state_mib": state_mib(watched.state),
        }


def _per_session(points: Sequence[Mapping[str, float]]) -> float:
    """From one count to ten times as many, the last step: all else is the same but for the nodes."""
    before, after = points[-2:]
    return (after["rss_mib"] - before["rss_mib"]) * MIB / (after["sessions"] - before["sessions"])


class _Sessions:
    """Opens shells: a hundred on each node, in one request with the node's scrape."""

    def __init__(self, watched: Subject, load: Load, told_s: float) -> None:
        self._watched, self._load, self._told_s = watched, load, told_s
        self._scrape = Scrape()
        self._begin_ns = time.time_ns()

    def grow(self, count: int) -> dict[str, float]:
        """Sample so many shells, those of before again; when all are told, what the service holds."""
        begin_s = time.monotonic()
        again = self._sample(count)
        sampled_s = time.monotonic() - begin_s
        deadline_s = time.monotonic() + _ENOUGH_S
        while (told := self._told()) < count and time.monotonic() < deadline_s:
            time.sleep(0.2)
        if told != count:
            raise AssertionError(f"{told} of {count} shells were told")
        told_s = time.monotonic() - begin_s
        rss_mib = memory_mib(self._watched.service.process.pid)
        again += self._sample(count)  # each again, so that each has an open window, as it has in every round
        return {
            "sessions": count,
            "rss_mib": rss_mib,
            "with_windows_mib": memory_mib(self._watched.service.process.pid),
            "sampled_s": sampled_s,
            "told_s": told_s,
            "tried_again": again,
        }

    def _sample(self, count: int) -> int:
        return _tried_again(self._load, self._bodies(count), _GATEWAYS)

    def _bodies(self, count: int) -> Iterator[bytes]:
        time_ns = time.time_ns()
        moment = Moment(self._scrape, time_ns)
        for first in range(0, count, _SHELLS_PER_NODE):
            node, body = first // _SHELLS_PER_NODE, Body()
            body.scrape(moment, node)
            shells = (
                Shell(node, _FIRST_PID + number - first, self._begin_ns)
                for number in range(first, min(count, first + _SHELLS_PER_NODE))
            )
            body.frames(b"".join(shell_frame().of(shell, time_ns) for shell in shells))
            yield body.finished()

    def _told(self) -> int:
        return sum(envelope["event"]["kind"] == "opened" for _, envelope in self._watched.hec.arrived())
