"""That a node was scraped, although none of its frames was decoded: sessions of quiet nodes must close too.

A *process frame* parses as far as :data:`~otlp_receiver.descriptors.PROBE_FRAME` and ``PROBE_SCOPE`` read,
has an integer ``process.pid``, names a node and holds a number data point. Its *time* is the latest of its
number data points, its *start* the start time of the latest (of equal times the later start).

For each node that a process frame names, the **first** one in wire order counts. Later frames of the node
should not cost a parse each, so they are told by their ends. The *tail* of a node is made of its first
process frame: the ``attributes`` fields of its resource from the one that decides the name of the node or
of the cluster, whichever comes first, to the last. There is none if it would be more than 32 attributes
long, if a key that would decide before these two occurs anywhere in the request, or if 32 nodes before have
one. **A frame that ends with a tail made of an earlier frame is one of that node, and is passed over.**

The Go collector writes a resource last and its attributes in order, and the processors that name nodes
append: its frames end with tails. That a frame is of the node whose tail it ends with follows from the rule
that the last of equal keys wins, unless the end of the frame only quotes the tail; and a frame of the
collector ends with the *key* of an attribute, which no process chooses. A process that quotes keys in its
command line can at worst undo the tails: then every frame is parsed, for the same result.

The start time of pid 1 tells that the clock of a node's agent stepped. It is the start of the node's first
process frame if that has pid 1, else of the first process frame of the node with pid 1 that holds one of the
two byte strings that encoders make of ``process.pid`` = 1; 0 if there is none.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import repeat
from operator import indexOf
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from detector import signs
from detector.types import Metric
from otlp_receiver import descriptors, resource
from otlp_receiver.decode import MAX_TIME_NS, number_points
from otlp_receiver.selection import length_delimited
from otlp_receiver.wire import find_hits, scan

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from detector.types import NodeId
    from otlp_receiver.wire import Frames

_PID_ONE: Final = b"\x12\x02\x18\x01"  # KeyValue.value of AnyValue.int_value 1


def _key_field(key: bytes) -> bytes:
    return length_delimited(1, key)  # KeyValue.key


_SIGNS: Final = {Metric.CPU.value.encode(): signs.CPU, Metric.MEMORY.value.encode(): signs.MEMORY}
_PID_KEY: Final = _key_field(resource.PID)
_INIT_NEEDLES: Final = (_PID_ONE + _PID_KEY, _PID_KEY + _PID_ONE)

_MAX_TAILS: Final = 32
"""Comparing a frame with this many tails costs what parsing it costs."""
_TAIL_ATTRIBUTES: Final = 32
"""How far from the end of a resource its deciding attributes may stand."""


@dataclass(slots=True)
class Progress:
    """Of a node: index, time and signs of its first process frame; the start of pid 1, or 0."""

    index: int
    time_ns: int
    signs: int
    init_start_ns: int = 0


@dataclass(frozen=True, slots=True)
class _ProcessFrame:
    node: NodeId
    pid: int
    node_key: bytes
    cluster_key: bytes
    start_ns: int
    time_ns: int
    signs: int


def find_progress(body: bytes, frames: Frames, cluster_name: str) -> dict[NodeId, Progress]:
    """The progress of each node that a request names, in order of first appearance."""
    found: dict[NodeId, Progress] = {}
    inits: set[NodeId] = set()
    tails: tuple[bytes, ...] = ()
    position = scan(body, _PID_KEY)
    if position < 0:
        return found
    starts, ends = frames
    occurs: dict[bytes, bool] = {}
    # -1 where the first occurrence is in no frame but before all; frames before it are no process frames
    index = max(bisect_right(starts, position) - 1, 0) - 1
    starts_left, ends_left = iter(starts[index + 1 :]), iter(ends[index + 1 :])
    while True:
        # Which frames end with a tail is asked without a step of Python for each: most of a request passes
        # here.
        told = map(body.endswith, repeat(tails), starts_left, ends_left)
        try:
            index += 1 + indexOf(told, False)  # noqa: FBT003  # what to look for
        except ValueError:
            break
        frame = body[starts[index] : ends[index]]
        process = _read_process_frame(frame, cluster_name, found)
        if process is None:
            continue
        found[process.node] = progress = Progress(index, process.time_ns, process.signs)
        if process.pid == 1:
            progress.init_start_ns = process.start_ns
            inits.add(process.node)
        may_have_tail = len(tails) < _MAX_TAILS and not _decided_before(body, process, occurs)
        if may_have_tail and (tail := _tail(frame, process)):
            tails += (tail,)
    if len(inits) < len(found):
        _find_inits(body, frames, cluster_name, found, inits)
    return found


def _read_process_frame(frame: bytes, cluster_name: str, known: Container[NodeId]) -> _ProcessFrame | None:
    """A frame as a process frame; ``None`` if it is none, or one of a ``known`` node."""
    try:
        message = descriptors.PROBE_FRAME.FromString(frame)
        attributes = resource.attributes_of(message.resource)
        pid = resource.int_of(attributes.get(resource.PID))
        if pid is None:
            return None
        node = resource.node_of(attributes, cluster_name, set())
        if node is None or node in known:
            return None
        metrics = metrics_of(message)
    except DecodeError:
        return None
    latest = latest_point(metrics)
    if latest is None:
        return None
    return _ProcessFrame(
        node=node,
        pid=pid,
        node_key=resource.deciding_key(attributes, resource.NODE_CHAIN),
        cluster_key=resource.deciding_key(attributes, resource.CLUSTER_CHAIN),
        start_ns=latest[1],
        time_ns=latest[0],
        signs=_signs(attributes, metrics),
    )


def metrics_of(message: Any) -> list[Any]:  # noqa: ANN401  # classes made at run time
    """The metrics of a process frame. Raises :class:`DecodeError`."""
    return [
        metric
        for scope in message.scope_metrics
        for metric in descriptors.PROBE_SCOPE.FromString(scope).metrics
    ]


def latest_point(metrics: Iterable[Any]) -> tuple[int, int] | None:
    """Time and start of the latest number data point."""
    latest = max(
        (
            (point.time_unix_nano, point.start_time_unix_nano)
            for metric in metrics
            for point in number_points(metric)
        ),
        default=None,
    )
    return latest and (min(latest[0], MAX_TIME_NS), min(latest[1], MAX_TIME_NS))


def _signs(attributes: Mapping[bytes, Any], metrics: Iterable[Any]) -> int:
    """What a process frame shows of how well its node can be seen."""
    found = signs.of_process(
        path=bool(resource.string_of(attributes.get(resource.PATH))),
        command_line=bool(resource.string_of(attributes.get(resource.COMMAND_LINE))),
        cgroup=resource.string_of(attributes.get(resource.CGROUP)),
    )
    for metric in metrics:
        sign = _SIGNS.get(metric.name)
        if sign and number_points(metric):
            found |= sign
    return found


def _decided_before(body: bytes, process: _ProcessFrame, occurs: dict[bytes, bool]) -> bool:
    """Whether a key that comes before the deciding ones in its chain occurs in the request."""
    for chain, decided in (
        (resource.NODE_CHAIN, process.node_key),
        (resource.CLUSTER_CHAIN, process.cluster_key),
    ):
        for key in chain:
            if key == decided:
                break
            if key not in occurs:
                occurs[key] = scan(body, _key_field(key)) >= 0
            if occurs[key]:
                return True
    return False


def _tail(frame: bytes, process: _ProcessFrame) -> bytes:
    """The tail of a process frame; empty if it has none."""
    missing = {key for key in (process.node_key, process.cluster_key) if key}
    fields: list[bytes] = []
    for attribute in reversed(
        descriptors.RAW_FRAME.FromString(frame).resource.attributes[-_TAIL_ATTRIBUTES:]
    ):
        fields.append(length_delimited(1, attribute))  # Resource.attributes
        missing.discard(descriptors.KEY_VALUE.FromString(attribute).key)
        if not missing:
            return b"".join(reversed(fields))
    return b""


def _find_inits(
    body: bytes, frames: Frames, cluster_name: str, found: dict[NodeId, Progress], inits: set[NodeId]
) -> None:
    """Fill in the start of pid 1 for the nodes whose first process frame is another process."""
    for index in find_hits(body, frames, _INIT_NEEDLES):
        process = _read_process_frame(body[frames.starts[index] : frames.ends[index]], cluster_name, inits)
        if process is None or process.pid != 1 or process.node not in found:
            continue
        found[process.node].init_start_ns = process.start_ns
        inits.add(process.node)
        if len(inits) == len(found):
            break
