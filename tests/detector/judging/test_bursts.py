"""Bursts: the first few are told, the rest is counted and told as one."""

from __future__ import annotations

import pytest

from detector.context import Context, Mode, Origin, Placement
from detector.events import Lane
from detector.judging.objects import RiskObject
from detector.judging.outcomes import Report, ReportKind
from detector.judging.rules import JudgeRules
from detector.policy import Action
from detector.types import NodeId
from tests.detector.judging.desk import NODE, APolicy, Desk, closed, context, ongoing, opened, rule
from tests.detector.world import ns

PROBE = context(
    Placement.POD,
    Mode.COMMAND,
    Origin.CONTAINER_EXEC,
    pod_uid="u-1",
    labels=(("k8s.namespace.name", "shop"), ("k8s.deployment.name", "cart")),
    parent="containerd-shim",
)
HOUR = 3600


def node(number: int) -> NodeId:
    return NodeId("prod", f"worker-{number}")


def test_the_first_three_of_an_hour_are_events_and_the_rest_is_one_burst_that_scores_once() -> None:
    desk = Desk()
    shells = [opened(at, PROBE, pid=at) for at in range(100, 150, 10)]
    told = [pid.finding.shell.pid for shell in shells for pid in desk.hear(shell.shell.pid, shell)]
    assert told == [100, 110, 120]
    assert desk.run_to(100 + HOUR - 0.001) == []
    [burst] = desk.run_to(100 + HOUR)
    assert burst == Report(
        kind=ReportKind.BURST,
        event_id=burst.event_id,
        lane=Lane.CONTEXT,
        cluster="prod",
        node=NODE,
        host="worker-1.example",
        count=2,
        first_ns=ns(130),
        last_ns=ns(140),
        fields=(
            ("workload", "shop/cart"),
            ("shell.placement", "pod"),
            ("process.parent.executable.name", "containerd-shim"),
            ("process.executable.name", "sh"),
            ("process.command_template", "5ca1ab1e"),
            ("process.command_line", "sh -c true"),
            ("nodes", ("worker-1", "worker-1")),
            ("process.pids", ("130", "140")),
            ("session_ids", (shells[3].session_id, shells[4].session_id)),
        ),
        score=0,
        object=RiskObject("prod/shop/cart", "other", "worker-1.example"),
        attack=("T1609", "T1059.004"),
        rules=("Kubernetes Shell Running on Worker Node",),
    )
    assert burst.time_ns == ns(140)
    assert "burst" not in desk.kinds()


def test_a_new_period_begins_with_the_first_opening_after_the_last_one_and_has_an_id_of_its_own() -> None:
    desk = Desk()
    ids = []
    for start in (0, 2 * HOUR):
        told = [desk.hear(start + at, opened(start + at, PROBE, pid=at)) for at in range(5)]
        assert [len(of) for of in told] == [1, 1, 1, 0, 0]
        ids += [report.event_id for report in desk.run_to(start + HOUR)]
    assert len(set(ids)) == 2


def test_a_period_in_which_nothing_was_folded_ends_without_a_word() -> None:
    desk = Desk()
    desk.hear(0, *(opened(at, PROBE, pid=at) for at in range(3)))
    assert desk.run_to(HOUR) == []
    assert "burst" not in desk.kinds()


def test_a_burst_that_is_due_counts_on_until_it_is_settled() -> None:
    desk = Desk()
    desk.hear(0, *(opened(at, PROBE, pid=at) for at in range(4)))
    assert desk.hear(HOUR + 5, opened(HOUR, PROBE, pid=4)) == []
    [burst] = desk.run_to(HOUR + 6)
    assert (burst.count, burst.first_ns, burst.last_ns) == (2, ns(3), ns(HOUR))


def test_reports_come_in_the_order_in_which_they_were_due() -> None:
    desk = Desk(JudgeRules(burst_after=1))
    for at in (5, 3, 4, 0, 2, 1):
        shell = context(unit="cron.service", template=str(at))
        desk.hear(at, opened(at, shell, pid=1), opened(at, shell, pid=2))
    assert [report.first_ns for report in desk.run_to(2 * HOUR)] == [ns(at) for at in range(6)]


def test_a_burst_spans_its_openings_in_whichever_order_they_come() -> None:
    desk = Desk(JudgeRules(burst_after=1))
    desk.hear(0, *(opened(at, PROBE, pid=at) for at in (1, 30, 50, 20, 40)))
    [burst] = desk.run_to(HOUR)
    assert (burst.first_ns, burst.last_ns) == (ns(20), ns(50))


def test_what_floods_every_node_is_told_by_ten_of_them_and_else_as_one_over_all() -> None:
    desk = Desk()
    told = [
        desk.hear(round_, opened(round_, PROBE, pid=round_, node=node(number)))
        for number in range(50)
        for round_ in range(5)
    ]
    assert sum(map(len, told)) == 30
    bursts = desk.run_to(HOUR + 5)
    assert sorted((str(burst.node and burst.node.node), burst.count) for burst in bursts) == [
        ("None", 200),
        *sorted((f"worker-{number}", 2) for number in range(10)),
    ]
    [over_all] = [burst for burst in bursts if burst.node is None]
    lists = {name: value for name, value in over_all.fields if isinstance(value, tuple)}
    assert lists["nodes"] == tuple(f"worker-{10 + number // 5}" for number in range(20))
    assert {name: len(value) for name, value in lists.items()} == {
        "nodes": 20,
        "process.pids": 20,
        "session_ids": 20,
    }
    assert (over_all.score, over_all.host) == (5, "worker-49.example")


