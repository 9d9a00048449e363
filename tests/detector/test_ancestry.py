"""Who started a shell: from its record, or from what was asked for because its record lacked it."""

from __future__ import annotations

import json
from dataclasses import replace

from detector.ancestry import Ancestry
from detector.context import Cgroup, Context, ContextBasis, Kin, Mode, Origin, Placement, Process
from detector.detector import Detector
from detector.rules import Rules
from detector.types import CommandLine, Record, Sample
from tests.detector.world import NODE, World, cpu, ns, sample

ID = "ab" * 32
POD = f"0::/kubepods.slice/kubepods-pod0f5c0e0e_1111_2222_3333_444444444444.slice/cri-containerd-{ID}.scope"
SHIM = Process(5, ns(-500), "containerd-shim", 1, CommandLine("shim -id x", 10), "0::/")
INIT = Process(1, ns(-900), "systemd", 0, CommandLine("/sbin/init", 10), "0::/init.scope")
MAIN = Process(6, ns(-300), "java", 5, None, POD)
SAME = ContextBasis.SAME_REQUEST
EARLIER = ContextBasis.EARLIER


def child(at: float, parent: int | None = 5, *, pid: int = 23, start: float = -100) -> Sample:
    return replace(sample(at, pid=pid, start=start, line="sh"), parent_pid=parent, cgroup=POD)


def record(at: float, *samples: Sample, processes: tuple[Process, ...] = ()) -> Record:
    return Record(NODE, samples, (ns(at),), processes=processes)


def opened(world: World) -> list[Context]:
    world.run_to(60)
    return [finding.context for finding in world.findings if finding.kind == "opened"]


def test_a_shell_is_explained_by_its_record() -> None:
    world = World()
    world.feed(5, record(5, child(5), processes=(SHIM, INIT, MAIN)))
    (context,) = opened(world)
    assert context == Context(
        cgroup=Cgroup(Placement.POD, "pod", "0f5c0e0e-1111-2222-3333-444444444444", ID),
        invocation=replace(context.invocation, mode=Mode.STDIN, runs=""),
        parent=SHIM,
        ancestors=("containerd-shim", "systemd"),
        basis=SAME,
        container_init=False,
        origin=Origin.CONTAINER_EXEC,
    )
    assert context.invocation.template


def test_the_oldest_of_a_container_is_its_entrypoint_and_of_one_start_the_lowest_pid_is() -> None:
    world = World()
    world.feed(5, record(5, child(5, pid=6), child(5, parent=6, pid=7), processes=(SHIM, INIT)))
    outer, inner = opened(world)
    assert (outer.origin, outer.container_init, outer.parent) == (Origin.ENTRYPOINT, True, SHIM)
    assert (inner.origin, inner.container_init, inner.ancestors) == (
        Origin.CHILD,
        False,
        ("bash", "containerd-shim", "systemd"),
    )


def test_a_parent_that_is_younger_than_its_child_is_another_process() -> None:
    world = World()
    world.feed(5, record(5, child(5), processes=(replace(SHIM, start_ns=ns(-97)), INIT)))
    (context,) = opened(world)
    assert (context.parent, context.basis, context.origin) == (None, ContextBasis.ABSENT, Origin.UNKNOWN)


def test_a_chain_without_an_end_is_cut() -> None:
    loop = (replace(SHIM, parent_pid=6), replace(MAIN, parent_pid=5, start_ns=ns(-500)))
    world = World()
    world.feed(5, record(5, child(5), processes=loop))
    (context,) = opened(world)
    assert context.ancestors == ("containerd-shim", "java") * 8


def test_a_parent_in_another_request_is_sought_and_found() -> None:
    world = World()
    world.feed(5, record(5, child(5)))
    assert world.detector.sought(NODE) == (5,)
    assert not world.detector.is_explained(NODE, child(15))
    world.feed(5.1, record(5.1, processes=(SHIM, INIT)))
    assert world.detector.sought(NODE) == ()
    (context,) = opened(world)
    assert (context.parent, context.ancestors, context.basis) == (
        SHIM,
        ("containerd-shim", "systemd"),
        EARLIER,
    )
    assert (context.container_init, context.origin) == (None, Origin.UNKNOWN)
    assert world.detector.is_explained(NODE, child(15))


