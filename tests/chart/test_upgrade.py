"""A release of an earlier chart goes on with the same volume, and what cannot be changed is refused.

There is no controller here: claims are not made, and their names are put together as the controller does.
What may change, the real API server decides.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.chart.helm import CHART, NAMESPACE, RELEASE, helm, objects, only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chart.cluster import Cluster

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

FROZEN: Final = Path(__file__).with_name("testdata") / "statefulset-0.1.0.yaml"
MINIMAL: Final = CHART / "ci/minimal-values.yaml"
AT: Final = ("--namespace", NAMESPACE)
NAME: Final = f"{RELEASE}-otel-shell-detector"
MAY_CHANGE: Final = {
    "template",
    "replicas",
    "ordinals",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
}
"""Of a StatefulSet's spec, as the API server says in its refusal (below)."""


def immutable(stateful_set: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stateful_set["spec"].items() if key not in MAY_CHANGE}


def claims(stateful_set: dict[str, Any]) -> list[str]:
    templates = stateful_set["spec"]["volumeClaimTemplates"]
    return [f"{each['metadata']['name']}-{stateful_set['metadata']['name']}-0" for each in templates]


def packaged(folder: Path, version: str) -> str:
    """The archive of a chart."""
    chart = yaml.safe_load((folder / "Chart.yaml").read_text()) | {"version": version, "appVersion": version}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
    made = helm("package", folder, "--destination", folder.parent)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip().rpartition(" ")[2]


@pytest.fixture
def released(cluster: Cluster) -> Iterator[Cluster]:
    yield cluster
    cluster.helm("uninstall", RELEASE, *AT)


def current(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.got("statefulset", NAME, f"--namespace={NAMESPACE}")
    return found


def test_what_cannot_change_is_what_it_was_in_the_first_version() -> None:
    now, before = only(objects(MINIMAL), "StatefulSet"), yaml.safe_load(FROZEN.read_text())
    assert (immutable(now), claims(now)) == (immutable(before), claims(before))
    assert claims(now) == ["state-sd-otel-shell-detector-0"]


def test_a_release_of_the_first_version_is_upgraded_and_rolled_back(
    released: Cluster, tmp_path: Path
) -> None:
    """Its StatefulSet is the one on record, whatever the templates of today say."""
    first = tmp_path / "otel-shell-detector"
    (first / "templates").mkdir(parents=True)
    shutil.copy(FROZEN, first / "templates")
    (first / "Chart.yaml").write_text("{apiVersion: v2, name: otel-shell-detector}")
    released.helm("install", RELEASE, packaged(first, "0.1.0-first"), *AT)
    before = current(released)
    released.helm("upgrade", RELEASE, CHART, *AT, "--values", MINIMAL)
    after = current(released)
    released.helm("rollback", RELEASE, "1", *AT)
    back = current(released)
    assert [immutable(each) for each in (after, back)] == [immutable(before)] * 2
    assert {each["metadata"]["uid"] for each in (before, after, back)} == {before["metadata"]["uid"]}


def test_the_next_version_of_the_chart_changes_nothing_that_cannot_change(
    released: Cluster, tmp_path: Path
) -> None:
    """A version in a label of the claims or of the selector would end every upgrade."""
    for name in ("now", "next"):
        shutil.copytree(CHART, tmp_path / name)
    released.helm("install", RELEASE, packaged(tmp_path / "now", "0.1.0"), *AT, "--values", MINIMAL)
    before = current(released)
    released.helm("upgrade", RELEASE, packaged(tmp_path / "next", "99.0.0"), *AT, "--values", MINIMAL)
    after = current(released)
    assert (immutable(after), claims(after)) == (immutable(before), claims(before))
    images = [each["spec"]["template"]["spec"]["containers"][0]["image"] for each in (before, after)]
    assert images == ["otel-shell-detector:0.1.0", "otel-shell-detector:99.0.0"]


def test_a_larger_volume_is_refused_until_the_stateful_set_is_made_anew(released: Cluster) -> None:
    """The steps of UPGRADING.md."""
    values = ("--values", MINIMAL)
    released.helm("install", RELEASE, CHART, *AT, *values)
    before = current(released)
    larger = ("--set", "persistence.size=5Gi")
    refused = helm("upgrade", RELEASE, CHART, *AT, *values, *larger, f"--kubeconfig={released.kubeconfig}")
    mentioned = {each.strip(" ',") for each in refused.stderr.replace("and", "").split("'")}
    assert refused.returncode == 1
    assert "spec: Forbidden: updates to statefulset spec for fields other than" in refused.stderr
    assert mentioned >= MAY_CHANGE
    at = f"--namespace={NAMESPACE}"
    released.done("delete", "statefulset", NAME, "--cascade=orphan", "--wait=false", at)
    # What the garbage collector does when it has let go of the pod.
    released.done(
        "patch", "statefulset", NAME, at, "--type=merge", '--patch={"metadata":{"finalizers":null}}'
    )
    released.helm("upgrade", RELEASE, CHART, *AT, *values, *larger)
    after = current(released)
    [template] = after["spec"]["volumeClaimTemplates"]
    assert template["spec"]["resources"] == {"requests": {"storage": "5Gi"}}
    assert (claims(after), after["spec"]["selector"]) == (claims(before), before["spec"]["selector"])
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


def test_state_moves_between_memory_and_a_volume_by_an_upgrade(released: Cluster) -> None:
    """A Deployment and a StatefulSet of one name: the one goes, the other comes."""
    values = ("--values", MINIMAL)
    kinds = []
    released.helm("install", RELEASE, CHART, *AT, *values)
    for ephemeral in ("true", "false"):
        released.helm("upgrade", RELEASE, CHART, *AT, *values, "--set", f"config.state.ephemeral={ephemeral}")
        found = released.got("statefulsets,deployments", f"--namespace={NAMESPACE}")["items"]
        kinds.append([each["kind"] for each in found])
    assert kinds == [["Deployment"], ["StatefulSet"]]


def test_a_volume_is_not_taken_from_or_given_to_a_running_stateful_set(released: Cluster) -> None:
    values = ("--values", MINIMAL)
    released.helm("install", RELEASE, CHART, *AT, *values)
    refused = helm(
        "upgrade", RELEASE, CHART, *AT, *values, "--set", "persistence.enabled=false",
        f"--kubeconfig={released.kubeconfig}",
    )  # fmt: skip
    assert refused.returncode == 1
    assert "spec: Forbidden: updates to statefulset spec for fields other than" in refused.stderr


def test_two_releases_live_in_one_namespace(released: Cluster) -> None:
    values = ("--values", MINIMAL)
    released.helm("install", RELEASE, CHART, *AT, *values)
    released.helm("install", "other.one", CHART, *AT, *values)
    found = released.got("statefulsets", f"--namespace={NAMESPACE}")["items"]
    released.helm("uninstall", "other.one", *AT)
    left = released.got("statefulsets", f"--namespace={NAMESPACE}")["items"]
    names = [sorted(each["metadata"]["name"] for each in items) for items in (found, left)]
    assert names == [["other-one-otel-shell-detector", NAME], [NAME]]
