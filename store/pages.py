"""The pages of a SQLite file and the rows on them, read without SQLite: for a file that SQLite calls damaged.

SQLite reaches a row from the schema by way of the inner pages of a tree; where one of these is damaged it
reaches none of the thousands of rows below. But each leaf says by itself what it holds. So the leaves are
read one by one, wherever they stand, and each row is judged by its own checksum (:mod:`store.schema`). After
https://www.sqlite.org/fileformat2.html, for the files of this program: pages of 4096 bytes, all of them used,
text in UTF-8, no automatic vacuum.

Three kinds of pages are not leaves, and cannot be taken for some. An inner page has a type of its own. A page
on which a long row goes on begins with the number of the next, so with a zero byte: whoever writes the bytes
of a row cannot make rows of them. A page on the free list may hold rows that were deleted, so it is left out,
unless a tree refers to it. Where the free list is damaged, rows that were deleted may return: rather that
than lose some.

The write-ahead log counts as far as SQLite would read it: up to the last commit before the first bad frame.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.codec import Stored

PAGE_BYTES: Final = 4096
_HEADER_BYTES: Final = 100
"""What comes before the tree on the first page."""

_INDEX_NODE: Final = 2
_TABLE_NODE: Final = 5
_INDEX_LEAF: Final = 10
_TABLE_LEAF: Final = 13
_NODES: Final = frozenset({_INDEX_NODE, _TABLE_NODE, _INDEX_LEAF, _TABLE_LEAF})

_LOCAL_AT_MOST: Final = {
    _TABLE_LEAF: PAGE_BYTES - 35,
    _INDEX_LEAF: (PAGE_BYTES - 12) * 64 // 255 - 23,
    _INDEX_NODE: (PAGE_BYTES - 12) * 64 // 255 - 23,
}
"""Bytes of a row up to which none of it goes to other pages."""
_LOCAL_AT_LEAST: Final = (PAGE_BYTES - 12) * 32 // 255 - 23

SCHEMA_TYPES: Final = frozenset({"tttit", "tttin"})
"""Of a row of ``sqlite_schema`` for a table or an index: type, name, table, root page, statement or none."""

_COLUMNS: Final = {
    0: ("n", 0),
    **{code: ("i", size) for code, size in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 8), (8, 0), (9, 0))},
    7: ("f", 8),
}
"""Type and size by the code of a column, below 12; 8 and 9 are the integers 0 and 1."""

_LOG_HEADER: Final = struct.Struct(">8I")
_FRAME_HEADER: Final = struct.Struct(">6I")
_LOG_ORDERS: Final = {0x377F0682: "<", 0x377F0683: ">"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A row as it stands on a page.

    ``types`` has a letter for each column: ``n`` for NULL, ``i``, ``f``, ``t`` for text (its bytes), ``b``. A
    table without row ids keeps its rows as an index does: ``row_id`` is ``None``.
    """

    row_id: int | None
    types: str
    values: tuple[Stored, ...]


class Damaged(ValueError):  # noqa: N818  says what it is
    """What was read cannot be what SQLite wrote."""


class Pages:
    """The pages of a file and of its write-ahead log. Neither is written to, and nothing raises.

    ``count`` pages are numbered from 1. ``free`` are those on the free list, as far as it can be followed,
    that no tree refers to.
    """

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        self._log = _open(path.with_name(f"{path.name}-wal"))
        self._frames, committed = _frames(self._log)
        self.count = committed or _size(self._file) // PAGE_BYTES
        listed = frozenset(self._listed())
        self.free = listed - self._referenced(listed) if listed else listed
        self.continued: set[int] = set()
        """Pages on which rows go on that :meth:`cells` has found whole."""

    def close(self) -> None:
        """Close the files."""
        for file in (self._file, self._log):
            if file is not None:
                os.close(file)

    def read(self, number: int) -> bytes:
        """The bytes of a page; none if there is no such page or it cannot be read."""
        if not 0 < number <= self.count:
            return b""
        at = self._frames.get(number)
        if at is not None:
            return _read(self._log, at, PAGE_BYTES)
        return _read(self._file, (number - 1) * PAGE_BYTES, PAGE_BYTES)

    def is_node(self, number: int) -> bool:
        """Whether a page is part of a tree."""
        page = self.read(number)
        return bool(page) and page[_start(number)] in _NODES

    def cells(self, number: int) -> Iterator[Cell | None]:
        """The rows on a page that is part of a tree; ``None`` for each that cannot be read."""
        page, start = self.read(number), _start(number)
        kind = page[start] if page else 0
        if kind not in _LOCAL_AT_MOST:
            return
        count = int.from_bytes(page[start + 3 : start + 5])
        pointers = start + (12 if kind == _INDEX_NODE else 8)
        for at in range(pointers, min(pointers + 2 * count, PAGE_BYTES - 1), 2):
            try:
                yield self._cell(page, kind, int.from_bytes(page[at : at + 2]))
            except (Damaged, IndexError):
                yield None

    def _cell(self, page: bytes, kind: int, at: int) -> Cell:
        if kind == _INDEX_NODE:
            at += 4  # the page below
        length, at = _varint(page, at)
        row_id = None
        if kind == _TABLE_LEAF:
            row_id, at = _varint(page, at)
            row_id -= (row_id >> 63) << 64
        types, values = _record(self._payload(page, kind, at, length))
        return Cell(row_id, types, values)

    def _payload(self, page: bytes, kind: int, at: int, length: int) -> bytes:
        """The bytes of a row, of which the first stand at ``at`` and the others on pages of their own."""
        if length <= _LOCAL_AT_MOST[kind]:
            return _part(page, at, length)
        if length > self.count * PAGE_BYTES:
            raise Damaged
        local = _LOCAL_AT_LEAST + (length - _LOCAL_AT_LEAST) % (PAGE_BYTES - 4)
        if local > _LOCAL_AT_MOST[kind]:
            local = _LOCAL_AT_LEAST
        parts = [_part(page, at, local)]
        wanted, number, seen = length - local, int.from_bytes(_part(page, at + local, 4)), set[int]()
        while wanted > 0:
            following = self.read(number)
            if not following:
                raise Damaged
            seen.add(number)
            parts.append(following[4 : 4 + wanted])
            wanted -= PAGE_BYTES - 4
            number = int.from_bytes(following[:4])
        self.continued |= seen
        return b"".join(parts)

    def _listed(self) -> Iterator[int]:
        """The pages on the free list, up to where it is damaged."""
        trunk, seen = int.from_bytes(self.read(1)[32:36]), set[int]()
        while (page := self.read(trunk)) and trunk not in seen:
            seen.add(trunk)
            following, count = struct.unpack_from(">2I", page)
            leaves = struct.unpack_from(f">{min(count, PAGE_BYTES // 4 - 2)}I", page, 8)
            if not all(number <= self.count for number in (following, *leaves)):
                return
            yield trunk
            yield from leaves
            trunk = following

    def _referenced(self, listed: frozenset[int]) -> set[int]:
        """The roots of the trees, and what their inner pages refer to."""
        schema = (cell for cell in self.cells(1) if cell is not None)
        found = {int(cell.values[3] or 0) for cell in schema if cell.types in SCHEMA_TYPES}
        for number in range(1, self.count + 1):
            page, start = self.read(number), _start(number)
            if page and number not in listed and page[start] in {_INDEX_NODE, _TABLE_NODE}:
                last = start + 12 + 2 * int.from_bytes(page[start + 3 : start + 5])
                cells = (
                    int.from_bytes(page[at : at + 2]) for at in range(start + 12, min(last, PAGE_BYTES), 2)
                )
                found.update(int.from_bytes(page[at : at + 4]) for at in (start + 8, *cells))
        return found


