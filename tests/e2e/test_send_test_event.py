"""``send-test-event`` against a real HEC server, with and without acknowledgement, and a real collector."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.processes import ROOT, Gateway, Splunk, Started, environment_without_keys, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.peers


def sent(**keys: str) -> list[str]:
    """What the command prints, when it succeeds."""
    environment = environment_without_keys() | {
        f"OTEL_SHELL_DETECTOR_EXPORTER__{key}": value for key, value in keys.items()
    }
    done = subprocess.run(
        [sys.executable, "-m", "otel_shell_detector", "send-test-event"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def searches(lines: list[str]) -> list[tuple[str, str]]:
    """(index, event id) of what is printed to search for."""
    found = [re.search(r'index="(\w+)" event_id=(\S+) ', line) for line in lines]
    return [(each[1], each[2]) for each in found if each]


def arrived(splunk: Splunk) -> list[tuple[str, str]]:
    """(index, event id) of what the server has."""
    return [(each["index"], fields(each["event"])["event_id"]) for each in splunk.everything()]


def fields(event: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event) if isinstance(event, str) else event
    return found


@pytest.mark.parametrize("ack", [False, True], ids=["plain", "ack"])
def test_what_a_real_server_was_sent_is_what_is_to_be_searched_for(
    started: Started, tmp_path: Path, *, ack: bool
) -> None:
    splunk = Splunk(started, ack=ack)
    token = tmp_path / "token"
    token.write_text("any-will-do")
    hec = {"HEC__URL": f"http://127.0.0.1:{splunk.port}", "HEC__TOKEN_FILE": str(token)}
    lines = sent(SINK="hec", HEC__ACK=str(ack).lower(), **hec)
    told = [line.partition(": ")[2] for line in lines if re.match(r"risk|context|audit", line)]
    ending = "; acknowledged" if ack else ""
    assert [re.sub(r"in \d+ ms", "in N ms", line) for line in told] == [
        f"accepted in N ms: status 200, code 0: Success{ending}"
    ] * 3
    until("the events are written", lambda: len(arrived(splunk)) == 3, 30)
    assert arrived(splunk) == searches(lines)
    assert [index for index, _ in arrived(splunk)] == ["risk", "otel_shell", "otel_shell"]
    events = [fields(each["event"]) for each in splunk.everything()]
    assert [(each["kind"], each["test"], each["risk_score"]) for each in events] == [("test", True, 0)] * 3


def test_through_a_collector_they_arrive_in_the_same_indexes(started: Started) -> None:
    splunk = Splunk(started, ack=False)
    lines = sent(SINK="otlp", OTLP__ENDPOINT=Gateway(started, splunk.port).url)
    until("the events are written", lambda: len(arrived(splunk)) == 3, 30)
    assert arrived(splunk) == searches(lines)
    assert [index for index, _ in arrived(splunk)] == ["risk", "otel_shell", "otel_shell"]
