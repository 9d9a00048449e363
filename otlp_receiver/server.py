"""The OTLP/gRPC server: ``MetricsService/Export`` on the synchronous grpcio server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detector.types import Record

if TYPE_CHECKING:
    from otlp_receiver.selection import Selection

Accept = Callable[[tuple[Record, ...]], None]
"""Takes the records of one request. Blocks until they are durable, at most 4 s. Raises :class:`NotAccepted`."""


class NotAccepted(Exception):
    """The records could not be stored in time; the sender is to try again."""


class CannotListen(Exception):
    """The endpoint cannot be bound; the message names it."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Server certificate; with ``client_ca_file`` clients must present one too."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """``receiver.*`` of the configuration. Sizes in bytes, times in seconds."""

    endpoint: str = "127.0.0.1:4317"
    max_request_size: int = 16 * 1024 * 1024
    max_in_flight: int = 64 * 1024 * 1024
    workers: int = 256
    receive_timeout: float = 5.0
    bearer_token_file: Path | None = None
    tls: TlsSettings | None = None


class Server:
    """Listens from :meth:`start` to :meth:`stop`. ``port`` is the bound one, for an endpoint that ends in ``:0``."""

    port: int

    def __init__(self, settings: ServerSettings, selection: Selection, accept: Accept) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Bind and serve. Raises :class:`CannotListen`."""
        raise NotImplementedError

    def stop(self, grace: float) -> None:
        """Answer new calls with UNAVAILABLE, give those that run ``grace`` seconds, and return when all have ended."""
        raise NotImplementedError
