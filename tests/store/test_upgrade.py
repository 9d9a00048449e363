"""A file of an older version is brought forward, one of a newer version or of another program refused."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from detector.events import Event, Lane, Outcome, Queued, Settlement
from detector.judging.notes import Note, NoteKind
from detector.types import Arrival, CloseReason, NodeId, Record, SessionRow, ShellId
from store import opening, schema
from store.seams import CannotOpenStore, Checkpoint, Commit, DeadLetter, Position, Tick
from store.sqlite import SqliteStore
from tests.store.faults import FaultVfs

DATA = Path(__file__).with_name("testdata")
NODE, OTHER = NodeId("c", "n"), NodeId("c", "other")
OPEN = SessionRow(ShellId(NODE, "h", 1, 1, "sh"), 1, 2, 3)
CLOSED = SessionRow(ShellId(NODE, "h", 2, 1, "sh"), 1, 2, 3, CloseReason.EXITED)


def arrival(number: int, node: NodeId = NODE) -> Arrival:
    return Arrival(Record(node, (), (number,)), number, number)


def queued(sequence: int, lane: Lane) -> Queued:
    return Queued(sequence, Event(lane, f"id-{sequence}", b'{"n":%d}' % sequence, sequence))


def write_version(version: int, folder: Path) -> None:
    connection = apsw.Connection(str(folder / "state.db"))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute((DATA / f"schema-{version}.sql").read_text())
    connection.close()


def assert_all_is_there(folder: Path) -> None:
    store = SqliteStore(folder, wall_ns=lambda: 8)
    tick = Tick(7, ((Position(4), CLOSED),))
    assert list(store.read()) == [(3, arrival(3)), (4, arrival(4, OTHER)), (5, tick)]
    assert {each.node: each for each in store.checkpoints()} == {
        NODE: Checkpoint(NODE, Position(3), b'["n"]'),
        OTHER: Checkpoint(OTHER, Position(3), b'["other"]'),
    }
    assert (store.service_ns(), store.rules()) == (7, "rules of before")
    assert store.look_up([OPEN.shell, CLOSED.shell]) == {OPEN.shell: OPEN, CLOSED.shell: CLOSED}
    assert store.backlog() == {Lane.RISK: 2, Lane.CONTEXT: 1, Lane.AUDIT: 0}
    assert store.take(Lane.RISK, 9) == [queued(2, Lane.RISK), queued(5, Lane.RISK)]
    assert store.take(Lane.CONTEXT, 9) == [queued(3, Lane.CONTEXT)]
    assert store.dead_letters(9) == [
        DeadLetter(1, "risk", "code_6", 8, "id-1", b'{"n":1}'),
        DeadLetter(4, "journal", "damaged", 8, "", b"\xff"),
    ]
    assert [store.notes(kind, "", 9) for kind in NoteKind] == [[]] * len(NoteKind)
    assert store._database.connection.pragma("user_version") == schema.VERSION
    store.close()


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_nothing_of_a_version_before_is_lost(tmp_path: Path, version: int) -> None:
    write_version(version, tmp_path)
    assert_all_is_there(tmp_path)
    assert_all_is_there(tmp_path)


# Version 1 kept no arrival of a dead letter.
@pytest.mark.parametrize(("version", "arrived_ns"), [(1, 0), (2, 1)])
def test_what_came_from_a_version_before_goes_on_as_what_is_new(
    tmp_path: Path, version: int, arrived_ns: int
) -> None:
    write_version(version, tmp_path)
    store = SqliteStore(tmp_path, wall_ns=lambda: 8)
    assert store.requeue(None) == 1
    store.settle([Outcome(2, Settlement.DEAD, "code_6"), Outcome(5, Settlement.DONE)])
    note = Note(NoteKind.CAP, "cap:1", {"points": 7}, 9)
    store.commit(Commit(events=(Event(Lane.RISK, "id-7", b"{}"),), notes=(note,)))
    assert store.recall(["cap:1"]) == {"cap:1": note}
    taken = store.take(Lane.RISK, 9)
    assert taken == [
        Queued(10, Event(Lane.RISK, "id-1", b'{"n":1}', arrived_ns)),
        Queued(11, Event(Lane.RISK, "id-7", b"{}")),
    ]
    assert [letter.number for letter in store.dead_letters(9)] == [4, 10]
    store.close()


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_a_crash_anywhere_in_the_migration_is_harmless(tmp_path: Path, version: int) -> None:
    """Each write, sync and truncation in turn is the last thing that happens."""
    failed = 0
    for last in range(1, 100):
        folder = tmp_path / str(last)
        folder.mkdir()
        write_version(version, folder)

        def stop(operation: str, _: str, number: int, last: int = last) -> None:
            if operation != "read" and number > last:
                raise apsw.IOError("crashed")

        vfs = FaultVfs(stop)
        try:
            SqliteStore(folder, vfs=vfs.name).close()
        except CannotOpenStore:
            failed += 1
        finally:
            vfs.unregister()
        assert_all_is_there(folder)
        assert list(folder.glob("*damaged*")) == []
    assert 5 < failed < 99


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path).close()
    connection = apsw.Connection(str(tmp_path / "state.db"))
    connection.execute("ALTER TABLE dead ADD COLUMN more INTEGER")
    connection.pragma("user_version", schema.VERSION + 1)
    connection.close()
    before = (tmp_path / "state.db").read_bytes()
    wanted = (
        f"state.path: {tmp_path / 'state.db'}: written by version 4 of the schema, this program knows 3:"
        " want a newer program or another directory"
    )
    with pytest.raises(CannotOpenStore, match=f"^{re.escape(wanted)}$"):
        SqliteStore(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == before


@pytest.mark.parametrize("application", [0, 77])
def test_a_database_of_another_program_is_refused(tmp_path: Path, application: int) -> None:
    connection = apsw.Connection(str(tmp_path / "state.db"))
    connection.execute("CREATE TABLE theirs (a)")
    connection.pragma("application_id", application)
    connection.close()
    wanted = (
        f"state.path: {tmp_path / 'state.db'}: written by another program (application_id {application:#x}):"
        " want another directory"
    )
    with pytest.raises(CannotOpenStore, match=f"^{re.escape(wanted)}$"):
        SqliteStore(tmp_path)


def test_a_file_that_is_set_aside_is_kept_whole_and_each_under_its_name(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "state.db").write_bytes(b"no database %d" % number)
        store = SqliteStore(tmp_path)
        assert list(store.read()) == []
        store.close()
        assert (tmp_path / f"state.db.damaged-{number}").read_bytes() == b"no database %d" % number


def test_a_file_that_was_emptied_costs_nothing_that_is_in_its_log(tmp_path: Path) -> None:
    """SQLite alone would take an empty file for a new one, and delete the log."""
    store = SqliteStore(tmp_path / "state")
    store.append([arrival(1)])
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "state.db").write_bytes(b"")
    (copy / "state.db-wal").write_bytes((tmp_path / "state" / "state.db-wal").read_bytes())
    store.close()
    store = SqliteStore(copy)
    assert list(store.read()) == [(0, arrival(1))]
    store.close()


def test_a_crash_while_a_damaged_file_is_replaced_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each renaming and each sync in turn is where it ends."""
    rename, sync, steps = Path.rename, opening._sync, 0
    made = SqliteStore(tmp_path / "made")
    made.append([arrival(1), arrival(2)])
    log = (tmp_path / "made" / "state.db-wal").read_bytes()
    made.close()
    whole = (tmp_path / "made" / "state.db").read_bytes()
    damaged = bytearray(whole)
    damaged[18] ^= 0x40

    def crash_at(last: int) -> None:
        nonlocal steps
        steps = 0

        def count() -> bool:
            nonlocal steps
            steps += 1
            if steps > last:
                raise OSError("crashed")
            return False

        monkeypatch.setattr(Path, "rename", lambda path, to: count() or rename(path, to))
        monkeypatch.setattr(opening, "_sync", lambda path: count() or sync(path))

    for last in range(8):
        folder = tmp_path / str(last)
        folder.mkdir()
        (folder / "state.db").write_bytes(damaged)
        (folder / "state.db-wal").write_bytes(log[:32])
        crash_at(last)
        with pytest.raises(CannotOpenStore, match="crashed"):
            SqliteStore(folder)
        monkeypatch.undo()
        store = SqliteStore(folder)
        assert [entry for _, entry in store.read()] == [arrival(1), arrival(2)]
        store.close()
        assert sorted(path.name for path in folder.iterdir()) == [
            "ballast",
            "lock",
            "state.db",
            "state.db.damaged-1",
            "state.db.damaged-1-wal",
        ]
        assert (folder / "state.db.damaged-1").read_bytes() == damaged
