"""What is new on a node: kinds of shells, and shells that are older than our knowledge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector.context import Context, Mode, Origin, Placement, Process
from detector.judging.rules import JudgeRules
from detector.types import Finding, NodeId
from tests.detector.judging.desk import DAY, NODE, WATCHED_SINCE, Desk, closed, context, ongoing, opened

OTHER = NodeId("prod", "worker-2")
CRON = context(origin=Origin.CRON, unit="cron.service")


def novelties(desk: Desk, *at_and_findings: tuple[float, Finding]) -> list[bool | None]:
    return [desk.hear(at, finding)[0].verdict.novel for at, finding in at_and_findings]


def test_a_kind_is_novel_until_it_was_seen_and_again_when_it_was_not_for_thirty_days() -> None:
    desk = Desk(JudgeRules(burst_after=0))
    times = (0, 1, 20 * DAY, 49 * DAY, 79 * DAY, 109 * DAY - 1)
    shells = [(at, opened(at, CRON, pid=23 + number)) for number, at in enumerate(times)]
    # Each sight counts, whoever it was: day 49 is 29 days after day 20; day 79 is 30 after day 49.
    assert novelties(desk, *shells) == [True, False, False, False, True, False]


def test_nothing_is_novel_before_the_baseline_of_its_node_is_over() -> None:
    desk = Desk(JudgeRules(baseline_ns=300 * 10**9))
    found = novelties(
        desk,
        (0, opened(100, context(template="a"), first_scrape=0)),
        (1, opened(299.999, context(template="b"), first_scrape=0)),
        (2, opened(300, context(template="c"), first_scrape=0)),
        (3, opened(300, context(template="a"), first_scrape=0)),
        (4, opened(310, context(template="d"), node=OTHER, first_scrape=200)),
    )
    assert found == [False, False, True, False, False]


def test_of_the_first_scrapes_of_a_node_the_earliest_counts_whichever_comes_when() -> None:
    desk = Desk(JudgeRules(baseline_ns=300 * 10**9))
    found = novelties(
        desk,
        # The service was started anew and has forgotten what the detector knew of the node.
        (0, opened(1000, context(template="a"), first_scrape=900)),
        (1, opened(1001, context(template="b"), first_scrape=100)),
        (2, opened(1002, context(template="c"), first_scrape=950)),
        (3, opened(1003, context(template="d"), first_scrape=None)),
    )
    assert found == [False, True, True, True]


def test_a_node_whose_first_scrape_is_unknown_has_no_baseline_and_nothing_preexisting() -> None:
    desk = Desk()
    [told] = desk.hear(0, opened(0, CRON, start=-9 * DAY, first_scrape=None))
    assert (told.verdict.novel, told.finding.context.preexisting) == (False, False)
    assert "node" not in desk.kinds()


def test_the_first_scrape_of_a_node_that_shows_a_shell_each_month_is_not_forgotten() -> None:
    desk = Desk()
    for month in range(1, 13):
        desk.hear(month * 29 * DAY, opened(month * 29 * DAY, CRON, first_scrape=0 if month == 1 else None))
    young = opened(360 * DAY, context(template="new"), first_scrape=359.5 * DAY)
    assert novelties(desk, (360 * DAY, young)) == [True]
    desk.hear(500 * DAY, opened(500 * DAY, CRON, first_scrape=499 * DAY))
    [note] = [note for note in desk.notes.values() if note.kind == "node"]
    assert note.value == {"first_ns": opened(499 * DAY, CRON).envelope_ns}


@pytest.mark.parametrize(
    "other",
    [
        context(origin=Origin.CRON, unit="atd.service"),
        context(origin=Origin.CRON, unit="cron.service", parent="atd"),
        context(origin=Origin.CRON, unit="cron.service", template="0ther"),
        context(Placement.POD, labels=(("k8s.namespace.name", "a"), ("k8s.pod.name", "b"))),
    ],
)
def test_another_unit_workload_parent_or_command_is_novel(other: Context) -> None:
    assert novelties(Desk(), (0, opened(0, CRON)), (1, opened(1, other))) == [True, True]


def test_another_executable_or_cluster_is_novel_and_another_node_or_mode_is_not() -> None:
    found = novelties(
        Desk(),
        (0, opened(0, CRON)),
        (1, opened(1, CRON, name="bash")),
        (2, opened(2, CRON, node=NodeId("test", "worker-1"))),
        (3, opened(3, CRON, node=OTHER)),
        (4, opened(4, context(mode=Mode.STDIN, unit="cron.service"))),
    )
    assert found == [True, True, True, False, False]


def test_without_unit_and_workload_the_placement_tells_kinds_apart() -> None:
    found = novelties(
        Desk(),
        (0, opened(0, context(Placement.HOST))),
        (1, opened(1, context(Placement.POD))),
        (2, opened(2, context(Placement.HOST))),
    )
    assert found == [True, True, False]


def test_novelty_cannot_be_told_if_neither_command_nor_parent_is_known() -> None:
    desk = Desk()
    found = novelties(
        desk,
        (0, opened(0, context(template="", parent=""))),
        (1, opened(1, context(template="", parent="cron"))),
        (2, opened(2, context(template="a", parent=""))),
    )
    assert found == [None, True, True]
    assert desk.kinds()["novel"] == 2


def test_only_an_opening_is_novel() -> None:
    desk = Desk()
    shell = opened(0, CRON)
    assert [told.verdict.novel for told in desk.hear(0, shell, ongoing(shell), closed(shell))] == [
        True,
        None,
        None,
    ]


def test_a_shell_that_started_before_the_first_scrape_of_its_node_is_preexisting_in_all_its_events() -> None:
    desk = Desk()
    old = opened(0, CRON, start=WATCHED_SINCE - 0.001)
    young = opened(0, CRON, start=WATCHED_SINCE, pid=24)
    timeless = opened(0, CRON, pid=25)
    timeless = replace(timeless, shell=replace(timeless.shell, start_ns=0))
    told = desk.hear(0, old, ongoing(old), closed(old), young, timeless)
    assert [t.finding.context.preexisting for t in told] == [True, True, True, False, False]


def test_what_is_told_is_the_finding_but_for_score_and_preexisting() -> None:
    desk = Desk(JudgeRules(preexisting=JudgeRules().preexisting))
    shell = opened(0, replace(CRON, parent=Process(3, 4, "cron")), start=WATCHED_SINCE - 1)
    [told] = desk.hear(0, shell)
    assert told.finding == replace(shell, score=25, context=replace(shell.context, preexisting=True))
    assert shell.node_first_ns == opened(0, CRON, node=NODE).node_first_ns
