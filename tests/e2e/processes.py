"""Real processes on loopback ports: the service, the collector, the HEC server, and shells."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import grpc
import pytest

from otel_shell_detector.captures import Request, requests
from tests.event_schema import check, check_lines
from tests.otlp_receiver.serving import EXPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[2]
_PREFIX: Final = "OTEL_SHELL_DETECTOR_"
EACH_TOLD: Final = {"RISK__PROFILE": "once", "RISK__BURST__AFTER": "0"}
"""Each shell is told by itself: these tests are about that, not about what is worth telling."""


def peer(name: str) -> Path:
    """The binary of a peer; the test is skipped, or fails under CI, if it has not been built."""
    found = subprocess.run(
        ["peers/build", "--path", name], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode == 0:
        return Path(found.stdout.strip())
    reason = f"{name}: {found.stderr.strip()}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def until(what: str, ready: Callable[[], bool], within_s: float, every_s: float = 0.1) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(every_s)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Started:
    """Processes that this test started, and ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        name: str,
        command: Sequence[str | bytes | Path],
        environment: dict[str, str] | None = None,
        *,
        stdout: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process with a pipe for its input; what it says goes to ``<name>.log`` or ``stdout``."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=stdout or log, stderr=log, env=environment, cwd=ROOT
            )
        self._processes.append(process)
        return process

    def log(self, name: str) -> str:
        """What a process has said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def end(self) -> None:
        """End what still runs, the youngest first."""
        for process in reversed(self._processes):
            if process.stdin:
                process.stdin.close()  # some end by it, and leave a signal to those that they started
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def collector(self, name: str, config: str, *wrapper: str) -> subprocess.Popen[bytes]:
        """Start a collector with a configuration of its own."""
        path = self.folder / f"{name}.yaml"
        path.write_text(config)
        return self.start(name, [*wrapper, peer("collector-agent"), "--config", path])


class Splunk:
    """The HEC server."""

    def __init__(self, started: Started, *, ack: bool) -> None:
        example = "example-ack.yaml" if ack else "example.yaml"
        self.port = free_port()
        self.ack = ack
        self._output = started.folder / f"events-{ack}.jsonl"
        self._environment = dict(os.environ)
        self._environment |= {"HEC_ENDPOINT": f"127.0.0.1:{self.port}", "OUTPUT": str(self._output)}
        self._environment["HEALTH_ENDPOINT"] = f"127.0.0.1:{free_port()}"
        self._config = ROOT / "peers/hec-server" / example
        self._started = started
        self.start()

    def start(self) -> None:
        """Start it; again, with the same port and without what arrived before, after it has ended."""
        server: list[str | bytes | Path] = [peer("hec-server"), "--config", self._config]
        self._process = self._started.start(f"hec-{self.ack}", server, self._environment)
        until("the HEC server listens", lambda: listens(self.port), 30)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._process.kill()
        self._process.wait(timeout=25)

    def everything(self) -> list[dict[str, Any]]:
        """What arrived: envelopes as they were sent, in order of arrival."""
        data = self._output.read_bytes() if self._output.exists() else b""
        complete = data[: data.rfind(b"\n") + 1]
        return [each for line in complete.splitlines() for each in _envelopes(json.loads(line))]

    def envelopes(self, source: str) -> list[dict[str, Any]]:
        """What arrived from one service."""
        return [each for each in self.everything() if each["source"] == source]


def _envelopes(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource_logs in request["resourceLogs"]:
        attributes = {each["key"]: _value(each["value"]) for each in resource_logs["resource"]["attributes"]}
        for scope_logs in resource_logs["scopeLogs"]:
            for record in scope_logs["logRecords"]:
                yield check(
                    {
                        "time": int(record["timeUnixNano"]) / 1e9,
                        "host": attributes["host.name"],
                        "source": attributes["com.splunk.source"],
                        "sourcetype": attributes["com.splunk.sourcetype"],
                        "index": attributes["com.splunk.index"],
                        "event": _value(record["body"]),
                    }
                )


def _value(any_value: Any) -> Any:
    found: tuple[str, Any] = next(iter(any_value.items()), ("", None))
    kind, value = found
    if kind == "kvlistValue":
        return {each["key"]: _value(each["value"]) for each in value["values"]}
    if kind == "arrayValue":
        return [_value(each) for each in value["values"]]
    return value


class Gateway:
    """The collector of ``docs/gateway.yaml``, delivering to a HEC server."""

    def __init__(self, started: Started, splunk_port: int) -> None:
        self.port = free_port()
        self._started = started
        self._environment = dict(os.environ) | {
            "OTLP_ENDPOINT": f"127.0.0.1:{self.port}",
            "SPLUNK_URL": f"http://127.0.0.1:{splunk_port}",
            "SPLUNK_TOKEN": "00000000-0000-0000-0000-000000000000",
        }
        self.start()

    @property
    def url(self) -> str:
        """What ``exporter.otlp.endpoint`` is told."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; again, with the same port, after it has ended."""
        collector: list[str | bytes | Path] = [
            peer("collector-gateway"),
            "--config",
            ROOT / "docs/gateway.yaml",
        ]
        no_metrics = "--set=service::telemetry::metrics::level=none"  # they would listen on one port for all
        self._process = self._started.start("gateway", [*collector, no_metrics], self._environment)
        until("the gateway listens", lambda: listens(self.port), 30)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._process.kill()
        self._process.wait(timeout=25)


