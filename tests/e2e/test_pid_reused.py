"""A reused pid, in a pid namespace of its own, and the end of the service by SIGTERM."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.expected import ending, opening
from tests.e2e.processes import ROOT, Service, Splunk, Started, peer, until

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(150),
    pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="a pid namespace needs root"),
]


@pytest.mark.parametrize("ack", [False, True], ids=["without ack", "with ack"])
def test_a_reused_pid_is_another_shell_and_sigterm_delivers_open_windows(started: Started, ack: bool) -> None:
    service = Service(started, "reused", Splunk(started, ack=ack))
    environment = dict(os.environ)
    environment |= {"OTLP_ENDPOINT": f"127.0.0.1:{service.port}", "OUTPUT": str(started.folder / "agent.pb")}
    environment["HEALTH_ENDPOINT"] = "127.0.0.1:0"
    namespace = started.start(
        "namespace",
        [
            *("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"),
            *(sys.executable, ROOT / "tests/e2e/in_namespace.py"),
            *(peer("collector-agent"), "--config", ROOT / "peers/collector-agent/example.yaml"),
        ],
        environment,
    )
    assert namespace.stdin is not None
    until("the first shell is told", lambda: service.opened(20_000), 60)
    namespace.stdin.write(b"next\n")
    namespace.stdin.flush()
    until("the second closes the first", lambda: bool(_ours(service, "closed")), 60)
    # Its own opening is of another lane, which may deliver later.
    until("the second is told", lambda: len(_ours(service, "opened")) == 2, 10)

    # A bash that got another pid on the way to this one may have been scraped too: a shell, but not ours.
    first, second = _ours(service, "opened")
    (closed,) = _ours(service, "closed")
    known = {
        "host.name": "worker-e2e",
        "k8s.node.name": "worker-e2e",
        "process.pid": 20_000,
        "process.parent_pid": 1,
        "process.executable.name": "bash",
        "process.executable.path": str(Path(shutil.which("bash") or "").resolve()),
        "process.owner": "root",
        "process.command_line": "bash -c read answer; exit 0",
    }
    assert [first, second] == [opening("reused", each, known) for each in (first, second)]
    assert closed == ending(first, closed, "pid_reused")
    assert second["event"]["process.start_time"] - first["event"]["process.start_time"] > 2

    # A third one, which the service is told of but has not told: its window is open when SIGTERM comes.
    namespace.stdin.write(b"next\n")
    namespace.stdin.flush()
    name = "otel_shell_detector_receiver_samples_total "
    before = _value(service.metrics(), name)
    until("the third is sampled", lambda: _value(service.metrics(), name) > before + 3, 30)
    assert len(_ours(service, "opened")) == 2
    assert service.terminate() == 0
    assert len(_ours(service, "opened")) == 2
    service.start()
    until("the third is told", lambda: len(_ours(service, "opened")) == 3, 60)
    until("the second is closed", lambda: len(_ours(service, "closed")) == 2, 10)
    assert service.terminate() == 0
    ids = [each["event"]["event_id"] for each in service.envelopes()]
    assert len(ids) == len(set(ids))
    assert len(_ours(service, "opened")) == 3
    assert len(_ours(service, "closed")) == 2  # each by the next one
    assert '"event": "service.stopped"' in service.log()
    assert "delivery.undelivered_at_stop" not in service.log()


def _value(metrics: str, name: str) -> float:
    return next(float(line[len(name) :]) for line in metrics.splitlines() if line.startswith(name))


def _ours(service: Service, kind: str) -> list[dict[str, Any]]:
    """The envelopes of a kind of the reused pid."""
    of_kind = [each for each in service.envelopes() if each["event"]["kind"] == kind]
    return [each for each in of_kind if each["event"]["process.pid"] == 20_000]
