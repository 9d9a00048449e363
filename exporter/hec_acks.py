"""Indexer acknowledgement: which batches were accepted but not yet indexed. No I/O; time is an argument.

Splunk's page *About HTTP Event Collector Indexer Acknowledgment*: a request on a channel gets an ``ackId``;
the client polls; ``true`` is said once. A batch that is not acknowledged in time is sent again on the same
channel, the same events together, since the server may have it half indexed.

A server that restarts forgets its channels and counts from 0 again. So an id that is given anew no longer
speaks of the batch that had it before, whatever is said of it. That batch waits for its timeout all the same:
a load balancer that sends each request elsewhere looks like a restart every second, and what is sent again
scores again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from detector.events import Lane, Queued

BATCHES_LIMIT: Final = 8
"""Unacknowledged batches of a lane: more than one, or a slow acknowledgement would hold up the next shell."""


@dataclass(slots=True)
class Pending:
    """A batch that was accepted.

    ``ack_id`` is ``None`` if the server no longer knows it under that id; ``overdue`` says that it waits to
    be sent again.
    """

    batch: tuple[Queued, ...]
    ack_id: int | None
    due: float
    confirmed: bool = False
    overdue: bool = False

    @property
    def awaited(self) -> bool:
        """Whether its acknowledgement may come."""
        return self.ack_id is not None and not self.confirmed and not self.overdue


@dataclass(slots=True)
class Acks:
    """The batches in flight, per lane in order of sending."""

    timeout_s: float
    _pending: dict[Lane, list[Pending]] = field(default_factory=lambda: {lane: [] for lane in Lane})

    def sent(self, lane: Lane, batch: Sequence[Queued], ack_id: int, now: float) -> int:
        """A batch was accepted under that id. A batch that was to be sent again is replaced.

        Returns how many batches had the id before, and have none now.
        """
        self.forget_overdue(lane)
        lost = self._lose(pending for pending in self._all() if pending.ack_id == ack_id)
        self._pending[lane].append(Pending(tuple(batch), ack_id, now + self.timeout_s))
        return lost

    def lose(self) -> int:
        """The server does not know the channel: no id means anything. Returns how many batches had one."""
        return self._lose(self._all())

    @staticmethod
    def _lose(some: Iterable[Pending]) -> int:
        lost = [pending for pending in some if pending.awaited]
        for pending in lost:
            pending.ack_id = None
        return len(lost)

    def overdue(self, lane: Lane) -> tuple[Queued, ...]:
        """The batch to send again before any other, empty if there is none."""
        return next((pending.batch for pending in self._pending[lane] if pending.overdue), ())

    def forget_overdue(self, lane: Lane) -> None:
        """Take that batch out: it was sent under a new id, or refused and must be made up anew."""
        for pending in self._pending[lane]:
            if pending.overdue:
                self._pending[lane].remove(pending)
                return

    def expire(self, now: float) -> int:
        """Mark what was not acknowledged in time, to be sent again. Returns how many batches."""
        expired = 0
        for pending in self._all():
            if not (pending.confirmed or pending.overdue) and now >= pending.due:
                pending.overdue = True
                expired += 1
        return expired

    def ids(self) -> list[int]:
        """What to ask for, of all lanes: the channel is one."""
        return [p.ack_id for p in self._all() if p.ack_id is not None and p.awaited]

    def confirm(self, ack_ids: Iterable[int]) -> int:
        """The server has indexed these. Returns how many batches of ours."""
        known = set(ack_ids)
        found = [pending for pending in self._all() if pending.awaited and pending.ack_id in known]
        for pending in found:
            pending.confirmed = True
        return len(found)

    def take_confirmed(self, lane: Lane) -> list[Queued]:
        """The events of the lane that are done, once."""
        done = [queued for pending in self._pending[lane] if pending.confirmed for queued in pending.batch]
        self._pending[lane] = [pending for pending in self._pending[lane] if not pending.confirmed]
        return done

    def in_flight(self, lane: Lane) -> set[int]:
        """Sequences of the lane's events that are in some batch here."""
        return {queued.sequence for pending in self._pending[lane] for queued in pending.batch}

    def full(self, lane: Lane) -> bool:
        """Whether no further batch may be sent."""
        return len(self._pending[lane]) >= BATCHES_LIMIT

    def _all(self) -> list[Pending]:
        return [pending for lane in Lane for pending in self._pending[lane]]
