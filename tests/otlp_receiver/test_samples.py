"""What a sample says of a process, attribute by attribute and point by point."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector.types import CommandLine, Metric, NodeId, Point, Record
from otlp_receiver import descriptors
from otlp_receiver.selection import Match, Selection
from tests.otlp_receiver.captures import BY_BOTH, BY_NAME, SHELLS, clean
from tests.otlp_receiver.encode import (
    NODE,
    START,
    T0,
    Attributes,
    Value,
    attributes,
    cpu,
    data,
    double,
    fixed64,
    frame,
    gauge,
    memory,
    point,
    process,
    sum_,
)
from tests.otlp_receiver.readings import BASH, WORKER_1, read, reading_of

# --- who a process is


def test_every_attribute_of_a_sample_is_read() -> None:
    resource = process(
        path="/usr/bin/bash", owner="root", command_line="bash -i", parent_pid=1, command="bash"
    )
    assert read(frame(resource)) == reading_of(
        replace(
            BASH,
            path="/usr/bin/bash",
            owner="root",
            command_line=CommandLine("bash -i", 7),
            parent_pid=1,
        )
    )


@pytest.mark.parametrize(
    ("resource", "by_name", "by_path"),
    [
        (process(name="bash", path="/bin/dash"), True, False),
        (process(name="report.sh", path="/usr/bin/bash"), False, True),
        (process(name="report.sh", path="/usr/bin/bash (deleted)"), False, True),
        (process(name="report.sh", path="bash"), False, True),
        (process(name="report.sh", path="bash (deleted)"), False, True),
        (process(name="report.sh", path="/opt/bash/run"), False, False),
        (process(name="bash", path=""), True, False),
        (process(name="bashful", path="/usr/bin/bashful"), False, False),
        (process(name="java", command_line="bash", path="/usr/bin/java"), False, False),
        (process(name=7, path=7), False, False),
        ({"process.pid": 7}, False, False),
    ],
)
def test_a_process_is_matched_by_its_name_or_by_the_base_name_of_its_path(
    resource: Attributes, by_name: bool, by_path: bool
) -> None:
    for match, expected in (
        ((Match.NAME,), by_name),
        ((Match.PATH,), by_path),
        ((Match.NAME, Match.PATH), by_name or by_path),
    ):
        reading = read(frame(resource), selection=Selection(SHELLS, clean, match))
        assert bool(reading.records[0].samples) == expected


def test_a_process_found_by_its_path_keeps_its_own_name() -> None:
    resource = process(name="report.sh", path="/usr/bin/bash")
    expected = reading_of(replace(BASH, name="report.sh", path="/usr/bin/bash"))
    assert read(frame(resource), selection=BY_BOTH) == expected


def test_of_equal_keys_the_last_wins() -> None:
    def named(*names: str) -> bytes:
        head = attributes(1, [("process.pid", 7), *(("process.executable.name", name) for name in names)])
        return data(2, data(2, memory(1.0))) + data(1, head + attributes(1, NODE.items()))

    assert read(named("sh", "bash")) == reading_of(BASH)
    assert read(named("bash", "python3")).records[0].samples == ()


def test_a_resource_in_two_pieces_is_one() -> None:
    pieces: list[tuple[str, Value]] = [("process.pid", 7), ("process.executable.name", "bash"), *NODE.items()]
    first, second = attributes(1, pieces[:1]), attributes(1, pieces[1:])
    assert read(data(1, first) + data(2, data(2, memory(1.0))) + data(1, second)) == reading_of(BASH)


def test_text_is_bounded_and_what_is_not_utf_8_is_escaped_and_counted_once_for_each_attribute() -> None:
    node: Attributes = {"host.name": b"w\xff", "k8s.cluster.name": b"c\xfe"}
    resource = process(
        name="bash", path=b"/" + b"\xff" * 5000, owner=b"o\xfd", command_line=b"bash \xe9" + b"x" * 9000
    )
    expected = reading_of(
        replace(
            BASH,
            host="w\\xff",
            path=("/" + "\\xff" * 5000)[:4096],
            owner="o\\xfd",
            command_line=CommandLine("bash \\xe9" + "x" * 9000, 9009),
        ),
        node=NodeId("c\\xfe", "w\\xff"),
        text_replaced={
            "host.name": 1,
            "k8s.cluster.name": 1,
            "process.executable.path": 1,
            "process.owner": 1,
            "process.command_line": 1,
        },
    )
    assert read(frame(resource, node=node)) == expected


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"k8s.node.name": "k", "host.name": "h", "host.id": "i"}, "k"),
        ({"k8s.node.name": "", "host.name": "h", "host.id": "i"}, "h"),
        ({"k8s.node.name": 7, "host.id": "i"}, "i"),
    ],
)
def test_a_node_is_named_by_the_first_of_its_chain(node: Attributes, expected: str) -> None:
    assert read(frame(process(), node=node)).records[0].node == NodeId("unknown", expected)


@pytest.mark.parametrize(
    ("names", "configured", "expected", "unknown"),
    [
        ({"k8s.cluster.name": "n", "cluster_name": "c", "k8s.cluster.uid": "u"}, "own", "n", 0),
        ({"cluster_name": "c", "k8s.cluster.uid": "u"}, "own", "c", 0),
        ({"k8s.cluster.name": "", "k8s.cluster.uid": "u"}, "own", "u", 0),
        ({}, "own", "own", 0),
        ({}, "", "unknown", 1),
    ],
)
def test_a_cluster_is_named_by_the_first_of_its_chain(
    names: Attributes, configured: str, expected: str, unknown: int
) -> None:
    selection = replace(BY_NAME, cluster_name=configured)
    reading = read(frame(process(), node={**names, "host.name": "h"}), selection=selection)
    assert (reading.records[0].node, reading.unknown_clusters) == (NodeId(expected, "h"), unknown)


def test_an_empty_command_line_is_none() -> None:
    assert read(frame(process(command_line=""))) == reading_of(BASH)


# --- what was measured


def test_points_of_gauges_and_sums_integers_and_doubles_are_taken_in_wire_order() -> None:
    metrics = (
        sum_("process.cpu.utilization", point(fixed64(6, 2), states={"state": "user"})),
        gauge("process.cpu.utilization", point(double(4, 0.25), time_ns=T0 - 5)),
        gauge("process.memory.utilization", point(fixed64(6, 2**64 - 3), states={"state": "ignored"})),
        gauge("process.cpu.time", point(double(4, 9.0))),
    )
    assert read(frame(process(), *metrics)) == reading_of(
        replace(
            BASH,
            points=(
                Point(Metric.CPU, "user", T0, 2.0),
                Point(Metric.CPU, "", T0 - 5, 0.25),
                Point(Metric.MEMORY, "", T0, -3.0),
            ),
        )
    )


def test_a_point_without_a_recorded_value_has_none() -> None:
    metric = gauge(
        "process.memory.utilization", point(double(4, 5.0), flags=1), point(), point(double(4, 5.0), flags=2)
    )
    values = [each.value for each in read(frame(process(), metric)).records[0].samples[0].points]
    assert values == [None, None, 5.0]


@pytest.mark.parametrize(
    ("states", "slot"),
    [
        ({"state": "wait"}, "wait"),
        ({"cpu.mode": "iowait"}, "wait"),
        ({"cpu.mode": "user"}, "user"),
        ({"state": "wait", "cpu.mode": "iowait"}, "wait"),
        ({"state": "", "cpu.mode": "system"}, "system"),
        ({"state": "x" * 100}, "x" * 64),
        ({"other": "user"}, ""),
        ({}, ""),
    ],
)
def test_a_cpu_state_has_one_slot_whatever_it_is_called(states: dict[str, str], slot: str) -> None:
    metric = gauge("process.cpu.utilization", point(double(4, 0.5), states=states))
    points = read(frame(process(), metric)).records[0].samples[0].points
    assert points == (Point(Metric.CPU, slot, T0, 0.5),)


def test_a_frame_gives_a_sample_for_each_start_time() -> None:
    metrics = (
        memory(1.0, start_ns=START),
        memory(2.0, start_ns=START + 1, time_ns=T0 + 3),
        cpu(("user", 0.5), start_ns=START, time_ns=T0 - 9),
        gauge("process.threads", point(fixed64(6, 1), start_ns=0, time_ns=T0 + 1)),
        gauge("process.threads", point(fixed64(6, 1), start_ns=START, time_ns=T0 + 2)),
    )
    assert read(frame(process(), *metrics)).records == (
        Record(
            WORKER_1,
            (
                replace(
                    BASH,
                    time_ns=T0 + 2,
                    points=(Point(Metric.MEMORY, "", T0, 1.0), Point(Metric.CPU, "user", T0 - 9, 0.5)),
                ),
                replace(
                    BASH,
                    start_ns=START + 1,
                    time_ns=T0 + 3,
                    points=(Point(Metric.MEMORY, "", T0 + 3, 2.0),),
                ),
                replace(BASH, start_ns=0, time_ns=T0 + 1, points=()),
            ),
            probe_times_ns=(T0 + 3,),
        ),
    )


def test_times_that_no_store_can_keep_are_read_as_the_latest_that_one_can() -> None:
    latest = 2**63 - 1
    reading = read(frame(process(1), memory(1.0, time_ns=2**64 - 1, start_ns=2**63)))
    sample = replace(
        BASH, pid=1, start_ns=latest, time_ns=latest, points=(Point(Metric.MEMORY, "", latest, 1.0),)
    )
    assert reading.records == (Record(WORKER_1, (sample,), (latest,), init_start_ns=latest),)


# --- a defect of ours


def test_a_defect_costs_the_points_of_one_frame_and_is_told_by_its_class() -> None:
    def fails_on_poison(text: str) -> CommandLine:
        if text == "poison":
            raise RecursionError("a secret")
        return clean(text)

    poison = frame(process(command_line=b"poison"), memory(1.0), memory(2.0))
    got = read(poison, frame(process(), memory(1.0)), selection=Selection(SHELLS, fails_on_poison))
    assert got == reading_of(
        BASH, frames=2, hit_frames=2, rejected={"decoder_failed": 2}, errors={"RecursionError": 1}
    )


def test_a_frame_whose_points_cannot_even_be_counted_counts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @staticmethod
        def FromString(_: bytes) -> None:  # noqa: N802  # protobuf's name
            raise MemoryError

    monkeypatch.setattr(descriptors, "RESOURCE_METRICS", Broken)
    got = read(frame(process(), memory(1.0)))
    assert (got.rejected, got.errors) == ({"decoder_failed": 1}, {"MemoryError": 1})
