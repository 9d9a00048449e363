"""Services whose clocks are stepped, fed with nodes whose clocks are stepped: who runs, and what happens.

Every service is sent the same requests, one in the middle of each second, in each of which every node has a
sample of each of its shells. Windows last a second, so each has one point, and what is told does not depend
on how fast this machine is today.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc

from tests.e2e.processes import Service, until
from tests.exporter.scripted_hec import refusal
from tests.otlp_receiver.encode import frame, memory, process, request
from tests.otlp_receiver.serving import EXPORT
from tests.reliability.clock import SteppedClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.processes import Started
    from tests.exporter.scripted_hec import ScriptedHec

HOUR: Final = 3600
DAY: Final = 24 * HOUR
BEYOND_2038: Final = 15 * 365 * DAY
STEPS: Final = {
    "right": 0,
    "hour-back": -HOUR,
    "hour-ahead": HOUR,
    "day-ahead": DAY,
    "beyond-2038": BEYOND_2038,
}
"""Of the clock of a service, and of a node, in seconds."""
KEYS: Final = {
    "DETECTOR__WINDOW": "1s",
    "DETECTOR__LATENESS": "0s",
    # A node whose clock went back by no more than the horizon tells of ends when it has caught up.
    "DETECTOR__REPLAY_HORIZON": "30m",
}
_SOON_S: Final = 30.0
"""In which what was decided must have been delivered. It takes two seconds."""
_EXITED_S: Final = 150.0
"""In which the end of a shell must have been told. It takes 65: three scrapes, and 60 s without a change."""

Shell = tuple[int, int]
"""A pid, and which of the processes that had it."""


@dataclass
class Hec:
    """The scripted server, as services see it."""

    scripted: ScriptedHec
    ack: bool = False

    def __post_init__(self) -> None:
        self.port = self.scripted.port

    def envelopes(self, source: str) -> list[dict[str, Any]]:
        return [each for each in tuple(self.scripted.indexed) if each["source"] == source]


@dataclass
class World:
    """What runs, and what it was."""

    started: Started
    hec: Hec
    begun: int = field(default_factory=lambda: int(time.time()))
    services: dict[str, Service] = field(default_factory=dict)
    clocks: dict[str, SteppedClock] = field(default_factory=dict)
    shells: list[Shell] = field(default_factory=list)
    """That live now, on every node."""
    node_steps: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))
    service_time: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    """(monotonic time, the service's own, monotonic time), by service; in the order of reading."""
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)
    _sent: int = 0

    def start(self) -> None:
        for name in STEPS:
            self.clocks[name] = SteppedClock(self.started.folder / f"clock-{name}")
            self.services[name] = Service(self.started, name, self.hec, self.clocks[name].environment, **KEYS)
            self._channels[name] = grpc.insecure_channel(f"127.0.0.1:{self.services[name].port}")

    def end(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def step_services(self, *, back: bool = False) -> None:
        for name, seconds in STEPS.items():
            self.clocks[name].step(0 if back else seconds)

    def step_nodes(self, *, back: bool = False) -> None:
        self.node_steps = dict.fromkeys(STEPS, 0) if back else dict(STEPS)

    def start_ns(self, shell: Shell) -> int:
        """When it started: what an agent says of it does not change when the clock is stepped."""
        return (self.begun - 1000 + 100 * shell[1]) * 1_000_000_000

    def scrape(self) -> None:
        """The next request, when its second has come; every service has answered OK to it."""
        self._sent = max(self._sent + 1, int(time.time() - 0.5))
        time.sleep(max(0.0, self._sent + 0.5 - time.time()))
        body = request(*(self._frame(node, shell) for node in STEPS for shell in ((1, 0), *self.shells)))
        for channel in self._channels.values():
            export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
            export(body, timeout=20)
        for name, service in self.services.items():
            assert (_status(service, "livez"), _status(service, "readyz")) == (200, 200), name
            reading = (time.monotonic(), _service_time(service), time.monotonic())
            self.service_time.setdefault(name, []).append(reading)

    def _frame(self, node: str, shell: Shell) -> bytes:
        at_ns = (self._sent + self.node_steps[node]) * 1_000_000_000 + 500_000_000
        names = {"host.name": f"{node}.internal", "k8s.cluster.name": "prod", "k8s.node.name": node}
        name = "systemd" if shell[0] == 1 else "bash"
        sample = memory(1.0, time_ns=at_ns, start_ns=self.start_ns(shell))
        return frame(process(shell[0], name), sample, node={**names})

    def scrape_until(self, what: str, ready: Callable[[], bool], within_s: float) -> None:
        """Go on scraping until something holds."""

        def holds() -> bool:
            self.scrape()
            return ready()

        until(what, holds, within_s, every_s=0.0)

    def told(self, service: str, node: str) -> list[tuple[str, int, int]]:
        """(kind, pid, start) of the events that arrived of a node, in an order of their own."""
        found = (each["event"] for each in self.hec.envelopes(service))
        return sorted(
            (each["kind"], *self.identity_in(each)) for each in found if each["k8s.node.name"] == node
        )

    def identity(self, shell: Shell) -> tuple[int, int]:
        """Its pid, and when it started."""
        return shell[0], self.start_ns(shell)

    @staticmethod
    def identity_in(event: dict[str, Any]) -> tuple[int, int]:
        """The same, of the shell of an event."""
        return event["process.pid"], round(event["process.start_time"] * 1_000_000_000)

    def have_told(self, kind: str, *shells: Shell) -> bool:
        """Whether every service has told this of these shells of every node."""
        wanted = {(kind, *self.identity(shell)) for shell in shells}
        return all(wanted <= set(self.told(service, node)) for service in STEPS for node in STEPS)


def _get(service: Service, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{service.http}/{page}", timeout=20) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def _status(service: Service, page: str) -> int:
    return _get(service, page)[0]


def _service_time(service: Service) -> float:
    name = "otel_shell_detector_detector_service_time_seconds "
    lines = _get(service, "metrics")[1].splitlines()
    return next(float(line[len(name) :]) for line in lines if line.startswith(name))


THROUGH: Final = (11, 0)
ENDED: Final = (12, 0)
"""Its last sample comes before the clocks of the services are stepped."""
REUSED: Final = ((13, 0), (13, 1))
"""The second has the pid from the moment on when the clocks of the services are stepped."""
WAITED: Final = (14, 0)
"""Splunk refuses its event when the clocks of the services are stepped."""
NEXT: Final = (15, 0)
"""It starts after that."""
LATER: Final = (16, 0)
"""It starts when the clocks of the nodes are stepped."""
BACK: Final = (17, 0)
"""It starts when the clocks of the nodes are right again."""
LAST: Final = (18, 0)
"""It starts after the services were started again, with clocks that are right."""


def play(world: World) -> None:
    """The story: every wait in it is for a promise."""
    world.start()
    world.shells = [THROUGH, ENDED, REUSED[0]]
    world.scrape_until("all are told", lambda: world.have_told("opened", *world.shells), _SOON_S)

    world.hec.scripted.always = refusal(503, 9, headers={"Retry-After": "3"})
    world.shells = [THROUGH, REUSED[0], WAITED]
    posts = len(world.hec.scripted.posts)
    world.scrape_until("every service was refused", lambda: _refused(world, posts), _SOON_S)
    world.step_services()
    world.hec.scripted.always = None
    world.shells = [THROUGH, REUSED[1], WAITED, NEXT]
    world.scrape_until(
        "after the step of the services", lambda: world.have_told("opened", *world.shells), _SOON_S
    )
    world.step_nodes()
    world.shells = [*world.shells, LATER]
    world.scrape_until("after the step of the nodes", lambda: world.have_told("opened", LATER), _SOON_S)
    world.scrape_until("the end is told", lambda: world.have_told("closed", ENDED, REUSED[0]), _EXITED_S)
    world.step_nodes(back=True)
    world.shells = [*world.shells, BACK]
    world.scrape_until("the nodes are right again", lambda: world.have_told("opened", BACK), _SOON_S)

    for service in world.services.values():
        assert service.terminate() == 0
    world.step_services(back=True)
    for service in world.services.values():
        service.start()
    world.shells = [*world.shells, LAST]
    world.scrape_until("and after a start", lambda: world.have_told("opened", LAST), _SOON_S)
    for _ in range(70):  # in which what is falsely taken to be gone would be closed
        world.scrape()
    for service in world.services.values():
        assert service.terminate() == 0


def _refused(world: World, posts: int) -> bool:
    of_now = world.hec.scripted.posts[posts:]
    return {each["source"] for post in of_now for each in post.events} == STEPS.keys()
