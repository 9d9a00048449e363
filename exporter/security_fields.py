"""What Enterprise Security reads of a scored event: annotations, threat objects, the search for evidence.

The names are those of its risk index. What it would look up for its own searches stands in the event: its
automatic look-ups are bound to the source type of those searches, ``stash``.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from detector.judging.attack import TECHNIQUES, Technique
from exporter.fields import MEDIUM
from exporter.json_text import clip, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from detector.types import Finding
    from exporter.settings import EventSettings

STORIES: Final = ("Abnormal Kubernetes Behavior using Splunk Infrastructure Monitoring",)
DESCRIPTION: Final = "A shell runs on a Kubernetes worker node, as the process metrics of its collector show."
SECURITY_DOMAIN: Final = "threat"
UNKNOWN_USER: Final = "unknown"
"""What Splunk's Common Information Model puts where a user is not known."""
_SECOND_NS: Final = 1_000_000_000
_SESSIONS: Final = 8
"""Of a burst, in the search for its evidence: as many as a person looks at."""


def _known(attack: Sequence[str]) -> list[Technique]:
    return [TECHNIQUES[each] for each in attack if each in TECHNIQUES]


ANNOTATIONS: Final[tuple[tuple[str, str, Callable[[Sequence[str]], Iterable[str]]], ...]] = (
    (
        "annotations.mitre_attack.mitre_technique_id",
        "The same, where Enterprise Security puts what it looks up.",
        lambda attack: attack,
    ),
    (
        "annotations.mitre_attack.mitre_technique",
        "Their names.",
        lambda attack: [each.name for each in _known(attack)],
    ),
    (
        "annotations.mitre_attack.mitre_tactic",
        "The tactics that they serve here.",
        lambda attack: dict.fromkeys(each.tactic for each in _known(attack)),
    ),
    (
        "annotations.mitre_attack.mitre_tactic_id",
        "The ids of these.",
        lambda attack: dict.fromkeys(each.tactic_id for each in _known(attack)),
    ),
    ("annotations.analytic_story", "The analytic stories of the detection.", lambda _: STORIES),
    ("analyticstories", "The same, as the risk index of Enterprise Security has it.", lambda _: STORIES),
)
"""Lists that follow from the techniques. A technique that is not known has an id and nothing else."""


class ThreatType(enum.StrEnum):
    """What a threat object is, in the words of Splunk's own detections."""

    FILE_PATH = "file_path"
    PROCESS_NAME = "process_name"
    PROCESS = "process"
    """A command line."""
    PARENT_PROCESS_NAME = "parent_process_name"


def threats_of(finding: Finding) -> list[tuple[ThreatType, str]]:
    """What to look for elsewhere: the file, the command line, the parent's name."""
    evidence, parent = finding.evidence, finding.context.parent
    path, line = evidence.path, evidence.command_line
    return [
        (ThreatType.FILE_PATH, path) if path else (ThreatType.PROCESS_NAME, finding.shell.name),
        (ThreatType.PROCESS, line.text if line else ""),
        (ThreatType.PARENT_PROCESS_NAME, parent.name if parent else ""),
    ]


def threat_objects(threats: Iterable[tuple[ThreatType, str]], narrow: int) -> str | None:
    """The JSON text of what is known of them, each cut to a budget of its own; ``None`` of none."""
    shown = [text(clip(value, MEDIUM >> narrow)) for _, value in threats if value]
    return f"[{','.join(shown)}]" if shown else None


def threat_types(threats: Iterable[tuple[ThreatType, str]]) -> str | None:
    """The types of these, one for each and in the same order."""
    shown = [text(kind.value) for kind, value in threats if value]
    return f"[{','.join(shown)}]" if shown else None


def evidence_of_session(session_id: str, settings: EventSettings) -> str:
    """The search for all events of a session."""
    return f"{_where(settings)} session_id={_quoted(session_id)}"


def evidence_of_burst(event_id: str, sessions: Sequence[str], settings: EventSettings) -> str:
    """The search for a burst and what was told of its first sessions."""
    listed = ", ".join(_quoted(each) for each in sessions[:_SESSIONS])
    told = f" OR session_id IN ({listed})" if listed else ""
    return f"{_where(settings)} (event_id={_quoted(event_id)}{told})"


def _where(settings: EventSettings) -> str:
    """Where the events of risk and context are; anywhere, if the token decides."""
    names = dict.fromkeys((settings.index, settings.context_index))
    indexes = " OR ".join(f"index={_quoted(name)}" for name in names) if all(names) else "index=*"
    return f"({indexes}) sourcetype={_quoted(settings.sourcetype)}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def after(last_ns: int) -> int:
    """A time that a search up to it, exclusive, needs to find what was last."""
    return last_ns + _SECOND_NS
