"""Events that a receiver never takes: they are found, they alone are dead, and all others arrive in order."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from detector.events import Lane, Queued
from exporter.hec import HecSink
from exporter.hec_answers import BY_CODE
from exporter.lanes import PaceSettings
from tests.exporter.outbox import Clock, Outbox, event, run
from tests.exporter.scripted_hec import ScriptedHec

RISK = [event(number) for number in range(100)]
RISK_IDS = [each.event_id for each in RISK]


def deliver(sink: HecSink, outbox: Outbox, clock: Clock, pace: PaceSettings | None = None) -> float:
    """Turn until the outbox is empty; how many seconds it took."""
    began = clock.now
    run(outbox.deliverer(sink, clock, pace), clock, lambda: not outbox.waiting)
    return clock.now - began


@pytest.mark.parametrize("code", [6, 12, 13, 15])
@pytest.mark.parametrize("at", [0, 1, 50, 98, 99])
@pytest.mark.parametrize("takes_before", [True, False], ids=["takes-before", "takes-none"])
@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "unnumbered"])
def test_one_bad_event_of_a_hundred_is_dead_and_all_others_arrive(
    hec: Callable[..., HecSink],
    server: ScriptedHec,
    clock: Clock,
    *,
    numbered: bool,
    takes_before: bool,
    at: int,
    code: int,
) -> None:
    """Splunk takes the items before the one that it names: they come twice then, with equal ids and bytes."""
    server.refused, server.numbered, server.takes_before = {f"risk-{at}": code}, numbered, takes_before
    outbox = Outbox(*RISK)
    waited = deliver(hec(), outbox, clock)
    outbox.assert_delivered(server.ids, {f"risk-{at}": BY_CODE[400, code].label})
    requests = len(server.requests)
    # Bisecting 100 takes 7 refusals; each may come after an acceptance that doubled the batch once more.
    assert requests == 2 if numbered else requests <= 2 * 7 + 2
    assert waited == 0.0
    # Each refusal repeats what stood before the bad event, which halves; and twice of it, as above.
    repeated = len(server.ids) - 99
    assert repeated <= (0 if not takes_before else at if numbered else 2 * 99)
    assert {json.dumps(each) for each in server.indexed} == {
        json.dumps(json.loads(each.body)) for each in RISK if each.event_id != f"risk-{at}"
    }


@pytest.mark.parametrize("takes_before", [True, False], ids=["takes-before", "takes-none"])
@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "unnumbered"])
def test_several_bad_events_of_a_hundred_are_dead_and_all_others_arrive(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, *, numbered: bool, takes_before: bool
) -> None:
    bad = {"risk-0": 6, "risk-1": 12, "risk-49": 15, "risk-50": 6, "risk-99": 13}
    server.refused, server.numbered, server.takes_before = bad, numbered, takes_before
    outbox = Outbox(*RISK)
    deliver(hec(), outbox, clock)
    outbox.assert_delivered(server.ids, {each: BY_CODE[400, code].label for each, code in bad.items()})
    requests = len(server.requests)
    assert requests == len(bad) + 1 if numbered else requests <= len(bad) * (2 * 7 + 2)


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "unnumbered"])
def test_a_server_that_refuses_every_event_is_not_raced_through(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, *, numbered: bool
) -> None:
    """It may be the server that is wrong: an hour of it costs a few dozen events, not the backlog."""
    server.refused, server.numbered = dict.fromkeys(RISK_IDS, 6), numbered
    outbox = Outbox(*RISK)
    deliverer, began = outbox.deliverer(hec(), clock), clock.now
    run(deliverer, clock, lambda: clock.now > began + 3600)
    assert len(server.requests) <= 12 + 3600 / 60 + 8
    assert [each for each, _ in outbox.dead] == RISK_IDS[: len(outbox.dead)]
    server.refused = {}
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(server.ids, dict(outbox.dead))


def test_a_bad_event_of_one_lane_costs_the_others_nothing(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    server.refused, server.numbered = {"context-7": 6}, False
    outbox = Outbox(*(event(number, lane) for number in range(20) for lane in Lane))
    deliver(hec(), outbox, clock)
    outbox.assert_delivered(server.ids, {"context-7": "event_invalid"})
    assert [len([r for r in server.posts if r.events[0]["index"] == lane]) for lane in ("risk", "audit")] == [
        1,
        1,
    ]


@pytest.mark.parametrize("largest", [110, 300, 2000])
def test_too_large_a_batch_is_split_until_it_fits(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, largest: int
) -> None:
    """Down to one event, which fits with 110 bytes."""
    server.largest = largest
    outbox = Outbox(*RISK)
    assert deliver(hec(), outbox, clock) == 0.0
    outbox.assert_delivered(server.ids)
    assert len(server.ids) == 100
    assert max(len(request.body) for request in server.posts[7:]) <= 2 * largest + 110


@pytest.mark.parametrize("at", [0, 5, 9])
def test_an_event_too_large_alone_is_dead_and_holds_up_nobody(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, logs: list[Any], at: int
) -> None:
    server.largest = 2000
    outbox = Outbox(*RISK[:at], event(at, padding=3000), *RISK[at + 1 : 10])
    assert deliver(hec(), outbox, clock) == 0.0
    outbox.assert_delivered(server.ids, {f"risk-{at}": "too_large"})
    [log] = [log for log in logs if log["event"] == "exporter.dead_letter"]
    assert (log["event_id"], log["lane"], log["status"], log["code"]) == (f"risk-{at}", "risk", 413, None)


def test_events_that_are_queued_meanwhile_come_after_those_before_them(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    server.refused, server.numbered = {"risk-2": 6}, False
    outbox = Outbox(*RISK[:60])
    waiting, outbox.waiting = outbox.waiting, []
    deliverer = outbox.deliverer(hec(), clock, PaceSettings(batch_limit=8))
    for queued in waiting:
        outbox.waiting.append(Queued(queued.sequence, queued.event))
        clock.now += deliverer.turn(clock.now)
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(server.ids, {"risk-2": "event_invalid"})
