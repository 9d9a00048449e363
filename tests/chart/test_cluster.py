"""A real API server, with PodSecurity `restricted` enforced, takes all that the chart makes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from tests.chart.helm import CHART, NAMESPACE, RELEASE, VALUES, named, objects, only

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chart.cluster import Cluster

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]


def pod_of(rendered: list[dict[str, Any]]) -> dict[str, Any]:
    template = only(rendered, "StatefulSet", "Deployment")["spec"]["template"]
    pod = copy.deepcopy(template)
    claims = only(rendered, "StatefulSet", "Deployment")["spec"].get("volumeClaimTemplates", [])
    pod["spec"]["volumes"] += [
        {"name": each["metadata"]["name"], "persistentVolumeClaim": {"claimName": "any"}} for each in claims
    ]
    return {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": pod["metadata"] | {"name": "made"}}


@pytest.mark.parametrize("values", VALUES, ids=named)
def test_a_release_is_installed_upgraded_rolled_back_and_removed(cluster: Cluster, values: Path) -> None:
    rendered = objects(values)
    at = ("--namespace", NAMESPACE)
    cluster.helm("install", RELEASE, CHART, *at, "--values", values)
    workload = only(rendered, "StatefulSet", "Deployment")
    resource = (workload["kind"].lower(), workload["metadata"]["name"], "--namespace=" + NAMESPACE)
    first = cluster.got(*resource)
    cluster.helm("upgrade", RELEASE, CHART, *at, "--values", values, "--set", "config.log.level=debug")
    second = cluster.got(*resource)
    cluster.helm("rollback", RELEASE, "1", *at)
    third = cluster.got(*resource)
    cluster.helm("uninstall", RELEASE, *at)
    left = [
        each["kind"]
        for each in cluster.got(
            "all,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets,servicemonitors,podmonitors,"
            "prometheusrules",
            f"--selector=app.kubernetes.io/instance={RELEASE}",
            "--namespace=" + NAMESPACE,
        )["items"]
    ]
    sums = [
        each["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for each in (first, second, third)
    ]
    assert (sums[0] != sums[1], sums[0] == sums[2], left) == (True, True, [])


@pytest.mark.parametrize("values", VALUES, ids=named)
def test_the_server_validates_each_object_without_a_warning(cluster: Cluster, values: Path) -> None:
    rendered = objects(values)
    whole = {"apiVersion": "v1", "kind": "List", "items": rendered}
    strictly = ("--dry-run=server", "--validate=strict", "--warnings-as-errors")
    said = cluster.done("apply", *strictly, f"--namespace={NAMESPACE}", "--filename=-", given=whole)
    assert len(said.splitlines()) == len(rendered)


@pytest.mark.parametrize("values", VALUES, ids=named)
def test_the_pod_is_admitted_and_a_loosened_one_is_not(cluster: Cluster, values: Path) -> None:
    pod = pod_of(objects(values))
    create = ("create", "--dry-run=server", "--validate=strict", f"--namespace={NAMESPACE}", "--filename=-")
    admitted = cluster.done(*create, given=pod)
    loosened = copy.deepcopy(pod)
    loosened["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    refused = cluster.kubectl(*create, given=loosened)
    assert admitted == "pod/made created (server dry run)\n"
    assert refused.returncode == 1
    assert 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false' in refused.stderr
