"""What the file looks like, and how a file of an older version becomes one of this.

A file is made by the same migrations that bring an older one forward, so there is one description of it. Each
row carries a CRC-32 over its other columns, in the order of :attr:`Table.columns`. A column that a migration
adds is the last and NULL in rows of before; NULLs at the end are not part of the checksum. So a migration
rewrites no row: it takes no time, needs no space, and vouches for nothing that it did not look at.

The number of the version stands in the header of the file, as ``PRAGMA user_version``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from store import codec

if TYPE_CHECKING:
    from collections.abc import Sequence

APPLICATION_ID: Final = 0x6F736864
"""``PRAGMA application_id``: "oshd"; whose file it is."""

MIGRATIONS: Final = (
    # 1
    """
    CREATE TABLE meta (
        key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE journal (
        position INTEGER NOT NULL PRIMARY KEY, kind INTEGER NOT NULL, node BLOB, body BLOB NOT NULL,
        crc INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE checkpoint (
        node BLOB NOT NULL UNIQUE, cluster TEXT NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL,
        body BLOB NOT NULL, crc INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE session (
        identity BLOB NOT NULL PRIMARY KEY, incarnation INTEGER NOT NULL, emitted INTEGER NOT NULL,
        last_seen_ns INTEGER NOT NULL, reason TEXT, touched_ns INTEGER NOT NULL, crc INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_closed ON session (touched_ns) WHERE reason IS NOT NULL;
    CREATE INDEX session_open ON session (touched_ns) WHERE reason IS NULL;
    CREATE TABLE outbox (
        sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, lane TEXT NOT NULL, event_id TEXT NOT NULL,
        arrived_ns INTEGER NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX outbox_lane ON outbox (lane);
    CREATE TABLE dead (
        number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL, reason TEXT NOT NULL,
        at_ns INTEGER NOT NULL, event_id TEXT NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX dead_origin ON dead (origin, reason);
    """,
    # 2: how long an event waits is measured, also after it was put back
    """
    ALTER TABLE outbox ADD COLUMN queued_ns INTEGER;
    ALTER TABLE dead ADD COLUMN arrived_ns INTEGER;
    """,
    # 3: what the judge remembers
    """
    CREATE TABLE note (
        key TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, due_ns INTEGER NOT NULL, value BLOB NOT NULL,
        written INTEGER NOT NULL, crc INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX note_due ON note (kind, due_ns);
    """,
)
"""What makes version n of version n - 1. An index on a rowid table ends with the rowid: within a lane, events
are in order of output."""

VERSION: Final = len(MIGRATIONS)
"""The version that this program writes."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a checksum in each row; ``columns`` are all but ``crc``, ``text`` those that hold text.

    Text is read as bytes: damaged text need not be UTF-8, and would make the driver raise.
    """

    name: str
    columns: tuple[str, ...]
    text: frozenset[str] = frozenset()

    @property
    def select(self) -> str:
        """``SELECT ... FROM`` it, for :meth:`intact`."""
        wanted = ", ".join(f"CAST({name} AS BLOB)" if name in self.text else name for name in self.columns)
        return f"SELECT {wanted}, crc FROM {self.name}"  # noqa: S608  names of this module

    @property
    def insert(self) -> str:
        """``INSERT INTO`` it, for :meth:`stamp`."""
        places = ", ".join("?" * (len(self.columns) + 1))
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}, crc) VALUES ({places})"  # noqa: S608  as above

    def stamp(self, *fields: codec.Stored) -> tuple[codec.Stored, ...]:
        """A row to be written: the fields, and their checksum."""
        return (*fields, codec.crc(*_without_end(fields)))

    def intact(self, row: Sequence[codec.Stored]) -> tuple[codec.Stored, ...] | None:
        """The fields of a row that was read by :attr:`select`, or ``None`` if it is damaged."""
        *found, crc = row
        fields = [
            _decoded(field) if name in self.text else field
            for name, field in zip(self.columns, found, strict=True)
        ]
        return tuple(fields) if codec.crc(*_without_end(fields)) == crc else None


def _without_end(fields: Sequence[codec.Stored]) -> Sequence[codec.Stored]:
    end = len(fields)
    while end and fields[end - 1] is None:
        end -= 1
    return fields[:end]


def _decoded(field: codec.Stored) -> codec.Stored:
    try:
        return field.decode() if isinstance(field, bytes) else field
    except UnicodeDecodeError:
        return field  # bytes where text was: the checksum tells


META: Final = Table("meta", ("key", "value"), frozenset({"key", "value"}))
JOURNAL: Final = Table("journal", ("position", "kind", "node", "body"))
CHECKPOINT: Final = Table(
    "checkpoint", ("node", "cluster", "name", "position", "body"), frozenset({"cluster", "name"})
)
SESSION: Final = Table(
    "session",
    ("identity", "incarnation", "emitted", "last_seen_ns", "reason", "touched_ns"),
    frozenset({"reason"}),
)
OUTBOX: Final = Table(
    "outbox",
    ("sequence", "lane", "event_id", "arrived_ns", "body", "queued_ns"),
    frozenset({"lane", "event_id"}),
)
DEAD: Final = Table(
    "dead",
    ("number", "origin", "reason", "at_ns", "event_id", "body", "arrived_ns"),
    frozenset({"origin", "reason", "event_id"}),
)
NOTE: Final = Table("note", ("key", "kind", "due_ns", "value", "written"), frozenset({"key", "kind"}))
TABLES: Final = (META, JOURNAL, CHECKPOINT, SESSION, OUTBOX, DEAD, NOTE)
"""Every table, in an order in which rows can be carried over."""


class Kind:
    """What an entry of the journal is: ``journal.kind``."""

    ARRIVAL: Final = 1
    TICK: Final = 2
    BURIED: Final = 3
    """It is a dead letter; its place is kept, so that it is not taken for lost."""
