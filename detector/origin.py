"""What started a shell, and what of its ancestors says that it left a container. Tables, first match wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from detector.context import Mode, Origin, Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.context import Cgroup, Invocation, Kin

_ESCAPES: Final = {"nsenter", "chroot", "unshare"}
_RUNTIMES: Final = {
    *("containerd-shim", "containerd-shim-runc-v1", "containerd-shim-runc-v2", "docker-containerd-shim"),
    *("containerd", "dockerd", "conmon", "conmonrs", "crio", "runc", "crun", "kata-shim", "kata-runtime"),
}
"""What starts processes inside of containers; the kernel reports names in full or cut to 15 bytes."""
_CRON: Final = {"cron", "crond", "anacron", "atd", "fcron", "dcron"}
_CRON_UNITS: Final = {f"{name}.service" for name in (*_CRON, "cronie")}
_LOGINS: Final = {
    *("sshd", "sshd-session", "dropbear", "telnetd", "in.telnetd", "login", "su", "sudo", "doas", "runuser"),
    *("agetty", "getty", "mingetty", "screen", "tmux: server", "machinectl", "gdm-session-wor"),
}
_KERNEL_NAME: Final = 15
"""Characters of a name that the kernel keeps (``TASK_COMM_LEN`` less the final zero)."""


def is_runtime(name: str) -> bool:
    """Whether a process of that name starts what runs in containers."""
    return name in _RUNTIMES or any(len(name) == _KERNEL_NAME and each.startswith(name) for each in _RUNTIMES)


def escape_hint(ancestors: Sequence[str]) -> str:
    """The nearest ancestor that enters other namespaces or another root; empty if there is none."""
    return next((name for name in ancestors if name in _ESCAPES), "")


def origin_of(cgroup: Cgroup, invocation: Invocation, kin: Kin | None) -> Origin:
    """What started a shell."""
    rules = _IN_POD if cgroup.placement is Placement.POD else _ON_NODE
    return next((origin for origin, holds in rules if holds(cgroup, invocation, kin)), Origin.UNKNOWN)


_Rules: TypeAlias = "tuple[tuple[Origin, Callable[[Cgroup, Invocation, Kin | None], bool]], ...]"

_IN_POD: Final[_Rules] = (
    (Origin.ENTRYPOINT, lambda _c, _i, kin: kin is not None and kin.container_init is True),
    (Origin.CONTAINER_EXEC, lambda _c, _i, kin: kin is not None and _is_exec(kin)),
    (Origin.CHILD, lambda _c, _i, kin: kin is not None and not is_runtime(kin.parent.name)),
)
_ON_NODE: Final[_Rules] = (
    (
        Origin.CRON,
        lambda cgroup, _i, kin: (
            cgroup.unit in _CRON_UNITS or (kin is not None and not _CRON.isdisjoint(kin.ancestors))
        ),
    ),
    (
        Origin.LOGIN,
        lambda cgroup, invocation, kin: (
            invocation.mode is Mode.LOGIN
            or _is_session(cgroup.unit)
            or (kin is not None and kin.parent.name in _LOGINS)
        ),
    ),
    (Origin.SERVICE, lambda cgroup, _i, _k: cgroup.unit.endswith(".service")),
    (Origin.CHILD, lambda _c, _i, kin: kin is not None),
)


def _is_session(unit: str) -> bool:
    """Whether a unit is a session of a user (``pam_systemd``)."""
    return unit.startswith(("session-", "user@", "user-")) and unit.endswith((".scope", ".service"))


def _is_exec(kin: Kin) -> bool:
    """Whether a container's runtime started it beside what ran there already."""
    return is_runtime(kin.parent.name) and kin.container_init is False
