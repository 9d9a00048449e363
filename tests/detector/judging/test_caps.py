"""What may be scored: by an identity over its incarnations, by a risk object in a period; and summaries."""

from __future__ import annotations

import pytest

from detector.context import Context, Mode, Origin, Placement
from detector.events import Lane
from detector.judging.judge import Judge
from detector.judging.objects import RiskObject
from detector.judging.outcomes import Report, ReportKind
from detector.judging.rules import JudgeRules, PointsPer, Preexisting
from detector.policy import Action
from detector.types import NANOSECONDS
from tests.detector.judging.desk import (
    NODE,
    WATCHED_SINCE,
    APolicy,
    Desk,
    closed,
    context,
    ongoing,
    opened,
    rule,
)
from tests.detector.world import ns

HOUR = 3600
CHILD = context(template="")
"""Of an unknown command, so that nothing folds. Scores 25."""
LOGIN = context(mode=Mode.LOGIN, template="")
"""Scores 40."""


def capped(points: int) -> JudgeRules:
    return JudgeRules(max_per_object=PointsPer(points, HOUR * NANOSECONDS))


def test_a_session_that_resumes_scores_no_more_than_its_identity_has_left() -> None:
    desk = Desk()
    shells = [
        opened(0, CHILD, start=-5),
        opened(100, CHILD, start=-5, incarnation=1),
        opened(200, LOGIN, start=-5, incarnation=2),
        opened(300, LOGIN, start=-5, incarnation=3),
    ]
    told = [desk.hear(at, shell)[0].verdict for at, shell in enumerate(shells)]
    assert [(v.asked, v.score, v.lane) for v in told] == [
        (25, 25, Lane.RISK),
        (25, 0, Lane.CONTEXT),
        (40, 15, Lane.RISK),
        (40, 0, Lane.CONTEXT),
    ]
    assert desk.counts == {"told": 4, "spent": 3}


def test_another_process_with_the_same_pid_has_a_budget_of_its_own() -> None:
    desk = Desk()
    told = [desk.hear(at, opened(at, CHILD, start=start))[0] for at, start in ((0, -5), (9, 5))]
    assert [t.verdict.score for t in told] == [25, 25]


def test_what_exceeds_the_points_of_an_object_goes_to_the_context_lane_and_says_so() -> None:
    desk = Desk(capped(75))
    shells = [opened(at, CHILD, pid=at) for at in range(1, 6)]
    verdicts = [told.verdict for shell in shells for told in desk.hear(shell.shell.pid, shell)]
    assert [(v.score, v.capped_score, v.lane, v.asked) for v in verdicts] == [
        *[(25, None, Lane.RISK, 25)] * 3,
        *[(0, 25, Lane.CONTEXT, 25)] * 2,
    ]
    assert desk.counts == {"told": 5, "capped": 2}
    # The period began with the first score, and what was capped does not prolong it.
    [before] = desk.hear(HOUR, opened(HOUR, CHILD, pid=7))
    [after] = desk.hear(HOUR + 1, opened(HOUR, CHILD, pid=8))
    assert (before.verdict.capped_score, after.verdict.score) == (25, 25)


def test_a_smaller_score_fits_where_a_larger_one_did_not() -> None:
    desk = Desk(capped(45))
    told = desk.hear(0, *(opened(0, of, pid=pid) for pid, of in enumerate((LOGIN, CHILD, LOGIN))))
    routine = opened(0, context(mode=Mode.SCRIPT, origin=Origin.CRON, template=""), pid=9)
    told += desk.hear(1, routine, opened(0, routine.context, pid=10))
    assert [(t.verdict.score, t.verdict.capped_score) for t in told] == [
        (40, None), (0, 25), (0, 40), (5, None), (0, 5),
    ]  # fmt: skip


def test_what_was_capped_is_not_spent_by_the_identity() -> None:
    desk = Desk(capped(25))
    [first, second] = desk.hear(0, opened(0, CHILD, pid=1), opened(0, CHILD, pid=2, start=-5))
    [resumed] = desk.hear(HOUR, opened(HOUR, CHILD, pid=2, start=-5, incarnation=1))
    assert [t.verdict.score for t in (first, second, resumed)] == [25, 0, 25]


def test_each_object_has_points_of_its_own() -> None:
    desk = Desk(capped(25))
    pods = [context(Placement.POD, pod_uid=uid) for uid in ("u-1", "u-2", "u-1")]
    told = desk.hear(0, *(opened(0, of, pid=pid) for pid, of in enumerate((*pods, CHILD))))
    assert [t.verdict.score for t in told] == [25, 25, 0, 25]


def test_seed_obeys_the_cap_too() -> None:
    desk = Desk(JudgeRules(profile="seed", max_per_object=PointsPer(50, HOUR * NANOSECONDS)))
    shell = opened(0, CHILD)
    told = desk.hear(0, shell, ongoing(shell), ongoing(shell, 2))
    assert [(t.verdict.score, t.verdict.capped_score) for t in told] == [(25, None), (25, None), (0, 25)]


