"""What explains a shell is found in its request, and costs what it must at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from detector.cgroup import read_cgroup
from otel_shell_detector.captures import Request
from otel_shell_detector.captures import requests as captured
from otlp_receiver import relatives, wire
from otlp_receiver.reading import read_request
from tests.otlp_receiver.captures import BY_NAME, CAPTURES
from tests.otlp_receiver.encode import Attributes, data, frame, integer, key_value, process, request
from tests.otlp_receiver.reference import processes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.context import Process
    from detector.types import NodeId, Record, Sample

ID = "ab" * 32
CGROUP = f"0::/kubepods/burstable/pod0f5c0e0e-1111-2222-3333-444444444444/{ID}"


class Asked:
    """What the detector would say."""

    def __init__(self, explained: Sequence[int] = (), sought: Sequence[int] = ()) -> None:
        self._explained = explained
        self._sought = sought

    def is_explained(self, node: NodeId, sample: Sample) -> bool:
        assert node.node
        return sample.pid in self._explained

    def sought(self, node: NodeId) -> Sequence[int]:
        assert node.node
        return self._sought


def pids(record: Record) -> list[int]:
    return [each.pid for each in record.processes]


def parented(pid: int, parent: int, name: str = "x", **more: str) -> bytes:
    return frame({**process(pid, name, **more), "process.parent_pid": parent})


def expected_of(record: Record, everyone: dict[int, Process]) -> tuple[set[int], set[str]]:
    """The pids of all ancestors that are no shells; the containers in which something is older."""
    shells = {sample.pid: sample for sample in record.samples}
    ancestors, containers = set(), set()
    for shell in record.samples:
        pid = shell.parent_pid
        while pid and pid in everyone:
            ancestors.add(pid)
            pid = everyone[pid].parent_pid
        container = read_cgroup(shell.cgroup).container_id
        mates = [each for each in everyone.values() if read_cgroup(each.cgroup).container_id == container]
        if container and any((mate.start_ns, mate.pid) < (shell.start_ns, shell.pid) for mate in mates):
            containers.add(container)
    return ancestors - shells.keys(), containers


@pytest.mark.parametrize("name", ["worker-1.pb", "worker-2.pb.zst", "worker-3.pb.zst"])
def test_in_real_bytes_every_ancestor_and_an_older_process_are_found(name: str) -> None:
    seen: set[str] = set()
    for item in captured(CAPTURES / name):
        assert isinstance(item, Request)
        (record,) = read_request(item.body, BY_NAME).records
        (of_node,) = processes_of(item.body, BY_NAME).values()
        everyone = {each.pid: each for each in of_node}
        ancestors, containers = expected_of(record, everyone)
        if not record.samples:
            assert record.processes == ()
            continue
        found = {each.pid: each for each in record.processes}
        assert found.items() <= everyone.items()
        assert ancestors | {1} <= found.keys()
        shells = [each for each in everyone.values() if each.pid in {s.pid for s in record.samples}]
        mates = {read_cgroup(each.cgroup).container_id for each in (*record.processes, *shells)}
        assert containers <= mates
        seen |= {each.name for each in record.processes}
    assert len(seen) >= 1


def test_a_chain_comes_child_before_parent_and_ends_where_nobody_is() -> None:
    body = request(
        parented(1, 0, "init"),
        parented(5, 1, "sshd"),
        parented(6, 5, "bash"),
        parented(7, 6, "make"),
        parented(8, 7, "bash"),
        parented(9, 77, "bash"),
    )
    (record,) = read_request(body, BY_NAME).records
    assert [(each.pid, each.name) for each in record.processes] == [(5, "sshd"), (1, "init"), (7, "make")]
    assert [sample.pid for sample in record.samples] == [6, 8, 9]


def test_a_cycle_of_parents_ends() -> None:
    body = request(parented(5, 6), parented(6, 5), parented(7, 5, "sh"))
    (record,) = read_request(body, BY_NAME).records
    assert pids(record) == [5, 6]


def test_the_same_pid_of_another_node_and_a_quoted_one_are_passed_over() -> None:
    other: Attributes = {"k8s.node.name": "worker-2"}
    quoted = data(2, integer(5)) + data(1, b"process.pid")
    body = request(
        parented(5, 0, "right"),
        frame({**process(5, "wrong"), "process.parent_pid": 0}, node=other),
        parented(6, 0, "quoter", command_line=quoted.decode("latin-1")),
        parented(7, 5, "sh"),
    )
    record = next(each for each in read_request(body, BY_NAME).records if each.samples)
    assert [(each.pid, each.name) for each in record.processes] == [(5, "right")]


def test_a_parent_behind_its_child_is_found_and_key_before_value_is() -> None:
    ascending = frame({**process(5, "late"), "process.parent_pid": 0}).replace(
        key_value("process.pid", integer(5)), data(1, b"process.pid") + data(2, integer(5))
    )
    (record,) = read_request(request(parented(7, 5, "sh"), ascending), BY_NAME).records
    assert pids(record) == [5]


@pytest.mark.parametrize("parent", [-3, 127, 128, 300, 2**31, 2**63 - 1])
def test_a_pid_of_any_size_is_found(parent: int) -> None:
    body = request(parented(parent, 0), parented(7, parent, "sh"))
    (record,) = read_request(body, BY_NAME).records
    assert pids(record) == [parent]


def test_what_is_explained_is_not_looked_for_and_what_is_sought_is() -> None:
    body = request(parented(1, 0), parented(4, 1), parented(5, 4), parented(7, 5, "sh"), parented(9, 1))
    (record,) = read_request(body, BY_NAME, Asked(explained=[7])).records
    assert pids(record) == []
    (record,) = read_request(body, BY_NAME, Asked(explained=[7], sought=[9, 66])).records
    assert pids(record) == [9, 1]
    (record,) = read_request(body, BY_NAME).records
    assert pids(record) == [5, 4, 1]


def test_above_a_shell_that_is_explained_a_new_one_finds_its_ancestors() -> None:
    body = request(
        parented(1, 0), parented(5, 1), parented(6, 5, "bash"), parented(7, 6), parented(8, 7, "sh")
    )
    (record,) = read_request(body, BY_NAME, Asked(explained=[6])).records
    assert pids(record) == [7, 5, 1]


def test_of_a_quiet_node_what_is_sought_is_found() -> None:
    (record,) = read_request(request(parented(4, 0)), BY_NAME, Asked(sought=[4])).records
    assert (record.samples, pids(record)) == ((), [4])


def test_one_older_process_of_the_container_is_found() -> None:
    def of(pid: int, name: str, cgroup: str = CGROUP) -> bytes:
        return frame({**process(pid, name), "process.cgroup": cgroup})

    body = request(
        of(2, "other", CGROUP.replace("ab", "cd")),
        of(3, "oldest"),
        frame({**process(4, "quotes", command_line=ID)}),
        of(5, "old"),
        of(7, "sh"),
        of(8, "young"),
        of(9, "bash"),
    )
    (record,) = read_request(body, BY_NAME).records
    assert pids(record) == [5]
    (record,) = read_request(request(of(7, "sh"), of(8, "young")), BY_NAME).records
    assert pids(record) == []


def test_what_is_older_than_one_shell_of_a_container_is_not_taken_for_older_than_another() -> None:
    # Pids have begun anew, so the frames do not come in order of age.
    def of(pid: int, name: str) -> bytes:
        return frame({**process(pid, name), "process.cgroup": CGROUP})

    body = request(of(9, "sh"), of(5, "old"), of(4, "bash"), of(3, "oldest"))
    (record,) = read_request(body, BY_NAME).records
    assert sorted(pids(record)) == [3, 5]


def test_a_frame_that_is_no_process_or_cannot_be_read_explains_nothing() -> None:
    needle = data(1, data(2, integer(5)) + data(1, b"process.pid"))
    body = request(
        data(1, needle) + b"\x0a\x7f",
        data(1, needle.replace(b"process.pid", b"process.pid" + b"\x12\x00")[:-2]),
        frame({"process.executable.name": "no pid", "process.command_line": needle.decode("latin-1")}),
        frame(process(5), data(7, b"")[:0] or b"\x3a\x00"),
        parented(7, 5, "sh"),
    )
    record = next(each for each in read_request(body, BY_NAME).records if each.samples)
    assert all(each.pid == 5 for each in record.processes)


def test_what_a_request_may_cost_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many shells has a parent that is nowhere: looking for all of them would take squared time."""
    scanned = 0
    scan, scan_back = wire.scan, wire.scan_back

    def count(body: bytes, needle: bytes, start: int = 0, end: int = 2**62) -> int:
        nonlocal scanned
        scanned += min(end, len(body)) - start
        return scan(body, needle, start)

    def count_back(body: bytes, needle: bytes, start: int = 0, end: int = 2**62) -> int:
        nonlocal scanned
        scanned += min(end, len(body)) - start
        return scan_back(body, needle, start, end)

    monkeypatch.setattr(relatives, "scan", count)
    monkeypatch.setattr(relatives, "scan_back", count_back)
    body = request(*(parented(pid, 100_000 + pid, "sh") for pid in range(2, 600)))
    (record,) = read_request(body, BY_NAME).records
    assert (len(record.samples), record.processes) == (598, ())
    assert 60 * len(body) < scanned <= 64 * len(body)


def test_of_many_frames_that_quote_a_pid_few_are_looked_into() -> None:
    quoted = (data(2, integer(5)) + data(1, b"process.pid")).decode("latin-1")
    quoters = [parented(20 + number, 0, "x", command_line=quoted) for number in range(20)]
    (record,) = read_request(request(parented(5, 0), *quoters, parented(90, 5, "sh")), BY_NAME).records
    assert pids(record) == []
    (record,) = read_request(request(parented(5, 0), *quoters[:7], parented(90, 5, "sh")), BY_NAME).records
    assert pids(record) == [5]


def test_of_a_long_chain_a_bounded_part_is_found() -> None:
    body = request(*(parented(pid, pid - 1) for pid in range(2, 40)), parented(40, 39, "sh"))
    (record,) = read_request(body, BY_NAME).records
    assert pids(record) == list(range(39, 39 - 16, -1))
