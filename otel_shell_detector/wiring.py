"""From the configuration to the parts: the one place where names of settings meet names of rooms."""

from __future__ import annotations

import time
import uuid
from functools import partial
from typing import TYPE_CHECKING

from detector.judging.rules import HostField, JudgeRules, PodObject, PointsPer, Preexisting
from detector.rules import Rules
from exporter.event import encode
from exporter.file import FileSink
from exporter.hec import HecSink
from exporter.otlp import OtlpSink
from exporter.redaction import Redactor
from exporter.settings import EventSettings, HecSettings, Layout, OtlpSettings, OtlpTlsSettings
from exporter.settings import TlsSettings as HecTlsSettings
from exporter.stdout import StdoutSink
from otel_shell_detector.bench import Bench
from otlp_receiver.selection import Match, Selection
from otlp_receiver.server import ServerSettings, TlsSettings
from store.memory import MemoryStore
from store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.events import Event
    from detector.judging.outcomes import Telling
    from exporter.sink import Sink
    from otel_shell_detector.configuration import OtlpSettings as OtlpSection
    from otel_shell_detector.configuration import Settings
    from store.seams import Store

_STORE_ID = "otel-shell-detector"
_THIS_START = uuid.uuid4()


def rules(settings: Settings) -> Rules:
    """The detector's rules. With an ephemeral state nothing remembers ids, so each start has its own."""
    detector = settings.detector
    return Rules(
        window_ns=detector.window.nanoseconds,
        lateness_ns=detector.lateness.nanoseconds,
        renotify_ns=detector.renotify.nanoseconds,
        horizon_ns=detector.replay_horizon.nanoseconds,
        early=detector.emit == "early",
        max_tracked_shells=detector.max_tracked_shells,
        max_nodes=detector.max_nodes,
        store_id=_store_id(settings),
    )


def _store_id(settings: Settings) -> str:
    return f"{_STORE_ID}/{_THIS_START}" if settings.state.ephemeral else _STORE_ID


def bench(settings: Settings) -> Bench:
    """The judge beside the encoder."""
    risk = settings.risk
    cap = risk.max_per_object
    rules = JudgeRules(
        profile=risk.profile,
        score=risk.score,
        name=risk.name,
        preexisting=Preexisting(risk.preexisting),
        baseline_ns=risk.baseline.nanoseconds,
        burst_after=risk.burst.after,
        burst_period_ns=risk.burst.period.nanoseconds,
        max_per_object=PointsPer(cap.count, cap.period.nanoseconds) if cap else None,
        host_field=HostField(risk.host_field),
        pod_object=PodObject(risk.pod_object),
        cpu_rule=risk.cpu_rule,
        store_id=_store_id(settings),
    )
    return Bench(rules, encoder(settings))


def selection(settings: Settings) -> Selection:
    """What the receiver looks for. Command lines are redacted as they are read, before all else."""
    return Selection(
        executables=settings.detector.executables,
        clean=Redactor(settings.exporter.redact).clean,
        match=tuple(Match(match) for match in settings.detector.match),
        cluster_name=settings.detector.cluster_name or "",
        max_resources=settings.receiver.max_resources,
    )


def encoder(settings: Settings) -> Callable[[Telling], Event]:
    """From tellings to events."""
    return partial(encode, settings=event_settings(settings))


def event_settings(settings: Settings) -> EventSettings:
    """What an event says of itself, and where it goes."""
    hec, risk = settings.exporter.hec, settings.risk
    return EventSettings(
        risk_name=risk.name,
        message=risk.message,
        impact=risk.impact,
        confidence=risk.confidence,
        index=hec.index,
        context_index=hec.context_index,
        audit_index=hec.audit_index,
        staged=hec.staged,
        source=hec.source or "",
        sourcetype=hec.sourcetype,
    )


def server_settings(settings: Settings) -> ServerSettings:
    """The OTLP receiver's settings."""
    receiver = settings.receiver
    tls = None
    if receiver.tls.cert_file and receiver.tls.key_file:
        tls = TlsSettings(receiver.tls.cert_file, receiver.tls.key_file, receiver.tls.client_ca_file)
    return ServerSettings(
        endpoint=str(receiver.endpoint),
        max_request_size=receiver.max_request_size.bytes,
        max_in_flight=receiver.max_in_flight.bytes,
        workers=receiver.workers,
        receive_timeout=receiver.receive_timeout.seconds,
        bearer_token_file=receiver.bearer_token_file,
        tls=tls,
    )


def store(settings: Settings) -> Store:
    """Where the state is. Raises :class:`store.seams.CannotOpenStore`."""
    if settings.state.ephemeral:
        return MemoryStore()
    return SqliteStore(settings.state.path, max_size=settings.state.max_size.bytes)


def sink(settings: Settings) -> Sink:
    """Where events go."""
    exporter = settings.exporter
    if exporter.sink == "hec":
        hec = exporter.hec
        return HecSink(
            HecSettings(
                url=hec.url or "",
                token_file=str(hec.token_file or ""),
                ack=hec.ack,
                ack_timeout_s=hec.ack_timeout.seconds,
                proxy_url=hec.proxy_url or "",
                tls=HecTlsSettings(str(hec.tls.ca_file or ""), hec.tls.insecure_skip_verify),
                gzip=hec.gzip,
                request_timeout_s=hec.timeout.seconds,
                max_batch_bytes=hec.max_batch_size.bytes,
            ),
            clock=time.monotonic,
            wall=time.time,
        )
    if exporter.sink == "otlp":
        return OtlpSink(_otlp_settings(exporter.otlp))
    if exporter.file.path and exporter.sink == "file":
        return FileSink(exporter.file.path)
    return StdoutSink()


def _otlp_settings(otlp: OtlpSection) -> OtlpSettings:
    tls = otlp.tls
    return OtlpSettings(
        endpoint=otlp.endpoint or "",
        token_file=str(otlp.token_file or ""),
        tls=OtlpTlsSettings(str(tls.ca_file or ""), str(tls.cert_file or ""), str(tls.key_file or "")),
        gzip=otlp.gzip,
        request_timeout_s=otlp.timeout.seconds,
        fields=Layout(otlp.fields),
    )
