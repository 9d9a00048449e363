"""The seams of durability: what the pipeline asks of a store.

All three are called from the core thread alone; an implementation needs no locks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from detector.events import Event, Lane, Outcome, Queued
    from detector.types import Arrival, SessionRow, ShellId

Position = NewType("Position", int)
"""A place in the journal; later records have greater positions."""


class Journal(Protocol):
    """The ordered log of what was accepted."""

    def append(self, arrivals: Sequence[Arrival]) -> Position:
        """Make arrivals durable and return the position after the last.

        Blocks until they are; raises :class:`StoreError`.
        Not safe to repeat: a second call with the same arrivals appends them twice (the detector ignores
        repetitions).
        """
        ...

    def read(self) -> Iterator[tuple[Position, Arrival]]:
        """Yield what was appended and not read yet, in order; each arrival once in a process's life."""
        ...


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic change: session rows by key, events in order, the journal's prefix that may go."""

    rows: tuple[SessionRow, ...] = ()
    events: tuple[Event, ...] = ()
    trim_before: Position = Position(0)


class Sessions(Protocol):
    """The memory of identities."""

    def commit(self, change: Commit) -> None:
        """Apply all of a change or nothing of it. Raises :class:`StoreError`."""
        ...

    def look_up(self, shells: Sequence[ShellId]) -> Mapping[ShellId, SessionRow]:
        """The rows of those identities that are remembered."""
        ...


class Outbox(Protocol):
    """Events on their way out, per lane in order of output."""

    def take(self, lane: Lane, limit: int) -> Sequence[Queued]:
        """The first ``limit`` events of a lane. They stay until they are settled; safe to repeat."""
        ...

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """End events. Safe to repeat: an unknown sequence is ignored."""
        ...

    def backlog(self) -> Mapping[Lane, int]:
        """How many events wait, per lane."""
        ...


class Store(Journal, Sessions, Outbox, Protocol):
    """All three seams over one state."""

    def close(self) -> None:
        """Release what is held. Nothing may be called afterwards."""
        ...


class StoreError(Exception):
    """The store could not do what it was asked; nothing of it was done."""
