"""``serve``: the service, put together as in the picture of the design.

    collector --OTLP/gRPC--> receiver --records--> core (journal, detector, outbox) --> delivery --> Splunk

Built and connected in that order, stopped in an order of its own: what is accepted first stops coming, then
is decided, then delivered.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from exporter.delivery import Deliverer
from exporter.exposition import exposition
from otel_shell_detector import wiring
from otel_shell_detector.allocator import keep_memory
from otel_shell_detector.bench import first_seen
from otel_shell_detector.control import ControlServer
from otel_shell_detector.core import Core
from otel_shell_detector.coverage import CoverageView
from otel_shell_detector.dispatch import Dispatch
from otel_shell_detector.http import HttpServer
from otel_shell_detector.policies.watch import PolicyWatcher
from otlp_receiver.server import Server
from store.seams import CannotOpenStore
from telemetry import events, metrics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from otel_shell_detector.configuration import Settings

RECEIVER_GRACE_S: Final = 5.0
DELIVERY_GRACE_S: Final = 10.0
LAST_DELIVERY_S: Final = 2.0
"""What delivery gets at least."""
STOP_S: Final = 20.0
"""For all of a stop. Whoever asked for it uses force after a while: Kubernetes by default after 30 s."""
STALLED_NS: Final = 120 * 1_000_000_000
"""A thread that has not turned for so long is dead; an fsync on a bad disk takes up to 60 s."""
_WATCH_S: Final = 0.2


class Service:
    """All parts of a running service."""

    def __init__(self, settings: Settings) -> None:
        metrics.START_TIME.set(time.time())
        self._stopping = False
        self._ephemeral = settings.state.ephemeral
        self._store = wiring.store(settings)
        self._bench = wiring.bench(settings)
        self._core = Core(
            wiring.rules(settings),
            self._store,
            self._bench,
            self._wake_delivery,
            close_at_stop=self._ephemeral,
        )
        self._policies = (
            None
            if settings.policy.path is None
            else PolicyWatcher(settings.policy.path, time.time_ns, first_seen(self._store), self._bench.adopt)
        )
        self._control = (
            None
            if self._ephemeral
            else ControlServer(settings.state.path, self._core.call, inspect=self._core.inspect)
        )
        self._sink = wiring.sink(settings)
        deliverer = Deliverer(
            self._sink,
            take=self._core.take,
            settle=self._core.settle,
            backlog=self._core.backlog,
            clock=time.monotonic,
            random=random.SystemRandom().random,
        )
        self._dispatch = Dispatch(deliverer, lambda: not any(self._core.backlog().values()))
        self.receiver = Server(
            wiring.server_settings(settings), wiring.selection(settings), self._core.accept, known=self._core
        )
        self._coverage = CoverageView(self._core.coverage, time.monotonic)
        self.http = HttpServer(
            settings.http.endpoint,
            self._exposition,
            live=self.not_live,
            ready=self.not_ready,
            coverage=self._coverage.body,
        )

    def _wake_delivery(self) -> None:
        self._dispatch.wake()

    def _exposition(self, accept: str) -> tuple[str, bytes]:
        self._coverage.observe()
        metrics.READY.set(not self.not_ready())
        return exposition(accept)

    def start(self, asked: threading.Event) -> None:
        """Start everything; the receiver last, so that nothing is accepted that cannot be decided.

        It waits for as long as the store cannot be read, or until ``asked`` is set: a stop is wanted.
        """
        self.http.start()
        if self._policies is not None:
            # Before the core: what it finds untold is judged with the policy.
            self._policies.start()
        self._core.start()
        self._dispatch.start()
        while not self._core.wait_until_recovered(_WATCH_S):
            if self.failed() or asked.is_set():
                return
        if self._control is not None:
            self._control.start()
        self.receiver.start()

    def not_live(self) -> Mapping[str, str]:
        """What is wrong so that only a restart helps; empty if nothing is."""
        now_ns = time.monotonic_ns()
        wrong = {}
        for name, part in (("core", self._core), ("delivery", self._dispatch)):
            if not self._stopping and not part.is_alive():
                wrong[name] = "the thread has ended"
            elif now_ns - part.turned_ns > STALLED_NS:
                wrong[name] = f"no turn for {(now_ns - part.turned_ns) // 1_000_000_000} s"
        return wrong

    def not_ready(self) -> Mapping[str, str]:
        """Why requests would not be accepted now; empty if they would. Says nothing of Splunk."""
        if self._stopping:
            return {"service": "stopping"}
        return {} if self._core.is_accepting() else {"core": "does not accept records"}

    def failed(self) -> bool:
        """Whether a thread has ended by itself."""
        return self._core.failed is not None or self._dispatch.failed is not None

    def stop(self) -> None:
        """Stop in order; what was accepted is decided and, until the deadline, delivered."""
        ends_s = time.monotonic() + STOP_S
        self._stopping = True
        self.receiver.stop(RECEIVER_GRACE_S)
        if self._control is not None:
            self._control.stop()
        if self._policies is not None:
            self._policies.stop()
        self._core.stop()
        left_s = max(LAST_DELIVERY_S, ends_s - time.monotonic())
        self._dispatch.stop(min(DELIVERY_GRACE_S, left_s))
        self._core.close()
        undelivered = {str(lane): count for lane, count in self._store.backlog().items() if count}
        if undelivered:
            told = events.LOST_AT_STOP if self._ephemeral else events.UNDELIVERED_AT_STOP
            told(events=sum(undelivered.values()), lanes=undelivered)
        self._sink.close()
        self.http.stop()
        self._store.close()


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit status: 1 if a thread failed."""
    keep_memory()
    asked = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # The second one gets the default: whoever is in a hurry is not kept.
        signal.signal(number, signal.SIG_DFL)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        service = Service(settings)
    except CannotOpenStore as error:
        events.STORE_NOT_OPENED(reason=str(error))
        return 1
    service.start(asked)
    if not asked.is_set():
        events.SERVICE_STARTED(receiver_port=service.receiver.port, http_port=service.http.port)
    while not asked.wait(_WATCH_S):
        if service.failed():
            break
    events.SERVICE_STOPPING(reason="a thread failed" if service.failed() else "signal")
    service.stop()
    events.SERVICE_STOPPED()
    return 1 if service.failed() else 0
