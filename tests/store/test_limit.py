"""The limit of the state: what gives way, in which order, and what never does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from detector.events import Event, Lane, Outcome, Settlement
from detector.types import Arrival, NodeId, Record
from store.seams import Commit, StoreError
from store.sqlite import SqliteStore
from telemetry import metrics

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 16 << 20
BODY = b"x" * 8000


def test_dead_letters_give_way_to_arrivals_and_events_that_wait_do_not(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, max_size=LIMIT)
    before = metrics.STATE_GIVEN_WAY.labels(what="dead_context")._value.get()
    for number in range(15):
        events = tuple(Event(Lane.CONTEXT, f"{number}-{each}", BODY) for each in range(100))
        store.commit(Commit(events=events))
    dead = store.take(Lane.CONTEXT, 200)
    store.settle([Outcome(each.sequence, Settlement.DEAD, "code_6") for each in dead])
    while store._space.used_bytes() < LIMIT * 31 // 32:
        store.commit(Commit(events=(Event(Lane.RISK, "more", BODY),) * 10))
    waiting = store.backlog()
    arrival = Arrival(Record(NodeId("c", "n"), (), (1,)), 1, 1)
    with pytest.raises(StoreError, match=r"state\.max_size"):
        store.append([arrival])
    assert metrics.STATE_GIVEN_WAY.labels(what="dead_context")._value.get() > before
    assert store.backlog() == waiting
    store.close()
