"""What happens when the disk or the limit is reached, and that it goes on by itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import apsw
import pytest

from detector.events import Event, Lane, Outcome, Settlement
from detector.judging.notes import SETTLED, Note, NoteKind
from detector.types import Arrival, CloseReason, NodeId, Record, SessionRow, ShellId
from store.seams import Checkpoint, Commit, Position, StoreError, Tick
from store.space import BALLAST_BYTES
from store.sqlite import SqliteStore
from telemetry import metrics
from tests.store.faults import FaultVfs
from tests.store.real_disks import IN_MEMORY, run_on_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE = NodeId("c", "n")
SIZE = 2 << 20


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def arrival(number: int) -> Arrival:
    return Arrival(Record(NODE, (), (number,)), number, number)


def event(number: int, lane: Lane = Lane.RISK, size: int = 0) -> Event:
    return Event(lane, f"id-{number}", b"x" * size)


def closed(pid: int) -> SessionRow:
    return SessionRow(ShellId(NODE, "h", pid, 1, "sh"), 0, 0, 5, CloseReason.EXITED)


def note(kind: NoteKind, number: int) -> Note:
    return Note(kind, f"{kind}:{number}", {"fill": "x" * 500}, 10**18 + number)


def given_way(what: str) -> float:
    value: float = metrics.STATE_GIVEN_WAY.labels(what=what)._value.get()
    return value


# --- the disk


@pytest.fixture
def full() -> Iterator[tuple[FaultVfs, set[str]]]:
    """A disk that is full for the operations in the set."""
    failing: set[str] = set()

    def hook(operation: str, _: str, __: int) -> None:
        if operation in failing:
            raise apsw.FullError("disk full")

    vfs = FaultVfs(hook)
    yield vfs, failing
    vfs.unregister()


def test_a_full_disk_costs_the_ballast_and_refuses_arrivals_for_a_second(
    tmp_path: Path, full: tuple[FaultVfs, set[str]]
) -> None:
    vfs, failing = full
    clock = Clock()
    store = SqliteStore(tmp_path, monotonic_ns=clock, vfs=vfs.name)
    ballast = tmp_path / "ballast"
    assert ballast.stat().st_blocks * 512 >= BALLAST_BYTES
    assert metrics.STATE_BALLAST._value.get() == 1
    store.commit(Commit(events=(event(1), event(2))))
    failing.add("write")
    with pytest.raises(StoreError, match="disk full"):
        store.append([arrival(1)])
    assert not ballast.exists()
    assert metrics.STATE_BALLAST._value.get() == 0
    # What the ballast gave is for what empties the state.
    failing.clear()
    store.settle([Outcome(1, Settlement.DONE)])
    store.commit(Commit(tick=Tick(1)))
    clock.now_ns = 999_999_999
    with pytest.raises(StoreError, match=r"^the disk is full: want space for the state$"):
        store.append([arrival(1)])
    store.append([arrival(1)], durable=False)
    clock.now_ns = 1_000_000_000
    store.append([arrival(2)])
    assert ballast.stat().st_blocks * 512 >= BALLAST_BYTES
    assert metrics.STATE_BALLAST._value.get() == 1
    assert [entry for _, entry in store.read()] == [arrival(1), arrival(2)]
    store.close()


def test_the_ballast_is_tried_again_once_a_second_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def full(*_: object) -> None:
        tried.append(clock.now_ns)
        raise OSError(28, "No space left on device")

    clock = Clock()
    monkeypatch.setattr(os, "posix_fallocate", full)
    store = SqliteStore(tmp_path, monotonic_ns=clock)
    for now_ns in range(0, 3_000_000_000, 400_000_000):
        clock.now_ns = now_ns
        with pytest.raises(StoreError, match=r"^the disk is full"):
            store.append([arrival(1)])
    assert tried == [0, 1_200_000_000, 2_400_000_000]
    assert not (tmp_path / "ballast").exists()
    monkeypatch.undo()
    clock.now_ns += 1_000_000_000
    store.append([arrival(1)])
    store.close()


def test_a_ballast_that_cannot_be_deleted_is_told_and_nothing_else_changes(
    tmp_path: Path, full: tuple[FaultVfs, set[str]]
) -> None:
    vfs, failing = full
    clock = Clock()
    store = SqliteStore(tmp_path, monotonic_ns=clock, vfs=vfs.name)
    (tmp_path / "ballast").unlink()
    (tmp_path / "ballast").mkdir()
    failing.add("write")
    with pytest.raises(StoreError, match="disk full"):
        store.append([arrival(1)])
    failing.clear()
    clock.now_ns = 2_000_000_000
    with pytest.raises(StoreError, match=r"^the disk is full"):
        store.append([arrival(1)])
    (tmp_path / "ballast").rmdir()
    clock.now_ns = 4_000_000_000
    store.append([arrival(1)])
    store.close()


REAL_DISK = """
import os, sys, itertools
from pathlib import Path
from detector.events import Event, Lane, Outcome, Settlement
from detector.types import Arrival, NodeId, Record
from store.seams import Commit, StoreError, Tick
from store.sqlite import SqliteStore

