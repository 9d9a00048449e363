"""``make demo``: the service on a real capture, through real gRPC, on this machine only.

Starts ``otel-shell-detector serve`` with its defaults, sends it ``tests/captures/worker-1.pb`` with the times
shifted to now, and shows what it found. Nothing leaves the loopback interface.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc

from otlp_receiver.descriptors import FRAMES, RESOURCE_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CAPTURE: Final = Path(__file__).parent.parent / "tests" / "captures" / "worker-1.pb"
EXPORT: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
BIN_NS: Final = 10_000_000_000
WINDOWS_CLOSE_S: Final = 17
"""Window and lateness, 15 s after the first sample came, and a little."""
WIDTH: Final = 40
"""Of a command line in the table."""
START_TIMEOUT_S: Final = 20
STOP_TIMEOUT_S: Final = 20
COLUMNS: Final = (
    "opened",
    "pid",
    "name",
    "user",
    "parent",
    "path",
    "cpu %",
    "mem %",
    "windows",
    "end",
    "command line",
)
KINDS: Final = ("opened", "ongoing", "closed")
NUMBERS: Final = frozenset({"opened", "pid", "parent", "cpu %", "mem %", "windows"})


def requests(capture: Path) -> Iterator[list[Any]]:
    """The requests of a capture in the file exporter's ``format: proto``, each as its frames."""
    data, at = capture.read_bytes(), 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        frames = FRAMES.FromString(data[at + 4 : at + 4 + size]).resource_metrics
        yield [RESOURCE_METRICS.FromString(frame) for frame in frames]
        at += 4 + size


def points(frame: Any) -> Iterator[Any]:  # noqa: ANN401  # a message class made at run time
    """The number data points of a frame."""
    for scope in frame.scope_metrics:
        for metric in scope.metrics:
            data = metric.WhichOneof("data")
            if data in {"gauge", "sum"}:
                yield from getattr(metric, data).data_points


def shifted(capture: Path, now_ns: int) -> list[bytes]:
    """The requests with all times moved by whole windows, so that the last scrape is about now."""
    parsed = list(requests(capture))
    last = max(point.time_unix_nano for request in parsed for frame in request for point in points(frame))
    by_ns = (now_ns - last) // BIN_NS * BIN_NS
    bodies = []
    for request in parsed:
        for frame in request:
            for point in points(frame):
                point.time_unix_nano += by_ns
                if point.start_time_unix_nano:
                    point.start_time_unix_nano += by_ns
        bodies.append(
            FRAMES(resource_metrics=[frame.SerializeToString() for frame in request]).SerializeToString()
        )
    return bodies


def environment(match: str, directory: Path) -> dict[str, str]:
    """The defaults, whatever this shell has set, on free ports of the loopback interface."""
    inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith("OTEL_SHELL_DETECTOR_")}
    return inherited | {
        "OTEL_SHELL_DETECTOR_RECEIVER__ENDPOINT": "127.0.0.1:0",
        "OTEL_SHELL_DETECTOR_HTTP__ENDPOINT": "127.0.0.1:0",
        "OTEL_SHELL_DETECTOR_STATE__PATH": str(directory / "state"),
        "OTEL_SHELL_DETECTOR_DETECTOR__MATCH": match,
        "OTEL_SHELL_DETECTOR_LOG__FORMAT": "json",
    }


def ports(log: Path, service: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Receiver's and HTTP's port, from the log. Raises ``RuntimeError`` with the log if it did not start."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and service.poll() is None:
        for line in log.read_text(errors="replace").splitlines():
            if '"receiver_port"' in line and line.endswith("}"):
                started = json.loads(line)
                return int(started["receiver_port"]), int(started["http_port"])
        time.sleep(0.05)  # a file that another process writes says no word when it grows
    raise RuntimeError("the service did not start:\n" + log.read_text(errors="replace"))


def send(port: int, bodies: Sequence[bytes]) -> None:
    """Export each request, gzipped, as the collector does."""
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options, grpc.Compression.Gzip) as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        for body in bodies:
            export(body, timeout=10, wait_for_ready=True)


def samples(port: int) -> int:
    """How many samples ``/metrics`` shows."""
    local = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with local.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return sum(not line.startswith(b"#") for line in answer.read().splitlines())


