"""The delivery around a sink that answers as Hypothesis likes, on a clock that jumps."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.events import Lane, Outcome, Queued, Settlement
from exporter.delivery import IDLE_S
from exporter.lanes import PaceSettings
from exporter.sink import Delivery, Directive
from telemetry.metrics import REGISTRY
from tests.exporter.outbox import Clock, Outbox, event, run

PREFIX = "otel_shell_detector_exporter_"
DEAD = {"lane": "risk", "reason": "event_invalid"}


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(PREFIX + name, labels) or 0.0


class ScriptedSink:
    """Answers by a list of (directive, how many are done, how many are dead); then takes everything."""

    name = "hec"

    def __init__(self, clock: Clock, script: Sequence[tuple[Directive, int, int]] = ()) -> None:
        self.clock = clock
        self.script = list(script)
        self.calls: list[tuple[float, Lane, list[str]]] = []
        self.accepted: list[str] = []
        self.flying = dict.fromkeys(Lane, 0)
        self.after_s: float | None = None

    def send(self, lane: Lane, batch: Sequence[Queued]) -> Delivery:
        self.calls.append((self.clock.now, lane, [queued.event.event_id for queued in batch]))
        directive, done, dead = self.script.pop(0) if self.script else (Directive.PROCEED, len(batch), 0)
        taken, refused = batch[:done], batch[done : done + dead]
        self.accepted += [queued.event.event_id for queued in taken]
        outcomes = [Outcome(queued.sequence, Settlement.DONE) for queued in taken]
        outcomes += [Outcome(queued.sequence, Settlement.DEAD, "event_invalid") for queued in refused]
        return Delivery(tuple(outcomes), directive, directive.value, self.after_s, len(batch))

    def in_flight(self, lane: Lane) -> int:
        return self.flying[lane]

    def close(self) -> None:
        pass


class FullSink(ScriptedSink):
    """Has as much in flight as it can bear."""

    def send(self, lane: Lane, batch: Sequence[Queued]) -> Delivery:
        self.calls.append((self.clock.now, lane, [queued.event.event_id for queued in batch]))
        return Delivery(after_s=2.0)


def test_with_nothing_to_do_it_rests_and_asks_nobody() -> None:
    clock = Clock()
    sink = ScriptedSink(clock)
    assert Outbox().deliverer(sink, clock).turn(clock.now) == IDLE_S
    assert sink.calls == []


def test_lanes_take_turns() -> None:
    clock = Clock()
    sink = ScriptedSink(clock)
    outbox = Outbox(*(event(number, lane) for number in range(4) for lane in Lane))
    run(outbox.deliverer(sink, clock, PaceSettings(batch_limit=2)), clock, lambda: not outbox.waiting)
    assert [lane for _, lane, _ in sink.calls] == [Lane.RISK, Lane.CONTEXT, Lane.AUDIT] * 2


def test_it_comes_again_when_the_first_lane_is_due() -> None:
    clock = Clock()
    sink = ScriptedSink(clock, [(Directive.RETRY, 0, 0)])
    deliverer = Outbox(event(0)).deliverer(sink, clock, jitter=lambda: 0.0)
    assert deliverer.turn(clock.now) == 0.0
    assert deliverer.turn(clock.now) == 0.25
    clock.now += 0.25
    assert deliverer.turn(clock.now) == 0.0
    assert len(sink.calls) == 2


@pytest.mark.parametrize("directive", [Directive.RETRY, Directive.PAUSE_LANE, Directive.PAUSE_SINK])
def test_hastened_it_tries_once_more_whatever_it_waits_for(directive: Directive) -> None:
    clock = Clock()
    sink = ScriptedSink(clock, [(directive, 0, 0)] * 2)
    deliverer = Outbox(event(0)).deliverer(sink, clock, jitter=lambda: 1.0)
    assert deliverer.turn(clock.now) == 0.0
    assert deliverer.turn(clock.now) == 1.0
    deliverer.hasten()
    assert deliverer.turn(clock.now) == 0.0
    assert deliverer.turn(clock.now) == 1.0  # refused again: it waits as ever
    assert len(sink.calls) == 2


def test_what_raises_goes_through_and_loses_nothing() -> None:
    clock = Clock()
    outbox = Outbox(event(0))
    deliverer = outbox.deliverer(ScriptedSink(clock), clock)

    def broken(_: Sequence[Outcome]) -> None:
        raise OSError("the store is gone")

    deliverer._settle = broken
    with pytest.raises(OSError, match="the store is gone"):
        deliverer.turn(clock.now)
    assert len(outbox.waiting) == 1
    deliverer._settle = outbox.settle
    run(deliverer, clock, lambda: not outbox.waiting)
    assert outbox.done == ["risk-0"]


def test_what_happens_is_counted(logs: list[Any]) -> None:
    names = {
        "events_delivered_total": {"lane": "risk"},
        "attempts_total": {"sink": "hec", "lane": "risk", "result": "retry"},
        "dead_letters_total": {"lane": "risk", "reason": "event_invalid"},
        "send_seconds_count": {"sink": "hec"},
    }
    before = [sample(name, **labels) for name, labels in names.items()]
    clock = Clock()
    sink = ScriptedSink(clock, [(Directive.RETRY, 1, 1), (Directive.PAUSE_LANE, 0, 0)])
    outbox = Outbox(*(event(number) for number in range(5)))
    deliverer = outbox.deliverer(sink, clock)

    def states() -> list[float]:
        return [sample("lane_state", lane="risk", state=state) for state in ("ready", "backoff", "paused")]

    assert states() == [1, 0, 0]
    deliverer.turn(clock.now)
    assert states() == [0, 1, 0]
    assert sample("backlog_events", lane="risk") == 5
    run(deliverer, clock, lambda: len(sink.calls) == 2)
    assert states() == [0, 0, 1]
    run(deliverer, clock, lambda: not outbox.waiting)
    deliverer.turn(clock.now)
    assert states() == [1, 0, 0]
    assert sample("backlog_events", lane="risk") == 0
    after = [sample(name, **labels) for name, labels in names.items()]
    assert [new - old for new, old in zip(after, before, strict=True)] == [4, 1, 1, len(sink.calls)]
    assert logs == [{"event": "exporter.resumed", "log_level": "info", "sink": "hec", "lane": Lane.RISK}]


def test_what_is_in_flight_is_taken_in_addition_and_asked_for_when_it_is_due() -> None:
    clock = Clock()
    sink = ScriptedSink(clock, [(Directive.PROCEED, 0, 0)] * 50)
    sink.after_s = 3.0
    outbox = Outbox(*(event(number) for number in range(5)))
    deliverer = outbox.deliverer(sink, clock, PaceSettings(batch_limit=2))
    deliverer.turn(clock.now)
    sink.flying[Lane.RISK] = 2
    deliverer.turn(clock.now)
    sink.flying[Lane.RISK] = 5
    assert deliverer.turn(clock.now) == IDLE_S
    clock.now += 3.0
    deliverer.turn(clock.now)
    assert [(at - 5000.0, len(batch)) for at, _, batch in sink.calls] == [(0.0, 2), (0.0, 4), (3.0, 0)]


def test_a_sink_that_has_no_room_is_not_asked_in_a_loop() -> None:
    clock = Clock()
    sink = FullSink(clock)
    sink.flying[Lane.RISK] = 1
    deliverer = Outbox(event(0), event(1)).deliverer(sink, clock)
    run(deliverer, clock, lambda: clock.now >= 5010.0)
    assert len(sink.calls) <= 6


answers = st.tuples(st.sampled_from(Directive), st.integers(0, 8), st.integers(0, 2))


@given(
    st.lists(st.sampled_from(Lane), max_size=60),
    st.lists(answers, max_size=60),
    st.lists(st.floats(0, 0.999), min_size=1),
)
def test_nothing_is_lost_nor_overtaken_and_nobody_is_hammered(
    lanes: list[Lane], script: list[tuple[Directive, int, int]], jitters: list[float]
) -> None:
    clock = Clock()
    sink = ScriptedSink(clock, script)
    outbox = Outbox(*(event(number, lane) for number, lane in enumerate(lanes)))
    at = iter(jitters * 200)
    deliverer = outbox.deliverer(sink, clock, PaceSettings(batch_limit=16), jitter=lambda: next(at, 0.5))
    run(deliverer, clock, lambda: not outbox.waiting, turns=20_000)
    for lane in Lane:
        mine = [f"{lane}-{number}" for number, of in enumerate(lanes) if of is lane]
        dead = {event_id for event_id, _ in outbox.dead}
        done = [event_id for event_id in outbox.done if event_id in set(mine)]
        assert {*done, *dead} >= set(mine)
        assert done == [event_id for event_id in mine if event_id not in dead]
    fruitless = len(sink.calls) - len(outbox.done) - len(outbox.dead)
    assert fruitless <= len(script)


def test_the_delay_of_a_delivered_event_counts_from_the_arrival_of_its_evidence() -> None:
    before = (sample("delay_seconds_count"), sample("delay_seconds_sum"))
    clock = Clock()
    outbox = Outbox(
        replace(event(1), arrived_ns=4 * 10**9), event(2), replace(event(3), arrived_ns=11 * 10**9)
    )
    run(outbox.deliverer(ScriptedSink(clock), clock), clock, lambda: not outbox.waiting)
    # 6 s; nothing is known of the second; the third is from before our clock was set back
    assert (sample("delay_seconds_count"), sample("delay_seconds_sum")) == (before[0] + 2, before[1] + 6.0)


class StoreError(Exception):
    """The disk is full, say."""


def test_what_was_accepted_while_the_outbox_cannot_take_note_is_not_sent_again() -> None:
    """Sent again each turn, it would score again each turn."""
    before = [sample("events_delivered_total", lane="risk"), sample("dead_letters_total", **DEAD)]
    clock = Clock()
    sink = ScriptedSink(clock, [(Directive.REFUSED, 2, 1)])
    outbox = Outbox(*(event(number) for number in range(5)))
    deliverer = outbox.deliverer(sink, clock)
    outbox.broken = StoreError("disk full")
    for _ in range(20):
        with pytest.raises(StoreError):
            deliverer.turn(clock.now)
        clock.now += 1.0
    assert (len(sink.calls), len(outbox.taken), len(outbox.waiting)) == (1, 1, 5)
    outbox.broken = None
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(sink.accepted, {"risk-2": "event_invalid"})
    assert len(sink.accepted) == 4
    after = [sample("events_delivered_total", lane="risk"), sample("dead_letters_total", **DEAD)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [4, 1]


def test_a_lane_whose_outcomes_are_not_noted_does_not_hold_up_the_others() -> None:
    """Nor when the others failed once and so stand behind it."""
    clock = Clock()
    sink = ScriptedSink(clock, [(Directive.PROCEED, 3, 0), (Directive.RETRY, 0, 0), (Directive.RETRY, 0, 0)])
    outbox = Outbox(*(event(number, lane) for number in range(3) for lane in Lane))
    deliverer = outbox.deliverer(sink, clock)
    outbox.broken = StoreError("disk full")
    for _ in range(20):
        with contextlib.suppress(StoreError):
            deliverer.turn(clock.now)
        clock.now += 1.0
    assert [lane for _, lane, _ in sink.calls[:3]] == list(Lane)
    # One event each after their failure; then they too wait for the outbox.
    assert [(lane, len(batch)) for _, lane, batch in sink.calls[3:]] == [(Lane.CONTEXT, 1), (Lane.AUDIT, 1)]
    outbox.broken = None
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(sink.accepted)
    assert len(sink.accepted) == 9


@pytest.mark.parametrize(
    "steps",
    [[-3600], [3600], [86_400], [-3600, 3600] * 20, [15 * 365 * 86_400], [-60 * 365 * 86_400], [1 << 33]],
    ids=["hour-back", "hour-on", "day-on", "to-and-fro", "beyond-2038", "before-1970", "far"],
)
def test_steps_of_the_wall_clock_do_not_touch_delivery(steps: list[int]) -> None:
    before = (sample("delay_seconds_count"), sample("delay_seconds_sum"))
    clock, now_s = Clock(), 1_795_488_000
    walls = [now_s := now_s + step for step in [0, *steps]]
    at = iter(walls * 200)
    sink = ScriptedSink(clock, [(Directive.RETRY, 1, 0), (Directive.PAUSE_SINK, 0, 0)])
    outbox = Outbox(
        *(
            replace(event(number), arrived_ns=max(1, walls[number % len(walls)]) * 10**9)
            for number in range(60)
        )
    )
    deliverer = outbox.deliverer(
        sink, clock, PaceSettings(batch_limit=8), wall_ns=lambda: next(at) * 10**9, jitter=lambda: 1.0
    )
    began = clock.now
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(sink.accepted)
    assert clock.now - began == 2.0  # one retry and one pause, whatever the wall says
    assert sample("delay_seconds_count") == before[0] + 60
    assert sample("delay_seconds_sum") >= before[1]
