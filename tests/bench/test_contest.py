"""The contest: every contender answers every request, and the tables say what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bench import contenders_page as tables
from bench.contenders import CONTENDERS
from bench.contest import QUICK, check
from tests.e2e.processes import ROOT, peer

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {each.name for each in CONTENDERS}


@pytest.mark.peers
def test_every_contender_answers_every_request(tmp_path: Path) -> None:
    for name in ("collector-agent", "hec-server"):
        peer(name)
    left = tmp_path / "contenders.json"
    command = [sys.executable, "-m", "bench.contest", "--quick", "--json", str(left)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(left.read_text())
    absent = set(results["absent"])
    assert absent <= {tables.ROTEL}  # it is fetched for make bench alone
    assert {
        (each["shells"], each["encoding"], each["contender"]): each["rounds"]["answered"]
        for each in results["cells"]
    } == {(*column, name): [QUICK.requests] for column in tables.COLUMNS for name in NAMES - absent}
    assert done.stdout == tables.render(results) + "\n"
    for name in NAMES:
        assert done.stdout.count(f"\n| {results['titles'][name]} ") >= 1 + len(tables.SHELLS)


def test_a_contender_that_refuses_a_request_ends_the_contest() -> None:
    answers = {"OK": 3, "UNAVAILABLE: full": 1}
    [noop] = [each for each in CONTENDERS if each.name == tables.NOOP]
    with pytest.raises(SystemExit) as ended:
        check(noop, 2, answers, 4)
    assert str(ended.value) == f"no-op, 2 shells: {answers}, want OK of all 4"


def results_of(cpu_us: dict[str, list[float]], later_us: list[float]) -> dict[str, Any]:
    """What a run leaves in which every column was the same, and every contender but for its CPU time."""
    same = [10.0] * len(later_us)
    rounds = dict.fromkeys(("per_s", "p50_ms", "p99_ms", "generator_us", "commits"), same)
    return {
        "where": dict.fromkeys(("date", "cores", "cpu", "system", "python", "versions"), "-"),
        "settings": {"rounds": 2, "requests": 300, "warm_up": 32, "connections": 16},
        "versions": {},
        "titles": {each.name: each.title for each in CONTENDERS},
        "like": {each.name: each.like for each in CONTENDERS},
        "absent": {name: f"{name} is not there" for name in NAMES - cpu_us.keys()},
        "workloads": [
            {"shells": shells, "processes": 1, "points": 1000, "bytes": 1, "gzip_bytes": 1}
            for shells in tables.SHELLS
        ],
        "cells": [
            {
                "shells": shells,
                "encoding": encoding,
                "contender": name,
                "rss_mib": 20.0 if name == tables.OURS else 10.0,
                "rounds": rounds
                | {"cpu_us": cpu_us[name]}
                | ({"later_us": later_us} if name == tables.OURS and shells else {}),
            }
            for shells, encoding in tables.COLUMNS
            for name in cpu_us
        ],
    }


def test_a_ratio_is_of_each_round_and_holds_what_comes_later() -> None:
    cpu_us = {name: [1000.0, 1000.0, 4000.0] for name in NAMES - {tables.ROTEL}}
    cpu_us[tables.OURS] = [1040.0, 1000.0, 8000.0]
    lines = tables.render(results_of(cpu_us, [160.0, 200.0, 0.0])).splitlines()
    assert "Not measured: rotel is not there." in lines
    now, with_later = "1.04 [1.00-2.00]", "1.20 [1.20-2.00]"
    assert [line for line in lines if line.startswith(("| this service |", "| this service, gzip |"))] == [
        f"| this service | {' | '.join([*[now] * 2, *[with_later] * 4])} |",
        *(
            f"| this service{gzip} | {cpu} | {later} | {cpu} | 20 (2.00) | 10 (1.00) | 10.0 (1.00) |"
            " 10.0 (1.00) | 10.00 | 10 |"
            for cpu, later in (("1,040", ""), ("1,200", "160"), ("1,200", "160"))
            for gzip in ("", ", gzip")
        ),
    ]


def test_a_goal_is_met_by_the_median() -> None:
    cpu_us = {name: [1000.0, 1000.0] for name in NAMES - {tables.ROTEL}}
    cpu_us[tables.COLLECTOR_FILTER] = [4000.0, 4000.0]
    cpu_us[tables.OURS] = [1000.0, 1080.0]
    lines = tables.render(results_of(cpu_us, [0.0, 0.0])).splitlines()
    first = lines.index("| Goal, CPU time per request | of | wanted | measured | met |")
    assert [line.split(" | ")[-1] for line in lines[first + 2 : first + 12]] == [
        *("yes |", "no |", "yes |", "no |"),  # to the no-op: 1.05, 0.85, 1.3, 1.0
        *("no |", "no |", "yes |", "yes |"),  # the collector with filter: 4, 4, 3, 3
        *("no |", "no |"),  # the collector: 1, 1
    ]
    assert lines[first + 2] == (
        "| this service / no-op | no shells | at most 1.05 | 1.04 [1.00-1.08] | yes |"
    )
    assert (
        lines[first + 21] == "| rotel / this service | 30 shells, gzip | at least 1.00 | not measured | ? |"
    )
