"""A judge that is heard one finding at a time, so that what becomes of each is known.

``serve`` and ``replay`` hand the judge what they have; what follows from which finding they need not know.
Who asks what a policy does, or what a policy could do, wants to know for each shell: what was the policy
asked, which rule decided, what did it score.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from detector.policy import Policy
from detector.types import Step
from otel_shell_detector.bench import Sentence
from otel_shell_detector.policies.file import Loaded
from store.seams import Commit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
    """What became of a finding, or of none: then it is what was due, or what nodes did.

    ``fields`` and ``rule``: what the policy was asked and what it answered, if it was. ``points``: what the
    events score.
    """

    finding: Finding | None
    events: tuple[Event, ...] = ()
    fields: Mapping[str, str] | None = None
    rule: Rule | None = None
    points: int = field(init=False)

    def __post_init__(self) -> None:
        """Take the points from where a reader of the events finds them."""
        points = sum(json.loads(event.body)["event"]["risk_score"] for event in self.events)
        object.__setattr__(self, "points", points)


class Hearing:
    """A bench with a policy of its own, and with a store in which each of its sentences is at once."""

    def __init__(self, bench: Bench, rules: Iterable[Rule], store: Store) -> None:
        self._bench = bench
        self._store = store
        self._witness = _Witness(rules)
        bench.adopt(Loaded(self._witness, {}))

    def hear(self, step: Step, now_ns: int, wall_ns: int) -> Iterator[Heard]:
        """What becomes of a step, in order of output."""
        yield self._one(None, Step(), now_ns, wall_ns)  # what is due is no finding's doing
        for finding in step.findings:
            yield self._one(finding, Step(findings=(finding,)), now_ns, wall_ns)
        yield self._one(None, replace(step, findings=()), now_ns, wall_ns)

    def adjourn(self, now_ns: int) -> Iterator[Heard]:
        """Settle everything that counts something, due or not."""
        for sentence in self._bench.adjourn(self._store, now_ns):
            self._keep(sentence)
            yield Heard(None, sentence.events)

    def _one(self, finding: Finding | None, step: Step, now_ns: int, wall_ns: int) -> Heard:
        self._witness.forget()
        sentence = self._bench.hear(self._store, step, now_ns, wall_ns)
        self._keep(sentence)
        return Heard(finding, sentence.events, self._witness.fields, self._witness.rule)

    def _keep(self, sentence: Sentence) -> None:
        if sentence.notes:
            self._store.commit(Commit(notes=sentence.notes))
