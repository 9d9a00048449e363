"""A running service whose policy is a mounted ConfigMap: what becomes of its events when that changes."""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.request
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest

from otlp_receiver.server import SERVICE
from tests.e2e.processes import Started, environment_without_keys, until
from tests.otel_shell_detector.policies.config_map import ConfigMap
from tests.otel_shell_detector.policies.policies import text
from tests.otlp_receiver.encode import frame, memory, process, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WITHIN_S: Final = 5.0
"""From a change of the files to its effect. A second is what the service waits between two looks."""
WAIT_S: Final = 60.0
"""How long a test waits for what comes on a loaded machine."""


class Running:
    """A service, the ConfigMap that it has mounted, and the shells of a node."""

    def __init__(self, started: Started, folder: Path, whole: bool) -> None:
        (folder / "policies").mkdir()
        self.config_map = ConfigMap(folder / "policies")
        self._started = started
        self._events = folder / "events.jsonl"
        path = folder / "policies" if whole else folder / "policies" / "policies.yaml"
        self._environment = environment_without_keys() | {
            f"OTEL_SHELL_DETECTOR_{name}": value
            for name, value in {
                "STATE__PATH": str(folder / "state"),
                "RECEIVER__ENDPOINT": "127.0.0.1:0",
                "HTTP__ENDPOINT": "127.0.0.1:0",
                "DETECTOR__WINDOW": "1s",
                "DETECTOR__LATENESS": "0s",
                "RISK__BURST__AFTER": "0",
                "EXPORTER__SINK": "file",
                "EXPORTER__FILE__PATH": str(self._events),
                "POLICY__PATH": str(path),
            }.items()
        }

    def start(self) -> None:
        command = [sys.executable, "-m", "otel_shell_detector", "serve"]
        self._started.start("service", command, self._environment)
        until("the service runs", lambda: bool(self.logged("service.started")), WAIT_S)
        [ports] = self.logged("service.started")
        self._receiver, self._http = ports["receiver_port"], ports["http_port"]

    def logged(self, event: str, **keys: object) -> list[dict[str, Any]]:
        lines = self._started.log("service").splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        wanted = {"event": event} | keys
        return [each for each in found if wanted.items() <= each.items()]

    def swap(self, content: str | None, event: str, **keys: object) -> None:
        """Change the ConfigMap, to no file for ``None``; the service says in time what it makes of it."""
        before = len(self.logged(event, **keys))
        swapped_s = time.time()
        self.config_map.write({} if content is None else {"policies.yaml": content})
        until(f"{event} {keys}", lambda: len(self.logged(event, **keys)) > before, WAIT_S)
        told = self.logged(event, **keys)[before]
        assert datetime.fromisoformat(told["timestamp"]).timestamp() - swapped_s < WITHIN_S

    def open(self, pid: int) -> None:
        """A shell starts and is scraped."""
        now_ns = time.time_ns()
        shell = process(pid, command_line=f"bash -c {pid}", cgroup="0::/system.slice/x.service")
        body = request(frame(shell, memory(1.0, time_ns=now_ns, start_ns=now_ns - pid)))
        with grpc.insecure_channel(f"127.0.0.1:{self._receiver}") as channel:
            export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Export")
            export(body, timeout=WAIT_S)

    def opened(self) -> dict[int, str | None]:
        """The shells that were told, and by which rule."""
        lines = self._events.read_text(encoding="utf-8").splitlines() if self._events.exists() else []
        events = [json.loads(line)["event"] for line in lines if line.endswith("}}")]
        return {
            event["process.pid"]: event.get("policy.rule") for event in events if event["kind"] == "opened"
        }

    def measured(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http}/metrics", timeout=WAIT_S) as reply:
            exposed: str = reply.read().decode()
        found = re.search(rf"^otel_shell_detector_{re.escape(name)} (.*)$", exposed, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def suppresses(self, pid: int, shells: int) -> None:
        """One more shell starts, and is not told but counted."""
        self.open(pid)
        counted = 'judged_total{result="suppressed"}'
        until("it is counted", lambda: self.measured(counted) == shells, WAIT_S)
        assert pid not in self.opened()


@pytest.fixture(params=[True, False], ids=["directory", "file"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    processes = Started(tmp_path)
    yield Running(processes, tmp_path, request.param)
    processes.end()


def test_the_events_follow_the_config_map(running: Running, request: pytest.FixtureRequest) -> None:
    of_x = "systemd.unit=x.service"
    running.config_map.write({"policies.yaml": text("named", matchers=of_x)})
    running.start()
    running.open(101)
    until("it is told", lambda: running.opened() == {101: "named"}, WAIT_S)

    # A good file takes effect.
    running.swap(text("quiet", action="suppress", matchers=of_x), "policy.loaded", rules=1)
    running.suppresses(102, 1)
    assert running.measured("policy_files_refused") == 0

    # A broken, an empty and a removed one leave in force what was there.
    whole = "directory" in request.node.name
    for pid, content, result in (
        (103, text("named", reason="TODO"), "invalid"),
        (104, "", "empty"),
        (105, None, "empty" if whole else "missing"),
    ):
        running.swap(content, "policy.kept", result=result, rules=1)
        running.suppresses(pid, pid - 101)
        assert running.measured("policy_files_refused") == 1
        assert running.measured(f'policy_loads_total{{result="{result}"}}') >= 1

    # To have no rules is to say so; what lives and was suppressed is told then.
    running.swap("rules: []\n", "policy.loaded", rules=0)
    told = {101: "named", 102: None, 103: None, 104: None, 105: None}
    until("what was suppressed is told", lambda: running.opened() == told, WAIT_S)
    assert running.measured("policy_files_refused") == 0
    running.open(106)
    until("it is told", lambda: running.opened() == told | {106: None}, WAIT_S)
