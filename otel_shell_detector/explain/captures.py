"""Explaining from captures: they are replayed twice, as ``replay`` does, and watched.

The first time finds out whose the id is, or which shells had the pid; the second time follows that one shell.
So memory does not grow with the captures: of what has no bound the first and the last are kept.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from detector.detector import Detector
from detector.identity import session_id
from detector.judging.explanation import counted_in
from detector.tracing import TracedNode
from detector.types import Kind, Step
from otel_shell_detector import wiring
from otel_shell_detector.explain import grading
from otel_shell_detector.explain.asked import MOST_SHELLS, NotFoundError
from otel_shell_detector.explain.document import (
    MOST_POINTS,
    evidence_of,
    of_means,
    of_point,
    of_shell,
    of_window,
    when,
)
from otel_shell_detector.explain.ends import Ends
from otel_shell_detector.policies.file import load
from otel_shell_detector.replay import Replay, feed_files
from store.seams import Commit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.events import Event
    from detector.tracing import ClosedWindow, PointFate, SampleFate
    from detector.types import Finding, SessionRow, ShellId
    from otel_shell_detector.bench import Sentence
    from otel_shell_detector.configuration import Settings
    from otel_shell_detector.explain.asked import Asked
    from otel_shell_detector.explain.document import Json

MOST_SAMPLES: Final = 200
"""Of the first, and of the last samples and windows that are kept."""
MOST_EVENTS: Final = 20
"""The same of events of a session, and of sessions of a shell."""


def explain_captures(
    settings: Settings, asked: Asked, files: Sequence[Path], wall_ns: int
) -> tuple[Json, int]:
    """The explanation, and the exit status: 1 if a file was damaged. Raises :class:`NotFoundError`.

    ``wall_ns`` is the time for which the policy of the configuration is read.
    """
    with Path(os.devnull).open("wb") as nowhere:
        search = _Search(settings, nowhere, asked, wall_ns)
        status = feed_files(search, files)
        search.finish(close_sessions=False)
        named = ", ".join(map(str, files))
        head: Json = {"from": "files", "files": [str(path) for path in files]}
        if search.report is not None:
            return head | {"report": search.report}, status
        found = search.shells()
        if not found:
            raise NotFoundError(f"no {asked} in {named}")
        if len(found) > 1:
            return head | {"shells": found, "shells_cut": search.cut}, status
        follow = _Follow(settings, nowhere, search.identity, wall_ns)
        feed_files(follow, files, quiet=True)
        follow.finish(close_sessions=False)
    return head | follow.document(), status


class _Watching(Replay):
    """A replay whose nodes tell what they do, and whose events are looked at rather than printed."""

    def __init__(self, settings: Settings, out: IO[bytes], wall_ns: int) -> None:
        self._judging = wiring.bench(settings)
        super().__init__(settings, out, self._judging)
        self._detector = Detector(wiring.rules(settings), partial(TracedNode, watcher=self))
        if settings.policy.path is not None:
            self._judging.adopt(load(settings.policy.path, wall_ns, {}))

    def wants(self, shell: ShellId) -> bool:
        """See :class:`detector.tracing.Watcher`."""
        raise NotImplementedError

    def sampled(self, sample: SampleFate) -> None:
        """See :class:`detector.tracing.Watcher`."""

    def window_closed(self, window: ClosedWindow) -> None:
        """See :class:`detector.tracing.Watcher`."""

    def _write(self, sentence: Sentence, rows: tuple[SessionRow, ...] = ()) -> None:
        self._store.commit(Commit(rows=rows, notes=sentence.notes))
        for event in sentence.events:
            self._told(event)

    def _told(self, event: Event) -> None:
        raise NotImplementedError


@dataclass(slots=True)
class _Candidate:
    """A shell that may be meant."""

    shell: ShellId
    seen_ns: int
    line: str = ""
    sessions: list[str] = field(default_factory=list)


class _Search(_Watching):
    """Finds whose an id is, or the shells of a pid: the newest :data:`MOST_SHELLS` of them."""

    def __init__(self, settings: Settings, out: IO[bytes], asked: Asked, wall_ns: int) -> None:
        super().__init__(settings, out, wall_ns)
        self._asked = asked
        self._candidates: dict[ShellId, _Candidate] = {}
        self.cut = False
        """Whether there were more."""
        self.report: Json | None = None
        """The event of that id, if it is about several shells, or about none."""

    @property
    def identity(self) -> ShellId:
        """The only one that was found."""
        return next(iter(self._candidates))

    def shells(self) -> list[Json]:
        """Those that were found, the newest last."""
        ordered = sorted(self._candidates.values(), key=_age)
        return [
            of_shell(each.shell)
            | {
                "first_seen": when(each.seen_ns),
                "process.command_line": each.line,
                "session_ids": each.sessions,
            }
            for each in ordered
        ]

    def wants(self, shell: ShellId) -> bool:
        return self._asked.is_of(shell)

    def sampled(self, sample: SampleFate) -> None:
        candidate = self._candidates.get(sample.shell)
        if candidate is None:
            candidate = self._candidates[sample.shell] = _Candidate(sample.shell, sample.sample.time_ns)
            if len(self._candidates) > MOST_SHELLS:
                del self._candidates[min(self._candidates.values(), key=_age).shell]
                self.cut = True
        line = sample.sample.command_line
        if line is not None and not candidate.line:
            candidate.line = line.text

    def _print(self) -> None:
        step = self._detector.take_step()
        for finding in step.findings:
            if self._asked.id in {finding.event_id, finding.session_id}:
                self._candidates.setdefault(finding.shell, _Candidate(finding.shell, finding.first_seen_ns))
            candidate = self._candidates.get(finding.shell)
            if candidate is not None and finding.kind is Kind.OPENED:
                candidate.sessions = [*candidate.sessions, finding.session_id][-MOST_EVENTS:]
        self._write(self._bench.hear(self._store, step, self._now_ns, self._now_ns), step.rows)

    def _told(self, event: Event) -> None:
        # A finding's id is found when the detector says it.
        if event.event_id == self._asked.id and not self._candidates:
            self.report = json.loads(event.body)["event"]


def _age(candidate: _Candidate) -> tuple[int, int]:
    return candidate.shell.start_ns, candidate.seen_ns


@dataclass(slots=True)
class _Session:
    """What became of one incarnation."""

    finding: Finding
    """The latest."""
    opening: Json
    counted_in: str
    events: Ends[Json] = field(default_factory=lambda: Ends(MOST_EVENTS))
    report: Json | None = None


class _Follow(_Watching):
    """Follows one shell."""

    def __init__(self, settings: Settings, out: IO[bytes], shell: ShellId, wall_ns: int) -> None:
        super().__init__(settings, out, wall_ns)
        self._shell = shell
        self._window_ns = wiring.rules(settings).window_ns
        self._samples: Ends[SampleFate] = Ends(MOST_SAMPLES)
        self._windows: Ends[ClosedWindow] = Ends(MOST_SAMPLES)
        self._sessions: Ends[_Session] = Ends(MOST_EVENTS)
        self._fates: Counter[str] = Counter()
        self._points_cut = 0
        self._of_finding: dict[str, Json] = {}
        """What is known of the event of the finding that is being judged, by its id."""

    def wants(self, shell: ShellId) -> bool:
        return shell == self._shell

    def sampled(self, sample: SampleFate) -> None:
        shown = sample.points[:MOST_POINTS]
        self._samples.add(replace(sample, sample=replace(sample.sample, points=()), points=shown))
        self._points_cut += len(sample.points) - len(shown)
        self._fates.update(fate.fate for fate in sample.points)
        self._fates["no_utilization"] += not sample.points
        self._fates["no_sign_of_life"] += not sample.alive

    def window_closed(self, window: ClosedWindow) -> None:
        self._windows.add(window)

    def _print(self) -> None:
        step = self._detector.take_step()
        if not any(finding.shell == self._shell for finding in step.findings):
            self._hear(step)
            return
        # What is due goes first, as the bench has it; then one finding after the other, each stored before
        # the next: it comes to the same, and what each is judged by can be seen.
        self._hear(Step())
        for finding in step.findings:
            self._follow(finding)
        self._hear(replace(step, findings=()))

    def _hear(self, step: Step) -> None:
        self._write(self._bench.hear(self._store, step, self._now_ns, self._now_ns), step.rows)

    def _follow(self, finding: Finding) -> None:
        step = Step(findings=(finding,))
        if finding.shell != self._shell:
            self._hear(step)
            return
        if finding.kind is Kind.OPENED:
            self._sessions.add(self._opened(finding))
        session = self._sessions.kept[-1]
        session.finding = finding
        told: Json = {
            "event_id": finding.event_id,
            "kind": finding.kind.value,
            "time": when(finding.envelope_ns),
        }
        self._of_finding = {finding.event_id: told}
        self._hear(step)
        session.events.add(told if "lane" in told else told | {"lane": None, "score": 0})

    def _opened(self, finding: Finding) -> _Session:
        explained = self._judging.explain(self._store, finding, self._now_ns, self._now_ns)
        rules = self._judging.rules
        opening: Json = {
            "result": grading.result_of(explained),
            "profile": grading.profile_of(explained, rules),
            "policy": grading.policy_of(explained, len(self._judging.policy.rules)),
            "steps": grading.steps_of(explained, rules),
            "evidence": evidence_of(explained.finding, novel=explained.novel),
        }
        return _Session(finding, opening, counted_in(explained, rules.store_id))

    def _told(self, event: Event) -> None:
        known = self._of_finding.get(event.event_id)
        if known is not None:
            known |= {"lane": event.lane.value, "score": json.loads(event.body)["event"]["risk_score"]}
        for session in self._sessions.kept:
            if session.counted_in == event.event_id:
                told = json.loads(event.body)["event"]
                session.report = {
                    "event_id": event.event_id,
                    "kind": told["kind"],
                    "lane": event.lane.value,
                    "score": told["risk_score"],
                    "count": told["count"],
                }

    def document(self) -> Json:
        """What was seen."""
        fates = +self._fates
        return {
            "shell": of_shell(self._shell),
            "sessions": [self._session(each) for each in self._sessions.kept],
            "sessions_cut": self._sessions.cut,
            "points": dict(sorted(fates.items())),
            "windows": [self._window(each) for each in self._windows.kept],
            "windows_cut": self._windows.cut,
            "samples": [self._sample(each) for each in self._samples.kept],
            "samples_cut": self._samples.cut,
            "points_cut": self._points_cut,
        }

    def _session(self, session: _Session) -> Json:
        finding = session.finding
        look = self._detector.look(self._shell) if finding.kind is not Kind.CLOSED else None
        last_ns = look.span.last_ns if look is not None and look.span is not None else finding.last_seen_ns
        return {
            "session_id": finding.session_id,
            "incarnation": finding.incarnation,
            "state": "closed" if finding.kind is Kind.CLOSED else "open",
            "close_reason": finding.reason.value if finding.reason else None,
            "first_seen": when(finding.first_seen_ns),
            "last_seen": when(last_ns),
            "events": session.events.kept,
            "events_cut": session.events.cut,
            "counted_in": session.report,
            **session.opening,
        }

    def _window(self, window: ClosedWindow) -> Json:
        rules_id = self._judging.rules.store_id
        session = session_id(rules_id, self._shell, window.incarnation) if window.incarnation >= 0 else None
        return {
            **of_window(window.number, self._window_ns),
            "session_id": session,
            "points": window.points,
            **of_means(window.means),
            "deadline": when(window.deadline_ns),
            "closed": when(window.closed_ns),
            "left_out": window.left_out or None,
        }

    def _sample(self, sample: SampleFate) -> Json:
        return {
            "time": when(sample.sample.time_ns),
            "arrived": when(sample.arrival.service_ns),
            "alive": sample.alive,
            "points": [self._point(each) for each in sample.points],
        }

    def _point(self, fate: PointFate) -> Json:
        window = None if fate.number is None else when(fate.number * self._window_ns)
        return of_point(fate.point) | {"fate": fate.fate, "window": window}
