"""From the service through a real collector to a real HEC server."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest

from detector.types import Kind
from tests.e2e.processes import Gateway, Service, Splunk, Started, until
from tests.e2e.test_shutdown import REUSED, SHORT, id_of
from tests.otlp_receiver.encode import START, frame, memory, process, request
from tests.otlp_receiver.serving import EXPORT

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.peers, pytest.mark.timeout(180)]

COMMAND_LINES: Final = (
    "bash",
    "bash -c 'printf \"\\x1b[31m\" # \u202e\U0001f41a'",
    "bash -c " + "é" * 2000,
)
PIDS: Final = range(100, 130)


def through(gateway: Gateway) -> dict[str, str]:
    """The configuration of a service that delivers through it."""
    return {"EXPORTER__SINK": "otlp", "EXPORTER__OTLP__ENDPOINT": gateway.url, **SHORT}


def send(service: Service, *pids: int, start_ns: int = START) -> None:
    """One request of a node, with a sample of each of these shells; it returns when it was answered OK."""
    frames = [
        frame(
            process(pid, command_line=COMMAND_LINES[pid % len(COMMAND_LINES)]),
            memory(1.0, start_ns=start_ns, time_ns=start_ns + 123_456_789),
        )
        for pid in pids
    ]
    with grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        export(request(*frames), timeout=60)


def events(service: Service) -> list[tuple[str, dict[str, Any]]]:
    """What it delivered, by id: a text where it came through the collector, an object where it did not."""
    found = []
    for envelope in service.envelopes():
        event = envelope["event"]
        fields = json.loads(event) if isinstance(event, str) else event
        found.append((fields["event_id"], envelope | {"event": fields, "source": ""}))
    return found


def ids(service: Service) -> set[str]:
    return {event_id for event_id, _ in events(service)}


def told(service: Service, wanted: set[str]) -> Callable[[], bool]:
    return lambda: wanted <= ids(service)


def opened(*pids: int, start_ns: int = START) -> set[str]:
    return {id_of(pid, Kind.OPENED, start_ns) for pid in pids}


def test_splunk_gets_the_same_events_through_a_collector_as_without(started: Started) -> None:
    """A reused pid closes the shell that had it, so both lanes with an index of their own are used."""
    splunk = Splunk(started, ack=False)
    gateway = Gateway(started, splunk.port)
    direct = Service(started, "direct", splunk, **SHORT)
    behind = Service(started, "behind", splunk, **through(gateway))
    expected = opened(*PIDS) | opened(*PIDS[:6], start_ns=REUSED)
    expected |= {id_of(pid, Kind.CLOSED) for pid in PIDS[:6]}
    for service in (direct, behind):
        send(service, *PIDS)
        until("the shells are told", told(service, opened(*PIDS)), 60)
        send(service, *PIDS[:6], start_ns=REUSED)
        until("and their ends", told(service, expected), 60)
    assert ids(behind) == ids(direct) == expected
    assert len(events(behind)) == len(expected)
    through_it = dict(events(behind))
    for event_id, envelope in events(direct):
        # the exporter's double
        assert through_it[event_id] == envelope | {"time": pytest.approx(envelope["time"], abs=1e-6)}
    assert {envelope["index"] for envelope in through_it.values()} == {"risk", "otel_shell"}
    for service in (direct, behind):
        assert service.terminate() == 0


def test_a_collector_that_is_killed_again_and_again_loses_nothing(started: Started) -> None:
    splunk = Splunk(started, ack=False)
    gateway = Gateway(started, splunk.port)
    service = Service(started, "restarts", splunk, **through(gateway))

    def meets_the_dead_one(number: int) -> bool:
        return retries(service) > number

    for number in range(3):
        send(service, *PIDS[number * 10 : number * 10 + 5])
        gateway.kill()
        send(service, *PIDS[number * 10 + 5 : number * 10 + 10])
        until("it meets the dead one", partial(meets_the_dead_one, number), 60)
        gateway.start()
        until("everything so far is told", told(service, opened(*PIDS[: number * 10 + 10])), 90)
    assert service.terminate() == 0
    assert ids(service) == opened(*PIDS)
    found = dict(events(service))
    assert all(found[event_id] == envelope for event_id, envelope in events(service))


def retries(service: Service) -> int:
    """How often the collector was not there."""
    return service.log().count('"result": "unavailable"')
