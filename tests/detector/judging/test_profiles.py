"""Scoring tables: what scores what, and which row says so."""

from __future__ import annotations

import itertools

import pytest

from detector.context import Context, Mode, Origin, Placement
from detector.events import Lane
from detector.judging.outcomes import Told, Verdict
from detector.judging.profiles import PROFILES
from detector.judging.rules import JudgeRules, Preexisting
from tests.detector.judging.desk import Desk, closed, context, ongoing, opened

HOST, POD, UNKNOWN = Placement.HOST, Placement.POD, Placement.UNKNOWN


@pytest.mark.parametrize(
    ("what", "shell", "novel", "row", "score"),
    [
        ("an escape, whatever else", context(POD, Mode.COMMAND, Origin.ENTRYPOINT, hint="nsenter"), False,
         "escape_hint", 60),
        ("an escape into a shell that reads input", context(HOST, Mode.STDIN, hint="chroot"), True,
         "escape_hint", 60),
        ("an escape, nothing else known", Context(escape_hint="unshare"), False, "escape_hint", 60),
        ("an ssh login", context(HOST, Mode.LOGIN, Origin.LOGIN), False, "host_interactive", 40),
        ("a shell that reads its input", context(HOST, Mode.STDIN), False, "host_interactive", 40),
        ("a service that feeds a shell", context(HOST, Mode.STDIN, Origin.SERVICE), False,
         "host_interactive", 40),
        ("a login of unknown placement", context(UNKNOWN, Mode.LOGIN), True, "host_interactive", 40),
        ("input of unknown placement", context(UNKNOWN, Mode.STDIN), False, "host_interactive", 40),
        ("a service's script, seen before", context(HOST, Mode.SCRIPT, Origin.SERVICE), False,
         "host_routine", 5),
        ("a cron job, seen before", context(HOST, Mode.COMMAND, Origin.CRON), False, "host_routine", 5),
        ("a cron job, new", context(HOST, Mode.COMMAND, Origin.CRON), True, "host_routine_novel", 25),
        ("a service's script, new", context(HOST, Mode.SCRIPT, Origin.SERVICE), True,
         "host_routine_novel", 25),
        ("a cron job of unknown mode", context(HOST, Mode.UNKNOWN, Origin.CRON), False, "other", 25),
        ("cron of unknown placement", context(UNKNOWN, Mode.COMMAND, Origin.CRON), False, "other", 25),
        ("kubectl exec -it", context(POD, Mode.STDIN, Origin.CONTAINER_EXEC), False,
         "pod_exec_interactive", 25),
        ("kubectl exec -it with a login shell", context(POD, Mode.LOGIN, Origin.CONTAINER_EXEC), False,
         "pod_exec_interactive", 25),
        ("an exec probe", context(POD, Mode.COMMAND, Origin.CONTAINER_EXEC), True, "pod_exec", 5),
        ("a script by exec", context(POD, Mode.SCRIPT, Origin.CONTAINER_EXEC), False, "pod_exec", 5),
        ("an exec of unknown mode", context(POD, Mode.UNKNOWN, Origin.CONTAINER_EXEC), False, "other", 25),
        ("an entrypoint", context(POD, Mode.COMMAND, Origin.ENTRYPOINT), True, "pod_entrypoint", 0),
        ("an entrypoint that reads input", context(POD, Mode.STDIN, Origin.ENTRYPOINT), False,
         "pod_entrypoint", 0),
        ("an entrypoint of unknown mode", context(POD, Mode.UNKNOWN, Origin.ENTRYPOINT), False, "other", 25),
        ("an entrypoint of unknown placement", context(UNKNOWN, Mode.COMMAND, Origin.ENTRYPOINT), False,
         "other", 25),
        ("a child in a pod", context(POD, Mode.STDIN, Origin.CHILD), False, "other", 25),
        ("a pod's of unknown origin", context(POD, Mode.COMMAND, Origin.UNKNOWN), False, "other", 25),
        ("a child on the host", context(HOST, Mode.COMMAND, Origin.CHILD), False, "other", 25),
        ("a command of a login", context(HOST, Mode.COMMAND, Origin.LOGIN), False, "other", 25),
        ("nothing known at all", Context(), False, "other", 25),
    ],
)  # fmt: skip
def test_balanced_scores(what: str, shell: Context, novel: bool, row: str, score: int) -> None:
    graded = PROFILES["balanced"].grade(shell, novel=novel)
    assert (what, graded.name, graded.score) == (what, row, score)


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_shell_has_a_row(profile: str) -> None:
    shells = itertools.product(Placement, Mode, Origin, ("", "nsenter"), (False, True))
    rows = {
        PROFILES[profile].grade(context(placement, mode, origin, hint=hint), novel=novel).name
        for placement, mode, origin, hint, novel in shells
    }
    # No row is dead either.
    assert rows == {row.name for row in PROFILES[profile].rows}