folder = Path(sys.argv[1])
NODE = NodeId("c", "n")
now_ns = 0
def arrival(number):
    return Arrival(Record(NODE, (), tuple(range(10_000))), number, number)

store = SqliteStore(folder / "state", monotonic_ns=lambda: now_ns)
assert (folder / "state" / "ballast").exists()
store.commit(Commit(events=[Event(Lane.RISK, f"id-{n}", b"x" * 5_000) for n in range(100)]))
other = open(folder / "other", "wb")
os.posix_fallocate(other.fileno(), 0, 4 << 20)
accepted = 0
try:
    for accepted in itertools.count():
        store.append([arrival(accepted)])
except StoreError as error:
    assert "full" in str(error), error
assert accepted > 5
assert not (folder / "state" / "ballast").exists()
# The disk is full, and the state can still be emptied and decided upon.
store.commit(Commit(tick=Tick(1), events=[Event(Lane.RISK, "last", b"{}")]))
taken = store.take(Lane.RISK, 200)
store.settle([Outcome(each.sequence, Settlement.DONE) for each in taken[:50]])
store.settle([Outcome(taken[50].sequence, Settlement.DEAD, "code_6")])
assert store.purge(None) == 1
refused = 0
for now_ns in range(10**9, 5 * 10**9, 10**9):
    try:
        store.append([arrival(0)] * 20)
    except StoreError:
        refused += 1
assert refused == 4, refused
# There is space again, and nothing was restarted.
os.unlink(folder / "other")
other.close()
now_ns += 10**9
store.append([arrival(accepted)])
entries = [entry for _, entry in store.read()]
assert [entry.service_ns for entry in entries] == list(range(accepted + 1)), len(entries)
store.close()
store = SqliteStore(folder / "state")
assert len(list(store.read())) == accepted + 2
assert store.backlog()[Lane.RISK] == 50
store.close()
print("done")
"""


READ_ONLY = """
import subprocess, sys
from pathlib import Path
from detector.types import Arrival, NodeId, Record
from store.seams import CannotOpenStore
from store.sqlite import SqliteStore

folder = Path(sys.argv[1])
arrival = Arrival(Record(NodeId("c", "n"), (), (1,)), 1, 1)
store = SqliteStore(folder / "state")
store.append([arrival])
store.close()
subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
try:
    SqliteStore(folder / "state")
except CannotOpenStore as error:
    assert "Read-only file system" in str(error), error
    print("refused")
subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
store = SqliteStore(folder / "state")
assert [entry for _, entry in store.read()] == [arrival]
store.append([arrival])
store.close()
print("done")
"""


def test_a_real_disk_fills_and_has_space_again(tmp_path: Path) -> None:
    assert run_on_disk(IN_MEMORY, tmp_path, REAL_DISK) == ["done"]


def test_a_disk_that_is_read_only_is_refused_at_the_start(tmp_path: Path) -> None:
    """What happens to one that turns so later is in :mod:`tests.store.test_running`."""
    assert run_on_disk(IN_MEMORY, tmp_path, READ_ONLY) == ["refused", "done"]


# --- the limit


def fill_with_what_may_go(store: SqliteStore) -> None:
    """About 300 KiB of each thing that gives way."""
    store.commit(Commit(Tick(1), rows=tuple(closed(pid) for pid in range(2_000))))
    store.commit(
        Commit(
            notes=tuple(
                note(kind, number)
                for kind in NoteKind
                if kind is not NoteKind.POLICY
                for number in range(100)
            )
        )
    )
    for number, lane in enumerate((Lane.CONTEXT, Lane.AUDIT, Lane.RISK)):
        events = tuple(event(n, lane, 3_000) for n in range(50))
        store.commit(Commit(events=events))
        store.settle(
            [Outcome(each.sequence, Settlement.DEAD, f"code_{number}") for each in store.take(lane, 99)]
        )
    for _ in range(50):
        end = store.append([arrival(1)])
        store.bury(Position(end - 1), "raised" * 500)
    store.commit(Commit(checkpoints=(Checkpoint(NODE, Position(0), b"x" * 50_000),)))
    store.bury_node(NodeId("c", "none"), "raised")


def test_what_matters_least_gives_way_first_and_events_that_wait_never(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, max_size=SIZE)
    fill_with_what_may_go(store)
    stages = [
        "closed_identities",
        "notes_remembering",
        "dead_context",
        "dead_stored",
        "dead_risk",
        "notes_quieting",
    ]
    start = [given_way(what) for what in stages]
    order: list[str] = []
    queued = 0

    def note_what_went() -> None:
        gone = [what for what, was in zip(stages, start, strict=True) if given_way(what) > was]
        order.extend(what for what in gone if what not in order)

    def accept_until_refused() -> None:
        nonlocal queued
        while True:
            store.append([arrival(queued)])
            note_what_went()
            store.commit(Commit(events=(event(queued, size=4_000),)))
            note_what_went()
            queued += 1

    with pytest.raises(StoreError, match=r"^state\.max_size: \d+ bytes in use, 2097152 are") as refused:
        accept_until_refused()
    assert "262144 of them kept" in str(refused.value)
    assert order == stages
    counts = [given_way(what) - was for what, was in zip(stages, start, strict=True)]
    assert counts == [2_000, 300, 100, 50, 50, 200]
    assert store.dead_letters(9) == []
    assert store.look_up([closed(pid).shell for pid in range(2_000)]) == {}
    # What is counted in bursts, audit and summaries would be told by nothing else.
    left = {kind: len(store.notes(kind, "", 999)) for kind in NoteKind}
    assert left == {kind: 100 if kind in SETTLED else 0 for kind in NoteKind}
    assert left == {kind: metrics.STORE_NOTES.labels(kind=kind)._value.get() for kind in NoteKind}
    # Not one event that waits was touched, and what was accepted can still be decided.
    assert store.backlog()[Lane.RISK] == queued
    store.commit(Commit(tick=Tick(2), events=(event(queued),)))
    assert len(store.take(Lane.RISK, 10_000)) == queued + 1
    assert metrics.STATE_LIMIT._value.get() == SIZE
    assert metrics.STATE_USED._value.get() > SIZE * 7 / 8
    # It goes on when some are delivered.
    store.settle([Outcome(each.sequence, Settlement.DONE) for each in store.take(Lane.RISK, 100)])
    store.append([arrival(1)])
    store.close()


def test_the_file_never_grows_beyond_the_limit(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, max_size=SIZE)
    committed = 0

    def commit_until_refused() -> None:
        nonlocal committed
        while True:
            store.commit(Commit(events=(event(committed, size=8_000),)))
            committed += 1

    with pytest.raises(StoreError, match="full"):
        commit_until_refused()
    assert store.backlog()[Lane.RISK] == committed
    store.close()
    assert (tmp_path / "state.db").stat().st_size <= SIZE
    store = SqliteStore(tmp_path, max_size=SIZE)
    assert len(store.take(Lane.RISK, 10_000)) == committed
    store.close()


def test_what_gives_way_at_a_time_is_bounded(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, max_size=64 << 20)
    store.commit(Commit(Tick(1), rows=tuple(closed(pid) for pid in range(40_000))))
    store.close()
    store = SqliteStore(tmp_path, max_size=1 << 20)
    before = given_way("closed_identities")
    with pytest.raises(StoreError, match="max_size"):
        store.append([arrival(1)])
    assert given_way("closed_identities") == before + 8_000
    with pytest.raises(StoreError, match="max_size"):
        store.append([arrival(1)])
    assert given_way("closed_identities") == before + 16_000
    store.close()


def test_notes_that_gave_way_are_not_counted_any_more(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.commit(Commit(notes=tuple(note(NoteKind.CAP, number) for number in range(3_000))))
    store.close()
    store = SqliteStore(tmp_path, max_size=1 << 20)
    store.append([arrival(1)])
    left = store.notes(NoteKind.CAP, "", 9_999)
    assert 0 < len(left) < 3_000
    assert metrics.STORE_NOTES.labels(kind=NoteKind.CAP)._value.get() == len(left)
    assert min(each.due_ns for each in left) == 10**18 + 3_000 - len(left)
    store.close()
