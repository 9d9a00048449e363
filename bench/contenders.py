"""The servers that get the same requests, each a process of its own.

The service runs with its defaults: its journal is a file on a real disk, and it delivers to a HEC server,
which is a process of its own that is not counted. What else it is told are ports and paths.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from bench import rotel
from bench.contenders_page import COLLECTOR, COLLECTOR_FILTER, NOOP, NOOP_TLS, OURS, OURS_TLS, ROTEL
from tests.e2e.processes import ROOT, Service, free_port, listens, peer, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.e2e.processes import Splunk, Started

_CERTIFICATES: Final = ROOT / "tests/otlp_receiver/testdata"
CERTIFICATE: Final = _CERTIFICATES / "server.pem"
KEY: Final = _CERTIFICATES / "server.key"
AUTHORITY: Final = _CERTIFICATES / "ca.pem"
_START_S: Final = 30

_COLLECTOR: Final = """
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
processors:
  filter:
    metric_conditions:
      - >-
        resource.attributes["process.executable.name"] != "sh"
        and resource.attributes["process.executable.name"] != "bash"
        and resource.attributes["process.executable.name"] != "csh"
        and resource.attributes["process.executable.name"] != "tcsh"
exporters: {{nop: {{}}}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
  pipelines: {{metrics: {{receivers: [otlp], processors: [{processors}], exporters: [nop]}}}}
"""


class DefaultService(Service):
    """The service as it is when nobody tells it otherwise."""

    usual: ClassVar[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs. ``service`` is set if it is ours, ``authority`` if it speaks TLS."""

    pid: int
    port: int
    authority: str = ""
    service: Service | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What servers are started with. ``quick`` shortens the windows of the service."""

    started: Started
    splunk: Splunk
    quick: bool

    @property
    def settings(self) -> dict[str, str]:
        """What the service is told that is not its default."""
        return {"DETECTOR__WINDOW": "1s", "DETECTOR__LATENESS": "0s"} if self.quick else {}


@dataclass(frozen=True, slots=True)
class Contender:
    """``like`` names the one that it is compared with. ``start`` may raise ``RotelMissingError``."""

    name: str
    title: str
    like: str
    start: Callable[[Place], Server]


def _listening(port: int, process: subprocess.Popen[bytes], log: Callable[[], str]) -> None:
    def ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(log())
        return listens(port)

    until("a server listens", ready, _START_S)


def _start_noop(place: Place) -> Server:
    return _noop(place, NOOP)


def _start_noop_with_tls(place: Place) -> Server:
    return _noop(place, NOOP_TLS, str(CERTIFICATE), str(KEY))


def _noop(place: Place, name: str, *certificate: str) -> Server:
    port = free_port()
    process = place.started.start(name, [sys.executable, "-m", "bench.noop", str(port), *certificate])
    _listening(port, process, lambda: place.started.log(name))
    return Server(process.pid, port, str(AUTHORITY) if certificate else "")


def _start_collector(place: Place) -> Server:
    return _collector(place, COLLECTOR, "")


def _start_collector_with_filter(place: Place) -> Server:
    return _collector(place, COLLECTOR_FILTER, "filter")


def _collector(place: Place, name: str, processors: str) -> Server:
    port = free_port()
    process = place.started.collector(name, _COLLECTOR.format(port=port, processors=processors))
    _listening(port, process, lambda: place.started.log(name))
    return Server(process.pid, port)


def _start_rotel(place: Place) -> Server:
    port = free_port()
    binary = rotel.binary(fetch=not place.quick)
    process = place.started.start(
        ROTEL,
        [
            binary,
            "start",
            "--exporter=blackhole",
            f"--otlp-grpc-endpoint=127.0.0.1:{port}",
            f"--otlp-http-endpoint=127.0.0.1:{free_port()}",
            f"--pid-file={place.started.folder / 'rotel.pid'}",
            f"--log-file={place.started.folder / 'rotel-file.log'}",
        ],
    )
    _listening(port, process, lambda: place.started.log(ROTEL))
    return Server(process.pid, port)


def _start_ours(place: Place) -> Server:
    service = DefaultService(place.started, OURS, place.splunk, None, **place.settings)
    return Server(service.process.pid, service.port, service=service)


def _start_ours_with_tls(place: Place) -> Server:
    tls = {"RECEIVER__TLS__CERT_FILE": str(CERTIFICATE), "RECEIVER__TLS__KEY_FILE": str(KEY)}
    service = DefaultService(place.started, OURS_TLS, place.splunk, None, **tls, **place.settings)
    return Server(service.process.pid, service.port, str(AUTHORITY), service)


CONTENDERS: Final = (
    Contender(COLLECTOR_FILTER, "Collector, filter", NOOP, _start_collector_with_filter),
    Contender(COLLECTOR, "Collector", NOOP, _start_collector),
    Contender(ROTEL, "rotel", NOOP, _start_rotel),
    Contender(NOOP_TLS, "no-op, TLS", NOOP, _start_noop_with_tls),
    Contender(NOOP, "no-op", NOOP, _start_noop),
    Contender(OURS, "this service", NOOP, _start_ours),
    Contender(OURS_TLS, "this service, TLS", NOOP_TLS, _start_ours_with_tls),
)
"""In the order of a round: what is compared most closely stands side by side."""


def versions() -> dict[str, str]:
    """Of the contenders that are not of this project."""
    collector = subprocess.run(
        [peer("collector-agent"), "--version"], capture_output=True, text=True, check=True
    )
    return {COLLECTOR: f"OpenTelemetry {collector.stdout.strip()}", ROTEL: f"rotel {rotel.VERSION}"}
