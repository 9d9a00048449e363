"""From what was seen of a shell to what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.command import read_invocation
from detector.context import Cgroup, Context, ContextBasis
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
        labels=seen.labels,
        parent=kin.parent if kin else None,
        ancestors=kin.ancestors if kin else (),
        basis=kin.basis if kin else ContextBasis.ABSENT,
        container_init=kin.container_init if kin else None,
        origin=origin_of(cgroup, invocation, kin),
        escape_hint=escape_hint(kin.ancestors) if kin else "",
    )
