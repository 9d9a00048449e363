"""``read_request`` again, the slow and obvious way: parse everything, then ask."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from detector.context import Process
from detector.types import Metric, NodeId, Point, Record, Sample
from otlp_receiver.descriptors import FRAMES, RESOURCE_METRICS
from otlp_receiver.reading import MalformedRequest, Reading, TooManyResources
from otlp_receiver.selection import Match
from tests.otlp_receiver.encode import data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otlp_receiver.selection import Selection

NODE_KEYS = ["k8s.node.name", "host.name", "host.id"]
CLUSTER_KEYS = ["k8s.cluster.name", "cluster_name", "k8s.cluster.uid"]
LATEST = 2**63 - 1


def decode(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


class Frame:
    """A frame that parses, with its attributes as they hold: of equal keys the last."""

    def __init__(self, raw: bytes, selection: Selection) -> None:
        self.raw = raw
        self.message: Any = RESOURCE_METRICS.FromString(raw)
        self.values: dict[bytes, Any] = {}
        for attribute in self.message.resource.attributes:
            self.values[attribute.key] = attribute.value
        self.pid = self.number("process.pid")
        self.node_key = next((key for key in NODE_KEYS if self.raw_text(key)), "")
        self.cluster_key = next((key for key in CLUSTER_KEYS if self.raw_text(key)), "")
        cluster = self.text(self.cluster_key) or selection.cluster_name or "unknown"
        self.node = NodeId(cluster, self.text(self.node_key)) if self.node_key else None
        self.points = list(self.number_points())
        name, path = self.raw_text("process.executable.name"), self.raw_text("process.executable.path")
        path = path.removesuffix(b" (deleted)")
        names = [name.encode() for name in selection.executables]
        self.watched = (Match.NAME in selection.match and name in names) or (
            Match.PATH in selection.match and path.split(b"/")[-1] in names
        )

    def raw_text(self, key: str) -> bytes:
        """Nothing for no key: an attribute may have an empty one."""
        value = self.values.get(key.encode()) if key else None
        return (
            value.string_value if value is not None and value.WhichOneof("value") == "string_value" else b""
        )

    def text(self, key: str) -> str:
        return decode(self.raw_text(key))[:4096]

    def number(self, key: str) -> int | None:
        value = self.values.get(key.encode())
        return value.int_value if value is not None and value.WhichOneof("value") == "int_value" else None

    def number_points(self) -> Iterator[tuple[bytes, Any]]:
        for scope in self.message.scope_metrics:
            for metric in scope.metrics:
                if metric.WhichOneof("data") == "gauge":
                    yield from ((metric.name, each) for each in metric.gauge.data_points)
                elif metric.WhichOneof("data") == "sum":
                    yield from ((metric.name, each) for each in metric.sum.data_points)

    def all_points(self) -> int:
        count = 0
        for scope in self.message.scope_metrics:
            for metric in scope.metrics:
                for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary"):
                    if metric.WhichOneof("data") == kind:
                        count += len(getattr(metric, kind).data_points)
        return count

    def samples(self, selection: Selection) -> Iterator[Sample]:
        assert self.pid is not None
        command_line = decode(self.raw_text("process.command_line"))
        starts = list(dict.fromkeys(min(each.start_time_unix_nano, LATEST) for _, each in self.points))
        for start in starts:
            mine = [
                (name, each) for name, each in self.points if min(each.start_time_unix_nano, LATEST) == start
            ]
            yield Sample(
                host=self.text("host.name"),
                pid=self.pid,
                start_ns=start,
                name=self.text("process.executable.name"),
                time_ns=min(max(each.time_unix_nano for _, each in mine), LATEST),
                points=tuple(
                    point_of(name, each)
                    for name, each in mine
                    if name in {b"process.cpu.utilization", b"process.memory.utilization"}
                ),
                parent_pid=self.number("process.parent_pid"),
                path=self.text("process.executable.path"),
                owner=self.text("process.owner"),
                command_line=selection.clean(command_line) if command_line else None,
                cgroup=self.text("process.cgroup"),
                labels=self.labels(),
            )

    def labels(self) -> tuple[tuple[str, str], ...]:
        found = [(decode(key), decode(self.values[key].string_value)[:256]) for key in self.label_keys()]
        return tuple((key, value) for key, value in found if value)[:24]

    def label_keys(self) -> list[bytes]:
        keys = [key for key in sorted(self.values) if len(key) <= 256]
        others = {key.encode() for key in (*NODE_KEYS, *CLUSTER_KEYS)}
        return [key for key in keys if key.startswith((b"k8s.", b"container.")) and key not in others]

    def process(self, selection: Selection) -> Process:
        """The frame as one that explains a shell."""
        assert self.pid is not None
        command_line = decode(self.raw_text("process.command_line"))
        times = [(each.time_unix_nano, each.start_time_unix_nano) for _, each in self.points]
        latest = max(times, default=(0, 0))
        return Process(
            self.pid,
            min(latest[1], LATEST),
            self.text("process.executable.name"),
            self.number("process.parent_pid"),
            selection.clean(command_line) if command_line else None,
            self.text("process.cgroup"),
        )

    def signs(self) -> int:
        names = {name for name, _ in self.points}
        path, line = self.raw_text("process.executable.path"), self.raw_text("process.command_line")
        return (
            1 * (b"process.cpu.utilization" in names)
            + 2 * (b"process.memory.utilization" in names)
            + 4 * bool(path)
            + 8 * (not path and bool(line))
            + 16 * (b":/.." in self.raw_text("process.cgroup"))
        )

    def not_utf8(self) -> list[str]:
        """Of the attributes that a sample is made of, those that are not UTF-8."""
        keys = {
            self.node_key,
            self.cluster_key,
            "host.name",
            "process.executable.name",
            "process.executable.path",
            "process.owner",
            "process.command_line",
            "process.cgroup",
        }
        labels = [key + self.values[key].string_value for key in self.label_keys()]
        return [
            *(key for key in keys if not is_utf8(self.raw_text(key))),
            *(["k8s.*"] if not all(map(is_utf8, labels)) else []),
        ]


def point_of(name: bytes, each: Any) -> Point:
    metric = Metric(name.decode())
    value: float | None = None
    if each.flags & 1 == 0:
        if each.WhichOneof("value") == "as_int":
            value = float(each.as_int)
        elif each.WhichOneof("value") == "as_double":
            value = each.as_double
    states = {attribute.key: attribute.value.string_value for attribute in each.attributes}
    slot = decode(states.get(b"state") or states.get(b"cpu.mode") or b"")[:64]
    if slot == "iowait":
        slot = "wait"
    return Point(metric, slot if metric is Metric.CPU else "", min(each.time_unix_nano, LATEST), value)


def walk(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The fields of a message that parses: number, wire type, content."""
    at = 0

    def read() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    depth = 0
    while at < len(message):
        tag = read()
        wire_type, content = tag & 7, b""
        if wire_type == 0:
            read()
        elif wire_type == 1:
            at += 8
        elif wire_type == 2:
            size = read()
            content = message[at : at + size]
            at += size
        elif wire_type == 5:
            at += 4
        else:
            depth += 1 if wire_type == 3 else -1
        if depth == 0:
            yield tag >> 3, wire_type, content


