"""What becomes of a pod and its volume, by the real StatefulSet controller and garbage collector.

No kubelet and no provisioner: the pod stays pending, its claim unbound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.chart.helm import CHART, NAMESPACE, RELEASE
from tests.chart.test_upgrade import first_version
from tests.e2e.processes import Started, peer, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chart.cluster import Cluster

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

AT: Final = ("--namespace", NAMESPACE)
SPACE: Final = f"--namespace={NAMESPACE}"
NAME: Final = f"{RELEASE}-otel-shell-detector"
CLAIM: Final = f"state-{NAME}-0"
VALUES: Final = ("--values", CHART / "ci/minimal-values.yaml")


@pytest.fixture(scope="module")
def controlled(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Started(tmp_path_factory.mktemp("controllers"))
    started.start(
        "controllers",
        [
            peer("kube-controller-manager"), f"--kubeconfig={cluster.kubeconfig}", "--leader-elect=false",
            "--controllers=statefulset-controller,garbage-collector-controller", "--secure-port=0",
        ],
    )  # fmt: skip
    try:
        yield cluster
    finally:
        started.end()


def pod(cluster: Cluster) -> dict[str, Any]:
    """The release's pod, empty while there is none."""
    items = cluster.got("pods", SPACE, f"--selector=app.kubernetes.io/instance={RELEASE}")["items"]
    alive = [each for each in items if "deletionTimestamp" not in each["metadata"]]
    return alive[0] if alive else {}


def uid(thing: dict[str, Any]) -> str:
    found: str = thing.get("metadata", {}).get("uid", "")
    return found


def claim_of(thing: dict[str, Any]) -> list[str]:
    volumes = thing["spec"]["volumes"]
    return [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]


def test_the_pod_of_the_next_version_gets_the_claim_of_the_first(controlled: Cluster, tmp_path: Path) -> None:
    controlled.helm("install", RELEASE, first_version(tmp_path), *AT)
    until("the first pod is made", lambda: bool(pod(controlled)), 60)
    first, claim = pod(controlled), controlled.got("pvc", CLAIM, SPACE)
    controlled.helm("upgrade", RELEASE, CHART, *AT, *VALUES, "--set", "config.log.level=debug")
    until("the next pod is made", lambda: uid(pod(controlled)) not in {"", uid(first)}, 60)
    second = pod(controlled)
    assert (claim_of(first), claim_of(second)) == ([CLAIM], [CLAIM])
    assert uid(controlled.got("pvc", CLAIM, SPACE)) == uid(claim)

    # Its StatefulSet is made anew for a larger volume, as UPGRADING.md tells.
    controlled.done("delete", "statefulset", NAME, SPACE, "--cascade=orphan")
    larger = ("--set", "config.log.level=debug", "--set", "persistence.size=5Gi")
    controlled.helm("upgrade", RELEASE, CHART, *AT, *VALUES, *larger)
    anew = controlled.got("statefulset", NAME, SPACE)
    [template] = anew["spec"]["volumeClaimTemplates"]
    assert template["spec"]["resources"] == {"requests": {"storage": "5Gi"}}

    def adopted() -> bool:
        return [each["uid"] for each in pod(controlled)["metadata"].get("ownerReferences", ())] == [uid(anew)]

    until("the pod has a new owner", adopted, 60)
    assert uid(pod(controlled)) == uid(second)

    controlled.helm("uninstall", RELEASE, *AT)
    until("the pod is gone", lambda: not pod(controlled), 60)
    assert uid(controlled.got("pvc", CLAIM, SPACE)) == uid(claim)
    controlled.done("delete", "pvc", CLAIM, SPACE, "--wait=false")
