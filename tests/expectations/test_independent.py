from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.expectations import independent
from tests.expectations.independent import SECOND, SHELLS, frames, named_as_shells, text, truth

HERE = Path(__file__).parent
expectation = functools.cache(independent.expectation)
NODES = {"worker-1": 10, "worker-2": 41, "worker-3": 36, "worker-4": 3}


pytestmark = pytest.mark.timeout(400)  # it decodes whole captures in plain Python


@pytest.mark.parametrize("name", NODES)
def test_the_committed_shells_are_those_of_the_capture(name: str) -> None:
    assert text(name) == (HERE / f"{name}.shells.json").read_text("utf-8")
    assert len(expectation(name)) == NODES[name]


def test_a_pid_used_twice_is_two_shells_and_one_row_of_the_search() -> None:
    shells = expectation("worker-1")
    assert Counter(shell["process.pid"] for shell in shells).most_common(2)[0] == (649, 2)
    assert len({(shell["process.pid"], shell["process.executable.name"]) for shell in shells}) == 9


@pytest.mark.parametrize("name", ["worker-1", "worker-2", "worker-3"])
def test_the_truth_file_explains_every_shell(name: str) -> None:
    lines = set()
    for shell in expectation(name):
        line = shell["truth"]
        lines.add((line["line"], line["relation"]))
        if line["relation"] == "itself" and line["argv"] != "csh":  # which writes "-sh" over its arguments
            assert line["argv"] == shell["process.command_line"]
        assert shell["first_positive_ns"] / SECOND > line["epoch"] - 0.05
    assert len(lines) == NODES[name], "a line explains one shell"


FOUND = {
    "worker-2": {
        "ATTACK host shell through nsenter (keeps the pod's cgroup)": (1, 1),
        "ATTACK kubectl exec sh in web pod": (1, 1),
        "ATTACK root shell under kubelet's cgroup": (1, 1),
        "ATTACK shell from java (webshell)": (1, 1),
        "benign CI job": (11, 19),
        "benign admin ssh login": (1, 1),
        "benign cron": (11, 20),
        "benign daemon": (0, 10),
        "benign entrypoint script": (4, 4),
        "benign entrypoint sh -c": (6, 6),
        "benign node-problem-detector": (0, 40),
        "benign package script": (4, 8),
        "benign probe": (0, 357),
    },
    "worker-3": {
        "ATTACK host shell through nsenter (keeps the pod's cgroup)": (1, 1),
        "ATTACK kubectl exec sh in web pod": (1, 1),
        "ATTACK root shell under kubelet's cgroup": (1, 1),
        "ATTACK shell from java (webshell)": (1, 1),
        "benign CI job": (11, 12),
        "benign admin ssh login": (1, 1),
        "benign cron": (7, 10),
        "benign daemon": (0, 10),
        "benign entrypoint script": (4, 4),
        "benign entrypoint sh -c": (6, 6),
        "benign node-problem-detector": (0, 20),
        "benign package script": (3, 8),
        "benign probe": (0, 177),
    },
}


@pytest.mark.parametrize("name", FOUND)
def test_of_each_kind_of_the_truth_so_many_are_found(name: str) -> None:
    found = Counter(shell["truth"]["what"] for shell in expectation(name))
    there = Counter(line["what"] for line in truth(name))
    assert {what: (found[what], there[what]) for what in sorted(there)} == FOUND[name]


def scrapes(name: str) -> list[tuple[float, float]]:
    """Each scrape's first and last time: scrapes are seconds apart, the frames of one are not."""
    times = sorted({time for _, points in frames(name) for _, _, time, _, _ in points})
    groups = [[times[0]]]
    for time in times[1:]:
        if time - groups[-1][-1] > SECOND:
            groups.append([])
        groups[-1].append(time)
    return [(group[0] / SECOND, group[-1] / SECOND) for group in groups]


@pytest.mark.parametrize("name", ["worker-2", "worker-3"])
def test_a_shell_that_says_how_long_it_sleeps_is_found_if_a_scrape_falls_into_its_sleep(name: str) -> None:
    found = {shell["truth"]["line"] for shell in expectation(name) if shell["truth"]["relation"] == "itself"}
    measured = scrapes(name)
    told = 0
    for line in truth(name):
        sleep = re.match(r"(?:/bin/)?sh -c (?:cd / && )?sleep ([0-9.]+);", line["argv"])
        if sleep is None:
            continue
        # Half a second on either side, in which starting, ending and scraping may fall either way.
        begin, end = line["epoch"], line["epoch"] + float(sleep[1])
        if any(begin + 0.5 < first and last < end - 0.5 for first, last in measured):
            assert line["line"] in found, line
            told += 1
        elif not any(begin - 0.5 < last and first < end + 0.5 for first, last in measured):
            assert line["line"] not in found, line
            told += 1
    assert told > 100


def never_positive(name: str) -> list[Any]:
    return [shell for shell in named_as_shells(name) if not shell["windows"]]


def test_the_zombie_is_the_only_one_with_the_name_of_a_shell_and_no_positive_point() -> None:
    (zombie,) = never_positive("worker-1")
    assert zombie["process.pid"] == 322
    assert zombie["frames"] == 13
    # What a zombie was cannot be read any more.
    assert zombie["process.executable.path"] is zombie["process.command_line"] is None
    assert [line["what"] for line in truth("worker-1") if line["pid"] == 322] == [
        "zombie bash: exited, never reaped"
    ]
    assert [never_positive(name) for name in ("worker-2", "worker-3", "worker-4")] == [[], [], []]


def test_a_shell_that_becomes_a_zombie_keeps_its_evidence() -> None:
    (cron,) = (shell for shell in expectation("worker-1") if shell["process.pid"] == 181)
    assert (cron["frames"], cron["windows"]) == (15, 7)
    assert cron["process.command_line"] == "/bin/sh -c sleep 70; :"
    assert cron["last_positive_ns"] - cron["start_ns"] < 71 * SECOND


def test_the_reused_pid_has_its_negative_points_left_out() -> None:
    first, second = (shell for shell in expectation("worker-1") if shell["process.pid"] == 649)
    assert (first["points_left_out"], second["points_left_out"]) == (0, 2)
    assert second["first_window"]["cpu"] == 0.0
    assert sum(shell["points_left_out"] for name in NODES for shell in expectation(name)) == 2


@pytest.mark.parametrize("pid", [184, 228, 230])
def test_what_runs_under_another_name_is_not_expected(pid: int) -> None:
    """report.sh, kworker and zsh of worker-1 run all the same."""
    names = {
        resource["process.executable.name"]
        for resource, _ in frames("worker-1")
        if resource["process.pid"] == pid
    }
    assert names
    assert not names & SHELLS


def test_the_script_uses_none_of_our_code() -> None:
    source = Path(independent.__file__).read_text("utf-8")
    imported = set(re.findall(r"^ *(?:from|import) (\w+)", source, re.MULTILINE))
    assert not imported & {
        "detector",
        "otlp_receiver",
        "otel_shell_detector",
        "exporter",
        "store",
        "telemetry",
        "tests",
    }