def _start(number: int) -> int:
    return _HEADER_BYTES if number == 1 else 0


def _record(payload: bytes) -> tuple[str, tuple[Stored, ...]]:
    """The types and values of the columns of a row."""
    end, at = _varint(payload, 0)
    body, types, values = end, [], []
    while at < end:
        code, at = _varint(payload, at)
        letter, size = _column(code)
        part = _part(payload, body, size)
        body += size
        types.append(letter)
        values.append(_value(code, letter, part))
    if at != end or body != len(payload):
        raise Damaged
    return "".join(types), tuple(values)


def _column(code: int) -> tuple[str, int]:
    if code >= 12:  # noqa: PLR2004  from here on even codes are blobs, odd ones text
        return ("t" if code % 2 else "b"), (code - 12) // 2
    try:
        return _COLUMNS[code]
    except KeyError:
        raise Damaged from None


def _value(code: int, letter: str, part: bytes) -> Stored:
    if letter == "i":
        return int.from_bytes(part, signed=True) if part else code - 8
    if letter == "f":
        number: float = struct.unpack(">d", part)[0]
        return number
    return part if letter != "n" else None


def _part(data: bytes, at: int, length: int) -> bytes:
    part = data[at : at + length]
    if len(part) != length:
        raise Damaged
    return part


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    value = 0
    for end in range(at, at + 8):
        byte = data[end]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004  the bit that says that it goes on
            return value, end + 1
    return value << 8 | data[at + 8], at + 9


# --- the write-ahead log


def _frames(log: int | None) -> tuple[dict[int, int], int]:
    """Where in the log the newest version of each page stands, and how many pages its last commit left."""
    header = _read(log, 0, _LOG_HEADER.size)
    if not header:
        return {}, 0
    magic, _, page_bytes, _, *salt, first, second = _LOG_HEADER.unpack(header)
    order = _LOG_ORDERS.get(magic)
    if order is None or page_bytes != PAGE_BYTES:
        return {}, 0
    total = _checksum(order, header[:24], (0, 0))
    committed: dict[int, int] = {}
    count, since, at = 0, dict[int, int](), _LOG_HEADER.size
    while total == (first, second) and (frame := _read(log, at, _FRAME_HEADER.size + PAGE_BYTES)):
        number, size, *found, first, second = _FRAME_HEADER.unpack_from(frame)
        total = _checksum(order, frame[:8] + frame[_FRAME_HEADER.size :], total)
        if found != salt or total != (first, second):
            break
        since[number] = at + _FRAME_HEADER.size
        if size:
            committed.update(since)
            count, since = size, {}
        at += len(frame)
    return committed, count


def _checksum(order: str, data: bytes, total: tuple[int, int]) -> tuple[int, int]:
    one, other = total
    for even, odd in struct.iter_unpack(f"{order}2I", data):
        one = one + even + other & 0xFFFFFFFF
        other = other + odd + one & 0xFFFFFFFF
    return one, other


# --- files


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _size(file: int | None) -> int:
    return 0 if file is None else os.fstat(file).st_size


def _read(file: int | None, at: int, length: int) -> bytes:
    """``length`` bytes, or none: there are fewer, or the disk does not give them."""
    try:
        data = b"" if file is None else os.pread(file, length, at)
    except OSError:
        return b""
    return data if len(data) == length else b""
