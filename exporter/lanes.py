"""When a lane may send, and how much: a state machine without a clock.

Rules:

1. A lane is *ready*, in *backoff* until a time, or *paused* until a time. The sink as a whole is ready or
paused. 2. Nothing is sent before that time. In a pause, what is sent then is one event, a probe.
3. The time grows exponentially with consecutive failures, up to a cap, with full jitter above a floor; so
many clients of one receiver spread out, and none of them hammers, whatever the receiver answers.
4. What the receiver asks for (Retry-After) is honoured up to a bound: it must not silence us for good.
5. A refusal of content halves the next batch and is no failure at first: finding one bad event among a
thousand takes ten requests. A receiver that refuses on and on does count: otherwise we would race through the
backlog. 6. A trouble of transport halves it too: a batch that never fits in the deadline must not stay that
large. Success doubles it. 7. While the sink is paused, a trouble of transport proves nothing: it stays
paused. Any other answer ends its pause.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from detector.events import Lane
from exporter.sink import Delivery, Directive


class Phase(enum.StrEnum):
    """The state of a lane, as the metric shows it."""

    READY = "ready"
    BACKOFF = "backoff"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class PaceSettings:
    """The numbers of the rules. Times in seconds."""

    batch_limit: int = 1000
    """Events in a batch. With events of 2 KiB the sink's own bound of 1 MB comes first."""
    floor_s: float = 0.25
    base_s: float = 1.0
    cap_s: float = 60.0
    retry_after_cap_s: float = 300.0
    grace: int = 12
    """Refusals in a row before one costs time: more than it takes to halve ``batch_limit`` down to one
    event.
    """


@dataclass(frozen=True, slots=True)
class Pace:
    """The state of a lane or of the sink. ``until`` is on the caller's clock."""

    limit: int
    phase: Phase = Phase.READY
    until: float = 0.0
    failures: int = 0

    def allowance(self, now: float) -> int:
        """How many events may be sent now."""
        if self.phase is Phase.READY:
            return self.limit
        if now < self.until:
            return 0
        return 1 if self.phase is Phase.PAUSED else self.limit


@dataclass(frozen=True, slots=True)
class Move:
    """What a directive does to a pace."""

    phase: Phase
    failure: bool = True
    graced: bool = False
    resize: int = 0
    """1 doubles the limit, -1 halves it."""


MOVES: Final[Mapping[Directive, Move]] = {
    Directive.PROCEED: Move(Phase.READY, failure=False, resize=1),
    Directive.REFUSED: Move(Phase.BACKOFF, graced=True),
    Directive.SPLIT: Move(Phase.BACKOFF, graced=True, resize=-1),
    Directive.RETRY: Move(Phase.BACKOFF, resize=-1),
    Directive.PAUSE_LANE: Move(Phase.PAUSED),
    Directive.PAUSE_SINK: Move(Phase.PAUSED),
}


def step(pace: Pace, delivery: Delivery, now: float, jitter: float, settings: PaceSettings) -> Pace:
    """The pace after an answer. ``jitter`` is uniform in [0, 1)."""
    move = MOVES[delivery.directive]
    limit = pace.limit
    if move.resize > 0:
        limit = min(settings.batch_limit, 2 * limit)
    elif move.resize < 0:
        limit = max(1, min(limit, delivery.tried or limit) // 2)
    if not move.failure:
        return Pace(limit)
    failures = pace.failures + 1
    costly = failures - settings.grace if move.graced else failures
    if costly <= 0:
        return replace(pace, limit=limit, phase=Phase.READY, failures=failures)
    # the exponent is bounded too: 2.0 ** 1024 overflows after half a day at the cap
    ceiling = min(settings.cap_s, settings.base_s * 2.0 ** min(costly - 1, 32))
    wait = settings.floor_s + jitter * max(0.0, ceiling - settings.floor_s)
    if delivery.after_s is not None:
        wait = max(wait, min(delivery.after_s, settings.retry_after_cap_s))
    return Pace(limit, move.phase, now + wait, failures)


class Lanes:
    """The paces of all lanes and of the sink. Time and chance are arguments."""

    def __init__(self, settings: PaceSettings) -> None:
        self._settings = settings
        self._sink = Pace(settings.batch_limit)
        self._paces = {lane: Pace(settings.batch_limit) for lane in Lane}

    def allowance(self, lane: Lane, now: float) -> int:
        """How many events of the lane may be sent now; 0 is none."""
        return min(self._sink.allowance(now), self._paces[lane].allowance(now))

    def until(self, lane: Lane) -> float:
        """Before this time the allowance is 0."""
        return max(self._sink.until, self._paces[lane].until)

    def hasten(self) -> None:
        """Let every lane try at once, whatever it waits for. What comes of it counts as ever."""
        self._sink = replace(self._sink, until=0.0)
        self._paces = {lane: replace(pace, until=0.0) for lane, pace in self._paces.items()}

    def phase(self, lane: Lane) -> Phase:
        """The state to show: a paused sink pauses every lane."""
        return Phase.PAUSED if self._sink.phase is Phase.PAUSED else self._paces[lane].phase

    def answered(self, lane: Lane, delivery: Delivery, now: float, jitter: float) -> None:
        """Take note of an answer."""
        directive = delivery.directive
        if directive is Directive.PROCEED and not delivery.tried:
            return  # nothing was asked of the receiver that says how it fares
        sink_paused = self._sink.phase is Phase.PAUSED
        if directive is Directive.PAUSE_SINK or (sink_paused and directive is Directive.RETRY):
            paused = replace(delivery, directive=Directive.PAUSE_SINK)
            self._sink = step(self._sink, paused, now, jitter, self._settings)
            return
        self._sink = Pace(self._settings.batch_limit)
        self._paces[lane] = step(self._paces[lane], delivery, now, jitter, self._settings)
