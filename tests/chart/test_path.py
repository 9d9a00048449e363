"""What the release holds and prints is what runs: from a shell of this machine to the HEC server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.chart.helm import CHART, NAMESPACE, RELEASE
from tests.collector.values import FOLDER, moved
from tests.e2e.processes import Splunk, Started, environment_without_keys, free_port, peer, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.chart.cluster import Cluster

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

NAME: Final = f"{RELEASE}-otel-shell-detector"
_TLS: Final = {"receiverTls.secretName": "receiver", "config.receiver.require_auth": "true"}
FORMS: Final = {
    "plain text": {},
    "mTLS": _TLS | {"receiverTls.requireClientCertificates": "true"},
    "a token": _TLS | {"bearerTokens.secretName": "collectors"},
}


def printed(notes: str) -> str:
    """What NOTES prints for the collector."""
    return notes[notes.index("extensions:") : notes.index("2. See")]


def mounted(cluster: Cluster, secrets: Mapping[str, Mapping[str, str]], folder: Path) -> list[str]:
    """Lay the release's files out in a folder, and give the arguments of its container, with paths in it."""
    at = f"--namespace={NAMESPACE}"
    pod = cluster.got("statefulset", NAME, at)["spec"]["template"]["spec"]
    config = cluster.got("configmap", NAME, at)["data"]["config.yaml"]
    files = {Path("config/config.yaml"): config.replace("/etc/otel-shell-detector", str(folder))}
    for volume in pod["volumes"]:
        for source in volume.get("projected", {"sources": []})["sources"]:
            for item in source["secret"]["items"]:
                files[Path(volume["name"], item["path"])] = secrets[source["secret"]["name"]][item["key"]]
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    arguments: list[str] = pod["containers"][0]["args"]
    return [each.replace("/etc/otel-shell-detector", str(folder)) for each in arguments]


@pytest.mark.parametrize("form", FORMS)
def test_a_shell_of_this_machine_arrives_as_the_release_says(
    cluster: Cluster, started: Started, tmp_path: Path, form: str
) -> None:
    splunk, port = Splunk(started, ack=False), free_port()
    values = FORMS[form] | {
        "config.exporter.hec.url": f"http://127.0.0.1:{splunk.port}",
        "config.risk.profile": "once",
        "config.risk.burst.after": "0",
    }
    given = ("--set", ",".join(f"{key}={value}" for key, value in values.items()))
    at = ("--namespace", NAMESPACE)
    notes = cluster.helm("install", RELEASE, CHART, *at, "--values", CHART / "ci/minimal-values.yaml", *given)
    certificates = cluster.folder
    receiver = {"tls.crt": "server.pem", "tls.key": "server.key", "ca.crt": "ca.pem"}
    secrets = {
        "splunk-hec": {"token": "0" * 32},
        "collectors": {"tokens": "older\nnewer\n"},
        "receiver": {key: (certificates / name).read_text() for key, name in receiver.items()},
    }
    arguments = mounted(cluster, secrets, tmp_path / "etc")
    cluster.helm("uninstall", RELEASE, *at)

    # What a pod has and this machine has not: addresses and directories of its own.
    own = {
        "OTEL_SHELL_DETECTOR_RECEIVER__ENDPOINT": f"127.0.0.1:{port}",
        "OTEL_SHELL_DETECTOR_HTTP__ENDPOINT": f"127.0.0.1:{free_port()}",
        "OTEL_SHELL_DETECTOR_STATE__PATH": str(tmp_path / "state"),
    }
    command = [sys.executable, "-m", "otel_shell_detector", *arguments]
    started.start("service", command, environment_without_keys() | own)
    until("the service has started", lambda: '"event": "service.started"' in started.log("service"), 60)
    shell = started.start("shell", ["bash", "-c", "read -r line; exit"])
    _collect(cluster, started, notes, port)

    def arrived() -> list[dict[str, Any]]:
        events = [each["event"] for each in splunk.everything()]
        return [each for each in events if each["kind"] == "opened" and int(each["process.pid"]) == shell.pid]

    until("the shell arrives", lambda: bool(arrived()), 90)
    [event] = arrived()
    told = (event["host.name"], event["k8s.cluster.name"], event["process.executable.name"])
    assert told == ("worker-chart", "staging", "bash")


def _collect(cluster: Cluster, started: Started, notes: str, port: int) -> None:
    """Start the collector with the configuration of agents and what NOTES prints, its places replaced."""
    folder = started.folder / "agent"
    folder.mkdir()
    kubeconfig = cluster.user("collector", "/O=system:masters/CN=collector")
    for name, source in {"ca.crt": "ca.pem", "tls.crt": "collector.pem", "tls.key": "collector.key"}.items():
        (folder / name).write_text((cluster.folder / source).read_text())
    (folder / "token").write_text("newer\n")
    agent = moved(yaml.safe_load((FOLDER / "agent.yaml").read_text()), folder)
    agent["receivers"]["host_metrics/shell-detector"]["root_path"] = "/"
    (folder / "agent.yaml").write_text(yaml.safe_dump(agent))
    block = printed(notes)
    for place, here in {
        f"{NAME}.{NAMESPACE}.svc:4317": f"127.0.0.1:{port}",
        "/var/lib/otel-shell-detector": str(folder / "queue"),
        "/etc/otel-shell-detector": str(folder),
    }.items():
        block = block.replace(place, here)
    (folder / "notes.yaml").write_text(block)
    environment = os.environ | {
        "K8S_NODE_NAME": "worker-chart",
        "K8S_CLUSTER_NAME": "staging",
        "OTEL_SHELL_DETECTOR": "nowhere:4317",
        "KUBECONFIG": str(kubeconfig),
    }
    files = ("--config", folder / "agent.yaml", "--config", folder / "notes.yaml")
    started.start("collector", [peer("collector-agent"), *files], environment)