def tail_of(frame: Frame, body: bytes) -> bytes | None:
    """See the docstring of ``otlp_receiver.progress``."""
    for chain, key in ((NODE_KEYS, frame.node_key), (CLUSTER_KEYS, frame.cluster_key)):
        before = chain[: chain.index(key)] if key else chain
        if any(data(1, other.encode()) in body for other in before):
            return None
    resource = b"".join(content for number, kind, content in walk(frame.raw) if (number, kind) == (1, 2))
    attributes = [content for number, kind, content in walk(resource) if (number, kind) == (1, 2)]
    keys = [attribute.key for attribute in frame.message.resource.attributes]
    assert len(keys) == len(attributes)
    deciding = [key.encode() for key in (frame.node_key, frame.cluster_key) if key]
    first = min(len(keys) - 1 - keys[::-1].index(key) for key in deciding)
    tail = b"".join(data(1, attribute) for attribute in attributes[first:])
    return tail if len(keys) - first <= 32 else None


def without_processes(reading: Reading) -> Reading:
    """What is promised for any bytes: what explains a shell is found as encoders write it."""
    return replace(reading, records=tuple(replace(record, processes=()) for record in reading.records))


def processes_of(body: bytes, selection: Selection) -> dict[NodeId, set[Process]]:
    """Every process of a request, by node."""
    found: dict[NodeId, set[Process]] = {}
    for raw in FRAMES.FromString(body).resource_metrics:
        try:
            frame = Frame(raw, selection)
        except DecodeError:
            continue
        if frame.pid is not None and frame.node is not None:
            found.setdefault(frame.node, set()).add(frame.process(selection))
    return found


