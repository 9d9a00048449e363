"""The agents as their charts run them: from a shell of this machine to the HEC server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.collector.pods import NAMESPACE, PODS, Pod
from tests.collector.values import DEPLOYED, Deployed

if TYPE_CHECKING:
    from tests.collector.conftest import Run

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

each_deployed = pytest.mark.parametrize("deployed", DEPLOYED, ids=str)


@each_deployed
def test_a_shell_arrives_with_what_its_profile_knows_of_its_parent(run: Run, deployed: Deployed) -> None:
    [event] = run.opened(deployed, "machine")
    told = {
        name: event.get(name)
        for name in (
            "host.name",
            "k8s.node.name",
            "process.executable.name",
            "process.executable.path",
            "process.command_line",
            "process.owner",
            "context_basis",
            "process.parent.executable.name",
        )
    }
    parent = Path("/proc/self/comm").read_text().strip()
    assert told == {
        "host.name": "worker-5",
        "k8s.node.name": "worker-5",
        "process.executable.name": "bash",
        "process.executable.path": str(Path(f"/proc/{run.shells['machine']}/exe").readlink()),
        "process.command_line": "bash -c read -r line; exit",
        "process.owner": "root",
        "context_basis": "same_request" if deployed.profile == "full" else "absent",
        "process.parent.executable.name": parent if deployed.profile == "full" else None,
    }


@each_deployed
def test_coverage_tells_what_its_profile_sends(run: Run, deployed: Deployed) -> None:
    node = run.coverage()[str(deployed)]
    seen = (node["memory_utilization"], node["pid_1"], "parents_unknown" in node["concerns"])
    assert seen == (True, True, deployed.profile == "lean")


@each_deployed
@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod.owner[0])
def test_a_shell_in_a_pod_arrives_with_the_names_of_its_workload(
    run: Run, deployed: Deployed, pod: Pod
) -> None:
    [event] = run.opened(deployed, pod.name)
    [made] = [each for each in run.pods if each.pod is pod]
    of_cluster = {"k8s.cluster.name": str(deployed), "k8s.node.name": "worker-5"}
    names = {name: event[name] for name in event if name.startswith(("k8s.", "container."))}
    names.pop("container.init", None)
    assert names == made.labels | of_cluster
    assert (event["shell.placement"], event["risk_object"]) == (
        "pod",
        f"{deployed}/{NAMESPACE}/{pod.workload}",
    )


@each_deployed
def test_the_server_takes_a_pod_of_these_values(run: Run, deployed: Deployed) -> None:
    pod = deployed.pod
    container = {
        "name": "collector",
        "image": "collector",
        "env": pod["extraEnvs"],
        "securityContext": pod["securityContext"],
        "volumeMounts": pod["extraVolumeMounts"],
        "resources": pod.get("resources", {}),
    }
    placed: dict[str, Any] = {
        key: pod[key] for key in ("tolerations", "nodeSelector", "affinity") if key in pod
    }
    spec = {"containers": [container], "volumes": pod["extraVolumes"], **placed}
    given: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent"}, "spec": spec}
    strictly = ("--dry-run=server", "--validate=strict", f"--namespace={NAMESPACE}")
    said = run.cluster.done("create", *strictly, "--filename=-", given=given)
    assert said == "pod/agent created (server dry run)\n"


@each_deployed
def test_nothing_is_refused_to_the_agent(run: Run, deployed: Deployed) -> None:
    complaints = [line for line in run.started.log(str(deployed)).splitlines() if "\tinfo\t" not in line]
    assert complaints == []
