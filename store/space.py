"""What the state takes of the disk, and what gives way when there is no more.

Two things run out. The *disk*: a ballast file is kept beside the state. When a write finds the disk full, the
ballast is deleted at once, so that there is room for what empties the state: settling events, purging, and
committing what was decided. Arrivals are refused until the ballast could be made again, which is tried at
most once a second: so everything goes on by itself when there is space. The *limit* (``state.max_size``):
arrivals are refused while the pages in use are above a mark below it. The rest is for what was accepted
before, and SQLite holds the file to the limit itself. The write-ahead log comes on top: 4 MiB, or the size of
the largest transaction.

Before arrivals are refused for the limit, things give way, in this order, the oldest first, a bounded number
at a time:

1. closed identities: one that is forgotten may be told again, with the same ids;
2. notes that only remember, those due first of each kind: what identities have scored (so one that is told
   again after 1 does not score again), what was seen, which nodes are known. Without them something scores
   twice or counts as new;
3. dead letters of the lanes context and audit;
4. dead letters that are no events: entries of the journal, checkpoints;
5. dead letters of the lane risk;
6. notes that keep something quiet: what risk objects have scored in a period, silenced sessions. Without them
   more is told or scores than should.

Notes that count what is not told yet (bursts, audit, summaries) never give way, for it would be told by
nothing else; each ends by itself. Nor do events that wait for delivery, nor the journal: it shrinks at each
checkpoint.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import apsw

from detector.events import Lane
from detector.judging.notes import NoteKind
from detector.types import NANOSECONDS
from store.database import told
from store.seams import StoreError
from telemetry import events as log
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from store.database import Database
    from store.dead import DeadTable
    from store.notes import NoteTable
    from store.sessions import SessionTable

BALLAST_BYTES: Final = 4 << 20
"""As much as SQLite lets the write-ahead log grow before it moves it to the file (1,000 pages)."""
MIN_SIZE: Final = 16 << 20
"""The least ``max_size`` that makes sense."""
_RESERVED: Final = 8
"""One part in eight of the limit is kept from arrivals."""
_RETRY_NS: Final = NANOSECONDS
_IDENTITIES_AT_ONCE: Final = 1_000
_NOTES_AT_ONCE: Final = 1_000
_LETTERS_AT_ONCE: Final = 64
_SLICES: Final = 8
"""Slices that give way at a time; each is a transaction of a few milliseconds."""

_CONTEXT: Final = (Lane.CONTEXT, Lane.AUDIT)
_STORED: Final = ("journal", "checkpoint")
_REMEMBERING: Final = (NoteKind.SCORED, NoteKind.NOVEL, NoteKind.NODE)
_QUIETING: Final = (NoteKind.CAP, NoteKind.SILENCED)


class Ballast:
    """A file whose only use is to be deleted. ``monotonic_ns`` spaces the attempts to make it again."""

    def __init__(self, path: Path, monotonic_ns: Callable[[], int]) -> None:
        self._path = path
        self._monotonic_ns = monotonic_ns
        self._tried_ns = monotonic_ns()
        self._present = self._make()

    def ready(self) -> bool:
        """Whether it is there; makes it again if it is time to try."""
        if not self._present and self._monotonic_ns() - self._tried_ns >= _RETRY_NS:
            self._tried_ns = self._monotonic_ns()
            self._present = self._make()
            if self._present:
                log.STORE_BALLAST_RESTORED()
        return self._present

    def release(self) -> None:
        """Delete it, if it is there."""
        if not self._present:
            return
        self._tried_ns = self._monotonic_ns()
        self._present = False
        metrics.STATE_BALLAST.set(0)
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.STORE_BALLAST_RELEASED(error=str(error))
            return
        log.STORE_BALLAST_RELEASED(bytes=BALLAST_BYTES)

    def _make(self) -> bool:
        try:
            self._fill()
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            metrics.STATE_BALLAST.set(0)
            return False
        metrics.STATE_BALLAST.set(1)
        return True

    def _fill(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(file).st_blocks * 512 < BALLAST_BYTES:
                os.posix_fallocate(file, 0, BALLAST_BYTES)
        finally:
            os.close(file)


@dataclass(frozen=True, slots=True)
class Going:
    """The tables of which something gives way."""

    sessions: SessionTable
    notes: NoteTable
    dead: DeadTable


class Space:
    """The limit and the ballast of one state."""

    def __init__(self, database: Database, going: Going, ballast: Ballast, max_size: int) -> None:
        self._database = database
        self._sessions = going.sessions
        self._notes = going.notes
        self._dead = going.dead
        self._ballast = ballast
        self._limit = max_size
        self._mark = max_size - max_size // _RESERVED
        self._pressed = False
        self._page_bytes: int = database.connection.pragma("page_size")
        database.connection.pragma("max_page_count", max_size // self._page_bytes)
        database.on_error = self.note_error
        metrics.STATE_LIMIT.set(max_size)
        self.used_bytes()

    def used_bytes(self) -> int:
        """Bytes of the pages that hold something."""
        connection = self._database.connection
        try:
            pages: int = connection.pragma("page_count") - connection.pragma("freelist_count")
        except apsw.Error as error:
            raise told("measuring the state", error) from error
        metrics.STATE_USED.set(pages * self._page_bytes)
        return pages * self._page_bytes

    def note_error(self, error: apsw.Error) -> None:
        """Release the ballast if a transaction failed for want of space."""
        if isinstance(error, apsw.FullError):
            self._ballast.release()

    def admit(self) -> None:
        """Raise :class:`StoreError` if there is no room for arrivals."""
        if not self._ballast.ready():
            raise StoreError("the disk is full: want space for the state")
        if (used := self.make_room()) > self._mark:
            raise StoreError(
                f"state.max_size: {used} bytes in use, {self._limit} are allowed and"
                f" {self._limit - self._mark} of them kept for what was accepted before"
            )

    def make_room(self) -> int:
        """Let things give way if the state is above the mark, a bounded number of them; what is used then."""
        used = self.used_bytes()
        for _ in range(_SLICES):
            if used <= self._mark:
                self._pressed = False
                break
            if not self._give_way():
                break
            used = self.used_bytes()
        return used

    def _give_way(self) -> bool:
        stages: dict[str, Callable[[], int]] = {
            "closed_identities": self._forget_identities,
            "notes_remembering": lambda: self._forget_notes(_REMEMBERING),
            "dead_context": lambda: self._dead.drop_oldest(_CONTEXT, _LETTERS_AT_ONCE),
            "dead_stored": lambda: self._dead.drop_oldest(_STORED, _LETTERS_AT_ONCE),
            "dead_risk": lambda: self._dead.drop_oldest((Lane.RISK,), _LETTERS_AT_ONCE),
            "notes_quieting": lambda: self._forget_notes(_QUIETING),
        }
        for what, drop in stages.items():
            with self._database.transaction("making room"):
                dropped = drop()
            if dropped:
                self._notes.tell()
                metrics.STATE_GIVEN_WAY.labels(what=what).inc(dropped)
                if not self._pressed:
                    log.STORE_GIVES_WAY(what=what, limit=self._limit)
                self._pressed = True
                return True
        return False

    def _forget_identities(self) -> int:
        forgotten = self._sessions.forget_closed(_IDENTITIES_AT_ONCE)
        self._database.tally.closed -= forgotten
        return forgotten

    def _forget_notes(self, kinds: Sequence[NoteKind]) -> int:
        for kind in kinds:
            if dropped := self._notes.drop_first(kind, _NOTES_AT_ONCE):
                return dropped
        return 0