def read_all(body: bytes, selection: Selection) -> Reading:  # noqa: C901, PLR0912, PLR0915  # obvious rather than short
    try:
        raw_frames = list(FRAMES.FromString(body).resource_metrics)
    except DecodeError:
        raise MalformedRequest from None
    if len(raw_frames) > selection.max_resources:
        raise TooManyResources

    seen: dict[NodeId, None] = {}
    samples: dict[NodeId, list[Sample]] = {}
    probes: dict[NodeId, tuple[int, ...]] = {}
    inits: dict[NodeId, int] = {}
    signs: dict[NodeId, int] = {}
    tails: list[bytes] = []
    rejected: Counter[str] = Counter()
    replaced: Counter[str] = Counter()
    empty = hits = 0
    for raw in raw_frames:
        hit = any(needle in raw for needle in selection.needles)
        hits += hit
        try:
            frame = Frame(raw, selection)
        except DecodeError:
            rejected["undecodable"] += hit
            continue
        if frame.watched:
            assert hit, "a frame of a watched process holds no needle"
            if not frame.points:
                empty += 1
            elif frame.pid is None:
                rejected["no_pid"] += frame.all_points()
            elif frame.node is None:
                rejected["no_node"] += frame.all_points()
            else:
                seen[frame.node] = None
                samples.setdefault(frame.node, []).extend(frame.samples(selection))
                replaced.update(frame.not_utf8())
        if frame.pid is None or frame.node is None or not frame.points:
            continue
        latest = max((each.time_unix_nano, each.start_time_unix_nano) for _, each in frame.points)
        is_first = False
        if frame.node not in probes and not any(raw.endswith(tail) for tail in tails):
            is_first = True
            seen[frame.node] = None
            probes[frame.node] = (min(latest[0], LATEST),)
            signs[frame.node] = frame.signs()
            tail = tail_of(frame, body)
            if tail is not None and len(tails) < 32:
                tails.append(tail)
        written = any(
            form in raw
            for form in (b"\x12\x02\x18\x01\x0a\x0bprocess.pid", b"\x0a\x0bprocess.pid\x12\x02\x18\x01")
        )
        if frame.pid == 1 and is_first:
            inits[frame.node] = min(latest[1], LATEST)
        elif frame.pid == 1 and written:
            inits.setdefault(frame.node, min(latest[1], LATEST))
    return Reading(
        records=tuple(
            Record(
                node,
                tuple(samples.get(node, ())),
                probes.get(node, ()),
                inits.get(node, 0) if node in probes else 0,
                signs=signs.get(node, 0),
            )
            for node in seen
        ),
        rejected={reason: count for reason, count in rejected.items() if count},
        text_replaced=dict(replaced),
        frames=len(raw_frames),
        hit_frames=hits,
        empty_frames=empty,
        unknown_clusters=sum(node.cluster == "unknown" for node in seen),
    )
