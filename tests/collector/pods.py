"""Pods of a real API server without a kubelet, and processes in the cgroups that these pods would have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chart.cluster import Cluster

NAMESPACE: Final = "shop"
NODE: Final = "worker-5"
IMAGE: Final = "registry.example/shop/web"
_MINUTE: Final = int(time.time()) // 60
_ENTER: Final = """\
import os, sys
with open(sys.argv[1], "w") as processes:
    processes.write(str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Pod:
    """One to make: ``owner`` is kind, API group with version, and name."""

    name: str
    owner: tuple[str, str, str]
    names: dict[str, str]
    """What the collector is to add beside namespace, pod, container and image."""
    workload: str
    static: bool = False


PODS: Final = (
    Pod(
        "web-7d4b9c8f6d-x2x9q",
        ("ReplicaSet", "apps/v1", "web-7d4b9c8f6d"),
        {"k8s.deployment.name": "web", "k8s.replicaset.name": "web-7d4b9c8f6d"},
        "web",
    ),
    Pod(
        f"backup-{_MINUTE}-f4k2z",
        ("Job", "batch/v1", f"backup-{_MINUTE}"),
        {"k8s.cronjob.name": "backup", "k8s.job.name": f"backup-{_MINUTE}"},
        "backup",
    ),
    Pod(f"proxy-{NODE}", ("Node", "v1", NODE), {}, f"proxy-{NODE}", static=True),
)


@dataclass(frozen=True)
class Made:
    """What is known of a pod that is there."""

    pod: Pod
    uid: str
    """As the cgroup has it: of a static pod it is a hash, and the cluster has another."""
    container: str

    @property
    def cgroup(self) -> str:
        return (
            "kubepods.slice/kubepods-burstable.slice/"
            f"kubepods-burstable-pod{self.uid.replace('-', '_')}.slice/cri-containerd-{self.container}.scope"
        )

    @property
    def labels(self) -> dict[str, str]:
        """What an event of a shell in it says of it."""
        return self.pod.names | {
            "k8s.namespace.name": NAMESPACE,
            "k8s.pod.name": self.pod.name,
            "k8s.pod.uid": self.uid,
            "k8s.container.name": "main",
            "container.id": self.container,
            "container.image.name": IMAGE,
        }


def make(cluster: Cluster, pod: Pod) -> Made:
    """Post the pod, and say in its status what a kubelet would say."""
    kind, version, owner = pod.owner
    metadata: dict[str, Any] = {
        "name": pod.name,
        "labels": {"pod-template-hash": "7d4b9c8f6d"} if kind == "ReplicaSet" else {},
        "ownerReferences": [
            {"apiVersion": version, "kind": kind, "name": owner, "uid": str(uuid4()), "controller": True}
        ],
    }
    hashed = uuid4().hex
    if pod.static:
        metadata["annotations"] = {"kubernetes.io/config.mirror": hashed}
    spec = {"nodeName": NODE, "containers": [{"name": "main", "image": f"{IMAGE}:1.4"}]}
    at = f"--namespace={NAMESPACE}"
    given = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    made = json.loads(cluster.done("create", at, "--filename=-", "--output=json", given=given))
    container = uuid4().hex + uuid4().hex
    status = {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "main",
                "image": f"{IMAGE}:1.4",
                "imageID": f"{IMAGE}@sha256:{container}",
                "containerID": f"containerd://{container}",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            }
        ],
    }
    patch = json.dumps({"status": status})
    cluster.done("patch", at, "pod", pod.name, "--subresource=status", "--type=merge", f"--patch={patch}")
    return Made(pod, hashed if pod.static else made["metadata"]["uid"], container)


class Cgroups:
    """Cgroups below one that this test makes in a tree of version 2; :meth:`end` takes them away."""

    def __init__(self, folder: Path) -> None:
        self._mounted = folder / "cgroup2"
        self._mounted.mkdir()
        done = subprocess.run(
            ["mount", "-t", "cgroup2", "none", self._mounted], capture_output=True, text=True, check=False
        )
        if done.returncode:
            reason = f"no cgroups of version 2: {done.stderr.strip()}"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
        self._made: list[Path] = []

    def within(self, cgroup: str) -> tuple[str, ...]:
        """What to put before a command that is to run in a cgroup, by its path from the root."""
        path = self._mounted
        for name in cgroup.split("/"):
            path /= name
            if not path.exists():
                path.mkdir()
                self._made.append(path)
        return (sys.executable, "-c", _ENTER, str(path / "cgroup.procs"))

    def end(self) -> None:
        """When no process is in them any more."""
        for path in reversed(self._made):
            path.rmdir()
        subprocess.run(["umount", self._mounted], check=True)
        shutil.rmtree(self._mounted)
