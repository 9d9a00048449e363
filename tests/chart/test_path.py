"""What the release holds and prints is what runs: from a shell of this machine to the HEC server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.chart.helm import CHART, NAMESPACE, RELEASE
from tests.e2e.processes import Splunk, Started, environment_without_keys, free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chart.cluster import Cluster

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

NAME: Final = f"{RELEASE}-otel-shell-detector"
AGENT: Final = """
receivers:
  host_metrics:
    collection_interval: 1s
    scrapers:
      process:
        mute_process_all_errors: true
        metrics: {process.cpu.utilization: {enabled: true}, process.memory.utilization: {enabled: true}}
processors:
  resource: {attributes: [{key: host.name, value: worker-chart, action: upsert}]}
service:
  extensions: [file_storage]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [host_metrics], processors: [resource], exporters: [otlp_grpc/shell-detector]}
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    processes = Started(tmp_path)
    try:
        yield processes
    finally:
        processes.end()


def exporter_of(notes: str) -> dict[str, Any]:
    """The block that NOTES prints for the collector."""
    block: dict[str, Any] = yaml.safe_load(notes[notes.index("exporters:") : notes.index("2. See")])
    return block


def mounted(cluster: Cluster, folder: Path) -> list[str]:
    """Lay the release's files out in a folder, and give the arguments of its container, with paths in it."""
    at = f"--namespace={NAMESPACE}"
    container = cluster.got("statefulset", NAME, at)["spec"]["template"]["spec"]["containers"][0]
    config = cluster.got("configmap", NAME, at)["data"]["config.yaml"]
    for name, text in (("config/config.yaml", config), ("hec-token/token", "0" * 32)):
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(text.replace("/etc/otel-shell-detector", str(folder)))
    return [each.replace("/etc/otel-shell-detector", str(folder)) for each in container["args"]]


def test_a_shell_of_this_machine_arrives_as_the_release_says(
    cluster: Cluster, started: Started, tmp_path: Path
) -> None:
    splunk, port = Splunk(started, ack=False), free_port()
    values = {
        "config.exporter.hec.url": f"http://127.0.0.1:{splunk.port}",
        "config.risk.profile": "once",
        "config.risk.burst.after": "0",
    }
    given = ("--set", ",".join(f"{key}={value}" for key, value in values.items()))
    at = ("--namespace", NAMESPACE)
    notes = cluster.helm("install", RELEASE, CHART, *at, "--values", CHART / "ci/minimal-values.yaml", *given)
    arguments = mounted(cluster, tmp_path / "etc")
    cluster.helm("uninstall", RELEASE, *at)

    # What a pod has and this machine has not: addresses and directories of its own.
    moved = {
        "OTEL_SHELL_DETECTOR_RECEIVER__ENDPOINT": f"127.0.0.1:{port}",
        "OTEL_SHELL_DETECTOR_HTTP__ENDPOINT": f"127.0.0.1:{free_port()}",
        "OTEL_SHELL_DETECTOR_STATE__PATH": str(tmp_path / "state"),
    }
    command = [sys.executable, "-m", "otel_shell_detector", *arguments]
    started.start("service", command, environment_without_keys() | moved)
    until("the service has started", lambda: '"event": "service.started"' in started.log("service"), 60)
    shell = started.start("shell", ["bash", "-c", "read -r line; exit"])
    agent = yaml.safe_load(AGENT) | exporter_of(notes)
    exporter = agent["exporters"]["otlp_grpc/shell-detector"]
    assert exporter["endpoint"] == f"{NAME}.{NAMESPACE}.svc:4317"
    exporter["endpoint"] = f"127.0.0.1:{port}"
    (tmp_path / "queue").mkdir()
    agent["extensions"] = {"file_storage": {"directory": str(tmp_path / "queue")}}
    started.collector("agent", yaml.safe_dump(agent))

    def arrived() -> list[dict[str, Any]]:
        events = [each["event"] for each in splunk.everything()]
        return [each for each in events if each["kind"] == "opened" and int(each["process.pid"]) == shell.pid]

    until("the shell arrives", lambda: bool(arrived()), 90)
    [event] = arrived()
    told = (event["host.name"], event["k8s.cluster.name"], event["process.executable.name"])
    assert told == ("worker-chart", "production", "bash")
