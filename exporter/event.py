"""From a telling to bytes: an envelope of Splunk's "Format events for HTTP Event Collector". Pure.

The same telling and settings give the same bytes: keys in the order of :mod:`exporter.schema`, numbers as
exact text, no clock. The bytes are UTF-8; characters that a terminal or a line-oriented reader would obey are
escaped.
"""

from collections.abc import Callable
from typing import Final

from detector.events import Event, Lane
from detector.judging.outcomes import Report, Telling, Told
from detector.types import CommandLine
from exporter.fields import LONG, MEDIUM, Source
from exporter.json_text import clip, seconds, text
from exporter.probe_fields import PROBE_FIELDS, ProbeSource
from exporter.report_fields import REPORT_FIELDS, ReportSource
from exporter.schema import FIELDS, cut
from exporter.settings import EventSettings

SIZE_LIMIT_BYTES: Final = 8192
"""Of a body. Splunk's own limit on an event is 10,000 bytes (``TRUNCATE`` in props.conf): beyond it JSON is
cut open.
"""
_LEFT_FOR_COMMAND_LINE: Final = 2050
"""At least: 2 KiB and its quotes."""
_NARROWEST: Final = 6
"""Then the longest budget is 8 bytes, and what is left are names of fields and numbers."""


def encode(telling: Telling, settings: EventSettings) -> Event:
    """The event of a telling: at most ``SIZE_LIMIT_BYTES``, whatever its texts hold.

    Long texts are cut, marked by an ellipsis, and all of them shorter if they are too many. The command line
    gets what the others leave, at least 2 KiB of JSON, and says itself that it was cut.
    """
    if isinstance(telling, Report):
        return _of_report(telling, settings)
    return _of_finding(telling, settings)


def encode_probe(source: ProbeSource) -> Event:
    """A test event: marked, small, and in an envelope like any other's."""
    inner = [f"{text(field.name)}:{field.value(source)}" for field in PROBE_FIELDS]
    body = _envelope(source.time_ns, source.host, source.settings, source.lane, inner)
    return Event(source.lane, source.event_id, body)


def _of_finding(told: Told, settings: EventSettings) -> Event:
    finding, lane = told.finding, told.verdict.lane
    line = finding.evidence.command_line
    stand_in = None if line is None else CommandLine("", line.length, "0" * 64)
    narrow, body = _fitted(
        lambda narrow: _finding_body(Source(told, settings, stand_in, narrow)),
        SIZE_LIMIT_BYTES - _LEFT_FOR_COMMAND_LINE,
    )
    if line is not None:
        line = cut(line, SIZE_LIMIT_BYTES - len(body) + len(text("")))
        body = _finding_body(Source(told, settings, line, narrow))
    return Event(lane, finding.event_id, body, finding.arrived_ns)


def _finding_body(source: Source) -> bytes:
    inner = [
        f"{text(field.name)}:{value}"
        for field in FIELDS
        if field.is_of(source) and (value := field.value(source)) is not None
    ]
    return _envelope(source.finding.envelope_ns, source.host, source.settings, source.verdict.lane, inner)


def _of_report(report: Report, settings: EventSettings) -> Event:
    _, body = _fitted(lambda narrow: _report_body(ReportSource(report, settings, narrow)), SIZE_LIMIT_BYTES)
    return Event(report.lane, report.event_id, body)


def _report_body(source: ReportSource) -> bytes:
    report = source.report
    inner = [
        f"{text(field.name)}:{value}"
        for field in REPORT_FIELDS
        if field.is_of(source) and (value := field.value(source)) is not None
    ]
    return _envelope(report.time_ns, report.host, source.settings, report.lane, inner)


def _fitted(make: Callable[[int], bytes], limit: int) -> tuple[int, bytes]:
    """The widest body of at most ``limit`` bytes, and how often its budgets are halved."""
    narrow, body = 0, make(0)
    while len(body) > limit and narrow < _NARROWEST:
        narrow += 1
        body = make(narrow)
    return narrow, body


def _envelope(time_ns: int, host: str, settings: EventSettings, lane: Lane, inner: list[str]) -> bytes:
    envelope = [f'"time":{seconds(time_ns)}']
    if host:
        envelope.append(f'"host":{text(clip(host, MEDIUM))}')
    envelope.append(f'"source":{text(clip(settings.source or settings.search_name, LONG))}')
    envelope.append(f'"sourcetype":{text(settings.sourcetype)}')
    if index := settings.index_of(lane):
        envelope.append(f'"index":{text(index)}')
    envelope.append(f'"event":{{{",".join(inner)}}}')
    return f"{{{','.join(envelope)}}}".encode()