def test_the_parent_of_what_was_found_is_sought_too() -> None:
    world = World()
    world.feed(5, record(5, child(5)))
    world.feed(6, record(6, processes=(SHIM,)))
    assert world.detector.sought(NODE) == (1,)
    world.feed(7, record(7, processes=(INIT,)))
    (context,) = opened(world)
    assert context.ancestors == ("containerd-shim", "systemd")


def test_what_is_found_after_the_opening_is_told_at_the_close() -> None:
    world = World()
    world.feed(5, record(5, child(5)))
    world.run_to(30)
    world.feed(31, record(31, processes=(SHIM, INIT)))
    for at in (35, 45, 55):
        world.feed(at, record(at))
    world.run_to(200)
    first, last = (finding.context for finding in world.findings)
    assert (first.parent, first.basis) == (None, ContextBasis.ABSENT)
    assert (last.parent, last.basis) == (SHIM, EARLIER)


def test_a_shell_that_does_not_name_its_parent_seeks_none() -> None:
    world = World()
    world.feed(5, record(5, child(5, parent=None), child(5, parent=0, pid=24)))
    assert world.detector.sought(NODE) == ()
    assert [context.basis for context in opened(world)] == [ContextBasis.ABSENT] * 2


def test_of_too_many_parents_some_are_sought() -> None:
    ancestry = Ancestry()
    for pid in range(2, 400):
        ancestry.of_record(child(5, parent=pid), {})
    assert ancestry.sought == tuple(range(2, 258))


def test_without_shells_nothing_is_sought() -> None:
    world = World()
    world.feed(5, record(5, child(5)))
    for at in (15, 25, 35, 45):
        world.feed(at, record(at))
    assert world.detector.sought(NODE) == (5,)
    world.run_to(200)
    assert world.detector.sought(NODE) == ()
    other = NODE.__class__("no", "node")
    assert (world.detector.sought(other), world.detector.is_explained(other, child(5))) == ((), False)


def test_who_never_comes_is_looked_for_in_thirty_bins_and_no_more() -> None:
    """A search of each request for ever would be paid by all processes that are no shells."""
    world = World()
    for scrape in range(33):
        world.feed(scrape * 10 + 5, record(scrape * 10 + 5, child(scrape * 10 + 5)))
        assert world.detector.sought(NODE) == ((5,) if scrape < 29 else ())
        assert world.detector.is_explained(NODE, child(0)) == (scrape >= 29)
    dumped = world.detector.dump(NODE)
    assert dumped is not None
    restored = Detector(Rules())
    restored.restore(NODE, dumped)
    assert (restored.sought(NODE), restored.is_explained(NODE, child(0))) == ((), True)
    world.feed(340, record(340, child(340), processes=(SHIM, INIT)))
    world.run_to(4000)
    assert world.findings[-1].context.parent == SHIM  # it came after all


def test_a_relative_cgroup_is_read_by_the_depth_of_pid_1() -> None:
    hidden = replace(sample(5), cgroup="0::/../../..")
    world = World()
    world.feed(5, record(5, hidden))
    (unknown,) = opened(world)
    world = World()
    world.feed(5, record(5, hidden, processes=(replace(INIT, cgroup="0::/../../.."),)))
    (host,) = opened(world)
    assert (unknown.cgroup.placement, host.cgroup.placement) == (Placement.UNKNOWN, Placement.HOST)


def test_an_attribute_that_comes_late_is_told_beside_those_that_came_first() -> None:
    """What is known of a pod lags behind the pod."""
    world = World()
    world.feed(5, record(5, child(5), processes=(SHIM, INIT)))
    named = replace(child(15), labels=(("k8s.pod.name", "web-1"),))
    world.feed(15, record(15, named, processes=(replace(SHIM, name="other"),)))
    for at in (25, 35, 45):
        world.feed(at, record(at))
    world.run_to(200)
    first, last = (finding.context for finding in world.findings)
    assert first.labels == ()
    assert last == replace(first, labels=(("k8s.pod.name", "web-1"),))


