"""One request in, records out: on real bytes, and case by case."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from detector import signs
from detector.context import Process
from detector.types import CommandLine, Metric, NodeId, Point, Record, Sample
from otlp_receiver.reading import MalformedRequest, Reading, TooManyResources, read_request
from tests.otlp_receiver.captures import BY_BOTH, BY_NAME, bare, real_requests, requests
from tests.otlp_receiver.encode import (
    T0,
    Attributes,
    any_value,
    cpu,
    data,
    fixed64,
    frame,
    integer,
    key_value,
    memory,
    number,
    process,
    request,
    text,
)
from tests.otlp_receiver.readings import BASH, WORKER_1, read, reading_of
from tests.otlp_receiver.reference import read_all, without_processes

if TYPE_CHECKING:
    from otlp_receiver.selection import Selection

# --- real bytes


def shells_of(name: str, selection: Selection) -> set[tuple[int, str]]:
    return {
        (sample.pid, sample.name)
        for body in requests(name)
        for record in read_request(body, selection).records
        for sample in record.samples
    }


def test_of_worker_1_every_shell_is_read_and_nothing_else() -> None:
    # By worker-1.truth.tsv; 322 is the zombie, whose samples are the detector's to judge.
    by_name = {
        (23, "bash"),
        (181, "sh"),
        (183, "bash"),
        (197, "tcsh"),
        (199, "csh"),
        (200, "sh"),
        (201, "bash"),
        (231, "sh"),
        (322, "bash"),
        (649, "bash"),
    }
    assert shells_of("worker-1.pb", BY_NAME) == by_name
    assert shells_of("worker-1.pb", BY_BOTH) == by_name | {(184, "report.sh")}


V1 = "9:name=systemd:/\n" + "".join(
    f"{8 - number}:{name}:/\n"
    for number, name in enumerate(
        ("pids", "blkio", "freezer", "devices", "memory", "cpuset", "cpuacct", "cpu")
    )
)
"""What the old hierarchies of the machine of the captures say of every process."""


def test_a_real_scrape_with_two_shells_is_read_whole() -> None:
    busy, idle = 1795490838819920039, 1795490838820046155
    working = Sample(
        host="worker-300.example.internal",
        pid=304,
        start_ns=1795490814960000000,
        name="bash",
        time_ns=busy,
        points=(
            Point(Metric.CPU, "user", busy, 0.15254177405295807),
            Point(Metric.CPU, "system", busy, 0.34709505309099314),
            Point(Metric.CPU, "wait", busy, 0.0),
            Point(Metric.MEMORY, "", busy, 0.012623737566173077),
        ),
        parent_pid=1,
        path="/usr/bin/bash",
        owner="root",
        command_line=CommandLine("/bin/bash -c while :; do read -t 5 x < /dev/zero; done", 54),
    )
    pod = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
    working = replace(
        working,
        cgroup=f"{V1}0::/{pod}ad17cfe1_aaaa_bbbb_cccc_59073d7665fd.slice/cri-containerd-"
        "ab05f0c2b379120875d5e1f350869af93c22962e09fe699f13dd7b494b9645b7.scope",
    )
    sleeping = replace(
        working,
        pid=305,
        time_ns=idle,
        points=(
            *(Point(Metric.CPU, state, idle, 0.0) for state in ("user", "system", "wait")),
            Point(Metric.MEMORY, "", idle, 0.011667639948427677),
        ),
        command_line=CommandLine("/bin/bash -c while :; do sleep 5; done", 38),
        cgroup=f"{V1}0::/{pod}4af54c33_aaaa_bbbb_cccc_17c82a94fa98.slice/cri-containerd-"
        "e9dbc13db99cff1d565cf0978cbd22190964a0f2f40ad027365f5e2df29a3722.scope",
    )
    line = "/usr/bin/python3 /srv/s300.py scrape-300 300 2"
    init = Process(1, 1795490814790000000, "python3", 0, CommandLine(line, 46), f"{V1}0::/")
    assert read_request(bare("scrape-300.pb"), BY_NAME) == Reading(
        records=(
            Record(
                node=NodeId("prod-eu", "worker-300"),
                samples=(working, sleeping),
                probe_times_ns=(1795490838781420757,),
                init_start_ns=1795490814790000000,
                processes=(init,),
                signs=signs.CPU | signs.MEMORY | signs.PATH,
            ),
        ),
        frames=301,
        hit_frames=2,
    )


def test_a_quiet_scrape_says_that_its_node_was_scraped() -> None:
    assert read_request(bare("scrape-300-quiet.pb"), BY_NAME) == Reading(
        records=(
            Record(
                node=NodeId("prod-eu", "worker-300"),
                samples=(),
                probe_times_ns=(1795490866928130660,),
                init_start_ns=1795490842990000000,
                signs=signs.CPU | signs.MEMORY | signs.PATH,
            ),
        ),
        frames=300,
    )


def test_one_byte_that_is_not_utf_8_hides_nothing() -> None:
    lines = {
        sample.command_line.text
        for body in requests("worker-4.pb")
        for record in read_request(body, BY_NAME).records
        for sample in record.samples
        if sample.command_line
    }
    assert any("caf\\xe9 \\xff\\xfe" in line for line in lines)
    assert len(lines) == 3
    counted = [read_request(body, BY_NAME).text_replaced for body in requests("worker-4.pb")]
    assert counted == [{"process.command_line": 1}] * 3


def test_a_full_parse_reads_the_same_of_real_bytes() -> None:
    for body in real_requests():
        for selection in (BY_NAME, BY_BOTH):
            assert without_processes(read_request(body, selection)) == read_all(body, selection)


def test_a_scan_for_the_key_before_the_value_would_find_nothing_in_real_bytes() -> None:
    def samples_in(bodies: list[bytes]) -> int:
        records = [record for body in bodies for record in read_request(body, BY_NAME).records]
        return sum(len(record.samples) for record in records)

    def key_then_value(self: Selection) -> tuple[bytes, ...]:
        head = data(1, b"process.executable.name")
        return tuple(head + data(2, text(name.encode())) for name in self.executables)

    ordered = replace(BY_NAME)
    object.__setattr__(ordered, "needles", key_then_value(ordered))
    ours = process(8, "bash")
    written_by_us = data(1, b"process.executable.name") + data(2, text(b"bash"))
    ascending = frame(ours).replace(key_value("process.executable.name", text(b"bash")), written_by_us)
    # The mutant is no straw man: on an encoder that writes in ascending order it works.
    assert read(ascending, selection=ordered).records[0].samples == (replace(BASH, pid=8),)
    assert samples_in(real_requests()) == 128
    found = [read_request(body, ordered) for body in real_requests()]
    assert [reading.hit_frames for reading in found] == [0] * len(found)


# --- the request


def test_nothing_reads_as_nothing() -> None:
    assert read_request(b"", BY_NAME) == Reading()


def test_a_request_of_broken_framing_is_refused() -> None:
    with pytest.raises(MalformedRequest):
        read_request(request(frame(process()))[:-1], BY_NAME)


def test_a_request_of_too_many_resources_is_refused() -> None:
    with pytest.raises(TooManyResources):
        read_request(request(b"", b""), replace(BY_NAME, max_resources=1))


def test_records_come_in_the_order_of_first_appearance_with_their_samples_in_wire_order() -> None:
    other: Attributes = {"k8s.node.name": "worker-2"}
    reading = read(
        frame(process(5, "python3")),
        frame(process(8, "sh"), node=other),
        frame(process(9, "bash")),
        frame(process(7, "sh"), node=other),
        frame(process(3, "bash")),
    )
    assert reading == Reading(
        (
            Record(WORKER_1, (replace(BASH, pid=9), replace(BASH, pid=3)), (T0,)),
            Record(
                NodeId("unknown", "worker-2"),
                (replace(BASH, host="", pid=8, name="sh"), replace(BASH, host="", pid=7, name="sh")),
                (T0,),
            ),
        ),
        frames=5,
        hit_frames=4,
        unknown_clusters=1,
    )


# --- what cannot be taken


def test_a_frame_without_a_number_point_yields_nothing_and_is_counted() -> None:
    histogram = data(9, data(1, fixed64(3, T0))) + data(1, b"process.cpu.utilization")
    assert read(frame(process(), histogram), frame(process(), b"")) == Reading(
        frames=2, hit_frames=2, empty_frames=2
    )


@pytest.mark.parametrize("pid", ["7", None])
def test_a_frame_without_an_integer_pid_is_rejected_with_all_of_its_points(pid: str | None) -> None:
    resource = process()
    del resource["process.pid"]
    if pid is not None:
        resource["process.pid"] = pid
    others = [data(kind, data(1, b"") * 2) + data(1, b"any") for kind in (9, 10, 11)]
    no_data = data(1, b"no.data")
    bad = frame(resource, memory(1.0), cpu(("user", 0.1), ("system", 0.1)), *others, no_data)
    good = frame(process())
    assert read(bad, good) == replace(reading_of(BASH), rejected={"no_pid": 9}, frames=2, hit_frames=2)


def test_a_frame_that_names_no_node_is_rejected() -> None:
    node: Attributes = {"k8s.cluster.name": "prod", "host.id": 3}
    assert read(frame(process(), node=node)) == Reading(rejected={"no_node": 1}, frames=1, hit_frames=1)


def test_a_frame_of_another_process_is_never_rejected() -> None:
    resource = process(name="java", command_line=text(b"bash"))
    del resource["process.pid"]
    assert read(frame(resource, node={})) == Reading(frames=1, hit_frames=1)


def test_an_undecodable_frame_that_may_be_watched_is_rejected_and_the_rest_is_taken() -> None:
    broken = frame(process()) + b"\x0a\x7f"
    assert read(frame(process()), broken, b"\x0a\x7f", frame(process(8))) == Reading(
        (Record(WORKER_1, (BASH, replace(BASH, pid=8)), (T0,)),),
        rejected={"undecodable": 1},
        frames=4,
        hit_frames=3,
    )


def test_integers_of_any_sign_are_pids() -> None:
    resource = process(-4, parent_pid=-1)
    assert read(frame(resource)) == reading_of(replace(BASH, pid=-4, parent_pid=-1))
    assert any_value(-1) == integer(-1) == number(3, 2**64 - 1)
    assert key_value("k", b"") == data(2, b"") + data(1, b"k")


def test_frames_are_counted_before_anything_is_kept_of_them() -> None:
    bomb = b"\x0a\x00" * (8 << 20)
    tracemalloc.start()
    with pytest.raises(TooManyResources):
        read_request(bomb, BY_NAME)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20  # the offsets of the 100,000 frames that are taken at most, not those of 8 million
