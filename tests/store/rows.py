"""Rows of every table, and files that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from store import schema

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from store.codec import Stored

Row = tuple["Stored", ...]
Rows = dict[str, set[Row]]


def connect(path: Path | str, versions: int = schema.VERSION) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "wal_autocheckpoint = 0"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("".join(schema.MIGRATIONS[:versions]))
    return connection


def put(connection: apsw.Connection, table: schema.Table, rows: Iterable[Row]) -> None:
    statement = table.insert.replace("INSERT", "INSERT OR REPLACE", 1)
    connection.executemany(statement, [table.stamp(*row) for row in rows])


def rows_of(connection: apsw.Connection) -> Rows:
    return {table.name: set(connection.execute(table.select)) for table in schema.TABLES}


def journal(number: int, kind: int = schema.Kind.ARRIVAL, size: int = 300) -> Row:
    return (number, kind, b"n" * 16 if kind == schema.Kind.ARRIVAL else None, b"j" * (size + number % 90))


def checkpoint(node: int, position: int, size: int = 9_000) -> Row:
    return (b"%016d" % node, "c\xe9", f"n{node}", position, b"%d" % position * size)


def session(number: int, touched_ns: int, reason: str | None = None) -> Row:
    return (b"%016d" % (number * 7919 % 1000), touched_ns % 3, number, -number, reason, touched_ns)


def queued(number: int) -> Row:
    return (
        number,
        ("risk", "context")[number % 2],
        f"id-{number}",
        number * 3,
        b"e" * (200 + number % 700),
        2**60,
    )


def note(number: int, written: int) -> Row:
    value = b'{"n":%d,"fill":"%s"}' % (written, b"v" * (number * 29 % 1_500))
    return (f"burst:{number * 7919 % 1000:040x}", "burst", number, value, written)


def dead(number: int) -> Row:
    return (number, "risk", "code_6", 2**60 + number, f"id-{number}", b"d" * (number * 50), number)
