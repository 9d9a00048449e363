"""When windows close and what is in them. Above the asserts: event time to the right, one column a second."""

from __future__ import annotations

import math

import pytest

from detector.counts import Count
from detector.rules import Rules
from detector.types import Metric, Point, Span
from tests.detector.world import World, cpu, memory, ns, record, sample, seconds


def test_a_window_closes_window_plus_lateness_after_its_first_point_arrived() -> None:
    world = World()
    # bin 0          |----x-----|
    # service time        4              19 = 4 + 10 + 5
    world.scrape(4, sample(4))
    world.run_to(18.999)
    assert world.findings == []
    world.run_to(19)
    assert [(f.kind, f.release_ns, f.span.windows) for f in world.findings] == [("opened", 19_000_000_000, 1)]


def test_a_point_on_the_edge_belongs_to_the_window_that_begins_there() -> None:
    world = World()
    # bin 0 |---------9.999..| bin 1 |10--------|
    world.scrape(9.999999999, sample(9.999999999, memory(9.999999999, 0.5)))
    world.scrape(10, sample(10, memory(10, 0.1)))
    world.run_to(40)
    [opened] = world.findings
    assert (seconds(opened.span.window_start_ns), seconds(opened.span.window_end_ns)) == (0, 10)
    assert opened.span.memory == 0.5


def test_the_means_of_a_window_are_over_points_and_over_timestamps() -> None:
    world = World()
    world.scrape(1, sample(1, (*cpu(1, 0.3, 0.1), *memory(1, 0.02))))
    world.scrape(6, sample(6, (*cpu(6, 0.5, 0.0, 0.1), *memory(6, 0.04))))
    world.run_to(30)
    assert world.findings[0].span == Span(
        windows=1,
        window_start_ns=ns(0),
        window_end_ns=ns(10),
        first_ns=ns(1),
        last_ns=ns(6),
        cpu=math.fsum((0.3, 0.1, 0.0, 0.5, 0.0, 0.1)) / 6,
        cpu_total=math.fsum((0.3, 0.1, 0.0, 0.5, 0.0, 0.1)) / 2,
        memory=math.fsum((0.02, 0.04)) / 2,
    )


def test_a_metric_without_a_point_has_no_mean() -> None:
    world = World()
    world.scrape(1, sample(1, memory(1)))
    world.scrape(2, sample(2, cpu(2, 0.5), pid=24))
    world.run_to(30)
    assert [(f.span.cpu, f.span.cpu_total, f.span.memory) for f in world.findings] == [
        (None, None, 0.01),
        (0.5 / 3, 0.5, None),
    ]


def test_a_window_without_a_positive_point_tells_nothing_and_is_forgotten() -> None:
    world = World()
    world.scrape(4, sample(4, (*cpu(4, 0.0), *memory(4, 0.0))))
    assert world.detector.tracked() == 1
    world.run_to(30)
    assert world.findings == []
    assert world.detector.tracked() == 0
    assert world.counts == {Count.WINDOW_OPENED: 1, Count.WINDOW_DROPPED: 1}


def test_closing_a_window_takes_the_older_open_ones_with_it_oldest_first() -> None:
    world = World()
    # bin 0 |-----------|  arrives second; bin 2 arrives first and closes at 15
    world.feed(0, record(25, sample(25, memory(25, 0.3))))
    world.feed(1, record(5, sample(5, memory(5, 0.1))))
    world.run_to(15)
    [opened] = world.findings
    assert (seconds(opened.span.window_start_ns), opened.span.memory) == (0, 0.1)
    world.run_to(16)
    assert world.counts[Count.WINDOW_SURVIVED] == 2


def test_a_closed_window_never_changes() -> None:
    world = World()
    world.scrape(5, sample(5))
    world.run_to(20)
    before = list(world.findings)
    world.feed(21, record(6, sample(6, memory(6, 99.0))))
    world.run_to(200)
    assert world.findings == before
    assert world.counts[Count.POINT_LATE_CLOSED] == 1


def test_a_late_point_of_a_bin_that_did_not_close_surviving_opens_a_window_of_its_own() -> None:
    world = World()
    # bins    0         1         2
    #      |----x----|---------|----x----|     and bin 1 arrives 100 s late
    world.scrape(5, sample(5, memory(5, 0.1)))
    world.scrape(25, sample(25, memory(25, 0.3)))
    world.run_to(50)
    world.feed(125, record(15, sample(15, memory(15, 0.2))))
    world.run_to(139.999)
    assert world.counts[Count.WINDOW_SURVIVED] == 2
    world.run_to(140)
    assert world.counts[Count.WINDOW_SURVIVED] == 3
    world.finish(close_sessions=True)
    closed = world.findings[-1]
    assert (closed.kind, closed.span.windows) == ("closed", 3)
    assert closed.span.memory == pytest.approx(0.2, rel=1e-15)


