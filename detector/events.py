"""Encoded events on their way out: what the store keeps, what the exporter sends, what became of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Lane(enum.StrEnum):
    """An independent, ordered stream of events with an index and a state of its own."""

    RISK = "risk"
    CONTEXT = "context"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Event:
    """An encoded event: ``body`` is one JSON object (an HEC envelope) in UTF-8, without a line end.

    ``arrived_ns`` is the wall time at which its evidence arrived, 0 where that says nothing of our delay.
    """

    lane: Lane
    event_id: str
    body: bytes
    arrived_ns: int = 0


@dataclass(frozen=True, slots=True)
class Queued:
    """An event in the outbox; ``sequence`` is its key there and grows in order of output."""

    sequence: int
    event: Event


class Settlement(enum.StrEnum):
    """What became of a queued event."""

    DONE = "done"
    """Accepted by the receiver: remove it."""
    DEAD = "dead"
    """Refused for good: move it to the dead letters, with the reason."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a queued event. An event without an outcome stays where it is and is taken again."""

    sequence: int
    settlement: Settlement
    reason: str = ""
