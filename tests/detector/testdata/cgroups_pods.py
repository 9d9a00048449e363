"""Pods by their paths from the root of the cgroups, as a reader on the node sees them."""

from __future__ import annotations

from typing import Final

from detector.cgroup import CgroupBasis as Basis
from tests.detector.testdata.cgroups import (
    A_,
    BEST,
    CAPTURED_V1,
    KIND,
    SHORT,
    STATIC,
    SYSTEMD_POD,
    A,
    B,
    C,
    D,
    Row,
    pod,
    unit,
    v1,
)

PODS: Final = (
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
)