def test_a_bin_counts_once_however_often_it_comes() -> None:
    world = World()
    for at in (5, 15, 25):
        world.scrape(at, sample(at))
    world.run_to(60)
    for repetition in range(3):
        for at in (15, 5, 25):
            world.feed(100 + 20 * repetition, record(at, sample(at, memory(at, 7.0))))
    world.run_to(150)
    world.finish(close_sessions=True)
    assert world.findings[-1].span.windows == 3
    assert world.findings[-1].span.memory == pytest.approx(0.01, rel=1e-15)
    assert world.counts[Count.POINT_LATE_CLOSED] == 9


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        (Point(Metric.CPU, "user", ns(5), -2.88), Count.POINT_NEGATIVE),
        (Point(Metric.CPU, "user", ns(5), math.nan), Count.POINT_NAN),
        (Point(Metric.CPU, "user", ns(5), math.inf), Count.POINT_INFINITE),
        (Point(Metric.CPU, "user", ns(5), -math.inf), Count.POINT_NEGATIVE),
        (Point(Metric.CPU, "user", ns(5), 1e13), Count.POINT_OUT_OF_RANGE),
        (Point(Metric.MEMORY, "", ns(5), None), Count.POINT_NO_RECORDED_VALUE),
        (Point(Metric.MEMORY, "", 0, 0.5), Count.POINT_NO_TIME),
    ],
)
def test_a_point_that_is_no_evidence_is_left_out_and_counted(point: Point, reason: Count) -> None:
    world = World()
    world.scrape(5, sample(5, (point,)))
    world.run_to(60)
    assert world.findings == []
    assert world.counts == {reason: 1}


def test_invalid_points_do_not_touch_the_mean_of_the_valid_ones() -> None:
    world = World()
    world.scrape(5, sample(5, (*cpu(5, -0.19, -0.0005, 0.0), *memory(5, 0.5))))
    world.run_to(60)
    span = world.findings[0].span
    assert (span.cpu, span.cpu_total, span.memory) == (0.0, 0.0, 0.5)


def test_more_than_one_cpu_second_per_second_is_kept_and_counted() -> None:
    world = World()
    world.scrape(5, sample(5, cpu(5, 1.7)))
    world.run_to(60)
    assert world.findings[0].span.cpu_total == 1.7
    assert world.counts[Count.POINT_CPU_ABOVE_ONE] == 1


def test_of_two_values_for_one_key_the_larger_wins_in_either_order() -> None:
    spans = []
    for values in ((0.2, 0.4), (0.4, 0.2)):
        world = World()
        for value in values:
            world.scrape(5, sample(5, memory(5, value)))
        world.run_to(60)
        spans.append(world.findings[0].span)
        assert world.counts[Count.POINT_CONFLICT] == 1
    assert spans[0] == spans[1]
    assert spans[0].memory == 0.4


def test_zero_has_one_form() -> None:
    world = World()
    world.scrape(5, sample(5, (*cpu(5, -0.0), *memory(5, 0.5))))
    world.run_to(60)
    assert math.copysign(1, world.findings[0].span.cpu or 1.0) == 1


def test_a_long_state_slot_is_cut_and_still_a_key() -> None:
    world = World()
    points = [Point(Metric.CPU, "x" * 1000, ns(5), 0.25), Point(Metric.CPU, "y", ns(5), 0.25)]
    world.scrape(5, sample(5, points))
    world.run_to(60)
    assert world.findings[0].span.cpu == 0.25
    assert world.findings[0].span.cpu_total == 0.5


def test_a_node_may_not_open_more_windows_than_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detector.windows.MAX_OPEN_BINS", 2)
    world = World()
    for at in (5, 15, 25):
        world.feed(0, record(at, sample(at)))
    world.feed(0, record(15, sample(15, cpu(15, 0.5))))
    world.run_to(60)
    assert world.counts[Count.POINT_WINDOW_CEILING] == 1
    assert world.counts[Count.WINDOW_SURVIVED] == 2


def test_other_lengths_of_windows_work_alike() -> None:
    world = World(Rules(window_ns=60 * 10**9, lateness_ns=0))
    world.scrape(59, sample(59))
    world.scrape(61, sample(61))
    world.run_to(119)
    assert [f.kind for f in world.findings] == ["opened"]
    assert (
        seconds(world.findings[0].span.window_start_ns),
        seconds(world.findings[0].span.window_end_ns),
    ) == (
        0,
        60,
    )


def test_an_event_is_never_dated_after_the_arrival_of_its_sample() -> None:
    world = World()
    # The node's clock is 1000 s ahead of ours.
    world.feed(0, record(1005, sample(1005)), wall=7)
    world.feed(1, record(1005, sample(1005)), wall=8)
    world.run_to(60)
    [opened] = world.findings
    assert seconds(opened.envelope_ns) == 7
    assert seconds(opened.first_seen_ns) == 1005
    assert seconds(opened.arrived_ns) == 7
