"""The disk fails at any operation: what a method did not do, it did not do at all; it may be asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw
import pytest

from detector.events import Event, Lane, Outcome, Settlement
from detector.judging.notes import Note, NoteKind, Tombstone
from detector.types import Arrival, CloseReason, NodeId, Record, SessionRow, ShellId
from store.seams import Checkpoint, Commit, Position, StoreError, Tick
from store.sqlite import SqliteStore
from tests.store.faults import FaultyDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NODE = NodeId("c", "n")
SHELLS = [ShellId(NODE, "h", pid, 1, "sh") for pid in range(3)]
ERRORS = {
    "EIO": apsw.IOError,
    "disk full": apsw.FullError,
    "read-only": apsw.ReadOnlyError,
    "not permitted": apsw.CantOpenError,
}


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.vfs.unregister()


def arrival(number: int) -> Arrival:
    return Arrival(Record(NODE, (), (number,)), number, number)


def event(number: int, lane: Lane = Lane.RISK) -> Event:
    return Event(lane, f"id-{number}", b'{"n":%d}' % number)


def seen(store: SqliteStore) -> dict[str, Any]:
    """All that a store tells, entries from the start."""
    store.rewind()
    return {
        "entries": list(store.read()),
        "checkpoints": list(store.checkpoints()),
        "service_ns": store.service_ns(),
        "rules": store.rules(),
        "journal_bytes": store.journal_bytes(),
        "sessions": dict(store.look_up(SHELLS)),
        "events": {lane: list(store.take(lane, 99)) for lane in Lane},
        "backlog": dict(store.backlog()),
        "dead": list(store.dead_letters(99)),
        "notes": {kind: list(store.notes(kind, "", 99)) for kind in NoteKind},
        "counts": dict(store._database.tally.notes),
    }


def note(due_ns: int, kind: NoteKind, count: int = 0) -> Note:
    return Note(kind, f"{kind}:{due_ns}", {"count": count}, due_ns)


def fill(store: SqliteStore) -> None:
    store.append([arrival(1), arrival(2)])
    store.append([arrival(3)], durable=False)
    row = SessionRow(SHELLS[0], 0, 0, 1)
    events = (event(1), event(2), event(3), event(4, Lane.CONTEXT))
    notes = (note(1, NoteKind.BURST), note(2, NoteKind.CAP), note(3, NoteKind.CAP), note(4, NoteKind.AUDIT))
    store.commit(
        Commit(Tick(1), (row,), events, (Checkpoint(NODE, Position(1), b"1"),), rules="r", notes=notes)
    )
    store.settle([Outcome(1, Settlement.DEAD, "code_6")])
    store.append([arrival(4)], durable=False)


def _commit(store: SqliteStore) -> None:
    rows = (SessionRow(SHELLS[0], 0, 1, 2, CloseReason.EXITED), SessionRow(SHELLS[1], 0, 0, 2))
    checkpoint = Checkpoint(NODE, Position(2), b"2" * 9_000)
    # Of those that are there one is due, one is changed, and one is removed.
    notes = (
        note(1, NoteKind.BURST, 9),
        Tombstone("audit:4"),
        note(5, NoteKind.SUMMARY),
        note(6, NoteKind.CAP),
    )
    events = (event(5), event(6, Lane.AUDIT))
    store.commit(Commit(Tick(2), rows, events, (checkpoint,), Position(2), "s", notes))


OPERATIONS: dict[str, Callable[[SqliteStore], object]] = {
    "append": lambda store: store.append([arrival(5), arrival(6)]),
    "commit": _commit,
    "settle": lambda store: store.settle(
        [Outcome(2, Settlement.DONE), Outcome(3, Settlement.DEAD, "code_12"), Outcome(9, Settlement.DONE)]
    ),
    "bury": lambda store: store.bury(Position(1), "raised"),
    "bury_node": lambda store: store.bury_node(NODE, "raised"),
    "requeue": lambda store: store.requeue(None),
    "purge": lambda store: store.purge(None),
    "purge_backlog": lambda store: store.purge_backlog(Lane.RISK),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_write_that_fails_changes_nothing_and_is_repeated(
    tmp_path: Path, disk: FaultyDisk, name: str, error: type[apsw.Error]
) -> None:
    """Each write and sync in turn is the first that fails, until none does."""
    ticks = iter(range(10**12, 10**15, 10**10))

    def new(folder: str, vfs: str | None) -> SqliteStore:
        made = SqliteStore(tmp_path / folder, wall_ns=lambda: 1, monotonic_ns=lambda: next(ticks), vfs=vfs)
        fill(made)
        return made

    other = new("other", None)
    OPERATIONS[name](other)
    wanted = seen(other)
    other.close()
    store, after = new("0", disk.vfs.name), 0
    while True:
        before = seen(store)
        disk.fail("write", "sync", "truncate", after=after, error=error)
        try:
            OPERATIONS[name](store)
        except StoreError:
            assert disk.failed
        else:
            assert not disk.failed
            break
        disk.mend()
        assert seen(store) == before
        OPERATIONS[name](store)
        assert seen(store) == wanted
        store.append([])  # writes what waits in memory
        store.close()
        store = SqliteStore(tmp_path / str(after), wall_ns=lambda: 1)
        assert seen(store) == wanted
        store.close()
        after += 1
        store = new(str(after), disk.vfs.name)
    assert after >= 2
    disk.mend()
    assert seen(store) == wanted
    store.close()


READS: dict[str, Callable[[SqliteStore], object]] = {
    "read": lambda store: list(store.read()),
    "checkpoints": lambda store: list(store.checkpoints()),
    "look_up": lambda store: store.look_up(SHELLS),
    "take": lambda store: store.take(Lane.RISK, 99),
    "dead_letters": lambda store: store.dead_letters(99),
    "count_dead_letters": lambda store: store.count_dead_letters(),
    "append": lambda store: store.append([arrival(5)]),
    "commit": _commit,
    "recall": lambda store: store.recall(["burst:1", "cap:3"]),
    "due_notes": lambda store: store.due_notes(9, 9),
    "next_due_ns": lambda store: store.next_due_ns(),
    "notes": lambda store: store.notes(NoteKind.CAP, "", 9),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_that_fails_is_told_and_repeated(tmp_path: Path, disk: FaultyDisk, name: str) -> None:
    store = SqliteStore(tmp_path, wall_ns=lambda: 1, vfs=disk.vfs.name)
    fill(store)
    wanted = READS[name](store) if name not in {"append", "commit", "read"} else None
    # Nothing is in the cache: each page is read again.
    store._database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._database.connection.pragma("cache_size", 0)
    store._database.connection.pragma("shrink_memory")
    store.rewind()
    disk.fail("read")
    with pytest.raises(StoreError, match="as the test wants it"):
        READS[name](store)
    disk.mend()
    store.rewind()
    again = READS[name](store)
    assert wanted is None or again == wanted
    store.close()


def test_a_store_that_is_closed_while_the_disk_fails_loses_nothing(tmp_path: Path, disk: FaultyDisk) -> None:
    store = SqliteStore(tmp_path, vfs=disk.vfs.name)
    fill(store)
    store.append([])
    disk.fail("write", "sync", "truncate", "delete")
    store.close()
    disk.mend()
    store = SqliteStore(tmp_path)
    assert [entry for _, entry in store.read()] == [arrival(1), arrival(2), arrival(3), Tick(1), arrival(4)]
    store.close()


def test_what_cannot_be_written_undoes_what_was_written_before_it(tmp_path: Path) -> None:
    """The disk is in order, so what is not rolled back would stay."""
    store = SqliteStore(tmp_path, wall_ns=lambda: 1)
    fill(store)
    before = seen(store)
    rows = (SessionRow(SHELLS[1], 0, 0, 2), SessionRow(SHELLS[2], 2**70, 0, 2))
    with pytest.raises(OverflowError):
        store.commit(Commit(Tick(2), rows, (event(5),), trim_before=Position(1)))
    assert seen(store) == before
    _commit(store)
    wanted = seen(store)
    assert wanted != before
    store.close()
    store = SqliteStore(tmp_path, wall_ns=lambda: 1)
    assert seen(store) == wanted
    store.close()
