"""Sockets that ask one deadline before every operation, so that no peer outlasts it by dripping."""

import math
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any


class Deadline:
    """The time by which a request must be over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = math.inf

    def start(self, seconds: float) -> None:
        """From now on."""
        self._end = self._clock() + seconds

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return self._clock() >= self._end

    def remaining(self) -> float:
        """Seconds left, more than 0. Raises :class:`TimeoutError` if there are none."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError("the deadline of the request has passed")
        return left


class DeadlineSocket(socket.socket):
    """A TCP socket under a deadline. ``sendall`` is one operation of the C code, however much it sends."""

    deadline: Deadline

    def recv_into(self, *args: Any, **kwargs: Any) -> int:  # noqa: ANN401  # passed through
        """As the socket's."""
        self.settimeout(self.deadline.remaining())
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # passed through
        """As the socket's."""
        self.settimeout(self.deadline.remaining())
        super().sendall(*args, **kwargs)


def connect(
    host: str, port: int, options: Iterable[tuple[int, int, int | bytes]], deadline: Deadline
) -> DeadlineSocket:
    """Connect to the first address of ``host`` that answers, all of them within the deadline.

    Raises :class:`socket.gaierror` if there is none, else the :class:`OSError` of the last.
    """
    last = OSError("the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = DeadlineSocket(family, kind, protocol)
        connection.deadline = deadline
        try:
            for level, option, value in options:
                connection.setsockopt(level, option, value)
            connection.settimeout(deadline.remaining())
            connection.connect(address)
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise last


def ssl_socket_class(deadline: Deadline) -> type[ssl.SSLSocket]:
    """What an :class:`ssl.SSLContext` is to make its sockets of (``sslsocket_class``)."""

    class DeadlineSSLSocket(ssl.SSLSocket):
        """A handshake is one operation of the C code; ``sendall`` is made of ``send``."""

        def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  # the library's signature
            self.settimeout(deadline.remaining())
            super().do_handshake(block)

        def recv_into(self, *args: Any, **kwargs: Any) -> int:  # noqa: ANN401  # passed through
            self.settimeout(deadline.remaining())
            return super().recv_into(*args, **kwargs)

        def send(self, *args: Any, **kwargs: Any) -> int:  # noqa: ANN401  # passed through
            self.settimeout(deadline.remaining())
            return super().send(*args, **kwargs)

    return DeadlineSSLSocket
