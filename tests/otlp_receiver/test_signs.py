"""What the first process frame of a node shows of how well the node can be seen."""

from __future__ import annotations

import pytest

from detector import signs
from otlp_receiver.reading import read_request
from tests.otlp_receiver.captures import BY_NAME
from tests.otlp_receiver.encode import cpu, double, frame, gauge, memory, point, process, request

OTHER = gauge("process.threads", point(double(4, 1.0)))


@pytest.mark.parametrize(
    ("attributes", "metrics", "expected"),
    [
        ({}, (OTHER,), 0),
        ({}, (OTHER, cpu(("user", 0.5))), signs.CPU),
        ({}, (memory(0.0), cpu(("user", 0.5))), signs.CPU | signs.MEMORY),
        ({}, (OTHER, gauge("process.memory.utilization")), 0),
        ({"path": "/sbin/init", "command_line": "/sbin/init"}, (OTHER,), signs.PATH),
        ({"command_line": "/sbin/init"}, (OTHER,), signs.NO_PATH),
        ({"cgroup": "0::/../../.."}, (OTHER,), signs.RELATIVE),
        ({"cgroup": "12:pids:/\n0::/../kubepods"}, (OTHER,), signs.RELATIVE),
        ({"cgroup": "0::/a/../b"}, (OTHER,), 0),
    ],
)
def test_a_frame_shows_its_metrics_its_path_and_its_cgroup(
    attributes: dict[str, str], metrics: tuple[bytes, ...], expected: int
) -> None:
    first = frame(process(1, "init", **attributes), *metrics)
    rest = frame(process(2, "x", path="/x", cgroup="0::/.."), memory(1.0), cpu(("user", 0.5)))
    (record,) = read_request(request(first, rest), BY_NAME).records
    assert record.signs == expected
