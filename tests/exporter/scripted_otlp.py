"""An OTLP receiver for logs that answers as a test tells it to.

It is a fake, and has to be one: the real collector of our end-to-end tests never answers most statuses, and
rejects no single record. What it does by default is what a collector does: take the records and answer OK.
"""

import json
import threading
from collections import deque
from collections.abc import Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Self

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from exporter.otlp import METHOD


@dataclass(frozen=True)
class Call:
    """What a client sent."""

    body: bytes
    metadata: dict[str, str]

    @property
    def request(self) -> ExportLogsServiceRequest:
        return ExportLogsServiceRequest.FromString(self.body)

    @property
    def records(self) -> list[Any]:
        return [
            record
            for resource in self.request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]


@dataclass(frozen=True)
class Answer:
    """An answer. ``after_s`` is sent as RetryInfo; ``details`` instead of it, as they are."""

    status: grpc.StatusCode = grpc.StatusCode.OK
    text: str = ""
    after_s: float | None = None
    details: bytes | None = None
    body: bytes = b""
    hang: bool = False


def event_id(record: Any) -> str:
    """Of an event that is the body, or whose fields are attributes."""
    for each in record.attributes:
        if each.key == "event_id":
            return str(each.value.string_value)
    return str(json.loads(record.body.string_value)["event_id"])


def rejection(count: int, text: str = "rejected") -> Answer:
    """A partial success."""
    partial = ExportLogsPartialSuccess(rejected_log_records=count, error_message=text)
    return Answer(body=ExportLogsServiceResponse(partial_success=partial).SerializeToString())


class ScriptedOtlp:
    """Listens on loopback. ``script`` is used up first, then ``always``; else it behaves.

    ``ids`` are of the events that it took, in order. An event whose id is in ``refused`` is refused: with
    INVALID_ARGUMENT, or counted as rejected if ``partial``.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> None:
        self.calls: list[Call] = []
        self.ids: list[str] = []
        self.script: deque[Answer] = deque()
        self.always: Answer | None = None
        self.refused: set[str] = set()
        self.partial = False
        self._over = threading.Event()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.so_reuseport", 0)]
        )
        _, service, method = METHOD.split("/")
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._export)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        address = f"localhost:{port}"
        self.port = (
            self._server.add_secure_port(address, credentials)
            if credentials
            else self._server.add_insecure_port(address)
        )
        self._tls = credentials is not None
        self._server.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.stop(None).wait()

    def _export(self, body: bytes, context: grpc.ServicerContext) -> bytes:
        call = Call(body, {key: str(value) for key, value in context.invocation_metadata()})
        self.calls.append(call)
        ids = [event_id(record) for record in call.records]
        answer = self.script.popleft() if self.script else self.always
        if answer is None:
            answer = self._behaved(ids)
        if answer.hang:
            self._over.wait()
        if answer.status is grpc.StatusCode.OK:
            return answer.body
        details = answer.details
        if answer.after_s is not None:
            details = retry_info(answer.after_s)
        if details is not None:
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(answer.status, answer.text)
        raise AssertionError  # abort raises

    def _behaved(self, ids: Sequence[str]) -> Answer:
        refused = self.refused & set(ids)
        if refused and not self.partial:
            return Answer(grpc.StatusCode.INVALID_ARGUMENT, "malformed")
        self.ids += [each for each in ids if each not in refused]
        return rejection(len(refused)) if refused else Answer()


def retry_info(after_s: float) -> bytes:
    """The details of a status with RetryInfo, behind one of another kind."""
    other, detail = any_pb2.Any(), any_pb2.Any()
    other.Pack(error_details_pb2.ErrorInfo(reason="busy"))
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(after_s * 1e9))
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    details: bytes = status_pb2.Status(details=[other, detail]).SerializeToString()
    return details
