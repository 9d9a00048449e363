"""What a shell is and where it runs: the values that scoring, policies and events are made of.

Everything here is derived, by pure functions, from what the collector sends. What an attacker can write
(name, command line) and what the kernel or the cluster says (cgroup, parent, start) are kept apart.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.types import CommandLine


class Placement(enum.StrEnum):
    """Where a process runs, by its cgroup."""

    HOST = "host"
    POD = "pod"
    UNKNOWN = "unknown"


class Mode(enum.StrEnum):
    """How a shell was started, by its command line."""

    STDIN = "stdin"
    """It reads commands from its input. Whether that is a terminal is not in this data."""
    LOGIN = "login"
    COMMAND = "command"
    SCRIPT = "script"
    UNKNOWN = "unknown"


class Origin(enum.StrEnum):
    """What started a shell."""

    ENTRYPOINT = "entrypoint"
    CONTAINER_EXEC = "container_exec"
    CHILD = "child"
    LOGIN = "login"
    SERVICE = "service"
    CRON = "cron"
    UNKNOWN = "unknown"


class ContextBasis(enum.StrEnum):
    """Where the parent of a shell was seen."""

    SAME_REQUEST = "same_request"
    EARLIER = "earlier"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Cgroup:
    """What ``process.cgroup`` says. ``basis`` names the rule that decided the placement."""

    placement: Placement = Placement.UNKNOWN
    basis: str = "absent"
    pod_uid: str = ""
    container_id: str = ""
    unit: str = ""
    slice: str = ""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command line says.

    ``runs`` is the command text or the path of the script, cut; empty if there is none. ``template`` is the
    command line with what varies from run to run replaced, hashed (hex); empty if there is no command line.
    """

    mode: Mode = Mode.UNKNOWN
    runs: str = ""
    template: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is not watched but explains one that is: an ancestor of a shell.

    ``start_ns`` is as reported. ``cgroup`` is the attribute's text, cut.
    """

    pid: int
    start_ns: int
    name: str
    parent_pid: int | None = None
    command_line: CommandLine | None = None
    cgroup: str = ""


@dataclass(frozen=True, slots=True)
class Kin:
    """The processes around a shell, as one request or several showed them.

    ``ancestors`` are names, the parent's first, as far as they are known. ``container_init``: whether the
    shell is the oldest process of its container; ``None`` if that cannot be told. ``next_pid`` is the parent
    of the last ancestor, which started at ``next_before_ns`` (0: not known), if that parent was not there;
    else 0.
    """

    parent: Process
    ancestors: tuple[str, ...]
    basis: ContextBasis
    container_init: bool | None = None
    next_pid: int = 0
    next_before_ns: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a shell beside its own attributes.

    ``labels`` are attributes that the collector's ``k8sattributes`` processor added, by their names.
    ``ancestors`` are names, the parent's first, as far as they are known. ``container_init``: whether it is
    the oldest process of its container; ``None`` if that cannot be told. ``escape_hint`` is the name of an
    ancestor that leaves a container (``nsenter``, ``chroot``, ``unshare``), else empty. ``preexisting``: it
    started before the first scrape of its node that is known.
    """

    cgroup: Cgroup = field(default_factory=Cgroup)
    invocation: Invocation = field(default_factory=Invocation)
    labels: tuple[tuple[str, str], ...] = ()
    parent: Process | None = None
    ancestors: tuple[str, ...] = ()
    basis: ContextBasis = ContextBasis.ABSENT
    container_init: bool | None = None
    origin: Origin = Origin.UNKNOWN
    escape_hint: str = ""
    preexisting: bool = False
