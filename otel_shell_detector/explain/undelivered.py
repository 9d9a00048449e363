"""The events of a shell that are still here: those that wait, and those that were given up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from detector.events import Lane
from detector.types import NANOSECONDS, NodeId, ShellId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_shell_detector.explain.inside import Inside, Inspect
    from store.seams import DeadLetter, Store

MOST_WAITING: Final = 1_000
"""How far into each lane one looks, as ``outbox`` does."""
MOST_DEAD: Final = 10_000
"""How many dead letters are looked at."""
_PIECE_LETTERS: Final = 100
_PIECE_BYTES: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class Kept:
    """An event that is here: ``event`` are its fields; ``delivery`` says what it waits for."""

    lane: str
    event: Mapping[str, Any]
    delivery: str


def shell_of(event: Mapping[str, Any]) -> ShellId | None:
    """Whose an event is, by what the earliest sample said; ``None`` if it is about several shells."""
    if "process.pid" not in event or "k8s.node.name" not in event:
        return None
    return ShellId(
        NodeId(event["k8s.cluster.name"], event["k8s.node.name"]),
        event.get("host.name", ""),
        event["process.pid"],
        int(Decimal(event.get("process.start_time", 0)) * NANOSECONDS),
        event["process.executable.name"],
    )


def kept(inspect: Inspect, wanted: Callable[[Mapping[str, Any]], bool]) -> Iterator[Kept]:
    """The events whose fields are wanted, as far as one looks."""
    for lane in Lane:
        for sequence, body in inspect(_waiting(lane)):
            if (event := _event(body)) is not None and wanted(event):
                yield Kept(lane.value, event, f"waits, number {sequence}")
    for letter in _letters(inspect):
        if letter.event_id and (event := _event(letter.body)) is not None and wanted(event):
            yield Kept(letter.origin, event, f"dead letter {letter.number}: {letter.reason}")


def _waiting(lane: Lane) -> Callable[[Inside], list[tuple[int, bytes]]]:
    return lambda inside: [
        (queued.sequence, queued.event.body) for queued in inside.store.take(lane, MOST_WAITING)
    ]


def _letters(inspect: Inspect) -> Iterator[DeadLetter]:
    after = looked = 0
    while looked < MOST_DEAD:
        letters = inspect(_piece(after))
        if not letters:
            return
        yield from letters
        after, looked = letters[-1].number, looked + len(letters)


def _piece(after: int) -> Callable[[Inside], list[DeadLetter]]:
    def work(inside: Inside) -> list[DeadLetter]:
        return list(_read(inside.store, after))

    return work


def _read(store: Store, after: int) -> Iterator[DeadLetter]:
    """Letters above a number, one by one: a single one may have the size of a request."""
    read = 0
    for _ in range(_PIECE_LETTERS):
        found = store.dead_letters(1, after)
        if not found or read >= _PIECE_BYTES:
            return
        yield found[0]
        after, read = found[0].number, read + len(found[0].body)


def _event(body: bytes) -> Mapping[str, Any] | None:
    try:
        event = json.loads(body, parse_float=Decimal).get("event")
    except (ValueError, AttributeError):
        return None
    return event if isinstance(event, dict) else None
