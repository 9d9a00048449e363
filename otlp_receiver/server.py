"""The OTLP/gRPC server: ``MetricsService/Export`` and the gRPC health service, on synchronous grpcio.

Export is unary on the wire. Here it is registered as a stream of raw bytes, which is the same wire: so a
call is looked at before its body is received, and what cannot be decoded is answered by us, not by grpcio,
which leaks exception texts. In order: credentials, a place, budget, body under a watchdog, reading, storing,
answer. A worker waits most of that time, therefore there are many. Of 16 workers 14 are for Export, one is
for health checks, one answers what finds no place (:mod:`otlp_receiver.receiving`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

import grpc

from otlp_receiver import answers
from otlp_receiver.admission import Admission, OverBudget
from otlp_receiver.auth import BearerTokens, Verdict
from otlp_receiver.certificates import Certificates, CertificatesUnusable
from otlp_receiver.health import Health
from otlp_receiver.ration import RationedLog
from otlp_receiver.reading import MalformedRequest, TooManyResources, read_request
from otlp_receiver.receiving import NoPlace, Receiving
from otlp_receiver.relatives import NOTHING_KNOWN
from telemetry import events, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from detector.types import Record
    from otlp_receiver.answers import Answer
    from otlp_receiver.reading import Reading
    from otlp_receiver.relatives import Known
    from otlp_receiver.selection import Selection

SERVICE: Final = "opentelemetry.proto.collector.metrics.v1.MetricsService"

_SECONDS: Final = 1000  # in milliseconds, as channel arguments want them
_SPARE: Final = 16
"""One of so many workers is for health checks, and another one for answers to calls without a place."""
_REFUSALS: Final = {Verdict.MISSING: answers.TOKEN_MISSING, Verdict.WRONG: answers.TOKEN_WRONG}


class NotAccepted(Exception):  # noqa: N818  # says what is so
    """The records could not be stored in time; the sender is to try again."""


class CannotListen(Exception):  # noqa: N818  # says what is so
    """The endpoint cannot be bound; the message names it."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """``receiver.tls.*``: PEM files. With ``client_ca_file`` clients must have a certificate of that CA."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """``receiver.*`` of the configuration. Sizes in bytes, times in seconds.

    ``max_request_size`` is meant after decompression. The two of ``max_connection_age`` are no settings of
    users: they make collectors behind a Service find new replicas.
    """

    endpoint: str = "127.0.0.1:4317"
    max_request_size: int = 16 * 1024 * 1024
    max_in_flight: int = 64 * 1024 * 1024
    workers: int = 256
    receive_timeout: float = 5.0
    bearer_token_file: Path | None = None
    tls: TlsSettings | None = None
    max_connection_age: float = 300.0
    max_connection_age_grace: float = 30.0


class Server:
    """The receiver, from :meth:`start` to :meth:`stop`; it cannot be started again.

    ``accept`` takes the records of one request (never none): it blocks until they are durable, at most 4 s,
    for the collector gives up after 5; it raises :class:`NotAccepted` if they are not. It is called from
    many threads, and so is ``known``, which need not be right. ``port`` is the bound one, known after
    :meth:`start`. Made with a token file, raises :class:`~otlp_receiver.auth.TokensUnreadable`.
    """

    def __init__(
        self,
        settings: ServerSettings,
        selection: Selection,
        accept: Callable[[tuple[Record, ...]], None],
        known: Known = NOTHING_KNOWN,
    ) -> None:
        self.port = 0
        self._settings = settings
        self._selection = selection
        self._known = known
        self._accept = accept
        self._tokens = BearerTokens(settings.bearer_token_file) if settings.bearer_token_file else None
        self._admission = Admission(settings.max_in_flight)
        spare = max(1, settings.workers // _SPARE)
        self._receiving, self._checking = (
            Receiving(places, settings.receive_timeout, settings.max_request_size)
            for places in (max(1, settings.workers - 2 * spare), spare)
        )
        self._log = RationedLog()
        self._draining = False
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="receiver")
        self._grpc = grpc.server(self._pool, options=channel_arguments(settings))
        export: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(self._export)
        health = Health(SERVICE, lambda: not self._draining, self._checking)
        self._grpc.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Export": export}), health.handler())
        )

    def start(self) -> None:
        """Bind and serve. Raises :class:`CannotListen`."""
        endpoint = self._settings.endpoint
        try:
            if self._settings.tls is None:
                self.port = self._grpc.add_insecure_port(endpoint)
            else:
                certificates = Certificates(self._settings.tls)
                self.port = self._grpc.add_secure_port(endpoint, certificates.credentials())
        except CertificatesUnusable as error:
            raise CannotListen(f"{endpoint}: cannot be served with TLS: {error}") from None
        except RuntimeError:
            raise CannotListen(
                f"{endpoint}: cannot be bound: want a free host:port of this machine"
            ) from None
        self._receiving.start()
        self._checking.start()
        self._grpc.start()
        events.RECEIVER_STARTED(
            endpoint=endpoint,
            port=self.port,
            tls=self._settings.tls is not None,
            tokens=self._tokens is not None,
        )

    def drain(self) -> None:
        """Answer new calls with UNAVAILABLE and RetryInfo; those that run go on. Safe to repeat."""
        self._draining = True

    def stop(self, grace: float) -> None:
        """Drain, give running calls ``grace`` seconds, return when all have ended. Safe to repeat."""
        self.drain()
        self._grpc.stop(grace).wait()
        self._pool.shutdown()
        self._receiving.stop()
        self._checking.stop()
        events.RECEIVER_STOPPED(endpoint=self._settings.endpoint)

    def _export(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Answer one call. Never raises: grpcio would print the exception and answer UNKNOWN."""
        peer = context.peer()  # of a call that was cancelled it is not known any more
        try:
            answer = self._answer(messages, context)
        except Exception as error:  # noqa: BLE001  # whatever it is, the sender must hear that it can try again
            self._log(events.RECEIVER_FAILED, type(error).__name__, error=type(error).__name__)
            answer = answers.FAILED
        metrics.RECEIVER_REQUESTS.labels(answer.code.name).inc()
        if answer.reason:
            metrics.RECEIVER_REFUSED.labels(answer.reason).inc()
            if answer not in answers.NOT_LOGGED:
                self._log(events.RECEIVER_REQUEST_REFUSED, answer.reason, reason=answer.reason, peer=peer)
        return answer.give(context)

    def _answer(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Answer:
        if self._draining:
            return answers.STOPPING
        if self._tokens is not None:
            verdict = self._tokens.judge(context.invocation_metadata())
            if verdict is not Verdict.ACCEPTED:
                return _REFUSALS[verdict]
        try:
            with self._receiving.place(), self._admission.admit() as reservation:
                begun = perf_counter()
                body = self._receiving.message(messages, context)
                if not isinstance(body, bytes):
                    return body
                metrics.RECEIVER_BYTES.inc(len(body))
                self._admission.settle(reservation, len(body))
                answer = self._take(body)
                metrics.RECEIVER_REQUEST_SECONDS.observe(perf_counter() - begun)
                return answer
        except NoPlace:
            return answers.NO_PLACE
        except OverBudget:
            return answers.IN_FLIGHT

    def _take(self, body: bytes) -> Answer:
        try:
            with metrics.RECEIVER_READ_SECONDS.time():
                reading = read_request(body, self._selection, self._known)
        except MalformedRequest:
            return answers.MALFORMED
        except TooManyResources:
            return answers.TOO_MANY_RESOURCES
        _count(reading)
        if reading.records:
            try:
                self._accept(reading.records)
            except NotAccepted:
                return answers.NOT_ACCEPTED
        for error in reading.errors:
            self._log(events.RECEIVER_DECODER_FAILED, error, error=error, frames=reading.errors[error])
        if reading.rejected:
            self._log(events.RECEIVER_POINTS_REJECTED, "", **reading.rejected)
        return answers.taken(reading.rejected)


def _count(reading: Reading) -> None:
    metrics.RECEIVER_FRAMES.inc(reading.frames)
    metrics.RECEIVER_HIT_FRAMES.inc(reading.hit_frames)
    metrics.RECEIVER_EMPTY_FRAMES.inc(reading.empty_frames)
    metrics.RECEIVER_SAMPLES.inc(sum(len(record.samples) for record in reading.records))
    metrics.RECEIVER_CLUSTER_UNKNOWN.inc(reading.unknown_clusters)
    for reason, points in reading.rejected.items():
        metrics.RECEIVER_REJECTED_POINTS.labels(reason).inc(points)
    for attribute, values in reading.text_replaced.items():
        metrics.RECEIVER_TEXT_REPLACED.labels(attribute).inc(values)


def channel_arguments(settings: ServerSettings) -> list[tuple[str, int]]:
    """Limits that gRPC itself keeps: https://grpc.github.io/grpc/core/group__grpc__arg__keys.html."""
    return [
        ("grpc.so_reuseport", 0),  # or a second process would silently share the port
        ("grpc.max_receive_message_length", settings.max_request_size),
        ("grpc.per_message_decompression", 0),  # otlp_receiver.inflating does it, and holds the limit too
        ("grpc.max_metadata_size", 16 * 1024),
        # gRPC adds 10 % of jitter to the age.
        ("grpc.max_connection_age_ms", round(settings.max_connection_age * _SECONDS)),
        ("grpc.max_connection_age_grace_ms", round(settings.max_connection_age_grace * _SECONDS)),
        # For TLS and the first HTTP/2 frames; who says nothing is not kept for the default of two minutes.
        ("grpc.server_handshake_timeout_ms", 10 * _SECONDS),
        ("grpc.keepalive_time_ms", 60 * _SECONDS),  # a dead peer must not hold its connection
        ("grpc.keepalive_timeout_ms", 20 * _SECONDS),
        ("grpc.keepalive_permit_without_calls", 1),  # collectors may ping between scrapes,
        ("grpc.http2.min_ping_interval_without_data_ms", 10 * _SECONDS),  # but not more often than this
        ("grpc.http2.max_ping_strikes", 2),
    ]
