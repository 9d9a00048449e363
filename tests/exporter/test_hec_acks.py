"""Indexer acknowledgement: a batch is done when the indexers have it, and not a moment earlier."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from detector.events import Lane, Queued
from exporter.hec import HecSink
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
