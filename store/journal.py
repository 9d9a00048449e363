"""The journal in SQLite.

Positions are contiguous from ``tally.first`` to ``tally.end``. The entries before ``tally.end -
len(tally.pending)`` are in the file, the others wait in memory, in order, for the next transaction. Reading
goes through the file up to where it ended when reading began, then through ``_tail``: arrivals that were
appended since.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from store import codec
from store.outbox import DAMAGED
from store.schema import JOURNAL, Kind
from store.seams import Position, Tick, Unreadable
from telemetry import events as log
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.types import Arrival, NodeId
    from store.checkpoints import CheckpointTable, MetaTable
    from store.database import Database, Row
    from store.dead import DeadTable
    from store.seams import Entry

_TRIMMED_BEFORE: Final = "trimmed_before"
_SLICE: Final = 64
"""Entries in memory at a time; one has a few kilobytes, at most what a request may have."""
_PENDING_AT_MOST: Final = 1_000
"""Entries that wait in memory; a few hundred bytes each, for they hold no samples."""
_DELETED_AT_ONCE: Final = 256
"""Entries that were trimmed are deleted in following transactions, so that none of them takes long."""
UNDECODABLE: Final = "undecodable"
"""Reason of a dead letter: the bytes are those that were written, and say nothing to this version."""
MISSING: Final = "missing"
"""Reason of an entry that is not in the file although it should be: there is nothing to keep of it."""


class JournalTable:
    """Entries by position."""

    def __init__(
        self, database: Database, dead: DeadTable, checkpoints: CheckpointTable, meta: MetaTable
    ) -> None:
        self._database = database
        self._dead = dead
        self._checkpoints = checkpoints
        self._meta = meta
        self._next = Position(0)
        self._found_end = Position(0)
        self._tail: deque[tuple[Position, Entry]] = deque()
        self._kept = Position(0)
        """Entries before it are deleted."""

    def load(self) -> None:
        """Take the tally of what is there."""
        tally = self._database.tally
        trimmed = self._meta.get(_TRIMMED_BEFORE)
        [[first, last]] = self._database.rows(
            "reading the journal", "SELECT min(position), max(position) FROM journal"
        )
        # Never below a checkpoint: what is appended later must not look as if the checkpoint covered it.
        ends = [int(trimmed or 0), self._checkpoints.last_position(), 0 if last is None else last + 1]
        tally.end = Position(max(ends))
        tally.first = tally.end if first is None else Position(first)
        if trimmed is not None:
            tally.first = Position(int(trimmed))
        [[size]] = self._database.rows(
            "reading the journal", "SELECT sum(length(body)) FROM journal WHERE position >= ?", (tally.first,)
        )
        tally.journal_bytes = size or 0
        self._kept = tally.first if first is None else Position(first)
        self.rewind()

    # --- appending

    def append(self, arrivals: Sequence[Arrival], *, durable: bool) -> Position:
        """See :class:`store.seams.Journal`."""
        tally = self._database.tally
        first = tally.end
        if durable or self.is_full(arrivals):
            with self._database.transaction("appending to the journal"):
                self._add(arrivals)
                self.write()
        else:
            self._add(arrivals)
        self._tail.extend((Position(first + number), each) for number, each in enumerate(arrivals))
        return self._database.tally.end

    def is_full(self, arrivals: Sequence[Arrival]) -> bool:
        """Whether no more than what waits can wait in memory."""
        return len(self._database.tally.pending) + len(arrivals) > _PENDING_AT_MOST

    def _add(self, arrivals: Sequence[Arrival]) -> None:
        tally = self._database.tally
        rows = [
            JOURNAL.stamp(
                position, Kind.ARRIVAL, codec.node_digest(arrival.record.node), codec.dump_arrival(arrival)
            )
            for position, arrival in enumerate(arrivals, tally.end)
        ]
        self._extend(rows)

    def add_tick(self, tick: Tick) -> None:
        """Append a tick; a part of a transaction, before :meth:`write`."""
        self._extend([JOURNAL.stamp(self._database.tally.end, Kind.TICK, None, codec.dump_tick(tick))])

    def _extend(self, rows: Sequence[Row]) -> None:
        tally = self._database.tally
        tally.pending = (*tally.pending, *rows)
        tally.journal_bytes += sum(len(row[3]) for row in rows)
        tally.end = Position(tally.end + len(rows))

    def write(self) -> None:
        """Write what waits in memory; a part of a transaction."""
        tally = self._database.tally
        rows, tally.pending = tally.pending, ()
        self._database.write_many(JOURNAL.insert, rows)
        self._delete(_DELETED_AT_ONCE + 2 * len(rows))

    # --- reading

    def rewind(self) -> None:
        """See :class:`store.seams.Journal`."""
        tally = self._database.tally
        self._next, self._found_end = tally.first, Position(tally.end - len(tally.pending))
        self._tail = deque((Position(row[0]), codec.load_arrival(row[3])) for row in tally.pending)

    def read(self) -> Iterator[tuple[Position, Entry]]:
        """See :class:`store.seams.Journal`."""
        while self._next < self._found_end:
            rows = self._database.rows(
                "reading the journal",
                f"{JOURNAL.select} WHERE position >= ? AND position < ? ORDER BY position LIMIT {_SLICE}",
                (self._next, self._found_end),
            )
            for row in rows:
                if row[0] > self._next:
                    yield self._missing(row[0])
                entry = self._entry(row)
                self._next = Position(row[0] + 1)
                if entry is not None:
                    yield Position(row[0]), entry
            if not rows:
                yield self._missing(self._found_end)
        while self._tail:
            yield self._tail.popleft()

    def peek(
        self, node: NodeId, after: Position, limit: int
    ) -> tuple[list[tuple[Position, Arrival]], Position | None]:
        """See :class:`store.seams.Journal`."""
        tally, digest = self._database.tally, codec.node_digest(node)
        first = max(after, tally.first)
        until = min(Position(first + limit), tally.end)
        rows = self._database.rows(
            "reading the journal",
            f"{JOURNAL.select} WHERE position >= ? AND position < ? AND node = ? ORDER BY position",
            (first, until, digest),
        )
        pending = [row for row in tally.pending if first <= row[0] < until and row[2] == digest]
        found: list[tuple[Position, Arrival]] = []
        for row in (*rows, *pending):
            fields: tuple[Any, ...] | None = JOURNAL.intact(row)
            # What is damaged is for who reads the journal to set aside.
            with contextlib.suppress(codec.Undecodable):
                if fields is not None and fields[1] == Kind.ARRIVAL:
                    found.append((Position(fields[0]), codec.load_arrival(fields[3])))
        return found, until if until < tally.end else None

    def _missing(self, until: int) -> tuple[Position, Unreadable]:
        first, self._next = self._next, Position(until)
        metrics.STORE_DAMAGED.labels(table="journal").inc(until - first)
        log.STORE_ROWS_DAMAGED(table="journal", rows=until - first, reason=MISSING)
        return first, Unreadable(MISSING)

    def _entry(self, row: Row) -> Entry | None:
        fields: tuple[Any, ...] | None = JOURNAL.intact(row)
        if fields is None:
            return self._give_up(row, DAMAGED, "")
        _, kind, _, body = fields
        if kind == Kind.BURIED:
            return None
        try:
            return codec.load_tick(body) if kind == Kind.TICK else codec.load_arrival(body)
        except codec.Undecodable as error:
            return self._give_up(row, UNDECODABLE, str(error))

    def _give_up(self, row: Row, reason: str, error: str) -> Unreadable:
        with self._database.transaction("setting a damaged entry aside"):
            self._bury(row, reason)
        metrics.STORE_DAMAGED.labels(table="journal").inc()
        log.STORE_ROWS_DAMAGED(table="journal", rows=1, reason=reason, error=error)
        return Unreadable(reason)

    # --- giving up

    def bury(self, position: Position, reason: str) -> None:
        """See :class:`store.seams.Journal`."""
        self._bury_all([position], reason)

    def _bury_all(self, positions: Sequence[Position], reason: str) -> None:
        with self._database.transaction("burying"):
            self.write()
            for position in positions:
                self._bury_at(position, reason)
        gone = set(positions)
        self._tail = deque(entry for entry in self._tail if entry[0] not in gone)

    def _bury_at(self, position: Position, reason: str) -> None:
        for row in self._database.rows(
            "reading the journal", f"{JOURNAL.select} WHERE position = ?", (position,)
        ):
            if row[0] >= self._database.tally.first and row[1] != Kind.BURIED:
                self._bury(row, reason)

    def _bury(self, row: Row, reason: str) -> None:
        position, _, _, body, _ = row
        self._dead.add("journal", reason, body)
        self._database.write("DELETE FROM journal WHERE position = ?", position)
        self._database.write(JOURNAL.insert, *JOURNAL.stamp(position, Kind.BURIED, None, b""))
        self._database.tally.journal_bytes -= len(body)

    def bury_node(self, node: NodeId, reason: str) -> None:
        """See :class:`store.seams.Journal`."""
        digest, tally = codec.node_digest(node), self._database.tally
        kept = self._database.rows(
            "reading the journal",
            "SELECT position FROM journal WHERE position >= ? AND node = ? ORDER BY position",
            (tally.first, digest),
        )
        positions = [Position(row[0]) for row in [*kept, *(row for row in tally.pending if row[2] == digest)]]
        if positions:
            self._bury_all(positions, reason)
            return
        with self._database.transaction("burying"):
            self._checkpoints.bury_node(node, reason)

    # --- trimming

    def trim(self, before: Position) -> None:
        """Let go of the entries before a position; a part of a transaction."""
        tally = self._database.tally
        before = min(before, tally.end)
        if before <= tally.first:
            return
        [[size]] = self._database.rows(
            "trimming",
            "SELECT sum(length(body)) FROM journal WHERE position >= ? AND position < ?",
            (tally.first, before),
        )
        tally.journal_bytes -= size or 0
        tally.first = before
        self._meta.put(_TRIMMED_BEFORE, str(before))

    def _delete(self, limit: int) -> None:
        """Delete at most ``limit`` of the entries that were let go; a part of a transaction."""
        until = min(self._database.tally.first, self._kept + limit)
        if until > self._kept:
            self._database.write("DELETE FROM journal WHERE position < ?", until)
            self._kept = Position(until)
