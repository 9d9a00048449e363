"""A receiver that refuses us, or a lane, for a while: all is kept, nobody is hammered, it resumes alone."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from detector.events import Lane
from exporter.delivery import Deliverer
from exporter.hec import HecSink
from exporter.lanes import PaceSettings
from telemetry.metrics import REGISTRY
from tests.exporter.outbox import Clock, Outbox, event, run
from tests.exporter.scripted_hec import TOKEN, Answer, ScriptedHec, refusal

HOUR_S = 3600.0
PROBES_AN_HOUR = 3600 // 60 + 8
"""At the cap of the backoff, and those before it is reached."""


def mixed(count: int) -> Outbox:
    return Outbox(*(event(number, lane) for number in range(count) for lane in Lane))


def states(state: str) -> list[Lane]:
    name = "otel_shell_detector_exporter_lane_state"
    return [lane for lane in Lane if REGISTRY.get_sample_value(name, {"lane": lane, "state": state})]


def lane_of(server: ScriptedHec, at: int) -> str:
    index = server.posts[at].events[0]["index"]
    assert isinstance(index, str)
    return index


def pass_time(deliverer: Deliverer, clock: Clock, seconds: float) -> None:
    end = clock.now + seconds
    run(deliverer, clock, lambda: clock.now >= end, turns=50_000)


# --- one lane


def test_a_wrong_index_pauses_its_lane_and_nobody_else_notices(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, logs: list[Any]
) -> None:
    server.valid_indexes = {"risk", "audit"}
    outbox, began = mixed(30), clock.now
    deliverer = outbox.deliverer(hec(), clock, PaceSettings(batch_limit=4))
    run(deliverer, clock, lambda: {queued.event.lane for queued in outbox.waiting} == {Lane.CONTEXT})
    # Not a second was waited, and no more requests were made than the others need by themselves.
    assert clock.now == began
    assert Counter(lane_of(server, at) for at in range(len(server.posts))) == {
        "risk": 8,
        "audit": 8,
        "context": 1,
    }
    assert states("paused") == [Lane.CONTEXT]
    [log] = [log for log in logs if log["event"] == "exporter.lane_paused"]
    assert (log["lane"], log["status"], log["code"]) == (Lane.CONTEXT, 400, 7)

    pass_time(deliverer, clock, HOUR_S)
    assert len(outbox.waiting) == 30
    probes = server.posts[17:]
    assert {len(probe.events) for probe in probes} == {1}
    assert 60 <= len(probes) <= PROBES_AN_HOUR

    server.valid_indexes = None  # someone made the index
    resumed_at = clock.now
    run(deliverer, clock, lambda: not outbox.waiting)
    assert clock.now - resumed_at <= 60
    outbox.assert_delivered(server.ids)
    assert len(server.ids) == 90
    assert states("ready") == list(Lane)
    assert [log["lane"] for log in logs if log["event"] == "exporter.resumed"] == ["context"]


def test_what_comes_to_the_other_lanes_during_the_pause_of_one_goes_at_once(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    server.valid_indexes = {"risk", "audit"}
    outbox = mixed(1)
    late, outbox.waiting = (
        outbox.waiting,
        [queued for queued in outbox.waiting if queued.event.lane == "context"],
    )
    deliverer = outbox.deliverer(hec(), clock)
    pass_time(deliverer, clock, 600)
    outbox.waiting = late
    queued_at = clock.now
    run(deliverer, clock, lambda: len(outbox.waiting) == 1)
    assert clock.now == queued_at


# --- the token


@pytest.mark.parametrize(("status", "code"), [(401, 2), (401, 3), (403, 4), (403, 1), (400, 21)])
@pytest.mark.parametrize(
    ("jitter", "seconds", "most"),
    [
        (lambda: 1.0, HOUR_S, PROBES_AN_HOUR),
        (random.Random(4).random, HOUR_S, 4 * PROBES_AN_HOUR),
        (lambda: 0.0, 60.0, 60 * 4 + 1),
    ],
    ids=["longest", "random", "shortest"],
)
def test_a_token_that_is_refused_and_then_rotated(
    hec: Callable[..., HecSink],
    server: ScriptedHec,
    clock: Clock,
    token_file: Path,
    logs: list[Any],
    status: int,
    code: int,
    jitter: Callable[[], float],
    seconds: float,
    most: int,
) -> None:
    """Nothing is lost, nothing is hammered, the state shows, and no restart is needed."""
    server.tokens, server.bad_token = {"second"}, (status, code)
    outbox = mixed(10)
    deliverer = outbox.deliverer(hec(), clock, jitter=jitter)
    pass_time(deliverer, clock, seconds)
    assert len(outbox.waiting) == 30
    assert outbox.dead == []
    assert states("paused") == list(Lane)
    paused = [log for log in logs if log["event"] == "exporter.sink_paused"]
    assert {(log["status"], log["code"]) for log in paused} == {(status, code)}
    assert len(paused) == len(server.requests)
    assert len(server.requests) <= most
    assert {len(request.events) for request in server.requests[1:]} == {1}

    token_file.write_text("second")
    rotated_at = clock.now
    run(deliverer, clock, lambda: not outbox.waiting)
    assert clock.now - rotated_at <= 60
    outbox.assert_delivered(server.ids)
    assert len(server.ids) == 30
    assert states("ready") == list(Lane)
    assert [
        log["event"] for log in logs if log["event"] in {"exporter.token_loaded", "exporter.resumed"}
    ] == [
        *["exporter.token_loaded"] * 2,
        *["exporter.resumed"] * 3,
    ]


def test_a_token_that_is_revoked_in_the_middle_keeps_the_rest(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, token_file: Path
) -> None:
    outbox = mixed(50)
    deliverer = outbox.deliverer(hec(), clock, PaceSettings(batch_limit=8))
    for _ in range(7):
        deliverer.turn(clock.now)
    server.tokens = {"second"}
    pass_time(deliverer, clock, HOUR_S)
    assert 0 < len(outbox.waiting) < 150
    token_file.write_text("second\n")
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(server.ids)
    assert len(server.ids) == 150


# --- the whole sink


@pytest.fixture
def elsewhere() -> Iterator[ScriptedHec]:
    with ScriptedHec() as server:
        yield server


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else(
    hec: Callable[..., HecSink],
    server: ScriptedHec,
    elsewhere: ScriptedHec,
    clock: Clock,
    logs: list[Any],
    status: int,
) -> None:
    there = {"Location": f"{elsewhere.url}/services/collector/event"}
    server.script.extend([Answer(status, b"moved", there)] * 20)
    outbox = mixed(5)
    run(outbox.deliverer(hec(), clock), clock, lambda: not outbox.waiting)
    outbox.assert_delivered(server.ids)
    # 20 refused, the probe that went through, its lane's four others, and one batch of each other lane
    assert (elsewhere.connections, len(server.requests)) == (0, 20 + 1 + 1 + 2)
    paused = [log for log in logs if log["event"] == "exporter.sink_paused"]
    assert [(log["status"], log["result"]) for log in paused] == [(status, "redirected")] * 20


ANSWERS = {
    "404": Answer(404, b"<html>"),
    "405": Answer(405, b""),
    "408": Answer(408, b""),
    "429": Answer(429, b""),
    "500": refusal(500, 8),
    "503": refusal(503, 9),
    "502": Answer(502, b"bad gateway"),
    "hotel": Answer(200, b"<html>welcome</html>"),
    "nested": Answer(200, b"[" * 60_000),
    "nested-object": Answer(200, b'{"code":' * 8_000),
    "no-json": Answer(200, b"Success"),
    "code-17": refusal(200, 17),
    "cut-head": Answer(raw=[b"HTTP/1.1 200"]),
    "cut-body": Answer(raw=[b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"code"']),
    "took-three-and-died": Answer(raw=[], takes=3),
    "took-all-and-died": Answer(raw=[b"HTTP/1.1 200 OK\r\n"], takes=1 << 20),
    "took-three-and-was-busy": refusal(503, 9, takes=3),
    "too-long": Answer(200, b" " * 100_000),
}


@pytest.mark.parametrize("jitter", [0.0, 1.0])
@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_is_said_for_an_hour_all_is_kept_and_comes_in_order_after_it(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, name: str, jitter: float
) -> None:
    hour = HOUR_S if jitter else 60.0  # a real request each 250 ms of it
    outbox = mixed(10)
    deliverer = outbox.deliverer(hec(), clock, jitter=lambda: jitter)
    server.always, began = ANSWERS[name], clock.now
    while clock.now < began + hour:
        clock.now += deliverer.turn(clock.now)
    assert (len(outbox.waiting), outbox.dead) == (30, [])
    # Each lane has its own distance, unless the sink as a whole is paused.
    assert len(server.requests) <= 3 * (PROBES_AN_HOUR if jitter else 4 * 60 + 1)
    server.always = None
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(server.ids)


# --- Retry-After


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (None, 1.0, 1.0),
        ("0", 1.0, 1.0),
        ("90", 90.0, 90.0),
        ("Tue, 24 Nov 2026 02:41:30 GMT", 90.0, 90.0),
        ("Tue, 24 Nov 2016 02:41:30 GMT", 1.0, 1.0),
        ("Tue, 19 Jan 2038 03:14:08 GMT", 300.0, 300.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 300.0, 300.0),
        ("in a moment", 1.0, 1.0),
        ("-1", 1.0, 1.0),
        ("\u0661\u0662", 1.0, 1.0),
        ("1e9", 1.0, 1.0),
        ("1000000000", 300.0, 300.0),
        ("9" * 400, 1.0, 1.0),
        ("1, 2", 1.0, 1.0),
    ],
)
@pytest.mark.parametrize("answer", [Answer(429, b""), refusal(503, 9), refusal(403, 4), refusal(400, 7)])
def test_retry_after_is_honoured_within_bounds(
    hec: Callable[..., HecSink],
    server: ScriptedHec,
    clock: Clock,
    answer: Answer,
    header: str | None,
    least: float,
    most: float,
) -> None:
    headers = {} if header is None else {"Retry-After": header}
    server.script.append(Answer(answer.status, answer.body, headers))
    outbox, began = Outbox(event(0)), clock.now
    run(outbox.deliverer(hec(), clock), clock, lambda: not outbox.waiting)
    assert least <= clock.now - began <= most
    outbox.assert_delivered(server.ids)
    assert len(server.requests) == 2


def test_one_token_or_another_is_asked_for_with_the_scheme_of_splunk(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    outbox = mixed(1)
    run(outbox.deliverer(hec(), clock), clock, lambda: not outbox.waiting)
    assert {request.headers["authorization"] for request in server.requests} == {f"Splunk {TOKEN}"}
