"""The seams in memory: for ``replay``, which needs no more, and for a service that keeps no state."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from detector.events import Lane, Outcome, Queued, Settlement
from store.seams import Commit, Position, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from detector.types import Arrival, SessionRow, ShellId

MAX_EVENTS: Final = 200_000
"""Undelivered events that are kept; beyond it nothing more is accepted. An event has at most 8 KiB and mostly
1.5."""
MAX_CLOSED: Final = 200_000
"""Closed identities that are remembered; the one that closed first is forgotten first."""
MAX_DEAD: Final = 1_000
"""Dead letters that are kept for a look."""


class MemoryStore:
    """All seams, gone with the process. Bounded: by refusing arrivals while too many events wait."""

    def __init__(self, *, max_events: int = MAX_EVENTS, max_closed: int = MAX_CLOSED) -> None:
        self._max_events = max_events
        self._max_closed = max_closed
        self._journal: deque[tuple[Position, Arrival]] = deque()
        self._end = Position(0)
        self._open: dict[ShellId, SessionRow] = {}
        self._closed: OrderedDict[ShellId, SessionRow] = OrderedDict()
        self._lanes: dict[Lane, dict[int, Queued]] = {lane: {} for lane in Lane}
        self._sequence = 0
        self.dead: deque[tuple[Queued, str]] = deque(maxlen=MAX_DEAD)
        """Events that were refused for good, with the reason; the latest."""

    # --- journal

    def append(self, arrivals: Sequence[Arrival]) -> Position:
        """See :class:`store.seams.Journal`. Refuses while more events wait than may be kept."""
        waiting = sum(len(events) for events in self._lanes.values())
        if waiting >= self._max_events:
            raise StoreError(f"{waiting} events wait for delivery, at most {self._max_events} are kept")
        for arrival in arrivals:
            self._journal.append((self._end, arrival))
            self._end = Position(self._end + 1)
        return self._end

    def read(self) -> Iterator[tuple[Position, Arrival]]:
        """See :class:`store.seams.Journal`. What was read is not kept: no restart will ask for it."""
        while self._journal:
            yield self._journal.popleft()

    # --- sessions

    def commit(self, change: Commit) -> None:
        """See :class:`store.seams.Sessions`."""
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
            self._sequence += 1
            self._lanes[event.lane][self._sequence] = Queued(self._sequence, event)

    def look_up(self, shells: Sequence[ShellId]) -> Mapping[ShellId, SessionRow]:
        """See :class:`store.seams.Sessions`."""
        found = ((shell, self._open.get(shell) or self._closed.get(shell)) for shell in shells)
        return {shell: row for shell, row in found if row is not None}

    # --- outbox

    def take(self, lane: Lane, limit: int) -> Sequence[Queued]:
        """See :class:`store.seams.Outbox`."""
        waiting = self._lanes[lane].values()
        return [queued for queued, _ in zip(waiting, range(limit), strict=False)]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """See :class:`store.seams.Outbox`."""
        for outcome in outcomes:
            for events in self._lanes.values():
                queued = events.pop(outcome.sequence, None)
                if queued is not None and outcome.settlement is Settlement.DEAD:
                    self.dead.append((queued, outcome.reason))

    def backlog(self) -> Mapping[Lane, int]:
        """See :class:`store.seams.Outbox`."""
        return {lane: len(events) for lane, events in self._lanes.items()}

    def close(self) -> None:
        """See :class:`store.seams.Store`."""
