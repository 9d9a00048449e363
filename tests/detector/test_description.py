"""Names that the collector gave a shell are believed only if they can be its own."""

from __future__ import annotations

import pytest

from detector.context import Cgroup, Placement
from detector.description import describe
from detector.types import Evidence

UID, OTHER = "0f5c0e0e-1111-2222-3333-444444444444", "9a9a9a9a-1111-2222-3333-444444444444"
STATIC = "ab" * 16
NAMES = (("k8s.namespace.name", "shop"), ("k8s.pod.name", "web-1"))


@pytest.mark.parametrize(
    ("cgroup", "uid", "are_its_own"),
    [
        (Cgroup(Placement.POD, "pod", UID), UID, True),
        (Cgroup(Placement.POD, "pod", UID), OTHER, False),  # the agent's, by the address of its connection
        (Cgroup(Placement.POD, "pod", UID), "", True),
        (Cgroup(Placement.POD, "pod", STATIC), OTHER, True),  # the uid of the mirror pod
        (Cgroup(Placement.POD, "cri_container"), OTHER, True),
        (Cgroup(), OTHER, True),
        (Cgroup(Placement.HOST, "unit", unit="cron.service"), OTHER, False),
        (Cgroup(Placement.HOST, "unit", unit="cron.service"), "", False),
    ],
)
def test_a_shell_has_the_names_of_its_own_pod_and_of_no_other(
    cgroup: Cgroup, uid: str, *, are_its_own: bool
) -> None:
    labels = (*NAMES, ("k8s.pod.uid", uid)) if uid else NAMES
    context = describe("sh", Evidence(cgroup=cgroup, labels=labels))
    assert context.labels == (labels if are_its_own else ())
