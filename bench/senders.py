"""Sends requests as gateways do: some at once on each connection, 5 s for each, again if that may help."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

import grpc

from tests.otlp_receiver.serving import EXPORT
from tests.reliability.load import TRIED_AGAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

SENDERS: Final = 10
"""Requests that are under way on one connection: those of a collector's exporter."""
TIMEOUT_S: Final = 5.0
AGAIN_S: Final = 5.0


@dataclass(slots=True)
class Sent:
    """A request, and what became of it, in monotonic seconds; ``refused``: the last status that is not OK."""

    body: bytes
    gateway: int
    due_s: float
    first_s: float = 0.0
    answered_s: float = 0.0
    tries: int = 0
    refused: str = ""
    ended: bool = False


@dataclass
class _Gateway:
    export: grpc.UnaryUnaryMultiCallable[bytes, bytes]
    waiting: deque[Sent] = field(default_factory=deque)
    under_way: int = 0


class Load:
    """Connections to a service; :meth:`close` ends them."""

    def __init__(self, port: int, gateways: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own for each
        self._channels = [
            grpc.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(gateways)
        ]
        self._gateways = [_Gateway(channel.unary_unary(EXPORT)) for channel in self._channels]
        self._changed = threading.Condition()
        self._left = 0
        self._closed = False
        self._again: list[tuple[float, int, Sent]] = []
        self._order = count()

    def send(self, gateway: int, body: bytes, due_s: float) -> Sent:
        """Send a request as soon as one of the gateway's senders is free."""
        request = Sent(body, gateway, due_s)
        with self._changed:
            self._left += 1
        self._queue(request)
        return request

    def wait(self, until_s: float) -> None:
        """Until then, send again what is to be."""
        while (now_s := time.monotonic()) < until_s:
            with self._changed:
                next_s = min(until_s, self._again[0][0]) if self._again else until_s
            time.sleep(min(max(0.0, next_s - now_s), 0.5))
            self._send_again()

    def finish(self, within_s: float) -> bool:
        """Wait until everything has ended; whether it did."""
        return self._left_at_most(0, time.monotonic() + within_s)

    def _left_at_most(self, most: int, deadline_s: float) -> bool:
        while True:
            self._send_again()
            with self._changed:
                if self._changed.wait_for(lambda: self._left <= most, timeout=0.1):
                    return True
            if time.monotonic() > deadline_s:
                return False

    def one_after_the_other(self, bodies: Iterable[bytes], at_once: int, within_s: float) -> list[Sent]:
        """Send as fast as they are answered, so many at once over all gateways; they end in bounded time."""
        deadline_s, sent = time.monotonic() + within_s, []
        for number, body in enumerate(bodies):
            self._left_at_most(at_once - 1, deadline_s)
            sent.append(self.send(number % len(self._gateways), body, time.monotonic()))
        self._left_at_most(0, deadline_s)
        return sent

    def close(self) -> None:
        """End the connections, and what is still under way."""
        with self._changed:
            self._closed = True
        for channel in self._channels:
            channel.close()

    def _send_again(self) -> None:
        while True:
            with self._changed:
                if not self._again or self._again[0][0] > time.monotonic():
                    return
                request = heapq.heappop(self._again)[2]
            self._queue(request)

    def _queue(self, request: Sent) -> None:
        gateway = self._gateways[request.gateway]
        with self._changed:
            gateway.waiting.append(request)
        self._next(gateway)

    def _next(self, gateway: _Gateway) -> None:
        with self._changed:
            if self._closed or not gateway.waiting or gateway.under_way == SENDERS:
                return
            gateway.under_way += 1
            request = gateway.waiting.popleft()
        request.tries += 1
        request.first_s = request.first_s or time.monotonic()
        call = gateway.export.future(request.body, timeout=TIMEOUT_S)
        call.add_done_callback(partial(self._answered, gateway, request))

    def _answered(self, gateway: _Gateway, request: Sent, call: grpc.Future[bytes]) -> None:
        request.answered_s = time.monotonic()
        code = call.code()  # type: ignore[attr-defined]  # of grpc.Call, which it is too
        if code is not grpc.StatusCode.OK:
            request.refused = code.name
        with self._changed:
            gateway.under_way -= 1
            if code in TRIED_AGAIN:
                heapq.heappush(self._again, (time.monotonic() + AGAIN_S, next(self._order), request))
            else:
                request.ended, request.body = code is grpc.StatusCode.OK, b""
                self._left -= 1
                self._changed.notify_all()
        self._next(gateway)
