"""From a folder to a connection whose file is whole and of this version.

What is damaged is set aside and what is readable of it carried over to a new file; what is not ours, newer,
or out of reach is refused.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

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


_HEADER_BYTES: Final = 100
_HEADER: Final = {
    16: (b"\x10\x00",),
    18: (b"\x01\x01", b"\x02\x02"),
    20: (b"\x00\x40\x20\x20",),
    44: (b"\x00\x00\x00\x04",),
    56: (b"\x00\x00\x00\x01",),
}
"""What SQLite writes to the header of our files: page size, versions to write and read, fractions, format of
the schema, encoding of text. See https://www.sqlite.org/fileformat2.html."""


class _Damaged(Exception):  # noqa: N818  says what the file is
    """The file does not hold together; the message says where."""


def make_folder(folder: Path) -> None:
    """Make a folder and what is above it, for their owner alone; one that exists stays as it is.

    SQLite syncs the folder of its files and nothing above it: without the sync here a loss of power soon
    after the first start could take the folder, with all that was accepted.
    """
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
            _sync(each.parent)


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
        _check_header(path)
        _read_ahead(path)
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


def _check_header(path: Path) -> None:
    """Find damage for which SQLite has another name, as that it may not write, or knows no such format."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if header[68:72] != schema.APPLICATION_ID.to_bytes(4, "big"):
        return  # new, or not ours
    for at, wanted in _HEADER.items():
        if (found := header[at : at + len(wanted[0])]) not in wanted:
            raise _Damaged(f"byte {at} of the header is {found.hex()}, want {wanted[-1].hex()}")


def _read_ahead(path: Path) -> None:
    """Have the system read the file in one go.

    The check walks each tree from its end, a page at a time, which no system reads ahead of. Where nothing of
    the file is in memory, as on a new machine, that took half a minute for a million events, and this takes
    three seconds. It comes before SQLite locks the file: closing it here would release such a lock.
    """
    part = bytearray(1 << 20)
    # What cannot be read SQLite is told of when it reads it.
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        while file.readinto(part):
            pass


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _version(path: Path, connection: apsw.Connection) -> int:
    """The version of a file; 0 if it is new.

    Header and schema must agree: where they do not, a bit of one of them has changed.
    """
    application: int = connection.pragma("application_id")
    version: int = connection.pragma("user_version")
    found = _schema(connection)
    if (application, version, found) == (0, 0, frozenset()):
        return 0
    known = {_schema_of(each): each for each in range(1, schema.VERSION + 1)}.get(found)
    if known is not None and (application, version) == (schema.APPLICATION_ID, known):
        return known
    if application != schema.APPLICATION_ID and known is None:
        raise CannotOpenStore(
            f"state.path: {path}: written by another program (application_id {application:#x}):"
            " want another directory"
        )
    if version > schema.VERSION and known is None:
        raise CannotOpenStore(
            f"state.path: {path}: written by version {version} of the schema, this program knows"
            f" {schema.VERSION}: want a newer program or another directory"
        )
    raise _Damaged(f"the header says {application:#x}, version {version}; the schema is of {known}")


def _schema(connection: apsw.Connection) -> frozenset[tuple[Any, ...]]:
    """Tables and indexes, but those of SQLite itself."""
    statement = (
        "SELECT type, CAST(name AS BLOB), CAST(sql AS BLOB) FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'"
    )
    return frozenset(connection.execute(statement))


def _schema_of(version: int) -> frozenset[tuple[Any, ...]]:
    connection = apsw.Connection(":memory:")
    connection.execute("".join(schema.MIGRATIONS[:version]))
    found = _schema(connection)
    connection.close()
    return found


def _check(connection: apsw.Connection) -> None:
    # Not the quick check: it does not compare an index with its table, and a damaged index hides events.
    # A million events take it a second, half of it for that.
    found = connection.execute("PRAGMA integrity_check(1)").get
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
    connection.pragma("application_id", schema.APPLICATION_ID)
    connection.pragma("user_version", schema.VERSION)
