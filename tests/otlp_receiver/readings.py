"""What a request of one node reads as."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from detector.types import Metric, NodeId, Point, Record, Sample
from otlp_receiver.reading import Reading, read_request
from tests.otlp_receiver.captures import BY_NAME
from tests.otlp_receiver.encode import START, T0, request

if TYPE_CHECKING:
    from otlp_receiver.selection import Selection

WORKER_1 = NodeId("prod", "worker-1")
BASH = Sample(
    host="worker-1.internal",
    pid=7,
    start_ns=START,
    name="bash",
    time_ns=T0,
    points=(Point(Metric.MEMORY, "", T0, 1.0),),
)


def reading_of(*samples: Sample, node: NodeId = WORKER_1, **more: object) -> Reading:
    """What one request of frames of one node reads as, if all of them are hits."""
    record = Record(node, samples, probe_times_ns=(T0,))
    expected = Reading((record,), frames=len(samples), hit_frames=len(samples))
    return replace(expected, **more)  # type: ignore[arg-type]


def without_signs(reading: Reading) -> Reading:
    """What tests/otlp_receiver/test_signs.py holds is left out."""
    return replace(reading, records=tuple(replace(record, signs=0) for record in reading.records))


def read(*frames: bytes, selection: Selection = BY_NAME) -> Reading:
    """A request of these frames, but for the signs."""
    return without_signs(read_request(request(*frames), selection))
