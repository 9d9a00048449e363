"""A store with something in it, for the tests of what operators do with it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, TypeVar

from detector.events import Event, Lane, Outcome, Settlement
from detector.types import Arrival, NodeId, Record
from store.seams import Commit
from store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.seams import Store

_Answer = TypeVar("_Answer")
WALL_NS = 1_790_000_000_000_000_000
WHEN = "2026-09-21T14:13:20Z"


def event(number: int, lane: Lane = Lane.RISK) -> Event:
    return Event(lane, f"id-{number}", b'{"n":%d}' % number)


def fill(store: Store) -> None:
    """One risk and two audit events wait; dead letters: 1 and 2 of risk, 3 of context, 4 of the journal."""
    risk, context, audit = Lane.RISK, Lane.CONTEXT, Lane.AUDIT
    store.commit(Commit(events=(event(1), event(2), event(3, context), event(4), event(5, audit))))
    store.commit(Commit(events=(event(6, audit),)))
    refused = {"id-1": "event_invalid", "id-2": "event_invalid", "id-3": "too_large"}
    waiting = [queued for lane in (risk, context) for queued in store.take(lane, 10)]
    store.settle(
        [
            Outcome(queued.sequence, Settlement.DEAD, refused[queued.event.event_id])
            for queued in waiting
            if queued.event.event_id in refused
        ]
    )
    store.append([Arrival(Record(NodeId("c", "n"), (), (1,)), 1, 1)])
    for position, _ in store.read():
        store.bury(position, "ValueError")


def filled(folder: Path) -> SqliteStore:
    store = SqliteStore(folder, wall_ns=lambda: WALL_NS)
    fill(store)
    return store


class Owner:
    """Stands for the thread that owns the store: one piece of work at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()

    def __call__(self, work: Callable[[Store], _Answer], /) -> _Answer:
        with self._lock:
            return work(self._store)


def long_folder(above: Path) -> Path:
    """A folder whose path is longer than the kernel takes of a socket's."""
    folder = above.joinpath(*["x" * 50] * 3)
    folder.mkdir(parents=True)
    assert len(os.fsencode(folder)) > 107
    return folder
