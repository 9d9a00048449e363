"""What the collector's file exporter really writes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import grpc
import pytest

from otel_shell_detector.captures import Request, requests
from tests.otel_shell_detector.captures.samples import CAPTURES, bodies, lines, parse, zstd

pytestmark = pytest.mark.peers

ROOT = CAPTURES.parents[1]
EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
GATE = "exporter.file.nativeCompression"

CONFIG = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}
exporters:
  file/json: {{path: "{folder}/json"}}
  file/proto: {{path: "{folder}/proto", format: proto}}
  file/json-zstd: {{path: "{folder}/json-zstd", compression: zstd}}
  file/proto-zstd: {{path: "{folder}/proto-zstd", format: proto, compression: zstd}}
  file/rotated:
    {{path: "{folder}/rotated", format: proto, compression: zstd, rotation: {{max_megabytes: 10}}}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}
  pipelines:
    metrics:
      receivers: [otlp]
      exporters: [file/json, file/proto, file/json-zstd, file/proto-zstd, file/rotated]
"""
FILES = ("json", "proto", "json-zstd", "proto-zstd", "rotated")


@pytest.fixture(scope="module")
def collector() -> Path:
    found = subprocess.run(
        ["peers/build", "--path", "collector-agent"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        reason = f"collector-agent: {found.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(found.stdout.strip())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write(collector: Path, folder: Path, gates: str, sent: list[bytes]) -> None:
    """Send the requests to a collector that writes them in every format, and stop it."""
    port = free_port()
    config = folder / "collector.yaml"
    config.write_text(CONFIG.format(port=port, folder=folder))
    command = [str(collector), "--config", str(config), f"--feature-gates={gates}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                grpc.channel_ready_future(channel).result(timeout=30)
                export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
                for body in sent:
                    export(body, timeout=10)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def sent() -> list[bytes]:
    """Everything that worker-1 and worker-4 have, text that is not UTF-8 included."""
    return [
        item.body
        for name in ("worker-1.pb", "worker-4.pb")
        for item in requests(CAPTURES / name)
        if isinstance(item, Request)
    ]


@pytest.fixture(scope="module", params=["-" + GATE, GATE], ids=["messages", "native"])
def written(
    request: pytest.FixtureRequest,
    collector: Path,
    sent: list[bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with what the exporter wrote, compressing messages or, with the feature gate, files."""
    folder = tmp_path_factory.mktemp("written")
    write(collector, folder, request.param, sent)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_what_the_file_exporter_writes_is_what_was_sent(written: Path, name: str, sent: list[bytes]) -> None:
    assert bodies(requests(written / name)) == [parse(body) for body in sent]


def test_a_compressed_message_of_json_is_its_line_without_the_newline(written: Path) -> None:
    data = (written / "json-zstd").read_bytes()
    plain = (written / "json").read_bytes()
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        assert zstd.decompress(data) == plain  # native: frame after frame
        return
    texts = []
    while data:
        size = int.from_bytes(data[:4], "big")
        texts.append(zstd.decompress(data[4 : 4 + size]))
        data = data[4 + size :]
    assert lines(texts) == plain
