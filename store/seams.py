"""The seams of durability: what the pipeline asks of a store.

All are called from the core thread alone; an implementation needs no locks.

The journal is an ordered log of *arrivals* and *ticks*. What the detector decides is a function of that log:
feed the arrivals, run deadlines up to each tick's service time, and the same is decided again. A *checkpoint*
is the state of one node after all log entries before a position; entries that every node's checkpoint covers
may be trimmed. So a restart reads the checkpoints, then the log (``docs/decisions/0011-recovery.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType, Protocol, TypeAlias

from detector.types import Arrival

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from detector.events import Event, Lane, Outcome, Queued
    from detector.judging.notes import Note, NoteKind, Tombstone
    from detector.types import NodeId, SessionRow, ShellId

Position = NewType("Position", int)
"""A place in the journal; later entries have greater positions."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The service time up to which deadlines were run, written in the transaction of what they decided.

    ``answers`` are the rows that look-ups found since the tick before, each with the position of the arrival
    for which it was looked up. A look-up before the last tick that is not among them found nothing.
    """

    service_ns: int
    answers: tuple[tuple[Position, SessionRow], ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry of the journal that is damaged or cannot be decoded; it is a dead letter already."""

    reason: str


Entry: TypeAlias = Arrival | Tick | Unreadable


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of one node after every entry before ``position``; ``state`` is ``None`` if it is forgotten.

    ``state`` is one JSON value in UTF-8, made by :mod:`detector.checkpoint`.
    """

    node: NodeId
    position: Position
    state: bytes | None


class Journal(Protocol):
    """The ordered log of what was accepted and when deadlines ran."""

    def append(self, arrivals: Sequence[Arrival], *, durable: bool = True) -> Position:
        """Take arrivals and return the position after the last.

        ``durable``: blocks until they are; raises :class:`StoreError`, and none of them is taken. Otherwise
        it neither blocks nor raises: they become durable with the next durable append or commit, in order.
        That is enough for an arrival whose loss changes nothing that was told. Not safe to repeat: a second
        call with the same arrivals appends them twice (the detector ignores repetitions).
        """
        ...

    def read(self) -> Iterator[tuple[Position, Entry]]:
        """Yield entries that were not read yet, in order: those found at the start, then what is appended.

        Ticks are yielded only of what was found (whoever commits a tick knows it). Raises
        :class:`StoreError`; then :meth:`rewind`.
        """
        ...

    def peek(
        self, node: NodeId, after: Position, limit: int
    ) -> tuple[Sequence[tuple[Position, Arrival]], Position | None]:
        """The arrivals of a node among the ``limit`` entries from ``after`` on, and where to go on.

        That is ``None`` at the end. What is to be read stays to be read. Entries that are damaged are left
        out. Raises :class:`StoreError`.
        """
        ...

    def rewind(self) -> None:
        """Let the next :meth:`read` begin with the first entry that is kept, ticks included."""
        ...

    def checkpoints(self) -> Iterator[Checkpoint]:
        """The newest checkpoint of each node. A damaged one is a dead letter and not yielded."""
        ...

    def service_ns(self) -> int:
        """The service time of the newest tick that was ever committed; 0 if there was none."""
        ...

    def rules(self) -> str:
        """:attr:`Commit.rules` of the newest commit that had one; empty if none had."""
        ...

    def journal_bytes(self) -> int:
        """Bytes of the entries that are kept."""
        ...

    def bury(self, position: Position, reason: str) -> None:
        """Move an arrival to the dead letters, with its bytes and ``reason``: it is never read again."""
        ...

    def bury_node(self, node: NodeId, reason: str) -> None:
        """Move what a node cannot be restored from to the dead letters.

        That is all its arrivals that are kept or, if there are none, its checkpoint.
        """
        ...


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic change: a tick, session rows by key, events in order, checkpoints, the prefix that may go.

    And notes: of two with the same key the last one counts, as it does of session rows. ``trim_before`` is a
    prefix of the journal, never single entries. ``rules`` are those with which the checkpoints and the
    journal were made, as the core wrote them; empty: as before.
    """

    tick: Tick | None = None
    rows: tuple[SessionRow, ...] = ()
    events: tuple[Event, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    trim_before: Position = Position(0)
    rules: str = ""
    notes: tuple[Note | Tombstone, ...] = ()


class Sessions(Protocol):
    """The memory of identities."""

    def commit(self, change: Commit) -> None:
        """Apply all of a change or nothing of it, durably. Raises :class:`StoreError`."""
        ...

    def look_up(self, shells: Sequence[ShellId]) -> Mapping[ShellId, SessionRow]:
        """The rows of those identities that are remembered. Raises :class:`StoreError`."""
        ...


class Notes(Protocol):
    """What the judge remembers, by key; written by :meth:`Sessions.commit`.

    A key begins with the kind of its note, as :func:`detector.judging.notes.key_of` makes it. A kind may have
    so many notes (:data:`detector.judging.notes.BOUNDS`). Of one whose end is told (those of
    :data:`detector.judging.notes.SETTLED`) a note is kept until it is removed; those above the bound
    count as due. The other notes are forgotten in a commit with a tick some time after they are due, and
    those that are due first in the very commit that exceeds the bound. All of these methods raise
    :class:`StoreError`. A note that is damaged is gone.
    """

    def recall(self, keys: Collection[str]) -> Mapping[str, Note]:
        """The notes that there are of these keys, by key; some may be due already."""
        ...

    def due_notes(self, now_ns: int, limit: int) -> Sequence[Note]:
        """The first ``limit`` notes whose end is to be told, those that are due first at the front.

        That is the notes that are due at ``now_ns`` (service time), and those above the bound of their kind,
        though they be due later. They stay until a commit removes them; safe to repeat.
        """
        ...

    def next_due_ns(self) -> int | None:
        """The earliest service time at which :meth:`due_notes` has a note; 0 if it has one above a bound.

        ``None`` if there is none of these kinds.
        """
        ...

    def notes(self, kind: NoteKind, after: str, limit: int) -> Sequence[Note]:
        """The first ``limit`` notes of a kind with a key above ``after``, by key; some may be due already."""
        ...


class Outbox(Protocol):
    """Events on their way out, per lane in order of output."""

    def take(self, lane: Lane, limit: int) -> Sequence[Queued]:
        """The first ``limit`` events of a lane. They stay until they are settled; safe to repeat."""
        ...

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """End events. Safe to repeat: an unknown sequence is ignored. Raises :class:`StoreError`."""
        ...

    def backlog(self) -> Mapping[Lane, int]:
        """How many events wait, per lane."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What could not be delivered, replayed or restored.

    ``origin`` is the lane of an event, else ``journal`` or ``checkpoint``. ``at_ns`` is the wall time at
    which it was given up. ``event_id`` is empty unless it is an event; ``body`` is the event, or the stored
    bytes.
    """

    number: int
    origin: str
    reason: str
    at_ns: int
    event_id: str
    body: bytes


class DeadLetters(Protocol):
    """What was given up, kept for people to look at. Numbers grow and are never used again."""

    def dead_letters(self, limit: int, after: int = 0) -> Sequence[DeadLetter]:
        """The first ``limit`` dead letters with a number above ``after``."""
        ...

    def count_dead_letters(self) -> Mapping[tuple[str, str], int]:
        """How many there are, by (origin, reason)."""
        ...

    def requeue(self, numbers: Sequence[int] | None) -> int:
        """Put events back at the end of their lanes; ``None`` is all events. Returns how many."""
        ...

    def purge(self, numbers: Sequence[int] | None) -> int:
        """Delete dead letters for good; ``None`` is all. Returns how many."""
        ...

    def purge_backlog(self, lane: Lane) -> int:
        """Delete every event that waits in a lane for good. Returns how many."""
        ...


class Store(Journal, Sessions, Notes, Outbox, DeadLetters, Protocol):
    """All seams over one state."""

    def close(self) -> None:
        """Release what is held. Nothing may be called afterwards."""
        ...


class StoreError(Exception):
    """The store could not do what it was asked, and nothing of it was done; it may be asked again."""


class StoreDamaged(Exception):  # noqa: N818  says what is so
    """What is stored was damaged while it was open: only opening it again sets that aside and goes on.

    Any method may raise it. It is no :class:`StoreError`, for asking again is of no use.
    """


class CannotOpenStore(Exception):  # noqa: N818  says what is so
    """There is no store to work with: held by another process, written by a newer version, not permitted.

    The message says which, and what is wanted.
    """
