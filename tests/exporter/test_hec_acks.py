"""Indexer acknowledgement: a batch is done when the indexers have it, and not a moment earlier."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from detector.events import Lane, Queued
from exporter.hec import HecSink
from exporter.lanes import PaceSettings
from exporter.sink import Delivery, Directive
from telemetry.metrics import REGISTRY
from tests.exporter.outbox import Clock, Outbox, event, queue, run
from tests.exporter.scripted_hec import Answer, ScriptedHec, refusal

RISK = [event(number) for number in range(5)]
RISK_IDS = [each.event_id for each in RISK]
CHANNEL = "0f1e2d3c-0000-4000-8000-000000000001"


def test_an_acknowledged_batch_is_done_when_the_indexers_have_it(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    server.ack_at_once = False
    sink = hec(ack=True, channel=CHANNEL)
    assert sink.send(Lane.RISK, queue(2)) == Delivery(result="accepted", after_s=1.0, tried=2)
    assert sink.in_flight(Lane.RISK) == 2
    assert sink.send(Lane.RISK, queue(2)) == Delivery(after_s=1.0)
    clock.now += 1.0
    assert sink.send(Lane.RISK, queue(2)) == Delivery(after_s=1.0)
    server.acked = {0: True}
    assert sink.send(Lane.RISK, queue(2)).outcomes == ()  # it is asked once a second
    clock.now += 1.0
    assert len(sink.send(Lane.RISK, queue(2)).outcomes) == 2
    assert sink.in_flight(Lane.RISK) == 0
    assert [request.line.split(" ")[1] for request in server.requests] == [
        "/services/collector/event",
        *[f"/services/collector/ack?channel={CHANNEL}"] * 3,
    ]
    assert {request.headers["x-splunk-request-channel"] for request in server.requests} == {CHANNEL}
    assert json.loads(server.requests[-1].body) == {"acks": [0]}


def test_a_batch_in_flight_holds_up_no_further_one(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    server.ack_at_once = False
    sink = hec(ack=True)
    for count in range(1, 9):
        assert sink.send(Lane.RISK, queue(count)).tried == 1
    assert sink.send(Lane.RISK, queue(9)) == Delivery(after_s=1.0)  # eight are enough
    assert sink.in_flight(Lane.RISK) == 8
    server.acked[3] = True
    clock.now += 1.0
    sent = sink.send(Lane.RISK, queue(9))
    assert ([outcome.sequence for outcome in sent.outcomes], sent.tried) == ([3], 1)


def test_a_batch_that_is_never_acknowledged_is_sent_again_whole_on_its_channel(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, logs: list[Any]
) -> None:
    server.ack_at_once = False
    sink = hec(ack=True)
    outbox = Outbox(*RISK[:3])
    deliverer = outbox.deliverer(sink, clock)
    began = clock.now
    run(deliverer, clock, lambda: len(server.posts) == 1)
    outbox.waiting += [Queued(sequence, each) for sequence, each in enumerate(RISK[3:5], 3)]
    run(deliverer, clock, lambda: len(server.posts) >= 4)
    assert clock.now >= began + 120
    assert [[envelope["event"]["event_id"] for envelope in request.events] for request in server.posts] == [
        RISK_IDS[:3],
        RISK_IDS[3:5],
        RISK_IDS[:3],
        RISK_IDS[3:5],
    ]
    assert len({request.headers["x-splunk-request-channel"] for request in server.posts}) == 1
    assert outbox.done == []
    server.acked = dict.fromkeys(server.acked, True)
    run(deliverer, clock, lambda: not outbox.waiting)
    assert outbox.done == RISK_IDS[:5]
    assert [log["batches"] for log in logs if log["event"] == "exporter.ack_timed_out"] in ([2], [1, 1])
    polls = len(server.requests) - len(server.posts)
    assert polls <= clock.now - began + 2


def test_a_late_acknowledgement_counts(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    server.ack_at_once = False
    outbox = Outbox(*RISK[:3])
    deliverer = outbox.deliverer(hec(ack=True), clock)
    began = clock.now
    run(deliverer, clock, lambda: clock.now > began + 110)
    server.acked = {0: True}
    run(deliverer, clock, lambda: not outbox.waiting)
    assert len(server.posts) == 1


@pytest.mark.parametrize(
    ("answer", "directive", "label"),
    [
        (refusal(503, 9), Directive.RETRY, "server_busy"),
        (refusal(400, 14), Directive.PAUSE_SINK, "ack_disabled"),
        (refusal(403, 4), Directive.PAUSE_SINK, "token_invalid"),
        (refusal(200, 0), Directive.RETRY, "ack_reply_unreadable"),
        (refusal(400, 6), Directive.RETRY, "ack_reply_unreadable"),
        (Answer(413, b""), Directive.RETRY, "ack_reply_unreadable"),
        (Answer(200, {"acks": [0]}), Directive.RETRY, "not_success"),
        (Answer(200, b"<html>"), Directive.RETRY, "not_success"),
    ],
)
def test_a_poll_that_fails_keeps_the_batch_and_asks_again(
    hec: Callable[..., HecSink],
    server: ScriptedHec,
    clock: Clock,
    answer: Answer,
    directive: Directive,
    label: str,
) -> None:
    server.ack_at_once = False
    sink = hec(ack=True)
    sink.send(Lane.RISK, queue(2))
    server.script.append(answer)
    clock.now += 1.0
    assert sink.send(Lane.RISK, queue(3)) == Delivery((), directive, label)
    assert sink.in_flight(Lane.RISK) == 2
    server.acked = {0: True}
    clock.now += 1.0
    assert len(sink.send(Lane.RISK, queue(2)).outcomes) == 2


@pytest.mark.parametrize("acks", [{"0": "true"}, {"0": 1}, {"x": True}, {"7": True}, {"\u0663": True}, {}])
def test_only_true_acknowledges_and_only_what_was_sent(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, acks: dict[str, Any]
) -> None:
    server.ack_at_once = False
    sink = hec(ack=True)
    sink.send(Lane.RISK, queue(2))
    server.script.append(Answer(200, {"acks": acks}))
    clock.now += 1.0
    assert sink.send(Lane.RISK, queue(2)).outcomes == ()
    assert sink.in_flight(Lane.RISK) == 2


def test_acceptance_without_an_ack_id_counts_and_warns(
    hec: Callable[..., HecSink], server: ScriptedHec, logs: list[Any]
) -> None:
    server.script.append(refusal(200, 0))
    assert len(hec(ack=True).send(Lane.RISK, queue(2)).outcomes) == 2
    assert [log["event"] for log in logs[-2:]] == ["exporter.ack_missing", "exporter.accepted"]


@pytest.mark.parametrize("answer", [refusal(400, 6, 1), refusal(400, 6), Answer(413, b"")])
def test_a_batch_that_is_refused_when_sent_again_is_made_up_anew(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, answer: Answer
) -> None:
    server.ack_at_once = False
    sink = hec(ack=True)
    sink.send(Lane.RISK, queue(3))
    clock.now += 121.0
    sink.send(Lane.RISK, queue(3))  # asks once more, then expires and sends it again
    clock.now += 121.0
    server.script.extend([Answer(200, {"acks": {}}), answer])
    refused = sink.send(Lane.RISK, queue(3))
    assert refused.directive in {Directive.REFUSED, Directive.SPLIT}
    assert sink.in_flight(Lane.RISK) == 0


def test_a_batch_to_be_sent_again_waits_for_a_server_that_is_busy(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    server.ack_at_once = False
    sink = hec(ack=True)
    sink.send(Lane.RISK, queue(3))
    clock.now += 121.0
    server.script.extend([Answer(200, {"acks": {}}), refusal(503, 9)])
    assert sink.send(Lane.RISK, queue(5)) == Delivery((), Directive.RETRY, "server_busy", tried=3)
    assert sink.in_flight(Lane.RISK) == 3
    assert sink.send(Lane.RISK, queue(5)).tried == 3
    assert sink.send(Lane.RISK, queue(5)).tried == 2


def test_each_end_of_a_batch_is_counted(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    def counted() -> list[float]:
        name = "otel_shell_detector_exporter_acks_total"
        ends = ("confirmed", "timed_out", "missing")
        return [REGISTRY.get_sample_value(name, {"result": end}) or 0.0 for end in ends]

    before = counted()
    server.ack_at_once = False
    sink = hec(ack=True)
    sink.send(Lane.RISK, queue(1))
    clock.now += 121.0
    server.script.extend([Answer(200, {"acks": {}}), refusal(200, 0)])
    sink.send(Lane.RISK, queue(1))  # not acknowledged in time, sent again, taken without an id
    sink.send(Lane.RISK, queue(2))
    server.acked = dict.fromkeys(server.acked, True)
    clock.now += 1.0
    assert len(sink.send(Lane.RISK, queue(2)).outcomes) == 2
    assert [new - old for new, old in zip(counted(), before, strict=True)] == [1, 1, 1]


# --- a server that restarts, or that is several


def test_an_id_that_is_given_anew_does_not_acknowledge_the_batch_that_had_it_before(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock, logs: list[Any]
) -> None:
    """The server restarts with a batch in memory, and counts from 0 again: that batch is lost."""
    server.ack_at_once = server.indexes = False
    sink = hec(ack=True)
    outbox = Outbox(*RISK)
    late, outbox.waiting = outbox.waiting[3:], outbox.waiting[:3]
    deliverer, began = outbox.deliverer(sink, clock), clock.now
    run(deliverer, clock, lambda: len(server.posts) == 1)
    server.restart()
    server.ack_at_once = server.indexes = True
    outbox.waiting += late
    run(deliverer, clock, lambda: len(outbox.waiting) == 3)
    assert (outbox.done, server.ids) == (RISK_IDS[3:], RISK_IDS[3:])
    assert clock.now < began + 10
    run(deliverer, clock, lambda: not outbox.waiting)
    assert began + 120 <= clock.now <= began + 125
    assert server.ids == [*RISK_IDS[3:], *RISK_IDS[:3]]
    assert outbox.dead == []
    [log] = [log for log in logs if log["event"] == "exporter.ack_forgotten"]
    assert (log["lane"], log["batches"]) == (Lane.RISK, 1)


def test_a_channel_that_the_server_has_forgotten_pauses_nobody(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    """It refuses the poll (code 11) until events come on the channel, so events must come."""
    server.ack_at_once = False
    server.refuses_channels = True
    outbox = Outbox(*RISK)
    late, outbox.waiting = outbox.waiting[3:], outbox.waiting[:3]
    deliverer, began = outbox.deliverer(hec(ack=True), clock), clock.now
    run(deliverer, clock, lambda: len(server.posts) == 1)
    server.restart()
    server.ack_at_once = True
    run(deliverer, clock, lambda: clock.now >= began + 30)
    assert len(server.requests) == 2  # the events, one poll; after that there is nothing to ask for
    outbox.waiting += late
    run(deliverer, clock, lambda: not outbox.waiting)
    assert outbox.dead == []
    assert [len(request.events) for request in server.posts] == [3, 2, 3]
    assert clock.now <= began + 125


def test_ids_that_collide_without_end_do_not_make_us_send_without_end(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    """As behind a balancer that sends each request elsewhere: each batch again at its timeout, no sooner."""
    server.always = Answer(200, {"text": "Success", "code": 0, "ackId": 0, "acks": {"0": False}})
    outbox = Outbox(*RISK)
    deliverer, began = outbox.deliverer(hec(ack=True), clock, PaceSettings(batch_limit=1)), clock.now
    run(deliverer, clock, lambda: clock.now >= began + 1250, turns=50_000)
    assert len(server.posts) <= len(RISK) * (1250 // 120 + 1)
    assert (outbox.done, outbox.dead) == ([], [])


def test_true_is_said_once_and_a_reply_that_is_lost_costs_a_repetition(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    server.ack_at_once = False
    outbox = Outbox(*RISK)
    deliverer = outbox.deliverer(hec(ack=True), clock)
    run(deliverer, clock, lambda: len(server.posts) == 1)
    server.script.append(
        Answer(raw=[b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"])
    )  # said, and not heard
    server.ack_at_once = True
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(server.ids)
    assert server.ids == RISK_IDS * 2
    assert server.posts[0].events == server.posts[1].events


def test_what_is_never_acknowledged_is_bounded_and_sent_again_in_order(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    server.ack_at_once = False
    sink = hec(ack=True)
    outbox = Outbox(*(event(number) for number in range(100)))
    deliverer, began = outbox.deliverer(sink, clock, PaceSettings(batch_limit=4)), clock.now
    run(deliverer, clock, lambda: clock.now >= began + 3600, turns=50_000)
    assert (outbox.done, outbox.dead, len(outbox.waiting)) == ([], [], 100)
    assert sink.in_flight(Lane.RISK) == 8 * 4
    # Every batch again, whole, in the order of the first time, every two minutes and no oftener.
    rounds = [[each["event"]["event_id"] for each in request.events] for request in server.posts]
    first = [[f"risk-{number}" for number in range(at, at + 4)] for at in range(0, 32, 4)]
    assert rounds[:8] == first
    assert rounds == (first * 31)[: len(rounds)]
    assert 8 * 28 <= len(rounds) <= 8 * 31
    assert len(server.requests) - len(rounds) <= 3600 + 60
    # What is in flight is read again only with what can follow it.
    assert max(rows for _, rows in outbox.taken) <= (8 + 1) * 4
    assert len(outbox.taken) <= 8 + 2 + 2 * len(rounds)
    server.acked = dict.fromkeys(server.acked, True)
    server.ack_at_once = True
    run(deliverer, clock, lambda: not outbox.waiting, turns=50_000)
    outbox.assert_delivered(server.ids)


def test_a_batch_that_is_acknowledged_while_the_outbox_cannot_take_note_is_not_sent_again(
    hec: Callable[..., HecSink], server: ScriptedHec, clock: Clock
) -> None:
    outbox = Outbox(*RISK)
    deliverer = outbox.deliverer(hec(ack=True), clock)
    run(deliverer, clock, lambda: len(server.posts) == 1)
    outbox.broken = OSError("disk full")
    for _ in range(300):
        clock.now += 1.0
        with contextlib.suppress(OSError):
            deliverer.turn(clock.now)
    assert (len(outbox.waiting), server.ids) == (5, RISK_IDS)
    outbox.broken = None
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(server.ids)
    assert server.ids == RISK_IDS
