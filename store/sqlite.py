"""All seams in one SQLite file.

Theory of operation
-------------------

There is exactly one connection, used by one thread: SQLite before 3.51.3 could corrupt a write-ahead log that
two connections write, and one connection needs no shared memory. What a method changes, it changes in one
transaction; when the method returns, that is on the disk. When it raises :class:`StoreError`, nothing was
changed, in the file or in memory, and it may be called again. :class:`StoreDamaged` is for good: the file was
damaged under the open connection, and whoever opens it again carries over what is readable.

The folder holds ``state.db`` with its write-ahead log ``state.db-wal``. Folder and files are for their owner
alone (0700, 0600).

How the connection is set up, and why:

- ``locking_mode=EXCLUSIVE``: no other process can open the file, and SQLite keeps its index of the log on the
  heap instead of in a ``-shm`` file that a crash may leave behind.
- ``journal_mode=WAL``: a transaction is one sequential write and one sync, not three.
- ``synchronous=FULL``: the log is synced at each COMMIT. NORMAL would lose the last ones with the power.
- ``journal_size_limit``: a log that grew with a large transaction shrinks again.
- ``cache_size``: bounds the heap; 16 MiB hold the inner pages of any state that fits the limit.
- ``trusted_schema=OFF``, ``cell_size_check=ON``: the file may be damaged, or of someone's making.

The rows and their checksums are described in :mod:`store.schema`.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

import apsw

from detector.judging.notes import BOUNDS
from store.checkpoints import CheckpointTable, MetaTable
from store.database import Database
from store.dead import DeadTable
from store.journal import JournalTable
from store.lock import Lock
from store.notes import NoteTable
from store.opening import make_folder, open_state
from store.outbox import OutboxTable
from store.seams import CannotOpenStore, StoreDamaged, StoreError
from store.sessions import SessionTable
from store.space import Ballast, Going, Space

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from detector.events import Lane, Outcome, Queued
    from detector.judging.notes import Note, NoteKind
    from detector.types import Arrival, NodeId, SessionRow, ShellId
    from store.seams import Checkpoint, Commit, DeadLetter, Entry, Position

MAX_SIZE: Final = 1 << 30
MAX_CLOSED: Final = 1_000_000
"""Closed identities that are remembered, of 60 bytes each; those that closed first are forgotten first."""


class SqliteStore:
    """All seams over the state in ``folder``. Raises :class:`CannotOpenStore`.

    ``wall_ns`` dates dead letters, ``monotonic_ns`` spaces attempts to go on after the disk was full; ``vfs``
    is the name of the SQLite VFS through which files are reached. ``max_size`` bounds the state in bytes
    (:mod:`store.space`), ``max_closed`` the closed identities that are remembered, ``max_notes`` the notes of
    each kind.
    """

    def __init__(  # noqa: PLR0913  the seams to the outside and the bounds
        self,
        folder: Path,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        vfs: str | None = None,
        max_size: int = MAX_SIZE,
        max_closed: int = MAX_CLOSED,
        max_notes: Mapping[NoteKind, int] = BOUNDS,
    ) -> None:
        try:
            make_folder(folder)
            self._lock = Lock(folder, wall_ns())
        except OSError as error:
            raise CannotOpenStore(f"state.path: {folder}: {error}: want a directory to write to") from error
        try:
            self._database = Database(open_state(folder, vfs))
            try:
                self._assemble(wall_ns, max_closed, max_notes)
                ballast = Ballast(folder / "ballast", monotonic_ns)
                going = Going(self._sessions, self._notes, self._dead)
                self._space = Space(self._database, going, ballast, max_size)
            except BaseException:
                self._database.connection.close()
                raise
        except (OSError, apsw.Error, StoreError, StoreDamaged) as error:
            self._lock.release()
            raise CannotOpenStore(f"state.path: {folder}: {error}: want a directory to write to") from error
        except BaseException:
            self._lock.release()
            raise

    def _assemble(
        self, wall_ns: Callable[[], int], max_closed: int, max_notes: Mapping[NoteKind, int]
    ) -> None:
        self._dead = DeadTable(self._database, wall_ns)
        self._outbox = OutboxTable(self._database, self._dead, wall_ns)
        self._sessions = SessionTable(self._database, max_closed)
        self._notes = NoteTable(self._database, max_notes)
        self._meta = MetaTable(self._database)
        self._checkpoints = CheckpointTable(self._database, self._dead)
        self._journal = JournalTable(self._database, self._dead, self._checkpoints, self._meta)
        self._load()

    def _load(self) -> None:
        tally = self._database.tally
        self._dead.load()
        self._outbox.load()
        self._sessions.load()
        self._notes.load()
        self._journal.load()
        service_ns = self._meta.get("service_ns")
        tally.service_ns = self._sessions.last_touched_ns() if service_ns is None else int(service_ns)
        tally.rules = self._meta.get("rules") or ""

    # --- journal

    def append(self, arrivals: Sequence[Arrival], *, durable: bool = True) -> Position:
        """See :class:`store.seams.Journal`."""
        if durable or self._journal.is_full(arrivals):
            self._space.admit()
        return self._journal.append(arrivals, durable=durable)

    def read(self) -> Iterator[tuple[Position, Entry]]:
        """See :class:`store.seams.Journal`."""
        return self._journal.read()

    def peek(
        self, node: NodeId, after: Position, limit: int
    ) -> tuple[Sequence[tuple[Position, Arrival]], Position | None]:
        """See :class:`store.seams.Journal`."""
        return self._journal.peek(node, after, limit)

    def rewind(self) -> None:
        """See :class:`store.seams.Journal`."""
        self._journal.rewind()

    def checkpoints(self) -> Iterator[Checkpoint]:
        """See :class:`store.seams.Journal`."""
        return self._checkpoints.read()

    def service_ns(self) -> int:
        """See :class:`store.seams.Journal`."""
        return self._database.tally.service_ns

    def rules(self) -> str:
        """See :class:`store.seams.Journal`."""
        return self._database.tally.rules

    def journal_bytes(self) -> int:
        """See :class:`store.seams.Journal`."""
        return self._database.tally.journal_bytes

    def bury(self, position: Position, reason: str) -> None:
        """See :class:`store.seams.Journal`."""
        self._journal.bury(position, reason)

    def bury_node(self, node: NodeId, reason: str) -> None:
        """See :class:`store.seams.Journal`."""
        self._journal.bury_node(node, reason)

    # --- sessions

    def commit(self, change: Commit) -> None:
        """See :class:`store.seams.Sessions`."""
        self._space.make_room()
        tally = self._database.tally
        with self._database.transaction("committing"):
            if change.tick is not None:
                tally.service_ns = change.tick.service_ns
                self._meta.put("service_ns", str(tally.service_ns))
                self._journal.add_tick(change.tick)
            self._journal.write()
            self._sessions.put(change.rows)
            self._outbox.queue(change.events)
            dropped = self._notes.put(change.notes)
            self._checkpoints.put(change.checkpoints)
            self._journal.trim(change.trim_before)
            if change.rules:
                tally.rules = change.rules
                self._meta.put("rules", change.rules)
            if change.tick is not None:
                self._sessions.prune(len(change.rows))
                self._notes.prune(len(change.notes))
        self._notes.tell(dropped)

    def look_up(self, shells: Sequence[ShellId]) -> Mapping[ShellId, SessionRow]:
        """See :class:`store.seams.Sessions`."""
        return self._sessions.look_up(shells)

    # --- notes

    def recall(self, keys: Collection[str]) -> Mapping[str, Note]:
        """See :class:`store.seams.Notes`."""
        return self._notes.recall(keys)

    def due_notes(self, now_ns: int, limit: int) -> Sequence[Note]:
        """See :class:`store.seams.Notes`."""
        return self._notes.due(now_ns, limit)

    def next_due_ns(self) -> int | None:
        """See :class:`store.seams.Notes`."""
        return self._notes.next_due_ns()

    def notes(self, kind: NoteKind, after: str, limit: int) -> Sequence[Note]:
        """See :class:`store.seams.Notes`."""
        return self._notes.walk(kind, after, limit)

    # --- outbox

    def take(self, lane: Lane, limit: int) -> Sequence[Queued]:
        """See :class:`store.seams.Outbox`."""
        return self._outbox.take(lane, limit)

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """See :class:`store.seams.Outbox`."""
        self._outbox.settle(outcomes)

    def backlog(self) -> Mapping[Lane, int]:
        """See :class:`store.seams.Outbox`."""
        return self._outbox.backlog()

    # --- dead letters

    def dead_letters(self, limit: int, after: int = 0) -> Sequence[DeadLetter]:
        """See :class:`store.seams.DeadLetters`."""
        return self._dead.dead_letters(limit, after)

    def count_dead_letters(self) -> Mapping[tuple[str, str], int]:
        """See :class:`store.seams.DeadLetters`."""
        return self._dead.counts()

    def requeue(self, numbers: Sequence[int] | None) -> int:
        """See :class:`store.seams.DeadLetters`."""
        return self._outbox.requeue(numbers)

    def purge(self, numbers: Sequence[int] | None) -> int:
        """See :class:`store.seams.DeadLetters`."""
        return self._dead.purge(numbers)

    def purge_backlog(self, lane: Lane) -> int:
        """See :class:`store.seams.DeadLetters`."""
        return self._outbox.purge_backlog(lane)

    def close(self) -> None:
        """See :class:`store.seams.Store`."""
        # What was promised is on the disk already: an error as the file is tidied up changes nothing.
        with contextlib.suppress(apsw.Error):
            self._database.connection.close(force=True)
        self._lock.release()
