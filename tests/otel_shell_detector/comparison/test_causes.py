"""Each cause by a capture that holds it and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from detector.rules import Rules
from otel_shell_detector.comparison.facts import Facts
from otel_shell_detector.comparison.why import Case, Cause, Why, reasons
from tests.otel_shell_detector.comparison.scenes import START, compared, cpu, mem, ns, other, shell
from tests.otlp_receiver.encode import memory

if TYPE_CHECKING:
    from otel_shell_detector.comparison.shells import Comparison, Shell

Seen = tuple[bool, int, list[str]]
"""Whether the detector sees it, in how many runs the search does, and why."""

AVERAGED = "from 2027-01-15 08:43:20 on: the search averages them, the detector leaves them out"


def seen(shells: tuple[Shell, ...]) -> list[Seen]:
    return [
        (each.told is not None, len(each.reported), [f"{why.cause}: {why.text}" for why in each.why])
        for each in shells
    ]


def both(found: Comparison) -> list[Seen]:
    assert found.neither == ()
    return seen(found.shells)


def averages(found: Comparison) -> list[tuple[float | None, list[float | None]]]:
    """CPU by the detector and by the search."""
    return [
        (each.told.cpu if each.told else None, [row.cpu for row in each.reported]) for each in found.shells
    ]


def test_there_is_no_reason_where_nothing_differs() -> None:
    found = compared(shell(mem(-1000, 1.0)), shell(cpu(-990, 0.5, 0.25), mem(-990, 2.0)), other(-980))
    assert both(found) == [(True, 1, [])]
    assert averages(found) == [(0.375, [0.375])]


def test_a_zombie_is_seen_by_neither() -> None:
    found = compared(shell(cpu(-1000, 0.0), mem(-1000, 0.0)))
    assert found.shells == ()
    assert seen(found.neither) == [
        (
            False,
            0,
            ["zombie: no point of it is above 0, of memory neither: a zombie, which none of the two reports"],
        )
    ]


def test_an_idle_shell_without_memory_utilization_is_seen_by_neither() -> None:
    found = compared(shell(cpu(-1000, 0.0)))
    assert seen(found.neither) == [
        (False, 0, ["idle: it uses no CPU, and memory utilization is not sent: none of the two can see it"])
    ]


@pytest.mark.parametrize(
    "unusable",
    [
        memory(float("nan"), time_ns=ns(-1000), start_ns=ns(START)),
        memory(float("inf"), time_ns=ns(-1000), start_ns=ns(START)),
        memory(-1.0, time_ns=ns(-1000), start_ns=ns(START)),
        memory(0.5, time_ns=0, start_ns=ns(START)),
    ],
)
def test_a_shell_whose_memory_is_no_measurement_is_no_zombie(unusable: bytes) -> None:
    found = compared(shell(cpu(-1000, 0.0), unusable))
    why = (
        "no_measurement: no point of it is above 0, and those of memory have no time or no usable value: "
        "none of the two can see it"
    )
    assert seen(found.neither) == [(False, 0, [why])]


def test_a_zombie_with_one_broken_point_is_a_zombie() -> None:
    broken = memory(float("nan"), time_ns=ns(-990), start_ns=ns(START))
    found = compared(shell(mem(-1000, 0.0)), shell(broken))
    assert [why[:6] for _, _, (why,) in seen(found.neither)] == ["zombie"]


def test_a_reused_pid_is_two_shells_and_one_row() -> None:
    found = compared(shell(cpu(-1000, 0.5)), shell(cpu(-980, 0.25, start=-985)))
    why = "reused_pid: one row of the search for 2 shells of this pid: it does not look at start times"
    assert both(found) == [(True, 1, [why])] * 2
    assert averages(found) == [(0.5, [0.375]), (0.25, [0.375])]


def test_a_zombie_in_another_shells_row_stays_unseen() -> None:
    found = compared(shell(mem(-1000, 0.5)), shell(mem(-995, 0.0, start=-998)))
    why = "reused_pid: one row of the search for 2 shells of this pid: it does not look at start times"
    assert seen(found.shells) == [(True, 1, [why])]
    assert [(told, rows, why[:6]) for told, rows, (why,) in seen(found.neither)] == [(False, 0, "zombie")]


def test_a_session_that_resumed_is_no_row_of_its_own() -> None:
    away = [other(at) for at in range(-990, -890, 10)]
    found = compared(shell(cpu(-1000, 0.5)), *away, shell(cpu(-890, 0.25)))
    why = "resumed: the search has no sessions: one row for the 2 of this shell"
    assert both(found) == [(True, 1, [why])] * 2
    assert [each.name.incarnation for each in found.shells] == [0, 1]
    assert [each.reported[0].latency_ns // 10**9 for each in found.shells] == [1000, 890]


def test_a_negative_point_counts_in_the_search() -> None:
    found = compared(shell(cpu(-1000, 0.5, -0.25)))
    why = f"negative_point: 1 negative point {AVERAGED}"
    assert both(found) == [(True, 1, [why])]
    assert averages(found) == [(0.5, [0.125])]


def test_negative_points_can_hide_a_shell_from_the_search() -> None:
    found = compared(shell(cpu(-1000, 0.5, -0.25, -2.0)))
    why = f"negative_point: 2 negative points {AVERAGED}"
    assert both(found) == [(True, 0, [why])]


def test_points_that_the_detector_leaves_out_count_in_the_search() -> None:
    found = compared(shell(cpu(-1000, 0.5, 1e13)), shell(cpu(-990, 0.25, flags=1), mem(-990, 1.0)))
    why = [
        "left_out_point: 1 point that the detector leaves out: no recorded value",
        "left_out_point: 1 point that the detector leaves out: out of range",
    ]
    assert both(found) == [(True, 1, why)]


def test_a_repeated_point_counts_each_time_in_the_search() -> None:
    again = shell(cpu(-1000, 0.5))
    found = compared(again, again, shell(cpu(-999, 0.25)))
    why = "repeated_point: 1 repeated point, which the search counts each time"
    assert both(found) == [(True, 1, [why])]
    assert averages(found) == [(0.375, [1.25 / 3])]


@pytest.mark.parametrize("field", ["k8s.cluster.name", "k8s.node.name", "host.name"])
def test_without_a_by_field_the_search_sees_nothing(field: str) -> None:
    found = compared(shell(cpu(-1000, 0.5), without=field))
    assert both(found) == [
        (True, 0, [f"missing_attribute: points without {field}: the search leaves them out"])
    ]


def test_by_fields_on_points_make_other_rows() -> None:
    found = compared(shell(cpu(-1000, 0.5), mem(-1000, 1.0)), shell(cpu(-990, 0.25, host_name="elsewhere")))
    why = [
        "other_labels: data points carry by-fields of their own; the detector reads the resource's",
        "several_rows: 2 rows of the search report it, each with averages of its own",
    ]
    assert both(found) == [(True, 2, why)]


def test_a_shell_over_the_edge_of_a_range_is_in_several_runs() -> None:
    # Ranges end ten minutes before the hour.
    found = compared(shell(cpu(-610, 0.5)), shell(cpu(-600, 0.25)))
    why = "several_rows: 2 rows of the search report it, each with averages of its own"
    assert both(found) == [(True, 2, [why])]
    assert averages(found) == [(0.375, [0.5, 0.25])]
    assert [run.rows for run in found.runs] == [1, 1]


def test_a_window_may_be_cut_by_the_edge_of_a_range() -> None:
    # The edge is at 1,800,003,000 s, in the midst of a window of 16 s.
    found = compared(shell(cpu(-601, 0.5)), shell(cpu(-600, 0.25)), window="16s")
    why = [
        "several_rows: 2 rows of the search report it, each with averages of its own",
        "bin_edge: the range of a run ends inside of 1 window of the detector",
        "window_length: windows of 16 s; the search has bins of 10 s",
    ]
    assert both(found) == [(True, 2, why)]
    assert averages(found) == [(0.375, [0.5, 0.25])]


def test_windows_of_another_length_average_otherwise() -> None:
    found = compared(shell(cpu(-1000, 0.5)), shell(cpu(-991, 0.5)), shell(cpu(-990, 0.25)), window="20s")
    assert both(found) == [(True, 1, ["window_length: windows of 20 s; the search has bins of 10 s"])]


def test_what_comes_after_its_run_is_in_no_run() -> None:
    found = compared(other(1), shell(cpu(-900, 0.5)))
    why = "after_run: 1 point that came after the run over its time: no run sees it"
    assert both(found) == [(True, 0, [why])]


def test_what_comes_when_its_window_has_closed_changes_nothing_in_the_detector() -> None:
    found = compared(shell(cpu(-1000, 0.5)), other(-980), shell(cpu(-999, 0.25)), other(-970))
    why = "late_point: points that came when their window or session had closed changed nothing"
    assert both(found) == [(True, 1, [why])]
    assert averages(found) == [(0.5, [0.375])]


def test_a_shell_beyond_the_ceiling_is_told_from_one_sample() -> None:
    requests = [
        shell(cpu(at, value), pid=pid) for at, value in ((-1000, 0.5), (-990, 0.25)) for pid in (7, 8)
    ]
    found = compared(*requests, max_tracked_shells="1")
    why = "ceiling: beyond detector.max_tracked_shells: told from one sample alone"
    first, *beyond = both(found)
    assert first == (True, 1, [])
    assert beyond[0][:2] == (True, 1)
    assert why in beyond[0][2]


def test_the_search_does_not_look_for_another_name() -> None:
    found = compared(shell(cpu(-1000, 0.5), name="zsh"), executables="zsh")
    assert both(found) == [(True, 0, ["other_name: the search looks for sh, bash, csh, tcsh alone"])]


@pytest.mark.parametrize("settings", [{}, {"executables": "zsh"}])
def test_a_row_of_which_the_detector_reads_no_shell_is_shown(settings: dict[str, str]) -> None:
    found = compared(shell(cpu(-1000, 0.5, -2.0), mem(-1000, 1.0), pid=7 if settings else "7"), **settings)
    why = "not_read: the detector reads no shell here: its name is not watched, or process.pid is no integer"
    assert both(found) == [(False, 1, [why])]
    assert averages(found) == [(None, [-0.75])]


def test_what_none_of_the_causes_explains_is_said_to_be_so() -> None:
    case = Case(Facts(first_ns=1), Rules(), name="bash")
    assert reasons(case) == (Why(Cause.UNEXPLAINED, "none of the known causes"),)
