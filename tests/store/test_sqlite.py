"""What SQLite adds to the contract: it outlives the process, and what is damaged is told as such."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import apsw
import pytest

from detector.events import Event, Lane, Outcome, Settlement
from detector.types import NANOSECONDS, Arrival, CloseReason, NodeId, Record, SessionRow, ShellId
from store import codec, schema
from store.seams import CannotOpenStore, Checkpoint, Commit, DeadLetter, Position, Tick, Unreadable
from store.sqlite import SqliteStore
from telemetry import metrics

if TYPE_CHECKING:
    from pathlib import Path

NODE = NodeId("c", "n")
OTHER = NodeId("c", "other")
DAY_NS = 86_400 * NANOSECONDS


def arrival(number: int, node: NodeId = NODE) -> Arrival:
    return Arrival(Record(node, (), (number,)), number, number)


def event(number: int, lane: Lane = Lane.RISK) -> Event:
    return Event(lane, f"id-{number}", b'{"n":%d}' % number, arrived_ns=number)


def shell(pid: int) -> ShellId:
    return ShellId(NODE, "h", pid, 1, "sh")


def closed(pid: int) -> SessionRow:
    return SessionRow(shell(pid), 0, 0, 5, CloseReason.EXITED)


def open_store(folder: Path, max_closed: int = 1_000) -> SqliteStore:
    return SqliteStore(folder, wall_ns=lambda: 1, max_closed=max_closed)


def damage(folder: Path, statement: str, *values: codec.Stored) -> None:
    """Change the file of a store that is closed behind its back."""
    connection = apsw.Connection(str(folder / "state.db"))
    connection.execute(statement, values)
    assert connection.changes()
    connection.close()


def damaged(table: str) -> float:
    value: float = metrics.STORE_DAMAGED.labels(table=table)._value.get()
    return value


# --- what outlives the process


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([arrival(1)], durable=False)
    store.append([arrival(2), arrival(3)])
    tick = Tick(7, ((Position(0), closed(4)),))
    checkpoint = Checkpoint(NODE, Position(1), b'{"a":1}')
    rows = (SessionRow(shell(1), 2, 3, 4), closed(2))
    change = Commit(tick, rows, (event(1), event(2), event(3)), (checkpoint,), Position(1), "rules")
    store.commit(change)
    first = store.take(Lane.RISK, 1)[0]
    store.settle([Outcome(first.sequence, Settlement.DEAD, "code_6")])
    kept_bytes = store.journal_bytes()
    store.close()

    store = open_store(tmp_path)
    assert list(store.read()) == [(1, arrival(2)), (2, arrival(3)), (3, tick)]
    assert list(store.checkpoints()) == [checkpoint]
    assert (store.service_ns(), store.rules(), store.journal_bytes()) == (7, "rules", kept_bytes)
    assert store.look_up([shell(1), shell(2), shell(3)]) == {row.shell: row for row in rows}
    assert store.backlog() == {Lane.RISK: 2, Lane.CONTEXT: 0, Lane.AUDIT: 0}
    assert [queued.event for queued in store.take(Lane.RISK, 9)] == [event(2), event(3)]
    assert store.dead_letters(9) == [DeadLetter(1, "risk", "code_6", 1, "id-1", b'{"n":1}')]
    assert store.append([arrival(4)]) == 5
    store.close()


def test_what_need_not_be_durable_is_so_with_the_next_commit_and_not_before(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    store = open_store(folder)
    store.append([arrival(1)], durable=False)
    shutil.copytree(folder, tmp_path / "before")
    store.commit(Commit(tick=Tick(1)))
    shutil.copytree(folder, tmp_path / "after")
    store.close()
    for name, read in (("before", []), ("after", [arrival(1), Tick(1)])):
        crashed = open_store(tmp_path / name)
        assert [entry for _, entry in crashed.read()] == read
        crashed.close()


def test_no_more_than_a_thousand_arrivals_wait_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    store = open_store(folder)
    store.append([arrival(number) for number in range(1_000)], durable=False)
    store.append([arrival(1_000)], durable=False)
    shutil.copytree(folder, tmp_path / "crashed")
    assert len(list(store.read())) == 1_001
    store.close()
    crashed = open_store(tmp_path / "crashed")
    assert len(list(crashed.read())) == 1_001
    crashed.close()


def test_keys_of_events_and_numbers_of_dead_letters_are_not_used_again_after_a_restart(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    store.commit(Commit(events=(event(1), event(2))))
    taken = store.take(Lane.RISK, 9)
    store.settle([Outcome(queued.sequence, Settlement.DEAD, "no") for queued in taken])
    store.purge(None)
    store.close()
    store = open_store(tmp_path)
    store.commit(Commit(events=(event(3),)))
    [queued] = store.take(Lane.RISK, 9)
    assert queued.sequence > taken[-1].sequence
    store.settle([Outcome(queued.sequence, Settlement.DEAD, "no")])
    assert [letter.number for letter in store.dead_letters(9)] == [3]
    store.close()


def test_positions_go_on_after_everything_was_trimmed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    end = store.append([arrival(1), arrival(2)])
    store.commit(Commit(trim_before=Position(end + 9)))
    assert store.journal_bytes() == 0
    store.close()
    store = open_store(tmp_path)
    assert list(store.read()) == []
    assert store.append([arrival(3)]) == end + 1
    assert list(store.read()) == [(end, arrival(3))]
    store.close()


def test_trimmed_entries_are_deleted_a_bounded_number_at_a_time(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    end = store.append([arrival(number) for number in range(1_000)])
    store.commit(Commit(trim_before=end))
    rows = []
    for _ in range(6):
        store.append([arrival(0)])
        rows.append(store._database.rows("test", "SELECT count(*) FROM journal")[0][0])
    assert rows == [743, 486, 229, 4, 5, 6]
    store.close()


# --- who may read it


def test_folder_and_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = open_store(tmp_path / "above" / "state")
        store.append([arrival(1)])
    finally:
        os.umask(before)
    found = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")
    }
    assert found == {
        "above": 0o700,
        "above/state": 0o700,
        "above/state/ballast": 0o600,
        "above/state/lock": 0o600,
        "above/state/state.db": 0o600,
        "above/state/state.db-wal": 0o600,
    }
    store.close()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotOpenStore, match=r"^state\.path: .*/file/state: .*: want a directory"):
        open_store(tmp_path / "file" / "state")


def test_a_store_that_is_no_file_is_refused_and_the_lock_let_go(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    for _ in range(2):
        with pytest.raises(CannotOpenStore, match="Is a directory"):
            open_store(tmp_path)


# --- rows that are damaged


def test_a_damaged_entry_is_a_dead_letter_and_told_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([arrival(1), arrival(2), arrival(3)])
    store.close()
    damage(tmp_path, "UPDATE journal SET body = ? WHERE position = 1", b"\xff")
    before = damaged("journal")
    store = open_store(tmp_path)
    assert [entry for _, entry in store.read()] == [arrival(1), Unreadable("damaged"), arrival(3)]
    store.rewind()
    assert [entry for _, entry in store.read()] == [arrival(1), arrival(3)]
    assert damaged("journal") == before + 1
    assert store.dead_letters(9) == [DeadLetter(1, "journal", "damaged", 1, "", b"\xff")]
    store.close()


def test_an_entry_that_says_nothing_to_this_version_is_a_dead_letter(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([arrival(1)])
    store.commit(Commit(tick=Tick(1)))
    store.close()
    row = schema.JOURNAL.stamp(1, schema.Kind.TICK, None, b"[99]")
    damage(tmp_path, "UPDATE journal SET body = ?, crc = ? WHERE position = 1", b"[99]", row[-1])
    store = open_store(tmp_path)
    assert [entry for _, entry in store.read()] == [arrival(1), Unreadable("undecodable")]
    assert store.dead_letters(9) == [DeadLetter(1, "journal", "undecodable", 1, "", b"[99]")]
    store.close()


def test_entries_that_are_missing_are_told_and_counted(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([arrival(number) for number in range(5)])
    store.commit(Commit(checkpoints=(Checkpoint(OTHER, Position(5), b"{}"),)))
    store.close()
    damage(tmp_path, "DELETE FROM journal WHERE position IN (1, 2, 4)")
    before = damaged("journal")
    store = open_store(tmp_path)
    read = list(store.read())
    missing = Unreadable("missing")
    assert read == [(0, arrival(0)), (1, missing), (3, arrival(3)), (4, missing)]
    assert damaged("journal") == before + 3
    assert store.append([arrival(5)]) == 6
    store.close()


def test_the_journal_begins_with_its_first_row_if_its_start_is_not_known(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([arrival(1), arrival(2)])
    store.commit(Commit(tick=Tick(9), rows=(closed(1),), trim_before=Position(1)))
    store.append([])
    store.append([arrival(3)])
    store.close()
    damage(tmp_path, "UPDATE meta SET value = CAST(? AS TEXT)", b"12\xff")
    before = damaged("meta")
    store = open_store(tmp_path)
    assert [entry for _, entry in store.read()] == [arrival(2), Tick(9), arrival(3)]
    assert (store.service_ns(), store.rules()) == (9, "")
    assert damaged("meta") > before
    store.close()


def test_a_damaged_checkpoint_is_a_dead_letter_and_not_told(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    kept = Checkpoint(OTHER, Position(0), b"[2]")
    store.commit(Commit(checkpoints=(Checkpoint(NODE, Position(0), b"[1]"), kept)))
    store.close()
    damage(tmp_path, "UPDATE checkpoint SET name = CAST(? AS TEXT) WHERE body = ?", b"n\xff", b"[1]")
    before = damaged("checkpoint")
    store = open_store(tmp_path)
    assert list(store.checkpoints()) == [kept]
    assert damaged("checkpoint") == before + 1
    assert store.dead_letters(9) == [DeadLetter(1, "checkpoint", "damaged", 1, "", b"[1]")]
    store.close()


def test_a_damaged_session_is_as_good_as_none(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(Commit(rows=(closed(1), closed(2))))
    store.close()
    damage(tmp_path, "UPDATE session SET emitted = 7 WHERE identity = ?", codec.digest(shell(1)))
    before = damaged("session")
    store = open_store(tmp_path)
    assert store.look_up([shell(1), shell(2)]) == {shell(2): closed(2)}
    assert damaged("session") == before + 1
    store.commit(Commit(rows=(closed(1),)))
    assert store.look_up([shell(1)]) == {shell(1): closed(1)}
    store.close()


def test_a_damaged_event_is_never_delivered_nor_requeued(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(Commit(events=(event(1), event(2), event(3))))
    store.close()
    damage(tmp_path, "UPDATE outbox SET body = ? WHERE sequence = 1", b"{}")
    damage(tmp_path, "UPDATE outbox SET event_id = CAST(? AS TEXT) WHERE sequence = 3", b"\xff")
    before = damaged("outbox")
    store = open_store(tmp_path)
    store.settle([Outcome(1, Settlement.DONE)])
    assert [queued.event for queued in store.take(Lane.RISK, 2)] == [event(2)]
    assert store.backlog()[Lane.RISK] == 1
    assert damaged("outbox") == before + 2
    bodies = [(letter.origin, letter.reason, letter.body) for letter in store.dead_letters(9)]
    assert bodies == [("risk", "damaged", b"{}"), ("risk", "damaged", b'{"n":3}')]
    store.close()


def test_a_damaged_dead_letter_is_shown_and_not_requeued(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(Commit(events=(event(1),)))
    store.settle([Outcome(1, Settlement.DEAD, "code_6")])
    store.close()
    damage(tmp_path, "UPDATE dead SET event_id = CAST(? AS TEXT)", b"a\xff")
    store = open_store(tmp_path)
    assert store.requeue(None) == 0
    assert store.dead_letters(9) == [DeadLetter(1, "risk", "code_6", 1, "a\\xff", b'{"n":1}')]
    store.close()


# --- identities are forgotten by service time, not by any clock


def test_a_closed_identity_is_forgotten_after_thirty_days_of_service_time(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(Commit(Tick(1), rows=(closed(1),)))
    store.commit(Commit(Tick(1 + 30 * DAY_NS)))
    assert shell(1) in store.look_up([shell(1)])
    store.commit(Commit(Tick(2 + 30 * DAY_NS)))
    assert store.look_up([shell(1)]) == {}
    store.close()


def test_an_open_identity_is_forgotten_after_ninety_days_untouched(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    row = SessionRow(shell(1), 0, 0, 5)
    store.commit(Commit(Tick(1), rows=(row,)))
    store.commit(Commit(Tick(1 + 90 * DAY_NS)))
    assert store.look_up([shell(1)]) == {shell(1): row}
    store.commit(Commit(Tick(2 + 90 * DAY_NS)))
    assert store.look_up([shell(1)]) == {}
    store.close()


def test_the_identities_that_closed_first_are_forgotten_beyond_the_bound(tmp_path: Path) -> None:
    store = open_store(tmp_path, max_closed=2)
    for pid in (1, 2, 3):
        store.commit(Commit(Tick(pid), rows=(closed(pid), SessionRow(shell(pid + 10), 0, 0, 5))))
    shells = [shell(pid) for pid in (1, 2, 3, 11, 12, 13)]
    assert list(store.look_up(shells)) == shells[1:]
    store.commit(Commit(Tick(4), rows=(closed(3), SessionRow(shell(2), 1, 0, 9), closed(11))))
    assert list(store.look_up(shells)) == shells[1:]
    store.close()


def test_pruning_is_bounded_by_what_is_added_and_goes_on(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(Commit(Tick(1), rows=tuple(closed(pid) for pid in range(500))))
    store.close()
    store = open_store(tmp_path, max_closed=0)
    left = []
    for number in range(2, 10):
        store.commit(Commit(Tick(number)))
        left.append(len(store.look_up([shell(pid) for pid in range(500)])))
    assert left == [436, 372, 308, 244, 180, 116, 52, 0]
    store.close()
