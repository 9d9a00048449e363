"""A running server, a real gRPC client, and what the metrics say that happened between."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from otlp_receiver.server import SERVICE, Server, ServerSettings
from telemetry import metrics
from tests.otlp_receiver.captures import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.types import Record
    from otlp_receiver.selection import Selection

SETTINGS = ServerSettings(endpoint="127.0.0.1:0", workers=8, receive_timeout=60.0)
EXPORT = f"/{SERVICE}/Export"
CLIENT_DEADLINE_S = 60


@dataclass
class Answered:
    """What a call was answered; ``retry_s`` is the delay of RetryInfo, ``None`` without one."""

    code: grpc.StatusCode
    text: str = ""
    retry_s: int | None = None
    body: bytes = b""


@dataclass
class Sink:
    """An ``accept`` that takes records, blocks, or raises, as it is told."""

    taken: list[tuple[Record, ...]] = field(default_factory=list)
    raises: Exception | None = None
    open: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def __call__(self, records: tuple[Record, ...]) -> None:
        self.entered.set()
        assert self.open.wait(CLIENT_DEADLINE_S)
        if self.raises is not None:
            raise self.raises
        self.taken.append(records)


@dataclass
class Running:
    server: Server
    sink: Sink
    channel: grpc.Channel

    def begin(self, body: bytes) -> Any:
        """One call with one message, not waited for."""
        return self.unary().future(body, timeout=CLIENT_DEADLINE_S)

    def begin_stream(self, messages: Iterator[bytes]) -> Any:
        """One call with any number of messages, not waited for."""
        call: grpc.StreamUnaryMultiCallable[bytes, bytes] = self.channel.stream_unary(EXPORT)
        return call.future(messages, timeout=CLIENT_DEADLINE_S)

    def unary(self) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        return self.channel.unary_unary(EXPORT)

    def export(self, body: bytes, **options: Any) -> Answered:
        """One call with one message, as a collector makes it."""
        try:
            return Answered(grpc.StatusCode.OK, body=self.unary()(body, timeout=CLIENT_DEADLINE_S, **options))
        except grpc.RpcError as error:
            return answered(error)

    def stream(self, messages: Iterator[bytes]) -> Answered:
        """One call with any number of messages."""
        try:
            return Answered(grpc.StatusCode.OK, body=self.begin_stream(messages).result())
        except grpc.RpcError as error:
            return answered(error)


def answered(error: Any) -> Answered:
    """What a failed call was answered, with its details read as any gRPC client reads them."""
    trailing = dict(error.trailing_metadata() or ())
    retry_s = None
    if raw := trailing.get("grpc-status-details-bin"):
        status = status_pb2.Status.FromString(raw)
        assert (status.code, status.message) == (error.code().value[0], error.details())
        (detail,) = status.details
        info = error_details_pb2.RetryInfo()
        assert detail.Unpack(info)
        retry_s = info.retry_delay.seconds
    return Answered(error.code(), error.details(), retry_s)


@contextmanager
def serving(
    settings: ServerSettings = SETTINGS, selection: Selection = BY_NAME, **changes: Any
) -> Iterator[Running]:
    """A server that runs, with a client that sends messages of any size. When it is left, no call runs."""
    sink = Sink()
    server = Server(replace(settings, **changes), selection, sink)
    server.start()
    options = [("grpc.max_send_message_length", -1)]
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
            yield Running(server, sink, channel)
    finally:
        sink.open.set()
        server.stop(CLIENT_DEADLINE_S)


def half_open(released: threading.Event, *first: bytes) -> Iterator[bytes]:
    """The messages of a call that does not end by itself."""
    yield from first
    released.wait(120)


def receiver_samples() -> dict[str, float]:
    """Every sample of the receiver's metrics but those that depend on how long something took."""
    return {
        name_of(sample.name, sample.labels): sample.value
        for metric in metrics.REGISTRY.collect()
        for sample in metric.samples
        if "_receiver_" in sample.name and not sample.name.endswith(("_created", "_sum", "_bucket"))
    }


def name_of(name: str, labels: dict[str, str]) -> str:
    short = name.removeprefix("otel_shell_detector_receiver_")
    return short + "".join(f" {value}" for value in labels.values())


@contextmanager
def moved() -> Iterator[dict[str, float]]:
    """What moved in the receiver's metrics: filled in when it is left, zeros left out."""
    before = receiver_samples()
    changes: dict[str, float] = {}
    yield changes
    for name, value in receiver_samples().items():
        if value != before.get(name, 0):
            changes[name] = value - before.get(name, 0)
