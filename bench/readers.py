"""The reader that is usual elsewhere, to compare ``replay`` with: parse all, walk all.

It parses a whole request with upb, as ``opentelemetry-proto`` declares it, and walks in Python over every
resource, its attributes, and every data point, for its times and its value. Of these it makes the records
that the wire reader makes, so all that follows, detector and encoder, is the same and gives the same events.
What costs more and changes nothing here it does not do: text that is not UTF-8, points without a value,
container mates of a shell, other names for nodes.

``python -m bench.readers FILE`` is ``replay FILE`` with this reader; ``--only SCRAPES`` reads alone, scrapes
in memory, with each reader in turn, and prints CPU seconds, samples and points as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from bench.day import bodies
from bench.replay_page import FULL, PARSE, WIRE
from detector import signs
from detector.ancestry import INIT, MAX_ANCESTORS
from detector.context import Process
from detector.types import Metric, NodeId, Point, Record, Sample
from otel_shell_detector import wiring
from otel_shell_detector.replay import Replay, feed_files
from otel_shell_detector.sources import load
from otlp_receiver.reading import read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from detector.types import CommandLine
    from otlp_receiver.reading import Reading
    from otlp_receiver.relatives import Known
    from otlp_receiver.selection import Selection

_METRICS: Final = {metric.value: metric for metric in Metric}


@dataclass(slots=True)
class _Process:
    """A resource: its attributes, and what its data points say."""

    attributes: dict[str, Any]
    time_ns: int = 0
    start_ns: int = 0
    points: list[Point] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The process's id."""
        return int(self.attributes["process.pid"].int_value)

    @property
    def parent_pid(self) -> int | None:
        """Its parent's."""
        found = self.attributes.get("process.parent_pid")
        return found and int(found.int_value)

    def text(self, key: str) -> str:
        """An attribute's text, empty if there is none."""
        found = self.attributes.get(key)
        return str(found.string_value) if found else ""

    def command_line(self, selection: Selection) -> CommandLine | None:
        """It, redacted."""
        line = self.text("process.command_line")
        return selection.clean(line) if line else None

    def signs(self) -> int:
        """The signs of coverage."""
        found = signs.of_process(
            path=bool(self.text("process.executable.path")),
            command_line=bool(self.text("process.command_line")),
            cgroup=self.text("process.cgroup").encode(),
        )
        metrics = {point.metric for point in self.points}
        found |= signs.CPU if Metric.CPU in metrics else 0
        return found | (signs.MEMORY if Metric.MEMORY in metrics else 0)


@dataclass(slots=True)
class _Node:
    """What a request says of a node."""

    id: NodeId
    processes: dict[int, _Process] = field(default_factory=dict)
    shells: list[Sample] = field(default_factory=list)


def read_fully(
    body: bytes, selection: Selection, names: Container[str], known: Known
) -> tuple[list[Record], int]:
    """The records of a request, and how many data points were walked. ``names`` are those of shells."""
    request = ExportMetricsServiceRequest.FromString(body)
    nodes: dict[str, _Node] = {}
    walked = 0
    for resource_metrics in request.resource_metrics:
        attributes = {each.key: each.value for each in resource_metrics.resource.attributes}
        name = attributes["k8s.node.name"].string_value
        node = nodes.get(name)
        is_shell = attributes["process.executable.name"].string_value in names
        process = _Process(attributes)
        walked += _walk(resource_metrics, process, keep=is_shell or node is None)
        if node is None:
            node = nodes[name] = _Node(NodeId(process.text("k8s.cluster.name") or "unknown", name))
        node.processes[attributes["process.pid"].int_value] = process
        if is_shell:
            node.shells.append(_sample(process, selection))
    records = [_record(node, selection, known) for node in nodes.values()]
    return records, walked


def _walk(resource_metrics: Any, process: _Process, *, keep: bool) -> int:  # noqa: ANN401  # of protobuf
    """Read times and value of every data point, and ``keep`` those of the watched metrics; their number."""
    walked = latest_ns = start_ns = 0
    for scope in resource_metrics.scope_metrics:
        for metric in scope.metrics:
            watched = _METRICS.get(metric.name) if keep else None
            for point in metric.gauge.data_points or metric.sum.data_points:
                walked += 1
                time_ns, start_ns, value = point.time_unix_nano, point.start_time_unix_nano, point.as_double
                latest_ns = max(latest_ns, time_ns)
                if watched:
                    slot = next((each.value.string_value for each in point.attributes), "")
                    process.points.append(Point(watched, slot, time_ns, value))
    process.time_ns, process.start_ns = latest_ns, start_ns
    return walked


