"""From a folder to a connection whose file is whole and of this version.

What is damaged is set aside and what is readable of it carried over to a new file; what is not ours, newer,
or out of reach is refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import apsw

from store import schema
from store.salvage import salvage
from store.seams import CannotOpenStore
from telemetry import events as log
from telemetry import metrics

if TYPE_CHECKING:
    from pathlib import Path

    from store.salvage import Salvaged

NAME: Final = "state.db"

_PRAGMAS_OF_ALL: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA cache_size = -16384",
    "PRAGMA page_size = 4096",
)
_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    f"PRAGMA journal_size_limit = {16 << 20}",
)
"""Said in :mod:`store.sqlite`, each with its reason."""


class _Damaged(Exception):  # noqa: N818  says what the file is
    """The file does not hold together; the message says where."""


def make_folder(folder: Path) -> None:
    """Make a folder and what is above it, for their owner alone; one that exists stays as it is."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)


def open_state(folder: Path, vfs: str | None) -> apsw.Connection:
    """Raises :class:`CannotOpenStore`, :class:`OSError` and :class:`apsw.Error`."""
    path = folder / NAME
    _replace(path)
    try:
        return _open(path, vfs)
    except (_Damaged, apsw.CorruptError, apsw.NotADBError) as error:
        salvaged = _carry_over(path, vfs)
        aside = _replace(path)
        metrics.STORE_SET_ASIDE.inc()
        for table, rows in salvaged.damaged.items():
            metrics.STORE_DAMAGED.labels(table=table).inc(rows)
        log.STORE_SET_ASIDE(
            file=str(aside),
            damage=str(error),
            carried=dict(salvaged.carried),
            damaged=dict(salvaged.damaged),
            unknown=salvaged.unknown,
            pages=salvaged.pages,
            lost_pages=salvaged.lost_pages,
        )
        return _open(path, vfs)


def _carry_over(path: Path, vfs: str | None) -> Salvaged:
    """Make a file of what is readable of a damaged one, beside it; only a complete one has the final name."""
    fresh = path.with_name(f"{NAME}.fresh")
    fresh.unlink(missing_ok=True)
    connection = _connection(fresh, vfs)
    try:
        # Nobody reads it before it is complete and synced: no journal, which would need its size again.
        for pragma in (*_PRAGMAS_OF_ALL, "PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "BEGIN"):
            connection.execute(pragma)
        _make(connection, 0)
        salvaged = salvage(path, connection)
        connection.execute("COMMIT")
    finally:
        connection.close()
    _sync(fresh)
    fresh.rename(_salvaged(path))
    _sync(path.parent)
    return salvaged


def _replace(path: Path) -> Path | None:
    """Put what was carried over in the place of what is damaged, if there is some; goes on after a crash.

    The log goes first: a damaged file without it is still damaged, but it must not meet another file.
    """
    if not _salvaged(path).exists():
        return None
    number = 1
    while (aside := path.with_name(f"{NAME}.damaged-{number}")).exists():
        number += 1
    for found, kept in ((_log_of(path), _log_of(aside)), (path, aside)):
        if found.exists():
            found.rename(kept)
    _sync(path.parent)
    _salvaged(path).rename(path)
    _sync(path.parent)
    return aside


def _salvaged(path: Path) -> Path:
    return path.with_name(f"{NAME}.salvaged")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _connection(path: Path, vfs: str | None) -> apsw.Connection:
    # SQLite gives the log the mode of the file.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)


def _open(path: Path, vfs: str | None) -> apsw.Connection:
    if _is_emptied(path):
        raise _Damaged("the file is empty, its log is not")
    connection = _connection(path, vfs)
    try:
        for pragma in (*_PRAGMAS_OF_ALL, *_PRAGMAS):
            connection.execute(pragma)
        version = _version(path, connection)
        _check(connection)
        _migrate(connection, version)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_emptied(path: Path) -> bool:
    """Whether the file was cut to nothing: SQLite would take it for new, and delete the log."""
    size, log_size = (each.stat().st_size if each.exists() else 0 for each in (path, _log_of(path)))
    return size == 0 < log_size


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _version(path: Path, connection: apsw.Connection) -> int:
    """The version of a file; 0 if it is new."""
    application: int = connection.pragma("application_id")
    version: int = connection.pragma("user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application != schema.APPLICATION_ID:
        if _is_ours(connection):
            raise _Damaged(f"application_id {application:#x}, want {schema.APPLICATION_ID:#x}")
        raise CannotOpenStore(
            f"state.path: {path}: written by another program (application_id {application:#x}):"
            " want another directory"
        )
    if version < 1 or _written_version(connection) not in {None, version}:
        raise _Damaged(f"the header says version {version}, the file another")
    if version > schema.VERSION:
        raise CannotOpenStore(
            f"state.path: {path}: written by version {version} of the schema, this program knows"
            f" {schema.VERSION}: want a newer program or another directory"
        )
    return version


def _is_ours(connection: apsw.Connection) -> bool:
    """Whether a file whose header says that it is not ours has our tables: then the header is damaged."""
    found = {name for [name] in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return {table.name for table in schema.TABLES} <= found


def _written_version(connection: apsw.Connection) -> int | None:
    """The version that ``meta`` holds with a checksum, in case that the header is damaged."""
    for row in connection.execute(f"{schema.META.select} WHERE key = ?", (schema.VERSION_KEY,)):
        fields = schema.META.intact(row)
        if fields is not None:
            return int(str(fields[1]))
    return None


def _check(connection: apsw.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").get
    if found != "ok":
        raise _Damaged(str(found).strip())


def _migrate(connection: apsw.Connection, version: int) -> None:
    """Bring a file to this version, in one transaction."""
    if version == schema.VERSION:
        return
    with connection:
        _make(connection, version)
    if version:
        log.STORE_MIGRATED(was=version, now=schema.VERSION)


def _make(connection: apsw.Connection, version: int) -> None:
    """The schema of this version out of that one; a part of a transaction."""
    connection.execute("".join(schema.MIGRATIONS[version:]))
    connection.execute(
        schema.META.insert.replace("INSERT", "INSERT OR REPLACE", 1),
        schema.META.stamp(schema.VERSION_KEY, str(schema.VERSION)),
    )
    connection.pragma("application_id", schema.APPLICATION_ID)
    connection.pragma("user_version", schema.VERSION)
