"""The end of delivery: what is still tried, and what is left behind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from detector.events import Lane
from detector.rules import Rules
from otel_shell_detector import core as core_module
from otel_shell_detector import dispatch as module
from otel_shell_detector.core import Core, CoreStoppedError
from otel_shell_detector.dispatch import Dispatch
from store.memory import MemoryStore
from tests.otel_shell_detector.benches import plain
from tests.otel_shell_detector.test_core import encode


class Stuck:
    """A deliverer in an attempt that does not end before it is released, and then raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.entered = threading.Event()
        self.released = threading.Event()

    def turn(self, now: float) -> float:
        self.entered.set()
        assert self.released.wait(60)
        raise self.error


def test_a_stop_leaves_an_attempt_behind_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LAST_WORD_S", 0.0)
    deliverer = Stuck(CoreStoppedError("the core has stopped"))
    dispatch = Dispatch(deliverer, lambda: False)  # type: ignore[arg-type]  # one that is stuck
    dispatch.start()
    assert deliverer.entered.wait(60)
    dispatch.stop(0.0)
    assert dispatch.is_alive()
    deliverer.released.set()
    dispatch._thread.join(60)
    assert not dispatch.is_alive()
    assert dispatch.failed is None  # it came too late to reach the store, which is as it should be


class Waiting:
    """A deliverer whose lanes wait, until it is told to hasten."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.turned = threading.Event()

    def hasten(self) -> None:
        self.calls.append("hasten")

    def turn(self, now: float) -> float:
        self.calls.append("turn")
        self.turned.set()
        return 60.0


def test_a_stop_hastens_what_waits_once() -> None:
    deliverer = Waiting()
    dispatch = Dispatch(deliverer, lambda: deliverer.calls.count("turn") > 2)  # type: ignore[arg-type]  # a fake
    dispatch.start()
    assert deliverer.turned.wait(60)
    dispatch.stop(60.0)
    assert not dispatch.is_alive()
    assert deliverer.calls[0] == "turn"
    assert deliverer.calls.count("hasten") == 1
    assert deliverer.calls.index("hasten") < len(deliverer.calls) - 1


class SlowToRead(MemoryStore):
    """A store that is read for as long as is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def service_ns(self) -> int:
        assert self.released.wait(60)
        return super().service_ns()


class Hurrying:
    """A clock that is 50 s later each time, until it stands."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.stands = False
        self.looked_at = threading.Event()

    def monotonic(self) -> float:
        if not self.stands:
            self.now_s += 50
        if self.now_s >= 1000:
            self.looked_at.set()
        return self.now_s


def test_who_asks_waits_for_as_long_as_the_store_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = SlowToRead(), Hurrying()
    monkeypatch.setattr(core_module, "time", clock)
    monkeypatch.setattr(core_module, "IDLE_TURN_S", 0.001)
    core = Core(Rules(), store, plain(encode), lambda: None)
    core.start()
    with ThreadPoolExecutor() as asking:
        backlog = asking.submit(core.backlog)
        assert clock.looked_at.wait(60)
        assert not backlog.done()
        clock.stands = True
        store.released.set()
        assert backlog.result(60) == dict.fromkeys(Lane, 0)
    core.stop()


def test_a_stopped_core_lends_its_store_until_it_is_closed() -> None:
    core = Core(Rules(), MemoryStore(), plain(encode), lambda: None)
    core.start()
    assert core.wait_until_recovered(60)
    core.stop()
    assert core.backlog() == dict.fromkeys(Lane, 0)
    core.close()
    with pytest.raises(CoreStoppedError, match="the core has stopped"):
        core.backlog()
