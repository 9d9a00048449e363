"""The judge beside its notes: findings in, events and notes out, to be stored as one.

The judge is pure and knows no store. Here its notes are looked up, what is due is settled first, and what it
says is encoded. One thread uses it (but for :meth:`Bench.adopt`), and stores each :class:`Sentence` before it
asks for the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from detector.judging import silence
from detector.judging.explanation import Circumstances, Explanation, explain
from detector.judging.judge import Judge
from detector.judging.nodes import report_of
from detector.judging.notes import SETTLED, Note, NoteKind, Tombstone, key_of
from detector.judging.outcomes import Judgement
from detector.policy import Policy
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from detector.detector import Detector
    from detector.events import Event
    from detector.judging.outcomes import Telling
    from detector.judging.rules import JudgeRules
    from detector.types import Finding, ShellId, Step
    from otel_shell_detector.policies.file import Loaded
    from store.seams import Store

    Encode = Callable[[Telling], Event]

_DUE_AT_ONCE: Final = 256
_PAGE: Final = 1000


_POLICY_KEY: Final = key_of(NoteKind.POLICY)
_FOR_EVER_NS: Final = 1 << 62


def note_of(loaded: Loaded) -> Note:
    """What is remembered of a policy: when its rules without an end were seen first."""
    return Note(NoteKind.POLICY, _POLICY_KEY, dict(loaded.first_seen), _FOR_EVER_NS)


def first_seen(store: Store) -> Mapping[str, int]:
    """When rules without an end were seen first, by digest (wall time). Raises as the store does."""
    note = store.recall({_POLICY_KEY}).get(_POLICY_KEY)
    return {} if note is None else note.value


def no_policy(_fields: Mapping[str, str], _wall_ns: int) -> None:
    """No rule applies."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Events in order, and the notes that follow from them."""

    events: tuple[Event, ...] = ()
    notes: tuple[Note | Tombstone, ...] = ()


class Bench:
    """Judges findings with the notes of a store, by the policy that was adopted last."""

    def __init__(self, rules: JudgeRules, encode: Encode) -> None:
        self._judge = Judge(rules)
        self._encode = encode
        self._loaded: Loaded | None = None
        self._changed = False
        """Whether the policy may have changed since silenced sessions were judged."""
        self._unnoted: tuple[Note, ...] = ()

    def adopt(self, loaded: Loaded) -> None:
        """Put a policy in force, for what is heard from now on. Other threads may call it."""
        self._loaded = loaded
        self._changed = True

    def begin(self) -> None:
        """At the start of all: what was silenced may have been by another policy."""
        self._changed = True

    def reconsider(self, store: Store, detector: Detector, now_ns: int) -> None:
        """After a change of the policy, have the detector say again what a rule has silenced.

        It is among the findings that are heard next, and is told if no rule silences it any more.
        """
        if not self._changed:
            return
        self._changed = False
        if self._loaded is not None:
            self._unnoted = (note_of(self._loaded),)
        for shell in self._suppressed(store):
            detector.retell(shell, now_ns)

    @property
    def rules(self) -> JudgeRules:
        """Those that it judges by."""
        return self._judge.rules

    @property
    def policy(self) -> Policy:
        """The policy in force; empty if there is none."""
        return Policy() if self._loaded is None else self._loaded.policy

    def explain(
        self, store: Store, finding: Finding, now_ns: int, wall_ns: int, *, known_novel: bool | None = None
    ) -> Explanation:
        """See :func:`detector.judging.explanation.explain`. Raises :class:`store.seams.StoreError`."""
        recalled = store.recall(self._judge.keys([finding]))
        return explain(
            self._judge, finding, Circumstances(recalled, self.policy, now_ns, wall_ns, known_novel)
        )

    def hear(self, store: Store, step: Step, now_ns: int, wall_ns: int) -> Sentence:
        """Settle what is due, then judge what was found. Raises :class:`store.seams.StoreError`."""
        findings = step.findings
        judged: list[Judgement] = []
        if self._is_due(store, now_ns):
            judged.append(self._settle(store, store.due_notes(now_ns, _DUE_AT_ONCE), now_ns))
        if findings:
            recalled = dict(store.recall(self._judge.keys(findings)))
            for note in judged[0].notes if judged else ():
                if isinstance(note, Tombstone):
                    recalled.pop(note.key, None)
                else:
                    recalled[note.key] = note
            policy = no_policy if self._loaded is None else self._loaded.policy.judge
            judged.append(self._judge.judge(findings, recalled, policy, now_ns, wall_ns))
        if step.silent_nodes:
            judged.append(Judgement(tuple(map(report_of, step.silent_nodes))))
        sentence = self._sentence(judged, self._unnoted)
        self._unnoted = ()
        return sentence

    def adjourn(self, store: Store, now_ns: int) -> Iterator[Sentence]:
        """Settle everything that counts something, due or not: nobody will do it later."""
        for kind in sorted(SETTLED):
            while page := store.notes(kind, "", _PAGE):
                yield self._sentence([self._settle(store, page, now_ns)])

    @staticmethod
    def _suppressed(store: Store) -> Iterator[ShellId]:
        after = ""
        while page := store.notes(NoteKind.SILENCED, after, _PAGE):
            yield from (session.shell for session in silence.suppressed(page))
            after = page[-1].key

    @staticmethod
    def _is_due(store: Store, now_ns: int) -> bool:
        due_ns = store.next_due_ns()
        return due_ns is not None and due_ns <= now_ns

    def _settle(self, store: Store, notes: Sequence[Note], now_ns: int) -> Judgement:
        return self._judge.due(notes, store.recall(self._judge.keys_of_due(notes)), now_ns)

    def _sentence(self, judged: Sequence[Judgement], more: Sequence[Note] = ()) -> Sentence:
        notes: dict[str, Note | Tombstone] = {note.key: note for note in more}
        events: list[Event] = []
        for each in judged:
            events += map(self._encode, each.tellings)
            notes |= {note.key: note for note in each.notes}
            for what, how_often in each.counts.items():
                metrics.JUDGED.labels(result=what).inc(how_often)
        return Sentence(tuple(events), tuple(notes.values()))
