"""What each profile sends and costs: the table of docs/collector.md.

    python -m tests.collector.measure

It starts idle processes with the command lines of a real node, and a shell. The real collector of each
profile scrapes this machine three times, and the bytes that it sends to the service are counted on their way.
There is no cluster, so no names of workloads are in them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from otlp_receiver.descriptors import FRAMES, RESOURCE_METRICS
from tests.collector.values import DEPLOYED, Deployed, moved
from tests.e2e.processes import ROOT, Service, Splunk, Started, free_port, peer
from tests.e2e.relay import Relay

if TYPE_CHECKING:
    import socket

_PROCESSES: Final = 300
_BEFORE_S: Final = 16
"""Two scrapes, at 1 s and at 11 s: the first has no CPU utilization, and opens the connection."""
_SCRAPES: Final = 3
_INTERVAL_S: Final = 10


class _Counting(Relay):
    """Counts what the collector sends."""

    sent = 0

    def _forward(self, one: socket.socket, other: socket.socket) -> None:
        to_service = one.getsockname()[1] == self._port
        try:
            while data := one.recv(65536):
                self.sent += len(data) if to_service else 0
                other.sendall(data)
        except OSError:
            return


class _Agent:
    """A collector with a profile, and what it has used so far."""

    def __init__(self, started: Started, deployed: Deployed, service: Service) -> None:
        self.profile = deployed.profile
        port = free_port()
        self._relay = _Counting(port, service.port)
        self._relay.mend()
        folder = started.folder / deployed.profile
        folder.mkdir()
        config = moved(deployed.configuration, folder)
        config["receivers"]["host_metrics/shell-detector"]["root_path"] = "/"
        del config["processors"]["k8s_attributes/shell-detector"]
        config["service"]["pipelines"]["metrics/shell-detector"]["processors"].remove(
            "k8s_attributes/shell-detector"
        )
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        environment = os.environ | {
            "K8S_NODE_NAME": "worker-1.example.internal",
            "K8S_CLUSTER_NAME": "production",
            "OTEL_SHELL_DETECTOR": f"127.0.0.1:{port}",
        }
        self._process = started.start(
            deployed.profile, [peer("collector-agent"), "--config", path], environment
        )

    def used(self) -> tuple[int, float]:
        """Bytes sent, and seconds of CPU."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return self._relay.sent, (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def most_memory_mib(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _command_lines() -> list[str]:
    """Of the processes of a real scrape, as often as it takes."""
    found = []
    for frame in FRAMES.FromString((ROOT / "tests/captures/scrape-300.pb").read_bytes()).resource_metrics:
        attributes = {
            pair.key: pair.value.string_value
            for pair in RESOURCE_METRICS.FromString(frame).resource.attributes
        }
        found.append(attributes.get(b"process.command_line", b"").decode(errors="replace").replace("\0", " "))
    lines = [line for line in found if line]
    return [lines[number % len(lines)] for number in range(_PROCESSES)]


def main() -> None:
    """Run it, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        started = Started(Path(name))
        idle = [subprocess.Popen([line, "3600"], executable="/bin/sleep") for line in _command_lines()]
        try:
            started.start("shell", ["bash", "-c", "read -r line; exit"])
            service = Service(started, "measured", Splunk(started, ack=False))
            agents = [_Agent(started, each, service) for each in DEPLOYED[:2]]
            time.sleep(_BEFORE_S)  # what is measured begins after them
            processes = sum(each.name.isdigit() for each in Path("/proc").iterdir())
            before = [agent.used() for agent in agents]
            time.sleep(_SCRAPES * _INTERVAL_S)  # the measurement
            sys.stdout.write(f"{processes} processes\nprofile  bytes a scrape  CPU of a core  memory\n")
            for agent, (sent, cpu) in zip(agents, before, strict=True):
                more, used = agent.used()
                scrape, share = (more - sent) / _SCRAPES, (used - cpu) / (_SCRAPES * _INTERVAL_S)
                memory = agent.most_memory_mib()
                sys.stdout.write(f"{agent.profile:7}  {scrape:14,.0f}  {share:13.2%}  {memory:.0f} MiB\n")
        finally:
            for process in idle:
                process.kill()
                process.wait()
            started.end()


if __name__ == "__main__":
    main()
