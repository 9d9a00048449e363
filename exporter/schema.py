"""The fields of an event, declared once: the encoder's order and ``docs/events.md`` both come from here.

Names of attributes are OpenTelemetry's, as in Splunk's search; names of risk fields are Enterprise Security's
("Risk framework in Splunk ES": ``risk_object``, ``risk_score``, ...). No field is called like a key of the
envelope: Splunk would show two values.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from detector.types import CloseReason, CommandLine, Finding, Kind
from exporter.context_fields import CONTEXT_FIELDS, SCORING_FIELDS
from exporter.fields import (
    CLOSINGS,
    LONG,
    MEDIUM,
    Field,
    Source,
    Type,
    always,
    boolean,
    choice,
    count,
    maybe_count,
    mean,
    name_of,
    of_command_line,
    scored,
    string,
    strings,
    time,
)
from exporter.json_text import clip, flag, seconds, text
from exporter.security_fields import (
    ANNOTATIONS,
    DESCRIPTION,
    SECURITY_DOMAIN,
    UNKNOWN_USER,
    ThreatType,
    evidence_of_session,
    threat_objects,
    threat_types,
    threats_of,
)


def _start(source: Source) -> str | None:
    start_ns = source.finding.evidence.start_ns or source.finding.shell.start_ns
    return seconds(start_ns) if start_ns else None


def _window_start(finding: Finding) -> int:
    return finding.span.window_start_ns


def _window_end(finding: Finding) -> int:
    return finding.span.window_end_ns


def _of_attack(values: Callable[[Sequence[str]], Iterable[str]]) -> Callable[[Source], Iterable[str]]:
    return lambda source: values(source.verdict.attack)


FIELDS: Final = (
    always(
        name_of(
            "event_id",
            "The same fact carries the same id, however often it is told; deduplicate by it.",
            lambda s: s.finding.event_id,
        )
    ),
    always(
        name_of(
            "session_id",
            "What all events of one shell share (of one incarnation of it).",
            lambda s: s.finding.session_id,
        )
    ),
    always(choice("kind", "What the event tells.", lambda s: s.finding.kind, Kind)),
    string(
        "risk_object",
        "What is at risk: the node (risk.host_field), or the workload or pod (risk.pod_object).",
        lambda s: s.verdict.object.name,
        LONG,
    ),
    name_of("risk_object_type", "system for a node, else other.", lambda s: s.verdict.object.type),
    string("dest", "The node, by the name that it has as a risk object.", lambda s: s.node, MEDIUM),
    scored(
        always(
            string(
                "user",
                f"process.owner again; {UNKNOWN_USER} if the collector cannot name it.",
                lambda s: s.finding.evidence.owner or UNKNOWN_USER,
                MEDIUM,
            )
        )
    ),
    count(
        "risk_score",
        "What this event adds to the risk of the object. 0 in the context index.",
        lambda s: s.verdict.score,
    ),
    string("risk_message", "risk.message with $host$ filled in.", lambda s: s.message, LONG),
    string(
        "search_name",
        "The name of the detection, as its scheduled search would be called.",
        lambda s: s.settings.search_name,
        LONG,
    ),
    strings("rules", "The detections that this event stands for.", lambda s: s.verdict.rules, LONG),
    strings("annotations.mitre_attack", "Techniques of MITRE ATT&CK.", lambda s: s.verdict.attack, MEDIUM),
    *(scored(strings(name, meaning, _of_attack(of), LONG)) for name, meaning, of in ANNOTATIONS),
    scored(always(name_of("savedsearch_description", "What the detection finds.", lambda _: DESCRIPTION))),
    scored(always(name_of("security_domain", "Of Enterprise Security.", lambda _: SECURITY_DOMAIN))),
    count("impact", "Impact of the detection, 0 to 100.", lambda s: s.settings.impact),
    count("confidence", "Confidence of the detection, 0 to 100.", lambda s: s.settings.confidence),
    *SCORING_FIELDS,
    string("host.name", "The host, as the collector names it.", lambda s: s.finding.shell.host, MEDIUM),
    string(
        "k8s.cluster.name",
        "The cluster; unknown if nobody says.",
        lambda s: s.finding.shell.node.cluster,
        MEDIUM,
    ),
    string("k8s.node.name", "The worker node.", lambda s: s.finding.shell.node.node, MEDIUM),
    count("process.pid", "The process id, as the collector sees it.", lambda s: s.finding.shell.pid),
    maybe_count("process.parent_pid", "The parent's process id.", lambda s: s.finding.evidence.parent_pid),
    Field("process.start_time", Type.TIME, "When the process was created, by the earliest sample.", _start),
    string(
        "process.executable.name",
        "The name that was watched for (comm).",
        lambda s: s.finding.shell.name,
        MEDIUM,
    ),
    string("process.executable.path", "The file that runs.", lambda s: s.finding.evidence.path, LONG),
    string(
        "process.owner", "The user, if the collector can name it.", lambda s: s.finding.evidence.owner, MEDIUM
    ),
    mean(
        "process.cpu.utilization",
        "Mean over data points, states included, as Splunk's avg(): 0 to 1.",
        lambda f: f.span.cpu,
    ),
    mean(
        "process.cpu.utilization.total",
        "Mean of the sum of the states: 1 is one busy core.",
        lambda f: f.span.cpu_total,
    ),
    mean("process.memory.utilization", "Mean share of the node's memory, 0 to 100.", lambda f: f.span.memory),
    count("windows", "How many windows the means are over.", lambda s: s.finding.span.windows),
    time("window_start", "Start of the first of these windows.", _window_start),
    time("window_end", "End of the last, exclusive.", _window_end),
    time("first_seen", "The session's first sample with a positive value.", lambda f: f.first_seen_ns),
    time("last_seen", "Its last one so far.", lambda f: f.last_seen_ns),
    time("orig_time", "The time of the event, as in the envelope.", lambda f: f.envelope_ns),
    scored(time("info_min_time", "window_start: where a search for the evidence begins.", _window_start)),
    scored(time("info_max_time", "window_end: where it ends, exclusive.", _window_end)),
    scored(
        always(
            name_of(
                "contributing_events_search",
                "The search for all events of this session.",
                lambda s: evidence_of_session(s.finding.session_id, s.settings),
            )
        )
    ),
    count(
        "incarnation", "How often the session resumed after it had closed.", lambda s: s.finding.incarnation
    ),
    always(boolean("resumed", "Whether it resumed: incarnation > 0.", lambda s: s.finding.incarnation > 0)),
    count("ordinal", "Counts the ongoing events of an incarnation.", lambda s: s.finding.ordinal),
    always(
        boolean(
            "partial",
            "Whether the means are of a window that was still open (detector.emit: early).",
            lambda s: s.finding.partial,
        )
    ),
    choice("close_reason", "Why the session closed.", lambda s: s.finding.reason, CloseReason, CLOSINGS),
    always(
        Field(
            "duration",
            Type.DURATION,
            "last_seen - first_seen.",
            lambda s: seconds(s.finding.last_seen_ns - s.finding.first_seen_ns),
            CLOSINGS,
        )
    ),
    *CONTEXT_FIELDS,
    scored(
        Field(
            "threat_object",
            Type.STRINGS,
            "What to look for elsewhere: the file (else the name), the command line, the parent's name.",
            lambda s: threat_objects(threats_of(s.finding), s.narrow),
        )
    ),
    scored(
        Field(
            "threat_object_type",
            Type.STRINGS,
            f"What each of these is: {', '.join(ThreatType)}.",
            lambda s: threat_types(threats_of(s.finding)),
        )
    ),
    Field(
        "process.command_line.length",
        Type.INTEGER,
        "Bytes of the whole command line after redaction.",
        of_command_line(lambda c: str(c.length)),
    ),
    Field(
        "process.command_line.truncated",
        Type.BOOLEAN,
        "Whether what follows is less than the whole.",
        of_command_line(lambda c: flag(value=c.truncated)),
    ),
    Field(
        "process.command_line.sha256",
        Type.STRING,
        "SHA-256 of the whole, after redaction; only if it was cut.",
        of_command_line(lambda c: text(c.sha256) if c.sha256 else None),
    ),
    Field(
        "process.command_line",
        Type.STRING,
        "The command line, redacted, at most 2 KiB.",
        of_command_line(lambda c: text(c.text)),
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
