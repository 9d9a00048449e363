"""Connections that sent one empty request and are kept open: HTTP/2 by hand, as 5,000 channels are dear."""

from __future__ import annotations

import resource
import socket
import struct
from typing import Final

from tests.otlp_receiver.serving import EXPORT

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_EMPTY_MESSAGE: Final = bytes(5)
_HEADERS_SENT: Final = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", EXPORT),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)
_FRAME_HEADER: Final = 9
_SPARE: Final = 200


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: str, value: str) -> bytes:
    """A header that no table of the compression holds (RFC 7541, 6.2.2)."""
    return b"\x00" + b"".join(bytes((len(text),)) + text.encode() for text in (name, value))


_OPENING: Final = (
    _PREFACE
    + _frame(_SETTINGS, 0, 0)
    + _frame(_SETTINGS, _ACK, 0)
    + _frame(_HEADERS, _END_HEADERS, 1, b"".join(_literal(*header) for header in _HEADERS_SENT))
    + _frame(_DATA, _END_STREAM, 1, _EMPTY_MESSAGE)
)


class Connections:
    """So many, all answered. Raises :class:`ConnectionError` if one is not."""

    def __init__(self, port: int, number: int) -> None:
        self._sockets: list[socket.socket] = []
        for _ in range(number):
            self._sockets.append(socket.create_connection(("127.0.0.1", port), timeout=10))
            self._sockets[-1].sendall(_OPENING)
            _wait_for_the_end(self._sockets[-1])

    def close(self) -> None:
        """Close them all."""
        for each in self._sockets:
            each.close()


def _wait_for_the_end(connection: socket.socket) -> None:
    """Read until the stream has ended, with trailers as gRPC wants."""
    data = b""
    while received := connection.recv(1 << 14):
        data += received
        while len(data) >= _FRAME_HEADER and len(data) >= (
            size := _FRAME_HEADER + int.from_bytes(data[:3], "big")
        ):
            kind, flags = data[3], data[4]
            if kind == _HEADERS and flags & _END_STREAM:
                return
            data = data[size:]
    raise ConnectionError("closed before the answer")


def allow_files(number: int) -> None:
    """Let this process, and those that it starts, hold so many more files open, if the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + _SPARE
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
