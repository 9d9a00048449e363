"""The fields of an event, declared once: the encoder's order and ``docs/events.md`` both come from here.

Names of attributes are OpenTelemetry's, as in Splunk's search; names of risk fields are Enterprise Security's
("Risk framework in Splunk ES": ``risk_object``, ``risk_score``, ...). No field is called like a key of the
envelope: Splunk would show two values.
"""

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from detector.types import CloseReason, CommandLine, Finding, Kind
from exporter.json_text import clip, flag, number, seconds, text
from exporter.settings import EventSettings

_ALL: Final = frozenset(Kind)
_CLOSED: Final = frozenset({Kind.CLOSED})

SHORT: Final = 128
MEDIUM: Final = 256
LONG: Final = 512
"""Budgets of a text field, in bytes of JSON with its quotes. With them an event without its command line
stays under 6 KiB.
"""


class Type(enum.StrEnum):
    """The JSON type of a field."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    TIME = "time"
    """A number: seconds since the epoch with three to nine decimals."""
    DURATION = "duration"
    """A number of seconds with three to nine decimals."""
    BOOLEAN = "boolean"
    STRINGS = "list of strings"


@dataclass(frozen=True, slots=True)
class Source:
    """What a field's value is drawn from. ``command_line`` is already cut to what is left of the event."""

    finding: Finding
    settings: EventSettings
    command_line: CommandLine | None = None

    @property
    def host(self) -> str:
        """host.name; the node's name if the collector sent none."""
        return self.finding.shell.host or self.finding.shell.node.node

    @property
    def risk_object(self) -> str:
        """The system that the risk is attributed to."""
        node = self.finding.shell.node.node
        return node if self.settings.risk_object_field == "k8s.node.name" else self.host


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the event.

    ``value`` gives its JSON text, or ``None`` to leave it out: what is unknown has no field.
    """

    name: str
    type: Type
    meaning: str
    value: Callable[[Source], str | None]
    kinds: frozenset[Kind] = _ALL


def _known(value: str, budget: int) -> str | None:
    return text(clip(value, budget)) if value else None


def _start(source: Source) -> str | None:
    start_ns = source.finding.evidence.start_ns or source.finding.shell.start_ns
    return seconds(start_ns) if start_ns else None


def _of_command_line(value: Callable[[CommandLine], str | None]) -> Callable[[Source], str | None]:
    return lambda source: None if source.command_line is None else value(source.command_line)


def _string(name: str, meaning: str, value: Callable[[Source], str], budget: int) -> Field:
    return Field(name, Type.STRING, meaning, lambda source: _known(value(source), budget))


def _time(name: str, meaning: str, value: Callable[[Finding], int]) -> Field:
    return Field(name, Type.TIME, meaning, lambda source: seconds(value(source.finding)))


def _count(name: str, meaning: str, value: Callable[[Source], int]) -> Field:
    return Field(name, Type.INTEGER, meaning, lambda source: str(value(source)))


def _mean(name: str, meaning: str, value: Callable[[Finding], float | None]) -> Field:
    return Field(name, Type.NUMBER, meaning, lambda source: number(value(source.finding)))


def _boolean(name: str, meaning: str, value: Callable[[Finding], bool]) -> Field:
    return Field(name, Type.BOOLEAN, meaning, lambda source: flag(value=value(source.finding)))


FIELDS: Final = (
    _string(
        "event_id",
        "The same fact carries the same id, however often it is told; deduplicate by it.",
        lambda s: s.finding.event_id,
        SHORT,
    ),
    _string(
        "session_id",
        "What all events of one shell share (of one incarnation of it).",
        lambda s: s.finding.session_id,
        SHORT,
    ),
    _string("kind", "opened, ongoing or closed.", lambda s: s.finding.kind.value, SHORT),
    _string(
        "risk_object",
        "The system at risk: host.name, or k8s.node.name if so configured.",
        lambda s: s.risk_object,
        MEDIUM,
    ),
    _string("risk_object_type", "Always system.", lambda _: "system", SHORT),
    _count(
        "risk_score",
        "What this event adds to the risk of the system. 0 in the context index.",
        lambda s: s.finding.score,
    ),
    _string(
        "risk_message",
        "risk.message with $host$ filled in.",
        lambda s: s.settings.message.replace("$host$", s.risk_object),
        LONG,
    ),
    _string(
        "search_name",
        "The name of the detection, as its scheduled search would be called.",
        lambda s: s.settings.search_name,
        LONG,
    ),
    Field(
        "annotations.mitre_attack",
        Type.STRINGS,
        "Techniques of MITRE ATT&CK.",
        lambda s: f"[{','.join(map(text, s.settings.mitre_attack))}]",
    ),
    _count("impact", "Impact of the detection, 0 to 100.", lambda s: s.settings.impact),
    _count("confidence", "Confidence of the detection, 0 to 100.", lambda s: s.settings.confidence),
    _string("host.name", "The host, as the collector names it.", lambda s: s.finding.shell.host, MEDIUM),
    _string(
        "k8s.cluster.name",
        "The cluster; unknown if nobody says.",
        lambda s: s.finding.shell.node.cluster,
        MEDIUM,
    ),
    _string("k8s.node.name", "The worker node.", lambda s: s.finding.shell.node.node, MEDIUM),
    _count("process.pid", "The process id, as the collector sees it.", lambda s: s.finding.shell.pid),
    Field(
        "process.parent_pid",
        Type.INTEGER,
        "The parent's process id.",
        lambda s: None if s.finding.evidence.parent_pid is None else str(s.finding.evidence.parent_pid),
    ),
    Field("process.start_time", Type.TIME, "When the process was created, by the earliest sample.", _start),
    _string(
        "process.executable.name",
        "The name that was watched for (comm).",
        lambda s: s.finding.shell.name,
        MEDIUM,
    ),
    _string("process.executable.path", "The file that runs.", lambda s: s.finding.evidence.path, LONG),
    _string(
        "process.owner", "The user, if the collector can name it.", lambda s: s.finding.evidence.owner, MEDIUM
    ),
    _mean(
        "process.cpu.utilization",
        "Mean over data points, states included, as Splunk's avg(): 0 to 1.",
        lambda f: f.span.cpu,
    ),
    _mean(
        "process.cpu.utilization.total",
        "Mean of the sum of the states: 1 is one busy core.",
        lambda f: f.span.cpu_total,
    ),
    _mean(
        "process.memory.utilization", "Mean share of the node's memory, 0 to 100.", lambda f: f.span.memory
    ),
    _count("windows", "How many windows the means are over.", lambda s: s.finding.span.windows),
    _time("window_start", "Start of the first of these windows.", lambda f: f.span.window_start_ns),
    _time("window_end", "End of the last, exclusive.", lambda f: f.span.window_end_ns),
    _time("first_seen", "The session's first sample with a positive value.", lambda f: f.first_seen_ns),
    _time("last_seen", "Its last one so far.", lambda f: f.last_seen_ns),
    _time("orig_time", "The time of the event, as in the envelope.", lambda f: f.envelope_ns),
    _count(
        "incarnation", "How often the session resumed after it had closed.", lambda s: s.finding.incarnation
    ),
    _boolean("resumed", "Whether it resumed: incarnation > 0.", lambda f: f.incarnation > 0),
    _count("ordinal", "Counts the ongoing events of an incarnation.", lambda s: s.finding.ordinal),
    _boolean(
        "partial",
        "Whether the means are of a window that was still open (detector.emit: early).",
        lambda f: f.partial,
    ),
    Field(
        "close_reason",
        Type.STRING,
        f"Why the session closed: {', '.join(CloseReason)}.",
        lambda s: text(s.finding.reason.value) if s.finding.reason else None,
        _CLOSED,
    ),
    Field(
        "duration",
        Type.DURATION,
        "last_seen - first_seen.",
        lambda s: seconds(s.finding.last_seen_ns - s.finding.first_seen_ns),
        _CLOSED,
    ),
    Field(
        "process.command_line.length",
        Type.INTEGER,
        "Bytes of the whole command line after redaction.",
        _of_command_line(lambda c: str(c.length)),
    ),
    Field(
        "process.command_line.truncated",
        Type.BOOLEAN,
        "Whether what follows is less than the whole.",
        _of_command_line(lambda c: flag(value=c.truncated)),
    ),
    Field(
        "process.command_line.sha256",
        Type.STRING,
        "SHA-256 of the whole, after redaction; only if it was cut.",
        _of_command_line(lambda c: text(c.sha256) if c.sha256 else None),
    ),
    Field(
        "process.command_line",
        Type.STRING,
        "The command line, redacted, at most 2 KiB.",
        _of_command_line(lambda c: text(c.text)),
    ),
)
"""In the order of the event: risk fields first, what the attacker can write last."""


def cut(line: CommandLine, budget: int) -> CommandLine:
    """The command line such that its JSON text has at most ``budget`` bytes, quotes included."""
    shown = clip(line.text, budget, mark="")
    if len(shown) == len(line.text):
        return line
    whole = line.sha256 or hashlib.sha256(line.text.encode("utf-8", "backslashreplace")).hexdigest()
    return CommandLine(shown, line.length, whole)
