"""``replay`` of real captures: whole events as committed, equal to what an independent program finds."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.event_schema import check_lines

HERE = Path(__file__).parent
CAPTURES = HERE.parent / "captures"
FILES = {
    "worker-1": ("worker-1.pb", 10),
    "worker-2": ("worker-2.pb.zst", 41),
    "worker-3": ("worker-3.pb.zst", 36),
    "worker-4": ("worker-4.pb", 3),
}


def replay(*arguments: str | Path) -> bytes:
    command = [sys.executable, "-m", "otel_shell_detector", "replay", *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (0, b"")
    check_lines(run.stdout.splitlines())
    return run.stdout


@pytest.mark.parametrize("capture", FILES)
def test_replay_prints_the_expected_events_whole(capture: str) -> None:
    name, opened = FILES[capture]
    printed = replay("--close-at-end", "--config", HERE / "seed.yaml", CAPTURES / name)
    assert printed.decode() == (HERE / f"{capture}.events.jsonl").read_text()
    assert printed.count(b'"kind":"opened"') == opened


@pytest.mark.parametrize("capture", FILES)
def test_what_is_told_by_default_is_what_is_expected(capture: str) -> None:
    name, opened = FILES[capture]
    printed = replay("--close-at-end", "--config", HERE / "balanced.yaml", CAPTURES / name)
    assert printed.decode() == (HERE / f"{capture}.balanced.jsonl").read_text()
    events = [json.loads(line)["event"] for line in printed.splitlines()]
    folded = sum(event["count"] for event in events if event["kind"] == "burst")
    assert sum(event["kind"] == "opened" for event in events) + folded == opened


@pytest.mark.parametrize("capture", FILES)
def test_sessions_equal_what_an_independent_program_finds(capture: str) -> None:
    """The last event of a session has its whole statistics; a reused pid's first session is closed before."""
    events = [
        json.loads(line)["event"] for line in (HERE / f"{capture}.events.jsonl").read_text().splitlines()
    ]
    closed = [event for event in events if event["kind"] == "closed"]
    shells = json.loads((HERE / f"{capture}.shells.json").read_text())
    assert sorted(map(_of_event, closed)) == sorted(map(_of_shell, shells))
    means = {_of_event(event): event for event in closed}
    for shell in shells:
        event = means[_of_shell(shell)]
        for field, mean in (
            ("process.cpu.utilization", "cpu"),
            ("process.cpu.utilization.total", "cpu_total"),
            ("process.memory.utilization", "memory"),
        ):
            expected = shell["whole"][mean]
            if expected is None:
                assert field not in event
            else:
                assert event[field] == pytest.approx(expected, rel=1e-12), (shell, field)


def _of_event(event: dict[str, Any]) -> tuple[object, ...]:
    return (
        event["process.pid"],
        round(event["process.start_time"], 2),
        event["process.executable.name"],
        event["windows"],
        round(event["window_start"]),
        round(event["window_end"]),
        round(event["first_seen"], 3),
        round(event["last_seen"], 3),
        event["process.executable.path"],
        event.get("process.owner", ""),
        event["process.parent_pid"],
    )


def _of_shell(shell: dict[str, Any]) -> tuple[object, ...]:
    return (
        shell["process.pid"],
        round(shell["start_ns"] / 1e9, 2),
        shell["process.executable.name"],
        shell["windows"],
        shell["first_window_start"],
        shell["last_window_end"],
        round(shell["first_positive_ns"] / 1e9, 3),
        round(shell["last_positive_ns"] / 1e9, 3),
        shell["process.executable.path"],
        shell["process.owner"] or "",
        shell["process.parent_pid"],
    )


def test_the_form_of_a_capture_cannot_be_seen_in_the_output(tmp_path: Path) -> None:
    expected = replay(CAPTURES / "worker-1.pb")
    assert replay(CAPTURES / "worker-1.json") == expected
    for name in ("worker-1.pb", "worker-1.json"):
        raw = (CAPTURES / name).read_bytes()
        (tmp_path / "whole.gz").write_bytes(gzip.compress(raw))
        assert replay(tmp_path / "whole.gz") == expected
        subprocess.run(
            ["zstd", "-q", "-f", str(CAPTURES / name), "-o", str(tmp_path / "whole.zst")], check=True
        )
        assert replay(tmp_path / "whole.zst") == expected
    assert replay(CAPTURES / "worker-4.json") == replay(CAPTURES / "worker-4.pb")


def test_matching_the_path_too_finds_the_script_and_nothing_else(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("detector: {match: [name, path]}\n")
    events = [
        json.loads(line)["event"]
        for line in replay("--config", config, CAPTURES / "worker-1.pb").splitlines()
    ]
    names = [event["process.executable.name"] for event in events if event["kind"] == "opened"]
    assert len(names) == 11
    assert "report.sh" in names
    assert not {"kworker", "zsh"} & set(names)
    assert 322 not in {event["process.pid"] for event in events}


def test_what_is_damaged_is_named_and_what_is_before_it_counts(tmp_path: Path) -> None:
    whole = (CAPTURES / "worker-1.pb").read_bytes()
    (tmp_path / "cut.pb").write_bytes(whole[: len(whole) // 2])
    command = [
        sys.executable,
        "-m",
        "otel_shell_detector",
        "replay",
        str(tmp_path / "cut.pb"),
        str(tmp_path / "none.pb"),
    ]
    run = subprocess.run(command, capture_output=True, check=False, timeout=60, text=True)
    assert run.returncode == 1
    assert run.stdout.count('"kind":"opened"') == 10
    first, second = run.stderr.splitlines()
    assert "cut.pb: offset " in first
    assert "none.pb" in second