def _sample(process: _Process, selection: Selection) -> Sample:
    return Sample(
        host=process.text("host.name"),
        pid=process.pid,
        start_ns=process.start_ns,
        name=process.text("process.executable.name"),
        time_ns=process.time_ns,
        points=tuple(process.points),
        parent_pid=process.parent_pid,
        path=process.text("process.executable.path"),
        owner=process.text("process.owner"),
        command_line=process.command_line(selection),
        cgroup=process.text("process.cgroup"),
    )


def _record(node: _Node, selection: Selection, known: Known) -> Record:
    first = next(iter(node.processes.values()))
    init = node.processes.get(INIT)
    shells = [each for each in node.shells if not known.is_explained(node.id, each)]
    relatives: dict[int, _Process] = {}
    for pid in (*known.sought(node.id), *(each.parent_pid for each in shells), INIT if shells else None):
        _climb(pid, node, relatives)
    return Record(
        node=node.id,
        samples=tuple(node.shells),
        probe_times_ns=(first.time_ns,),
        init_start_ns=init.start_ns if init else 0,
        processes=tuple(_relative(each, selection) for each in relatives.values()),
        signs=first.signs(),
    )


def _climb(pid: int | None, node: _Node, found: dict[int, _Process]) -> None:
    for _ in range(MAX_ANCESTORS):
        if not pid or pid in found or pid not in node.processes:
            return
        found[pid] = node.processes[pid]
        pid = found[pid].parent_pid


def _relative(process: _Process, selection: Selection) -> Process:
    return Process(
        pid=process.pid,
        start_ns=process.start_ns,
        name=process.text("process.executable.name"),
        parent_pid=process.parent_pid,
        command_line=process.command_line(selection),
        cgroup=process.text("process.cgroup"),
    )


class FullReplay(Replay):
    """``replay`` with this reader."""

    def read(self, body: bytes) -> Iterable[Record]:
        """The records of a request."""
        return read_fully(body, self._selection, self._selection.executables, self._detector)[0]


class _Explained:
    """Every shell was seen before, as on a node that is scraped again and again."""

    def is_explained(self, _node: NodeId, _sample: Sample) -> bool:
        return True

    def sought(self, _node: NodeId) -> Sequence[int]:
        return ()


def read_only(scrapes: int) -> dict[str, dict[str, float]]:
    """CPU seconds, samples and data points of each reader; the wire reader does not look at all points."""
    selection, known = wiring.selection(load(None, {})), _Explained()

    def wire(body: bytes) -> tuple[int, int]:
        reading: Reading = read_request(body, selection, known)
        return sum(len(record.samples) for record in reading.records), 0

    def full(body: bytes) -> tuple[int, int]:
        records, walked = read_fully(body, selection, selection.executables, known)
        return sum(len(record.samples) for record in records), walked

    def parse(body: bytes) -> tuple[int, int]:
        ExportMetricsServiceRequest.FromString(body)
        return 0, 0

    readers: dict[str, Callable[[bytes], tuple[int, int]]] = {WIRE: wire, FULL: full, PARSE: parse}
    day = bodies(scrapes)
    measured: dict[str, dict[str, float]] = {}
    for name, read in readers.items():
        read(day[0])  # what is made once is not of a scrape
        begun = time.process_time()
        told = [read(body) for body in day]
        seconds = time.process_time() - begun
        samples, points = map(sum, zip(*told, strict=True))
        measured[name] = {"cpu_seconds": seconds, "samples": samples, "points": points}
    return measured


def main() -> None:
    """Replay a file, or only read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--only", type=int, metavar="SCRAPES", default=0)
    asked = parser.parse_args()
    if asked.only:
        json.dump(read_only(asked.only), sys.stdout)
        return
    run = FullReplay(load(None, os.environ), sys.stdout.buffer)
    status = feed_files(run, [asked.file])
    run.finish(close_sessions=False)
    sys.stdout.buffer.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
