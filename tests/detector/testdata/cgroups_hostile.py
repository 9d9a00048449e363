"""Texts that no runtime writes, or that were cut."""

from __future__ import annotations

from typing import Final

from detector.cgroup import CgroupBasis as Basis
from detector.context import Cgroup
from tests.detector.testdata.cgroups import (
    A_,
    HOST_PATH,
    A,
    C,
    D,
    Row,
    container,
    cut_behind,
    pod,
    unit,
    unknown,
    v1,
)

HOSTILE: Final = (
    Row("nothing", "a kernel thread's file could not be read", "", Cgroup()),
    Row("no line", "prose", "not a cgroup", unknown(Basis.UNREADABLE)),
    Row("no path", "a line cut before its path", "0::", unknown(Basis.UNREADABLE)),
    Row("no number", "a line cut at its front", f":/kubepods/pod{A}/{C}", unknown(Basis.UNREADABLE)),
    Row("empty names", "slashes", f"0:://kubepods///pod{A}//{C}/", pod()),
    Row("capitals", "no runtime writes them", f"0::/kubepods/pod{A.upper()}/{C.upper()}", pod("", "")),
    Row("mixed separators", "no uid", f"0::/kubepods/pod{A[:13]}_{A[14:]}/{C}", pod("")),
    Row("an id too long", "no id", f"0::/kubepods/pod{A}/{C}0", pod(A, "")),
    Row("an id too short", "no id", f"0::/kubepods/pod{A}/{C[:31]}", pod(A, "")),
    Row("ids of 32", "taken", f"0::/kubepods/pod{A}/{C[:32]}", pod(A, C[:32])),
    Row("32 digits outside of pods", "no container", f"0::/foo/{C[:32]}", HOST_PATH),
    Row(
        "a pod's name in a service",
        "no kubepods in it",
        f"0::/system.slice/app-pod{A_}.slice",
        unit("", f"app-pod{A_}.slice"),
    ),
    Row(
        "a unit's name too long", "no unit", f"0::/system.slice/{'a' * 300}.service", unit("", "system.slice")
    ),
    Row("a unit's name with a blank", "no unit", "0::/system.slice/a b.service", unit("", "system.slice")),
    Row("a carriage return", "no unit", "0::/system.slice/a.service\r", unit("", "system.slice")),
    Row(
        "a line with a uid after one without",
        "the uid tells more",
        f"1:name=systemd:/kubepods/podabc/{D}\n0::/kubepods/pod{A}/{C}",
        pod(),
    ),
    Row(
        "a line with a container after one without",
        "the container tells more",
        f"1:name=systemd:/kubepods/pod{A}\n0::/kubepods/pod{A}/{C}",
        pod(),
    ),
    Row(
        "a line with a unit after one without",
        "the unit tells more",
        "1:name=systemd:/system.slice\n2:memory:/system.slice/a.service",
        unit("a.service", "system.slice"),
    ),
    Row("a QoS level that is none", "pods have one below kubepods", "0::/burstable/podB/c2", HOST_PATH),
    Row("a QoS level, relative", "pods are there", "0::/../../../burstable/podB/c2", pod("", "")),
    Row("a pod that is none", "not where pods are", "0::/../../foo/podB/c2", unknown(Basis.AMBIGUOUS)),
    Row("no dash before the pod", "no pod's slice", f"0::/kubepodspod{A_}", HOST_PATH),
    Row("two containers", "the outer one counts", f"0::/docker/{C}/docker/{D}", container()),
    Row("Docker, cgroupfs, no parent, v1", "Debian 8; neuvector tests", v1(f"/{C}"), container()),
    Row("Docker from the root, pid 1 unseen", "Docker 24", f"0::/../../docker/{C}", container()),
    Row(
        "colons that are no container's",
        "a unit may have two",
        "0::/system.slice/a:b:c.service",
        unit("a:b:c.service", "system.slice"),
    ),
    Row(
        "a bare root beside a relative path",
        "the root is not pid 1's",
        "4:memory:/../a\n0::/",
        unknown(Basis.AMBIGUOUS),
        "0::/init.scope",
    ),
    Row("a part of a uid, outside of pods", "no pod", "0::/podB/c2", HOST_PATH),
    Row("dots in the middle", "a name as any other", "0::/a/../system.slice", HOST_PATH),
    Row(
        "colons",
        "D-Bus units have them",
        "0::/system.slice/dbus-:1.2-org.x@0.service",
        unit("dbus-:1.2-org.x@0.service", "system.slice"),
    ),
    Row(
        "a user below a container",
        "the container is what counts",
        f"0::/docker/{D}/user.slice/kubepods/pod{A}/{C}",
        container(D),
    ),
    Row(
        "cut in an id",
        "the last name is not believed",
        cut_behind(f"/kubepods/pod{A}/{C[:40]}") + C[40:],
        pod(A, ""),
    ),
    Row(
        "cut in a later line",
        "what was read before counts",
        f"0::/kubepods/pod{A}/{C}\n" + "1:memory:/a\n" * 400,
        pod(),
    ),
)
