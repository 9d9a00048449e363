"""Where a process runs, by the text of its ``/proc/<pid>/cgroup``.

What makes this hard, and what follows from it:

* The paths are relative to the cgroup namespace of whoever read them. A collector in a pod reads another pod
  as ``/../../kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope`` or ``/../../pod<uid>/<id>``, a
  service of its host as ``/../../../../system.slice/cron.service``, and its own container as ``/``. So
  ``kubepods`` may be missing, and a bare ``/`` says nothing. Host pid 1, read by the same reader, shows how
  deep the root is.
* Who may make a cgroup may name it. The pod that counts is the *outermost*: what stands below a container is
  the work of the container. Below ``user.slice`` an unprivileged user names cgroups, so all of that is host
  and no name in it is believed. A unit is the one that systemd manages, not what a service made below itself.
* cgroup v1 has a line for each hierarchy, and they differ: a root, a delegated subtree, the runtime's own
  service. The line that tells most is taken: in the order of :class:`CgroupBasis`, then the one that tells a
  pod's uid, a container, a unit; of equals ``name=systemd``, then the v2 line (``0::``), then the text's
  order.

A pod's uid and a container's id are set only when they look like one; ``unit`` and ``slice`` only on a host,
where systemd gave them their names.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import Final

from detector.context import Cgroup, Placement

TEXT_LIMIT: Final = 4096
"""How many characters are read. A text of that length counts as cut, and the last name of it is not believed:
of an id that was cut there is no telling."""

_SYSTEMD: Final = "name=systemd"
_LINE: Final = re.compile(r"^[0-9]++:([^:\n]*+):(/[^\n]*+)$", re.MULTILINE)
_UID: Final = re.compile(r"[0-9a-f]{8}([-_])[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}|[0-9a-f]{32}")
_UID_PART: Final = re.compile(r"[0-9A-Fa-f_-]++")
_CONTAINER_ID: Final = re.compile(r"[0-9a-f]{32,64}")
_UNIT: Final = re.compile(r"[A-Za-z0-9:_.@\\-]{1,240}\.(?:service|scope|socket|mount|swap)")
_SLICE: Final = re.compile(r"[A-Za-z0-9:_.@\\-]{1,240}\.slice")

_CRI: Final = frozenset({"cri-containerd", "crio"})
"""Runtimes that run nothing but containers of pods."""
_MONITORS: Final = frozenset({"crio-conmon", "libpod-conmon"})
_FULL_ID: Final = 64
"""Of a container of Docker and podman; shorter hex outside of pods may be anything."""
_QOS: Final = frozenset({"burstable", "besteffort", "guaranteed"})
_KUBERNETES: Final = "k8s.io"
"""containerd's name for the containers of kubelet, and their cgroup if kubelet gives no parent."""
_POD_LEVELS: Final = 2
"""The least that lies above a container of a pod: the tree of the pods, and the pod."""


class CgroupBasis(enum.StrEnum):
    """The rule that decided a placement; what tells most comes first."""

    POD = "pod"
    """Pod: below a pod's cgroup."""
    CRI_CONTAINER = "cri_container"
    """Pod: a container that only kubelet starts, or below the tree of the pods; which pod is not said."""
    SIBLING = "sibling"
    """Pod: a container beside the collector's own, that is of the same pod; which pod is not said."""
    MONITOR = "monitor"
    """Host: conmon, which holds a container's terminal. It and what it starts run outside of the container,
    in whichever cgroup, that of the pod too; its unit names the container."""
    CONTAINER = "container"
    """Host: a container without a pod (Docker, podman, the node of kind); ``container_id`` is set."""
    UNIT = "unit"
    """Host: a unit or a slice of systemd, that is not of pods. All below ``user.slice``."""
    HOST_PATH = "host_path"
    """Host: another path, known to begin at the root."""
    HOST_ROOT = "host_root"
    """Host: the root, seen from a namespace below: as many ``..`` as pid 1 has, and no name."""
    AMBIGUOUS = "ambiguous"
    """Unknown: in the tree of the pods, but no pod; or a relative path whose names say nothing."""
    ROOT = "root"
    """Unknown: the root of the reader's namespace (its own container, if it has one), or above."""
    UNREADABLE = "unreadable"
    """Unknown: there is a text, but no line of it is one of ``/proc/<pid>/cgroup``."""
    ABSENT = "absent"
    """Unknown: no text."""