class Hec(Protocol):
    """A HEC server, as a service sees it."""

    port: int
    ack: bool

    def envelopes(self, source: str) -> list[dict[str, Any]]:
        """What arrived from one service."""
        ...


class Service:
    """``serve``, delivering to a HEC server.

    ``more`` is of the configuration, as in the environment; ``environment`` is of the process beside it.
    """

    usual: ClassVar[Mapping[str, str]] = EACH_TOLD
    """Of the configuration, where ``more`` does not say otherwise."""

    def __init__(
        self,
        started: Started,
        name: str,
        splunk: Hec,
        environment: Mapping[str, str] | None = None,
        /,
        **more: str,
    ) -> None:
        self.name, self._splunk, self._started = name, splunk, started
        token = started.folder / "token"
        token.write_text("00000000-0000-0000-0000-000000000000\n")
        token.chmod(0o600)
        self.port, self.http = free_port(), free_port()
        keys = {
            "RECEIVER__ENDPOINT": f"127.0.0.1:{self.port}",
            "HTTP__ENDPOINT": f"127.0.0.1:{self.http}",
            "STATE__PATH": str(started.folder / f"state-{name}"),
            "EXPORTER__SINK": "hec",
            "EXPORTER__HEC__URL": f"http://127.0.0.1:{splunk.port}",
            "EXPORTER__HEC__TOKEN_FILE": str(token),
            "EXPORTER__HEC__SOURCE": name,
            "EXPORTER__HEC__ACK": str(splunk.ack).lower(),
        } | (dict(self.usual) | more)
        self._environment = environment_without_keys() | dict(environment or {})
        self._environment |= {_PREFIX + key: value for key, value in keys.items()}
        self._starts = 0
        self.start()

    def start(self) -> None:
        """Start it; again, with the same ports and the same state, after it has ended."""
        self._starts += 1
        self.process = self._started.start(f"service-{self.name}", self.command(), self._environment)

        def ready() -> bool:
            assert self.process.poll() is None, self.log()
            return self.log().count('"event": "service.started"') == self._starts

        until(f"{self.name} has started", ready, 30)

    def command(self) -> Sequence[str | bytes | Path]:
        """What is started."""
        return [sys.executable, "-m", "otel_shell_detector", "serve"]

    def log(self) -> str:
        """Its log so far."""
        return self._started.log(f"service-{self.name}")

    def envelopes(self) -> list[dict[str, Any]]:
        """What it delivered."""
        return self._splunk.envelopes(self.name)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind that it delivered."""
        return [each["event"] for each in self.envelopes() if each["event"]["kind"] == kind]

    def opened(self, *pids: int) -> bool:
        """Whether these shells were told."""
        return set(pids) <= {int(each["process.pid"]) for each in self.events("opened")}

    def closed(self, pid: int) -> bool:
        """Whether this shell's end was told."""
        return pid in {int(each["process.pid"]) for each in self.events("closed")}

    def send(self, capture: Path) -> None:
        """Each request of it; it returns when all were answered OK."""
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
            for item in requests(capture):
                assert isinstance(item, Request)
                export(item.body, timeout=30)

    def metrics(self) -> str:
        """Its ``/metrics``."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as reply:
            text: str = reply.read().decode()
        return text

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=25)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.process.kill()
        self.process.wait(timeout=25)


def environment_without_keys() -> dict[str, str]:
    """The environment of this process without any key of the product."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}


def replayed(*files: Path) -> bytes:
    """What ``replay`` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "otel_shell_detector", "replay", *files],
        cwd=ROOT,
        env=environment_without_keys() | {_PREFIX + key: value for key, value in EACH_TOLD.items()},
        capture_output=True,
        check=True,
    )
    check_lines(done.stdout.splitlines())
    return done.stdout
