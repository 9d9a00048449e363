"""What a judgement says: tellings in order of output, notes to be written, and counts."""

from __future__ import annotations

import enum
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from detector.identity import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from detector.events import Lane
    from detector.judging.notes import Note, Tombstone
    from detector.judging.objects import RiskObject
    from detector.policy import Rule
    from detector.types import Finding, NodeId


Policy: TypeAlias = "Callable[[Mapping[str, str], int], Rule | None]"
"""The rule that decides on a shell with these fields at a wall time: :meth:`detector.policy.Policy.judge`."""


class Counted(enum.StrEnum):
    """What a judgement counts."""

    TOLD = "told"
    """Openings that became an event of their own."""
    SUMMARISED = "summarised"
    """Of these: preexisting shells that are counted in their node's summary."""
    FOLDED = "folded"
    """Openings that are counted in a burst."""
    SUPPRESSED = "suppressed"
    """Openings that are counted by the rule that suppressed them."""
    RELEASED = "released"
    """Suppressed before, judged anew because the policy changed, and counted above once more."""
    STILL_SUPPRESSED = "still_suppressed"
    """The same, but a rule suppresses them still."""
    REPEATED = "repeated"
    """Openings that are counted in a burst already. Changed nothing."""
    SILENT = "silent"
    """Later findings of sessions whose opening was not told. Not told either."""
    CAPPED = "capped"
    """Scores that exceeded what a risk object may score in a period."""
    SPENT = "spent"
    """Scores that were lowered because the identity had scored before."""


class ReportKind(enum.StrEnum):
    """What a report is about."""

    BURST = "burst"
    PREEXISTING = "preexisting"
    SUPPRESSED = "suppressed"
    NODE_SILENT = "node_silent"
    NODE_RETURNED = "node_returned"


FieldValue: TypeAlias = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a finding is told.

    ``graded`` is what the row ``graded_by`` of the profile gives, ``asked`` is that or what a rule of the
    policy says, less if the same has scored already (``repeated``). ``score`` is what came of it: less by
    what the identity had scored before, and 0 with what was left in ``capped_score`` if the risk object may
    not score it. ``rule`` is the rule of the policy that applied, and ``annotations`` are fields of the event
    that it adds. ``rules`` are the names of the detections that the event stands for. ``novel`` ``None``:
    that cannot be told, or it is no opening.
    """

    lane: Lane
    score: int
    object: RiskObject
    attack: tuple[str, ...]
    rules: tuple[str, ...]
    graded: int = 0
    graded_by: str = ""
    asked: int = 0
    rule: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    novel: bool | None = None
    preexisting_summary: bool = False
    repeated: bool = False
    capped_score: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A finding that is told. Its score and ``context.preexisting`` are the verdict's."""

    finding: Finding
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """An event about openings that were not told, or not told in full, one by one.

    ``count`` of them, from ``first_ns`` to ``last_ns`` (event time); the last is the time of the event.
    ``node`` is ``None`` if they are of several. ``host`` is that of the last one.
    """

    kind: ReportKind
    event_id: str
    lane: Lane
    cluster: str
    node: NodeId | None
    host: str
    count: int
    first_ns: int
    last_ns: int
    fields: tuple[tuple[str, FieldValue], ...]
    score: int = 0
    capped_score: int | None = None
    object: RiskObject | None = None
    attack: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def time_ns(self) -> int:
        """Event time of the report."""
        return self.last_ns


Telling: TypeAlias = Told | Report


@dataclass(frozen=True, slots=True)
class Judgement:
    """To be stored as one: the tellings, in order, and the notes that follow from them."""

    tellings: tuple[Telling, ...] = ()
    notes: tuple[Note | Tombstone, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def report_id(store_id: str, kind: ReportKind, key: str, since_ns: int, *more: str) -> str:
    """The UUID (version 5) of a report: of a note, by its key, since a service time."""
    parts = (store_id, kind.value, key, since_ns, *more)
    return str(uuid.uuid5(NAMESPACE, json.dumps(parts, ensure_ascii=True)))
