"""Values of ``process.cgroup`` as runtimes write them, each with where its form is from.

The forms are real; uids and ids are put in by name, so that a row shows its form.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from detector.cgroup import TEXT_LIMIT
from detector.cgroup import CgroupBasis as Basis
from detector.context import Cgroup, Placement

A: Final = "3f1c9a52-8d7e-4b0a-9c61-5e2f7a40d913"
A_: Final = A.replace("-", "_")
B: Final = "dfd874dc-ab52-4793-af47-d06b78b68337"
STATIC: Final = "e039200acb850c82bb901653cc38ff6e"
"""The uid of a static pod: a hash of its manifest, never made a UUID."""
C: Final = "9b1e0f6c2d3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"
D: Final = "58452031ab6dcaa4fe3ff91f8a46fd41a4a2405586f3cf3d5cb9c93b5bcf62cc"
SHORT: Final = "d9087097fb775b02cb6375bd884a52251fae9d65836274e609806eff1427e6"


def pod(uid: str = A, container_id: str = C, basis: str = Basis.POD) -> Cgroup:
    return Cgroup(Placement.POD, basis, uid, container_id)


def cri(container_id: str = C) -> Cgroup:
    return pod("", container_id, Basis.CRI_CONTAINER)


def sibling(container_id: str = C) -> Cgroup:
    return pod("", container_id, Basis.SIBLING)


def unit(name: str, slice_: str = "", basis: str = Basis.UNIT, container_id: str = "") -> Cgroup:
    return Cgroup(Placement.HOST, basis, container_id=container_id, unit=name, slice=slice_)


def container(container_id: str = C, name: str = "", slice_: str = "") -> Cgroup:
    return unit(name, slice_, Basis.CONTAINER, container_id)


def unknown(basis: str, container_id: str = "") -> Cgroup:
    return Cgroup(Placement.UNKNOWN, basis, container_id=container_id)


HOST_PATH: Final = Cgroup(Placement.HOST, Basis.HOST_PATH)
HOST_ROOT: Final = Cgroup(Placement.HOST, Basis.HOST_ROOT)


class Row(NamedTuple):
    """``made_by``: runtime, driver, cgroup version. ``seen_in``: where the form is from."""

    made_by: str
    seen_in: str
    text: str
    expected: Cgroup
    init: str = ""


def v1(path: str, *others: str) -> str:
    """A file of version 1 whose hierarchies agree, but for the lines given."""
    names = (
        "hugetlb",
        "cpuset",
        "net_cls,net_prio",
        "blkio",
        "pids",
        "cpu,cpuacct",
        "memory",
        "name=systemd",
    )
    agreeing = [f"{len(names) - at}:{name}:{path}" for at, name in enumerate(names)]
    return "\n".join([*others, *agreeing])


CAPTURED_V1: Final = "\n".join(
    f"{number}:{name}:/"
    for number, name in zip(
        range(9, 0, -1),
        ("name=systemd", "pids", "blkio", "freezer", "devices", "memory", "cpuset", "cpuacct", "cpu"),
        strict=True,
    )
)


def cut_behind(path: str) -> str:
    """A text that is as long as what is read, and ends with a path."""
    return "0::/".ljust(TEXT_LIMIT - len(path), "a") + path


SYSTEMD_POD: Final = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{A_}.slice"
BEST: Final = f"kubepods-besteffort.slice/kubepods-besteffort-pod{A_}.slice"
KIND: Final = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice"

ABSOLUTE: Final = (
    # systemd driver
    Row(
        "containerd, systemd, v2",
        "kubeadm, EKS on AL2023; worker-2 capture",
        f"0::{SYSTEMD_POD}/cri-containerd-{C}.scope",
        pod(),
    ),
    Row(
        "containerd, systemd, v2 beside empty v1",
        "worker-1 capture, as read",
        f"{CAPTURED_V1}\n0::{SYSTEMD_POD}/cri-containerd-{C}.scope",
        pod(),
    ),
    Row(
        "containerd, systemd, v2, guaranteed",
        "worker-2 capture",
        f"0::/kubepods.slice/kubepods-pod{A_}.slice/cri-containerd-{C}.scope",
        pod(),
    ),
    Row(
        "containerd, systemd, v2, besteffort",
        "colima with k3s, cryptnono issue 47",
        f"0::/kubepods.slice/{BEST}/cri-containerd-{C}.scope",
        pod(),
    ),
    Row(
        "containerd, systemd, v2, static pod",
        "kubeadm control plane; Dynatrace fixtures",
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{C}.scope",
        pod(STATIC),
    ),
    Row(
        "CRI-O, systemd, v2",
        "OpenShift 4.14, RHCOS; containerd/nri pull 227",
        f"0::{SYSTEMD_POD}/crio-{C}.scope",
        pod(),
    ),
    Row(
        "CRI-O with crun, systemd, v2",
        "crun puts the process into a subgroup; OpenShift 4.16",
        f"0::{SYSTEMD_POD}/crio-{C}.scope/container",
        pod(),
    ),
    Row(
        "CRI-O, systemd, v2, sandbox",
        "OpenShift; containerd/nri pull 227: a sandbox without .scope",
        f"0::{SYSTEMD_POD}/crio-{C}",
        pod(),
    ),
    Row(
        "CRI-O, systemd, v1",
        "OpenShift 4.6; spire issue 4088, arm64",
        v1(f"/kubepods.slice/{BEST}/crio-{C}.scope"),
        pod(),
    ),
    Row(
        "CRI-O conmon, systemd, v2",
        "OpenShift, conmon_cgroup = pod; it runs in the host's namespaces",
        f"0::{SYSTEMD_POD}/crio-conmon-{C}.scope",
        unit(f"crio-conmon-{C}.scope", f"kubepods-burstable-pod{A_}.slice", Basis.MONITOR),
    ),
    Row(
        "CRI-O conmon, systemd, v2, default",
        "minikube with CRI-O; conmon_cgroup = system.slice",
        f"0::/system.slice/crio-conmon-{C}.scope",
        unit(f"crio-conmon-{C}.scope", "system.slice", Basis.MONITOR),
    ),
    Row(
        "Docker (cri-dockerd), systemd, v1",
        "spire issue 949, CentOS 7",
        v1(f"/kubepods.slice/{BEST}/docker-{C}.scope"),
        pod(),
    ),
    Row(
        "Docker (cri-dockerd), systemd, v2",
        "minikube --driver=none, Ubuntu 22.04",
        f"0::{SYSTEMD_POD}/docker-{C}.scope",
        pod(),
    ),
    Row(
        "containerd, systemd kubelet and cgroupfs runtime, v1",
        "Ubuntu 20.04, kubernetes 1.27: an id without a scope",
        v1(f"/kubepods.slice/{BEST}/{C}"),
        pod(),
    ),
    Row(
        "kind, containerd, systemd, v2",
        "kind 0.20 node image: kubelet's cgroup root is kubelet",
        f"0::{KIND}/kubelet-kubepods-burstable-pod{A_}.slice/cri-containerd-{C}.scope",
        pod(),
    ),
    Row(
        "kind, containerd, systemd, v2, static pod",
        "kind control plane; cri-dockerd tests",
        f"0::{KIND}/kubelet-kubepods-burstable-pod{STATIC}.slice/cri-containerd-{C}.scope",
        pod(STATIC),
    ),
    Row(
        "kind on a host, seen from that host, v2",
        "Docker 24 with systemd holds the node",
        f"0::/system.slice/docker-{D}.scope{KIND}/kubelet-kubepods-burstable-pod{A_}.slice/cri-containerd-{C}.scope",
        pod(),
    ),
    Row(
        "custom --cgroup-root, systemd, v2",
        "a dash in the root's name is an underscore in units",
        f"0::/my_root.slice/my_root-kubepods.slice/my_root-kubepods-pod{A_}.slice/cri-containerd-{C}.scope",
        pod(),
    ),
    # containerd without the systemd driver below a systemd kubelet: colons
    Row(
        "containerd, colons, v1",
        "EKS on AL2, opentelemetry-java issue 4507: hierarchies differ",
        f"11:perf_event:/kubepods-besteffort-pod{A_}.slice:cri-containerd:{C}\n"
        f"10:blkio:/system.slice/containerd.service/kubepods-besteffort-pod{A_}.slice:cri-containerd:{C}\n"
        f"1:name=systemd:/system.slice/containerd.service/kubepods-besteffort-pod{A_}.slice:cri-containerd:{C}\n"
        "0::/system.slice/containerd.service",
        pod(),
    ),
    Row(
        "containerd, colons, v1, one line",
        "elastic/apm pull 508",
        f"1:name=systemd:/system.slice/containerd.service/kubepods-burstable-pod{A_}.slice:cri-containerd:{C}",
        pod(),
    ),
    Row(
        "containerd, colons, v1, no .slice",
        "opentelemetry-cpp's container detector tests",
        f"13:name=systemd:/kuberuntime/containerd/kubepods-pod{A_}:cri-containerd:{C}\n9:cpu:/not-a-container",
        pod(),
    ),
    # cgroupfs driver
    Row(
        "Docker, cgroupfs, v1, burstable",
        "GKE 1.11 (dockershim); spire issue 949",
        v1(f"/kubepods/burstable/pod{A}/{C}"),
        pod(),
    ),
    Row(
        "Docker, cgroupfs, v1, guaranteed",
        "GKE 1.14; spire issue 1535: no QoS directory",
        v1(f"/kubepods/pod{A}/{C}"),
        pod(),
    ),
    Row(
        "containerd, cgroupfs, v1, unset rdma",
        "GKE COS 85; Google Cloud Shell: one hierarchy at its root",
        v1(f"/kubepods/besteffort/pod{STATIC}/{C}", "10:rdma:/"),
        pod(STATIC),
    ),
    Row(
        "containerd, cgroupfs, v2",
        "GKE 1.26 on COS 105",
        f"0::/kubepods/burstable/pod{A}/{C}",
        pod(),
    ),
    Row(
        "containerd, cgroupfs, hybrid",
        "microk8s 1.15, Cilium tests: lines in the daemon's own unit",
        f"12:freezer:/kubepods/besteffort/pod{A}/{SHORT}\n"
        "11:memory:/system.slice/snap.microk8s.daemon-containerd.service\n"
        "10:pids:/system.slice/snap.microk8s.daemon-containerd.service\n"
        "9:rdma:/\n"
        "1:name=systemd:/system.slice/snap.microk8s.daemon-containerd.service\n"
        "0::/system.slice/snap.microk8s.daemon-containerd.service",
        pod(A, SHORT),
    ),
    Row(
        "CRI-O, cgroupfs, v1",
        "Kata documentation: the runtime's name before the id",
        v1(f"/kubepods/besteffort/pod{A}/crio-{C}"),
        pod(),
    ),
    Row(
        "CRI-O conmon, cgroupfs, v1",
        "cri-o's oci.go",
        v1(f"/kubepods/besteffort/pod{A}/crio-conmon-{C}"),
        unit("", "", Basis.MONITOR),
    ),
    Row(
        "k3s, cgroupfs, v2",
        "k3s 1.22 on Fedora 33",
        f"0::/kubepods/besteffort/pod{B}/{C}",
        pod(B),
    ),
    Row(
        "kind, cgroupfs, v2",
        "kind 0.9 on Fedora 33; spire issue 2578",
        f"0::/kubelet/kubepods/besteffort/pod{B}/{C}",
        pod(B),
    ),
    Row(
        "kind, cgroupfs, v1, seen from its host",
        "kind 0.4; spire issue 1081",
        v1(f"/docker/{D}/kubepods/besteffort/pod{B}/{C}"),
        pod(B),
    ),
    Row(
        "Docker Desktop, cgroupfs, v1",
        "docker-for-desktop; spire pull 1547: kubepods twice",
        v1(f"/kubepods/kubepods/besteffort/pod{B}/{C}"),
        pod(B),
    ),
    Row(
        "Kata, cgroupfs, v2",
        "sandbox_cgroup_only: the hypervisor in the pod's cgroup",
        f"0::/kubepods/burstable/pod{A}/kata_{C}",
        pod(A, ""),
    ),
    Row(
        "pod without a container, cgroupfs, v2",
        "containerd-shim with shim_cgroup; gVisor issue 8269",
        f"0::/kubepods/besteffort/pod{A}",
        pod(A, ""),
    ),
    Row(
        "pod without a container, systemd, v2",
        "containerd's shim in the pod's slice",
        f"0::{SYSTEMD_POD}",
        pod(A, ""),
    ),
    # nested
    Row(
        "Docker in a pod, cgroupfs, v1",
        "GitLab runner with docker:dind on GKE",
        v1(f"/kubepods/burstable/pod{A}/{C}/docker/{D}"),
        pod(),
    ),
    Row(
        "Kubernetes in a pod, cgroupfs, v1",
        "kind in Prow: the outer pod is the node's",
        v1(f"/kubepods/burstable/pod{A}/{C}/docker/{D}/kubelet/kubepods/burstable/pod{B}/{D}"),
        pod(),
    ),
    Row(
        "systemd in a pod, systemd, v2",
        "KubeVirt, sysbox: what a container names is not believed",
        f"0::{SYSTEMD_POD}/crio-{C}.scope/system.slice/cron.service",
        pod(),
    ),
    Row(
        "systemd in a pod, its pid 1, v2",
        "kata-containers agent tests",
        f"0::{SYSTEMD_POD}/cri-containerd-{C}.scope/init.scope",
        pod(),
    ),
    # CRI without a pod
    Row(
        "CRI-O, KubeEdge, v1",
        "spire pull 3242: kubelet without cgroups per QoS",
        v1(f"/system.slice/crio-{C}.scope"),
        cri(),
    ),
    Row(
        "containerd, no pod level, systemd, v2",
        "cgroups-per-qos off",
        f"0::/system.slice/cri-containerd-{C}.scope",
        cri(),
    ),
    Row(
        "containerd, no pod level, cgroupfs, v2",
        "Kata guest, Google Cloud Shell: containerd's namespace",
        f"0::/k8s.io/{C}",
        cri(),
    ),
    Row(
        "kind, no pod level, v2",
        "etcd-operator fixtures",
        f"0::/kubelet.slice/kubelet-kubepods.slice/cri-containerd-{C}.scope",
        cri(),
    ),
    Row(
        "Docker, QoS level and id, v1",
        "AWS Batch on EKS",
        v1(f"/kubepods/besteffort/{C}"),
        cri(),
    ),
    Row(
        "tree of the pods, v1",
        "kubelet's own directory; a process there is in no pod",
        v1("/kubepods/besteffort"),
        unknown(Basis.AMBIGUOUS),
    ),
    # containers without Kubernetes
    Row(
        "Docker, systemd, v2",
        "Docker 24 on Debian 12",
        f"0::/system.slice/docker-{C}.scope",
        container(C, f"docker-{C}.scope", "system.slice"),
    ),
    Row(
        "Docker, cgroupfs, v1",
        "Docker 18, Ubuntu 16.04; neuvector tests",
        v1(f"/docker/{C}", "0::/system.slice/containerd.service"),
        container(),
    ),
    Row(
        "systemd in Docker, systemd, v2",
        "the kind node's kubelet, seen from its host",
        f"0::/system.slice/docker-{C}.scope/system.slice/kubelet.service",
        container(C, f"docker-{C}.scope", "system.slice"),
    ),
    Row(
        "podman, systemd, v2",
        "podman 4 as root on Fedora",
        f"0::/machine.slice/libpod-{C}.scope/container",
        container(C, f"libpod-{C}.scope", "machine.slice"),
    ),
    Row(
        "podman conmon, systemd, v2",
        "podman 4 as root",
        f"0::/machine.slice/libpod-conmon-{C}.scope",
        unit(f"libpod-conmon-{C}.scope", "machine.slice", Basis.MONITOR),
    ),
    Row(
        "rootless podman, systemd, v2",
        "a user's own cgroups: an id of theirs is not believed",
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{C}.scope/container",
        unit("user@1000.service", "user-1000.slice"),
    ),
    Row(
        "rootless kind, systemd, v2",
        "a user could as well have made this path up",
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{D}.scope/kubelet/kubepods/pod{A}/{C}",
        unit("user@1000.service", "user-1000.slice"),
    ),
    # hosts
    Row(
        "systemd, v2",
        "worker-1 capture",
        "0::/system.slice/cron.service",
        unit("cron.service", "system.slice"),
    ),
    Row(
        "systemd, v2 beside empty v1",
        "worker-1 capture, as read",
        f"{CAPTURED_V1}\n0::/system.slice/backup.service",
        unit("backup.service", "system.slice"),
    ),
    Row(
        "systemd, v1, hierarchies differ",
        "Ubuntu 18.04 ssh session",
        "12:pids:/user.slice/user-1000.slice/session-4.scope\n11:memory:/user.slice\n10:cpuset:/\n"
        "1:name=systemd:/user.slice/user-1000.slice/session-4.scope\n0::/user.slice/user-1000.slice/session-4.scope",
        unit("session-4.scope", "user-1000.slice"),
    ),
    Row(
        "systemd, v1, a service's subgroup",
        "Ubuntu 18.04, name=systemd decides between units",
        "4:devices:/system.slice\n2:cpu,cpuacct:/system.slice/old.service\n"
        "1:name=systemd:/system.slice/ssh.service\n0::/system.slice/other.service",
        unit("ssh.service", "system.slice"),
    ),
    Row(
        "systemd, v2, a user's manager",
        "Fedora 38: the unit is systemd's, not the user's",
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-kubepods-1.scope",
        unit("user@1000.service", "user-1000.slice"),
    ),
    Row("systemd, v2, pid 1", "any host", "0::/init.scope", unit("init.scope")),
    Row(
        "systemd, v2, template unit",
        "any host",
        "0::/system.slice/system-getty.slice/getty@tty1.service",
        unit("getty@tty1.service", "system-getty.slice"),
    ),
    Row(
        "systemd, v2, escaped unit",
        "serial console of a VM",
        r"0::/system.slice/system-serial\x2dgetty.slice/serial-getty@ttyS0.service",
        unit("serial-getty@ttyS0.service", r"system-serial\x2dgetty.slice"),
    ),
    Row(
        "systemd, v2, reserved name",
        "systemd's cg_escape: a unit named like a controller",
        "0::/system.slice/_cpu.service",
        unit("cpu.service", "system.slice"),
    ),
    Row(
        "systemd, v2, deleted cgroup",
        "kernel: a process that outlived its unit's cgroup",
        "0::/system.slice/backup.service (deleted)",
        unit("backup.service", "system.slice"),
    ),
    Row(
        "systemd, v2, delegated subtree",
        "a service names what is below it; its unit is systemd's",
        "0::/system.slice/gitlab-runner.service/jobs/cron.service",
        unit("gitlab-runner.service", "system.slice"),
    ),
    Row(
        "containerd's shim, v2",
        "any node: it runs on the host",
        "0::/system.slice/containerd.service",
        unit("containerd.service", "system.slice"),
    ),
    Row("kubelet's slice, v2", "worker-2 capture: ATTACK", "0::/kubelet.slice", unit("", "kubelet.slice")),
    Row(
        "machine, systemd, v2",
        "libvirt",
        "0::/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
        unit("machine-qemu\\x2d1\\x2dvm.scope", "machine.slice"),
    ),
    Row("OpenRC, v2", "Alpine 3.18", "0::/openrc.crond", HOST_PATH),
    Row("LXC, v2", "Proxmox VE 8", "0::/lxc.payload.101/init", HOST_PATH),
    Row(
        "IBM Cloud, cgroupfs, v1",
        "containerd issue 3133: podruntime is no pod",
        v1("/podruntime/kubelet"),
        HOST_PATH,
    ),
    Row("podman's parent, cgroupfs, v2", "podman is no pod", "0::/podman", HOST_PATH),
    Row("no systemd, v1, root", "worker-4 capture", f"{CAPTURED_V1}\n0::/", unknown(Basis.ROOT)),
    Row("root, v2", "the reader's own container", "0::/", unknown(Basis.ROOT)),
    Row("root, v2, pid 1 there too", "a host without systemd", "0::/", unknown(Basis.ROOT), "0::/"),
    Row(
        "root, v2, pid 1 elsewhere",
        "a container without a namespace",
        "0::/",
        unknown(Basis.ROOT),
        "0::/init.scope",
    ),
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

HOSTILE: Final = (
    Row("nothing", "a kernel thread's file could not be read", "", Cgroup()),
    Row("no line", "prose", "not a cgroup", unknown(Basis.UNREADABLE)),
    Row("no path", "a line cut before its path", "0::", unknown(Basis.UNREADABLE)),
    Row("no number", "a line cut at its front", f":/kubepods/pod{A}/{C}", unknown(Basis.UNREADABLE)),
    Row("empty names", "slashes", f"0:://kubepods///pod{A}//{C}/", pod()),
    Row("capitals", "no runtime writes them", f"0::/kubepods/pod{A.upper()}/{C.upper()}", pod("", "")),
    Row("mixed separators", "no uid", f"0::/kubepods/pod{A[:13]}_{A[14:]}/{C}", pod("")),
    Row("an id too long", "no id", f"0::/kubepods/pod{A}/{C}0", pod(A, "")),
    Row("an id too short", "no id", f"0::/kubepods/pod{A}/{C[:31]}", pod(A, "")),
    Row("ids of 32", "taken", f"0::/kubepods/pod{A}/{C[:32]}", pod(A, C[:32])),
    Row("32 digits outside of pods", "no container", f"0::/foo/{C[:32]}", HOST_PATH),
    Row(
        "a pod's name in a service",
        "no kubepods in it",
        f"0::/system.slice/app-pod{A_}.slice",
        unit("", f"app-pod{A_}.slice"),
    ),
    Row(
        "a unit's name too long", "no unit", f"0::/system.slice/{'a' * 300}.service", unit("", "system.slice")
    ),
    Row("a unit's name with a blank", "no unit", "0::/system.slice/a b.service", unit("", "system.slice")),
    Row("a carriage return", "no unit", "0::/system.slice/a.service\r", unit("", "system.slice")),
    Row(
        "a line with a uid after one without",
        "the uid tells more",
        f"1:name=systemd:/kubepods/podabc/{D}\n0::/kubepods/pod{A}/{C}",
        pod(),
    ),
    Row(
        "a line with a container after one without",
        "the container tells more",
        f"1:name=systemd:/kubepods/pod{A}\n0::/kubepods/pod{A}/{C}",
        pod(),
    ),
    Row(
        "a line with a unit after one without",
        "the unit tells more",
        "1:name=systemd:/system.slice\n2:memory:/system.slice/a.service",
        unit("a.service", "system.slice"),
    ),
    Row("a QoS level that is none", "pods have one below kubepods", "0::/burstable/podB/c2", HOST_PATH),
    Row("a QoS level, relative", "pods are there", "0::/../../../burstable/podB/c2", pod("", "")),
    Row("a pod that is none", "not where pods are", "0::/../../foo/podB/c2", unknown(Basis.AMBIGUOUS)),
    Row("no dash before the pod", "no pod's slice", f"0::/kubepodspod{A_}", HOST_PATH),
    Row("two containers", "the outer one counts", f"0::/docker/{C}/docker/{D}", container()),
    Row("Docker, cgroupfs, no parent, v1", "Debian 8; neuvector tests", v1(f"/{C}"), container()),
    Row("Docker from the root, pid 1 unseen", "Docker 24", f"0::/../../docker/{C}", container()),
    Row(
        "colons that are no container's",
        "a unit may have two",
        "0::/system.slice/a:b:c.service",
        unit("a:b:c.service", "system.slice"),
    ),
    Row(
        "a bare root beside a relative path",
        "the root is not pid 1's",
        "4:memory:/../a\n0::/",
        unknown(Basis.AMBIGUOUS),
        "0::/init.scope",
    ),
    Row("a part of a uid, outside of pods", "no pod", "0::/podB/c2", HOST_PATH),
    Row("dots in the middle", "a name as any other", "0::/a/../system.slice", HOST_PATH),
    Row(
        "colons",
        "D-Bus units have them",
        "0::/system.slice/dbus-:1.2-org.x@0.service",
        unit("dbus-:1.2-org.x@0.service", "system.slice"),
    ),
    Row(
        "a user below a container",
        "the container is what counts",
        f"0::/docker/{D}/user.slice/kubepods/pod{A}/{C}",
        container(D),
    ),
    Row(
        "cut in an id",
        "the last name is not believed",
        cut_behind(f"/kubepods/pod{A}/{C[:40]}") + C[40:],
        pod(A, ""),
    ),
    Row(
        "cut in a later line",
        "what was read before counts",
        f"0::/kubepods/pod{A}/{C}\n" + "1:memory:/a\n" * 400,
        pod(),
    ),
)
