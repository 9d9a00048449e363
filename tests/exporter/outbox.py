"""What stands around a sink in these tests: an outbox in a list, a clock that is told the time, events."""

import json
from collections.abc import Callable, Mapping, Sequence

from detector.events import Event, Lane, Outcome, Queued, Settlement
from exporter.delivery import Deliverer
from exporter.lanes import PaceSettings
from exporter.sink import Sink


class Clock:
    """Seconds, as the test says. Starts late, so that a time that was meant to be absolute shows."""

    def __init__(self) -> None:
        self.now = 5_000.0

    def __call__(self) -> float:
        return self.now


def event(number: int, lane: Lane = Lane.RISK, padding: int = 0) -> Event:
    """An envelope as the encoder makes it, as far as a sink can tell."""
    body = {
        "time": number,
        "index": lane.value,
        "event": {"event_id": f"{lane}-{number}", "kind": "opened", "padding": "x" * padding},
    }
    return Event(lane, f"{lane}-{number}", json.dumps(body).encode())


def queue(count: int, lane: Lane = Lane.RISK, padding: int = 0) -> list[Queued]:
    """The first events of a lane."""
    return [Queued(number, event(number, lane, padding)) for number in range(count)]


class Outbox:
    """Keeps what was settled, and insists that nothing is settled twice.

    ``broken`` is raised by ``settle`` while it is set; ``taken`` counts the rows of each ``take``.
    """

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.broken: Exception | None = None
        self.taken: list[tuple[Lane, int]] = []
        self.waiting = [Queued(sequence, event) for sequence, event in enumerate(events)]
        self.done: list[str] = []
        self.dead: list[tuple[str, str]] = []

    def take(self, lane: Lane, limit: int) -> Sequence[Queued]:
        rows = [queued for queued in self.waiting if queued.event.lane is lane][:limit]
        self.taken.append((lane, len(rows)))
        return rows

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        if self.broken:
            raise self.broken
        for outcome in outcomes:
            [queued] = [queued for queued in self.waiting if queued.sequence == outcome.sequence]
            self.waiting.remove(queued)
            if outcome.settlement is Settlement.DONE:
                self.done.append(queued.event.event_id)
            else:
                self.dead.append((queued.event.event_id, outcome.reason))

    def backlog(self) -> Mapping[Lane, int]:
        return {lane: sum(queued.event.lane is lane for queued in self.waiting) for lane in Lane}

    def assert_delivered(self, indexed: Sequence[str], dead: Mapping[str, str] | None = None) -> None:
        """All are done but the dead, and in each lane they first came to the receiver in their order.

        ``indexed`` are the ids that the receiver has, in its order, repetitions included.
        """
        assert (self.waiting, dict(self.dead)) == ([], dead or {})
        assert len(self.dead) == len(dead or {})
        for lane in Lane:
            want = [
                event.event_id
                for event in self.events
                if event.lane is lane and event.event_id not in (dead or {})
            ]
            mine = set(want)
            assert [each for each in self.done if each in mine] == want
            assert [each for each in dict.fromkeys(indexed) if each in mine] == want
        assert len(set(indexed) - {event.event_id for event in self.events}) == 0

    def deliverer(
        self,
        sink: Sink,
        clock: Callable[[], float],
        pace: PaceSettings | None = None,
        jitter: Callable[[], float] = lambda: 1.0,
        wall_ns: Callable[[], int] = lambda: 10 * 10**9,
    ) -> Deliverer:
        return Deliverer(
            sink,
            take=self.take,
            settle=self.settle,
            backlog=self.backlog,
            clock=clock,
            random=jitter,
            wall_ns=wall_ns,
            pace=pace,
        )


def run(deliverer: Deliverer, clock: Clock, until: Callable[[], bool], turns: int = 5000) -> None:
    """Turn until the condition holds, letting the clock jump over every wait."""
    for _ in range(turns):
        if until():
            return
        clock.now += deliverer.turn(clock.now)
    assert until(), f"not reached in {turns} turns"
