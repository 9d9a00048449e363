"""One run of real processes that the tests look at: waiting is what takes the time, so they wait together.

One collector scrapes this machine and sends the same requests along every way; each way has a service of its
own, told apart by its `source`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.e2e.processes import Service, Splunk, Started, free_port, until
from tests.e2e.relay import Relay

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

_EXPORTER = """
  otlp_grpc/{name}:
    endpoint: 127.0.0.1:{port}
    tls: {{insecure: true}}
    compression: {compression}
    retry_on_failure: {{initial_interval: 1s, max_interval: 5s}}"""
_CONFIG = """
receivers:
  host_metrics: &scrape
    collection_interval: 1s
    initial_delay: 0s
    scrapers:
      process:
        mute_process_all_errors: true
        metrics:
          process.cpu.utilization: {{enabled: true}}
          process.memory.utilization: {{enabled: true}}
  host_metrics/b: *scrape
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{gateway}"}}}}}}
processors:
  resource/a:
    attributes:
      - {{key: host.name, value: worker-a, action: upsert}}
      - {{key: k8s.node.name, value: node-a, action: upsert}}
      - {{key: k8s.cluster.name, value: e2e, action: upsert}}
  resource/b:
    attributes:
      - {{key: host.name, value: worker-b, action: upsert}}
      - {{key: k8s.node.name, value: node-b, action: upsert}}
      - {{key: k8s.cluster.name, value: e2e, action: upsert}}
  batch: {{timeout: 1500ms, send_batch_size: 500, send_batch_max_size: 500}}
exporters:{exporters}
  file/json: {{path: "{folder}/json"}}
  file/proto: {{path: "{folder}/proto", format: proto}}
  file/json-zstd: {{path: "{folder}/json-zstd", compression: zstd}}
  file/proto-zstd: {{path: "{folder}/proto-zstd", format: proto, compression: zstd}}
  file/merged: {{path: "{folder}/merged", format: proto}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: info, encoding: json}}}}
  pipelines:
    metrics/a:
      receivers: [host_metrics]
      processors: [resource/a]
      exporters:
        - otlp_grpc/gzip
        - otlp_grpc/none
        - otlp_grpc/cut-20
        - otlp_grpc/cut-120
        - otlp_grpc/gateway
        - file/json
        - file/proto
        - file/json-zstd
        - file/proto-zstd
    metrics/b: {{receivers: [host_metrics/b], processors: [resource/b], exporters: [otlp_grpc/gateway]}}
    metrics/merged: {{receivers: [otlp], processors: [batch], exporters: [otlp_grpc/merged, file/merged]}}
"""
WAYS = ("gzip", "none", "merged", "cut-20", "cut-120")


@dataclass
class World:
    """What runs, and what happened so far."""

    started: Started
    folder: Path
    services: dict[str, Service] = field(default_factory=dict)
    agent: subprocess.Popen[bytes] | None = None
    shells: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    brief: int = 0
    """The pid of a shell that lived only while the ways were cut."""

    def pids(self) -> tuple[int, ...]:
        """The shells that live until the end."""
        return tuple(each.pid for each in self.shells.values())


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("e2e")
    started = Started(folder)
    try:
        yield _run(World(started, folder))
    finally:
        started.end()


def _run(world: World) -> World:
    started, folder = world.started, world.folder
    splunks = {ack: Splunk(started, ack=ack) for ack in (False, True)}
    for way in WAYS:
        world.services[way] = Service(started, way, splunks[way in {"none", "cut-20"}])
    ports = {way: service.port for way, service in world.services.items()}
    relays = {}
    for way in ("cut-20", "cut-120"):
        port = free_port()
        relays[way] = Relay(port, ports[way])
        relays[way].mend()
        ports[way] = port
    ports["gateway"] = free_port()
    script = folder / "shell.tcsh"
    script.write_text("set answer = $<\n")
    world.shells = {
        "bash": started.start("bash", ["bash", "-c", "read answer; exit 0"]),
        "sh": started.start("sh", ["sh", "-c", "read answer; exit 0"]),
        "tcsh": started.start("tcsh", ["tcsh", "-f", script]),
        "not utf-8": started.start("ff", [b"bash", b"-c", b"read answer; exit 0", b"\xff"]),
    }
    exporters = "".join(
        _EXPORTER.format(name=way, port=port, compression="none" if way == "none" else "gzip")
        for way, port in ports.items()
    )
    config = _CONFIG.format(gateway=ports["gateway"], exporters=exporters, folder=folder)
    world.agent = started.collector("agent", config)
    for service in world.services.values():
        until(f"{service.name}: every shell is told", lambda s=service: s.opened(*world.pids()), 60)  # type: ignore[misc]
    for relay in relays.values():
        relay.cut()
    cut_at = time.monotonic()
    timers = [
        threading.Timer(seconds, relays[way].mend) for way, seconds in (("cut-20", 20), ("cut-120", 120))
    ]
    for timer in timers:
        timer.daemon = True
        timer.start()
    # Alive until its first samples were written, ended well before the shorter cut is.
    brief = started.start("brief", ["bash", "-c", "read answer; exit 0 # brief"])
    proto = folder / "proto"
    until("the brief shell is sampled", lambda: proto.read_bytes().count(b"exit 0 # brief") >= 3, 15)
    brief.terminate()
    brief.wait()
    assert time.monotonic() - cut_at < 18
    world.brief = brief.pid
    for service in world.services.values():
        until(f"{service.name}: the brief shell is told", lambda s=service: s.opened(brief.pid), 170)  # type: ignore[misc]
        until(f"{service.name}: and closed", lambda s=service: s.closed(brief.pid), 170)  # type: ignore[misc]
    return world
