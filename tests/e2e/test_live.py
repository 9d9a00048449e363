"""From a real collector through the service to a real HEC server."""

from __future__ import annotations

import os
import pwd
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from otel_shell_detector.captures import Request, requests
from otlp_receiver.descriptors import FRAMES, RESOURCE_METRICS
from tests.e2e.conftest import WAYS, World
from tests.e2e.expected import ending, opening
from tests.e2e.processes import until

pytestmark = [pytest.mark.peers, pytest.mark.timeout(400)]

COMMAND_LINES = {
    "bash": "bash -c read answer; exit 0",
    "sh": "sh -c read answer; exit 0",
    "not utf-8": "bash -c read answer; exit 0 \\xff",
}
"""By shell; the third as the collector's bytes are written where they are not UTF-8."""


def started_at(pid: int) -> float:
    """Seconds since the epoch, from the kernel."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def expected(world: World, shell: str, way: str, arrived: dict[str, Any]) -> dict[str, Any]:
    """The whole envelope of an opening."""
    pid = world.shells[shell].pid
    assert arrived["event"]["process.start_time"] == pytest.approx(started_at(pid), abs=2)
    letter = arrived["event"]["host.name"][-1]
    known = {
        "host.name": f"worker-{letter}",
        "k8s.node.name": f"node-{letter}",
        "process.pid": pid,
        "process.parent_pid": os.getpid(),
        "process.executable.name": "bash" if shell == "not utf-8" else shell,
        "process.executable.path": str(Path(f"/proc/{pid}/exe").readlink()),
        "process.owner": pwd.getpwuid(os.getuid()).pw_name,
        "process.command_line": COMMAND_LINES.get(shell, f"tcsh -f {world.folder}/shell.tcsh"),
    }
    return opening(way, arrived, known)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shell", ["bash", "sh", "tcsh", "not utf-8"])
def test_every_shell_arrives_whole(world: World, way: str, shell: str) -> None:
    found = [
        each
        for each in world.services[way].envelopes()
        if each["event"]["process.pid"] == world.shells[shell].pid and each["event"]["kind"] == "opened"
    ]
    nodes = ["node-a", "node-b"] if way == "merged" else ["node-a"]
    assert sorted(each["event"]["k8s.node.name"] for each in found) == nodes
    for each in found:
        assert each == expected(world, shell, way, each)


@pytest.mark.parametrize("way", WAYS)
def test_the_end_of_a_shell_arrives_whole(world: World, way: str) -> None:
    of_brief = [
        each for each in world.services[way].envelopes() if each["event"]["process.pid"] == world.brief
    ]
    for node in {each["event"]["k8s.node.name"] for each in of_brief}:
        opened, closed = [each for each in of_brief if each["event"]["k8s.node.name"] == node]
        assert closed == ending(opened, closed, "exited")


def test_the_batch_processor_did_split_processes_and_merge_nodes(world: World) -> None:
    """Else the merged way proves less than it seems to."""
    metrics: dict[tuple[bytes, int, int], set[int]] = {}
    nodes_of_requests = []
    for number, item in enumerate(requests(world.folder / "merged")):
        if not isinstance(item, Request):
            continue  # the collector is writing the last one
        nodes = set()
        for frame in FRAMES.FromString(item.body).resource_metrics:
            parsed = RESOURCE_METRICS.FromString(frame)
            attributes = {pair.key: pair.value for pair in parsed.resource.attributes}
            node, pid = attributes[b"k8s.node.name"].string_value, attributes[b"process.pid"].int_value
            nodes.add(node)
            for metric in parsed.scope_metrics[0].metrics:
                points = metric.gauge.data_points or metric.sum.data_points
                metrics.setdefault((node, pid, points[0].time_unix_nano), set()).add(number)
        nodes_of_requests.append(nodes)
    assert any(len(numbers) > 1 for numbers in metrics.values())
    assert any(len(nodes) > 1 for nodes in nodes_of_requests)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_closes_that_lives_and_nothing_is_told_twice(world: World, way: str) -> None:
    service = world.services[way]
    assert service.opened(world.brief)
    ids = [each["event"]["event_id"] for each in service.envelopes()]
    assert len(ids) == len(set(ids))
    sessions = [each["session_id"] for each in service.events("opened")]
    assert len(sessions) == len(set(sessions))
    assert not any(each["resumed"] for each in service.events("opened"))
    closed = {each["process.pid"] for each in service.events("closed")}
    assert not closed & set(world.pids())


def delays(world: World, way: str) -> list[str]:
    """The lines of both histograms."""
    names = ("otel_shell_detector_detector_event_delay", "otel_shell_detector_exporter_delay")
    lines = world.services[way].metrics().splitlines()
    return [line for line in lines if line.startswith(names) and "created" not in line]


@pytest.mark.parametrize("way", WAYS)
def test_the_delay_is_measured(world: World, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    def is_of_all() -> bool:
        """Splunk has an event a moment before the service knows that, and any shell may begin meanwhile."""
        counts = [float(line.split()[-1]) for line in delays(world, way) if "delay_seconds_count" in line]
        return counts == [len(world.services[way].events("opened"))] * 2

    until("each opening has its two delays", is_of_all, 60)
    with capsys.disabled():
        sys.stdout.write("\n  ".join([f"\n{way}", *delays(world, way), ""]))
