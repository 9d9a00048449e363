"""The sink for sites whose collector delivers to Splunk: OTLP log records over gRPC.

One request carries one batch of one lane. What the answer means stands in :mod:`exporter.otlp_answers`, what
is sent in :mod:`exporter.otlp_records`; when to come again is the caller's business (:mod:`exporter.lanes`).
Done means that the collector took the events. Whether Splunk has them then is the collector's matter: one
that does not queue answers when Splunk did.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from detector.events import Lane, Outcome, Queued, Settlement
from exporter import otlp_answers
from exporter.answers import Action, Row
from exporter.otlp_records import NoEnvelopeError, Record, record, request
from exporter.settings import OtlpSettings, OtlpTlsSettings
from exporter.sink import Delivery, Directive, within
from exporter.token_file import TokenError, TokenFile, without
from telemetry import events, metrics

METHOD: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_PORT: Final = 4317
_DETAIL_LIMIT: Final = 200
_REPLY_LIMIT_BYTES: Final = 64 * 1024
_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),  # what the environment names is not used
    ("grpc.max_receive_message_length", _REPLY_LIMIT_BYTES),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: the row that it matches and what the reply says."""

    row: Row
    status: str | None = None
    after_s: float | None = None
    detail: str = ""

    @property
    def said(self) -> str:
        """The answer for a person."""
        return ": ".join(part for part in (self.status, self.detail) if part)


class OtlpSink:
    """See :class:`exporter.sink.Sink`.

    A channel lives until a request fails. The next one connects anew: it resolves the name again and reads
    the TLS files again, and does not wait for gRPC's own distance between attempts beside that of the lanes.
    """

    name: Final = "otlp"

    def __init__(self, settings: OtlpSettings) -> None:
        self._settings = settings
        self._token = TokenFile(settings.token_file) if settings.token_file else None
        self._channel: grpc.Channel | None = None

    def send(self, lane: Lane, batch: Sequence[Queued]) -> Delivery:
        """See :class:`exporter.sink.Sink`. Blocks for one request."""
        chosen = within(batch, self._settings.max_batch_bytes)
        records: list[Record] = []
        dead: list[Outcome] = []
        for queued in chosen:
            try:
                records.append(record(queued.event, self._settings.fields))
            except NoEnvelopeError as error:
                dead.append(
                    self._given_up(lane, Answer(otlp_answers.EVENT_INVALID, detail=str(error)), queued)
                )
        if dead:
            return Delivery(
                tuple(dead), Directive.REFUSED, otlp_answers.EVENT_INVALID.label, tried=len(chosen)
            )
        message = request(records)
        metrics.EXPORTER_BATCH.labels(sink=self.name).observe(len(message))
        answer = self._export(message)
        if answer.row.action is Action.ACCEPTED:
            outcomes = tuple(Outcome(queued.sequence, Settlement.DONE) for queued in chosen)
            return self._answered(lane, answer, outcomes, len(chosen))
        if answer.row.action is Action.INVALID and len(chosen) == 1:
            outcomes = (self._given_up(lane, answer, chosen[0]),)
            return Delivery(outcomes, Directive.REFUSED, answer.row.label, tried=1, said=answer.said)
        return self._answered(lane, answer, (), len(chosen))

    def in_flight(self, lane: Lane) -> int:  # noqa: ARG002  # of no lane does it wait for an acknowledgement
        """Nothing: a batch is answered or it is not."""
        return 0

    def close(self) -> None:
        """Close the connection. Safe to repeat."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _answered(self, lane: Lane, answer: Answer, outcomes: tuple[Outcome, ...], tried: int) -> Delivery:
        self._log(lane, answer, answer.row.log)
        row = answer.row
        return Delivery(outcomes, row.directive, row.label, answer.after_s, tried, said=answer.said)

    def _given_up(self, lane: Lane, answer: Answer, queued: Queued) -> Outcome:
        self._log(lane, answer, events.EXPORTER_DEAD_LETTER, event_id=queued.event.event_id)
        return Outcome(queued.sequence, Settlement.DEAD, answer.row.label)

    def _export(self, message: bytes) -> Answer:
        metadata: tuple[tuple[str, str], ...] = ()
        token = ""
        if self._token is not None:
            try:
                token = self._token.read()
            except TokenError as error:
                return Answer(otlp_answers.TOKEN_UNREADABLE, detail=str(error))
            metadata = (("authorization", f"Bearer {token}"),)
        try:
            channel = self._channel or _channel(self._settings)
        except OSError as error:
            return Answer(otlp_answers.TLS_UNREADABLE, detail=f"{error.filename}: {error.strerror}")
        self._channel = channel
        answer = self._call(channel, message, metadata)
        if answer.status != grpc.StatusCode.OK.name:
            self.close()
        # A server, or what poses as one, may echo what it was sent.
        detail = without(token, answer.detail) if token else answer.detail
        return replace(answer, detail=detail[:_DETAIL_LIMIT])

    def _call(self, channel: grpc.Channel, message: bytes, metadata: tuple[tuple[str, str], ...]) -> Answer:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        try:
            reply = export(
                message,
                timeout=self._settings.request_timeout_s,
                metadata=metadata,
                compression=grpc.Compression.Gzip if self._settings.gzip else None,
            )
        except grpc.RpcError as error:
            return _refusal(error)
        return _acceptance(reply)

    def _log(self, lane: Lane, answer: Answer, log: events.LogEvent, **more: object) -> None:
        log(
            sink=self.name,
            lane=lane,
            result=answer.row.label,
            status=answer.status,
            detail=answer.detail,
            **more,
        )


def _channel(settings: OtlpSettings) -> grpc.Channel:
    """A channel that has not connected yet. Raises :class:`OSError` for a TLS file that cannot be read."""
    url = urlsplit(settings.endpoint)
    host = url.netloc if url.port else f"{url.netloc}:{_PORT}"
    target = f"dns:///{host}"
    if url.scheme == "http":
        return grpc.insecure_channel(target, options=_OPTIONS)
    return grpc.secure_channel(target, _credentials(settings.tls), options=_OPTIONS)


def _credentials(tls: OtlpTlsSettings) -> grpc.ChannelCredentials:
    ca, key, certificate = (
        Path(path).read_bytes() if path else None for path in (tls.ca_file, tls.key_file, tls.cert_file)
    )
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _refusal(error: grpc.RpcError) -> Answer:
    status, metadata = error.code(), error.trailing_metadata()
    row = otlp_answers.BY_STATUS[status]
    return Answer(
        row,
        status.name,
        otlp_answers.retry_after_s((each.key, each.value) for each in metadata or ()),
        error.details() or "",
    )


def _acceptance(reply: bytes) -> Answer:
    status = grpc.StatusCode.OK
    try:
        partial = ExportLogsServiceResponse.FromString(reply).partial_success
    except DecodeError:
        return Answer(otlp_answers.REPLY_UNREADABLE, status.name, detail="no response of OTLP")
    if not partial.rejected_log_records:
        return Answer(otlp_answers.BY_STATUS[status], status.name, detail=partial.error_message)
    detail = f"{partial.rejected_log_records} rejected: {partial.error_message}"
    return Answer(otlp_answers.RECORDS_REJECTED, status.name, detail=detail)
