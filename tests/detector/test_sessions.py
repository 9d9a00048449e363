"""Sessions: when they open, are told again, close, and come back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector.rules import Rules
from detector.sessions import Shell, _joined
from detector.types import Evidence, Point, SessionRow, ShellId
from tests.detector.world import (
    HOST,
    NODE,
    OTHER_NODE,
    World,
    cpu,
    memory,
    ns,
    record,
    sample,
    seconds,
)


def test_a_session_opens_once() -> None:
    world = World()
    for at in range(5, 200, 10):
        world.scrape(at, sample(at))
    world.run_to(230)
    [opened] = world.findings
    assert (opened.kind, opened.incarnation, opened.ordinal) == ("opened", 0, 0)
    assert opened.shell == ShellId(NODE, HOST, 23, ns(-100), "bash")
    assert (seconds(opened.first_seen_ns), seconds(opened.last_seen_ns)) == (5, 5)


def test_a_shell_is_gone_after_three_scrapes_without_it_and_sixty_seconds() -> None:
    world = World()
    for at in range(5, 50, 10):
        world.scrape(at, sample(at))
    # its last sign of life is in bin 4; bins 5, 6 and 7 come without it, the third of them at 75
    for at in range(55, 200, 10):
        world.scrape(at)
        world.run_to(at + 9.999)
        assert len(world.findings) == (1 if at + 9.999 < 135 else 2)
    closed = world.findings[1]
    assert (closed.kind, closed.reason, closed.release_ns) == ("closed", "exited", 135_000_000_000)
    assert closed.span.windows == 5
    assert (seconds(closed.span.window_end_ns), seconds(closed.last_seen_ns)) == (50, 45)
    assert seconds(closed.envelope_ns) == 45
    assert world.detector.tracked() == 0


def test_two_scrapes_without_it_are_not_enough_however_long_it_takes() -> None:
    world = World()
    world.scrape(5, sample(5))
    world.scrape(15)
    world.scrape(25)
    world.run_to(3000)
    assert world.story() == [("opened", 23, None)]


def test_a_shell_that_reappears_within_the_minute_never_closed() -> None:
    world = World()
    for at in (5, 15):
        world.scrape(at, sample(at))
    for at in (25, 35, 45, 55, 65, 75):
        world.scrape(at)
    world.scrape(85, sample(85))
    for at in (95, 105, 115):
        world.scrape(at)
    world.run_to(174)
    assert world.story() == [("opened", 23, None)]
    world.run_to(175)
    assert world.story()[1:] == [("closed", 23, "exited")]


def test_an_idle_shell_without_memory_points_stays_open_while_its_frames_come() -> None:
    world = World()
    world.scrape(5, sample(5, cpu(5, 0.5)))
    for at in range(15, 400, 10):
        world.scrape(at, sample(at, cpu(at, 0.0)))
    assert world.story() == [("opened", 23, None)]
    for at in range(405, 600, 10):
        world.scrape(at)
    assert world.story()[1:] == [("closed", 23, "exited")]


def test_a_zombie_closes_its_session_though_its_points_arrive_and_its_empty_texts_change_nothing() -> None:
    world = World()
    for at in range(5, 50, 10):
        world.scrape(at, sample(at))
    for at in range(55, 200, 10):
        world.scrape(at, sample(at, (*cpu(at, 0.0), *memory(at, 0.0)), path="", line=""))
    assert world.story() == [("opened", 23, None), ("closed", 23, "exited")]
    assert world.findings[1].evidence == world.findings[0].evidence
    assert world.findings[1].evidence.path == "/usr/bin/bash"
    # It goes on for hours: nothing is told, nothing is kept.
    for at in range(205, 20_000, 10):
        world.scrape(at, sample(at, (*cpu(at, 0.0), *memory(at, 0.0)), path="", line=""))
    assert len(world.findings) == 2
    assert world.detector.tracked() <= 1


def test_a_session_waits_with_its_close_for_evidence_that_came_in_time() -> None:
    world = World(Rules(lateness_ns=100 * 10**9))
    world.scrape(5, sample(5))
    world.scrape(15, sample(15))
    for at in (25, 35, 45):
        world.scrape(at)
    # absent since 45, due at 105; its windows close at 115 and 125
    world.run_to(124.999)
    assert world.story() == [("opened", 23, None)]
    world.run_to(125)
    assert world.story()[1:] == [("closed", 23, "exited")]
    assert world.findings[1].span.windows == 2


def test_a_node_that_falls_silent_closes_its_sessions_after_the_horizon() -> None:
    world = World()
    world.scrape(5, sample(5), sample(5, pid=24))
    world.run_to(3604.9)
    assert len(world.findings) == 2
    world.run_to(3605)
    assert world.story()[2:] == [("closed", 23, "node_silent"), ("closed", 24, "node_silent")]


def test_a_shell_that_keeps_running_is_told_again_with_the_means_since_the_last_time() -> None:
    world = World(Rules(renotify_ns=60 * 10**9))
    for at in range(5, 150, 10):
        world.scrape(at, sample(at, memory(at, 0.5 if at == 5 else at / 100)))
    world.run_to(170)
    assert world.story() == [("opened", 23, None), ("ongoing", 23, None), ("ongoing", 23, None)]
    first, second = world.findings[1:]
    assert (first.ordinal, second.ordinal) == (1, 2)
    assert (seconds(first.span.window_start_ns), seconds(first.span.window_end_ns)) == (10, 70)
    assert (first.span.windows, second.span.windows) == (6, 6)
    assert first.span.memory == pytest.approx((0.15 + 0.25 + 0.35 + 0.45 + 0.55 + 0.65) / 6, rel=1e-15)
    assert (seconds(first.envelope_ns), seconds(first.first_seen_ns), seconds(first.last_seen_ns)) == (
        15,
        5,
        65,
    )
    assert (seconds(second.span.window_start_ns), seconds(second.span.window_end_ns)) == (70, 130)
    assert first.session_id == second.session_id == world.findings[0].session_id
    assert len({finding.event_id for finding in world.findings}) == 3


def test_a_point_after_the_close_starts_an_incarnation_and_an_old_one_does_not() -> None:
    world = World()
    world.scrape(5, sample(5))
    world.scrape(15, sample(15))
    for at in range(25, 150, 10):
        world.scrape(at)
    assert world.story()[1:] == [("closed", 23, "exited")]
    # repetitions of what was told, a late bin of the time before, another point of the last bin: nothing
    for at in (5, 15, 16):
        world.feed(150, record(at, sample(at)))
    world.run_to(170)
    assert len(world.findings) == 2
    world.scrape(205, sample(205))
    world.run_to(230)
    resumed = world.findings[2]
    assert (resumed.kind, resumed.incarnation) == ("opened", 1)
    assert resumed.session_id != world.findings[0].session_id
    assert resumed.event_id != world.findings[0].event_id
    assert resumed.shell == world.findings[0].shell


def test_what_the_store_remembers_is_an_argument() -> None:
    shell = ShellId(NODE, HOST, 23, ns(-100), "bash")
    world = World()
    world.rows[shell] = SessionRow(shell, 4, 0, ns(500), "exited")  # type: ignore[arg-type]  # a plain reason is one
    world.scrape(495, sample(495))
    world.run_to(600)
    assert world.findings == []
    world.scrape(605, sample(605))
    world.run_to(700)
    assert [(f.kind, f.incarnation) for f in world.findings] == [("opened", 5)]


@pytest.mark.parametrize("order", ["earlier first", "later first"])
def test_a_reused_pid_ends_the_earlier_session_in_either_order_and_for_good(order: str) -> None:
    world = World()
    earlier = record(15, sample(15, start=-50))
    later = record(25, sample(25, start=20))
    for at, item in ((0, earlier), (30, later)) if order == "earlier first" else ((0, later), (30, earlier)):
        world.feed(at, item)
    world.run_to(60)
    opened = [f for f in world.findings if f.kind == "opened"]
    [closed] = [f for f in world.findings if f.kind == "closed"]
    assert {seconds(f.shell.start_ns) for f in opened} == {-50, 20}
    assert (seconds(closed.shell.start_ns), closed.reason, closed.release_ns) == (
        -50,
        "pid_reused",
        45 * 10**9,
    )
    world.feed(70, record(95, sample(95, start=-50)))
    world.run_to(120)
    assert len(world.findings) == 3


def test_both_windows_of_a_reused_pid_in_one_bin_count() -> None:
    for order in (1, -1):
        world = World()
        samples = [sample(1, start=-50), sample(8, start=7)]
        for item in samples[::order]:
            world.feed(0, record(8, item))
        world.run_to(60)
        assert world.story() == [("opened", 23, None), ("closed", 23, "pid_reused"), ("opened", 23, None)]


def test_starts_two_seconds_apart_or_unknown_are_no_reuse() -> None:
    world = World()
    world.scrape(5, sample(5, start=-50), sample(5, start=-48), sample(5, start=-48, name="sh"))
    world.scrape(5, replace(sample(5), start_ns=0))
    world.run_to(60)
    assert world.story() == [("opened", 23, None)] * 4


def test_three_processes_of_one_pid_leave_the_youngest() -> None:
    world = World()
    world.scrape(5, sample(5, start=-50), sample(5, start=-30), sample(5, start=-10))
    world.run_to(60)
    assert sorted(seconds(f.shell.start_ns) for f in world.findings if f.kind == "closed") == [-50, -30]


def test_attributes_come_from_the_earliest_sample_that_has_them() -> None:
    world = World()
    world.scrape(6, sample(6, path="", line="late", start=-100))
    world.scrape(3, replace(sample(3, path="/bin/early", line=""), owner="", parent_pid=None))
    world.run_to(60)
    evidence = world.findings[0].evidence
    assert (evidence.path, evidence.owner, evidence.parent_pid) == ("/bin/early", "root", 1)
    assert evidence.command_line is not None
    assert evidence.command_line.text == "late"


def test_text_of_one_time_that_differs_does_not_depend_on_the_order() -> None:
    results = set()
    for order in (1, -1):
        world = World()
        for line in ("one", "two")[::order]:
            world.scrape(5, sample(5, line=line))
        world.run_to(60)
        results.add(world.findings[0].evidence)
    assert len(results) == 1
    assert results != {Evidence()}


def test_the_end_of_a_capture_closes_windows_and_on_demand_sessions() -> None:
    world = World()
    world.scrape(5, sample(5))
    world.finish()
    assert world.story() == [("opened", 23, None)]
    world.finish(close_sessions=True)
    assert world.story()[1:] == [("closed", 23, "end_of_capture")]


def test_a_node_that_sends_no_memory_utilization_is_named_once() -> None:
    world = World()
    for at in range(5, 305, 10):
        world.scrape(at, sample(at, cpu(at, 0.0)))
        world.feed(at, record(at, sample(at, (*cpu(at, 0.0), *memory(at))), node=OTHER_NODE))
    assert world.blind == [NODE]


def test_a_frame_without_utilization_points_is_a_sign_of_life_and_nothing_else() -> None:
    world = World()
    world.scrape(5, sample(5, ()))
    assert world.detector.tracked() == 0
    world.scrape(15, sample(15))
    for at in range(25, 400, 10):
        world.scrape(at, sample(at, ()))
    assert world.story() == [("opened", 23, None)]


def test_output_is_ordered_by_release_window_cluster_node_pid_start_kind() -> None:
    world = World()
    for node in (OTHER_NODE, NODE):
        world.feed(0, record(5, sample(5, pid=9), sample(5, pid=7), node=node))
    world.run_to(60)
    assert [(f.shell.node.node, f.shell.pid) for f in world.findings] == [
        ("worker-1", 7),
        ("worker-1", 9),
        ("worker-2", 7),
        ("worker-2", 9),
    ]


def test_open_sessions_are_counted() -> None:
    world = World()
    world.scrape(5, sample(5), sample(5, memory(5, 0.0), pid=24))
    world.run_to(20)
    world.scrape(25, sample(25, pid=25))
    assert (world.detector.open_sessions(), world.detector.tracked()) == (1, 2)
    assert world.detector.due_ns() is not None


def test_an_empty_detector_has_nothing_to_do() -> None:
    world = World()
    assert world.detector.due_ns() is None
    world.run_to(10**6)
    world.finish(close_sessions=True)
    assert world.findings == []


def test_points_of_several_bins_in_one_frame_go_where_they_belong() -> None:
    world = World()
    points: list[Point] = [*memory(5, 0.1), *memory(15, 0.2), *memory(25, 0.0)]
    world.feed(0, record(25, sample(25, points)))
    world.finish(close_sessions=True)
    assert world.findings[-1].span.windows == 2


def test_a_node_that_reports_again_is_silent_from_then_on() -> None:
    world = World()
    world.scrape(5, sample(5))
    world.run_to(25)
    world.scrape(25, sample(25))
    world.run_to(3624.9)
    assert world.story() == [("opened", 23, None)]
    world.run_to(3625)
    assert world.story()[1:] == [("closed", 23, "node_silent")]


def test_a_node_is_not_silent_before_its_windows_have_closed() -> None:
    world = World(Rules(horizon_ns=20 * 10**9, lateness_ns=20 * 10**9))
    world.scrape(5, sample(5))
    world.run_to(34.9)
    assert world.findings == []
    world.run_to(35)
    assert world.story() == [("opened", 23, None), ("closed", 23, "node_silent")]


def test_a_fresh_frame_with_old_points_of_a_closed_session_changes_nothing() -> None:
    world = World()
    world.scrape(5, sample(5))
    for at in range(15, 150, 10):
        world.scrape(at)
    world.feed(146, record(145, sample(145, memory(5))))
    world.run_to(400)
    assert world.story() == [("opened", 23, None), ("closed", 23, "exited")]
    assert world.detector.tracked() == 0


def test_told_bins_are_kept_in_few_intervals_and_none_is_lost() -> None:
    intervals = [(number * 100 + number, number * 100 + number + 5) for number in range(12)]
    joined = _joined(tuple(intervals))
    assert len(joined) == 8
    assert all(any(low <= a and b <= high for low, high in joined) for a, b in intervals)


def test_a_memory_that_is_empty_leaves_nothing_told_when_it_restarts() -> None:
    shell = Shell(ShellId(NODE, HOST, 23, 0, "sh"))
    shell.restart_at(5, Rules())
    shell.restart_at(3, Rules())
    assert not any(shell.is_told(number, Rules()) for number in range(10))
