"""The whole table, row by row, through a delivery: its metric moves, its log line says what it was.

And ``docs/delivery.md`` shows the same rows.
"""

import re
from pathlib import Path
from typing import Any

import grpc
import pytest

from detector.events import Event, Lane
from exporter import otlp_answers
from exporter.answers import Action, Row
from exporter.otlp import OtlpSink
from exporter.settings import OtlpSettings, OtlpTlsSettings
from exporter.sink import Directive
from telemetry.metrics import REGISTRY
from tests.exporter.outbox import Clock, Outbox, event, run
from tests.exporter.scripted_otlp import Answer, ScriptedOtlp, rejection

DOCUMENT = Path(__file__).parents[2] / "docs" / "delivery.md"
BEGAN = Clock().now
REFUSALS = {status: row for status, row in otlp_answers.BY_STATUS.items() if status is not grpc.StatusCode.OK}


def attempts(row: Row) -> float:
    labels = {"sink": "otlp", "lane": "context", "result": row.label}
    return REGISTRY.get_sample_value("otel_shell_detector_exporter_attempts_total", labels) or 0.0


def walk(sink: OtlpSink, logs: list[Any], row: Row, status: str | None) -> Outbox:
    """Deliver four events to a sink whose first answer is of that row."""
    clock = Clock()
    before = attempts(row)
    outbox = Outbox(*(event(number, Lane.CONTEXT) for number in range(4)))
    deliverer = outbox.deliverer(sink, clock)
    deliverer.turn(clock.now)
    assert attempts(row) == before + 1
    [log] = [log for log in logs if "result" in log]
    logs.clear()
    assert {key: log[key] for key in ("event", "sink", "lane", "result", "status")} == {
        "event": row.log.name,
        "sink": "otlp",
        "lane": Lane.CONTEXT,
        "result": row.label,
        "status": status,
    }
    if row.action is not Action.ACCEPTED:
        assert (len(outbox.waiting), outbox.done) == (4, [])
    run(deliverer, clock, lambda: not outbox.waiting or clock.now > BEGAN + 1000)
    sink.close()
    return outbox


def test_every_status_has_a_row() -> None:
    assert set(otlp_answers.BY_STATUS) == set(grpc.StatusCode)


@pytest.mark.parametrize(("status", "row"), REFUSALS.items(), ids=str)
def test_each_row_of_a_status_has_its_metric_and_its_log_event(
    collector: ScriptedOtlp, logs: list[Any], status: grpc.StatusCode, row: Row
) -> None:
    """Once; then the collector takes what comes, and everything arrives."""
    collector.script.append(Answer(status, "because"))
    walk(OtlpSink(OtlpSettings(collector.url)), logs, row, status.name).assert_delivered(collector.ids)


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        (Answer(), otlp_answers.BY_STATUS[grpc.StatusCode.OK]),
        (rejection(0, "deprecated"), otlp_answers.BY_STATUS[grpc.StatusCode.OK]),
        (rejection(1), otlp_answers.RECORDS_REJECTED),
        (Answer(body=b"<html>"), otlp_answers.REPLY_UNREADABLE),
    ],
)
def test_each_row_of_an_ok_has_its_metric_and_its_log_event(
    collector: ScriptedOtlp, logs: list[Any], answer: Answer, row: Row
) -> None:
    collector.script.append(answer)
    outbox = walk(OtlpSink(OtlpSettings(collector.url)), logs, row, "OK")
    taken = [] if row.action is not Action.ACCEPTED else [each.event_id for each in outbox.events]
    outbox.assert_delivered([*taken, *collector.ids])


def test_the_row_of_a_token_that_cannot_be_read(
    collector: ScriptedOtlp, logs: list[Any], tmp_path: Path
) -> None:
    sink = OtlpSink(OtlpSettings(collector.url, str(tmp_path / "none")))
    outbox = walk(sink, logs, otlp_answers.TOKEN_UNREADABLE, None)
    assert (len(outbox.waiting), collector.calls) == (4, [])


