"""What is still readable of a damaged file goes into a fresh one.

:func:`salvage` reads every page by itself (:mod:`store.pages`). A row says by the types of its columns of
which table it may be, and its checksum says that it is. Keys, positions, sequences and numbers stay what they
were; numbers of events and dead letters that were used up are not used again.

A row may be found twice: a page that was emptied, or was copied by half from the log to the file, holds
versions from before. Of journal, checkpoints, sessions and notes the newest counts. Of events and dead
letters there is one version alone.

What was lost between the rows that are found shows in the order of positions; what was lost at the end of the
journal does not.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from store import schema
from store.pages import SCHEMA_TYPES, Pages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import apsw

    from store.codec import Stored
    from store.pages import Cell
    from store.schema import Table

_AT_ONCE: Final = 1_000
"""Rows in memory before they are written, of each table."""

_NEWER: Final = {
    schema.JOURNAL.name: ("{0}.kind",),  # one that was buried may not come to life
    schema.CHECKPOINT.name: ("{0}.position",),
    schema.SESSION.name: ("{0}.touched_ns", "{0}.incarnation", "{0}.emitted", "{0}.reason IS NOT NULL"),
    schema.NOTE.name: ("{0}.written",),
}
"""What is greater in the newer version of a row; ``{0}`` is where it stands."""

_TYPES: Final = {"INTEGER": "i", "TEXT": "t", "BLOB": "b"}

_COUNTER_TYPES: Final = "ti"
"""Of a row of ``sqlite_sequence``: a table, and the greatest key that it had."""
_COUNTERS: Final = {table.name.encode(): table.name for table in (schema.OUTBOX, schema.DEAD)}
_COUNTER_BELOW: Final = 1 << 48
"""What is not below it was damaged: these rows have no checksum."""


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was carried over, and what could not be.

    ``carried`` and ``damaged`` count rows by table; a damaged one has the columns of the table, and another
    checksum than what it holds. ``unknown`` are rows of which not even the table is known. ``lost_pages`` of
    the ``pages`` could not be read, or hold nothing that makes sense: how many rows were there is not known.
    """

    carried: Mapping[str, int]
    damaged: Mapping[str, int]
    unknown: int
    lost_pages: int
    pages: int


def salvage(damaged: Path, fresh: apsw.Connection) -> Salvaged:
    """Carry what is readable of ``damaged`` and its log into ``fresh``, which has the schema and no rows.

    It starts and ends no transaction: in one that makes the schema too, a crash leaves nothing behind that
    looks like a whole file. What is damaged never raises; what SQLite says of ``fresh`` does: ``apsw.Error``.
    ``damaged`` is only read. Takes about 40 s for a million rows.
    """
    pages = Pages(damaged)
    try:
        return _Salvage(pages, fresh).run()
    finally:
        pages.close()


