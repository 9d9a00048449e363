"""What a real collector wrote to files, through the command line."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import grpc
import pytest

from otel_shell_detector.captures import Request, requests
from tests.e2e.processes import ROOT, Started, free_port, listens, replayed, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import World

pytestmark = [pytest.mark.peers, pytest.mark.timeout(400)]


def test_every_format_of_the_file_exporter_replays_to_the_same_bytes(world: World) -> None:
    assert world.agent is not None
    world.agent.send_signal(signal.SIGTERM)
    assert world.agent.wait(timeout=30) == 0
    plain = replayed(world.folder / "proto")
    told = [json.loads(line)["event"] for line in plain.splitlines()]
    opened = {each["process.pid"]: each for each in told if each["kind"] == "opened"}
    assert {*world.pids(), world.brief} <= opened.keys()
    line = opened[world.shells["not utf-8"].pid]["process.command_line"]
    assert line == "bash -c read answer; exit 0 \\xff"
    for name in ("json", "json-zstd", "proto-zstd"):
        assert replayed(world.folder / name) == plain, name
    live = {each["event_id"] for each in world.services["gzip"].events("opened")}
    assert live <= {each["event_id"] for each in told}


_CONFIG = """
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters:
  file/json: {{path: "{folder}/json", compression: zstd}}
  file/proto: {{path: "{folder}/proto", format: proto, compression: zstd}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [file/json, file/proto]}}}}
"""
_EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


def test_worker_1_through_the_collector_and_zstd_replays_to_the_same_bytes(tmp_path: Path) -> None:
    started, port = Started(tmp_path), free_port()
    try:
        collector = started.collector("collector", _CONFIG.format(port=port, folder=tmp_path))
        until("the collector listens", lambda: listens(port), 30)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_EXPORT)
            for item in requests(ROOT / "tests/captures/worker-1.pb"):
                assert isinstance(item, Request)
                export(item.body, timeout=10)
        collector.send_signal(signal.SIGTERM)
        assert collector.wait(timeout=30) == 0
    finally:
        started.end()
    plain = replayed(ROOT / "tests/captures/worker-1.pb")
    assert plain
    assert replayed(tmp_path / "json") == plain
    assert replayed(tmp_path / "proto") == plain
