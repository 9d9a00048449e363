"""``explain`` of a service that runs, and of one that was killed: processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import grpc

from tests.e2e.processes import ROOT, Started, environment_without_keys, free_port, until
from tests.otlp_receiver.encode import frame, memory, process, request
from tests.otlp_receiver.serving import EXPORT

if TYPE_CHECKING:
    from pathlib import Path

PID = 4711
_PREFIX = "OTEL_SHELL_DETECTOR_"


def test_a_shell_is_explained_by_the_service_and_by_what_a_kill_leaves(tmp_path: Path) -> None:
    port = free_port()
    keys = {
        "RECEIVER__ENDPOINT": f"127.0.0.1:{port}",
        "HTTP__ENDPOINT": f"127.0.0.1:{free_port()}",
        "STATE__PATH": str(tmp_path / "state"),
        "DETECTOR__WINDOW": "1s",
        "DETECTOR__LATENESS": "0s",
        "EXPORTER__SINK": "stdout",
        "LOG__LEVEL": "info",
    }
    environment = environment_without_keys() | {_PREFIX + key: value for key, value in keys.items()}
    command = [sys.executable, "-m", "otel_shell_detector"]
    started = Started(tmp_path)

    def explain(*arguments: str) -> Any:
        done = subprocess.run(
            [*command, "explain", *arguments, "--json"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    try:
        service = started.start("service", [*command, "serve"], environment)
        until("it has started", lambda: '"service.started"' in started.log("service"), 60)
        at_ns = time.time_ns()
        shell = process(PID, "bash", command_line="bash -i")
        body = request(frame(shell, memory(0.5, time_ns=at_ns, start_ns=at_ns - 10**10)))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
            export(body, timeout=60)
        until("it is told", lambda: '"kind":"opened"' in started.log("service"), 60)
        lines = [line for line in started.log("service").splitlines() if '"kind":"opened"' in line]
        told = json.loads(lines[0])["event"]
        running = explain(told["event_id"])
        assert running["from"] == "service"
        by_pid = explain("--pid", str(PID))
        service.send_signal(signal.SIGKILL)
        service.wait(timeout=60)
        stopped = explain(told["session_id"])
    finally:
        started.end()
    assert running["shell"]["process.pid"] == PID
    assert running["sessions"][0]["profile"]["row"] == told["graded_by"]
    assert running["sessions"][0]["result"]["score"] == told["risk_score"]
    assert running["sessions"][0]["evidence"]["process.command_line"] == "bash -i"
    for other in (by_pid, stopped):
        assert [lasting(each) for each in other["sessions"]] == [
            lasting(each) for each in running["sessions"]
        ]
    assert stopped["from"] == "state"


def lasting(session: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on whether the event is still here."""
    return {name: value for name, value in session.items() if name not in {"events", "steps", "evidence"}}