class _Salvage:
    def __init__(self, pages: Pages, fresh: apsw.Connection) -> None:
        self._pages = pages
        self._fresh = fresh
        self._layouts = [_Layout.of(table, fresh) for table in schema.TABLES]
        self._by_types: dict[tuple[bool, str], _Layout | None] = {}
        self._insert = {table.name: _insert(table) for table in schema.TABLES}
        self._waiting: dict[str, list[tuple[Stored, ...]]] = {table.name: [] for table in schema.TABLES}
        self._damaged: Counter[str] = Counter()
        self._unknown = 0
        self._counters: Counter[str] = Counter()

    def run(self) -> Salvaged:
        """See :func:`salvage`."""
        others = []
        for number in range(1, self._pages.count + 1):
            if number in self._pages.free:
                continue
            if self._pages.is_node(number):
                for cell in self._pages.cells(number):
                    self._take(cell)
            else:
                others.append(number)
        for name in self._waiting:
            self._write(name)
        self._carry_counters()
        return Salvaged(
            {name: self._count(name) for name in self._waiting},
            {name: self._damaged[name] for name in self._waiting},
            self._unknown,
            sum(number not in self._pages.continued for number in others),
            self._pages.count,
        )

    def _take(self, cell: Cell | None) -> None:
        if cell is None:
            self._unknown += 1
            return
        layout = self._layout(cell)
        if layout is None:
            self._take_other(cell)
            return
        row = layout.table.intact(layout.row(cell))
        if row is None:
            # What the index on dead letters holds has the types of a row of `meta`.
            self._damaged[layout.table.name] += layout.table is not schema.META
            return
        waiting = self._waiting[layout.table.name]
        waiting.append(layout.table.stamp(*row))
        if len(waiting) >= _AT_ONCE:
            self._write(layout.table.name)

    def _layout(self, cell: Cell) -> _Layout | None:
        key = (cell.row_id is None, cell.types)
        if key not in self._by_types:
            self._by_types[key] = next((each for each in self._layouts if each.fits(cell)), None)
        return self._by_types[key]

    def _take_other(self, cell: Cell) -> None:
        """The row of no table of ours: of a counter, of the schema, of an index, or damaged."""
        if cell.row_id is None or cell.types in SCHEMA_TYPES:
            return
        if cell.types != _COUNTER_TYPES:
            self._unknown += 1
            return
        table, used = cast("tuple[bytes, int]", cell.values)
        name = _COUNTERS.get(table)
        if name is not None and used < _COUNTER_BELOW:
            self._counters[name] = max(self._counters[name], used)

    def _write(self, name: str) -> None:
        self._fresh.executemany(self._insert[name], self._waiting[name])
        self._waiting[name].clear()

    def _carry_counters(self) -> None:
        for name, used in self._counters.items():
            self._fresh.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (used, name))
            if not self._fresh.changes():
                self._fresh.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, used))

    def _count(self, name: str) -> int:
        rows: int = self._fresh.execute(f"SELECT count(*) FROM {name}").get  # noqa: S608  a table of ours
        return rows


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the rows of a table stand in the file: columns as they were declared, ``types`` as a pattern."""

    table: Table
    columns: tuple[str, ...]
    row_id: str | None
    """The column that is the row id, and NULL where it would stand."""
    has_row_id: bool
    types: re.Pattern[str]

    @classmethod
    def of(cls, table: Table, fresh: apsw.Connection) -> _Layout:
        query = 'SELECT name, type, "notnull", pk FROM pragma_table_info(?)'
        declared: list[tuple[Any, ...]] = fresh.execute(query, (table.name,)).fetchall()
        row_id = next((name for name, kind, _, is_key in declared if is_key and kind == "INTEGER"), None)
        has_key = any(is_key for *_, is_key in declared)
        columns = tuple(name for name, *_ in declared)
        required = max(at for at, (_, _, not_null, _) in enumerate(declared) if not_null)
        types = [
            "n"
            if name == row_id
            else _TYPES[kind]
            if not_null
            else f"[n{_TYPES[kind]}]{'?' * (at > required)}"
            for at, (name, kind, not_null, _) in enumerate(declared)
        ]
        return cls(table, columns, row_id, row_id is not None or not has_key, re.compile("".join(types)))

    def fits(self, cell: Cell) -> bool:
        """Whether it may be a row of this table."""
        return self.has_row_id == (cell.row_id is not None) and bool(self.types.fullmatch(cell.types))

    def row(self, cell: Cell) -> list[Stored]:
        """The columns of the table, and the checksum."""
        values: dict[str, Stored] = dict(zip(self.columns, cell.values, strict=False))
        if self.row_id is not None:
            values[self.row_id] = cell.row_id
        return [values.get(name) for name in (*self.table.columns, "crc")]


def _insert(table: Table) -> str:
    """A statement that inserts a row of a table, unless it has it in a version that is as new."""
    newer = _NEWER.get(table.name)
    if newer is None:
        return f"{table.insert} ON CONFLICT DO NOTHING"
    columns = ", ".join(f"{name} = excluded.{name}" for name in (*table.columns, "crc"))
    new, old = (", ".join(newer).format(where) for where in ("excluded", table.name))
    return f"{table.insert} ON CONFLICT DO UPDATE SET {columns} WHERE ({new}) > ({old})"
