"""What is readable of a damaged file is carried over, as it was; what is not is left, and never raises."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from store import schema
from store.pages import PAGE_BYTES, Pages
from store.salvage import Salvaged, _Layout, salvage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


from tests.store.rows import (
    Row,
    Rows,
    checkpoint,
    connect,
    dead,
    journal,
    note,
    put,
    queued,
    rows_of,
    session,
)

NAMES = [table.name for table in schema.TABLES]
NOTHING = dict.fromkeys(NAMES, 0)


def carry(path: Path) -> tuple[Salvaged, Rows]:
    fresh = connect(":memory:")
    result = salvage(path, fresh)
    rows = rows_of(fresh)
    assert result.carried == {name: len(found) for name, found in rows.items()}
    assert [tuple(row) for row in fresh.execute("PRAGMA integrity_check")] == [("ok",)]
    return result, rows


@dataclass(frozen=True)
class Made:
    """A file without a log, what is in it, and everything that ever was."""

    path: Path
    rows: Rows
    ever: Rows
    pages: Mapping[int, tuple[str, str, int]]
    """For each page of a tree the table, the type and how many cells it has, as SQLite tells it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp("made") / "state.db"
    connection = connect(path)
    put(connection, schema.META, [("service_ns", "1000"), ("rules", "r" * 5_000)])
    put(connection, schema.JOURNAL, (journal(number) for number in range(100, 300)))
    put(connection, schema.JOURNAL, (journal(number, schema.Kind.TICK, 20) for number in range(300, 350)))
    put(connection, schema.JOURNAL, [journal(350, size=70_000)])
    put(connection, schema.CHECKPOINT, (checkpoint(node, 1) for node in range(5)))
    put(connection, schema.SESSION, (session(number, 1) for number in range(400)))
    put(connection, schema.OUTBOX, map(queued, range(1, 250)))
    put(connection, schema.DEAD, map(dead, range(1, 30)))
    put(connection, schema.NOTE, (note(number, 1) for number in range(150)))
    before = rows_of(connection)
    connection.execute(
        "DELETE FROM journal WHERE position < 150; DELETE FROM outbox WHERE sequence BETWEEN 50 AND 90"
    )
    put(connection, schema.CHECKPOINT, (checkpoint(node, 2) for node in range(3)))
    put(connection, schema.SESSION, (session(number, 2, "exited") for number in range(100)))
    put(connection, schema.NOTE, (note(number, 2) for number in range(40)))
    rows = rows_of(connection)
    connection.close()
    assert not path.with_name("state.db-wal").exists()
    connection = apsw.Connection(str(path))
    found: list[Any] = connection.execute("SELECT pageno, name, pagetype, ncell FROM dbstat").fetchall()
    connection.close()
    tree = {int(number): (str(name), str(kind), int(cells)) for number, name, kind, cells in found}
    return Made(path, rows, {name: before[name] | rows[name] for name in NAMES}, tree)


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    shutil.copy(made.path, tmp_path / "copy.db")
    return tmp_path / "copy.db"


