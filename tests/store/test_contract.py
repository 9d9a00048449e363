"""What every store promises, run on each implementation."""

from __future__ import annotations

import pytest

from detector.events import Event, Lane, Outcome, Settlement
from detector.types import Arrival, CloseReason, NodeId, Record, SessionRow, ShellId
from store.memory import MemoryStore
from store.seams import Commit, Store, StoreError

NODE = NodeId("c", "n")


@pytest.fixture(params=["memory"])
def store() -> Store:
    return MemoryStore()


def arrival(number: int) -> Arrival:
    return Arrival(Record(NODE, (), (number,)), number, number)


def event(number: int, lane: Lane = Lane.RISK) -> Event:
    return Event(lane, f"id-{number}", b"{}")


def shell(pid: int) -> ShellId:
    return ShellId(NODE, "h", pid, 1, "sh")


def test_what_was_appended_is_read_once_in_order(store: Store) -> None:
    first = store.append([arrival(1), arrival(2)])
    second = store.append([arrival(3)])
    assert second > first
    assert [item for _, item in store.read()] == [arrival(1), arrival(2), arrival(3)]
    assert list(store.read()) == []
    store.append([arrival(4)])
    [(position, item)] = store.read()
    assert item == arrival(4)
    assert position >= second


def test_rows_are_remembered_by_identity_and_the_last_one_counts(store: Store) -> None:
    opened = SessionRow(shell(1), 0, 0, 5)
    closed = SessionRow(shell(1), 0, 0, 9, CloseReason.EXITED)
    again = SessionRow(shell(1), 1, 0, 12)
    for row in (opened, closed, again):
        store.commit(Commit(rows=(row,)))
        assert store.look_up([shell(1), shell(2)]) == {shell(1): row}


def test_events_wait_in_order_by_lane_until_they_are_settled(store: Store) -> None:
    store.commit(Commit(events=(event(1), event(2, Lane.CONTEXT), event(3))))
    store.commit(Commit(events=(event(4),)))
    taken = store.take(Lane.RISK, 2)
    assert [queued.event.event_id for queued in taken] == ["id-1", "id-3"]
    assert store.take(Lane.RISK, 2) == taken
    store.settle(
        [Outcome(taken[0].sequence, Settlement.DONE), Outcome(taken[1].sequence, Settlement.DEAD, "no")]
    )
    store.settle([Outcome(taken[0].sequence, Settlement.DONE)])
    assert [queued.event.event_id for queued in store.take(Lane.RISK, 9)] == ["id-4"]
    assert store.backlog() == {Lane.RISK: 1, Lane.CONTEXT: 1, Lane.AUDIT: 0}
    store.close()


def test_the_memory_store_refuses_arrivals_while_too_many_events_wait() -> None:
    store = MemoryStore(max_events=1)
    store.commit(Commit(events=(event(1),)))
    with pytest.raises(StoreError, match="1 events wait for delivery, at most 1 are kept"):
        store.append([arrival(1)])
    assert list(store.read()) == []
    store.settle([Outcome(1, Settlement.DEAD, "code_6")])
    store.append([arrival(1)])
    assert [(queued.event.event_id, reason) for queued, reason in store.dead] == [("id-1", "code_6")]


def test_the_memory_store_forgets_the_session_that_closed_first() -> None:
    store = MemoryStore(max_closed=1)
    rows = [SessionRow(shell(pid), 0, 0, 5, CloseReason.EXITED) for pid in (1, 2)]
    store.commit(Commit(rows=tuple(rows)))
    assert store.look_up([shell(1), shell(2)]) == {shell(2): rows[1]}
