"""What a call is answered, as data: the table of DESIGN section 5, from the sender's point of view.

The collector retries UNAVAILABLE and CANCELLED, and RESOURCE_EXHAUSTED only with RetryInfo; anything else
it drops (``exporter/otlpexporter``, ``shouldRetry``). So what may pass later is UNAVAILABLE with RetryInfo,
and what can never pass has none. Texts are fixed: nothing that a sender or a process wrote comes back in
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

from otlp_receiver.decode import Reject

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS_DETAILS: Final = "grpc-status-details-bin"
"""Trailing metadata with a serialized ``google.rpc.Status``, as every gRPC implementation reads it."""

RETRY_DELAY_SECONDS: Final = 1
"""What RetryInfo asks for. The collector takes the larger of this and its own backoff, which has jitter."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ends.

    ``reason`` is what is counted, empty if the request was taken. ``retry``: whether RetryInfo is added.
    """

    code: grpc.StatusCode
    reason: str = ""
    text: str = ""
    retry: bool = False
    body: bytes = b""

    def give(self, context: grpc.ServicerContext) -> bytes:
        """Answer a call; returns the body for its handler to return."""
        context.set_code(self.code)
        context.set_details(self.text)
        context.set_trailing_metadata(self.trailing_metadata())
        return self.body

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """The status with its details, for senders that are to try again."""
        if not self.retry:
            return ()
        detail = any_pb2.Any()
        delay = duration_pb2.Duration(seconds=RETRY_DELAY_SECONDS)
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        status = status_pb2.Status(code=self.code.value[0], message=self.text, details=[detail])
        return ((STATUS_DETAILS, status.SerializeToString()),)


TOKEN_MISSING: Final = Answer(
    grpc.StatusCode.UNAUTHENTICATED, "token_missing", "want a valid bearer token in the metadata"
)
TOKEN_WRONG: Final = Answer(
    grpc.StatusCode.UNAUTHENTICATED, "token_wrong", "want a valid bearer token in the metadata"
)
NO_PLACE: Final = Answer(
    grpc.StatusCode.UNAVAILABLE, "no_place", "too many calls are running; try again", retry=True
)
DISPLACED: Final = Answer(
    grpc.StatusCode.CANCELLED, "displaced", "the message did not come and others need the place"
)
IN_FLIGHT: Final = Answer(
    grpc.StatusCode.UNAVAILABLE, "in_flight", "too much is in flight; try again", retry=True
)
STOPPING: Final = Answer(grpc.StatusCode.UNAVAILABLE, "stopping", "shutting down; try again", retry=True)
RECEIVE_TIMEOUT: Final = Answer(
    grpc.StatusCode.CANCELLED, "receive_timeout", "the message did not come whole in time"
)
NO_MESSAGE: Final = Answer(
    grpc.StatusCode.INVALID_ARGUMENT, "no_message", "want exactly one message in the call"
)
TOO_LARGE: Final = Answer(
    grpc.StatusCode.RESOURCE_EXHAUSTED, "too_large", "the message is larger than the receiver takes"
)
"""Of a compressed message, as gRPC itself answers the others."""
NOT_INFLATED: Final = Answer(grpc.StatusCode.INTERNAL, "not_inflated", "the message cannot be inflated")
TWO_MESSAGES: Final = Answer(
    grpc.StatusCode.INVALID_ARGUMENT, "two_messages", "want exactly one message in the call"
)
MALFORMED: Final = Answer(
    grpc.StatusCode.INVALID_ARGUMENT, "malformed", "the request is no ExportMetricsServiceRequest"
)
TOO_MANY_RESOURCES: Final = Answer(
    grpc.StatusCode.RESOURCE_EXHAUSTED, "too_many_resources", "the request holds too many ResourceMetrics"
)
NOT_ACCEPTED: Final = Answer(
    grpc.StatusCode.UNAVAILABLE, "not_accepted", "could not be stored in time; try again", retry=True
)
FAILED: Final = Answer(grpc.StatusCode.UNAVAILABLE, "failed", "internal error; try again", retry=True)

NOT_LOGGED: Final = (STOPPING, NOT_ACCEPTED, FAILED)
"""Refusals that need no log line: the first is no trouble, the others are told where they come from."""

_REJECTED_TEXTS: Final = {
    Reject.DECODER_FAILED: "a ResourceMetrics of a watched process met an error of the receiver",
    Reject.UNDECODABLE: "a ResourceMetrics that may be of a watched process is undecodable (counts as one)",
    Reject.NO_PID: "process.pid is absent or not an integer",
    Reject.NO_NODE: "none of k8s.node.name, host.name, host.id is present",
}


def taken(rejected: Mapping[str, int]) -> Answer:
    """OK; with ``partial_success`` if data points were rejected (OTLP specification, "Partial Success")."""
    response = metrics_service_pb2.ExportMetricsServiceResponse()
    if rejected:
        response.partial_success.rejected_data_points = sum(rejected.values())
        response.partial_success.error_message = "; ".join(
            f"{rejected[reason]}: {text}" for reason, text in _REJECTED_TEXTS.items() if reason in rejected
        )
    return Answer(grpc.StatusCode.OK, body=response.SerializeToString())
