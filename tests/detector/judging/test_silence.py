"""What a policy does: silence, counts by rule, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.context import Mode, Origin
from detector.events import Lane
from detector.judging import silence
from detector.judging.notes import NoteKind
from detector.judging.outcomes import Report, ReportKind
from detector.judging.rules import JudgeRules
from detector.policy import Action
from tests.detector.judging.desk import (
    DAY,
    APolicy,
    Desk,
    closed,
    context,
    ongoing,
    opened,
    rule,
    suppressing,
)
from tests.detector.world import ns

if TYPE_CHECKING:
    from detector.types import Finding

CRON = context(origin=Origin.CRON, unit="cron.service")


def suppressed(desk: Desk) -> list[str]:
    notes = [note for note in desk.notes.values() if note.kind is NoteKind.SILENCED]
    return [session.session_id for session in silence.suppressed(notes)]


def test_a_suppressed_session_is_counted_by_rule_and_minute_and_not_told() -> None:
    desk = Desk(policy=suppressing("systemd.unit", "cron.service"))
    shells = [opened(at, CRON, pid=at, start=at - 1) for at in range(100, 107)]
    for shell in shells:
        assert desk.hear(shell.shell.pid, shell, ongoing(shell), closed(shell)) == []
    assert desk.run_to(159.999) == []
    [report] = desk.run_to(160)
    assert report == Report(
        kind=ReportKind.SUPPRESSED,
        event_id=report.event_id,
        lane=Lane.AUDIT,
        cluster="prod",
        node=None,
        host="worker-1.example",
        count=7,
        first_ns=ns(100),
        last_ns=ns(106),
        fields=(
            ("policy.rule", "boring"),
            ("systemd.unit", "cron.service"),
            ("shell.placement", "host"),
            ("process.parent.executable.name", "cron"),
            ("process.executable.name", "sh"),
            ("process.command_template", "5ca1ab1e"),
            ("process.command_line", "sh -c true"),
            ("session_ids", tuple(shell.session_id for shell in shells[:5])),
        ),
    )
    assert desk.counts == {"suppressed": 7, "silent": 14}
    assert {"audit", "silenced"} & set(desk.kinds()) == set()


def test_each_rule_and_key_and_minute_has_a_report_of_its_own() -> None:
    rules = (
        ("process.pid", "1", rule("b")),
        ("process.pid", "2", rule("a")),
        ("process.executable.name", "sh", rule("c")),
    )
    desk = Desk(policy=APolicy(rules))
    desk.hear(0, *(opened(0, CRON, pid=pid) for pid in (1, 2, 3)))
    desk.hear(0, opened(0, CRON, pid=1, start=-9), opened(0, context(), pid=2, start=-9))
    desk.hear(30, opened(30, CRON, pid=3))
    reports = desk.run_to(70)
    desk.hear(100, opened(100, CRON, pid=3))
    reports += desk.run_to(160)
    assert sorted((report.fields[0][1], report.count, len(report.fields)) for report in reports) == [
        ("a", 1, 7),
        ("a", 1, 8),
        ("b", 2, 8),
        ("c", 1, 8),
        ("c", 2, 8),
    ]
    assert len({report.event_id for report in reports}) == 5


def test_a_minute_that_is_over_counts_on_until_it_is_settled() -> None:
    desk = Desk(policy=suppressing("systemd.unit", "cron.service"))
    desk.hear(0, opened(0, CRON))
    desk.hear(90, opened(90, CRON, pid=24))
    assert [report.count for report in desk.run_to(90)] == [2]


def test_a_rule_that_scores_has_the_last_word_and_one_that_annotates_leaves_the_score() -> None:
    rules = (
        ("process.pid", "1", rule("none", Action.SCORE, 0)),
        ("process.pid", "2", rule("much", Action.SCORE, 80)),
        ("process.pid", "3", rule("known", Action.ANNOTATE)),
    )
    desk = Desk(policy=APolicy(rules))
    told = desk.hear(0, *(opened(0, context(mode=Mode.STDIN), pid=pid) for pid in (1, 2, 3)))
    assert [
        (t.verdict.rule, t.verdict.graded, t.verdict.asked, t.verdict.score, t.verdict.lane) for t in told
    ] == [
        ("none", 40, 0, 0, Lane.CONTEXT),
        ("much", 40, 80, 80, Lane.RISK),
        ("known", 40, 40, 40, Lane.RISK),
    ]
    assert [t.verdict.annotations for t in told] == [
        (),
        (),
        (("policy.reason", "probes of ours"), ("policy.owner", "sre")),
    ]


def test_a_policy_sees_what_is_known_of_an_opening_and_the_wall_time() -> None:
    desk = Desk()
    shell = opened(0, CRON, start=-10 * DAY)
    desk.hear(7, shell, ongoing(shell), closed(shell))
    assert desk.policy.walls == [ns(7)]
    [fields] = desk.policy.seen
    assert (fields["shell.novel"], fields["preexisting"], fields["systemd.unit"]) == (
        "true",
        "true",
        "cron.service",
    )


def test_what_a_rule_suppressed_is_told_when_no_rule_does_any_more() -> None:
    desk = Desk(policy=suppressing("systemd.unit", "cron.service"))
    shell = opened(0, CRON)
    assert desk.hear(0, shell) == []
    assert suppressed(desk) == [shell.session_id]
    desk.policy = APolicy()
    told, later = desk.hear(500, shell, ongoing(shell))
    # It is as novel as it was; its own first sight is no reason that it should not be.
    assert (told.finding.event_id, told.verdict.score, told.verdict.novel) == (shell.event_id, 25, True)
    assert suppressed(desk) == []
    assert [t.finding.kind for t in (later, *desk.hear(501, closed(shell)))] == ["ongoing", "closed"]
    assert desk.counts == {"suppressed": 1, "told": 1, "released": 1}


def test_what_another_rule_still_suppresses_is_not_counted_again() -> None:
    desk = Desk(policy=suppressing("systemd.unit", "cron.service", "one"))
    shell = opened(0, CRON)
    desk.hear(0, shell)
    desk.policy = suppressing("systemd.unit", "cron.service", "two")
    assert desk.hear(1, shell) == []
    assert suppressed(desk) == [shell.session_id]
    assert [(report.fields[0][1], report.count) for report in desk.run_to(100)] == [("one", 1)]
    assert desk.counts == {"suppressed": 1, "still_suppressed": 1}
    desk.policy = APolicy()
    [told] = desk.hear(2, shell)
    assert told.verdict.novel is True


def test_what_is_released_may_be_one_of_a_burst() -> None:
    desk = Desk(JudgeRules(burst_after=1), suppressing("systemd.unit", "cron.service"))
    shells = [opened(0, CRON, pid=pid) for pid in (1, 2)]
    desk.hear(0, *shells)
    desk.policy = APolicy()
    assert [t.finding.shell.pid for t in desk.hear(1, *shells)] == [1]
    assert suppressed(desk) == []
    assert desk.hear(2, ongoing(shells[1])) == []


def test_what_is_needed_to_ask_for_an_opening_again_is_noted() -> None:
    desk = Desk(JudgeRules(burst_after=1), suppressing("process.pid", "3"))
    shells = [opened(0, CRON, pid=pid, incarnation=2) for pid in (1, 2, 3)]
    desk.hear(0, *shells)
    notes = [note for note in desk.notes.values() if note.kind is NoteKind.SILENCED]
    # The one of the burst stays folded, whatever the policy.
    assert len(notes) == 2
    assert silence.suppressed(notes) == (
        silence.Silenced(shells[2].shell, 2, shells[2].session_id, "boring", novel=False),
    )


def alive(desk: Desk, shell: Finding, until: int) -> None:
    for day in range(1, until + 1):
        assert desk.hear(day * DAY, ongoing(shell, day)) == []
        desk.run_to(day * DAY)


def test_a_session_that_lives_stays_silent_and_one_that_was_lost_is_forgotten() -> None:
    desk = Desk(policy=suppressing("systemd.unit", "cron.service"))
    long, lost = opened(0, CRON, pid=1), opened(0, CRON, pid=2)
    desk.hear(0, long, lost)
    alive(desk, long, 100)
    assert suppressed(desk) == [long.session_id]
    assert len(desk.hear(101 * DAY, ongoing(lost, 2))) == 1


def test_a_note_that_is_due_silences_nothing_though_it_is_still_there() -> None:
    desk = Desk(policy=suppressing("systemd.unit", "cron.service"))
    shell = opened(0, CRON)
    desk.hear(0, shell)
    assert desk.hear(30 * DAY - 1, closed(shell)) == []
    desk.hear(0, shell)
    assert len(desk.hear(30 * DAY, closed(shell))) == 1
