"""Where to listen and where to send: ``host:port`` and base URLs."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

_PORT: Final = "(0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
ENDPOINT: Final = r"(?:\[([0-9A-Fa-f:.%a-z]+)\]|([A-Za-z0-9._-]+)):" + _PORT
"""A host, or an IPv6 address in brackets, and a port without leading zeros: a regular expression."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on.

    ``host`` is a name or an IP address, without brackets; port 0 lets the system choose one.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``127.0.0.1:4317``, ``localhost:4317`` or ``[::1]:4317``.

        Raises :class:`ValueError` for anything else.
        """
        match = re.fullmatch(ENDPOINT, text)
        if not match:
            raise ValueError("not host:port")
        if match[1]:
            ipaddress.IPv6Address(match[1])
        return cls(match[1] or match[2], int(match[3]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine (this pod) can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_ipv6(self) -> bool:
        """Whether ``host`` is an IPv6 address."""
        return ":" in self.host

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


def parse_base_url(text: str) -> str:
    """An ``http`` or ``https`` URL of scheme, host and port alone, without a slash at the end.

    Raises :class:`ValueError` for anything else. A user or password in it is refused too: configuration is
    printed and logged, so secrets are read from files only.
    """
    if not text.isprintable() or " " in text:
        raise ValueError("not a URL")
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http or https URL")
    if parts.port == 0:  # reading it raises for what is no port at all
        raise ValueError("no port to connect to")
    if "@" in parts.netloc or parts.path not in {"", "/"} or "?" in text or "#" in text:
        raise ValueError("more than a scheme, a host and a port")
    return f"{parts.scheme}://{parts.netloc}"
