"""Paths relative to the cgroup namespace of the reader, as a collector in a pod sees them."""

from __future__ import annotations

from typing import Final

from detector.cgroup import CgroupBasis as Basis
from tests.detector.testdata.cgroups import (
    A_,
    BEST,
    CAPTURED_V1,
    HOST_PATH,
    HOST_ROOT,
    STATIC,
    A,
    C,
    D,
    Row,
    container,
    cri,
    pod,
    sibling,
    unit,
    unknown,
)

IN_POD: Final = "0::/../../../../init.scope"
"""Pid 1 of a systemd host, read in a container at kubepods.slice/kubepods-burstable.slice/pod.slice/scope."""
CAPTURED: Final = f"{CAPTURED_V1}\n0::/../../.."
"""Pid 1 in the worker-3 capture."""

RELATIVE: Final = (
    Row(
        "containerd, systemd, v2, other QoS",
        "worker-3 capture, as read",
        f"{CAPTURED_V1}\n0::/../../{BEST}/cri-containerd-{C}.scope",
        pod(),
        CAPTURED,
    ),
    Row(
        "containerd, systemd, v2, guaranteed",
        "worker-3 capture",
        f"0::/../../kubepods-pod{A_}.slice/cri-containerd-{C}.scope",
        pod(),
        CAPTURED,
    ),
    Row(
        "containerd, systemd, v2, same QoS",
        "Inspektor Gadget pull 3085",
        f"0::/../../kubepods-burstable-pod{A_}.slice/cri-containerd-{C}.scope",
        pod(),
    ),
    Row(
        "containerd, systemd, v2, from the root",
        "Inspektor Gadget pull 3085, one level more",
        f"0::/../../../kubepods-burstable.slice/kubepods-burstable-pod{A_}.slice/cri-containerd-{C}.scope",
        pod(),
    ),
    Row(
        "CRI-O with crun, systemd, v2",
        "OpenShift 4.16: the reader is in a subgroup",
        f"0::/../../../kubepods-burstable-pod{A_}.slice/crio-{C}.scope/container",
        pod(),
    ),
    Row(
        "CRI-O conmon, systemd, v2",
        "OpenShift, conmon_cgroup = pod",
        f"0::/../../kubepods-burstable-pod{A_}.slice/crio-conmon-{C}.scope",
        unit(f"crio-conmon-{C}.scope", f"kubepods-burstable-pod{A_}.slice", Basis.MONITOR),
    ),
    Row(
        "kind, containerd, systemd, v2",
        "kind 0.20, collector as a DaemonSet",
        f"0::/../../../kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{A_}.slice"
        f"/cri-containerd-{C}.scope",
        pod(),
    ),
    Row(
        "containerd, colons, v1",
        "containerd 1.6 with a private namespace",
        f"1:name=systemd:/../kubepods-besteffort-pod{A_}.slice:cri-containerd:{C}",
        pod(),
    ),
    Row(
        "containerd, cgroupfs, v2, same QoS",
        "Docker 27, minikube; Dynatrace fixtures",
        f"0::/../../pod{STATIC}/{C}",
        pod(STATIC),
    ),
    Row(
        "containerd, cgroupfs, v2, same QoS",
        "minikube; a UUID",
        f"0::/../../pod{A}/{C}",
        pod(),
    ),
    Row(
        "containerd, cgroupfs, v2, other QoS",
        "GKE: from besteffort to burstable",
        f"0::/../../../burstable/pod{A}/{C}",
        pod(),
    ),
    Row(
        "containerd, cgroupfs, v2, guaranteed",
        "GKE: from besteffort up",
        f"0::/../../../pod{A}/{C}",
        pod(),
    ),
    Row(
        "containerd, cgroupfs, v2, names cut short",
        "as documentation writes it: placed, but no id is made up",
        "0::/../../podB/c2",
        pod("", ""),
    ),
    Row(
        "pod without a container, cgroupfs, v2",
        "a shim in the pod's cgroup",
        f"0::/../../pod{A}",
        pod(A, ""),
    ),
    Row(
        "containerd, systemd, v2, same pod",
        "ephemeral container beside its target",
        f"0::/../cri-containerd-{C}.scope",
        cri(),
    ),
    Row(
        "CRI-O, systemd, v2, same pod",
        "oc debug beside its target",
        f"0::/../crio-{C}.scope",
        cri(),
    ),
    Row(
        "containerd, cgroupfs, v2, same pod",
        "GKE, a sidecar; pid 1 unseen",
        f"0::/../{C}",
        sibling(),
    ),
    Row(
        "containerd, cgroupfs, v2, same pod",
        "GKE, a sidecar; pid 1 three levels above: kubepods, pod, container",
        f"0::/../{C}",
        sibling(),
        "0::/../../..",
    ),
    Row(
        "Docker (cri-dockerd), systemd, v2, same pod",
        "minikube",
        f"0::/../docker-{C}.scope",
        sibling(),
        IN_POD,
    ),
    Row(
        "Docker, cgroupfs, v2, no Kubernetes",
        "a collector in Docker: /docker/<id> is two levels deep",
        f"0::/../{C}",
        container(),
        "0::/../../init.scope",
    ),
    Row(
        "Docker, systemd, v2, no Kubernetes",
        "a collector in Docker: system.slice/docker-<id>.scope",
        f"0::/../docker-{C}.scope",
        container(C, f"docker-{C}.scope"),
        "0::/../../init.scope",
    ),
    Row(
        "Docker, systemd, v2, on a node",
        "a container beside Kubernetes, from the root",
        f"0::/../../../../system.slice/docker-{C}.scope",
        container(C, f"docker-{C}.scope", "system.slice"),
        IN_POD,
    ),
    Row(
        "a container further off, v2",
        "pid 1 unseen: of a pod or not",
        f"0::/../../{C}",
        unknown(Basis.AMBIGUOUS, C),
    ),
    Row(
        "Docker in another pod, cgroupfs, v2",
        "GitLab runner with docker:dind",
        f"0::/../../pod{A}/{C}/docker/{D}",
        pod(),
    ),
    Row(
        "systemd, v2, from the root",
        "worker-3 capture: cron",
        "0::/../../../system.slice/cron.service",
        unit("cron.service", "system.slice"),
        CAPTURED,
    ),
    Row(
        "systemd, v2, from the root",
        "kubeadm, burstable collector; pid 1 unseen",
        "0::/../../../../system.slice/cron.service",
        unit("cron.service", "system.slice"),
    ),
    Row(
        "systemd, v2, session",
        "worker-3 capture: ssh",
        "0::/../../../user.slice/user-1002.slice/session-9.scope",
        unit("session-9.scope", "user-1002.slice"),
        CAPTURED,
    ),
    Row(
        "systemd, v2, a user's own cgroup",
        "systemd-run --user: made up by a user",
        f"0::/../../../../user.slice/user-1000.slice/user@1000.service/app.slice/kubepods-pod{A_}.slice"
        f"/cri-containerd-{C}.scope",
        unit("user@1000.service", "user-1000.slice"),
        IN_POD,
    ),
    Row(
        "systemd, v2, kubelet's slice",
        "worker-3 capture: ATTACK",
        "0::/../../../kubelet.slice",
        unit("", "kubelet.slice"),
        CAPTURED,
    ),
    Row("systemd, v2, pid 1", "kubeadm", IN_POD, unit("init.scope"), IN_POD),
    Row(
        "systemd, v2, beside a service",
        "ProtectControlGroups=private, systemd 257",
        "0::/../cron.service",
        unit("cron.service"),
        "0::/../../init.scope",
    ),
    Row("no systemd, v2, the root", "worker-3 capture: pid 1's place", CAPTURED, HOST_ROOT, CAPTURED),
    Row("no systemd, v2, the root or below", "pid 1 unseen", "0::/../../..", unknown(Basis.ROOT)),
    Row("a level above the reader, v2", "the reader's pod", "0::/..", unknown(Basis.ROOT), CAPTURED),
    Row("no systemd, v2, from the root", "Alpine", "0::/../../../openrc.crond", HOST_PATH, CAPTURED),
    Row(
        "no systemd, v2, from where",
        "Alpine, pid 1 unseen",
        "0::/../../../openrc.crond",
        unknown(Basis.AMBIGUOUS),
    ),
    Row(
        "pid 1 of another reader, v2",
        "two collectors on one node: a depth too small is none",
        "0::/../../../openrc.crond",
        unknown(Basis.AMBIGUOUS),
        "0::/init.scope",
    ),
    Row("QoS level, v2", "kubelet's own", "0::/../../../burstable", unknown(Basis.AMBIGUOUS), IN_POD),
    Row(
        "containerd, cgroupfs, v1, relative",
        "a private namespace on v1: a depth for each hierarchy",
        f"4:memory:/../{C}\n3:cpuset:/",
        container(),
        "4:memory:/../..\n3:cpuset:/../../../..",
    ),
)
