"""Log records: the exporter of a collector makes the envelope of them again."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

from detector.events import Event, Lane
from detector.types import Finding
from exporter.event import encode
from exporter.otlp_records import NoEnvelopeError, record, request
from exporter.settings import EventSettings, Layout
from tests.exporter.findings import CLOSED, ONGOING, OPENED, told
from tests.exporter.hostile import findings, settings_of_events
from tests.exporter.test_report import BURST

BODY, ATTRIBUTES = Layout.BODY, Layout.ATTRIBUTES
EVENTS = [encode(each, EventSettings()) for each in (told(OPENED), told(ONGOING), told(CLOSED), BURST)]


possible = findings.map(
    lambda finding: replace(
        finding,
        envelope_ns=abs(finding.envelope_ns),
        shell=replace(finding.shell, pid=finding.shell.pid // 2),
        evidence=replace(finding.evidence, parent_pid=finding.shell.pid // 2),
        span=replace(finding.span, windows=finding.span.windows // 2),
    )
)
"""Numbers as the metrics' protocol holds them: what is not negative there, and 64 bits."""


def pairs(attributes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in attributes:
        assert each.key not in found
        found[each.key] = value_of(each.value)
    return found


def value_of(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    assert kind is not None
    found = getattr(value, kind)
    return [value_of(each) for each in found.values] if kind == "array_value" else found


def as_splunk_hec_makes_it(body: bytes) -> list[dict[str, Any]]:
    """``LogToSplunkEvent`` of the collector's translator, for the attributes that we send."""
    made = []
    for resource_logs in ExportLogsServiceRequest.FromString(body).resource_logs:
        of = pairs(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            made += [
                {
                    "time": each.time_unix_nano / 1e9,
                    "host": of.get("host.name", "unknown"),
                    "source": of["com.splunk.source"],
                    "sourcetype": of["com.splunk.sourcetype"],
                    "index": of.get("com.splunk.index", ""),
                    "event": each.body.string_value,
                }
                for each in scope_logs.log_records
            ]
    return made


def test_a_record_is_whole() -> None:
    made = ExportLogsServiceRequest.FromString(request([record(EVENTS[0], BODY)]))
    text = EVENTS[0].body.partition(b'"event":')[2][:-1].decode()
    assert json.loads(text)["kind"] == "opened"

    def attribute(key: str, value: str) -> KeyValue:
        return KeyValue(key=key, value=AnyValue(string_value=value))

    expected = ExportLogsServiceRequest()
    resource_logs = expected.resource_logs.add()
    resource_logs.resource.attributes.extend(
        [
            attribute("host.name", "worker-7"),
            attribute(
                "com.splunk.source",
                "Threat - OTel Shell Detector - Kubernetes Shell Running on Worker Node - Rule",
            ),
            attribute("com.splunk.sourcetype", "otel:shell:risk"),
            attribute("com.splunk.index", "risk"),
        ]
    )
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name = "otel-shell-detector"
    log = scope_logs.log_records.add()
    log.time_unix_nano = OPENED.envelope_ns
    log.severity_number = SeverityNumber.SEVERITY_NUMBER_WARN
    log.severity_text = "WARN"
    log.event_name = "otel_shell_detector.opened"
    log.body.string_value = text
    assert made == expected


def test_what_carries_no_score_is_information() -> None:
    logs = [record(event, BODY).log for event in EVENTS]
    assert [(log.event_name, log.severity_text, log.severity_number) for log in logs] == [
        ("otel_shell_detector.opened", "WARN", 13),
        ("otel_shell_detector.ongoing", "INFO", 9),
        ("otel_shell_detector.closed", "INFO", 9),
        ("otel_shell_detector.burst", "WARN", 13),
    ]


@given(possible, settings_of_events)
def test_splunk_gets_the_same_event_as_by_hec(finding: Finding, settings: EventSettings) -> None:
    event = encode(told(finding), settings)
    envelope = json.loads(event.body)
    [made] = as_splunk_hec_makes_it(request([record(event, BODY)]))
    assert event.body.endswith(f'"event":{made["event"]}}}'.encode())
    expected = {"host": "unknown", "index": ""} | envelope
    expected["time"] = pytest.approx(
        envelope["time"], rel=1e-15
    )  # divided as a double, not read as a decimal
    assert made | {"event": json.loads(made["event"])} == expected


@given(possible, settings_of_events)
def test_as_attributes_every_field_keeps_its_name_its_type_and_its_value(
    finding: Finding, settings: EventSettings
) -> None:
    event = encode(told(finding), settings)
    log = record(event, ATTRIBUTES).log
    fields = json.loads(event.body)["event"]
    found = pairs(log.attributes)
    assert found == fields
    assert list(found) == list(fields)
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in fields.items()
    }
    assert log.body.string_value == fields.get("risk_message", fields["kind"])


def test_an_event_without_a_message_is_named_by_its_kind() -> None:
    """The exporter drops a record without a body, and says nothing."""
    event = Event(Lane.AUDIT, "1", b'{"time":1,"event":{"kind":"suppressed"}}')
    assert record(event, ATTRIBUTES).log.body.string_value == "suppressed"


def test_neighbours_of_one_resource_stand_together_and_the_order_stays() -> None:
    other = encode(told(OPENED), EventSettings(source="other"))
    batch = [EVENTS[1], EVENTS[2], other, EVENTS[1]]
    made = ExportLogsServiceRequest.FromString(request([record(event, BODY) for event in batch]))
    sources = [pairs(each.resource.attributes)["com.splunk.source"] for each in made.resource_logs]
    counts = [len(each.scope_logs[0].log_records) for each in made.resource_logs]
    assert counts == [2, 1, 1]
    assert sources == [EventSettings().search_name, "other", EventSettings().search_name]


def test_what_the_envelope_leaves_out_the_resource_leaves_out() -> None:
    event = Event(Lane.AUDIT, "1", b'{"time":1.5,"source":"s","event":{"kind":"suppressed"}}')
    assert pairs(record(event, BODY).resource) == {"com.splunk.source": "s"}


def test_a_text_that_looks_like_the_key_is_none() -> None:
    envelope = {"time": 1, "host": '"event":{', "source": '\\"event":', "event": {"kind": '"event": {'}}
    event = Event(Lane.AUDIT, "1", json.dumps(envelope).encode())
    assert json.loads(record(event, BODY).log.body.string_value) == {"kind": '"event": {'}


def test_a_time_keeps_its_nanoseconds() -> None:
    text = '{"time":1795488130.870000253,"event":{"kind":"opened"}}'
    assert record(Event(Lane.RISK, "1", text.encode()), BODY).log.time_unix_nano == 1_795_488_130_870_000_253


@pytest.mark.parametrize("value", [None, {"a": 1}, 1 << 80])
def test_a_value_that_no_field_has_is_refused(value: object) -> None:
    body = json.dumps({"time": 1, "event": {"kind": "opened", "x": value}})
    with pytest.raises(NoEnvelopeError, match="7: want a HEC envelope"):
        record(Event(Lane.RISK, "7", body.encode()), ATTRIBUTES)
