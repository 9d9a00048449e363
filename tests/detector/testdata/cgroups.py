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
