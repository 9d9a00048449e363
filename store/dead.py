"""Dead letters in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector.events import Event, Lane
from store.schema import DEAD
from store.seams import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from store import codec
    from store.database import Database

_SLICE: Final = 256
"""Rows in memory at a time: 2 MiB of the largest events."""


class DeadTable:
    """What was given up. ``wall_ns`` dates it."""

    def __init__(self, database: Database, wall_ns: Callable[[], int]) -> None:
        self._database = database
        self._wall_ns = wall_ns

    def load(self) -> None:
        """Take the tally of what is there."""
        [[last]] = self._database.rows(
            "counting dead letters",
            "SELECT max((SELECT ifnull(max(number), 0) FROM dead),"
            " (SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'dead'))",
        )
        self._database.tally.number = last + 1

    def add(self, origin: str, reason: str, body: bytes, event_id: str = "", arrived_ns: int = 0) -> None:
        """Give something up; a part of a transaction."""
        tally = self._database.tally
        row = DEAD.stamp(tally.number, origin, reason, self._wall_ns(), event_id, body, arrived_ns)
        self._database.write(DEAD.insert, *row)
        tally.number += 1

    def dead_letters(self, limit: int, after: int) -> Sequence[DeadLetter]:
        """See :class:`store.seams.DeadLetters`. A damaged one is shown as far as it can be."""
        rows = self._database.rows(
            "reading dead letters", f"{DEAD.select} WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
        )
        return [
            DeadLetter(number, _text(origin), _text(reason), at_ns, _text(event_id), body)
            for number, origin, reason, at_ns, event_id, body, *_ in rows
        ]

    def counts(self) -> Mapping[tuple[str, str], int]:
        """See :meth:`store.seams.DeadLetters.count_dead_letters`."""
        rows = self._database.rows(
            "counting dead letters",
            "SELECT CAST(origin AS BLOB), CAST(reason AS BLOB), count(*) FROM dead GROUP BY origin, reason",
        )
        return {(_text(origin), _text(reason)): count for origin, reason, count in rows}

    def take_back(self, numbers: Sequence[int] | None) -> Iterator[Event]:
        """Remove events, and yield them; a part of a transaction. What is damaged stays."""
        for row in self._chosen(numbers):
            fields: tuple[Any, ...] | None = DEAD.intact(row)
            if fields is None or fields[1] not in set(Lane):
                continue
            number, lane, _, _, event_id, body, arrived_ns = fields
            if not event_id:  # an event that was damaged in the outbox
                continue
            self._database.write("DELETE FROM dead WHERE number = ?", number)
            yield Event(Lane(lane), event_id, body, arrived_ns or 0)

    def _chosen(self, numbers: Sequence[int] | None) -> Iterator[tuple[Any, ...]]:
        if numbers is not None:
            for number in sorted(set(numbers)):
                yield from self._database.rows("requeuing", f"{DEAD.select} WHERE number = ?", (number,))
            return
        last = 0
        while rows := self._database.rows(
            "requeuing", f"{DEAD.select} WHERE number > ? ORDER BY number LIMIT {_SLICE}", (last,)
        ):
            yield from rows
            last = rows[-1][0]

    def drop_oldest(self, origins: Sequence[str], count: int) -> int:
        """Delete the oldest dead letters of some origins; a part of a transaction. Returns how many."""
        oldest = " UNION ALL ".join(
            ["SELECT number FROM (SELECT number FROM dead WHERE origin = ? ORDER BY number LIMIT ?)"]
            * len(origins)
        )
        values = [value for origin in origins for value in (origin, count)]
        return self._database.write(
            f"DELETE FROM dead WHERE number IN (SELECT number FROM ({oldest}) ORDER BY number LIMIT ?)",  # noqa: S608  no value is in it
            *values,
            count,
        )

    def purge(self, numbers: Sequence[int] | None) -> int:
        """See :class:`store.seams.DeadLetters`."""
        with self._database.transaction("purging dead letters"):
            if numbers is None:
                return self._database.write("DELETE FROM dead")
            return sum(
                self._database.write("DELETE FROM dead WHERE number = ?", number) for number in set(numbers)
            )


def _text(found: codec.Stored) -> str:
    return found.decode(errors="backslashreplace") if isinstance(found, bytes) else str(found)
