"""What is nested, no pod, or on the host, by its path from the root of the cgroups."""

from __future__ import annotations

from typing import Final

from detector.cgroup import CgroupBasis as Basis
from tests.detector.testdata.cgroups import (
    CAPTURED_V1,
    HOST_PATH,
    SYSTEMD_POD,
    A,
    B,
    C,
    D,
    Row,
    container,
    cri,
    pod,
    unit,
    unknown,
    v1,
)

HOSTS: Final = (
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
