"""What the index holds of a request."""

from __future__ import annotations

import struct

import pytest

from detector.types import Metric
from otel_shell_detector.search.reading import IndexedPoint, read_frame, read_points
from otel_shell_detector.search.spl import Key
from otlp_receiver.reading import MalformedRequest, TooManyResources
from tests.otlp_receiver.encode import (
    NODE,
    START,
    T0,
    Attributes,
    attributes,
    data,
    double,
    fixed64,
    gauge,
    key_value,
    memory,
    number,
    point,
    process,
    sum_,
)

KEY = Key("worker-1.internal", "prod", "worker-1", "7", "bash")
CPU = "process.cpu.utilization"


def frame(resource: Attributes, *metrics: bytes) -> bytes:
    scope = b"".join(data(2, metric) for metric in metrics)
    return data(2, scope) + data(1, attributes(1, resource.items()))


def cpu_points(*points: bytes) -> list[IndexedPoint]:
    return list(read_frame(frame(NODE | process(), gauge(CPU, *points))))


def test_every_point_of_the_two_metrics_is_read_as_it_is() -> None:
    metrics = (
        gauge(CPU, point(double(4, -2.88), states={"state": "user"}), point(double(4, 0.0))),
        sum_("process.memory.utilization", point(fixed64(6, 3), time_ns=T0 + 1)),
        gauge("process.cpu.time", point(double(4, 1.0))),
    )
    assert list(read_frame(frame(NODE | process(), *metrics))) == [
        IndexedPoint(KEY, Metric.CPU, T0, START, -2.88),
        IndexedPoint(KEY, Metric.CPU, T0, START, 0.0),
        IndexedPoint(KEY, Metric.MEMORY, T0 + 1, START, 3.0),
    ]


@pytest.mark.parametrize(
    ("value", "flags", "held"),
    [
        (b"", 0, None),
        (b"", 1, None),
        (double(4, float("nan")), 0, None),
        (double(4, float("inf")), 0, None),
        (double(4, float("-inf")), 0, None),
        (double(4, 0.5), 1, 0.5),  # the exporter does not look at the flag
        (fixed64(6, 2**64 - 2), 0, -2.0),
    ],
)
def test_what_is_no_number_is_no_measurement(value: bytes, flags: int, held: float | None) -> None:
    (found,) = cpu_points(point(value, flags=flags))
    assert found == IndexedPoint(KEY, Metric.CPU, T0, START, held)
    assert found.counted == held


def test_a_point_without_a_time_counts_nowhere() -> None:
    (found,) = cpu_points(point(double(4, 1.0), time_ns=0))
    assert found.counted is None


def test_a_time_beyond_what_64_signed_bits_hold_is_read_as_the_last_one() -> None:
    (found,) = cpu_points(point(double(4, 1.0), time_ns=2**64 - 1, start_ns=2**64 - 1))
    assert (found.time_ns, found.start_ns) == (2**63 - 1, 2**63 - 1)


@pytest.mark.parametrize("field", ["host.name", "k8s.cluster.name", "k8s.node.name", "process.pid"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_point_that_lacks_a_by_field_counts_nowhere(field: str, how: str) -> None:
    resource = NODE | process()
    resource.pop(field)
    if how == "empty":
        resource[field] = ""
    (found,) = read_frame(frame(resource | {"host.id": "x", "cluster_name": "x"}, memory(1.0)))
    assert found.missing == (field,)
    assert found.counted is None


def test_a_name_that_the_search_does_not_look_for_counts_nowhere() -> None:
    (found,) = read_frame(frame(NODE | process(name="Bash"), memory(1.0)))
    assert found.missing == ()
    assert found.counted is None


def test_a_points_own_attributes_stand_over_those_of_its_resource() -> None:
    own = point(
        double(4, 1.0), states={"state": "user", "host.name": "other", "process.executable.name": "sh"}
    )
    (found,) = cpu_points(own)
    assert found.fields == Key("other", "prod", "worker-1", "7", "sh")


def pid(any_value: bytes) -> str:
    resource = attributes(1, [(k, v) for k, v in (NODE | process()).items() if k != "process.pid"])
    resource += data(1, key_value("process.pid", any_value))
    (found,) = read_frame(data(2, data(2, memory(1.0))) + data(1, resource))
    return found.fields.pid


@pytest.mark.parametrize(
    ("any_value", "text"),
    [
        (data(1, b"7"), "7"),
        (data(1, b"\xff7"), "\\xff7"),
        (number(3, 649), "649"),
        (number(3, -1), "-1"),
        (number(2, 1), "true"),
        (number(2, 0), "false"),
        (data(7, b"7"), ""),
        (data(5, data(1, data(1, b"7"))), ""),
        (b"", ""),
        *(
            (b"\x21" + struct.pack("<d", value), text)
            for value, text in [
                (649.0, "649"),
                (12.5, "12.5"),
                (-0.0, "-0"),
                (0.000001, "0.000001"),
                (1e-7, "1e-7"),
                (1.5e-300, "1.5e-300"),
                (123456789012345678901.0, "123456789012345680000"),
                (1e21, "1e+21"),
                (float("nan"), "NaN"),
                (float("inf"), "Infinity"),
                (float("-inf"), "-Infinity"),
            ]
        ),
    ],
)
def test_values_become_text_as_the_collector_writes_them(any_value: bytes, text: str) -> None:
    assert pid(any_value) == text


def test_of_equal_keys_the_last_counts() -> None:
    twice = attributes(1, [*(NODE | process()).items(), ("host.name", "last")])
    (found,) = read_frame(data(2, data(2, memory(1.0))) + data(1, twice))
    assert found.fields.host == "last"


def test_a_request_gives_the_points_of_its_frames_in_order() -> None:
    shell = frame(NODE | process(), memory(1.0))
    other = frame(NODE | process(name="python3"), memory(9.0))
    body = data(1, other) + data(1, shell) + data(1, b"\x0a\x04bash\xff") + data(1, shell)
    assert [found.value for found in read_points(body, 10)] == [1.0, 1.0]
    with pytest.raises(TooManyResources):
        list(read_points(body, 3))
    with pytest.raises(MalformedRequest):
        list(read_points(body[:-1], 10))