def test_a_burst_scores_what_the_highest_of_it_would_have_scored() -> None:
    rules = (
        ("process.pid", "4", rule("low", Action.SCORE, 1)),
        ("process.pid", "6", rule("high", Action.SCORE, 90)),
    )
    desk = Desk(policy=APolicy(rules))
    desk.hear(0, *(opened(at, PROBE, pid=at) for at in range(8)))
    [burst] = desk.run_to(HOUR)
    assert (burst.count, burst.score, burst.lane) == (5, 85, Lane.RISK)


def test_a_burst_that_scores_nothing_is_context() -> None:
    desk = Desk()
    entrypoint = context(Placement.POD, origin=Origin.ENTRYPOINT)
    desk.hear(0, *(opened(at, entrypoint, pid=at) for at in range(8)))
    [burst] = desk.run_to(HOUR)
    assert (burst.score, burst.capped_score, burst.lane) == (0, None, Lane.CONTEXT)


@pytest.mark.parametrize(
    "of",
    [
        context(template="", unit="cron.service"),
        context(parent="", unit=""),
        context(hint="nsenter", unit="cron.service"),
    ],
)
def test_is_never_folded(of: Context) -> None:
    desk = Desk()
    told = desk.hear(0, *(opened(at, of, pid=at) for at in range(50)))
    assert len(told) == 50
    assert "burst" not in desk.kinds()


@pytest.mark.parametrize("of", [context(parent="", unit="cron.service"), context(parent="cron", unit="")])
def test_the_parent_or_the_scope_is_enough_to_fold(of: Context) -> None:
    assert len(Desk().hear(0, *(opened(at, of, pid=at) for at in range(5)))) == 3


def test_after_nought_nothing_is_folded() -> None:
    desk = Desk(JudgeRules(burst_after=0))
    assert len(desk.hear(0, *(opened(at, PROBE, pid=at) for at in range(50)))) == 50


def test_of_a_folded_session_nothing_more_is_told_and_its_end_ends_the_memory_of_it() -> None:
    desk = Desk(JudgeRules(burst_after=1))
    first, second = opened(0, PROBE, pid=1), opened(0, PROBE, pid=2)
    told = desk.hear(0, first, second, ongoing(first), ongoing(second), closed(second))
    assert [(t.finding.shell.pid, t.finding.kind) for t in told] == [(1, "opened"), (1, "ongoing")]
    assert desk.kinds().get("silenced", 0) == 0
    assert desk.counts == {"told": 1, "folded": 1, "silent": 2}


def test_an_opening_that_was_folded_is_not_counted_again_if_it_comes_again() -> None:
    desk = Desk(JudgeRules(burst_after=1))
    shells = opened(0, PROBE, pid=1), opened(0, PROBE, pid=2)
    desk.hear(0, *shells)
    assert desk.hear(1, shells[1]) == []
    [burst] = desk.run_to(HOUR)
    assert (burst.count, desk.counts["repeated"]) == (1, 1)


def test_a_batch_is_judged_as_its_findings_one_by_one() -> None:
    shells = [opened(at, PROBE, pid=at, node=node(at % 3)) for at in range(40)]
    at_once, one_by_one = Desk(), Desk()
    at_once.hear(0, *shells)
    for shell in shells:
        one_by_one.hear(0, shell)
    assert at_once == one_by_one
    assert at_once.run_to(HOUR) == one_by_one.run_to(HOUR)


def test_the_same_command_scores_once_on_a_node_and_a_shell_that_reads_its_commands_each_time() -> None:
    def scores(mode: Mode) -> tuple[list[int], int]:
        desk = Desk()
        shells = [opened(at, context(mode=mode), pid=at) for at in range(5)]
        told = [telling.verdict for shell in shells for telling in desk.hear(0, shell)]
        assert [verdict.repeated for verdict in told] == [verdict.score == 0 for verdict in told]
        [burst] = desk.run_to(HOUR)
        return [verdict.score for verdict in told], burst.score

    assert scores(Mode.COMMAND) == ([25, 0, 0], 0)
    assert scores(Mode.SCRIPT) == ([25, 0, 0], 0)
    assert scores(Mode.STDIN) == ([40, 40, 40], 40)


def test_the_same_command_scores_for_each_risk_object_and_what_is_higher_scores_the_rest() -> None:
    desk = Desk()
    for pid, (uid, expected) in enumerate((("u-1", 25), ("u-2", 25), ("u-1", 0))):
        pod = context(Placement.POD, pod_uid=uid)
        [told] = desk.hear(0, opened(0, pod, pid=pid))
        assert told.verdict.score == expected
    desk = Desk(policy=APolicy((("process.pid", "7", rule("high", Action.SCORE, 60)),)))
    scores = [desk.hear(0, opened(0, context(), pid=pid))[0].verdict.score for pid in (6, 7)]
    assert scores == [25, 35]