def test_what_scores_nothing_is_told_in_the_context_lane() -> None:
    desk = Desk()
    [told] = desk.hear(0, opened(0, context(POD, origin=Origin.ENTRYPOINT, pod_uid="u-1")))
    assert (told.verdict.lane, told.verdict.score, told.finding.score) == (Lane.CONTEXT, 0, 0)
    assert (told.verdict.graded_by, told.verdict.capped_score) == ("pod_entrypoint", None)


def test_once_scores_every_opening_alike_and_nothing_else() -> None:
    desk = Desk(JudgeRules(profile="once", score=30))
    shell = opened(0, context(POD, origin=Origin.ENTRYPOINT))
    told = desk.hear(0, shell, ongoing(shell))
    assert [(t.verdict.graded_by, t.verdict.score, t.verdict.lane) for t in told] == [
        ("opened", 30, Lane.RISK),
        ("", 0, Lane.CONTEXT),
    ]


def test_seed_scores_each_time_that_a_session_is_told_on_its_node_and_tells_each() -> None:
    desk = Desk(JudgeRules(profile="seed", preexisting=Preexisting.SUMMARY))
    told: list[Told] = []
    for pid in range(20):
        shell = opened(pid, context(POD, origin=Origin.ENTRYPOINT, pod_uid="u-1"), pid=pid, start=-(10**7))
        again = opened(pid, context(POD, pod_uid="u-1"), pid=pid, incarnation=1)
        told += desk.hear(pid, shell, ongoing(shell), ongoing(shell, 2), again)
        [end] = desk.hear(pid, closed(again))
        assert (end.verdict.lane, end.verdict.score) == (Lane.CONTEXT, 0)
    assert {(t.verdict.score, t.finding.score, t.verdict.lane) for t in told} == {(25, 25, Lane.RISK)}
    assert {(t.verdict.object.name, t.verdict.object.type) for t in told} == {("worker-1.example", "system")}
    assert len(told) == 80
    assert desk.run_to(10_000) == []


def test_a_verdict_says_how_the_score_came_about() -> None:
    desk = Desk()
    [told] = desk.hear(0, opened(0, context(HOST, Mode.COMMAND, Origin.CRON), cpu=0.5))
    assert told.verdict == Verdict(
        lane=Lane.RISK,
        score=25,
        object=told.verdict.object,
        attack=("T1059.004", "T1204"),
        rules=("Kubernetes Shell Running on Worker Node",),
        graded=25,
        graded_by="host_routine_novel",
        asked=25,
        novel=True,
    )


@pytest.mark.parametrize(("cpu", "names"), [(0.01, 2), (0.0, 1), (None, 1)])
def test_the_twin_rule_joins_the_same_event_if_there_was_cpu_activity(cpu: float | None, names: int) -> None:
    desk = Desk(JudgeRules(cpu_rule=True, name="Shell"))
    [told] = desk.hear(0, opened(0, context(), cpu=cpu))
    assert told.verdict.rules == ("Shell", "Shell with CPU Activity")[:names]
    assert told.verdict.score == 25
