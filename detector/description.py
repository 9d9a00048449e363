"""From what was seen of a shell to what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.command import read_invocation
from detector.context import Cgroup, Context, ContextBasis, Placement
from detector.origin import escape_hint, origin_of

if TYPE_CHECKING:
    from detector.types import Evidence


def describe(name: str, seen: Evidence) -> Context:
    """The context of a shell of that executable name."""
    cgroup = seen.cgroup or Cgroup()
    line = seen.command_line.text if seen.command_line else ""
    invocation = read_invocation(line, name, seen.path)
    kin = seen.kin
    return Context(
        cgroup=cgroup,
        invocation=invocation,
        labels=_labels(cgroup, seen.labels),
        parent=kin.parent if kin else None,
        ancestors=kin.ancestors if kin else (),
        basis=kin.basis if kin else ContextBasis.ABSENT,
        container_init=kin.container_init if kin else None,
        origin=origin_of(cgroup, invocation, kin),
        escape_hint=escape_hint(kin.ancestors) if kin else "",
    )


def _labels(cgroup: Cgroup, labels: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The names of the shell's own pod; none if they are another's.

    A collector that names pods by the address that samples come from gives every shell of a node the names
    of that node's agent. A process of the node has no pod. Of a static pod the cluster knows another uid than
    kubelet, whose uid is a hash without hyphens.
    """
    if cgroup.placement is Placement.HOST:
        return ()
    named = dict(labels).get("k8s.pod.uid")
    return () if named and "-" in cgroup.pod_uid and named != cgroup.pod_uid else labels