_ORDER: Final = {basis.value: order for order, basis in enumerate(CgroupBasis)}


@lru_cache(2048)  # the same processes are read at every scrape
def read_cgroup(text: str, init: str = "") -> Cgroup:
    """Placement, pod, container and unit by the attribute ``process.cgroup``. Never raises.

    ``init`` is that attribute of the node's pid 1, empty if unknown; only its depth counts.
    """
    if not text:
        return Cgroup(basis=CgroupBasis.ABSENT)
    hierarchies: dict[str, str] = {}
    for hierarchy, path in _lines(text):
        hierarchies.setdefault(path, hierarchy)  # most lines of v1 are alike
    if not hierarchies:
        return Cgroup(basis=CgroupBasis.UNREADABLE)
    depths = _depths(init) if "/.." in text else {}
    readings = [_read(path, depths.get(hierarchy, -1)) for path, hierarchy in hierarchies.items()]
    return min(readings, key=_uninformative)


def _uninformative(cgroup: Cgroup) -> tuple[int, bool, bool, bool]:
    return (_ORDER[cgroup.basis], not cgroup.pod_uid, not cgroup.container_id, not cgroup.unit)


def _lines(text: str) -> list[tuple[str, str]]:
    """(controllers, path) of each line, those first that know best."""
    if len(text) >= TEXT_LIMIT:
        text = text[:TEXT_LIMIT].rpartition("/")[0]
    lines: list[tuple[str, str]] = _LINE.findall(text)
    if len(lines) > 1:
        lines.sort(key=lambda line: (line[0] != _SYSTEMD, line[0] != ""))
    return lines


def _depths(init: str) -> dict[str, int]:
    """How far below the root the reader's namespace begins, for each hierarchy, as pid 1 shows it."""
    return {hierarchy: _levels_up(_names(path)) for hierarchy, path in _lines(init)}


def _names(path: str) -> list[str]:
    return [name for name in path.removesuffix(" (deleted)").split("/") if name]


def _levels_up(names: list[str]) -> int:
    return next((index for index, name in enumerate(names) if name != ".."), len(names))


def _read(path: str, depth: int) -> Cgroup:
    """One line's path; ``depth`` is that of the reader's namespace, negative if unknown."""
    names = _names(path)
    if ":" in path:
        names = [part for name in names for part in _split_colons(name)]
    up = _levels_up(names)
    # negative too if the path goes further up than pid 1: then the two were not seen by the same reader
    shared = depth - up if up else -1
    if up < len(names):
        return _named(names[up:], shared, up)
    if shared == 0:
        return Cgroup(Placement.HOST, CgroupBasis.HOST_ROOT)
    return Cgroup(basis=CgroupBasis.ROOT)


def _named(names: list[str], shared: int, up: int) -> Cgroup:
    """A path with names, that begin ``up`` levels above the reader's root.

    ``shared`` is how many levels lie between the node's root and the first of them, negative if unknown.
    """
    in_pods = up > 0 and names[0] in _QOS
    container_id = ""
    for index, name in enumerate(names):
        if name == "user.slice":
            break
        pod_uid = _pod(name, bare_is_pod=in_pods or (up > 0 and index == 0))
        if pod_uid is not None:
            return _in_pod(pod_uid, names, index + 1)
        in_pods = in_pods or name == _KUBERNETES or "kubepods" in name.removesuffix(".slice").split("-")
        runtime, found = _container(name)
        if found and (decided := _by_runtime(runtime, found, names, in_pods=in_pods)):
            return decided
        if len(found) == _FULL_ID:
            container_id = container_id or found
    if in_pods:
        return Cgroup(basis=CgroupBasis.AMBIGUOUS)
    if container_id:
        return _in_container(container_id, names, shared, up)
    return _elsewhere(names, shared, up)


