"""Who started a shell, when the batch processor of a real collector has cut its scrape into many requests."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_shell_detector.captures import Request, requests
from otlp_receiver.descriptors import FRAMES, RESOURCE_METRICS
from tests.e2e.processes import Service, Splunk, Started, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

CONFIG: Final = """
receivers:
  host_metrics:
    collection_interval: 1s
    initial_delay: 0s
    scrapers:
      process:
        mute_process_all_errors: true
        metrics:
          process.cpu.utilization: {{enabled: true}}
          process.memory.utilization: {{enabled: true}}
processors:
  resource:
    attributes:
      - {{key: host.name, value: worker-a, action: upsert}}
      - {{key: k8s.node.name, value: node-a, action: upsert}}
      - {{key: k8s.cluster.name, value: e2e, action: upsert}}
  batch: {{timeout: 200ms, send_batch_size: 40, send_batch_max_size: 40}}
exporters:
  otlp_grpc:
    endpoint: 127.0.0.1:{port}
    tls: {{insecure: true}}
  file: {{path: "{folder}/split", format: proto}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: info, encoding: json}}}}
  pipelines:
    metrics: {{receivers: [host_metrics], processors: [resource, batch], exporters: [otlp_grpc, file]}}
"""
"""A request holds some four processes."""
BETWEEN: Final = 12
"""Processes whose pids lie between those of the shells and of this process, which starts them."""


@dataclass
class Truth:
    """What the kernel says of a process."""

    pid: int
    name: str
    parent_pid: int
    command_line: str

    @classmethod
    def of(cls, pid: int) -> Truth:
        """Read it now."""
        folder = Path(f"/proc/{pid}")
        parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        line = (folder / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
        return cls(pid, (folder / "comm").read_text().rstrip("\n"), parent, line.decode())

    def ancestors(self) -> list[Truth]:
        """Its parent, the parent of that, and so on."""
        parent = self.of(self.parent_pid)
        return [parent, *(parent.ancestors() if parent.parent_pid else [])]


@dataclass
class World:
    """What ran."""

    shells: list[Truth]
    ancestors: list[list[Truth]]
    service: Service
    capture: Path


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("split")
    started = Started(folder)
    try:
        splunk = Splunk(started, ack=False)
        service = Service(started, "split", splunk)
        for number in range(BETWEEN):
            started.start(f"between-{number}", ["sleep", "600"])
        # Each has something to do after its child, so none becomes what it would start.
        outer = started.start("chain", ["bash", "-c", """sh -c "sleep 600; :"; :"""])
        # As bash has nothing to do after it, it becomes the sh.
        alone = started.start("alone", ["bash", "-c", """sh -c "sleep 600; :" """.rstrip()])
        until("sh has started", lambda: any(map(children, children(outer.pid))), 10)
        until("bash is sh", lambda: bool(children(alone.pid)), 10)
        shells = [Truth.of(pid) for pid in (outer.pid, *children(outer.pid), alone.pid)]
        ancestors = [shell.ancestors() for shell in shells]
        started.collector("agent", CONFIG.format(port=service.port, folder=folder))
        until("every shell is told", lambda: service.opened(*(each.pid for each in shells)), 90)
        yield World(shells, ancestors, service, folder / "split")
        for pid in (*children(shells[1].pid), *children(shells[2].pid)):
            os.kill(pid, 15)
    finally:
        started.end()


def requests_of(world: World) -> dict[int, dict[int, set[int]]]:
    """By second of the scrape, by pid: the requests that held the process."""
    found: dict[int, dict[int, set[int]]] = {}
    for number, item in enumerate(requests(world.capture)):
        if not isinstance(item, Request):
            continue  # the collector is writing the last one
        for frame in FRAMES.FromString(item.body).resource_metrics:
            parsed = RESOURCE_METRICS.FromString(frame)
            attributes = {pair.key: pair.value for pair in parsed.resource.attributes}
            [scope] = parsed.scope_metrics
            points = scope.metrics[0].gauge.data_points or scope.metrics[0].sum.data_points
            by_pid = found.setdefault(points[0].time_unix_nano // 10**9, {})
            by_pid.setdefault(attributes[b"process.pid"].int_value, set()).add(number)
    return found


def test_the_batch_processor_cut_parents_from_their_children(world: World) -> None:
    scrapes = requests_of(world)
    sent = {number for by_pid in scrapes.values() for numbers in by_pid.values() for number in numbers}
    assert len(sent) > 3 * len(scrapes)
    outer = world.shells[0]
    for by_pid in scrapes.values():
        together = by_pid.get(outer.pid, set()) & by_pid.get(outer.parent_pid, set())
        assert not together


@pytest.mark.parametrize("number", range(3), ids=["bash", "its sh", "sh in place of bash"])
def test_parent_and_ancestors_are_those_of_the_kernel(world: World, number: int) -> None:
    shell, ancestors = world.shells[number], world.ancestors[number]
    [event] = [each for each in world.service.events("opened") if each["process.pid"] == shell.pid]
    apart = [
        by_pid
        for by_pid in requests_of(world).values()
        if shell.pid in by_pid and not by_pid[shell.pid] & by_pid.get(shell.parent_pid, set())
    ]
    basis = {"earlier"} if number != 1 else {"earlier", "same_request"} if apart else {"same_request"}
    names = (
        "process.command_line",
        "process.parent_pid",
        "process.parent.executable.name",
        "process.parent.command_line",
        "process.ancestors",
    )
    expected: dict[str, Any] = dict(
        zip(
            names,
            (
                shell.command_line,
                shell.parent_pid,
                ancestors[0].name,
                ancestors[0].command_line,
                [each.name for each in ancestors],
            ),
            strict=True,
        )
    )
    assert {name: event.get(name) for name in names} == expected
    assert event["context_basis"] in basis
