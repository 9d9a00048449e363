"""One run that the tests look at: four agents, as their charts would run them, a service and a HEC server."""

from __future__ import annotations

import json
import os
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.chart.cluster import Cluster
from tests.collector.pods import NAMESPACE, NODE, PODS, Cgroups, Made, make
from tests.collector.values import DEPLOYED, Deployed, moved
from tests.e2e.processes import Service, Splunk, Started, peer, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

_IN_A_CONTAINER: Final = 'mount --bind /proc "$0" && mount -t proc proc /proc && exec "$@"'
"""A pid namespace of its own, and the machine's ``/proc`` where the values mount it."""


@dataclass
class Run:
    """What was started."""

    started: Started
    cluster: Cluster
    service: Service
    pods: list[Made]
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)
    shells: dict[str, int] = field(default_factory=dict)
    """Pids: of one on the machine, and of one in each pod."""

    def opened(self, deployed: Deployed, shell: str) -> list[dict[str, Any]]:
        """The events of a shell that came by way of an agent."""
        return [
            each
            for each in self.service.events("opened")
            if (each["k8s.cluster.name"], each["process.pid"]) == (str(deployed), self.shells[shell])
        ]

    def has_opened(self, deployed: Deployed) -> bool:
        """Whether every shell came by way of an agent."""
        return all(self.opened(deployed, name) for name in self.shells)

    def shell(self, name: str, *within: str) -> None:
        """Start one."""
        self.shells[name] = self.started.start(name, [*within, "bash", "-c", "read -r line; exit"]).pid

    def kill_agents(self) -> None:
        """``unshare`` lets no other signal through."""
        for agent in self.agents:
            agent.kill()

    def coverage(self) -> dict[str, dict[str, Any]]:
        """What the service tells of each node, by the cluster's name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.service.http}/coverage", timeout=10) as reply:
            return {each["cluster"]: each for each in json.load(reply)["worst"]}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    if os.getuid() != 0:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("namespaces and cgroups need root")
    folder = tmp_path_factory.mktemp("agents")
    (folder / "cluster").mkdir()
    with ExitStack() as ends:
        cgroups = Cgroups(folder)
        ends.callback(cgroups.end)
        cluster = Cluster(folder / "cluster")
        ends.callback(cluster.end)
        cluster.done("create", "namespace", NAMESPACE)
        started = Started(folder)
        ends.callback(started.end)
        service = Service(started, "agents", Splunk(started, ack=False))
        found = Run(started, cluster, service, [make(cluster, pod) for pod in PODS])
        ends.callback(found.kill_agents)
        _play(found, cgroups)
        yield found


def _play(run: Run, cgroups: Cgroups) -> None:
    kubeconfig = run.cluster.user("agent", "/CN=agent")
    rules = DEPLOYED[0].values["clusterRole"]["rules"]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "agent"},
    }
    run.cluster.done("create", "--filename=-", given=role | {"rules": rules})
    run.cluster.done("create", "clusterrolebinding", "agent", "--clusterrole=agent", "--user=agent")
    for deployed in DEPLOYED:
        run.agents.append(_start(run, deployed, kubeconfig))
    until("every agent has sent", lambda: len(run.coverage()) == len(DEPLOYED), 60, every_s=1)
    run.shell("machine")
    for made in run.pods:
        run.shell(made.pod.name, *cgroups.within(made.cgroup))
    for deployed in DEPLOYED:
        until(f"{deployed}: every shell is told", partial(run.has_opened, deployed), 90, every_s=0.5)


def _start(run: Run, deployed: Deployed, kubeconfig: Path) -> subprocess.Popen[bytes]:
    """The collector with what the values say, but for the places: a pod's are not those of this machine."""
    folder = run.started.folder / str(deployed)
    (folder / "hostfs/proc").mkdir(parents=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(moved(deployed.configuration, folder)))
    known = {
        "MY_POD_IP": "127.0.0.1",
        "K8S_NODE_NAME": NODE,
        "K8S_CLUSTER_NAME": str(deployed),
        "OTEL_SHELL_DETECTOR": f"127.0.0.1:{run.service.port}",
    }
    environment = (
        os.environ | {name: known[name] for name in deployed.variables} | {"KUBECONFIG": str(kubeconfig)}
    )
    may = ",".join(f"+{each}" for each in sorted(deployed.capabilities))
    command: list[str | bytes | Path] = [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
        *("sh", "-c", _IN_A_CONTAINER, folder / "hostfs/proc"),
        *("setpriv", f"--bounding-set=-all,{may}", "--inh-caps=-all"),
        *(peer("collector-agent"), "--config", path),
    ]
    return run.started.start(str(deployed), command, environment)
