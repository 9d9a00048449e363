"""From a finding to bytes: an envelope of Splunk's "Format events for HTTP Event Collector". Pure.

The same finding and settings give the same bytes: keys in the order of :mod:`exporter.schema`, numbers as
exact text, no clock. The bytes are UTF-8; characters that a terminal or a line-oriented reader would obey are
escaped.
"""

from typing import Final

from detector.events import Event, Lane
from detector.types import CommandLine, Finding
from exporter.json_text import clip, seconds, text
from exporter.schema import FIELDS, LONG, MEDIUM, Source, cut
from exporter.settings import EventSettings

SIZE_LIMIT_BYTES: Final = 8192
"""Of a body. Splunk's own limit on an event is 10,000 bytes (``TRUNCATE`` in props.conf): beyond it JSON is
cut open.
"""


def encode(finding: Finding, settings: EventSettings) -> Event:
    """The event of a finding: at most ``SIZE_LIMIT_BYTES``, whatever its texts hold.

    What scores goes to the risk lane, the rest is context. Long texts are cut, marked by an ellipsis; the
    command line gets what the others leave, at least 2 KiB of JSON, and says itself that it was cut.
    """
    lane = Lane.RISK if finding.score > 0 else Lane.CONTEXT
    line = finding.evidence.command_line
    body = _body(
        Source(finding, settings, None if line is None else CommandLine("", line.length, "0" * 64)), lane
    )
    if line is not None:
        line = cut(line, SIZE_LIMIT_BYTES - len(body) + len(text("")))
        body = _body(Source(finding, settings, line), lane)
    return Event(lane, finding.event_id, body, finding.arrived_ns)


def _body(source: Source, lane: Lane) -> bytes:
    finding, settings = source.finding, source.settings
    inner = [
        f"{text(field.name)}:{value}"
        for field in FIELDS
        if finding.kind in field.kinds and (value := field.value(source)) is not None
    ]
    envelope = [f'"time":{seconds(finding.envelope_ns)}']
    if source.host:
        envelope.append(f'"host":{text(clip(source.host, MEDIUM))}')
    envelope.append(f'"source":{text(clip(settings.source or settings.search_name, LONG))}')
    envelope.append(f'"sourcetype":{text(settings.sourcetype)}')
    if index := settings.index_of(lane):
        envelope.append(f'"index":{text(index)}')
    envelope.append(f'"event":{{{",".join(inner)}}}')
    return f"{{{','.join(envelope)}}}".encode()
