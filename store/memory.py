"""The seams in memory: for ``replay``, which needs no more, and for a service that keeps no state."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from detector.events import Event, Lane, Outcome, Queued, Settlement
from detector.judging.notes import BOUNDS
from detector.types import Arrival
from store.memory_notes import MemoryNotes
from store.seams import Checkpoint, Commit, DeadLetter, Entry, Position, StoreError, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from detector.judging.notes import Note, NoteKind
    from detector.types import NodeId, SessionRow, ShellId

MAX_EVENTS: Final = 200_000
"""Undelivered events that are kept; beyond it nothing more is accepted. An event has at most 8 KiB and mostly
1.5."""
MAX_CLOSED: Final = 200_000
"""Closed identities that are remembered; the one that closed first is forgotten first."""
MAX_NOTES: Final = {kind: min(bound, 50_000) for kind, bound in BOUNDS.items()}
"""Notes that are kept of each kind. One takes half a kilobyte here, and of bursts several."""
MAX_DEAD: Final = 1_000
"""Dead letters that are kept for a look."""


@dataclass(frozen=True, slots=True)
class _Dead:
    letter: DeadLetter
    event: Event | None


class MemoryStore:
    """All seams, gone with the process. Bounded: by refusing arrivals while too many events wait.

    Durable means here: for as long as the process lives. ``wall_ns`` dates dead letters.
    """

    def __init__(
        self,
        *,
        max_events: int = MAX_EVENTS,
        max_closed: int = MAX_CLOSED,
        max_notes: Mapping[NoteKind, int] = MAX_NOTES,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._max_events = max_events
        self._max_closed = max_closed
        self._wall_ns = wall_ns
        self._log: OrderedDict[Position, Arrival | Tick] = OrderedDict()
        self._end = Position(0)
        self._fresh: deque[tuple[Position, Entry]] = deque()
        self._checkpoints: dict[NodeId, Checkpoint] = {}
        self._service_ns = 0
        self._rules = ""
        self._open: dict[ShellId, SessionRow] = {}
        self._closed: OrderedDict[ShellId, SessionRow] = OrderedDict()
        self._notes = MemoryNotes(max_notes)
        self._lanes: dict[Lane, dict[int, Queued]] = {lane: {} for lane in Lane}
        self._sequence = 0
        self._dead: OrderedDict[int, _Dead] = OrderedDict()
        self._number = 0

    # --- journal

    def append(self, arrivals: Sequence[Arrival], *, durable: bool = True) -> Position:
        """See :class:`store.seams.Journal`. Refuses while more events wait than may be kept."""
        waiting = sum(len(events) for events in self._lanes.values())
        if durable and waiting >= self._max_events:
            raise StoreError(f"{waiting} events wait for delivery, at most {self._max_events} are kept")
        for arrival in arrivals:
            self._fresh.append((self._end, arrival))
            self._keep(arrival)
        return self._end

    def _keep(self, entry: Arrival | Tick) -> None:
        self._log[self._end] = entry
        self._end = Position(self._end + 1)

    def read(self) -> Iterator[tuple[Position, Entry]]:
        """See :class:`store.seams.Journal`."""
        while self._fresh:
            yield self._fresh.popleft()

    def peek(
        self, node: NodeId, after: Position, limit: int
    ) -> tuple[Sequence[tuple[Position, Arrival]], Position | None]:
        """See :class:`store.seams.Journal`."""
        first = max(after, next(iter(self._log), self._end))
        until = min(Position(first + limit), self._end)
        found = [
            (Position(position), entry)
            for position in range(first, until)
            if isinstance(entry := self._log.get(Position(position)), Arrival) and entry.record.node == node
        ]
        return found, until if until < self._end else None

    def rewind(self) -> None:
        """See :class:`store.seams.Journal`."""
        self._fresh = deque(self._log.items())

    def checkpoints(self) -> Iterator[Checkpoint]:
        """See :class:`store.seams.Journal`."""
        yield from list(self._checkpoints.values())

    def service_ns(self) -> int:
        """See :class:`store.seams.Journal`."""
        return self._service_ns

    def rules(self) -> str:
        """See :class:`store.seams.Journal`."""
        return self._rules

    def journal_bytes(self) -> int:
        """See :class:`store.seams.Journal`. Nothing is encoded here, so nothing is counted."""
        return 0

    def bury(self, position: Position, reason: str) -> None:
        """See :class:`store.seams.Journal`."""
        entry = self._log.pop(position, None)
        self._fresh = deque(item for item in self._fresh if item[0] != position)
        if entry is not None:
            self._give_up("journal", reason, repr(entry).encode())

    def bury_node(self, node: NodeId, reason: str) -> None:
        """See :class:`store.seams.Journal`."""
        buried = [
            position
            for position, entry in self._log.items()
            if isinstance(entry, Arrival) and entry.record.node == node
        ]
        for position in buried:
            self.bury(position, reason)
        if not buried and (checkpoint := self._checkpoints.pop(node, None)):
            self._give_up("checkpoint", reason, checkpoint.state or b"")

    # --- sessions

    def commit(self, change: Commit) -> None:
        """See :class:`store.seams.Sessions`."""
        if change.tick is not None:
            self._service_ns = change.tick.service_ns
            self._keep(change.tick)
        self._rules = change.rules or self._rules
        for row in change.rows:
            if row.reason is None:
                self._closed.pop(row.shell, None)
                self._open[row.shell] = row
            else:
                self._open.pop(row.shell, None)
                self._closed[row.shell] = row
        while len(self._closed) > self._max_closed:
            self._closed.popitem(last=False)
        for event in change.events:
            self._queue(event)
        for checkpoint in change.checkpoints:
            self._checkpoints.pop(checkpoint.node, None)
            if checkpoint.state is not None:
                self._checkpoints[checkpoint.node] = checkpoint
        self._notes.put(change.notes, None if change.tick is None else self._service_ns)
        while self._log and (first := next(iter(self._log))) < change.trim_before:
            del self._log[first]

    def look_up(self, shells: Sequence[ShellId]) -> Mapping[ShellId, SessionRow]:
        """See :class:`store.seams.Sessions`."""
        found = ((shell, self._open.get(shell) or self._closed.get(shell)) for shell in shells)
        return {shell: row for shell, row in found if row is not None}

    # --- notes

    def recall(self, keys: Collection[str]) -> Mapping[str, Note]:
        """See :class:`store.seams.Notes`."""
        return self._notes.recall(keys)

    def due_notes(self, now_ns: int, limit: int) -> Sequence[Note]:
        """See :class:`store.seams.Notes`."""
        return self._notes.due(now_ns, limit)

    def next_due_ns(self) -> int | None:
        """See :class:`store.seams.Notes`."""
        return self._notes.next_due_ns()

    def notes(self, kind: NoteKind, after: str, limit: int) -> Sequence[Note]:
        """See :class:`store.seams.Notes`."""
        return self._notes.walk(kind, after, limit)

    # --- outbox

    def _queue(self, event: Event) -> None:
        self._sequence += 1
        self._lanes[event.lane][self._sequence] = Queued(self._sequence, event)

    def take(self, lane: Lane, limit: int) -> Sequence[Queued]:
        """See :class:`store.seams.Outbox`."""
        return list(islice(self._lanes[lane].values(), limit))

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """See :class:`store.seams.Outbox`."""
        for outcome in outcomes:
            for lane, events in self._lanes.items():
                queued = events.pop(outcome.sequence, None)
                if queued is not None and outcome.settlement is Settlement.DEAD:
                    self._give_up(lane, outcome.reason, queued.event.body, queued.event)

    def backlog(self) -> Mapping[Lane, int]:
        """See :class:`store.seams.Outbox`."""
        return {lane: len(events) for lane, events in self._lanes.items()}

    # --- dead letters

    def _give_up(self, origin: str, reason: str, body: bytes, event: Event | None = None) -> None:
        self._number += 1
        event_id = event.event_id if event else ""
        letter = DeadLetter(self._number, origin, reason, self._wall_ns(), event_id, body)
        self._dead[self._number] = _Dead(letter, event)
        while len(self._dead) > MAX_DEAD:
            self._dead.popitem(last=False)

    def dead_letters(self, limit: int, after: int = 0) -> Sequence[DeadLetter]:
        """See :class:`store.seams.DeadLetters`."""
        later = (each.letter for number, each in self._dead.items() if number > after)
        return list(islice(later, limit))

    def count_dead_letters(self) -> Mapping[tuple[str, str], int]:
        """See :class:`store.seams.DeadLetters`."""
        return Counter((each.letter.origin, each.letter.reason) for each in self._dead.values())

    def requeue(self, numbers: Sequence[int] | None) -> int:
        """See :class:`store.seams.DeadLetters`."""
        chosen = [(number, self._dead[number].event) for number in self._chosen(numbers)]
        events = [(number, event) for number, event in chosen if event is not None]
        for number, event in events:
            del self._dead[number]
            self._queue(event)
        return len(events)

    def purge(self, numbers: Sequence[int] | None) -> int:
        """See :class:`store.seams.DeadLetters`."""
        chosen = self._chosen(numbers)
        for number in chosen:
            del self._dead[number]
        return len(chosen)

    def _chosen(self, numbers: Sequence[int] | None) -> list[int]:
        return list(self._dead) if numbers is None else sorted(set(numbers) & self._dead.keys())

    def purge_backlog(self, lane: Lane) -> int:
        """See :class:`store.seams.DeadLetters`."""
        waiting = len(self._lanes[lane])
        self._lanes[lane].clear()
        return waiting

    def close(self) -> None:
        """See :class:`store.seams.Store`."""
