"""The whole table, row by row, through a delivery: its metric moves, its log line says what it was.

And ``docs/delivery.md`` shows the same rows.
"""

import itertools
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.events import Lane
from exporter import hec_answers
from exporter.answers import Action, Row
from exporter.hec import HecSink
from exporter.hec_answers import classify
from exporter.sink import Directive
from telemetry.metrics import REGISTRY
from tests.exporter.outbox import Clock, Outbox, event, queue, run
from tests.exporter.scripted_hec import Answer, ScriptedHec, refusal
from tests.exporter.tiny_proxy import TinyProxy

DOCUMENT = Path(__file__).parents[2] / "docs" / "delivery.md"
BEGAN = Clock().now
CLASS_EXAMPLES = {2: 206, 3: 302, 4: 418, 5: 502}


def attempts(row: Row) -> float:
    labels = {"sink": "hec", "lane": "context", "result": row.label}
    return REGISTRY.get_sample_value("otel_shell_detector_exporter_attempts_total", labels) or 0.0


def walk(
    sink: HecSink, clock: Clock, logs: list[Any], row: Row, status: int | None, code: int | None
) -> Outbox:
    """Deliver four events to a sink whose first answer is of that row."""
    before = attempts(row)
    outbox = Outbox(*(event(number, Lane.CONTEXT) for number in range(4)))
    deliverer = outbox.deliverer(sink, clock)
    deliverer.turn(clock.now)
    assert attempts(row) == before + 1
    [log] = [log for log in logs if "result" in log]
    logs.clear()
    assert {key: log[key] for key in ("event", "sink", "lane", "result", "status", "code")} == {
        "event": row.log.name,
        "sink": "hec",
        "lane": Lane.CONTEXT,
        "result": row.label,
        "status": status,
        "code": code,
    }
    if row.action is not Action.ACCEPTED:
        assert (len(outbox.waiting), outbox.done) == (4, [])
    run(deliverer, clock, lambda: not outbox.waiting or clock.now > BEGAN + 1000)
    return outbox


@pytest.mark.parametrize(("key", "row"), hec_answers.BY_CODE.items(), ids=str)
def test_each_row_of_a_code_has_its_metric_and_its_log_event(
    server: ScriptedHec,
    hec: Callable[..., HecSink],
    clock: Clock,
    logs: list[Any],
    key: tuple[int, int],
    row: Row,
) -> None:
    if row.action is not Action.ACCEPTED:
        server.script.append(refusal(*key))
    walk(hec(), clock, logs, row, *key).assert_delivered(server.ids)


@pytest.mark.parametrize(
    ("status", "row"),
    [
        *hec_answers.BY_STATUS.items(),
        *((CLASS_EXAMPLES[kind], row) for kind, row in hec_answers.BY_CLASS.items()),
        (799, hec_answers.NOT_HTTP),
    ],
    ids=str,
)
def test_each_row_of_a_status_has_its_metric_and_its_log_event(
    server: ScriptedHec, hec: Callable[..., HecSink], clock: Clock, logs: list[Any], status: int, row: Row
) -> None:
    server.script.append(Answer(status, b"<html>"))
    walk(hec(), clock, logs, row, status, None).assert_delivered(server.ids)


@pytest.mark.parametrize("label", ["timeout", "connection_lost"])
def test_each_row_of_an_answer_that_does_not_come_has_its_metric_and_its_log_event(
    server: ScriptedHec, hec: Callable[..., HecSink], clock: Clock, logs: list[Any], label: str
) -> None:
    server.script.append(Answer(raw=[], hang=label == "timeout"))
    sink = hec(request_timeout_s=0.5, clock=time.monotonic) if label == "timeout" else hec()
    walk(sink, clock, logs, hec_answers.UNREACHABLE[label], None, None).assert_delivered(server.ids)


