"""``outbox`` beside a real service: while it runs, after it was killed, and after it came back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from otel_shell_detector.captures import Request, requests
from otlp_receiver.server import SERVICE
from tests.e2e.processes import Started, free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "tests/captures/worker-1.pb"
SHELLS = 10
"""Of the capture; each opens with one risk event."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A service whose Splunk does not listen, and whose windows close at once."""
    token = tmp_path / "token"
    token.write_text("t", encoding="utf-8")
    names = {
        "STATE__PATH": str(tmp_path / "state"),
        "RECEIVER__ENDPOINT": "127.0.0.1:0",
        "HTTP__ENDPOINT": "127.0.0.1:0",
        "DETECTOR__WINDOW": "1s",
        "DETECTOR__LATENESS": "0s",
        "DETECTOR__RENOTIFY": "1h",
        "EXPORTER__SINK": "hec",
        "EXPORTER__HEC__URL": f"http://127.0.0.1:{free_port()}",
        "EXPORTER__HEC__TOKEN_FILE": str(token),
        "RISK__PROFILE": "once",
        "RISK__BURST__AFTER": "0",
    }
    ours = "OTEL_SHELL_DETECTOR_"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return clean | {f"{ours}{name}": value for name, value in names.items()}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    processes = Started(tmp_path)
    yield processes
    processes.end()


def serve(started: Started, environment: dict[str, str], name: str) -> tuple[subprocess.Popen[bytes], int]:
    """A service that runs, and the port of its receiver."""
    process = started.start(name, [sys.executable, "-m", "otel_shell_detector", "serve"], environment)
    until("the service runs", lambda: bool(told(started, name, "service.started")), 60)
    return process, int(told(started, name, "service.started")[0]["receiver_port"])


def told(started: Started, name: str, event: str) -> list[dict[str, Any]]:
    lines = started.log(name).splitlines(keepends=True)
    found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
    return [each for each in found if each.get("event") == event]


def send(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Export")
        for item in requests(CAPTURE):
            assert isinstance(item, Request)
            export(item.body, timeout=60)


def outbox(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "otel_shell_detector", "outbox", *arguments]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    return done.returncode, done.stdout, done.stderr


def waiting(environment: dict[str, str]) -> list[str]:
    """The ids of the risk events that wait."""
    status, out, err = outbox(environment, "list", "--waiting", "--lane", "risk", "--limit", "1000", "--json")
    assert (status, err) == (0, "")
    return [json.loads(line)["event_id"] for line in out.splitlines()]


def test_what_waits_is_seen_while_the_service_runs_after_a_kill_and_when_it_is_back(
    started: Started, environment: dict[str, str]
) -> None:
    process, port = serve(started, environment, "first")
    send(port)
    deadline = time.monotonic() + 60
    while len(ids := waiting(environment)) < SHELLS:
        assert time.monotonic() < deadline, started.log("first")
        time.sleep(0.2)
    process.kill()
    process.wait()
    assert waiting(environment) == ids

    serve(started, environment, "second")
    assert waiting(environment) == ids
    assert outbox(environment, "purge", "--waiting", "--lane", "risk") == (
        2,
        "",
        f"outbox purge would delete {len(ids)} events of lane risk for good; want --yes to do it\n",
    )
    assert outbox(environment, "purge", "--waiting", "--lane", "risk", "--yes") == (
        0,
        f"deleted {len(ids)} events of lane risk\n",
        "",
    )
    assert waiting(environment) == []
    (logged,) = told(started, "second", "control.purged")
    expected = {"uid": os.geteuid(), "ask": "purge_waiting", "count": len(ids), "lane": "risk"}
    assert {key: logged[key] for key in expected} == expected


def test_a_service_without_its_socket_is_told_by_name(
    started: Started, environment: dict[str, str], tmp_path: Path
) -> None:
    process, _ = serve(started, environment, "only")
    (tmp_path / "state" / "control.sock").unlink()
    status, out, err = outbox(environment, "list")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert f"in use by pid {process.pid} " in err


def test_a_service_that_stopped_in_order_leaves_no_socket(
    started: Started, environment: dict[str, str], tmp_path: Path
) -> None:
    process, _ = serve(started, environment, "only")
    assert (tmp_path / "state" / "control.sock").exists()
    process.terminate()
    assert process.wait(60) == 0
    assert not (tmp_path / "state" / "control.sock").exists()
    assert outbox(environment, "list")[0] == 0
