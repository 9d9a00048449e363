"""A desk for the judge: shells that open and close, a store that keeps notes, and no clock."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from detector.context import Cgroup, Context, Invocation, Mode, Origin, Placement, Process
from detector.judging.judge import Judge
from detector.judging.notes import Note, Tombstone
from detector.judging.outcomes import Judgement, Report, Told
from detector.judging.rules import JudgeRules
from detector.policy import Action, Rule
from detector.types import (
    CloseReason,
    CommandLine,
    Evidence,
    Finding,
    Kind,
    NodeId,
    ShellId,
    Span,
)
from tests.detector.world import ns, service

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NODE = NodeId("prod", "worker-1")
DAY = 86_400
WATCHED_SINCE = -2 * DAY
"""Event time of the first scrape of the nodes: their baseline is over at 0."""


def context(
    placement: Placement = Placement.HOST,
    mode: Mode = Mode.COMMAND,
    origin: Origin = Origin.CHILD,
    *,
    unit: str = "",
    pod_uid: str = "",
    labels: tuple[tuple[str, str], ...] = (),
    parent: str = "cron",
    template: str = "5ca1ab1e",
    hint: str = "",
) -> Context:
    return Context(
        cgroup=Cgroup(placement, "test", pod_uid=pod_uid, unit=unit),
        invocation=Invocation(mode, "true", template),
        labels=labels,
        parent=Process(1, ns(-9000), parent) if parent else None,
        origin=origin,
        escape_hint=hint,
    )


def opened(  # a shell has as many sides
    at: float,
    of: Context,
    *,
    pid: int = 23,
    start: float | None = None,
    node: NodeId = NODE,
    name: str = "sh",
    incarnation: int = 0,
    first_scrape: float | None = WATCHED_SINCE,
    cpu: float | None = None,
) -> Finding:
    """An opening whose only sample is of that event time."""
    shell = ShellId(node, f"{node.node}.example", pid, ns(at - 1 if start is None else start), name)
    session = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{shell}{incarnation}"))
    return Finding(
        event_id=f"{session}/opened",
        session_id=session,
        kind=Kind.OPENED,
        shell=shell,
        incarnation=incarnation,
        ordinal=0,
        score=25,
        span=Span(1, ns(at // 10 * 10), ns(at // 10 * 10 + 10), ns(at), ns(at), cpu, cpu, 0.1),
        first_seen_ns=ns(at),
        last_seen_ns=ns(at),
        envelope_ns=ns(at),
        evidence=Evidence(shell.start_ns, 1, "/bin/sh", "root", CommandLine("sh -c true", 10)),
        context=of,
        node_first_ns=0 if first_scrape is None else ns(first_scrape),
    )


def ongoing(of: Finding, ordinal: int = 1) -> Finding:
    return replace(
        of, kind=Kind.ONGOING, ordinal=ordinal, score=0, event_id=f"{of.session_id}/ongoing/{ordinal}"
    )


def closed(of: Finding) -> Finding:
    return replace(
        of, kind=Kind.CLOSED, score=0, event_id=f"{of.session_id}/closed", reason=CloseReason.EXITED
    )


def rule(name: str, action: Action = Action.SUPPRESS, score: int | None = None) -> Rule:
    """A rule that its policy applies, whatever its matchers."""
    return Rule(name, "probes of ours", "sre", (), action, expires_ns=ns(10**9), score=score)


@dataclass
class APolicy:
    """Rules, each for the shells with one value in one field; ``seen`` are the fields of each look."""

    rules: tuple[tuple[str, str, Rule], ...] = ()
    seen: list[dict[str, str]] = field(default_factory=list)
    walls: list[int] = field(default_factory=list)

    def judge(self, fields: Mapping[str, str], wall_ns: int) -> Rule | None:
        self.seen.append(dict(fields))
        self.walls.append(wall_ns)
        return next((found for name, value, found in self.rules if fields.get(name) == value), None)


def suppressing(name: str, value: str, name_of_rule: str = "boring") -> APolicy:
    return APolicy(((name, value, rule(name_of_rule)),))


@dataclass
class Desk:
    """The judge between findings and a store. Notes pass through JSON, as in the store."""

    rules: JudgeRules = field(default_factory=JudgeRules)
    policy: APolicy = field(default_factory=APolicy)
    notes: dict[str, Note] = field(default_factory=dict)
    tellings: list[Told | Report] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def hear(self, at: float, *findings: Finding) -> list[Told]:
        """Findings of one batch at a service time; what of them is told."""
        judgement = self.decide(at, *findings)
        self.store(judgement)
        return [telling for telling in judgement.tellings if isinstance(telling, Told)]

    def run_to(self, at: float) -> list[Report]:
        """Service time passes; what is reported."""
        judgement = self.decide_due(at)
        self.store(judgement)
        return [telling for telling in judgement.tellings if isinstance(telling, Report)]

    def decide(self, at: float, *findings: Finding) -> Judgement:
        """A judgement that is not stored."""
        judge = Judge(self.rules)
        recalled = self._recall(judge.keys(findings))
        return judge.judge(findings, recalled, self.policy.judge, service(at), ns(at))

    def decide_due(self, at: float) -> Judgement:
        """The same of notes that are due."""
        judge = Judge(self.rules)
        due = [note for note in self.notes.values() if note.due_ns <= service(at)]
        return judge.due(due, self._recall(judge.keys_of_due(due)), service(at))

    def store(self, judgement: Judgement) -> None:
        for note in judgement.notes:
            if isinstance(note, Tombstone):
                self.notes.pop(note.key, None)
            else:
                value: dict[str, Any] = json.loads(json.dumps(note.value))
                self.notes[note.key] = replace(note, value=value)
        self.tellings += judgement.tellings
        for name, how_often in judgement.counts.items():
            self.counts[name] = self.counts.get(name, 0) + how_often

    def _recall(self, keys: Iterable[str]) -> dict[str, Note]:
        return {key: self.notes[key] for key in keys if key in self.notes}

    def kinds(self) -> dict[str, int]:
        """How many notes there are of each kind."""
        kinds = [note.kind.value for note in self.notes.values()]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}
