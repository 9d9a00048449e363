"""The fields of an event that tells of several openings together, in order."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from detector.events import Lane
from detector.judging.outcomes import Report, ReportKind
from exporter.fields import LONG, MEDIUM, SHORT, Type, items, known
from exporter.json_text import seconds, text
from exporter.security_fields import (
    ANNOTATIONS,
    DESCRIPTION,
    SECURITY_DOMAIN,
    UNKNOWN_USER,
    ThreatType,
    after,
    evidence_of_burst,
    threat_objects,
    threat_types,
)
from exporter.settings import EventSettings

_BURST: Final = frozenset({ReportKind.BURST})
_PREEXISTING: Final = frozenset({ReportKind.PREEXISTING})
_SUPPRESSED: Final = frozenset({ReportKind.SUPPRESSED})
_ALIKE: Final = _BURST | _SUPPRESSED
_OPENINGS: Final = _BURST | _PREEXISTING | _SUPPRESSED
_ALL: Final = frozenset(ReportKind)


@dataclass(frozen=True, slots=True)
class ReportSource:
    """What a field's value is drawn from. ``narrow``: each budget is halved so often."""

    report: Report
    settings: EventSettings
    narrow: int = 0

    def value(self, name: str) -> str | tuple[str, ...]:
        """A value that the report has under that name; empty if it has none."""
        return dict(self.report.fields).get(name, "")

    @property
    def dest(self) -> str:
        """The node, by the name that it has as a risk object."""
        of = self.report.object
        return of.dest or of.name if of else self.report.host

    @property
    def sessions(self) -> tuple[str, ...]:
        """Sessions of the first of the openings."""
        found = self.value("session_ids")
        return (found,) if isinstance(found, str) and found else tuple(found)

    @property
    def message(self) -> str:
        """The risk message of this event."""
        return self.settings.message.replace("$host$", self.dest)


@dataclass(frozen=True, slots=True)
class ReportField:
    """A field of a report, as :class:`exporter.fields.Field` is one of a finding."""

    name: str
    type: Type
    meaning: str
    value: Callable[[ReportSource], str | None]
    kinds: frozenset[ReportKind] = _ALL
    always: bool = False
    scored: bool = False
    one_of: tuple[str, ...] = ()

    def is_of(self, source: ReportSource) -> bool:
        """Whether such an event may have it."""
        return source.report.kind in self.kinds and (not self.scored or source.report.lane is Lane.RISK)


def _string(
    name: str,
    meaning: str,
    value: Callable[[ReportSource], str],
    budget: int,
    kinds: frozenset[ReportKind] = _ALL,
) -> ReportField:
    return ReportField(
        name, Type.STRING, meaning, lambda source: known(value(source), budget >> source.narrow), kinds
    )


def _of_all(name: str, meaning: str, kinds: frozenset[ReportKind], budget: int = MEDIUM) -> ReportField:
    """What the openings have in common, or one of them as an example."""
    return _string(name, meaning, lambda source: str(source.value(name)), budget, kinds)


def _list(name: str, meaning: str, kinds: frozenset[ReportKind]) -> ReportField:
    def shown(source: ReportSource) -> str | None:
        found = source.value(name)
        values = (found,) if isinstance(found, str) and found else found
        return items(values, 2 * LONG >> source.narrow)

    return ReportField(name, Type.STRINGS, meaning, shown, kinds)


def _risk(name: str, meaning: str, value: Callable[[ReportSource], str | None]) -> ReportField:
    kind = Type.INTEGER if name.endswith("_score") else Type.STRING
    return ReportField(name, kind, meaning, value, _BURST)


def _scored(name: str, kind: Type, meaning: str, value: Callable[[ReportSource], str | None]) -> ReportField:
    """What Enterprise Security reads of a burst with a score."""
    return ReportField(name, kind, meaning, value, _BURST, always=kind is not Type.STRINGS, scored=True)


def _of_attack(values: Callable[[Sequence[str]], Iterable[str]]) -> Callable[[ReportSource], str | None]:
    return lambda source: items(values(source.report.attack), LONG >> source.narrow)


def _threats(source: ReportSource) -> list[tuple[ThreatType, str]]:
    return [(kind, str(source.value(name))) for kind, name in _THREATS]


_THREATS: Final = (
    (ThreatType.PROCESS_NAME, "process.executable.name"),
    (ThreatType.PROCESS, "process.command_line"),
    (ThreatType.PARENT_PROCESS_NAME, "process.parent.executable.name"),
)


