"""Calls that say nothing, or that are too many, against those that mean well."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from structlog.testing import capture_logs

from otlp_receiver.health import HEALTH_SERVICE
from otlp_receiver.server import SERVICE
from tests.otlp_receiver.encode import frame, process, request
from tests.otlp_receiver.serving import (
    CLIENT_DEADLINE_S,
    Answered,
    Running,
    answered,
    half_open,
    moved,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otlp_receiver.receiving import Receiving

Code = grpc.StatusCode
ONE_SHELL = request(frame(process()))
QUIET = request(frame({"system": "x"}))
OK = Answered(Code.OK)
NO_PLACE = Answered(Code.UNAVAILABLE, "too many calls are running; try again", retry_s=1)
CHECK = f"/{HEALTH_SERVICE}/Check"
SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING).SerializeToString()


def waiting(receiving: Receiving) -> int:
    return len(receiving._watchdog._watches)


def begin_check(running: Running, messages: Iterator[bytes]) -> Any:
    call: grpc.StreamUnaryMultiCallable[bytes, bytes] = running.channel.stream_unary(CHECK)
    return call.future(messages, timeout=CLIENT_DEADLINE_S)


def check(running: Running, *messages: bytes) -> Answered:
    try:
        return Answered(Code.OK, body=begin_check(running, iter(messages)).result())
    except grpc.RpcError as error:
        return answered(error)


# --- calls that say nothing


def test_a_call_that_its_sender_gives_up_is_counted() -> None:
    released = threading.Event()
    with moved() as changes, serving() as running:
        call = running.begin_stream(half_open(released))
        while not waiting(running.server._receiving):
            assert running.export(QUIET) == Answered(Code.OK)
        call.cancel()
        released.set()
    assert changes["refused_total no_message"] == 1


def test_200_half_open_streams_starve_nobody() -> None:
    released = threading.Event()
    with serving(workers=256) as running:
        streams = [running.begin_stream(half_open(released)) for _ in range(200)]
        # The good client's calls are what the waiting is made of: each of them succeeds.
        while waiting(running.server._receiving) < 200:
            assert running.export(ONE_SHELL) == Answered(Code.OK)
        for _ in range(20):
            assert running.export(ONE_SHELL) == Answered(Code.OK)
        assert not any(stream.done() for stream in streams)
        released.set()


def test_of_more_half_open_streams_than_places_the_oldest_give_way_to_who_comes() -> None:
    released = threading.Event()
    with moved() as changes, capture_logs() as logs, serving(workers=16) as running:
        streams = [running.begin_stream(half_open(released)) for _ in range(100)]
        while waiting(running.server._receiving) < 14:
            assert running.export(ONE_SHELL) in (OK, NO_PLACE)
        assert check(running, b"") == Answered(Code.OK, body=SERVING)
        # Until the oldest streams have waited a quarter of a second, whoever comes is told to try again.
        while running.export(ONE_SHELL) != OK:
            pass
        # The status of one that gave way reaches us when it will; without one they end at their deadline.
        while (codes := {stream.code() for stream in streams if stream.done()}) <= {Code.UNAVAILABLE}:
            pass
        assert codes == {Code.UNAVAILABLE, Code.CANCELLED}
        released.set()
    assert changes["refused_total displaced"] >= 1
    assert changes["refused_total no_place"] >= 100 - 14 - changes["refused_total displaced"]
    refusals = [
        (log["reason"], log["peer"][:5]) for log in logs if log["event"] == "receiver.request_refused"
    ]
    assert {("displaced", "ipv4:"), ("no_place", "ipv4:")} <= set(refusals)
    assert len(refusals) < 50


# --- calls that are too many


def test_if_every_place_is_held_by_a_call_that_does_work_others_are_to_try_again() -> None:
    with moved() as changes, serving(workers=3) as running:
        running.sink.open.clear()
        first = running.begin(ONE_SHELL)
        assert running.sink.entered.wait(60)
        assert running.export(ONE_SHELL) == NO_PLACE
        assert check(running, b"") == Answered(Code.OK, body=SERVING)
        running.sink.open.set()
        assert first.result() == b""
        while running.export(ONE_SHELL) == NO_PLACE:
            pass  # the answer of the first is with us before its place is free
    assert changes["requests_total OK"] == 2
    assert changes["refused_total no_place"] >= 1
    assert changes["health_checks_total OK"] == 1


# --- health checks


def test_half_open_health_checks_hold_neither_the_receiver_nor_other_checks() -> None:
    released = threading.Event()
    with moved() as changes, serving(workers=8) as running:
        checks = [begin_check(running, half_open(released)) for _ in range(50)]
        for _ in range(20):
            assert running.export(ONE_SHELL) == OK
        while check(running, b"") == NO_PLACE:
            pass
        assert any(each.done() for each in checks)
        released.set()
    assert changes["health_checks_total displaced"] >= 1
    assert changes["health_checks_total no_place"] >= 1


def test_a_check_that_does_not_come_whole_is_cancelled() -> None:
    released = threading.Event()
    with moved() as changes, serving(receive_timeout=0.1) as running:
        assert answered(begin_check(running, half_open(released)).exception()).code is Code.CANCELLED
        released.set()
    assert changes == {"health_checks_total receive_timeout": 1}


@pytest.mark.parametrize(
    ("message", "answer", "reason"),
    [
        (b"\x0a\x05a", Answered(Code.INVALID_ARGUMENT, "the request is no HealthCheckRequest"), "malformed"),
        (b"\x0a\x01a", Answered(Code.NOT_FOUND, "want a service of this server"), "unknown_service"),
    ],
)
def test_a_check_that_asks_for_nothing_we_know_is_refused(
    message: bytes, answer: Answered, reason: str
) -> None:
    with moved() as changes, serving() as running:
        assert check(running, message) == answer
        known = health_pb2.HealthCheckRequest(service=SERVICE).SerializeToString()
        assert check(running, known) == Answered(Code.OK, body=SERVING)
    assert changes == {f"health_checks_total {reason}": 1, "health_checks_total OK": 1}
