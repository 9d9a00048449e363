"""What the exporter is configured with, under the names of the configuration file.

The composition root fills these in: nothing here reads a file or the environment.
"""

import enum
from dataclasses import dataclass
from typing import Final

from detector.events import Lane

_TEXT_LIMIT: Final = 128


@dataclass(frozen=True, slots=True)
class EventSettings:
    """How a telling becomes an event. Defaults are the original detection's.

    ``index``, ``context_index`` and ``audit_index`` are of the lanes; an empty one leaves the choice to the
    token. ``staged``: what scores is copied into the risk index by Splunk, and comes with the context.
    ``source`` empty means ``search_name``. Raises :class:`ValueError`, naming the key, for what would
    break the bound on an event's size or put context beside risk: Enterprise Security sums scores over the
    risk index.
    """

    risk_name: str = "Kubernetes Shell Running on Worker Node"
    message: str = "Kubernetes shell running on worker node on host $host$"
    impact: int = 50
    confidence: int = 50
    index: str = "risk"
    context_index: str = "otel_shell"
    audit_index: str = "otel_shell"
    staged: bool = False
    source: str = ""
    sourcetype: str = "otel:shell:risk"

    def __post_init__(self) -> None:
        if self.index and not self.staged and self.index in {self.context_index, self.audit_index}:
            raise ValueError(
                f"exporter.hec.index: {self.index!r} is also context_index or audit_index; "
                "want another: the risk index holds scores only"
            )
        texts = {
            "risk.name": (self.risk_name, _TEXT_LIMIT),
            "risk.message": (self.message, 2 * _TEXT_LIMIT),
            "exporter.hec.index": (self.index, _TEXT_LIMIT),
            "exporter.hec.context_index": (self.context_index, _TEXT_LIMIT),
            "exporter.hec.audit_index": (self.audit_index, _TEXT_LIMIT),
            "exporter.hec.source": (self.source, 2 * _TEXT_LIMIT),
            "exporter.hec.sourcetype": (self.sourcetype, _TEXT_LIMIT),
        }
        for key, (value, limit) in texts.items():
            if len(value) > limit or not value.isprintable():
                raise ValueError(
                    f"{key}: {len(value)} characters; want at most {limit}, all of them printable"
                )

    @property
    def search_name(self) -> str:
        """The name of the scheduled search that this detection would be; also the default ``source``."""
        return f"Threat - OTel Shell Detector - {self.risk_name} - Rule"

    def index_of(self, lane: Lane) -> str:
        """The index of a lane; empty if the token decides."""
        return {Lane.RISK: self.index, Lane.CONTEXT: self.context_index, Lane.AUDIT: self.audit_index}[lane]


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Whom to believe: ``ca_file`` (PEM) instead of the system's authorities, or anyone."""

    ca_file: str = ""
    insecure_skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class HecSettings:
    """Where events go over HTTP, and how.

    ``url`` is the base, ``https://splunk:8088``; the path of the collector is added. ``token_file`` holds the
    token alone. ``channel`` is the GUID of the acknowledgement channel; empty means a random one.
    ``request_timeout_s`` is a total: connect, send and the whole reply. Raises :class:`ValueError` naming the
    key.
    """

    url: str
    token_file: str
    ack: bool = False
    ack_timeout_s: float = 120.0
    ack_poll_s: float = 1.0
    channel: str = ""
    proxy_url: str = ""
    tls: TlsSettings = TlsSettings()
    gzip: bool = True
    request_timeout_s: float = 10.0
    max_batch_bytes: int = 1_000_000

    def __post_init__(self) -> None:
        for key, url in (("url", self.url), ("proxy_url", self.proxy_url)):
            if "@" in url:  # which is not shown: this message is printed and logged
                raise ValueError(f"exporter.hec.{key}: a user name or password; want them nowhere in a URL")
            if url and not url.startswith(("http://", "https://")):
                raise ValueError(f"exporter.hec.{key}: {url!r}; want http:// or https:// and a host")
        if not self.url:
            raise ValueError(
                "exporter.hec.url: empty; want the base URL of the collector, such as https://splunk:8088"
            )
        if self.ack and self.ack_timeout_s < 120:  # noqa: PLR2004  # the next line names it
            raise ValueError(
                f"exporter.hec.ack_timeout: {self.ack_timeout_s:g}s; want 120s or more: indexing takes time"
            )


class Layout(enum.StrEnum):
    """Where the fields of an event stand in a log record; ``exporter.otlp.fields``."""

    BODY = "body"
    """In the body, as the JSON text that HEC is sent: in Splunk it becomes the same event."""
    ATTRIBUTES = "attributes"
    """Each is an attribute, and the body is the risk message."""


@dataclass(frozen=True, slots=True)
class OtlpTlsSettings:
    """PEM files: whom to believe instead of the authorities that gRPC brings along, and who we are."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Where events go over OTLP/gRPC, and how.

    ``endpoint`` is ``https://collector:4317``, or ``http://`` for plain text; the port is 4317 if there is
    none. ``token_file`` holds a bearer token alone; empty means none is sent. ``request_timeout_s`` is a
    total: connect, send and the whole reply.
    """

    endpoint: str
    token_file: str = ""
    tls: OtlpTlsSettings = OtlpTlsSettings()
    gzip: bool = True
    request_timeout_s: float = 10.0
    fields: Layout = Layout.BODY
    max_batch_bytes: int = 1_000_000
    """Of events: a collector takes messages of 4 MiB unless told otherwise, and a record adds 100 bytes."""