def _split_colons(name: str) -> list[str]:
    """``slice:runtime:id``, which containerd leaves without the systemd driver, as systemd would have it."""
    parent, _, rest = name.partition(":")
    runtime, _, found = rest.partition(":")
    return [parent, f"{runtime}-{found}.scope"] if _CONTAINER_ID.fullmatch(found) else [name]


def _pod(name: str, *, bare_is_pod: bool) -> str | None:
    """The uid of the pod that a name is of; empty if its uid is none (cut), ``None`` if it is no pod.

    With the systemd driver the name carries its parents' (``kubepods-burstable-pod<uid>.slice``). With
    cgroupfs it is ``pod<uid>``; unless the uid is whole, that is a pod's only where pods are.
    """
    parents, pod, uid = name.removesuffix(".slice").rpartition("pod")
    if not pod or not _UID_PART.fullmatch(uid):
        return None
    whole = bool(_UID.fullmatch(uid))
    if parents and not (parents.endswith("-") and "kubepods" in parents.split("-")):
        return None
    if not (parents or whole or bare_is_pod):
        return None
    return uid.replace("_", "-") if whole else ""


def _container(name: str) -> tuple[str, str]:
    """(runtime, id) of a name such as ``docker-<id>.scope`` or ``<id>``; the id is empty if it is none."""
    runtime, _, found = name.removesuffix(".scope").rpartition("-")
    return (runtime, found) if _CONTAINER_ID.fullmatch(found) else ("", "")


def _in_pod(pod_uid: str, names: list[str], below: int) -> Cgroup:
    runtime, container_id = _container(names[below]) if below < len(names) else ("", "")
    if runtime in _MONITORS:
        return _on_host(CgroupBasis.MONITOR, names)
    return Cgroup(Placement.POD, CgroupBasis.POD, pod_uid, container_id)


def _by_runtime(runtime: str, container_id: str, names: list[str], *, in_pods: bool) -> Cgroup | None:
    """A container of which the runtime, or that it stands among the pods, tells where it is."""
    if runtime in _MONITORS:
        return _on_host(CgroupBasis.MONITOR, names)
    if in_pods or runtime in _CRI:
        return Cgroup(Placement.POD, CgroupBasis.CRI_CONTAINER, container_id=container_id)
    return None


def _in_container(container_id: str, names: list[str], shared: int, up: int) -> Cgroup:
    """A container whose runtime does not tell whether it is of a pod.

    It matters where the path begins with it: it is beside the reader's. The containers of a pod lie at least
    two levels below the root, those of Docker alone one. If pid 1 does not say, the reader's neighbour is a
    pod's, as the reader is; from further off it cannot be told.
    """
    if up and container_id in names[0]:
        if shared >= _POD_LEVELS or (shared < 0 and up == 1):
            return Cgroup(Placement.POD, CgroupBasis.SIBLING, container_id=container_id)
        if shared < 0:
            return Cgroup(basis=CgroupBasis.AMBIGUOUS, container_id=container_id)
    return _on_host(CgroupBasis.CONTAINER, names, container_id)


def _elsewhere(names: list[str], shared: int, up: int) -> Cgroup:
    if _UNIT.fullmatch(names[0]) or _SLICE.fullmatch(names[0]):
        return _on_host(CgroupBasis.UNIT, names)
    if not up or shared == 0:
        return _on_host(CgroupBasis.HOST_PATH, names)
    return Cgroup(basis=CgroupBasis.AMBIGUOUS)


def _on_host(basis: CgroupBasis, names: list[str], container_id: str = "") -> Cgroup:
    """On a host, with the unit that systemd manages: the first name behind the slices it lies in."""
    unit = slice_ = ""
    for name in names:
        if not _SLICE.fullmatch(name):
            unit = _unescaped(name) if _UNIT.fullmatch(name) else ""
            break
        slice_ = _unescaped(name)
    return Cgroup(Placement.HOST, basis, container_id=container_id, unit=unit, slice=slice_)


def _unescaped(name: str) -> str:
    """A unit's name without the ``_`` before names that the kernel reserves (systemd's ``cg_escape``)."""
    return name.removeprefix("_")
