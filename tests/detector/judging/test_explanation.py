"""Why an opening is judged as it is: held to the judge itself."""

from __future__ import annotations

import pytest

from detector.context import Mode, Origin, Placement
from detector.judging.bursts import Standing
from detector.judging.explanation import Circumstances, Explanation, counted_in, explain
from detector.judging.judge import Judge
from detector.judging.outcomes import Counted, Told
from detector.judging.profiles import Lack
from detector.judging.rules import JudgeRules, PointsPer, Preexisting
from detector.policy import Action, Matcher, Miss, Operator, Policy, Rule
from detector.types import NANOSECONDS, Finding
from tests.detector.judging.desk import DAY, Desk, context, opened
from tests.detector.world import ns, service

PROBE = context(Placement.POD, origin=Origin.CONTAINER_EXEC, pod_uid="p-1", parent="runc")
CRON = context(unit="cron.service", origin=Origin.CRON)


def why(desk: Desk, finding: Finding, policy: Policy | None = None, at: float = 0.0) -> Explanation:
    judge = Judge(desk.rules)
    recalled = desk._recall(judge.keys([finding]))
    return explain(judge, finding, Circumstances(recalled, policy or Policy(), service(at), ns(at)))


def suppress(name: str, *matchers: Matcher, expires: float = 10**9) -> Rule:
    return Rule(name, "known", "sre", matchers, Action.SUPPRESS, ns(expires))


def test_each_earlier_row_tells_what_the_shell_lacks() -> None:
    explained = why(Desk(), opened(0, CRON))
    assert [(tried.row.name, tried.lacks) for tried in explained.rows] == [
        ("escape_hint", (Lack("shell.escape_hint", "", ()),)),
        ("host_interactive", (Lack("shell.mode", "command", ("stdin", "login")),)),
        ("host_routine_novel", ()),
    ]
    assert explained.row.name == "host_routine_novel"
    desk = Desk()
    desk.hear(0, opened(0, CRON))
    again = why(desk, opened(10, CRON, pid=24))
    assert [(tried.row.name, tried.lacks) for tried in again.rows[2:]] == [
        ("host_routine_novel", (Lack("shell.novel", "false", ("true",)),)),
        ("host_routine", ()),
    ]


def test_the_row_is_the_one_that_the_judge_grades_by() -> None:
    for placement in Placement:
        for mode in Mode:
            for origin in Origin:
                finding = opened(0, context(placement, mode, origin))
                [told] = Desk().decide(0, finding).tellings
                assert isinstance(told, Told)
                assert why(Desk(), finding).row.name == told.verdict.graded_by


def test_looking_writes_nothing() -> None:
    desk = Desk()
    desk.hear(0, opened(0, CRON))
    before = dict(desk.notes)
    why(desk, opened(10, CRON, pid=24))
    assert desk.notes == before


def test_a_rule_that_nearly_decides_is_told_with_what_it_wants() -> None:
    wants = Matcher("systemd.unit", Operator.EQUAL, "cron.service")
    other = Matcher("process.owner", Operator.EQUAL, "backup")
    policy = Policy(
        [suppress("near", wants, other), suppress("late", wants, expires=-1), suppress("decides", wants)]
    )
    explained = why(Desk(), opened(0, CRON), policy)
    assert explained.rule is not None
    assert explained.rule.id == "decides"
    assert [(miss.rule.id, miss.because, miss.matcher) for miss in explained.near] == [
        ("near", Miss.MATCHER, other),
        ("late", Miss.EXPIRED, None),
    ]
    assert explained.fields["process.owner"] == "root"
    assert explained.judgement.counts == {Counted.SUPPRESSED: 1}


def test_a_shell_that_is_folded_names_the_counts_and_the_burst_to_come() -> None:
    desk = Desk()
    told = []
    for number in range(3):
        finding = opened(number, PROBE, pid=100 + number)
        bursts = why(desk, finding, at=number).bursts
        assert bursts is not None
        told.append(0 if bursts.here is None else bursts.here.told)
        desk.hear(number, finding)
    assert told == [0, 1, 2]
    explained = why(desk, opened(3, PROBE, pid=103), at=3)
    desk.store(explained.judgement)
    assert explained.judgement.counts == {Counted.FOLDED: 1}
    later = why(desk, opened(5, PROBE, pid=105), at=5)
    assert later.bursts is not None
    assert later.bursts.here == Standing(
        service(0), 3, 1, (opened(3, PROBE, pid=103).session_id,), {"prod/p-1": 5}
    )
    [report] = desk.run_to(3600)
    assert counted_in(explained, desk.rules.store_id) == report.event_id


def test_what_is_told_is_counted_nowhere_else() -> None:
    assert counted_in(why(Desk(), opened(0, PROBE)), "x") == ""


def test_what_cannot_be_folded_has_no_counts() -> None:
    assert why(Desk(), opened(0, context(hint="nsenter"))).bursts is None
    assert why(Desk(rules=JudgeRules(burst_after=0)), opened(0, PROBE)).bursts is None


def test_a_suppressed_shell_names_the_report_to_come() -> None:
    policy = Policy([suppress("boring", Matcher("systemd.unit", Operator.EQUAL, "cron.service"))])
    desk = Desk()
    explained = why(desk, opened(0, CRON), policy)
    desk.store(explained.judgement)
    [report] = desk.run_to(60)
    assert counted_in(explained, desk.rules.store_id) == report.event_id
    # Once it is silenced, what it was is known of its note.
    again = why(desk, opened(0, CRON), policy, at=1)
    assert again.silenced is not None
    assert (again.silenced.rule, again.novel) == ("boring", True)


def test_a_preexisting_shell_names_the_summary_to_come() -> None:
    desk = Desk(rules=JudgeRules(preexisting=Preexisting.SUMMARY))
    finding = opened(0, CRON, start=-5 * DAY)
    explained = why(desk, finding)
    assert explained.summarised
    assert explained.finding.context.preexisting
    assert explained.first_scrape_ns == finding.node_first_ns
    desk.store(explained.judgement)
    [report] = desk.run_to(60)
    assert counted_in(explained, desk.rules.store_id) == report.event_id


def test_what_was_scored_before_is_told() -> None:
    desk = Desk(rules=JudgeRules(max_per_object=PointsPer(60, 3600 * NANOSECONDS)))
    login = context(mode=Mode.LOGIN)
    first = why(desk, opened(0, login))
    assert (first.identity_scored, first.object_scored) == (0, 0)
    desk.store(first.judgement)
    again = why(desk, opened(0, login, incarnation=1))
    assert (again.identity_scored, again.object_scored) == (40, 40)
    assert again.object.name == "worker-1.example"
    assert why(Desk(), opened(0, login)).object_scored is None


@pytest.mark.parametrize("known", [True, False])
def test_whether_it_was_novel_may_be_known_from_elsewhere(known: bool) -> None:
    desk = Desk()
    desk.hear(0, opened(0, CRON))
    judge = Judge(desk.rules)
    finding = opened(0, CRON)
    recalled = desk._recall(judge.keys([finding]))
    explained = explain(judge, finding, Circumstances(recalled, Policy(), service(0), ns(0), known))
    assert explained.novel is known
    assert explained.row.name == ("host_routine_novel" if known else "host_routine")
