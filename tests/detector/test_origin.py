"""What started a shell, by where it runs, how it was called and who its ancestors are."""

from __future__ import annotations

import pytest

from detector.context import Cgroup, ContextBasis, Invocation, Kin, Mode, Origin, Placement, Process
from detector.origin import escape_hint, is_runtime, origin_of

POD = Cgroup(Placement.POD, "pod", "0f5c", "ab" * 32)
HOST = Cgroup(Placement.HOST, "unit", unit="x.service", slice="system.slice")
BARE = Cgroup(Placement.HOST, "slice", slice="kubelet.slice")
UNKNOWN = Cgroup()
SHIM = "containerd-shim-runc-v2"


def unit(name: str) -> Cgroup:
    return Cgroup(Placement.HOST, "unit", unit=name)


def kin(*ancestors: str, init: bool | None = None) -> Kin:
    return Kin(Process(5, 1, ancestors[0]), ancestors, ContextBasis.SAME_REQUEST, init)


@pytest.mark.parametrize(
    ("cgroup", "mode", "relatives", "expected"),
    [
        # in a pod
        (POD, Mode.COMMAND, kin(SHIM, init=True), Origin.ENTRYPOINT),
        (POD, Mode.SCRIPT, kin("python3", init=True), Origin.ENTRYPOINT),  # debug runtimes, unknown ones
        (POD, Mode.STDIN, kin(SHIM, "systemd", init=False), Origin.CONTAINER_EXEC),
        (POD, Mode.COMMAND, kin("conmon", init=False), Origin.CONTAINER_EXEC),
        (POD, Mode.COMMAND, kin("runc", init=False), Origin.CONTAINER_EXEC),
        (POD, Mode.COMMAND, kin(SHIM, init=None), Origin.UNKNOWN),  # entrypoint or exec
        (POD, Mode.COMMAND, kin("java", SHIM, init=False), Origin.CHILD),
        (POD, Mode.STDIN, kin("nsenter", SHIM, init=False), Origin.CHILD),
        (POD, Mode.LOGIN, kin("sshd", init=False), Origin.CHILD),  # sshd in a container
        (POD, Mode.STDIN, None, Origin.UNKNOWN),
        # on the node
        (unit("cron.service"), Mode.COMMAND, None, Origin.CRON),
        (unit("crond.service"), Mode.COMMAND, kin("crond"), Origin.CRON),
        (unit("session-9.scope"), Mode.COMMAND, kin("sh", "crond", "systemd"), Origin.CRON),
        (unit("session-9.scope"), Mode.STDIN, None, Origin.LOGIN),
        (unit("user@1000.service"), Mode.SCRIPT, None, Origin.LOGIN),
        (HOST, Mode.LOGIN, None, Origin.LOGIN),
        (BARE, Mode.COMMAND, kin("sshd", "sshd", "systemd"), Origin.LOGIN),
        (BARE, Mode.STDIN, kin("su", "bash"), Origin.LOGIN),
        (HOST, Mode.SCRIPT, kin("systemd"), Origin.SERVICE),
        (HOST, Mode.SCRIPT, None, Origin.SERVICE),
        (BARE, Mode.STDIN, kin("kubelet"), Origin.CHILD),
        (BARE, Mode.STDIN, None, Origin.UNKNOWN),
        # unknown, as on the node
        (UNKNOWN, Mode.LOGIN, None, Origin.LOGIN),
        (UNKNOWN, Mode.COMMAND, kin("make", "cron"), Origin.CRON),
        (UNKNOWN, Mode.COMMAND, kin("make"), Origin.CHILD),
        (UNKNOWN, Mode.UNKNOWN, None, Origin.UNKNOWN),
    ],
)
def test_the_origin_of(cgroup: Cgroup, mode: Mode, relatives: Kin | None, expected: Origin) -> None:
    assert origin_of(cgroup, Invocation(mode), relatives) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (SHIM, True),
        ("containerd-shim", True),
        ("docker-containe", True),  # as the kernel cuts it
        ("docker-contain", False),  # not cut: another name
        ("conmon", True),
        ("conmonster", False),
        ("java", False),
        ("", False),
    ],
)
def test_what_is_a_runtime(name: str, expected: bool) -> None:
    assert is_runtime(name) is expected


def test_the_nearest_ancestor_that_leaves_a_container_is_the_hint() -> None:
    assert escape_hint(("bash", "chroot", "nsenter")) == "chroot"
    assert escape_hint(("unshare",)) == "unshare"
    assert escape_hint(("my-nsenter", "bash")) == ""
    assert escape_hint(()) == ""
