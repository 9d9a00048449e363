"""The table, row by row, through a real socket: what the server says, what the sink then tells its caller."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from detector.events import Lane, Outcome, Settlement
from exporter import hec_answers
from exporter.hec import HecSink
from exporter.hec_answers import retry_after_s
from exporter.sink import Delivery, Directive
from tests.exporter.conftest import WALL_S
from tests.exporter.outbox import queue
from tests.exporter.scripted_hec import Answer, ScriptedHec, refusal

DONE = tuple(Outcome(number, Settlement.DONE) for number in range(4))
RETRY, SPLIT, REFUSED = Directive.RETRY, Directive.SPLIT, Directive.REFUSED
LANE, SINK = Directive.PAUSE_LANE, Directive.PAUSE_SINK

CODES = [
    (200, 0, Directive.PROCEED, "accepted"),
    (403, 1, SINK, "token_disabled"),
    (401, 2, SINK, "token_required"),
    (401, 3, SINK, "authorization_invalid"),
    (403, 4, SINK, "token_invalid"),
    (400, 5, SINK, "no_data"),
    (400, 6, SPLIT, "event_invalid"),
    (400, 7, LANE, "index_incorrect"),
    (500, 8, RETRY, "server_error"),
    (503, 9, RETRY, "server_busy"),
    (400, 10, SINK, "channel_missing"),
    (400, 11, SINK, "channel_invalid"),
    (400, 12, SPLIT, "event_field_missing"),
    (400, 13, SPLIT, "event_field_blank"),
    (400, 14, SINK, "ack_disabled"),
    (400, 15, SPLIT, "fields_invalid"),
    (400, 16, SINK, "query_token_refused"),
    (200, 17, RETRY, "health_only"),
    (503, 18, RETRY, "queues_full"),
    (503, 19, RETRY, "ack_unavailable"),
    (503, 20, RETRY, "queues_full_ack_unavailable"),
    (400, 21, SINK, "token_invalid"),
    (400, 22, SINK, "token_disabled"),
    (503, 23, RETRY, "shutting_down"),
    # a code under a status that Splunk does not send it with says nothing: the status decides
    (200, 9, RETRY, "not_success"),
    (200, 6, RETRY, "not_success"),
    (500, 0, RETRY, "server_error"),
    (400, 0, SINK, "refused"),
    (400, 99, SINK, "refused"),
    (429, 24, RETRY, "too_many_requests"),
]

LOGGED = {
    Directive.PROCEED: "exporter.accepted",
    RETRY: "exporter.retrying",
    SPLIT: "exporter.split",
    LANE: "exporter.lane_paused",
    SINK: "exporter.sink_paused",
}


@pytest.mark.parametrize(("status", "code", "directive", "label"), CODES)
def test_a_code_of_splunks_table(
    server: ScriptedHec,
    hec: Callable[..., HecSink],
    logs: list[Any],
    status: int,
    code: int,
    directive: Directive,
    label: str,
) -> None:
    server.script.append(refusal(status, code))
    outcomes = DONE if directive is Directive.PROCEED else ()
    assert hec().send(Lane.RISK, queue(4)) == Delivery(outcomes, directive, label, tried=4)
    logged = [(log["event"], log["result"], log["status"], log["code"]) for log in logs if "result" in log]
    assert logged == [(LOGGED[directive], label, status, code)]


def test_the_codes_0_to_22_are_all_considered() -> None:
    assert set(range(23)) <= {code for _, code in hec_answers.BY_CODE}
    assert {(status, code) for status, code, *_ in CODES} >= hec_answers.BY_CODE.keys()


@pytest.mark.parametrize(
    ("status", "directive", "label"),
    [
        (201, RETRY, "not_success"),
        (301, SINK, "redirected"),
        (302, SINK, "redirected"),
        (307, SINK, "redirected"),
        (308, SINK, "redirected"),
        (400, SINK, "refused"),
        (401, SINK, "unauthorized"),
        (403, SINK, "forbidden"),
        (404, SINK, "not_found"),
        (405, SINK, "method_not_allowed"),
        (408, RETRY, "request_timeout"),
        (413, SPLIT, "too_large"),
        (418, SINK, "refused"),
        (429, RETRY, "too_many_requests"),
        (500, RETRY, "server_error"),
        (502, RETRY, "server_error"),
        (503, RETRY, "unavailable"),
        (504, RETRY, "server_error"),
        (799, RETRY, "not_success"),
    ],
)
@pytest.mark.parametrize("body", [b"<html>\xff</html>", b"", b'{"text":"no code here"}'])
def test_a_status_without_a_code(
    server: ScriptedHec,
    hec: Callable[..., HecSink],
    status: int,
    directive: Directive,
    label: str,
    body: bytes,
) -> None:
    server.script.append(Answer(status, body, {"Location": f"{server.url}/elsewhere"}))
    assert hec().send(Lane.RISK, queue(4)) == Delivery((), directive, label, tried=4)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Success",
        b"<html>welcome to the hotel's wireless network</html>",
        b'{"text":"Success"}',
        b'{"text":"Success","code":"0"}',
        b'{"text":"Success","code":false}',
        b'{"text":"Success","code":0.0}',
        b'{"text":"Success","code":null}',
        b'{"text":"Success","code":0',
        b'[{"code":0}]',
        b"0",
        b"[" * 30_000,
        b'{"code":' + b"9" * 5000 + b"}",
        b'{"code":0}\xff',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_status_200_is_no_success_without_code_0(
    server: ScriptedHec, hec: Callable[..., HecSink], body: bytes
) -> None:
    server.script.append(Answer(200, body))
    assert hec().send(Lane.RISK, queue(4)) == Delivery((), RETRY, "not_success", tried=4)


RETRY_AFTER = [
    (None, None),
    ("0", 0.0),
    ("120", 120.0),
    (" 7 ", 7.0),
    ("1000000000", 1e9),
    ("1e9", None),
    ("-5", None),
    ("1.5", None),
    ("soon", None),
    ("", None),
    ("9" * 40, None),
    ("Tue, 24 Nov 2026 02:41:30 GMT", 90.0),
    ("Tue, 24 Nov 2026 02:41:30 -0000", 90.0),
    ("Tue, 24 Nov 2026 02:39:00 GMT", 0.0),
    ("Tue, 99 Nov 2026 02:39:00 GMT", None),
]


@pytest.mark.parametrize(("header", "after_s"), RETRY_AFTER)
@pytest.mark.parametrize(
    ("status", "code", "label"), [(503, 9, "server_busy"), (429, 99, "too_many_requests")]
)
def test_retry_after(
    server: ScriptedHec,
    hec: Callable[..., HecSink],
    header: str | None,
    after_s: float | None,
    status: int,
    code: int,
    label: str,
) -> None:
    server.script.append(refusal(status, code, headers={} if header is None else {"Retry-After": header}))
    assert hec().send(Lane.RISK, queue(1)) == Delivery((), RETRY, label, after_s, 1)


def test_a_retry_after_that_no_calendar_holds_is_ignored() -> None:
    assert retry_after_s("Mon, 01 Jan 99999 00:00:00 GMT", WALL_S) is None


@pytest.mark.parametrize("code", [6, 12, 13, 15])
def test_the_named_event_is_dead_and_the_others_are_not(
    server: ScriptedHec, hec: Callable[..., HecSink], logs: list[Any], code: int
) -> None:
    server.script.append(refusal(400, code, 2))
    label = hec_answers.BY_CODE[400, code].label
    dead = (Outcome(2, Settlement.DEAD, label),)
    assert hec().send(Lane.RISK, queue(4)) == Delivery(dead, REFUSED, label, tried=4)
    [log] = [log for log in logs if log["event"] == "exporter.dead_letter"]
    assert (log["event_id"], log["log_level"]) == ("risk-2", "error")


@pytest.mark.parametrize("number", [-1, 4, 10**30, 1.0, True, "2", None, [2]])
def test_a_number_that_names_no_event_is_none(
    server: ScriptedHec, hec: Callable[..., HecSink], number: Any
) -> None:
    server.script.append(Answer(400, {"text": "x", "code": 6, "invalid-event-number": number}))
    assert hec().send(Lane.RISK, queue(4)) == Delivery((), SPLIT, "event_invalid", tried=4)


@pytest.mark.parametrize(
    ("answer", "label"), [(refusal(400, 12), "event_field_missing"), (Answer(413, b""), "too_large")]
)
def test_what_is_refused_alone_is_dead(
    server: ScriptedHec, hec: Callable[..., HecSink], answer: Answer, label: str
) -> None:
    server.script.append(answer)
    dead = (Outcome(0, Settlement.DEAD, label),)
    assert hec().send(Lane.RISK, queue(1)) == Delivery(dead, REFUSED, label, tried=1)


def test_labels_are_fit_for_metrics() -> None:
    rows = [
        *hec_answers.BY_CODE.values(),
        *hec_answers.BY_STATUS.values(),
        *hec_answers.BY_CLASS.values(),
        *hec_answers.UNREACHABLE.values(),
        hec_answers.NOT_HTTP,
        hec_answers.ACK_REPLY_UNREADABLE,
        hec_answers.TOKEN_UNREADABLE,
    ]
    assert all(re.fullmatch("[a-z0-9_]+", row.label) for row in rows)
    by_label: dict[str, set[object]] = {}
    for row in rows:
        by_label.setdefault(row.label, set()).add(row.action)
    assert all(len(actions) == 1 for actions in by_label.values())
