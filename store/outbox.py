"""The outbox in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector.events import Event, Lane, Queued, Settlement
from store.schema import OUTBOX
from telemetry import events as log
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from detector.events import Outcome
    from store.database import Database, Row
    from store.dead import DeadTable

DAMAGED: Final = "damaged"
"""Reason of a dead letter: the bytes in the file are not those that were written."""


class OutboxTable:
    """Events on their way out. ``wall_ns`` dates when they were queued."""

    def __init__(self, database: Database, dead: DeadTable, wall_ns: Callable[[], int]) -> None:
        self._database = database
        self._dead = dead
        self._wall_ns = wall_ns

    def load(self) -> None:
        """Take the tally of what is there."""
        tally = self._database.tally
        [[last]] = self._database.rows(
            "counting events",
            "SELECT max((SELECT ifnull(max(sequence), 0) FROM outbox),"
            " (SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'))",
        )
        tally.sequence = last + 1
        rows = self._database.rows(
            "counting events", "SELECT CAST(lane AS BLOB), count(*) FROM outbox GROUP BY lane"
        )
        waiting: dict[bytes, int] = dict(rows)
        tally.waiting = {lane: waiting.get(lane.encode(), 0) for lane in Lane}

    def queue(self, events: Iterable[Event]) -> int:
        """Put events at the end of their lanes; a part of a transaction. Returns how many."""
        tally, queued_ns, first = self._database.tally, self._wall_ns(), self._database.tally.sequence
        for event in events:
            row = OUTBOX.stamp(
                tally.sequence, event.lane, event.event_id, event.arrived_ns, event.body, queued_ns
            )
            self._database.write(OUTBOX.insert, *row)
            tally.sequence += 1
            tally.waiting[event.lane] += 1
        return tally.sequence - first

    def take(self, lane: Lane, limit: int) -> Sequence[Queued]:
        """See :class:`store.seams.Outbox`. Damaged ones become dead letters."""
        while True:
            rows = self._database.rows(
                "reading events", f"{OUTBOX.select} WHERE lane = ? ORDER BY sequence LIMIT ?", (lane, limit)
            )
            taken = [queued for row in rows if (queued := _queued(row)) is not None]
            if len(taken) == len(rows):
                return taken
            whole = {queued.sequence for queued in taken}
            self._give_up(lane, [row for row in rows if row[0] not in whole])

    def _give_up(self, lane: Lane, rows: Sequence[Row]) -> None:
        with self._database.transaction("setting damaged events aside"):
            for sequence, _, _, _, body, *_ in rows:
                self._dead.add(lane, DAMAGED, body)
                self._remove(lane, sequence)
        metrics.STORE_DAMAGED.labels(table="outbox").inc(len(rows))
        log.STORE_ROWS_DAMAGED(table="outbox", rows=len(rows))

    def _remove(self, lane: Lane, sequence: int) -> None:
        removed = self._database.write("DELETE FROM outbox WHERE sequence = ?", sequence)
        self._database.tally.waiting[lane] -= removed

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """See :class:`store.seams.Outbox`."""
        if not outcomes:
            return
        with self._database.transaction("settling events"):
            for outcome in outcomes:
                self._settle(outcome)

    def _settle(self, outcome: Outcome) -> None:
        rows = self._database.rows("settling", f"{OUTBOX.select} WHERE sequence = ?", (outcome.sequence,))
        for row in rows:
            queued = _queued(row)
            if queued is None:
                continue  # it cannot be the one that was delivered: the next `take` sets it aside
            if outcome.settlement is Settlement.DEAD:
                event = queued.event
                self._dead.add(event.lane, outcome.reason, event.body, event.event_id, event.arrived_ns)
            self._remove(queued.event.lane, queued.sequence)

    def backlog(self) -> Mapping[Lane, int]:
        """See :class:`store.seams.Outbox`."""
        return dict(self._database.tally.waiting)

    def requeue(self, numbers: Sequence[int] | None) -> int:
        """See :class:`store.seams.DeadLetters`."""
        with self._database.transaction("requeuing dead letters"):
            return self.queue(self._dead.take_back(numbers))

    def purge_backlog(self, lane: Lane) -> int:
        """See :class:`store.seams.DeadLetters`."""
        with self._database.transaction("purging events"):
            purged = self._database.write("DELETE FROM outbox WHERE lane = ?", lane)
            self._database.tally.waiting[lane] -= purged
            return purged


def _queued(row: Row) -> Queued | None:
    fields: tuple[Any, ...] | None = OUTBOX.intact(row)
    if fields is None or fields[1] not in set(Lane):
        return None
    sequence, lane, event_id, arrived_ns, body, _ = fields
    return Queued(sequence, Event(Lane(lane), event_id, body, arrived_ns))
