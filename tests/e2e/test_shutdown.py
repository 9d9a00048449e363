"""SIGTERM while Splunk takes nothing: an end in time, with everything stored, or told to be lost."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest

from detector.identity import event_id
from detector.types import Kind, NodeId, ShellId
from otel_shell_detector import service as parts
from otel_shell_detector import wiring
from otel_shell_detector.configuration import Settings
from otel_shell_detector.sources import load
from store.memory import MemoryStore
from store.seams import StoreError
from tests.e2e.processes import Service, Started, free_port, until
from tests.e2e.relay import Relay
from tests.exporter.scripted_hec import Answer, ScriptedHec, refusal
from tests.otlp_receiver.encode import START, frame, memory, process, request
from tests.otlp_receiver.serving import EXPORT, half_open

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

SHORT: Final = {"DETECTOR__WINDOW": "1s", "DETECTOR__LATENESS": "0s"}
"""Windows that close soon."""
REUSED: Final = START + 30_000_000_000
"""When a process started that has the pid of one that started at ``START``."""
SILENCE: Final = Answer(raw=(), hang=True)
"""It accepts, reads, and never answers."""


@dataclass
class Splunk:
    """A scripted server at the end of a way that is closed at first."""

    hec: ScriptedHec
    way: Relay
    port: int
    ack: bool = False

    def envelopes(self, source: str) -> list[dict[str, Any]]:
        return [each for each in self.hec.indexed if each["source"] == source]


@pytest.fixture
def splunk() -> Iterator[Splunk]:
    with ScriptedHec() as hec:
        hec.tokens = {"00000000-0000-0000-0000-000000000000"}
        port = free_port()
        way = Relay(port, hec.port)
        yield Splunk(hec, way, port)
        way.cut()


def send(service: Service, *pids: int, start_ns: int = START) -> None:
    """One request of a node, with a sample of each of these shells; it returns when it was answered OK."""
    frames = [frame(process(pid), memory(1.0, start_ns=start_ns, time_ns=start_ns + 1)) for pid in pids]
    with grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        export(request(*frames), timeout=60)


def id_of(pid: int, kind: Kind, start_ns: int = START) -> str:
    shell = ShellId(NodeId("prod", "worker-1"), "worker-1.internal", pid, start_ns, "bash")
    return event_id("otel-shell-detector", shell, 0, kind, 0)


def decided(service: Service) -> int:
    """How many events there are so far."""
    return round(sum(metric(service, "detector_findings_total").values()))


def metric(service: Service, name: str) -> dict[str, float]:
    prefix = f"otel_shell_detector_{name}"
    lines = [line for line in service.metrics().splitlines() if line.startswith(prefix)]
    return {line.rsplit(" ", 1)[0].removeprefix(prefix): float(line.rsplit(" ", 1)[1]) for line in lines}


def logged(service: Service, event: str) -> list[Mapping[str, Any]]:
    lines = (json.loads(line) for line in service.log().splitlines())
    return [line for line in lines if line["event"] == event]


def hold_open(service: Service, stack: ExitStack, state: Path) -> None:
    """What others left unfinished with a service that is about to stop."""
    released = threading.Event()
    channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{service.port}"))
    stack.callback(released.set)
    call: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(EXPORT)
    calls = [call.future(half_open(released)) for _ in range(4)]
    stack.callback(calls.clear)  # a call that nobody holds is cancelled
    until("calls are half open", lambda: metric(service, "receiver_in_flight_bytes")[""] > 0, 60)
    half_asked = stack.enter_context(socket.create_connection(("127.0.0.1", service.http)))
    half_asked.sendall(b"GET /metrics HT")
    control = stack.enter_context(socket.socket(socket.AF_UNIX))
    control.connect(str(state / "control.sock"))
    control.sendall(b'{"ask": ')


@pytest.mark.slow
@pytest.mark.parametrize(
    ("listens", "timeout"),
    [(False, "10s"), (True, "10s"), (True, "5m")],
    ids=["nobody listens", "nobody answers", "nobody answers a patient client"],
)
def test_sigterm_with_splunk_down_ends_in_time_and_the_next_start_tells_everything(
    started: Started, splunk: Splunk, listens: bool, timeout: str
) -> None:
    splunk.hec.always = SILENCE
    if listens:
        splunk.way.mend()
    service = Service(
        started, "down", splunk, EXPORTER__HEC__TIMEOUT=timeout, RECEIVER__RECEIVE_TIMEOUT="5m", **SHORT
    )
    send(service, 11, 12, 13)
    send(service, 11, start_ns=REUSED)
    until("three openings and the two of the reused pid wait", lambda: decided(service) == 5, 60)
    if listens:
        until("a request is not answered", lambda: bool(splunk.hec.requests), 60)
    send(service, 14)
    with ExitStack() as stack:
        hold_open(service, stack, started.folder / "state-down")
        assert service.terminate() == 0  # within 25 s
    (left,) = logged(service, "delivery.undelivered_at_stop")
    # The window of the last one may have closed before the core did.
    risk = left["lanes"]["risk"]
    assert (left["events"], left["lanes"]) == (risk + 1, {"risk": risk, "context": 1})
    assert risk in {4, 5}
    assert logged(service, "delivery.failed") == []
    assert splunk.hec.indexed == []

    splunk.hec.always = None
    if not listens:
        splunk.way.mend()
    service.start()
    wanted = {id_of(pid, Kind.OPENED) for pid in (11, 12, 13, 14)}
    wanted |= {id_of(11, Kind.OPENED, REUSED), id_of(11, Kind.CLOSED)}
    until("everything is told", lambda: set(splunk.hec.ids) >= wanted, 60)
    assert service.terminate() == 0
    assert sorted(splunk.hec.ids) == sorted(wanted)  # nothing else, and nothing twice
    assert len(logged(service, "delivery.undelivered_at_stop")) == 1


def test_without_a_volume_sigterm_closes_windows_early_and_delivers_them(
    started: Started, splunk: Splunk
) -> None:
    splunk.way.mend()
    service = Service(started, "ephemeral", splunk, STATE__EPHEMERAL="true", DETECTOR__WINDOW="1h")
    send(service, 11, 12)
    assert decided(service) == 0
    assert service.terminate() == 0
    told = [(each["kind"], each["process.pid"]) for each in service.events("opened")]
    assert sorted(told) == [("opened", 11), ("opened", 12)]
    assert len(splunk.hec.indexed) == 2
    assert logged(service, "delivery.lost_at_stop") == []
    assert not (started.folder / "state-ephemeral").exists()


@pytest.mark.slow
@pytest.mark.parametrize("listens", [False, True], ids=["nobody listens", "nobody answers"])
def test_without_a_volume_and_without_splunk_sigterm_ends_in_time_and_tells_what_is_lost(
    started: Started, splunk: Splunk, listens: bool
) -> None:
    splunk.hec.always = SILENCE
    if listens:
        splunk.way.mend()
    service = Service(
        started, "ephemeral", splunk, STATE__EPHEMERAL="true", EXPORTER__HEC__TIMEOUT="5m", **SHORT
    )
    send(service, 11)
    send(service, 11, start_ns=REUSED)
    until("two openings and an end wait", lambda: decided(service) == 3, 60)
    send(service, 12)
    assert service.terminate() == 0  # within 25 s
    (lost,) = logged(service, "delivery.lost_at_stop")
    assert (lost["level"], lost["events"], lost["lanes"]) == ("error", 4, {"risk": 3, "context": 1})
    assert logged(service, "delivery.undelivered_at_stop") == []
    assert splunk.hec.indexed == []


def test_a_stop_does_not_wait_for_the_end_of_a_backoff_before_it_tries_once_more(
    started: Started, splunk: Splunk
) -> None:
    splunk.hec.always = refusal(503, 9, headers={"Retry-After": "300"})
    splunk.way.mend()
    service = Service(started, "busy", splunk, STATE__EPHEMERAL="true", **SHORT)
    send(service, 11)
    until("the server has refused it", lambda: bool(logged(service, "exporter.retrying")), 60)
    splunk.hec.always = None
    assert service.terminate() == 0
    assert len(splunk.hec.posts) == 2
    assert [each["process.pid"] for each in service.events("opened")] == [11]
    assert logged(service, "delivery.lost_at_stop") == []


class Unreadable(MemoryStore):
    """A store whose disk gives errors."""

    attempts = 0

    def rewind(self) -> None:
        self.attempts += 1
        raise StoreError("input/output error")


def test_a_stop_is_heard_while_the_store_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Unreadable()
    monkeypatch.setattr(wiring, "store", lambda settings: store)
    settings = load(
        None,
        {
            "OTEL_SHELL_DETECTOR_RECEIVER__ENDPOINT": f"127.0.0.1:{free_port()}",
            "OTEL_SHELL_DETECTOR_HTTP__ENDPOINT": f"127.0.0.1:{free_port()}",
            "OTEL_SHELL_DETECTOR_STATE__PATH": str(tmp_path),
        },
    )
    assert isinstance(settings, Settings)
    service, asked = parts.Service(settings), threading.Event()
    starting = threading.Thread(target=service.start, args=(asked,), daemon=True)
    starting.start()
    starting.join(1)
    assert starting.is_alive()
    assert 1 <= store.attempts <= 20  # ten a second, not as many as a CPU can
    assert service.not_ready() == {"core": "does not accept records"}
    asked.set()
    starting.join(60)
    assert not starting.is_alive()
    service.stop()
    assert not service.failed()
