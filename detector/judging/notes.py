"""Notes: what the judge remembers between two batches, as small values that the store keeps by key.

A note is written in the transaction of the tellings that it follows from. A judgement reads through a
:class:`View`: what was recalled from the store, covered by what this judgement has written so far, so that
the findings of one batch see each other's notes in order.
"""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from detector.types import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

DAY_NS: Final = 24 * 3600 * NANOSECONDS
RETENTION_NS: Final = 30 * DAY_NS
"""How long it is remembered what was seen, scored or silenced: as long as a closed identity."""

_LONGEST: Final = 256
"""Characters of a text in a note that somebody else has written."""


class NoteKind(enum.StrEnum):
    """What a note is about. The kind begins its key."""

    NODE = "node"
    """The first scrape of a node that is known."""
    NOVEL = "novel"
    """When something was seen last, for what is novel."""
    BURST = "burst"
    """How many of a key were told in a period, and those that were folded."""
    SILENCED = "silenced"
    """A session whose opening was not told."""
    AUDIT = "audit"
    """What rules suppressed in a minute."""
    SUMMARY = "summary"
    """The preexisting shells of a node that are told as one."""
    CAP = "cap"
    """What a risk object has scored in a period."""
    SCORED = "scored"
    """What an identity has scored, over its incarnations."""
    POLICY = "policy"
    """When rules of the policy that have no end were seen first. Not the judge's, but kept beside its own."""


BOUNDS: Final[Mapping[NoteKind, int]] = {
    NoteKind.NODE: 20_000,
    NoteKind.NOVEL: 200_000,
    NoteKind.BURST: 100_000,
    NoteKind.SILENCED: 200_000,
    NoteKind.AUDIT: 50_000,
    NoteKind.SUMMARY: 20_000,
    NoteKind.CAP: 50_000,
    NoteKind.SCORED: 1_000_000,
    NoteKind.POLICY: 1_000,
}
"""How many notes of a kind may be kept. Of more, the store takes those first that are due first; of the kinds
of :data:`SETTLED` it must not throw one away but have it judged as due, or what it counts would be lost.
"""

SETTLED: Final = frozenset({NoteKind.BURST, NoteKind.AUDIT, NoteKind.SUMMARY})
"""Kinds whose end is told: a note of them is handed to :meth:`detector.judging.judge.Judge.due`, and lasts
until then. A note of any other kind is forgotten when it is due, whether the store still has it or not."""


@dataclass(frozen=True, slots=True)
class Note:
    """A value by key. ``value`` is JSON as :func:`json.loads` gives it. ``due_ns`` is service time."""

    kind: NoteKind
    key: str
    value: Mapping[str, Any]
    due_ns: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A note that is to be removed, if it is there."""

    key: str


def key_of(kind: NoteKind, *parts: str | int) -> str:
    """The key of a note: its kind, and a digest, for what is noted may be text that an attacker wrote."""
    # JSON keeps ("a", "b,c") and ("a,b", "c") apart.
    text = json.dumps(parts, ensure_ascii=True).encode()
    return f"{kind}:{hashlib.blake2b(text, digest_size=20).hexdigest()}"


def clip(text: str) -> str:
    """A text of others as a note may hold it."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


class View:
    """The notes as a judgement sees them, its own included, at a service time."""

    def __init__(self, recalled: Mapping[str, Note], now_ns: int) -> None:
        self.now_ns = now_ns
        self._recalled = recalled
        self._written: dict[str, Note | None] = {}

    def find(self, key: str) -> Note | None:
        """The note, though it may be due."""
        return self._written[key] if key in self._written else self._recalled.get(key)

    def live(self, key: str) -> Note | None:
        """The note unless it is due: then it is as good as forgotten."""
        note = self.find(key)
        return note if note is not None and note.due_ns > self.now_ns else None

    def write(self, note: Note) -> None:
        """Put a note, over the one with its key if there is one."""
        self._written[note.key] = note

    def remove(self, key: str) -> None:
        """Let a note be gone."""
        self._written[key] = None

    def written(self) -> tuple[Note | Tombstone, ...]:
        """What this judgement changes, each key once."""
        return tuple(Tombstone(key) if note is None else note for key, note in self._written.items())
