"""The capture that the comparison is made for: ten shells against nine rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_shell_detector.cli import main

TESTS = Path(__file__).parents[2]
CAPTURE = str(TESTS / "captures" / "worker-1.pb")
ROWS = [
    json.loads(line)
    for line in (TESTS / "expectations" / "search" / "worker-1.jsonl").read_text("utf-8").splitlines()
]
EVENTS = [
    json.loads(line)["event"]
    for line in (TESTS / "expectations" / "worker-1.events.jsonl").read_text("utf-8").splitlines()
]
RUN = 1795489200.0  # 3:00
MERGED = {
    "cause": "reused_pid",
    "text": "one row of the search for 2 shells of this pid: it does not look at start times",
}
NEGATIVE = {
    "cause": "negative_point",
    "text": "2 negative points from 2026-11-24 02:43:10 on: "
    "the search averages them, the detector leaves them out",
}
ZOMBIE = {
    "cause": "zombie",
    "text": "no point of it is above 0, of memory neither: a zombie, which none of the two reports",
}


@pytest.fixture
def found(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["compare", "--json", CAPTURE]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_ten_shells_stand_against_nine_rows(found: dict[str, Any]) -> None:
    assert found["runs"] == [{"time": RUN, "rows": 9}]
    assert [(shell["process.pid"], shell["seen_by"]) for shell in found["shells"]] == [
        (pid, ["detector", "search"])
        for pid in ("23", "181", "183", "197", "199", "200", "201", "231", "649", "649")
    ]


def test_only_the_reused_pid_differs_and_the_comparison_says_why(found: dict[str, Any]) -> None:
    *alike, first, second = found["shells"]
    assert [shell["why"] for shell in alike] == [[]] * 8
    assert (first["why"], second["why"]) == ([MERGED], [MERGED, NEGATIVE])
    assert first["process.start_time"] < second["process.start_time"]
    # The negative points are of its first sample.
    assert int(second["first_seen"]) == 1795488190  # 02:43:10
    assert first["search"][0]["shells_in_row"] == second["search"][0]["shells_in_row"] == 2


def test_the_zombie_is_seen_by_neither(found: dict[str, Any]) -> None:
    (zombie,) = found["seen_by_neither"]
    assert (zombie["process.pid"], zombie["seen_by"], zombie["why"]) == ("322", [], [ZOMBIE])
    assert (zombie["first_seen"], zombie["detector"], zombie["search"]) == (None, None, [])


def test_each_side_says_what_it_says_alone(found: dict[str, Any]) -> None:
    rows = {row["process.pid"]: row for row in ROWS}
    opened = {event["session_id"]: event for event in EVENTS if event["kind"] == "opened"}
    closed = {event["session_id"]: event for event in EVENTS if event["kind"] == "closed"}
    assert len(found["shells"]) == len(opened) == len(closed) == 10
    for shell in found["shells"]:
        (reported,) = shell["search"]
        row = {name.replace("host.name", "host"): value for name, value in reported.items()}
        assert row == rows[shell["process.pid"]] | {
            "run": RUN,
            "latency": pytest.approx(RUN - shell["first_seen"], abs=1e-6),
            "shells_in_row": row["shells_in_row"],
        }
        told = shell["detector"]
        event, end = opened[told["session_id"]], closed[told["session_id"]]
        assert told == {
            "event_id": event["event_id"],
            "session_id": event["session_id"],
            "time": pytest.approx(event["first_seen"] + 15, abs=0.07),
            "latency": pytest.approx(15, abs=0.07),
            "windows": end["windows"],
            "process.cpu.utilization": end.get("process.cpu.utilization"),
            "process.memory.utilization": end["process.memory.utilization"],
        }
        assert shell["first_seen"] == pytest.approx(event["first_seen"], abs=1e-6)
        assert shell["process.command_line"] == event["process.command_line"]


@pytest.mark.parametrize(("name", "shells"), [("worker-2", 41), ("worker-3", 36), ("worker-4", 3)])
def test_on_the_other_captures_the_two_say_the_same(
    name: str, shells: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (TESTS / "captures").glob(f"{name}.pb*")
    assert main(["compare", "--json", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seen_by_neither"] == []
    assert [(shell["seen_by"], shell["why"]) for shell in found["shells"]] == [
        (["detector", "search"], [])
    ] * shells