def run(match: str, directory: Path, out: Path) -> int:
    """Run the service once over the capture; events go to ``out``. Return the number of metric samples."""
    log = directory / "log"
    with out.open("wb") as stdout, log.open("wb") as stderr:
        service = subprocess.Popen(
            [sys.executable, "-m", "otel_shell_detector", "serve"],
            stdout=stdout,
            stderr=stderr,
            env=environment(match, directory),
        )
    try:
        receiver_port, http_port = ports(log, service)
        bodies = shifted(CAPTURE, time.time_ns())
        send(receiver_port, bodies)
        print(f"Sent {len(bodies)} scrapes to 127.0.0.1:{receiver_port}; windows close in 15 s.", flush=True)
        time.sleep(WINDOWS_CLOSE_S)  # real windows close in real time: it is what the demo is to show
        seen = samples(http_port)
        service.terminate()
        if service.wait(STOP_TIMEOUT_S):
            raise RuntimeError("the service failed:\n" + log.read_text(errors="replace"))
        return seen
    finally:
        if service.poll() is None:
            service.kill()
            service.wait()


def percent(value: float | None) -> str:
    """A number for the table; a dash where the node reported none."""
    return "-" if value is None else f"{value:.2f}"


def rows(events: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """One row a session, in the order of opening."""
    # With a score or without, events are of two lanes, and lanes do not wait for each other.
    in_order = sorted(events, key=lambda event: (KINDS.index(event["kind"]), event["ordinal"]))
    last = {event["session_id"]: event for event in in_order}
    opened = [event for event in events if event["kind"] == "opened"]
    opened.sort(key=lambda event: (event["first_seen"], event["process.pid"]))
    table = []
    for event in opened:
        final = last[event["session_id"]]
        cpu = final.get("process.cpu.utilization.total")
        line = event.get("process.command_line", "")
        cells = (
            f"+{event['first_seen'] - opened[0]['first_seen']:.0f} s",
            event["process.pid"],
            event["process.executable.name"],
            event.get("process.owner", "-"),
            event.get("process.parent_pid", "-"),
            event.get("process.executable.path", "-"),
            percent(None if cpu is None else cpu * 100),
            percent(final.get("process.memory.utilization")),
            final["windows"],
            final.get("close_reason", "open"),
            line if len(line) <= WIDTH else line[: WIDTH - 1] + "…",
        )
        table.append(dict(zip(COLUMNS, map(str, cells), strict=True)))
    return table


def show(table: Sequence[Mapping[str, str]], *, colour: bool) -> None:
    """Print the table."""
    width = {name: max([len(name), *(len(row[name]) for row in table)]) for name in COLUMNS}
    lines = [
        "  ".join(
            f"{row[n]:>{width[n]}}" if n in NUMBERS else f"{row[n]:<{width[n]}}" for n in COLUMNS
        ).rstrip()
        for row in ({name: name for name in COLUMNS}, *table)
    ]
    print(f"\033[1m{lines[0]}\033[0m" if colour else lines[0], *lines[1:], sep="\n")


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(description="Find the shells of a real capture.")
    parser.add_argument(
        "--match",
        choices=("name", "path"),
        default=os.environ.get("DEMO_MATCH", "name"),
        help="path: also by the base name of the executable's path, which finds scripts",
    )
    match = "name" if parser.parse_args().match == "name" else "name,path"
    handle, name = tempfile.mkstemp(prefix="otel-shell-detector-demo-", suffix=".jsonl")
    os.close(handle)
    out = Path(name)
    try:
        with tempfile.TemporaryDirectory() as directory:
            seen = run(match, Path(directory), out)
    except (RuntimeError, OSError, grpc.RpcError, subprocess.TimeoutExpired) as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1
    lines = out.read_text(encoding="utf-8").splitlines()
    if not lines:
        print("The demo failed: the service told of no shell.", file=sys.stderr)
        return 1
    envelopes = [json.loads(line) for line in lines]
    table = rows([envelope["event"] for envelope in envelopes])
    print(f"\n{len(table)} shells on node {envelopes[0]['event']['k8s.node.name']}:\n")
    show(table, colour=sys.stdout.isatty())
    print("\nThe first event, as Splunk would get it:\n")
    print(json.dumps(envelopes[0], indent=2, ensure_ascii=False))
    print(f"\nAll {len(lines)} events, one a line: {out}\n/metrics showed {seen} samples.\n\nNext:")
    print("  DEMO_MATCH=path make demo    finds the script behind a shebang line as well")
    print("  make test                    runs every test")
    print("  README.md                    how to point a collector at the service, and the service at Splunk")
    return 0


if __name__ == "__main__":
    sys.exit(main())
