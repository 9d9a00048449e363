"""The one connection: transactions that are done whole or not at all, in the file and in memory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import apsw

from detector.events import Lane
from detector.judging.notes import NoteKind
from store.seams import Position, StoreDamaged, StoreError
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from store.codec import Stored


Row: TypeAlias = tuple[Any, ...]
"""A row as SQLite gave it or takes it. What is in it is known once its checksum was seen to hold."""


_START: Final = Position(0)


@dataclass(slots=True)
class Tally:
    """What is kept in memory of the file, so that it need not be counted again.

    A transaction changes it together with the file; one that fails leaves both as they were.
    """

    first: Position = _START
    """The first entry of the journal that is kept."""
    end: Position = _START
    """Where the next entry of the journal goes."""
    pending: tuple[Row, ...] = ()
    """The last entries of the journal, as rows: those not written yet."""
    journal_bytes: int = 0
    service_ns: int = 0
    rules: str = ""
    closed: int = 0
    """Remembered identities that are closed."""
    sequence: int = 1
    """Of the next event in the outbox."""
    waiting: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))
    number: int = 1
    """Of the next dead letter."""
    notes: dict[NoteKind, int] = field(default_factory=lambda: dict.fromkeys(NoteKind, 0))
    written: int = 1
    """Of the next notes that are written: the newer of two versions of a note has the greater number."""
    forget_ns: int = 0
    """No note that may be forgotten is due before."""


class Database:
    """A connection and the tally of its file.

    Every error of SQLite leaves as :class:`StoreError`, or :class:`StoreDamaged`.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.tally = Tally()
        self.on_error: Callable[[apsw.Error], None] = _nothing
        """Told of each error of SQLite, once its transaction is rolled back."""

    @contextmanager
    def transaction(self, doing: str) -> Iterator[None]:
        """Run the body in a transaction that is durable when it ends; ``doing`` is for error messages."""
        before = replace(self.tally, waiting=dict(self.tally.waiting), notes=dict(self.tally.notes))
        try:
            with metrics.STORE_COMMIT_SECONDS.time():
                self.connection.execute("BEGIN IMMEDIATE")
                yield
                self.connection.execute("COMMIT")
            metrics.JOURNAL_BYTES.set(self.tally.journal_bytes)
        except BaseException as error:
            self.tally = before
            self._roll_back()
            if isinstance(error, apsw.Error):
                self.on_error(error)
                raise told(doing, error) from error
            raise

    def _roll_back(self) -> None:
        """End the transaction, unless SQLite has: it does on some errors and not on others."""
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except apsw.Error:
                if self.connection.in_transaction:
                    raise

    def rows(self, doing: str, statement: str, values: Sequence[Stored] = ()) -> list[Row]:
        """All rows of a query. Raises :class:`StoreError`."""
        try:
            return self.connection.execute(statement, values).fetchall()
        except apsw.Error as error:
            raise told(doing, error) from error

    def write(self, statement: str, *values: Stored) -> int:
        """One statement of a transaction; returns how many rows it changed."""
        self.connection.execute(statement, values)
        return self.connection.changes()

    def write_many(self, statement: str, rows: Sequence[Sequence[Stored]]) -> None:
        """One statement of a transaction, once for each row."""
        self.connection.executemany(statement, rows)


def told(doing: str, error: apsw.Error) -> StoreError | StoreDamaged:
    """What the caller is told of an error of SQLite."""
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StoreDamaged(f"{doing}: {error}")
    return StoreError(f"{doing}: {error}")


def _nothing(_: apsw.Error) -> None:
    """What is done about an error when nothing is to be done."""
