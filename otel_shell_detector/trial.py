"""What a policy would have done to a capture, rule by rule.

All findings are judged twice, with the policy and without any, each time with notes of its own; the
difference is the policy's doing. What it did to the shells that a rule decided on is that rule's. The rest
has no single author: a shell that scores because the one before it, which was the same, was suppressed; a
burst; a risk object that reached its bound later.

Time is the capture's. A rule is past its end here if it was so then: the same files give the same report on
any day. That it has come past its end since is said too.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from detector.types import Kind
from otel_shell_detector import wiring
from otel_shell_detector.clocks import utc
from otel_shell_detector.columns import columns
from otel_shell_detector.hearing import Hearing
from otel_shell_detector.policies.file import load
from otel_shell_detector.sources import ConfigurationError
from store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from detector.policy import Policy, Rule
    from detector.types import Finding, Step
    from otel_shell_detector.bench import Sentence
    from otel_shell_detector.configuration import Settings
    from otel_shell_detector.hearing import Heard
    from store.seams import Store


@dataclass(slots=True)
class _Tally:
    """What a rule did, or none of them. ``last_ns`` is event time."""

    hits: int = 0
    last_ns: int = 0
    saved: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a policy did.

    ``shells`` opened. ``without`` and ``with_policy`` are points. ``elsewhere`` is what the policy saved
    (less than 0: cost) beside the shells that its rules decided on. ``end_ns`` is the latest time of the
    capture.
    """

    rules: tuple[tuple[Rule, _Tally], ...]
    shells: int
    without: int
    with_policy: int
    elsewhere: int
    end_ns: int

    def described(self, now_ns: int) -> dict[str, Any]:
        """For programs; ``docs/policies.md`` tells the keys. ``now_ns`` is wall time."""
        return {
            "shells": self.shells,
            "score_without_policy": self.without,
            "score": self.with_policy,
            "score_saved": self.without - self.with_policy,
            "score_saved_elsewhere": self.elsewhere,
            "rules": [
                {
                    "id": rule.id,
                    "action": rule.action.value,
                    "hits": tally.hits,
                    "last_hit": utc(tally.last_ns) if tally.hits else None,
                    "score_saved": tally.saved,
                    "past_end": rule.expires_ns <= self.end_ns,
                    "past_end_now": rule.expires_ns <= now_ns,
                }
                for rule, tally in self.rules
            ],
        }

    def table(self, now_ns: int) -> Iterator[str]:
        """Lines for a person. ``now_ns`` is wall time."""
        head = ("rule", "action", "hits>", "last hit", "score saved>", "")
        rows = [
            (
                rule.id,
                rule.action.value,
                tally.hits,
                utc(tally.last_ns) if tally.hits else "-",
                tally.saved,
                ", ".join(self._remarks(rule, tally, now_ns)),
            )
            for rule, tally in self.rules
        ]
        if self.elsewhere:
            rows.append(("(elsewhere)", "", 0, "-", self.elsewhere, "bursts, budgets, others alike"))
        if rows:
            yield from columns(head, rows)
        saved = self.without - self.with_policy
        yield (
            f"{self.shells} shells, {self.without} points without the policy, {self.with_policy} with it: "
            f"{saved} saved\n"
        )

    def _remarks(self, rule: Rule, tally: _Tally, now_ns: int) -> Iterator[str]:
        if not tally.hits:
            yield "never matched"
        if rule.expires_ns <= self.end_ns:
            yield "past its end"
        elif rule.expires_ns <= now_ns:
            yield "past its end since"


class Trial:
    """Judges by a policy, and keeps account of what that does."""

    def __init__(self, settings: Settings, policy: Policy) -> None:
        self._rules = policy.rules
        self._told: list[Heard] = []
        self._before: list[Heard] = []
        self._with = Hearing(wiring.bench(settings), policy.rules, self._told.append)
        self._without = Hearing(wiring.bench(settings), (), self._before.append)
        self._notes_without = MemoryStore()
        self._tallies = {rule.id: _Tally() for rule in policy.rules}
        self._decided: dict[str, _Tally] = {}
        """By session, while it is open."""
        self._shells = 0
        self._points = Counter[str]()
        self._end_ns = 0

    def hear(self, store: Store, step: Step, now_ns: int, wall_ns: int) -> Sentence:
        """As of :class:`otel_shell_detector.hearing.Judging`."""
        self._end_ns = max(self._end_ns, wall_ns)
        self._without.hear(self._notes_without, step, now_ns, wall_ns)
        sentence = self._with.hear(store, step, now_ns, wall_ns)
        self._book()
        return sentence

    def adjourn(self, store: Store, now_ns: int) -> Iterator[Sentence]:
        """As of :class:`otel_shell_detector.hearing.Judging`."""
        for _ in self._without.adjourn(self._notes_without, now_ns):
            pass
        yield from self._with.adjourn(store, now_ns)
        self._book()

    def report(self) -> Report:
        """What the policy has done so far."""
        saved = sum(tally.saved for tally in self._tallies.values())
        without, with_policy = self._points["without"], self._points["with"]
        return Report(
            rules=tuple((rule, self._tallies[rule.id]) for rule in self._rules),
            shells=self._shells,
            without=without,
            with_policy=with_policy,
            elsewhere=without - with_policy - saved,
            end_ns=self._end_ns,
        )

    def _book(self) -> None:
        """Book what was heard since the last time: both benches heard the same findings."""
        self._points["with"] += sum(heard.points for heard in self._told)
        self._points["without"] += sum(heard.points for heard in self._before)
        told = [(heard.finding, heard) for heard in self._told if heard.finding is not None]
        before = [heard.points for heard in self._before if heard.finding is not None]
        for (finding, heard), points in zip(told, before, strict=True):
            self._compare(finding, heard, points)
        self._told.clear()
        self._before.clear()

    def _compare(self, finding: Finding, heard: Heard, points_without: int) -> None:
        self._shells += finding.kind is Kind.OPENED
        if heard.rule is not None:
            tally = self._decided[finding.session_id] = self._tallies[heard.rule.id]
            tally.hits += 1
            tally.last_ns = max(tally.last_ns, finding.envelope_ns)
        if finding.session_id in self._decided:
            self._decided[finding.session_id].saved += points_without - heard.points
        if finding.kind is Kind.CLOSED:
            self._decided.pop(finding.session_id, None)


@contextmanager
def tried(settings: Settings, path: Path | None) -> Iterator[Trial | None]:
    """A trial of the policy that the settings name, if they do.

    Told at the end: on standard error, for what ``replay`` prints is the events; and, if there is a ``path``,
    there as JSON. Raises :class:`ConfigurationError` for a policy that cannot be used, or such a path.
    """
    if settings.policy.path is None:
        yield None
        return
    trial = Trial(settings, load(settings.policy.path, time.time_ns(), {}).policy)
    with _created(path) as file:
        yield trial
        report = trial.report()
        now_ns = time.time_ns()
        sys.stderr.writelines(report.table(now_ns))
        if file is not None:
            file.write(json.dumps(report.described(now_ns), indent=2) + "\n")


def _created(path: Path | None) -> AbstractContextManager[IO[str] | None]:
    """A file to write to; before the work, so that a mistake is told before it."""
    if path is None:
        return nullcontext()
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"--report: {path}: {error.strerror}; want a file that can be written"
        ) from None
