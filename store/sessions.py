"""The memory of identities in SQLite.

An open one is kept until it closes, a closed one for :data:`REMEMBER_NS` of service time: of service time,
so that no step of this machine's clock forgets them all. What was forgotten may be told again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector.types import NANOSECONDS, CloseReason, SessionRow
from store import codec
from store.schema import SESSION
from telemetry import events as log
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.types import ShellId
    from store.database import Database, Row

_DAY_NS: Final = 86_400 * NANOSECONDS
REMEMBER_NS: Final = 30 * _DAY_NS
"""How long a closed identity is remembered."""
REMEMBER_OPEN_NS: Final = 90 * _DAY_NS
"""How long an open one that is never touched: a node that is gone closes its sessions, so this bounds what a
defect leaves behind."""
_PRUNED_AT_ONCE: Final = 64
_UPSERT: Final = SESSION.insert.replace("INSERT", "INSERT OR REPLACE", 1)
_U64: Final = 1 << 64


class SessionTable:
    """Rows by the digest of their identity; at most ``max_closed`` of them closed."""

    def __init__(self, database: Database, max_closed: int) -> None:
        self._database = database
        self._max_closed = max_closed

    def load(self) -> None:
        """Take the tally of what is there."""
        [[closed]] = self._database.rows(
            "counting sessions", "SELECT count(*) FROM session WHERE reason IS NOT NULL"
        )
        self._database.tally.closed = closed

    def last_touched_ns(self) -> int:
        """The latest service time of a row: what is left to go by if that of the last tick is damaged."""
        [[touched_ns]] = self._database.rows("reading sessions", "SELECT max(touched_ns) FROM session")
        return touched_ns or 0

    def put(self, rows: Sequence[SessionRow]) -> None:
        """Remember rows; a part of a transaction."""
        tally = self._database.tally
        for row in rows:
            identity = codec.digest(row.shell)
            before = self._database.rows(
                "reading sessions", "SELECT reason IS NOT NULL FROM session WHERE identity = ?", (identity,)
            )
            tally.closed += (row.reason is not None) - sum(was_closed for [was_closed] in before)
            stamped = SESSION.stamp(
                identity,
                row.incarnation,
                row.emitted,
                _signed(row.last_seen_ns),
                row.reason,
                tally.service_ns,
            )
            self._database.write(_UPSERT, *stamped)

    def prune(self, added: int) -> None:
        """Forget some of what may be forgotten, more than was ``added``; a part of a transaction."""
        tally, limit = self._database.tally, _PRUNED_AT_ONCE + 2 * added
        surplus = max(tally.closed - self._max_closed, 0)
        tally.closed -= self.forget_closed(min(surplus, limit))
        tally.closed -= self._database.write(
            "DELETE FROM session WHERE identity IN (SELECT identity FROM session"
            " WHERE reason IS NOT NULL AND touched_ns < ? ORDER BY touched_ns LIMIT ?)",
            tally.service_ns - REMEMBER_NS,
            limit,
        )
        self._database.write(
            "DELETE FROM session WHERE identity IN (SELECT identity FROM session"
            " WHERE reason IS NULL AND touched_ns < ? ORDER BY touched_ns LIMIT ?)",
            tally.service_ns - REMEMBER_OPEN_NS,
            limit,
        )

    def forget_closed(self, count: int) -> int:
        """Forget the closed identities that were touched first; a part of a transaction. Returns how many."""
        if not count:
            return 0
        return self._database.write(
            "DELETE FROM session WHERE identity IN (SELECT identity FROM session"
            " WHERE reason IS NOT NULL ORDER BY touched_ns LIMIT ?)",
            count,
        )

    def look_up(self, shells: Sequence[ShellId]) -> Mapping[ShellId, SessionRow]:
        """See :class:`store.seams.Sessions`. A damaged row is as good as none."""
        found = ((shell, self._find(shell)) for shell in shells)
        return {shell: row for shell, row in found if row is not None}

    def _find(self, shell: ShellId) -> SessionRow | None:
        rows = self._database.rows(
            "looking up sessions", f"{SESSION.select} WHERE identity = ?", (codec.digest(shell),)
        )
        return _session(shell, rows[0]) if rows else None


def _session(shell: ShellId, row: Row) -> SessionRow | None:
    fields: tuple[Any, ...] | None = SESSION.intact(row)
    if fields is None:
        metrics.STORE_DAMAGED.labels(table="session").inc()
        log.STORE_ROWS_DAMAGED(table="session", rows=1)
        return None
    _, incarnation, emitted, last_seen_ns, reason, _ = fields
    return SessionRow(
        shell, incarnation, emitted, last_seen_ns % _U64, None if reason is None else CloseReason(reason)
    )


def _signed(unsigned: int) -> int:
    """A time as senders write it, in 64 bits without a sign, as SQLite takes it."""
    return unsigned - _U64 if unsigned >= _U64 // 2 else unsigned
