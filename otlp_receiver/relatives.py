"""The processes that explain a shell: its ancestors, and an older process of its container.

They are other frames of the request, and there are hundreds of them. Which ones is asked for by what each of
them holds: ``process.pid`` as the bytes that encoders make of it, or the id of the container, which stands in
``process.cgroup``. The collector writes a node's frames in order of pid and a parent is mostly older than its
child, so the frames before the shell's are searched first, the nearest first.

A shell that the detector has an explanation for is passed over (:class:`Known`), so a request of shells that
were seen before costs nothing here. Work is bounded for hostile requests: what the bound cuts off is unknown,
as if the frames were not there.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from google.protobuf.message import DecodeError

from detector.ancestry import INIT, MAX_ANCESTORS
from detector.cgroup import read_cgroup
from detector.context import Process
from otlp_receiver import descriptors, resource
from otlp_receiver.progress import latest_point, metrics_of
from otlp_receiver.selection import length_delimited
from otlp_receiver.wire import scan, scan_back

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from detector.types import NodeId, Sample
    from otlp_receiver.selection import Selection
    from otlp_receiver.wire import Frames

_PID_KEY: Final = length_delimited(1, resource.PID)  # KeyValue.key
_CONTINUED: Final = 0x80
_CANDIDATES: Final = 8
"""Frames that are looked into on either side: of other nodes, or that only quote what is looked for."""
_SCANS: Final = 64
"""How many times the length of a request may be scanned for it."""


class Known(Protocol):
    """What need not be looked for, and what must. Asked by many threads at a time; may be out of date."""

    def is_explained(self, node: NodeId, sample: Sample, /) -> bool:
        """Whether the parent of a shell is known."""
        ...

    def sought(self, node: NodeId, /) -> Sequence[int]:
        """Pids of processes that no request held when they were needed."""
        ...


class NothingKnown:
    """Every shell is new."""

    def is_explained(self, _node: NodeId, _sample: Sample) -> bool:
        """No."""
        return False

    def sought(self, _node: NodeId) -> Sequence[int]:
        """None."""
        return ()


NOTHING_KNOWN: Final = NothingKnown()


@dataclass(frozen=True, slots=True)
class Hit:
    """A watched process, and the frame that showed it."""

    index: int
    sample: Sample


class Relatives:
    """The search in one request."""

    def __init__(self, body: bytes, frames: Frames, selection: Selection, known: Known) -> None:
        self._body = body
        self._frames = frames
        self._selection = selection
        self._known = known
        self._left = _SCANS * len(body)

    def find(self, node: NodeId, hits: Sequence[Hit], index: int) -> tuple[Process, ...]:
        """What explains the shells of a node; ``index`` is a frame of the node."""
        shells = {hit.sample.pid: hit.sample.parent_pid for hit in hits}
        found: dict[int, Process] = {}
        unexplained = [hit for hit in hits if not self._known.is_explained(node, hit.sample)]
        for pid in self._known.sought(node):
            self._climb(node, pid, index, found, shells)
        for hit in unexplained:
            self._climb(node, hit.sample.parent_pid, hit.index, found, shells)
            self._find_older(node, hit, found, shells)
        if unexplained:
            self._climb(node, INIT, index, found, shells)
        return tuple(found.values())

    def _climb(
        self,
        node: NodeId,
        pid: int | None,
        index: int,
        found: dict[int, Process],
        shells: Mapping[int, int | None],
    ) -> None:
        """Add a process and its ancestors, child before parent, as far as they are in the request.

        A shell among them is in the record anyway, but not what is above it: it may be one that is explained.
        """
        for _ in range(MAX_ANCESTORS):
            if not pid or pid in found:
                return
            if pid in shells:
                pid = shells[pid]
                continue
            value = length_delimited(2, b"\x18" + _varint(pid))  # KeyValue.value of AnyValue.int_value
            process = self._search(node, (value + _PID_KEY, _PID_KEY + value), index, pid)
            if process is None:
                return
            found[pid] = process
            pid = process.parent_pid

    def _search(self, node: NodeId, needles: Sequence[bytes], index: int, pid: int) -> Process | None:
        for needle in needles:
            for at in self._frames_with(needle, index):
                process = self._read(node, at)
                if process is not None and process.pid == pid:
                    return process
        return None

    def _find_older(
        self, node: NodeId, hit: Hit, found: dict[int, Process], shells: Mapping[int, int | None]
    ) -> None:
        """Add one process of a shell's container that is older than the shell, unless that is a shell."""
        sample = hit.sample
        container_id = read_cgroup(sample.cgroup).container_id

        def is_older(process: Process) -> bool:
            return (process.start_ns, process.pid) < (sample.start_ns, sample.pid) and (
                read_cgroup(process.cgroup).container_id == container_id
            )

        if not container_id or any(map(is_older, found.values())):
            return
        for at in self._frames_with(container_id.encode(), hit.index):
            process = self._read(node, at)
            if process is not None and is_older(process):
                if process.pid not in shells:
                    found.setdefault(process.pid, process)
                return

    def _frames_with(self, needle: bytes, index: int) -> Iterator[int]:
        """Frames that hold a needle: from ``index`` back, the nearest first, then those behind it."""
        starts, ends = self._frames
        end = ends[index]
        for _ in range(_CANDIDATES):
            position = scan_back(self._body, needle, 0, end) if self._spend(end) else -1
            at = bisect_right(starts, position) - 1
            if position < 0 or at < 0:
                break
            yield at
            end = starts[at]
        start = ends[index]
        for _ in range(_CANDIDATES):
            position = scan(self._body, needle, start) if self._spend(len(self._body) - start) else -1
            if position < 0:
                return
            at = bisect_right(starts, position) - 1
            yield at
            start = ends[at]

    def _spend(self, most: int) -> bool:
        self._left -= most
        return self._left >= 0

    def _read(self, node: NodeId, index: int) -> Process | None:
        """The process of a frame; ``None`` if it is none, or another node's."""
        starts, ends = self._frames
        try:
            message = descriptors.PROBE_FRAME.FromString(self._body[starts[index] : ends[index]])
            attributes = resource.attributes_of(message.resource)
            pid = resource.int_of(attributes.get(resource.PID))
            if pid is None or resource.node_of(attributes, self._selection.cluster_name, set()) != node:
                return None
            latest = latest_point(metrics_of(message))
        except DecodeError:
            return None

        def text(key: bytes) -> str:
            return resource.bounded_text(attributes, key, set())

        line, _ = resource.text_of(resource.string_of(attributes.get(resource.COMMAND_LINE)))
        return Process(
            pid=pid,
            start_ns=latest[1] if latest else 0,
            name=text(resource.NAME),
            parent_pid=resource.int_of(attributes.get(resource.PARENT_PID)),
            command_line=self._selection.clean(line) if line else None,
            cgroup=text(resource.CGROUP),
        )


def _varint(value: int) -> bytes:
    """A varint as every encoder writes it; a negative one has ten bytes."""
    value &= 2**64 - 1
    encoded = bytearray()
    while value >= _CONTINUED:
        encoded.append(value & 0x7F | _CONTINUED)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