@pytest.mark.parametrize("label", ["name_unresolved", "connection_refused"])
def test_each_row_of_a_server_that_is_not_found_has_its_metric_and_its_log_event(
    server: ScriptedHec,
    hec: Callable[..., HecSink],
    clock: Clock,
    logs: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    label: str,
) -> None:
    """The first look-up fails, or leads to a port where nobody listens; the second is right."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ports = iter([unused.getsockname()[1]])

        def resolve(*_: object, **__: object) -> Any:
            port = next(ports, server.port)
            if label == "name_unresolved" and port != server.port:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", resolve)
            sink = hec(url="http://splunk.invalid:8088")
            outbox = walk(sink, clock, logs, hec_answers.UNREACHABLE[label], None, None)
    outbox.assert_delivered(server.ids)


@pytest.mark.parametrize("label", ["tls_failed", "proxy_failed"])
def test_each_row_of_a_way_that_is_barred_has_its_metric_and_its_log_event(
    tls_server: ScriptedHec, hec: Callable[..., HecSink], clock: Clock, logs: list[Any], label: str
) -> None:
    """By a certificate of an unknown authority, or a proxy that wants a password, while that is so."""
    with TinyProxy() as proxy:
        proxy.refuse = True
        sink = hec(url=tls_server.url, proxy_url=proxy.url if label == "proxy_failed" else "")
        outbox = walk(sink, clock, logs, hec_answers.UNREACHABLE[label], None, None)
    assert (len(outbox.waiting), outbox.dead, tls_server.requests) == (4, [], [])


def test_these_are_all_the_rows_without_an_answer() -> None:
    assert {*hec_answers.UNREACHABLE} == {
        *("timeout", "connection_lost", "name_unresolved", "connection_refused", "tls_failed", "proxy_failed")
    }


def test_the_row_of_a_token_that_cannot_be_read(
    server: ScriptedHec, hec: Callable[..., HecSink], clock: Clock, logs: list[Any], token_file: Path
) -> None:
    token_file.rename(token_file.with_suffix(".away"))
    outbox = walk(hec(), clock, logs, hec_answers.TOKEN_UNREADABLE, None, None)
    assert (len(outbox.waiting), server.requests) == (4, [])


def test_the_row_of_an_acknowledgement_that_cannot_be_read(
    server: ScriptedHec, hec: Callable[..., HecSink], clock: Clock, logs: list[Any]
) -> None:
    row = hec_answers.ACK_REPLY_UNREADABLE
    before = attempts(row)
    outbox = Outbox(event(0, Lane.CONTEXT))
    deliverer = outbox.deliverer(hec(ack=True), clock)
    deliverer.turn(clock.now)
    server.script.append(Answer(200, {"code": 0}))
    run(deliverer, clock, lambda: len(server.requests) == 2)
    assert attempts(row) == before + 1
    [log] = [log for log in logs if log.get("result") == row.label]
    assert (log["event"], log["status"], log["code"], log["lane"]) == (row.log.name, 200, 0, Lane.CONTEXT)
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(server.ids)


def test_an_event_that_is_given_up_has_its_metric_and_its_log_event_too(
    server: ScriptedHec, hec: Callable[..., HecSink], clock: Clock, logs: list[Any]
) -> None:
    row = hec_answers.BY_CODE[400, 15]
    before = attempts(row)
    server.refused = {"context-0": 15}
    outbox = Outbox(event(0, Lane.CONTEXT))
    run(outbox.deliverer(hec(), clock), clock, lambda: not outbox.waiting)
    assert attempts(row) == before + 1
    [log] = [log for log in logs if log["event"] == "exporter.dead_letter"]
    assert (log["status"], log["code"], log["lane"], log["event_id"]) == (400, 15, Lane.CONTEXT, "context-0")


# --- a code where Splunk does not send it

STATUSES = (200, 201, 302, 400, 401, 403, 404, 405, 408, 413, 429, 500, 502, 503)


def test_the_status_wins_over_a_code_that_splunk_does_not_send_with_it(
    server: ScriptedHec, hec: Callable[..., HecSink]
) -> None:
    """And no event is done or dead on such an answer."""
    sink = hec()
    for status, code in itertools.product(STATUSES, range(31)):
        if (status, code) in hec_answers.BY_CODE:
            continue
        server.script.append(refusal(status, code, 1))
        delivery = sink.send(Lane.RISK, queue(4))
        bare = classify(status, None)
        assert (delivery.outcomes, delivery.result, delivery.directive) == ((), bare.label, bare.directive)
        assert bare.action not in {Action.ACCEPTED, Action.INVALID}
        assert delivery.directive is not Directive.PROCEED


def test_every_number_is_some_row() -> None:
    for status, code in itertools.product((*range(1000), 10**9), (None, -1, 0, 6, 99, 10**30)):
        row = classify(status, code)
        assert row.action is not Action.ACCEPTED or (status, code) == (200, 0)
        assert row.action is not Action.INVALID or (status, code) in hec_answers.BY_CODE


# --- the document

WORDS = {
    Action.ACCEPTED: "done",
    Action.RETRY: "retry",
    Action.INVALID: "give up the one event",
    Action.TOO_LARGE: "bisect",
    Action.PAUSE_LANE: "pause the lane",
    Action.PAUSE_SINK: "pause everything",
}


def rows_of_the_code() -> set[tuple[str, ...]]:
    keyed = [
        *((f"{status}", f"{code}", row) for (status, code), row in hec_answers.BY_CODE.items()),
        *((f"{status}", "", row) for status, row in hec_answers.BY_STATUS.items()),
        *((f"other {kind}xx", "", row) for kind, row in hec_answers.BY_CLASS.items()),
        ("any other", "", hec_answers.NOT_HTTP),
        *(("none", "", row) for row in hec_answers.UNREACHABLE.values()),
        ("none", "", hec_answers.TOKEN_UNREADABLE),
        ("to a poll", "", hec_answers.ACK_REPLY_UNREADABLE),
    ]
    return {
        (status, code, WORDS[row.action], f"`{row.label}`", f"`{row.log.name}`")
        for status, code, row in keyed
    }


def test_the_document_shows_every_row_and_no_other() -> None:
    lines = [
        line for line in DOCUMENT.read_text().splitlines() if re.match(r"\| (\d|other|any|none|to a)", line)
    ]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    # the third column says it in words
    shown = [(status, code, *rest) for status, code, _, *rest in cells]
    assert len(shown) == len(set(shown))
    assert set(shown) == rows_of_the_code()
