"""The generator: it prepares requests and sends them, in a process of its own.

    python -m bench.load

It is told what to do by lines of JSON, ``{"do": ..., ...}``, and answers each with one. :class:`Generator` is
the other end.

It has so many connections, and on each one call after the other: a closed loop. Requests are compressed when
they are prepared, for grpcio would do it while the server is being measured. grpcio has no way to be given
compressed messages, gRPC itself has: a flag of the message.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from bench import workload
from otlp_receiver.server import SERVICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.processes import Started

_GZIP: Final = b"\x1f\x8b"
LEVEL: Final = 6
"""Of gzip: the default of zlib, which gRPC uses."""
_IS_COMPRESSED: Final = -(1 << 31)
"""``GRPC_WRITE_INTERNAL_COMPRESS`` of gRPC's C core, as a signed number."""
_TIMEOUT_S: Final = 30
_MS: Final = 1000

_cygrpc: Final[Any] = importlib.import_module("grpc._cython.cygrpc")
_send_message: Final = _cygrpc.SendMessageOperation


def _send_as_it_is(message: bytes, flags: int) -> object:
    return _send_message(message, flags | _IS_COMPRESSED if message.startswith(_GZIP) else flags)


class Load:
    """What the generator can be told to do; what these give is what it answers."""

    def __init__(self) -> None:
        self._bodies: dict[bool, list[bytes]] = {}
        self._channels: list[grpc.Channel] = []

    def prepare(self, *, shells: int, nodes: int, scrapes: int, compress: bool) -> dict[str, int]:
        """One request of each node, so many scrapes after the real one; how large they are together.

        Those that are compressed are kept beside those that are not.
        """
        bodies = workload.of_nodes(workload.scrape(shells), nodes, scrapes)
        if compress:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                bodies = list(pool.map(lambda body: gzip.compress(body, LEVEL, mtime=0), bodies))
        self._bodies[compress] = bodies
        return {"bytes": sum(map(len, bodies))}

    def connect(self, *, port: int, authority: str, connections: int, compress: bool) -> dict[str, int]:
        """Have connections, each made by its first call; with TLS if a certificate authority is named."""
        self.disconnect()
        compression = grpc.Compression.Gzip if compress else grpc.Compression.NoCompression
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        for _ in range(connections):
            if authority:
                trusted = grpc.ssl_channel_credentials(Path(authority).read_bytes())
                channel = grpc.secure_channel(f"127.0.0.1:{port}", trusted, options, compression)
            else:
                channel = grpc.insecure_channel(f"127.0.0.1:{port}", options, compression)
            self._channels.append(channel)
        return {"connections": connections}

    def disconnect(self) -> dict[str, int]:
        """End the connections."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()
        return {}

    def send(self, *, first: int, count: int, compress: bool) -> dict[str, Any]:
        """So many of the requests that are prepared; what was answered, and how long it took."""
        bodies = self._bodies[compress][first : first + count]
        shares = [bodies[each :: len(self._channels)] for each in range(len(self._channels))]
        answers: Counter[str] = Counter()
        seconds: list[float] = []
        cpu, begun = time.process_time(), time.perf_counter()
        with ThreadPoolExecutor(len(self._channels)) as pool:
            for answer, took in pool.map(_calls, self._channels, shares):
                answers += answer
                seconds += took
        elapsed, cpu = time.perf_counter() - begun, time.process_time() - cpu
        seconds.sort()
        return {
            "answers": answers,
            "seconds": elapsed,
            "generator_ms": cpu * _MS / count,
            "p50_ms": seconds[len(seconds) // 2] * _MS,
            "p99_ms": seconds[len(seconds) * 99 // 100] * _MS,
        }


def _calls(channel: grpc.Channel, bodies: Sequence[bytes]) -> tuple[Counter[str], list[float]]:
    """Send them one after the other; what each was answered, and how long that took."""
    export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Export")
    answers: Counter[str] = Counter()
    seconds = []
    for body in bodies:
        begun = time.perf_counter()
        answer = _answer(export, body)
        seconds.append(time.perf_counter() - begun)
        answers[answer] += 1
    return answers, seconds


def _answer(export: grpc.UnaryUnaryMultiCallable[bytes, bytes], body: bytes) -> str:
    try:
        answer = export(body, timeout=_TIMEOUT_S)
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    rejected = ExportMetricsServiceResponse.FromString(answer).partial_success.rejected_data_points
    return f"OK, but {rejected} data points were rejected" if rejected else "OK"


class Generator:
    """The process that sends, as the one that measures sees it."""

    def __init__(self, started: Started) -> None:
        self._started = started
        command = [sys.executable, "-m", "bench.load"]
        self._process = started.start("generator", command, stdout=subprocess.PIPE)

    def __call__(self, do: str, **told: object) -> dict[str, Any]:
        """Have something done. Raises :class:`AssertionError` if it is not."""
        to = cast("IO[bytes]", self._process.stdin)  # both are pipes: it was started so
        back = cast("IO[bytes]", self._process.stdout)
        to.write(json.dumps({"do": do} | told).encode() + b"\n")
        to.flush()
        answer = back.readline()
        if not answer:
            raise AssertionError("the generator failed:\n" + self._started.log("generator"))
        done: dict[str, Any] = json.loads(answer)
        return done


def main() -> None:
    """Do what standard input says, until it ends."""
    _cygrpc.SendMessageOperation = _send_as_it_is
    load = Load()
    known = {each.__name__: each for each in (load.prepare, load.connect, load.disconnect, load.send)}
    for line in sys.stdin:
        told = json.loads(line)
        sys.stdout.write(json.dumps(known[told.pop("do")](**told)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