def test_the_row_of_a_ca_file_that_cannot_be_read(
    collector: ScriptedOtlp, logs: list[Any], tmp_path: Path
) -> None:
    tls = OtlpTlsSettings(str(tmp_path / "none.pem"))
    sink = OtlpSink(OtlpSettings(f"https://localhost:{collector.port}", tls=tls))
    outbox = walk(sink, logs, otlp_answers.TLS_UNREADABLE, None)
    assert (len(outbox.waiting), collector.calls) == (4, [])


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"event":',
        b'{"time":1}',
        b'{"time":"1","event":{"kind":"opened"}}',
        b'{"time":1e300,"event":{"kind":"opened"}}',
        b'{"time":1,"event":"opened"}',
        b'{"time":1,"event":{}}',
        b'{"time":1,"host":2,"event":{"kind":"opened"}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_no_envelope_is_given_up_unsent_and_the_others_go(
    collector: ScriptedOtlp, logs: list[Any], body: bytes
) -> None:
    row = otlp_answers.EVENT_INVALID
    before = attempts(row)
    clock = Clock()
    outbox = Outbox(event(0, Lane.CONTEXT), Event(Lane.CONTEXT, "bad", body), event(2, Lane.CONTEXT))
    sink = OtlpSink(OtlpSettings(collector.url))
    run(outbox.deliverer(sink, clock), clock, lambda: not outbox.waiting)
    sink.close()
    outbox.assert_delivered(collector.ids, {"bad": "event_invalid"})
    assert collector.ids == ["context-0", "context-2"]
    assert attempts(row) == before + 1
    [log] = [log for log in logs if log["event"] == "exporter.dead_letter"]
    assert (log["result"], log["event_id"], log["status"]) == ("event_invalid", "bad", None)


@pytest.mark.parametrize("partial", [False, True])
def test_a_record_that_is_refused_alone_is_dead_and_no_other(
    collector: ScriptedOtlp, logs: list[Any], *, partial: bool
) -> None:
    collector.refused, collector.partial = {"context-5", "context-6"}, partial
    row = (
        otlp_answers.RECORDS_REJECTED if partial else otlp_answers.BY_STATUS[grpc.StatusCode.INVALID_ARGUMENT]
    )
    clock = Clock()
    outbox = Outbox(*(event(number, Lane.CONTEXT) for number in range(16)))
    sink = OtlpSink(OtlpSettings(collector.url))
    run(outbox.deliverer(sink, clock), clock, lambda: not outbox.waiting)
    sink.close()
    outbox.assert_delivered(collector.ids, dict.fromkeys(["context-5", "context-6"], row.label))
    given_up = [log for log in logs if log["event"] == "exporter.dead_letter"]
    assert [(log["event_id"], log["result"]) for log in given_up] == [
        ("context-5", row.label),
        ("context-6", row.label),
    ]


# --- the document

WORDS = {
    Action.ACCEPTED: "done",
    Action.RETRY: "retry",
    Action.INVALID: "give up the one event",
    Action.PAUSE_LANE: "pause the lane",
    Action.PAUSE_SINK: "pause everything",
}


def test_the_document_shows_every_row_and_no_other() -> None:
    keyed = [
        *((f"`{status.name}`", row) for status, row in otlp_answers.BY_STATUS.items()),
        ("`OK`", otlp_answers.RECORDS_REJECTED),
        ("`OK`", otlp_answers.REPLY_UNREADABLE),
        ("unsent", otlp_answers.TOKEN_UNREADABLE),
        ("unsent", otlp_answers.TLS_UNREADABLE),
    ]
    expected = [(status, WORDS[row.action], f"`{row.label}`", f"`{row.log.name}`") for status, row in keyed]
    expected.append(("unsent", WORDS[Action.INVALID], "`event_invalid`", "`exporter.dead_letter`"))
    section = DOCUMENT.read_text().partition("### What a status means")[2]
    lines = [line for line in section.splitlines() if re.match(r"\| (`[A-Z]|unsent)", line)]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    # the second column says it in words
    shown = [(status, *rest) for status, _, *rest in cells]
    assert sorted(shown) == sorted(expected)


def test_no_row_pauses_without_keeping_everything() -> None:
    rows = [*otlp_answers.BY_STATUS.values(), otlp_answers.RECORDS_REJECTED, otlp_answers.REPLY_UNREADABLE]
    done = [row.label for row in rows if row.directive is Directive.PROCEED]
    assert done == ["accepted"]
