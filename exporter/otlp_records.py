"""From envelopes to an OTLP request for logs. Pure: the same events and settings give the same bytes.

The outbox holds HEC envelopes whatever the sink is. Here they become log records such that the collector's
``splunk_hec`` exporter makes the same envelopes of them again (its translator, ``logs_to_splunk.go``): it
takes ``host.name`` and ``com.splunk.*`` of the resource for ``host``, ``index``, ``source`` and
``sourcetype``, the record's time for ``time`` and its body for ``event``. Each attribute becomes an indexed
field beside the event. So a field must not stand in both: Splunk would show its value twice, and a sum of
scores would count double.

``observed_time_unix_nano`` is not set: it would be a wall-clock value, another at each replay.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from detector.events import Event, Lane
from exporter.settings import Layout

SCOPE: Final = "otel-shell-detector"
EVENT_NAME_PREFIX: Final = "otel_shell_detector."
_RESOURCE: Final[Mapping[str, str]] = {
    "host": "host.name",
    "source": "com.splunk.source",
    "sourcetype": "com.splunk.sourcetype",
    "index": "com.splunk.index",
}
"""Keys of an envelope and the attributes that the exporter makes them of."""
_EVENT: Final = re.compile(r'"event":\s*')
"""The first is the key: in a string, its quotes are escaped."""
_DECODER: Final = json.JSONDecoder(parse_float=Decimal)


class NoEnvelopeError(ValueError):
    """The bytes are not an envelope that a record can be made of."""


@dataclass(frozen=True, slots=True)
class Record:
    """A log record and the attributes of its resource."""

    resource: tuple[KeyValue, ...]
    log: LogRecord


def record(event: Event, layout: Layout) -> Record:
    """The record of an event. Raises :class:`NoEnvelopeError`."""
    try:
        return _record(event, layout)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise NoEnvelopeError(f"{event.event_id}: want a HEC envelope ({error})") from None


def _record(event: Event, layout: Layout) -> Record:
    text = event.body.decode()
    envelope, _ = _DECODER.raw_decode(text)
    key = _EVENT.search(text)
    if key is None:
        raise ValueError("no event")
    fields, end = _DECODER.raw_decode(text, key.end())
    scored = event.lane is Lane.RISK
    log = LogRecord(
        time_unix_nano=int(envelope["time"] * 1_000_000_000),
        severity_number=SeverityNumber.SEVERITY_NUMBER_WARN
        if scored
        else SeverityNumber.SEVERITY_NUMBER_INFO,
        severity_text="WARN" if scored else "INFO",
        event_name=f"{EVENT_NAME_PREFIX}{fields['kind']}",
    )
    if layout is Layout.BODY:
        log.body.string_value = text[key.end() : end]
    else:
        log.body.string_value = fields.get("risk_message") or fields["kind"]
        log.attributes.extend(KeyValue(key=name, value=_value(value)) for name, value in fields.items())
    resource = tuple(
        KeyValue(key=name, value=AnyValue(string_value=envelope[part]))
        for part, name in _RESOURCE.items()
        if part in envelope
    )
    return Record(resource, log)


def _value(value: object) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, Decimal):
        return AnyValue(double_value=float(value))
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
    if isinstance(value, str):
        return AnyValue(string_value=value)
    raise TypeError(f"a {type(value).__name__}")


def request(records: Sequence[Record]) -> bytes:
    """The request with these records, in order; neighbours of one resource stand together."""
    return ExportLogsServiceRequest(
        resource_logs=[
            ResourceLogs(
                resource=Resource(attributes=resource),
                scope_logs=[
                    ScopeLogs(scope=InstrumentationScope(name=SCOPE), log_records=[each.log for each in same])
                ],
            )
            for resource, same in groupby(records, key=lambda each: each.resource)
        ]
    ).SerializeToString(deterministic=True)
