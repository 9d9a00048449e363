"""What every store promises, run on each implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from detector.events import Event, Lane, Outcome, Queued, Settlement
from detector.types import Arrival, CloseReason, NodeId, Record, SessionRow, ShellId
from store.memory import MemoryStore
from store.seams import Checkpoint, Commit, DeadLetter, Position, Store, StoreError, Tick
from store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE = NodeId("c", "n")
OTHER = NodeId("c", "other")
WALL_NS = 1_700_000_000_000_000_000


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    if request.param == "memory":
        made = MemoryStore(wall_ns=lambda: WALL_NS)
    else:
        made = SqliteStore(tmp_path / "state", wall_ns=lambda: WALL_NS)
    yield made
    made.close()


def arrival(number: int, node: NodeId = NODE) -> Arrival:
    return Arrival(Record(node, (), (number,)), number, number)


def event(number: int, lane: Lane = Lane.RISK) -> Event:
    return Event(lane, f"id-{number}", b'{"n":%d}' % number, arrived_ns=number)


def shell(pid: int) -> ShellId:
    return ShellId(NODE, "h", pid, 1, "sh")


def ids(events: list[Queued]) -> list[str]:
    return [queued.event.event_id for queued in events]


# --- journal


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


def test_positions_grow_by_one_and_append_returns_the_one_after_the_last(store: Store) -> None:
    end = store.append([arrival(1), arrival(2)])
    assert [position for position, _ in store.read()] == [Position(end - 2), Position(end - 1)]
    assert store.append([]) == end


def test_arrivals_that_need_not_be_durable_keep_their_place_in_the_order(store: Store) -> None:
    store.append([arrival(1)], durable=False)
    store.append([arrival(2)])
    end = store.append([arrival(3)], durable=False)
    read = list(store.read())
    assert read == [(Position(end - 3 + n), arrival(n + 1)) for n in range(3)]
    store.rewind()
    assert list(store.read()) == read


def test_after_a_rewind_everything_that_is_kept_is_read_again_ticks_included(store: Store) -> None:
    store.append([arrival(1)])
    assert [item for _, item in store.read()] == [arrival(1)]
    tick = Tick(7, ((Position(0), SessionRow(shell(1), 2, 3, 4, CloseReason.EXITED)),))
    store.commit(Commit(tick=tick))
    store.append([arrival(2)])
    store.append([arrival(3)], durable=False)
    assert [item for _, item in store.read()] == [arrival(2), arrival(3)]
    store.rewind()
    store.append([arrival(4)])
    assert [item for _, item in store.read()] == [arrival(1), tick, arrival(2), arrival(3), arrival(4)]
    assert list(store.read()) == []


def test_a_reading_that_was_given_up_goes_on_where_it_stopped(store: Store) -> None:
    store.append([arrival(1), arrival(2)])
    store.rewind()
    assert next(iter(store.read()))[1] == arrival(1)
    store.append([arrival(3)])
    assert [item for _, item in store.read()] == [arrival(2), arrival(3)]


def test_a_peek_gives_a_nodes_arrivals_piece_by_piece_and_leaves_all_to_be_read(store: Store) -> None:
    end = store.append([arrival(1), arrival(2, OTHER), arrival(3)])
    store.commit(Commit(tick=Tick(7)))
    store.append([arrival(4), arrival(5, OTHER)], durable=False)
    first = Position(end - 3)
    assert store.peek(NODE, Position(0), 100) == (
        [(first, arrival(1)), (Position(first + 2), arrival(3)), (Position(first + 4), arrival(4))],
        None,
    )
    assert store.peek(NODE, first, 2) == ([(first, arrival(1))], Position(first + 2))
    assert store.peek(OTHER, Position(first + 2), 3) == ([], Position(first + 5))
    assert store.peek(OTHER, Position(first + 5), 3) == ([(Position(first + 5), arrival(5, OTHER))], None)
    assert [item for _, item in store.read()] == [
        arrival(1),
        arrival(2, OTHER),
        arrival(3),
        arrival(4),
        arrival(5, OTHER),
    ]
    store.bury(first, "raised")
    store.commit(Commit(trim_before=Position(first + 1)))
    assert store.peek(NODE, Position(0), 2) == ([(Position(first + 2), arrival(3))], Position(first + 3))


def test_a_trimmed_prefix_is_not_read_again(store: Store) -> None:
    end = store.append([arrival(1), arrival(2), arrival(3)])
    list(store.read())
    store.commit(Commit(trim_before=Position(end - 1)))
    store.rewind()
    assert list(store.read()) == [(Position(end - 1), arrival(3))]
    store.commit(Commit(trim_before=Position(end - 2)))
    store.commit(Commit(trim_before=end))
    store.rewind()
    assert list(store.read()) == []
    store.append([arrival(4)])
    assert list(store.read()) == [(end, arrival(4))]


def test_service_time_and_rules_are_those_of_the_newest_commit_that_had_them(store: Store) -> None:
    assert (store.service_ns(), store.rules()) == (0, "")
    store.commit(Commit(tick=Tick(5), rules="a"))
    store.commit(Commit(tick=Tick(9)))
    store.commit(Commit(rules="b"))
    store.commit(Commit(events=(event(1),)))
    assert (store.service_ns(), store.rules()) == (9, "b")


def test_the_newest_checkpoint_of_each_node_is_kept_until_it_is_forgotten(store: Store) -> None:
    first, newer = (Checkpoint(NODE, Position(position), b"{}") for position in (1, 2))
    other = Checkpoint(OTHER, Position(2), b"[1]")
    store.commit(Commit(checkpoints=(first,)))
    assert list(store.checkpoints()) == [first]
    store.commit(Commit(checkpoints=(other, newer)))
    assert {each.node: each for each in store.checkpoints()} == {NODE: newer, OTHER: other}
    store.commit(Commit(checkpoints=(Checkpoint(NODE, Position(3), None),)))
    assert list(store.checkpoints()) == [other]


def test_a_buried_arrival_is_a_dead_letter_and_never_read_again(store: Store) -> None:
    end = store.append([arrival(1), arrival(2), arrival(3)])
    store.append([arrival(4)], durable=False)
    next(iter(store.read()))
    for position in (end - 2, end, end, end + 7):
        store.bury(Position(position), "raised")
    assert [item for _, item in store.read()] == [arrival(3)]
    store.rewind()
    assert [item for _, item in store.read()] == [arrival(1), arrival(3)]
    assert store.count_dead_letters() == {("journal", "raised"): 2}
    letter = store.dead_letters(1)[0]
    assert letter == DeadLetter(letter.number, "journal", "raised", WALL_NS, "", letter.body)
    assert letter.body


def test_burying_a_node_buries_its_arrivals(store: Store) -> None:
    store.commit(Commit(checkpoints=(Checkpoint(NODE, Position(0), b"{}"),)))
    store.append([arrival(1), arrival(2, OTHER), arrival(3)])
    store.append([arrival(4), arrival(5, OTHER)], durable=False)
    store.bury_node(NODE, "raised")
    assert [item for _, item in store.read()] == [arrival(2, OTHER), arrival(5, OTHER)]
    store.rewind()
    assert [item for _, item in store.read()] == [arrival(2, OTHER), arrival(5, OTHER)]
    assert store.count_dead_letters() == {("journal", "raised"): 3}
    assert [each.node for each in store.checkpoints()] == [NODE]


def test_burying_a_node_without_arrivals_buries_its_checkpoint(store: Store) -> None:
    end = store.append([arrival(1)])
    store.commit(Commit(checkpoints=(Checkpoint(NODE, end, b"{}"),), trim_before=end))
    store.bury_node(NODE, "raised")
    store.bury_node(OTHER, "raised")
    assert list(store.checkpoints()) == []
    [letter] = store.dead_letters(9)
    assert letter == DeadLetter(letter.number, "checkpoint", "raised", WALL_NS, "", b"{}")


# --- sessions


def test_rows_are_remembered_by_identity_and_the_last_one_counts(store: Store) -> None:
    opened = SessionRow(shell(1), 0, 0, 5)
    closed = SessionRow(shell(1), 0, 0, 9, CloseReason.EXITED)
    again = SessionRow(shell(1), 1, 0, 12)
    for row in (opened, closed, again):
        store.commit(Commit(rows=(row,)))
        assert store.look_up([shell(1), shell(2)]) == {shell(1): row}


def test_times_are_as_large_as_a_sender_can_write_them(store: Store) -> None:
    row = SessionRow(ShellId(NODE, "h", 1, 2**64 - 1, "sh"), 0, 0, 2**64 - 1)
    store.commit(Commit(rows=(row,)))
    assert store.look_up([row.shell]) == {row.shell: row}


# --- outbox


def test_events_wait_in_order_by_lane_until_they_are_settled(store: Store) -> None:
    store.commit(Commit(events=(event(1), event(2, Lane.CONTEXT), event(3))))
    store.commit(Commit(events=(event(4),)))
    taken = store.take(Lane.RISK, 2)
    assert [queued.event for queued in taken] == [event(1), event(3)]
    assert store.take(Lane.RISK, 2) == taken
    store.settle(
        [Outcome(taken[0].sequence, Settlement.DONE), Outcome(taken[1].sequence, Settlement.DEAD, "no")]
    )
    store.settle([Outcome(taken[0].sequence, Settlement.DONE)])
    store.settle([])
    assert [queued.event.event_id for queued in store.take(Lane.RISK, 9)] == ["id-4"]
    assert store.backlog() == {Lane.RISK: 1, Lane.CONTEXT: 1, Lane.AUDIT: 0}


# --- dead letters


def dead_events(store: Store, *events: Event) -> list[int]:
    """Queue events and refuse them; returns the numbers of the dead letters."""
    store.commit(Commit(events=events))
    for lane in Lane:
        taken = store.take(lane, 99)
        store.settle([Outcome(queued.sequence, Settlement.DEAD, "code_6") for queued in taken])
    return [letter.number for letter in store.dead_letters(99)]


def test_a_refused_event_is_a_dead_letter_with_its_reason(store: Store) -> None:
    numbers = dead_events(store, event(1), event(2, Lane.AUDIT))
    assert numbers == sorted(set(numbers))
    assert store.dead_letters(9) == [
        DeadLetter(numbers[0], "risk", "code_6", WALL_NS, "id-1", b'{"n":1}'),
        DeadLetter(numbers[1], "audit", "code_6", WALL_NS, "id-2", b'{"n":2}'),
    ]
    assert store.dead_letters(1) == store.dead_letters(9)[:1]
    assert store.dead_letters(9, after=numbers[0]) == store.dead_letters(9)[1:]
    assert store.count_dead_letters() == {("risk", "code_6"): 1, ("audit", "code_6"): 1}


def test_events_are_put_back_at_the_end_of_their_lanes_whole(store: Store) -> None:
    one, two = dead_events(store, event(1), event(2))
    store.commit(Commit(events=(event(3),)))
    assert store.requeue([two, two, two + 9]) == 1
    assert [queued.event for queued in store.take(Lane.RISK, 9)] == [event(3), event(2)]
    assert [letter.number for letter in store.dead_letters(9)] == [one]
    assert store.backlog()[Lane.RISK] == 2


def test_all_that_can_be_put_back_is_events(store: Store) -> None:
    dead_events(store, event(1), event(2, Lane.CONTEXT))
    store.append([arrival(1)])
    store.bury(Position(0), "raised")
    assert store.requeue(None) == 2
    assert store.count_dead_letters() == {("journal", "raised"): 1}
    [buried] = store.dead_letters(9)
    assert store.requeue([buried.number]) == 0
    assert store.backlog() == {Lane.RISK: 1, Lane.CONTEXT: 1, Lane.AUDIT: 0}


def test_dead_letters_are_purged_for_good_and_their_numbers_never_used_again(store: Store) -> None:
    one, two, three = dead_events(store, event(1), event(2), event(3))
    assert store.purge([two, two, three + 9]) == 1
    assert [letter.number for letter in store.dead_letters(9)] == [one, three]
    assert store.purge(None) == 2
    assert store.purge(None) == 0
    assert store.dead_letters(9) == []
    assert min(dead_events(store, event(4))) > three


def test_the_backlog_of_one_lane_is_purged(store: Store) -> None:
    store.commit(Commit(events=(event(1), event(2), event(3, Lane.CONTEXT))))
    assert store.purge_backlog(Lane.RISK) == 2
    assert store.take(Lane.RISK, 9) == []
    assert store.backlog() == {Lane.RISK: 0, Lane.CONTEXT: 1, Lane.AUDIT: 0}
    assert store.dead_letters(9) == []


# --- of the memory store alone


def test_the_memory_store_refuses_arrivals_while_too_many_events_wait() -> None:
    store = MemoryStore(max_events=1)
    store.commit(Commit(events=(event(1),)))
    with pytest.raises(StoreError, match="1 events wait for delivery, at most 1 are kept"):
        store.append([arrival(1)])
    assert list(store.read()) == []
    store.settle([Outcome(1, Settlement.DEAD, "code_6")])
    store.append([arrival(1)])
    assert [(letter.event_id, letter.reason) for letter in store.dead_letters(9)] == [("id-1", "code_6")]


def test_the_memory_store_forgets_the_session_that_closed_first() -> None:
    store = MemoryStore(max_closed=1)
    rows = [SessionRow(shell(pid), 0, 0, 5, CloseReason.EXITED) for pid in (1, 2)]
    store.commit(Commit(rows=tuple(rows)))
    assert store.look_up([shell(1), shell(2)]) == {shell(2): rows[1]}
