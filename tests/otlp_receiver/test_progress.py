"""What frames that nobody decodes say of their nodes."""

from __future__ import annotations

import pytest

from detector.types import NodeId, Record
from otlp_receiver import progress
from otlp_receiver.reading import read_request
from tests.otlp_receiver.captures import BY_NAME, bare
from tests.otlp_receiver.encode import (
    NODE,
    START,
    T0,
    Attributes,
    any_value,
    attributes,
    data,
    frame,
    gauge,
    integer,
    memory,
    process,
    text,
)
from tests.otlp_receiver.readings import read

WORKER_1 = NodeId("prod", "worker-1")
HOST_ONLY: Attributes = {"host.name": "h"}


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The frames that were parsed."""
    parsed: list[bytes] = []
    real = progress._read_process_frame

    def recording(frame: bytes, *args: object) -> object:
        parsed.append(frame)
        return real(frame, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(progress, "_read_process_frame", recording)
    return parsed


def other(pid: int, at: int, node: Attributes | None = None, start_ns: int = START) -> bytes:
    """A frame of a process that is not watched."""
    return frame(process(pid, "java"), memory(1.0, time_ns=T0 + at, start_ns=start_ns), node=node)


def ascending(pid: int, at: int, node: Attributes) -> bytes:
    """The same as an ascending encoder writes it: the resource first, keys before values."""
    pairs = {**process(pid, "java"), **node}.items()
    resource = b"".join(data(1, data(1, key.encode()) + data(2, any_value(value))) for key, value in pairs)
    return data(1, resource) + data(2, data(2, memory(1.0, time_ns=T0 + at)))


def records(*frames: bytes) -> tuple[Record, ...]:
    return read(*frames).records


def quiet(node: NodeId, at: int, init: int = 0) -> Record:
    return Record(node, (), (T0 + at,), init)


def test_the_first_process_frame_of_each_node_tells_its_time(parses: list[bytes]) -> None:
    two: Attributes = {**NODE, "k8s.node.name": "worker-2"}
    frames = [other(5, 1), other(6, 2), other(5, 3, two), other(7, 4), other(8, 5, two)]
    assert records(*frames) == (quiet(WORKER_1, 1), quiet(NodeId("prod", "worker-2"), 3))
    assert parses == [frames[0], frames[2]]


def test_of_a_real_scrape_one_frame_is_parsed(parses: list[bytes]) -> None:
    read_request(bare("scrape-300-quiet.pb"), BY_NAME)
    assert len(parses) == 1


def test_a_request_without_a_process_says_nothing(parses: list[bytes]) -> None:
    assert records(frame({"system": "x"}), frame({})) == ()
    assert parses == []


@pytest.mark.parametrize(
    "passed_over",
    [
        frame({}),
        frame(process("7", "java")),
        frame(process(5, "java"), node={"k8s.cluster.name": "prod"}),
        frame(process(5, "java"), b""),
        frame(process(5, "java"), data(9, data(1, b"")) + data(1, b"histogram")),
        other(5, 0) + b"\x0a\x7f",
        data(2, b"\x12\x7f") + frame(process(5, "java")),
    ],
    ids=[
        "no process",
        "pid is text",
        "no node",
        "no metric",
        "no number point",
        "broken frame",
        "broken scope",
    ],
)
def test_a_frame_that_is_no_process_frame_is_passed_over(passed_over: bytes) -> None:
    assert records(passed_over, other(5, 2)) == (quiet(WORKER_1, 2),)


def test_the_time_is_the_latest_of_all_points_and_the_start_is_of_that_point() -> None:
    metrics = (
        memory(1.0, time_ns=T0 + 5, start_ns=START + 1),
        memory(1.0, time_ns=T0 + 9, start_ns=START + 2),
        memory(1.0, time_ns=T0 + 9, start_ns=START + 3),
        memory(1.0, time_ns=T0 + 7, start_ns=START + 4),
    )
    assert records(frame(process(1, "init"), *metrics)) == (quiet(WORKER_1, 9, START + 3),)


def test_encoders_that_write_the_resource_first_are_read_frame_by_frame(parses: list[bytes]) -> None:
    two: Attributes = {**NODE, "k8s.node.name": "worker-2"}
    frames = [ascending(5, 1, NODE), ascending(6, 2, NODE), ascending(5, 3, two)]
    assert records(*frames) == (quiet(WORKER_1, 1), quiet(NodeId("prod", "worker-2"), 3))
    assert parses[:3] == frames


def test_a_frame_that_names_its_node_by_an_earlier_key_is_not_told_by_its_end() -> None:
    named: Attributes = {"k8s.node.name": "worker-2", **HOST_ONLY}
    assert records(other(5, 1, HOST_ONLY), other(6, 2, named)) == (
        quiet(NodeId("unknown", "h"), 1),
        quiet(NodeId("unknown", "worker-2"), 2),
    )


def test_a_frame_that_names_its_cluster_is_not_told_by_the_end_of_one_that_names_none() -> None:
    named: Attributes = {"cluster_name": "c", **HOST_ONLY}
    assert records(other(5, 1, HOST_ONLY), other(6, 2, named)) == (
        quiet(NodeId("unknown", "h"), 1),
        quiet(NodeId("c", "h"), 2),
    )


def test_text_that_quotes_a_key_costs_parses_and_changes_nothing(parses: list[bytes]) -> None:
    quoting = process(6, "java", command_line=data(1, b"k8s.node.name"))
    frames = [other(5, 1, HOST_ONLY), frame(quoting, memory(1.0), node=HOST_ONLY), other(7, 3, HOST_ONLY)]
    assert records(*frames) == (quiet(NodeId("unknown", "h"), 1),)
    assert parses[:3] == frames


def test_a_text_at_the_end_of_a_resource_that_quotes_a_key_makes_no_end_of_a_node() -> None:
    # The key of the last attribute is quoted by a later one: the tail begins at the real one.
    node: Attributes = {"host.name": "h", "zz": data(1, b"host.name")}
    impostor: Attributes = {"host.name": "other", "zz": data(1, b"host.name")}
    assert records(other(5, 1, node), other(6, 2, impostor)) == (
        quiet(NodeId("unknown", "h"), 1),
        quiet(NodeId("unknown", "other"), 2),
    )


def test_names_far_from_the_end_of_a_resource_are_read_frame_by_frame(parses: list[bytes]) -> None:
    node: Attributes = {"host.name": "h", **{f"label.{each}": each for each in range(40)}}
    assert records(other(5, 1, node), other(6, 2, node)) == (quiet(NodeId("unknown", "h"), 1),)
    assert len(parses) == 2


def test_a_request_of_many_nodes_tells_of_all_of_them() -> None:
    nodes: list[Attributes] = [{"host.name": f"h{each}"} for each in range(progress._MAX_TAILS + 3)]
    frames = [other(5, at, node) for at, node in enumerate(nodes)]
    expected = tuple(quiet(NodeId("unknown", f"h{at}"), at) for at in range(len(nodes)))
    assert records(*frames, *frames) == expected


def test_the_documented_limit_a_frame_that_quotes_a_tail_at_its_very_end_is_passed_over() -> None:
    tail = attributes(1, NODE.items())
    # No collector ends a frame with a text.
    quoting = data(2, data(2, memory(1.0))) + data(
        1,
        attributes(1, [("process.pid", 6), ("process.executable.name", "bash"), ("host.id", "i")])
        + data(1, data(1, b"process.command_line") + data(2, text(b"x" + tail))),
    )
    found = records(other(5, 1), quoting)
    assert [(record.node, len(record.samples), record.probe_times_ns) for record in found] == [
        (WORKER_1, 0, (T0 + 1,)),
        (NodeId("unknown", "i"), 1, ()),
    ]


def test_the_start_of_pid_1_is_that_of_the_first_frame_if_that_is_its() -> None:
    assert records(other(1, 1, start_ns=START + 5), other(1, 2)) == (quiet(WORKER_1, 1, START + 5),)


def test_the_start_of_pid_1_is_found_in_a_later_frame_in_either_order_of_fields() -> None:
    two: Attributes = {**NODE, "k8s.node.name": "worker-2"}
    assert records(
        other(5, 1),
        other(5, 2, two),
        other(1, 3, start_ns=START + 3),
        other(1, 4, start_ns=START + 4),
        ascending(1, 5, two),
        other(1, 6, two, start_ns=START + 6),
    ) == (quiet(WORKER_1, 1, START + 3), quiet(NodeId("prod", "worker-2"), 2, START))


def test_a_frame_that_only_quotes_pid_1_is_not_it() -> None:
    quoted = data(2, integer(1)) + data(1, b"process.pid")
    quoting = frame(process(6, "java", command_line=quoted), memory(1.0))
    assert records(other(5, 1), quoting) == (quiet(WORKER_1, 1),)


def test_pid_1_of_a_node_that_was_passed_over_is_nobodys() -> None:
    tail = attributes(1, NODE.items())
    quoting = data(2, data(2, gauge("x", b""))) + data(
        1,
        attributes(1, [("process.pid", 1), ("host.id", "i")])
        + data(1, data(1, b"process.command_line") + data(2, text(b"x" + tail))),
    )
    assert records(other(5, 1), quoting) == (quiet(WORKER_1, 1),)
