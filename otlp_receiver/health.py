"""``grpc.health.v1.Health/Check``: whether the receiver takes calls. For probes, so it asks no credentials.

It is served as Export is, as a stream of raw bytes: the servicer that comes with grpcio waits for the
request of a call without end, in a worker, and a few hundred half-open checks would take them all.
``Watch`` is not offered, for it keeps something for as long as the caller likes; gRPC clients take
UNIMPLEMENTED for healthy, Kubernetes asks only ``Check``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from otlp_receiver import answers
from otlp_receiver.answers import Answer
from otlp_receiver.receiving import NoPlace
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otlp_receiver.receiving import Receiving

HEALTH_SERVICE: Final = "grpc.health.v1.Health"

_MALFORMED: Final = Answer(
    grpc.StatusCode.INVALID_ARGUMENT, "malformed", "the request is no HealthCheckRequest"
)
_UNKNOWN_SERVICE: Final = Answer(
    grpc.StatusCode.NOT_FOUND, "unknown_service", "want a service of this server"
)
_Status = health_pb2.HealthCheckResponse


class Health:
    """Answers checks. ``serving`` tells whether calls are taken now; ``service`` is the one beside ``""``."""

    def __init__(self, service: str, serving: Callable[[], bool], receiving: Receiving) -> None:
        self._services = ("", service)
        self._serving = serving
        self._receiving = receiving

    def handler(self) -> grpc.GenericRpcHandler:
        """What a gRPC server is to be given."""
        check: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(self._check)
        return grpc.method_handlers_generic_handler(HEALTH_SERVICE, {"Check": check})

    def _check(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        answer = self._answer(messages, context)
        metrics.RECEIVER_HEALTH_CHECKS.labels(answer.reason or answer.code.name).inc()
        return answer.give(context)

    def _answer(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Answer:
        try:
            with self._receiving.place():
                message = self._receiving.message(messages, context)
        except NoPlace:
            return answers.NO_PLACE
        if not isinstance(message, bytes):
            return message
        try:
            service = health_pb2.HealthCheckRequest.FromString(message).service
        except DecodeError:
            return _MALFORMED
        if service not in self._services:
            return _UNKNOWN_SERVICE
        status = _Status.SERVING if self._serving() else _Status.NOT_SERVING
        return Answer(grpc.StatusCode.OK, body=_Status(status=status).SerializeToString())
