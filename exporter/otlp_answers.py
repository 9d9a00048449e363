"""What a collector's answer to an OTLP export means, as a table.

Statuses are gRPC's; which of them may be sent again stands in the OpenTelemetry protocol specification,
"OTLP/gRPC Response". A collector whose ``splunk_hec`` exporter neither queues nor retries answers as Splunk
did: UNAVAILABLE for what may pass later, INTERNAL for HEC's 400, 401 and 403. It does not say which, and a
wrong index (400) concerns one lane: so INTERNAL pauses the lane and keeps everything.

``docs/delivery.md`` shows this table; a test holds the two together.

The labels of the rows are metric labels and names in logs: renaming one is a breaking change.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from exporter.answers import Action, Row

BY_STATUS: Final[Mapping[grpc.StatusCode, Row]] = {
    grpc.StatusCode.OK: Row("accepted", Action.ACCEPTED),
    grpc.StatusCode.CANCELLED: Row("cancelled", Action.RETRY),
    grpc.StatusCode.UNKNOWN: Row("unknown", Action.RETRY),
    grpc.StatusCode.INVALID_ARGUMENT: Row("invalid_argument", Action.INVALID),
    grpc.StatusCode.DEADLINE_EXCEEDED: Row("deadline_exceeded", Action.RETRY),
    grpc.StatusCode.NOT_FOUND: Row("not_found", Action.PAUSE_SINK),
    grpc.StatusCode.ALREADY_EXISTS: Row("already_exists", Action.PAUSE_SINK),
    grpc.StatusCode.PERMISSION_DENIED: Row("permission_denied", Action.PAUSE_SINK),
    # With RetryInfo, or without as a message above the limit is answered: a retry halves the batch.
    grpc.StatusCode.RESOURCE_EXHAUSTED: Row("resource_exhausted", Action.RETRY),
    grpc.StatusCode.FAILED_PRECONDITION: Row("failed_precondition", Action.PAUSE_SINK),
    grpc.StatusCode.ABORTED: Row("aborted", Action.RETRY),
    grpc.StatusCode.OUT_OF_RANGE: Row("out_of_range", Action.RETRY),
    grpc.StatusCode.UNIMPLEMENTED: Row("unimplemented", Action.PAUSE_SINK),
    grpc.StatusCode.INTERNAL: Row("internal", Action.PAUSE_LANE),
    grpc.StatusCode.UNAVAILABLE: Row("unavailable", Action.RETRY),
    grpc.StatusCode.DATA_LOSS: Row("data_loss", Action.RETRY),
    grpc.StatusCode.UNAUTHENTICATED: Row("unauthenticated", Action.PAUSE_SINK),
}
"""Every status there is. Name lookups, refused connections and failed handshakes are UNAVAILABLE too."""

RECORDS_REJECTED: Final = Row("records_rejected", Action.INVALID)
"""OK, but some records were rejected, and OTLP does not say which. The specification forbids to send such a
request again, for the sake of what was taken: that would arrive twice. We do it, for the sake of what was
not: twice can be told by ``event_id``, and a finding that is dropped cannot."""
REPLY_UNREADABLE: Final = Row("reply_unreadable", Action.RETRY)
"""OK, and no response of OTLP: nobody says that the events were taken."""
TOKEN_UNREADABLE: Final = Row("token_unreadable", Action.PAUSE_SINK)
TLS_UNREADABLE: Final = Row("tls_unreadable", Action.PAUSE_SINK)
"""Our own files: nothing is sent without them."""
EVENT_INVALID: Final = Row("event_invalid", Action.INVALID)
"""What stands in the outbox is no envelope; it is given up unsent."""

_STATUS_DETAILS: Final = "grpc-status-details-bin"


def retry_after_s(metadata: Iterable[tuple[str, str | bytes]]) -> float | None:
    """Seconds of a ``google.rpc.RetryInfo`` in the trailing metadata; ``None`` if there is none to be read.

    Not bounded here: whoever waits knows how long it can afford to.
    """
    for key, value in metadata:
        if key == _STATUS_DETAILS and isinstance(value, bytes):
            try:
                return _retry_delay_s(status_pb2.Status.FromString(value))
            except DecodeError:
                return None
    return None


def _retry_delay_s(status: status_pb2.Status) -> float | None:
    info = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            delay = info.retry_delay
            return max(0.0, float(delay.seconds) + float(delay.nanos) / 1e9)
    return None
