"""Delivery: from the outbox to the sink, lane by lane, in order.

An event leaves the outbox only with an outcome, so whatever happens between two statements here, it is sent
again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from detector.events import Lane, Outcome, Queued, Settlement
from exporter.lanes import Lanes, PaceSettings, Phase
from exporter.sink import Delivery, Sink
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
    delay since arrival is measured. What these raise goes through: nothing is
    lost by it.
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
        # Of acknowledgements: when the sink wants to be called though nothing is new, and whether it had no
        # room for more
        self._again = dict.fromkeys(Lane, 0.0)
        self._full = dict.fromkeys(Lane, False)
        for lane in Lane:
            self._show(lane)

    def turn(self, now: float) -> float:
        """Make at most one call to the sink; return after how many seconds to come again (0: at once).

        One call, so that whoever stops the service waits for one request at most, and a long backlog of
        context does not hold up risk: lanes take turns. Blocks as :meth:`Sink.send` does.
        """
        for lane, waiting in self._backlog().items():
            metrics.EXPORTER_BACKLOG.labels(lane=lane).set(waiting)
        for lane in self._order:
            allowance = self._lanes.allowance(lane, now)
            if not allowance:
                continue
            in_flight = self._sink.in_flight(lane)
            batch = self._take(lane, in_flight + allowance)
            due = now >= self._again[lane]
            if (len(batch) > in_flight and (due or not self._full[lane])) or (in_flight and due):
                self._attempt(lane, batch, in_flight)
                self._order.remove(lane)
                self._order.append(lane)
                return 0.0
        return self._rest(now)

    def _attempt(self, lane: Lane, batch: Sequence[Queued], in_flight: int) -> None:
        began = self._clock()
        delivery = self._sink.send(lane, batch)
        ended = self._clock()
        if delivery.result:
            metrics.EXPORTER_ATTEMPTS.labels(sink=self._sink.name, result=delivery.result).inc()
            metrics.EXPORTER_SEND.labels(sink=self._sink.name).observe(ended - began)
        self._end(lane, batch, delivery)
        # A sink that did nothing with what is new must not be asked again at once.
        self._full[lane] = len(batch) > in_flight and not delivery.tried
        self._again[lane] = ended + (IDLE_S if delivery.after_s is None else delivery.after_s)
        before = {each: self._lanes.phase(each) for each in Lane}
        self._lanes.answered(lane, delivery, ended, self._random())
        for each in Lane:
            phase = self._lanes.phase(each)
            if phase is not before[each]:
                self._show(each)
                if phase is Phase.READY:
                    events.EXPORTER_RESUMED(sink=self._sink.name, lane=each)

    def _end(self, lane: Lane, batch: Sequence[Queued], delivery: Delivery) -> None:
        if not delivery.outcomes:
            return
        self._settle(delivery.outcomes)
        arrived_ns = {queued.sequence: queued.event.arrived_ns for queued in batch}
        for outcome in delivery.outcomes:
            if outcome.settlement is Settlement.DONE:
                metrics.EXPORTER_DELIVERED.labels(lane=lane).inc()
                if arrived := arrived_ns.get(outcome.sequence):
                    metrics.EXPORTER_DELAY.observe(max(0, self._wall_ns() - arrived) / 1e9)
            else:
                metrics.EXPORTER_DEAD_LETTERS.labels(lane=lane, reason=outcome.reason).inc()

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