def test_a_checkpoint_keeps_what_explains_and_what_is_sought() -> None:
    world = World()
    world.feed(5, record(5, child(5), processes=(SHIM, INIT, MAIN)))
    world.feed(6, record(6, child(6, parent=77, pid=24)))
    world.feed(26, record(26, child(26, parent=78, pid=25)))
    dumped = world.detector.dump(NODE)
    assert dumped is not None
    restored = Detector(Rules())
    restored.restore(NODE, dumped)
    assert restored.dump(NODE) == dumped
    assert restored.sought(NODE) == world.detector.sought(NODE) == (77, 78)
    assert restored.is_explained(NODE, child(36))
    assert json.loads(dumped)["first_ns"] == ns(5)


def test_an_early_opening_is_explained_too() -> None:
    world = World(Rules(early=True))
    busy = replace(child(5), points=cpu(5, 0.5))
    world.feed(5, record(5, busy, processes=(SHIM, INIT)))
    (finding,) = world.findings
    assert (finding.partial, finding.context.parent, finding.node_first_ns) == (True, SHIM, ns(5))


def test_kin_is_compared_as_a_whole() -> None:
    assert Kin(SHIM, ("a",), SAME) != Kin(SHIM, ("a",), EARLIER)


def test_a_session_is_told_again_while_it_is_open() -> None:
    world = World()
    world.feed(5, record(5, child(5), processes=(SHIM, INIT)))
    world.run_to(30)
    (first,) = world.findings
    world.detector.retell(first.shell, 40_000_000_000)
    world.run_to(41)
    again = world.findings[1]
    assert again == replace(first, release_ns=again.release_ns, arrived_ns=0)
    for gone in (replace(first.shell, pid=99), replace(first.shell, node=NODE.__class__("no", "node"))):
        world.detector.retell(gone, 42_000_000_000)
    world.run_to(43)
    assert len(world.findings) == 2


NSENTER = Process(5, ns(-500), "nsenter", 4, None, "0::/")
SSHD = Process(4, ns(-600), "sshd", 1, None, "0::/")


def test_ancestors_beyond_the_request_are_sought_and_found() -> None:
    world = World()
    world.feed(5, record(5, child(5, pid=22, start=-200), child(5, parent=22)))
    assert world.detector.sought(NODE) == (5,)
    world.feed(6, record(6, processes=(NSENTER,)))
    assert world.detector.sought(NODE) == (4,)
    world.feed(7, record(7, processes=(SSHD, INIT)))
    assert world.detector.sought(NODE) == ()
    outer, inner = opened(world)
    assert (outer.ancestors, outer.basis, outer.escape_hint) == (
        ("nsenter", "sshd", "systemd"),
        EARLIER,
        "nsenter",
    )
    assert (inner.ancestors, inner.basis, inner.escape_hint) == (
        ("bash", "nsenter", "sshd", "systemd"),
        SAME,
        "nsenter",
    )


def test_a_parent_that_is_a_shell_of_another_request_is_found() -> None:
    world = World()
    world.feed(5, record(5, child(5, parent=22)))
    world.feed(6, record(6, child(6, pid=22, start=-200), processes=(SHIM, INIT)))
    _, inner = opened(world)
    assert (inner.ancestors, inner.basis) == (("bash", "containerd-shim", "systemd"), EARLIER)


def test_who_took_the_pid_of_an_ancestor_since_is_none() -> None:
    world = World()
    world.feed(5, record(5, child(5), processes=(SHIM,)))
    world.feed(6, record(6, processes=(replace(INIT, start_ns=ns(3)),)))
    (context,) = opened(world)
    assert context.ancestors == ("containerd-shim",)


def test_a_chain_that_is_completed_is_cut_too() -> None:
    chain = [Process(pid, ns(-900 + pid), f"p{pid}", pid - 1) for pid in range(40, 10, -1)]
    world = World()
    world.feed(5, record(5, child(5, parent=40), processes=tuple(chain[:10])))
    world.feed(6, record(6, processes=tuple(chain[10:])))
    (context,) = opened(world)
    assert context.ancestors == tuple(f"p{pid}" for pid in range(40, 24, -1))


def test_what_is_missing_of_a_chain_outlasts_a_checkpoint() -> None:
    world = World()
    world.feed(5, record(5, child(5), processes=(NSENTER,)))
    world.run_to(30)
    dumped = world.detector.dump(NODE)
    assert dumped is not None
    restored = Detector(Rules())
    restored.restore(NODE, dumped)
    assert restored.sought(NODE) == (4,)
    assert restored.dump(NODE) == dumped
