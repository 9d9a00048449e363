"""Delivery: from the outbox to the sink, lane by lane, in order.

An event leaves the outbox only with an outcome, so whatever happens between two statements here, it is sent
again. What the outbox cannot take note of now (its disk is full) is remembered here: as long as this process
lives, an event that the receiver has is not sent again for that, and its lane waits. Other lanes do not.

Lanes are independent: each keeps its order, and none waits for another, so an event of one lane may arrive
before an event of another lane that was made earlier.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from detector.events import Lane, Outcome, Queued, Settlement
from exporter.lanes import Lanes, PaceSettings, Phase
from exporter.sink import Directive, Sink
from telemetry import events, metrics

IDLE_S: Final = 1.0
"""How long a turn may be put off when nothing is due. Whoever queues an event should wake the thread; this is
for the case that the call for it was lost."""


class Deliverer:
    """Moves events from an outbox to a sink.

    The thread is the caller's: ``while not stopping: wait(turn(clock()))``.

    ``take(lane, limit)`` gives the first events of a lane, ``settle(outcomes)`` ends some, ``backlog()``
    counts those that wait: the methods of ``store.seams.Outbox``, or calls that reach them. ``clock`` gives
    seconds that never go back; ``random`` is uniform in [0, 1); ``wall_ns`` is the epoch clock, by which the
    delay since arrival is measured, and nothing else.

    What these raise goes through :meth:`turn`, and whoever catches it may call that again, after a while:
    nothing is lost by it, and nothing is sent twice.
    """

    def __init__(  # noqa: PLR0913  # what it is made of
        self,
        sink: Sink,
        *,
        take: Callable[[Lane, int], Sequence[Queued]],
        settle: Callable[[Sequence[Outcome]], None],
        backlog: Callable[[], Mapping[Lane, int]],
        clock: Callable[[], float],
        random: Callable[[], float],
        wall_ns: Callable[[], int] = time.time_ns,
        pace: PaceSettings | None = None,
    ) -> None:
        self._sink = sink
        self._take = take
        self._settle = settle
        self._backlog = backlog
        self._clock = clock
        self._random = random
        self._wall_ns = wall_ns
        self._lanes = Lanes(pace or PaceSettings())
        self._order = list(Lane)
        # What the sink said and the outbox does not know yet
        self._unsettled: dict[Lane, tuple[Outcome, ...]] = dict.fromkeys(Lane, ())
        # Of acknowledgements: when the sink wants to be called though nothing is new, whether it had no room
        # for more, and when the evidence of what it may have in flight arrived, by sequence
        self._again = dict.fromkeys(Lane, 0.0)
        self._full = dict.fromkeys(Lane, False)
        self._arrived_ns: dict[Lane, dict[int, int]] = {lane: {} for lane in Lane}
        for lane in Lane:
            self._show(lane)

    def turn(self, now: float) -> float:
        """Make at most one call to the sink; return after how many seconds to come again (0: at once).

        One call, so that whoever stops the service waits for one request at most, and a long backlog of
        context does not hold up risk: lanes take turns. Blocks as :meth:`Sink.send` does.
        """
        waiting = self._backlog()
        for lane, count in waiting.items():
            metrics.EXPORTER_BACKLOG.labels(lane=lane).set(count)
        for lane in tuple(self._order):
            if self._serve(lane, waiting.get(lane, 0), now):
                return 0.0
        return self._rest(now)

    def hasten(self) -> None:
        """Let no lane wait for its next attempt: there may be no later one."""
        self._lanes.hasten()

    def _serve(self, lane: Lane, waiting: int, now: float) -> bool:
        """Do what is due in a lane; whether there was anything."""
        if self._unsettled[lane]:
            self._put_last(lane)
            self._settle_kept(lane)
            return True
        allowance = self._lanes.allowance(lane, now)
        if not allowance:
            return False
        in_flight = self._sink.in_flight(lane)
        due = now >= self._again[lane]
        batch: Sequence[Queued] = ()
        # Reading what is in flight once more is dear; it is read only when something can follow it.
        if waiting > in_flight and not (self._full[lane] and in_flight):
            batch = self._take(lane, in_flight + allowance)
        if not (len(batch) > in_flight or (in_flight and due)):
            return False
        self._put_last(lane)
        self._attempt(lane, batch, in_flight)
        return True

    def _put_last(self, lane: Lane) -> None:
        self._order.remove(lane)
        self._order.append(lane)

    def _attempt(self, lane: Lane, batch: Sequence[Queued], in_flight: int) -> None:
        if batch:
            self._arrived_ns[lane] = {queued.sequence: queued.event.arrived_ns for queued in batch}
        began = self._clock()
        delivery = self._sink.send(lane, batch)
        self._unsettled[lane] = delivery.outcomes
        ended = self._clock()
        if delivery.result:
            name = self._sink.name
            metrics.EXPORTER_ATTEMPTS.labels(sink=name, lane=lane, result=delivery.result).inc()
            metrics.EXPORTER_SEND.labels(sink=name).observe(ended - began)
        self._count(lane, delivery.outcomes)
        # A sink that did nothing with what is new must not be asked again at once.
        idle = delivery.directive is Directive.PROCEED and not delivery.tried and not delivery.outcomes
        self._full[lane] = idle and (self._full[lane] or len(batch) > in_flight)
        self._again[lane] = ended + (IDLE_S if delivery.after_s is None else delivery.after_s)
        before = {each: self._lanes.phase(each) for each in Lane}
        self._lanes.answered(lane, delivery, ended, self._random())
        for each in Lane:
            phase = self._lanes.phase(each)
            if phase is not before[each]:
                self._show(each)
                if phase is Phase.READY:
                    events.EXPORTER_RESUMED(sink=self._sink.name, lane=each)
        self._settle_kept(lane)  # last, for it may raise

    def _settle_kept(self, lane: Lane) -> None:
        if self._unsettled[lane]:
            self._settle(self._unsettled[lane])
            self._unsettled[lane] = ()

    def _count(self, lane: Lane, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            arrived_ns = self._arrived_ns[lane].pop(outcome.sequence, 0)
            if outcome.settlement is Settlement.DEAD:
                metrics.EXPORTER_DEAD_LETTERS.labels(lane=lane, reason=outcome.reason).inc()
                continue
            metrics.EXPORTER_DELIVERED.labels(lane=lane).inc()
            if arrived_ns:
                metrics.EXPORTER_DELAY.observe(max(0, self._wall_ns() - arrived_ns) / 1e9)

    def _rest(self, now: float) -> float:
        """How long nothing will be due, as far as is known now."""
        rest = IDLE_S
        for lane in Lane:
            wait = self._lanes.until(lane) - now
            if wait <= 0.0:
                wait = self._again[lane] - now
            if wait > 0.0:
                rest = min(rest, wait)
        return rest

    def _show(self, lane: Lane) -> None:
        for phase in Phase:
            metrics.EXPORTER_LANE_STATE.labels(lane=lane, state=phase).set(self._lanes.phase(lane) is phase)