REPORT_FIELDS: Final = (
    ReportField(
        "event_id",
        Type.STRING,
        "The same fact carries the same id.",
        lambda s: text(s.report.event_id),
        always=True,
    ),
    ReportField(
        "kind",
        Type.STRING,
        "What the event tells.",
        lambda s: text(s.report.kind.value),
        always=True,
        one_of=tuple(ReportKind),
    ),
    _risk(
        "risk_object",
        "That of the highest of the openings.",
        lambda s: known(s.report.object.name, LONG >> s.narrow) if s.report.object else None,
    ),
    _risk(
        "risk_object_type",
        "system for a node, else other.",
        lambda s: text(s.report.object.type) if s.report.object else None,
    ),
    _risk(
        "dest",
        "The node, by the name that it has as a risk object.",
        lambda s: known(s.dest, MEDIUM >> s.narrow),
    ),
    ReportField(
        "risk_score",
        Type.INTEGER,
        "The score of one opening, not times their number. 0 in the context and audit indexes.",
        lambda s: str(s.report.score),
        always=True,
    ),
    _risk(
        "risk_message",
        "risk.message with $host$ filled in.",
        lambda s: known(s.message, LONG >> s.narrow),
    ),
    _string(
        "search_name",
        "The name of the detection, as its scheduled search would be called.",
        lambda s: s.settings.search_name,
        LONG,
    ),
    ReportField(
        "rules",
        Type.STRINGS,
        "The detections that this event stands for.",
        lambda s: items(s.report.rules, LONG >> s.narrow),
        _BURST,
    ),
    ReportField(
        "annotations.mitre_attack",
        Type.STRINGS,
        "Techniques of MITRE ATT&CK.",
        lambda s: items(s.report.attack, MEDIUM >> s.narrow),
        _BURST,
    ),
    *(_scored(name, Type.STRINGS, meaning, _of_attack(of)) for name, meaning, of in ANNOTATIONS),
    _scored("savedsearch_description", Type.STRING, "What the detection finds.", lambda _: text(DESCRIPTION)),
    _scored("security_domain", Type.STRING, "Of Enterprise Security.", lambda _: text(SECURITY_DOMAIN)),
    _scored(
        "user",
        Type.STRING,
        f"{UNKNOWN_USER}: a burst stands for shells of any owner.",
        lambda _: text(UNKNOWN_USER),
    ),
    _risk(
        "capped_score",
        "The score that risk.max_per_object took away.",
        lambda s: None if s.report.capped_score is None else str(s.report.capped_score),
    ),
    _of_all("policy.rule", "The rule that suppressed them.", _SUPPRESSED, SHORT),
    ReportField(
        "count",
        Type.INTEGER,
        "How many openings it tells of.",
        lambda s: str(s.report.count),
        _OPENINGS,
        always=True,
    ),
    ReportField(
        "first_seen",
        Type.TIME,
        "The first of them; the last scrape of a node before it fell silent.",
        lambda s: seconds(s.report.first_ns),
        always=True,
    ),
    ReportField(
        "last_seen",
        Type.TIME,
        "The last of them; the first scrape of a node that came back.",
        lambda s: seconds(s.report.last_ns),
        _OPENINGS | frozenset({ReportKind.NODE_RETURNED}),
        always=True,
    ),
    ReportField(
        "orig_time",
        Type.TIME,
        "The time of the event, as in the envelope.",
        lambda s: seconds(s.report.time_ns),
        always=True,
    ),
    _scored(
        "info_min_time",
        Type.TIME,
        "first_seen: where a search for the evidence begins.",
        lambda s: seconds(s.report.first_ns),
    ),
    _scored(
        "info_max_time",
        Type.TIME,
        "A second after last_seen: where it ends, exclusive.",
        lambda s: seconds(after(s.report.last_ns)),
    ),
    _scored(
        "contributing_events_search",
        Type.STRING,
        "The search for this event and what was told of its first sessions.",
        lambda s: known(evidence_of_burst(s.report.event_id, s.sessions, s.settings), 2 * LONG),
    ),
    _string("k8s.cluster.name", "The cluster.", lambda s: s.report.cluster, MEDIUM),
    _string(
        "k8s.node.name",
        "The worker node, if all were on one.",
        lambda s: s.report.node.node if s.report.node else "",
        MEDIUM,
    ),
    _of_all("workload", "Their workload: namespace/name.", _ALIKE),
    _of_all("systemd.unit", "Their unit.", _ALIKE),
    _of_all("shell.placement", "host, pod or unknown.", _ALIKE, SHORT),
    _of_all("process.executable.name", "Their name.", _ALIKE),
    _of_all("process.parent.executable.name", "Their parent's name.", _ALIKE),
    _of_all("process.command_template", "What their command lines have in common.", _ALIKE, SHORT),
    _list("nodes", "Nodes of the first of them.", _BURST),
    _list("workloads", "Workloads or units of the first of them.", _PREEXISTING),
    _list("process.executable.names", "Names of the first of them.", _PREEXISTING),
    _list("process.pids", "Pids of the first of them.", _BURST | _PREEXISTING),
    _list("session_ids", "Sessions of the first of them.", _OPENINGS),
    _scored(
        "threat_object",
        Type.STRINGS,
        "What to look for elsewhere: the name, the command line of one of them, the parent's name.",
        lambda s: threat_objects(_threats(s), s.narrow),
    ),
    _scored(
        "threat_object_type",
        Type.STRINGS,
        f"What each of these is: {', '.join(kind for kind, _ in _THREATS)}.",
        lambda s: threat_types(_threats(s)),
    ),
    _of_all("process.command_line", "The command line of one of them.", _ALIKE, LONG),
)
"""In the order of the event: what is scored first, what an attacker can write last."""
