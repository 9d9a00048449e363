"""The seam to the receivers of events: what is sent in, what is reported back."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from detector.events import Lane, Outcome, Queued


class Directive(enum.StrEnum):
    """What the caller does with the lane, or with the whole sink, after an answer."""

    PROCEED = "proceed"
    """The receiver took the request. Go on."""
    REFUSED = "refused"
    """The receiver named what it will never take: those are among the outcomes. Send the others again."""
    SPLIT = "split"
    """The receiver takes these events in smaller portions, if at all. Send them again, fewer at a time."""
    RETRY = "retry"
    """The receiver cannot now. Send the same later, with growing distance."""
    PAUSE_LANE = "pause_lane"
    """Nothing of this lane is taken until someone changes a setting. Keep all, try one event now and then."""
    PAUSE_SINK = "pause_sink"
    """The same for every lane."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The answer to one call of :meth:`Sink.send`.

    ``outcomes`` name the events that are settled; an event without one stays in the outbox. ``result`` is the
    label of the attempt in metrics (few values, known beforehand), empty if nothing was attempted.
    ``after_s`` is the least number of seconds to wait before a retry; with ``PROCEED`` it says when to call
    again although nothing new is queued (acknowledgements). ``tried`` counts the events of the request that
    was answered. ``said`` is the answer for a person, without a secret;
    nothing is decided by it.
    """

    outcomes: tuple[Outcome, ...] = ()
    directive: Directive = Directive.PROCEED
    result: str = ""
    after_s: float | None = None
    tried: int = 0
    said: str = field(default="", compare=False)


class Sink(Protocol):
    """A receiver of encoded events. Called from the delivery thread alone."""

    @property
    def name(self) -> str:
        """The kind of sink, as a metric label: ``stdout``, ``file``, ``hec``, ``otlp``."""
        ...

    def send(self, lane: Lane, batch: Sequence[Queued]) -> Delivery:
        """Hand over events of one lane, in order, and say what became of them.

        A sink may take only a prefix of the batch; what it says nothing of is to be sent again. It blocks
        until the receiver answered, at most for its own request deadline. A failure of the receiver is an
        answer (:class:`Delivery`), never an exception. Safe to repeat: an event that was taken without our
        knowing arrives twice, with the same ``event_id``. ``batch`` is empty only while :meth:`in_flight` is
        not 0.
        """
        ...

    def in_flight(self, lane: Lane) -> int:
        """How many events of the lane the receiver took but did not acknowledge yet.

        They are the first of the lane in the outbox: a caller takes that many more, and the sink leaves them
        out.
        """
        ...

    def close(self) -> None:
        """Release what is held. Safe to repeat. Events in flight stay unsettled, for the next process."""
        ...


def within(batch: Sequence[Queued], size_limit_bytes: int) -> tuple[Queued, ...]:
    """The longest prefix of a batch whose events have at most so many bytes, one event at least."""
    size = 0
    for count, queued in enumerate(batch):
        size += len(queued.event.body) + 1  # what separates them
        if count and size > size_limit_bytes:
            return tuple(batch[:count])
    return tuple(batch)
