"""A judge that is heard one finding at a time, so that what becomes of each is known.

``serve`` and ``replay`` hand the judge what they have; what follows from which finding they need not know.
Who asks what a policy does, or what a policy could do, wants to know for each shell: what was the policy
asked, which rule decided, what did it score.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from detector.policy import Policy
from detector.types import Step
from otel_shell_detector.bench import Sentence
from otel_shell_detector.policies.file import Loaded
from store.seams import Commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from detector.events import Event
    from detector.policy import Rule
    from detector.types import Finding
    from otel_shell_detector.bench import Bench
    from store.seams import Store


class _Witness(Policy):
    """A policy that remembers what it was asked last, and what it answered."""

    fields: Mapping[str, str] | None = None
    rule: Rule | None = None

    def judge(self, fields: Mapping[str, str], wall_ns: int) -> Rule | None:
        """The rule that decides on a shell at a time, if any."""
        self.fields, self.rule = fields, super().judge(fields, wall_ns)
        return self.rule

    def forget(self) -> None:
        """Before the next question."""
        self.fields = self.rule = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of a finding; or of none: of what was due, and of what nodes did.

    ``points`` are those of the events that it made. ``fields`` and ``rule``: what the policy was asked and
    what it answered, if it was.
    """

    finding: Finding | None
    points: int
    fields: Mapping[str, str] | None = None
    rule: Rule | None = None


class Judging(Protocol):
    """What :class:`otel_shell_detector.bench.Bench` does for ``replay``."""

    def hear(self, store: Store, step: Step, now_ns: int, wall_ns: int) -> Sentence:
        """Settle what is due, then judge what was found. The sentence is to be stored before the next."""
        ...

    def adjourn(self, store: Store, now_ns: int) -> Iterator[Sentence]:
        """Settle everything that counts something, due or not."""
        ...


class Hearing:
    """A bench with a policy, of which ``listener`` hears what becomes of each finding, in order of output.

    It stores the notes of its sentences itself; those that it gives have none.
    """

    def __init__(self, bench: Bench, rules: Iterable[Rule], listener: Callable[[Heard], None]) -> None:
        self._bench = bench
        self._listener = listener
        self._witness = _Witness(rules)
        bench.adopt(Loaded(self._witness, {}))

    def hear(self, store: Store, step: Step, now_ns: int, wall_ns: int) -> Sentence:
        """As of :class:`Judging`."""
        events: list[Event] = []
        while _is_due(store, now_ns):  # that is no finding's doing
            events += self._one(store, None, self._bench.hear(store, Step(), now_ns, wall_ns))
        for finding in step.findings:
            self._witness.forget()
            sentence = self._bench.hear(store, Step(findings=(finding,)), now_ns, wall_ns)
            events += self._one(store, finding, sentence)
        rest = replace(step, findings=())
        events += self._one(store, None, self._bench.hear(store, rest, now_ns, wall_ns))
        return Sentence(tuple(events))

    def adjourn(self, store: Store, now_ns: int) -> Iterator[Sentence]:
        """As of :class:`Judging`."""
        for sentence in self._bench.adjourn(store, now_ns):
            yield Sentence(self._one(store, None, sentence))

    def _one(self, store: Store, finding: Finding | None, sentence: Sentence) -> tuple[Event, ...]:
        if sentence.notes:
            store.commit(Commit(notes=sentence.notes))
        asked = (self._witness.fields, self._witness.rule) if finding else (None, None)
        self._listener(Heard(finding, _points(sentence), *asked))
        return sentence.events


def _is_due(store: Store, now_ns: int) -> bool:
    due_ns = store.next_due_ns()
    return due_ns is not None and due_ns <= now_ns


def _points(sentence: Sentence) -> int:
    """What a reader of the events finds."""
    return sum(json.loads(event.body)["event"]["risk_score"] for event in sentence.events)
