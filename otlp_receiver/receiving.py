"""How many calls run at once, and the one message of each: half-open streams must not hold the workers.

A worker is a thread, and a call holds one from its beginning to its answer. So calls have *places*, fewer
than there are workers: the workers beyond answer those that find none, at once, and never wait themselves.

A call that finds no place displaces the one that has waited longest for its message, if that is a while
already: a collector sends headers and message together, whoever sends headers alone is slow, broken or an
attacker, and the more of them there are the sooner each must go. If all places are taken by calls that do
work, the new one is told to try again.

A displaced call is cancelled, and so is one whose message is not whole in time; both give back their place
when their worker has seen it. In between there are more calls than places, by as many as were displaced.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import grpc

from otlp_receiver import answers
from otlp_receiver.inflating import inflate
from otlp_receiver.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otlp_receiver.answers import Answer

LEAST_WAIT_S: Final = 0.25
"""Who waits less for a message is not displaced: on a busy machine an honest call may take as long."""


class NoPlace(Exception):  # noqa: N818  # says what is so; the caller answers it, nothing went wrong
    """As many calls run as may, and none of them is idle."""


class Receiving:
    """The places of one kind of call. Safe to use from any thread, from :meth:`start` to :meth:`stop`."""

    def __init__(self, places: int, timeout: float, max_size: int, least_wait: float = LEAST_WAIT_S) -> None:
        self._places = places
        self._max_size = max_size
        self._least_wait = least_wait
        self._watchdog = Watchdog(timeout)
        self._lock = threading.Lock()
        self._calls = 0

    def start(self) -> None:
        """Watch the messages."""
        self._watchdog.start()

    def stop(self) -> None:
        """Watch no more."""
        self._watchdog.stop()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while a call runs. Raises :class:`NoPlace`."""
        with self._lock:
            full = self._calls >= self._places
        if full and not self._watchdog.cancel_oldest(self._least_wait):
            raise NoPlace
        with self._lock:
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1

    def message(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes | Answer:
        """The one message of a call, inflated, or the answer to a call that is not one message."""
        one = two = None
        with self._watchdog.watch(context.cancel) as watch:
            try:
                one = next(messages, None)
                two = None if one is None else next(messages, None)
            except grpc.RpcError:
                one = None
        if watch.displaced:
            return answers.DISPLACED
        if watch.expired:
            return answers.RECEIVE_TIMEOUT
        if two is not None:
            return answers.TWO_MESSAGES
        # Without a message the call was cancelled: by its sender, or by gRPC, which has itself answered
        # RESOURCE_EXHAUSTED to a message that is too large. Only a call that is alive hears our answer.
        return answers.NO_MESSAGE if one is None else inflate(one, self._max_size)