def test_a_burst_counts_towards_the_points_of_its_object() -> None:
    desk = Desk(JudgeRules(burst_after=1, max_per_object=PointsPer(90, 2 * HOUR * NANOSECONDS)))
    one, two = context(mode=Mode.STDIN, template="a"), context(mode=Mode.STDIN, template="b")
    desk.hear(0, *(opened(0, one, pid=pid) for pid in (1, 2)))
    desk.hear(1, *(opened(0, two, pid=pid) for pid in (3, 4)))
    # 40 + 40 were told; a burst of 40 is more than the 10 that are left.
    [burst, _] = desk.run_to(HOUR + 1)
    assert (burst.score, burst.capped_score, burst.lane) == (0, 40, Lane.CONTEXT)
    assert desk.counts["capped"] == 2


def test_the_points_of_bursts_that_end_together_with_the_period_begin_a_new_one() -> None:
    desk = Desk(JudgeRules(burst_after=1, max_per_object=PointsPer(45, HOUR * NANOSECONDS)))
    for template, pids in (("a", (1, 2)), ("b", (3, 4))):
        shell = context(mode=Mode.STDIN, template=template)
        desk.hear(0, *(opened(0, shell, pid=pid) for pid in pids))
    reports = desk.run_to(HOUR + 60)
    assert sorted((report.score, report.capped_score) for report in reports) == [(0, 40), (40, None)]
    assert desk.kinds()["cap"] == 1
    [note] = [note for note in desk.notes.values() if note.kind == "cap"]
    assert (note.value, note.due_ns) == ({"points": 40}, (2 * HOUR + 60) * NANOSECONDS)


def test_without_a_cap_there_is_nothing_to_look_up_and_nothing_noted() -> None:
    desk = Desk(JudgeRules(burst_after=1))
    shells = [opened(0, context(), pid=pid) for pid in (1, 2)]
    desk.hear(0, *shells)
    assert "cap" not in desk.kinds()
    assert Judge(desk.rules).keys_of_due(desk.notes.values()) == set()
    assert not any(key.startswith("cap:") for key in Judge(desk.rules).keys(shells))
    assert any(key.startswith("cap:") for key in Judge(capped(1)).keys(shells))
    assert len(Judge(capped(1)).keys_of_due(desk.notes.values())) == 1


SUMMARY = JudgeRules(preexisting=Preexisting.SUMMARY)
OLD = WATCHED_SINCE - 60


def test_preexisting_shells_are_one_event_of_their_node_with_detail_in_the_context_lane() -> None:
    desk = Desk(SUMMARY)
    unit = context(unit="app.service")
    shells = [opened(at, unit, pid=at, start=OLD) for at in range(30)]
    told = [desk.hear(at, shell)[0] for at, shell in enumerate(shells)]
    assert {(t.verdict.lane, t.verdict.score, t.verdict.preexisting_summary) for t in told} == {
        (Lane.CONTEXT, 0, True)
    }
    assert desk.run_to(59) == []
    [report] = desk.run_to(60)
    assert report == Report(
        kind=ReportKind.PREEXISTING,
        event_id=report.event_id,
        lane=Lane.CONTEXT,
        cluster="prod",
        node=NODE,
        host="worker-1.example",
        count=30,
        first_ns=ns(0),
        last_ns=ns(29),
        fields=(
            ("process.pids", tuple(str(pid) for pid in range(20))),
            ("process.executable.names", ("sh",) * 20),
            ("workloads", ("app.service",) * 20),
            ("session_ids", tuple(shell.session_id for shell in shells[:20])),
        ),
        object=RiskObject("worker-1.example", "system"),
        rules=("Kubernetes Shell Running on Worker Node",),
    )
    assert desk.counts == {"told": 30, "summarised": 30}
    assert [t.finding.kind for t in desk.hear(61, ongoing(shells[0]), closed(shells[0]))] == [
        "ongoing",
        "closed",
    ]
    desk.hear(70, opened(70, unit, pid=99, start=OLD))
    [later] = desk.run_to(130)
    assert (later.count, later.event_id == report.event_id) == (1, False)


@pytest.mark.parametrize(
    ("of", "start", "score"),
    [
        (context(mode=Mode.LOGIN), OLD, 40),
        (context(mode=Mode.STDIN), OLD, 40),
        (context(hint="nsenter"), OLD, 60),
        (context(), WATCHED_SINCE, 25),
    ],
)
def test_is_not_summarised(of: Context, start: float, score: int) -> None:
    desk = Desk(SUMMARY)
    [told] = desk.hear(0, opened(0, of, start=start))
    assert (told.verdict.score, told.verdict.preexisting_summary) == (score, False)
    assert desk.run_to(60) == []


def test_a_rule_that_scores_takes_a_shell_out_of_the_summary() -> None:
    desk = Desk(SUMMARY, APolicy((("process.pid", "1", rule("watch", Action.SCORE, 70)),)))
    told = desk.hear(0, *(opened(0, context(), pid=pid, start=OLD) for pid in (1, 2)))
    assert [(t.verdict.score, t.verdict.preexisting_summary) for t in told] == [(70, False), (0, True)]


def test_unless_told_otherwise_preexisting_shells_are_graded_like_any_other() -> None:
    desk = Desk()
    [told] = desk.hear(0, opened(0, context(), start=OLD))
    assert (told.finding.context.preexisting, told.verdict.score) == (True, 25)
    assert desk.run_to(60) == []