def test_everything_is_carried_from_a_file_that_is_not_damaged(made: Made) -> None:
    before = made.path.read_bytes()
    result, rows = carry(made.path)
    assert rows == made.rows
    carried = {name: len(found) for name, found in made.rows.items()}
    assert result == Salvaged(carried, NOTHING, 0, 0, len(before) // PAGE_BYTES)
    assert made.path.read_bytes() == before
    assert sum(carried.values()) > 800


def lost_at_most(made: Made, numbers: Iterable[int]) -> int:
    """How many rows a number of pages can hold; one where a row of several pages goes on."""
    lost = 0
    for number in numbers:
        name, kind, cells = made.pages.get(number, ("", "", 0))
        if kind == "overflow":
            lost += 1
        elif name in NAMES and (kind == "leaf" or name in {"meta", "session", "note"}):
            lost += cells
    return lost


def missing(made: Made, rows: Rows) -> int:
    return sum(len(made.rows[name] - rows[name]) for name in NAMES)


def assert_nothing_is_invented(made: Made, rows: Rows) -> None:
    for name in NAMES:
        assert rows[name] <= made.ever[name]


def test_a_flipped_bit_costs_no_more_than_the_rows_of_its_page(made: Made, copy: Path) -> None:
    whole, chance = made.path.read_bytes(), random.Random(4)
    total = reported = 0
    for _ in range(200):
        at, bit = chance.randrange(len(whole)), chance.randrange(8)
        copy.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
        result, rows = carry(copy)
        assert_nothing_is_invented(made, rows)
        lost = missing(made, rows)
        assert lost <= lost_at_most(made, [at // PAGE_BYTES + 1])
        total += lost
        reported += sum(result.damaged.values()) + result.unknown + result.lost_pages
    assert total > 50
    assert reported > 50


def test_no_bit_of_an_inner_page_costs_a_row(made: Made, copy: Path) -> None:
    inner = [
        n for n, (name, kind, _) in made.pages.items() if kind == "internal" and name in {"journal", "outbox"}
    ]
    assert len(inner) > 1
    whole = made.path.read_bytes()
    for number in [1, *inner]:
        at = (number - 1) * PAGE_BYTES
        copy.write_bytes(whole[:at] + b"\xff" * PAGE_BYTES + whole[at + PAGE_BYTES :])
        result, rows = carry(copy)
        assert missing(made, rows) == 0
        assert result.lost_pages >= 1


def test_a_file_that_is_cut_keeps_the_rows_before_the_cut(made: Made, copy: Path) -> None:
    whole = made.path.read_bytes()
    found = []
    for length in range(0, len(whole), len(whole) // 40):
        copy.write_bytes(whole[:length])
        result, rows = carry(copy)
        assert_nothing_is_invented(made, rows)
        kept = length // PAGE_BYTES
        assert result.pages == kept
        assert missing(made, rows) <= lost_at_most(made, range(kept + 1, len(whole) // PAGE_BYTES + 1))
        found.append(sum(result.carried.values()))
    assert found[0] == 0
    assert found[-1] > 600


def test_overwritten_ranges_never_raise_and_nothing_is_invented(made: Made, copy: Path) -> None:
    whole, chance = made.path.read_bytes(), random.Random(5)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 20)):
            at, length = chance.randrange(len(data)), chance.choice([1, 2, 4, 100, 5_000])
            data[at : at + length] = chance.choice(
                [b"\0" * length, b"\xff" * length, chance.randbytes(length)]
            )
        copy.write_bytes(data)
        assert_nothing_is_invented(made, carry(copy)[1])


@pytest.mark.parametrize(
    "data", [None, b"", b"x" * 5_000, bytes(8_192)], ids=["none", "empty", "text", "zeros"]
)
def test_what_is_no_database_gives_nothing(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "state.db"
    if data is not None:
        path.write_bytes(data)
    count = len(data or b"") // PAGE_BYTES
    assert carry(path)[0] == Salvaged(NOTHING, NOTHING, 0, count, count)


def test_a_page_that_the_disk_does_not_give_is_lost_alone(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = next(n for n, (name, kind, _) in made.pages.items() if (name, kind) == ("outbox", "leaf"))
    pread = os.pread

    def failing(file: int, length: int, at: int) -> bytes:
        if at == (number - 1) * PAGE_BYTES:
            raise OSError(5, "Input/output error")
        return pread(file, length, at)

    monkeypatch.setattr("store.pages.os.pread", failing)
    result, rows = carry(made.path)
    assert missing(made, rows) == made.pages[number][2]
    assert result.lost_pages == 1


def test_the_log_counts_up_to_the_last_commit_before_a_bad_frame(tmp_path: Path) -> None:
    path, states = tmp_path / "state.db", list[Rows]()
    connection = connect(path)
    connection.execute("PRAGMA wal_checkpoint")
    for step in range(12):
        states.append(rows_of(connection))
        connection.execute("BEGIN")
        put(connection, schema.JOURNAL, (journal(step * 10 + number) for number in range(10)))
        put(connection, schema.OUTBOX, (queued(step * 10 + number + 1) for number in range(10)))
        connection.execute("DELETE FROM outbox WHERE sequence % 10 = ?", (step,))
        connection.execute("COMMIT")
    states.append(rows_of(connection))
    whole, log = path.read_bytes(), path.with_name("state.db-wal").read_bytes()
    connection.close()
    copy = tmp_path / "copy.db"
    copy.write_bytes(whole)
    copy_log = copy.with_name("copy.db-wal")
    copy_log.write_bytes(log)
    assert carry(copy)[1] == states[-1]
    chance, seen = random.Random(6), list[int]()
    for _ in range(100):
        at, bit = chance.randrange(len(log)), chance.randrange(8)
        copy_log.write_bytes(log[:at] + bytes([log[at] ^ (1 << bit)]) + log[at + 1 :])
        seen.append(states.index(carry(copy)[1]))
        assert seen[-1] == states.index(as_sqlite_reads(copy, tmp_path / "sqlite.db"))
    assert {0, len(states) - 2} <= set(seen)
    for length in range(0, len(log), len(log) // 40):
        copy_log.write_bytes(log[:length])
        assert carry(copy)[1] == as_sqlite_reads(copy, tmp_path / "sqlite.db")
    assert (copy.read_bytes(), copy_log.read_bytes()) == (whole, log[:length])


def as_sqlite_reads(path: Path, copy: Path) -> Rows:
    shutil.copy(path, copy)
    shutil.copy(path.with_name(f"{path.name}-wal"), copy.with_name(f"{copy.name}-wal"))
    connection = apsw.Connection(str(copy))
    try:
        return rows_of(connection)
    finally:
        connection.close()


def test_of_two_versions_of_a_row_the_newest_counts_wherever_it_stands(made: Made, tmp_path: Path) -> None:
    def state(name: str, newer: bool) -> tuple[Rows, bytes]:
        connection = connect(tmp_path / name)
        put(
            connection,
            schema.JOURNAL,
            [journal(1), journal(2, schema.Kind.BURIED if newer else schema.Kind.ARRIVAL)],
        )
        put(connection, schema.CHECKPOINT, [checkpoint(1, 2 if newer else 1, 2)])
        put(connection, schema.SESSION, [session(7, 2, "exited") if newer else session(7, 1), session(8, 1)])
        put(connection, schema.NOTE, [note(1, 2 if newer else 1), note(2, 1)])
        put(connection, schema.OUTBOX, [queued(1)])
        rows = rows_of(connection)
        connection.close()
        return rows, (tmp_path / name).read_bytes()

    (_, old), (newest, new) = state("old.db", newer=False), state("new.db", newer=True)
    for number, both in enumerate((old + new, new + old)):
        path = tmp_path / f"{number}.db"
        path.write_bytes(both)
        assert carry(path)[1] == newest


def test_a_file_of_the_version_before_is_carried_into_one_of_this(tmp_path: Path) -> None:
    connection = connect(tmp_path / "state.db", versions=1)
    columns = schema.OUTBOX.columns[:-1]
    statement = f"INSERT INTO outbox ({', '.join(columns)}, crc) VALUES (?, ?, ?, ?, ?, ?)"
    connection.execute(statement, (*queued(3)[:-1], schema.OUTBOX.stamp(*queued(3)[:-1])[-1]))
    connection.close()
    _, rows = carry(tmp_path / "state.db")
    assert rows == {name: set() for name in NAMES} | {
        "outbox": {blobs(schema.OUTBOX, (*queued(3)[:-1], None))}
    }


def blobs(table: schema.Table, row: Row) -> Row:
    """A row as it is read: text as bytes, with the checksum."""
    stamped = table.stamp(*row)
    return tuple(field.encode() if isinstance(field, str) else field for field in stamped)


def counters(connection: apsw.Connection) -> dict[Any, Any]:
    return {name: used for name, used in connection.execute("SELECT name, seq FROM sqlite_sequence")}  # noqa: C416


def test_numbers_that_were_used_up_are_not_used_again(tmp_path: Path) -> None:
    connection = connect(tmp_path / "state.db")
    put(connection, schema.OUTBOX, map(queued, (1, 2, 90)))
    put(connection, schema.DEAD, map(dead, (1, 70)))
    connection.execute("DELETE FROM outbox WHERE sequence = 90; DELETE FROM dead")
    connection.close()
    fresh = connect(":memory:")
    salvage(tmp_path / "state.db", fresh)
    assert counters(fresh) == {
        "outbox": 90,
        "dead": 70,
    }


def test_a_counter_that_is_damaged_does_not_use_up_all_numbers(tmp_path: Path) -> None:
    connection = connect(tmp_path / "state.db")
    put(connection, schema.OUTBOX, [queued(1)])
    connection.execute("UPDATE sqlite_sequence SET seq = ?", (2**62,))
    connection.execute("INSERT INTO sqlite_sequence VALUES ('other', 5)")
    connection.close()
    fresh = connect(":memory:")
    salvage(tmp_path / "state.db", fresh)
    assert counters(fresh) == {"outbox": 1}


def test_a_page_of_a_tree_that_the_free_list_names_is_read(made: Made, copy: Path) -> None:
    whole = bytearray(made.path.read_bytes())
    trunk = int.from_bytes(whole[32:36])
    assert trunk
    leaf = next(n for n, (name, kind, _) in made.pages.items() if (name, kind) == ("outbox", "leaf"))
    root = next(n for n, (name, _, _) in made.pages.items() if name == "meta")
    at = (trunk - 1) * PAGE_BYTES
    for number in (leaf, root):
        whole[at + 4 : at + 12] = (1).to_bytes(4) + number.to_bytes(4)
        copy.write_bytes(whole)
        assert missing(made, carry(copy)[1]) == 0
    whole[at : at + 4] = trunk.to_bytes(4)  # a list that is a ring
    copy.write_bytes(whole)
    assert missing(made, carry(copy)[1]) == 0
    whole[at : at + 4] = b"\xff" * 4
    copy.write_bytes(whole)
    reading = Pages(copy)
    assert reading.free == frozenset()
    reading.close()


def test_a_row_looks_like_one_of_one_table_alone(made: Made) -> None:
    fresh = connect(":memory:")
    layouts = [_Layout.of(table, fresh) for table in schema.TABLES]
    reading, seen = Pages(made.path), set[str]()
    for number in made.pages:
        for cell in reading.cells(number):
            assert cell is not None
            fitting = {layout.table.name for layout in layouts if layout.fits(cell)}
            assert len(fitting) <= 1
            seen |= fitting
    reading.close()
    assert seen == set(NAMES)


def test_more_rows_than_are_kept_in_memory_are_carried(tmp_path: Path) -> None:
    connection = connect(tmp_path / "state.db")
    put(connection, schema.SESSION, ((b"%016d" % number, 0, 0, 0, None, 0) for number in range(2_500)))
    rows = rows_of(connection)
    connection.close()
    assert carry(tmp_path / "state.db")[1] == rows


def test_a_row_that_is_not_of_the_types_of_any_table_is_counted(tmp_path: Path) -> None:
    connection = connect(tmp_path / "state.db")
    put(connection, schema.OUTBOX, [queued(number) for number in range(1, 5)])
    connection.close()
    data = bytearray((tmp_path / "state.db").read_bytes())
    # What follows the length of a row, its id and the length of its header: NULL for the id; text of 4 bytes.
    place = data.index(b"\0" + bytes([13 + 2 * 4]))
    data[place] = 7  # a float
    data[place + 1] = 10  # no type at all
    (tmp_path / "state.db").write_bytes(data)
    result, rows = carry(tmp_path / "state.db")
    assert (len(rows["outbox"]), result.unknown) == (3, 1)
