"""One frame in, samples out: what a ``ResourceMetrics`` says of a watched process.

A frame gives one sample for each start time among its number data points. Gauges and sums, integers and
doubles count alike: the process scraper's temporality and type of a metric have changed before. Which
values are evidence is the detector's decision; here every data point of the two watched metrics is taken as
it came.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from detector.types import Metric, NodeId, Point, Sample
from otlp_receiver import descriptors, resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from detector.types import CommandLine
    from otlp_receiver.selection import Selection

MAX_TIME_NS: Final = 2**63 - 1
"""``fixed64`` goes beyond what stores keep. A later time (after the year 2262) is read as this one."""

_NO_RECORDED_VALUE: Final = 1  # DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_STATE_KEYS: Final = (
    b"state",
    b"cpu.mode",
)  # of semantic conventions until and from 1.27; during migration both
_SLOT_LIMIT: Final = 64
_METRICS: Final = {metric.value.encode(): metric for metric in Metric}


class Reject(enum.StrEnum):
    """Why a frame of a watched process cannot be interpreted."""

    DECODER_FAILED = "decoder_failed"
    """Decoding raised what it should not: a defect of this program."""
    UNDECODABLE = "undecodable"
    """It holds a watched value but is no ``ResourceMetrics``."""
    NO_PID = "no_pid"
    """``process.pid`` is absent or no integer."""
    NO_NODE = "no_node"
    """None of ``k8s.node.name``, ``host.name``, ``host.id`` is there."""


@dataclass(slots=True)
class Tally:
    """What decoding counts: rejected points by reason, replaced text by attribute, frames without points.

    ``errors``: frames that met a defect, by the class of the exception.
    """

    rejected: Counter[str] = field(default_factory=Counter)
    text_replaced: Counter[str] = field(default_factory=Counter)
    empty_frames: int = 0
    errors: Counter[str] = field(default_factory=Counter)


def decode_safely(
    frame: bytes, selection: Selection, tally: Tally
) -> tuple[NodeId, tuple[Sample, ...]] | None:
    """As :func:`decode_frame`, but a defect costs that frame alone, not the request.

    Else its sender would send the request again and again, and nothing of that node would be seen.
    """
    try:
        return decode_frame(frame, selection, tally)
    except Exception as error:  # noqa: BLE001  # whatever it is, it must not take the other frames with it
        tally.errors[type(error).__name__] += 1
        try:
            points = _count_points(descriptors.RESOURCE_METRICS.FromString(frame))
        except Exception:  # noqa: BLE001  # the same defect, perhaps
            points = 1
        tally.rejected[Reject.DECODER_FAILED] += points
        return None


def decode_frame(
    frame: bytes, selection: Selection, tally: Tally
) -> tuple[NodeId, tuple[Sample, ...]] | None:
    """The node and the samples of a frame, one for each start time in wire order; ``None`` if it gives none.

    A frame of another process gives none and counts nothing.
    """
    try:
        message = descriptors.RESOURCE_METRICS.FromString(frame)
    except DecodeError:
        # How many points it was meant to hold is not knowable: it counts as one, so that it is told of.
        tally.rejected[Reject.UNDECODABLE] += 1
        return None
    attributes = resource.attributes_of(message.resource)
    path = resource.string_of(attributes.get(resource.PATH))
    if not selection.matches(resource.string_of(attributes.get(resource.NAME)), path):
        return None

    times, points = _read_points(message)
    if not times:
        tally.empty_frames += 1
        return None
    pid = resource.int_of(attributes.get(resource.PID))
    if pid is None:
        tally.rejected[Reject.NO_PID] += _count_points(message)
        return None
    replaced: set[str] = set()
    node = resource.node_of(attributes, selection.cluster_name, replaced)
    if node is None:
        tally.rejected[Reject.NO_NODE] += _count_points(message)
        return None

    def text(key: bytes) -> str:
        return resource.bounded_text(attributes, key, replaced)

    host, name, path_text, owner = (
        text(key) for key in (resource.HOST, resource.NAME, resource.PATH, resource.OWNER)
    )
    command_line = _command_line(attributes, selection, replaced)
    cgroup = text(resource.CGROUP)
    labels = resource.labels_of(attributes, replaced)
    parent_pid = resource.int_of(attributes.get(resource.PARENT_PID))
    tally.text_replaced.update(replaced)
    return node, tuple(
        Sample(
            host=host,
            pid=pid,
            start_ns=start_ns,
            name=name,
            time_ns=time_ns,
            points=tuple(points[start_ns]),
            parent_pid=parent_pid,
            path=path_text,
            owner=owner,
            command_line=command_line,
            cgroup=cgroup,
            labels=labels,
        )
        for start_ns, time_ns in times.items()
    )


def _command_line(
    attributes: dict[bytes, Any], selection: Selection, replaced: set[str]
) -> CommandLine | None:
    """The redacted command line. It is not cut before: a secret at the cut would no longer look like one."""
    text, repaired = resource.text_of(resource.string_of(attributes.get(resource.COMMAND_LINE)))
    if repaired:
        replaced.add(resource.COMMAND_LINE.decode())
    return selection.clean(text) if text else None


def _read_points(message: Any) -> tuple[dict[int, int], dict[int, list[Point]]]:  # noqa: ANN401
    """By start time, in wire order: the latest time of any number data point; the watched metrics' points."""
    times: dict[int, int] = {}
    points: dict[int, list[Point]] = {}
    for metric in _metrics(message):
        watched = _METRICS.get(metric.name)
        for data_point in number_points(metric):
            start_ns = min(data_point.start_time_unix_nano, MAX_TIME_NS)
            time_ns = min(data_point.time_unix_nano, MAX_TIME_NS)
            times[start_ns] = max(times.get(start_ns, 0), time_ns)
            of_start = points.setdefault(start_ns, [])
            if watched is not None:
                slot = _slot(data_point) if watched is Metric.CPU else ""
                of_start.append(Point(watched, slot, time_ns, _value(data_point)))
    return times, points


def _metrics(message: Any) -> Iterator[Any]:  # noqa: ANN401
    for scope in message.scope_metrics:
        yield from scope.metrics


def number_points(metric: Any) -> Iterable[Any]:  # noqa: ANN401
    """The data points of a ``Metric`` that is a gauge or a sum; nothing of other ones."""
    # At most one of the two is there; the other reads as empty. Asking which costs more.
    points: Iterable[Any] = metric.gauge.data_points or metric.sum.data_points
    return points


def _count_points(message: Any) -> int:  # noqa: ANN401
    """All data points of a frame, whatever their kind: what the sender is told that it lost."""
    kinds = ((metric, metric.WhichOneof("data")) for metric in _metrics(message))
    return sum(len(getattr(metric, kind).data_points) for metric, kind in kinds if kind)


def _value(data_point: Any) -> float | None:  # noqa: ANN401
    kind = data_point.WhichOneof("value")
    if kind is None or data_point.flags & _NO_RECORDED_VALUE:
        return None
    return float(getattr(data_point, kind))


def _slot(data_point: Any) -> str:  # noqa: ANN401
    """The CPU state by its older name: what ``cpu.mode`` calls ``iowait`` is ``wait`` in ``state``."""
    states = {kv.key: resource.string_of(kv.value) for kv in data_point.attributes if kv.key in _STATE_KEYS}
    raw = next((states[key] for key in _STATE_KEYS if states.get(key)), b"")
    slot = resource.text_of(raw)[0][:_SLOT_LIMIT]
    return "wait" if slot == "iowait" else slot
