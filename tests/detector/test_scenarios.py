"""Whole days on nodes, by name: outages, clocks, freezes, agents that restart."""

from __future__ import annotations

import random

import pytest

from detector.clock import ServiceClock
from detector.counts import Count
from detector.identity import BootTime, event_id, session_id
from detector.rules import Rules
from detector.types import NANOSECONDS, Kind, NodeId, Record, ShellId
from tests.detector.world import NODE, World, cpu, memory, ns, record, sample, seconds


def burst(world: World, at: float, times: list[float]) -> None:
    for event_time in times:
        world.feed(at, record(event_time, sample(event_time)))


@pytest.mark.parametrize("seed", range(5))
def test_outage_and_burst_of_retries(seed: int) -> None:
    world = World()
    for at in range(5, 100, 10):
        world.scrape(at, sample(at))
    # 120 s without a request, then everything at once, in any order and twice
    backlog = [float(at) for at in range(105, 225, 10)] * 2
    random.Random(seed).shuffle(backlog)
    world.run_to(224)
    burst(world, 225, backlog)
    for at in range(235, 400, 10):
        world.scrape(at, sample(at))
    assert world.story() == [("opened", 23, None)]
    world.finish(close_sessions=True)
    assert world.findings[-1].span.windows == 39


@pytest.mark.parametrize("seed", range(5))
def test_a_partition_of_thirty_minutes_whose_backlog_comes_in_random_order_beside_live_data(
    seed: int,
) -> None:
    world = World()
    world.scrape(5, sample(5))
    backlog = [float(at) for at in range(15, 1815, 10)]
    random.Random(seed).shuffle(backlog)
    live = 1815.0
    while backlog:
        for _ in range(min(3, len(backlog))):
            late = backlog.pop()
            world.feed(live, record(late, sample(late)))
        world.scrape(live, sample(live))
        live += 10
    world.run_to(live + 30)
    assert [finding.kind for finding in world.findings] == ["opened"]
    world.finish(close_sessions=True)
    assert world.findings[-1].span.windows == int(live // 10)


@pytest.mark.parametrize("skew", [-86_400, -600, 600, 86_400])
def test_a_node_whose_clock_is_wrong_is_told_as_any_other(skew: int) -> None:
    world = World()
    for at in range(5, 100, 10):
        world.feed(at, record(100_000 + at + skew, sample(100_000 + at + skew)))
    for at in range(105, 400, 10):
        world.feed(at, record(100_000 + at + skew))
    assert world.story() == [("opened", 23, None), ("closed", 23, "exited")]
    assert world.findings[0].release_ns == 20 * NANOSECONDS


@pytest.mark.parametrize("step", [-86_400, -7200, -1800, 1800, 86_400])
def test_a_step_of_the_nodes_clock_closes_nothing_falsely(step: int) -> None:
    world = World()
    for at in range(5, 300, 10):
        world.feed(at, record(200_000 + at, sample(200_000 + at)))
    for at in range(305, 1000, 10):
        world.feed(at, record(200_000 + at + step, sample(200_000 + at + step)))
    assert [finding.kind for finding in world.findings if finding.kind != "ongoing"] == ["opened"]
    assert (Count.CLOCK_WENT_BACK in world.counts) == (step < -3600)
    gone = range(1005, 1005 + 3 * 1800, 10)
    for at in gone:
        world.feed(at, record(200_000 + at + step))
    assert [finding.reason for finding in world.findings if finding.kind == "closed"] == ["exited"]


def test_after_the_clock_went_back_the_session_ends_where_it_was_last_seen() -> None:
    world = World()
    world.feed(5, record(10_005, sample(10_005)))
    for at in range(15, 100, 10):
        world.feed(at, record(at, sample(at)))
    world.run_to(120)
    world.finish(close_sessions=True)
    closed = world.findings[-1]
    # bins 1 and 1000 before the clock is known to have gone back, bins 4 to 9 after
    assert (seconds(closed.first_seen_ns), seconds(closed.last_seen_ns)) == (15, 95)
    assert closed.span.windows == 8


def test_what_was_told_before_the_clock_went_back_stays_told_after() -> None:
    world = World()
    world.feed(5, record(10_005, sample(10_005)))
    for at in range(25, 60, 10):
        world.feed(at, record(at, sample(at)))
    assert world.counts[Count.CLOCK_WENT_BACK] == 1
    before = world.counts.get(Count.POINT_LATE_CLOSED, 0)
    world.feed(60, record(10_005, sample(10_005)))
    assert world.counts[Count.POINT_LATE_CLOSED] == before + 1


def test_our_own_clock_never_goes_back_and_never_leaps() -> None:
    clock = ServiceClock(reading_ns=1_000, start_ns=50)
    assert clock.advance(1_100) == 150
    assert clock.advance(900) == 150
    assert clock.advance(1_000) == 250
    assert clock.advance(600 * NANOSECONDS) == 250 + 5 * NANOSECONDS
    assert clock.now_ns == 250 + 5 * NANOSECONDS


def test_ten_frozen_minutes_are_no_silence_of_the_nodes() -> None:
    world = World(Rules(horizon_ns=300 * NANOSECONDS))
    clock = ServiceClock(0)
    for at in range(5, 100, 10):
        world.feed(at, record(at, sample(at)))
    for tick in range(96):
        clock.advance(tick * NANOSECONDS)
    # frozen from 95 to 695; then the queue is drained, stamped with the service time of the turn before
    world.feed(95, record(695, sample(695)))
    assert clock.advance(695 * NANOSECONDS) == 100 * NANOSECONDS
    world.run_to(100)
    assert world.story() == [("opened", 23, None)]


def test_an_agent_that_restarts_after_a_clock_step_keeps_every_identity() -> None:
    world = World()
    for at in (5, 15, 25):
        world.scrape(at, sample(at), init=-1000)
    # a new agent process: the boot time it read is 37 s later, so are all starts
    for at in (35, 45, 55):
        world.scrape(at, sample(at, start=-63), init=-963)
    # a request of the same agent without pid 1
    world.scrape(65, sample(65, start=-63))
    world.run_to(100)
    assert world.story() == [("opened", 23, None)]
    assert world.counts[Count.START_CORRECTED] == 4
    assert seconds(world.findings[0].evidence.start_ns) == -100


@pytest.mark.parametrize(
    ("start", "init", "corrected"),
    [(100, 10, 100), (100, 12, 100), (103, 13, 100), (97, 7, 100), (0, 50, 0)],
)
def test_starts_are_corrected_by_what_pid_1_moved_if_that_is_more_than_two_seconds(
    start: int, init: int, corrected: int
) -> None:
    boot = BootTime()
    boot.see(10 * NANOSECONDS)
    boot.see(0)
    assert boot.correct(start * NANOSECONDS, init * NANOSECONDS) == corrected * NANOSECONDS


def test_a_node_whose_pid_1_was_never_seen_corrects_nothing() -> None:
    assert BootTime().correct(7, 0) == 7


def test_scrapes_of_sixty_seconds() -> None:
    world = World()
    for at in range(5, 400, 60):
        world.scrape(at, sample(at))
        # system metrics every 10 s have no process frame, so there is no record of the node: only time passes
        for later in range(10, 60, 10):
            world.run_to(at + later)
    for at in range(425, 425 + 4 * 60, 60):
        world.scrape(at)
    assert world.story() == [("opened", 23, None), ("closed", 23, "exited")]
    # absent from the third scrape without it on, at 545, and for 60 s
    assert world.findings[1].release_ns == 605 * NANOSECONDS


def test_a_node_without_memory_utilization() -> None:
    world = World()
    for at in range(5, 400, 10):
        world.scrape(at, sample(at, cpu(at, 0.3 if at == 55 else 0.0)))
    assert world.story() == [("opened", 23, None)]
    assert world.blind == [NODE]


def test_a_node_that_is_gone_for_hours_and_comes_back_with_the_same_shell() -> None:
    world = World()
    world.scrape(5, sample(5), init=-1000)
    world.run_to(4 * 3600)
    world.scrape(4 * 3600 + 5, sample(4 * 3600 + 5), init=-1000)
    world.run_to(4 * 3600 + 60)
    assert [(f.kind, f.reason, f.incarnation) for f in world.findings] == [
        ("opened", None, 0),
        ("closed", "node_silent", 0),
        ("opened", None, 1),
    ]


def test_a_bin_older_than_the_horizon_changes_nothing_but_opens_what_is_unknown() -> None:
    world = World()
    world.scrape(5005, sample(5005))
    world.run_to(5030)
    world.feed(5030, record(5, sample(5), sample(5, pid=99)))
    world.run_to(5060)
    assert world.story() == [("opened", 23, None), ("opened", 99, None)]
    assert world.counts[Count.POINT_LATE_HORIZON] == 1


def test_the_horizon_reaches_exactly_as_far_as_the_memory() -> None:
    world = World()
    # newest bin 500; the horizon is 360 bins, so 140 is the oldest that is remembered
    world.scrape(5005, sample(5005))
    world.run_to(5030)
    world.feed(5030, record(1405, sample(1405)))
    world.feed(5030, record(1395, sample(1395)))
    world.run_to(5060)
    assert world.counts[Count.POINT_LATE_HORIZON] == 1
    assert world.counts[Count.WINDOW_SURVIVED] == 2
    world.feed(5060, record(1405, sample(1405)))
    assert world.counts[Count.POINT_LATE_CLOSED] == 1


def test_ids_are_a_function_of_the_identity_and_nothing_else() -> None:
    shell = ShellId(NodeId("c", "n"), "h", 7, 9, "sh")
    assert session_id("store", shell, 0) == "33b7175d-b1e6-5d7e-95f1-fdec81ebf50d"
    ids = {event_id("store", shell, number, kind, number) for kind in Kind for number in range(2)}
    ids |= {
        event_id("store", ShellId(NodeId(cluster, node), "h", 7, 9, "sh"), 0, Kind.OPENED, 0)
        for cluster, node in (('c"', "n"), ("c", '"n'), ("", "c,n"), ("c,n", ""))
    }
    ids.add(event_id("other", shell, 0, Kind.OPENED, 0))
    assert len(ids) == 6 + 4 + 1


def test_a_node_with_nothing_due_is_not_run() -> None:
    world = World()
    world.feed(0, Record(NODE, (), (ns(0),)))
    assert world.detector.due_ns() == 300 * NANOSECONDS  # when it is silent
    world.feed(1, record(5, sample(5)))
    world.feed(2, record(15, sample(15, memory(15, 0.0), pid=8)))
    assert world.detector.due_ns() == 16 * NANOSECONDS
