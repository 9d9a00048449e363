"""One contract, every sink. What only one of them can do is tested in a module of its own."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from detector.events import Lane, Outcome, Settlement
from exporter.file import FileSink
from exporter.hec import HecSink
from exporter.lanes import PaceSettings
from exporter.otlp import OtlpSink
from exporter.settings import HecSettings, OtlpSettings
from exporter.sink import Directive, Sink
from exporter.stdout import StdoutSink
from telemetry.metrics import REGISTRY
from tests.exporter.outbox import Clock, Outbox, event, queue, run
from tests.exporter.scripted_hec import TOKEN, Answer, ScriptedHec
from tests.exporter.scripted_otlp import Answer as OtlpAnswer
from tests.exporter.scripted_otlp import ScriptedOtlp


@dataclass
class Bench:
    """A sink and its receiver: ``received`` gives event ids in order, ``fail`` holds until ``heal``."""

    sink: Sink
    clock: Clock
    received: Callable[[], list[str]]
    fail: Callable[[], None]
    heal: Callable[[], None]


def ids(lines: bytes) -> list[str]:
    return [json.loads(line)["event"]["event_id"] for line in lines.splitlines()]


def stdout_bench(stack: ExitStack, _: Path) -> Bench:
    """The reader of a pipe that does not read: the pipe is full."""
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    stack.callback(os.close, writing)
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    seen: list[str] = []

    def read() -> bytes:
        content = b""
        while True:
            try:
                content += os.read(reading, 1 << 16)
            except BlockingIOError:
                return content

    def received() -> list[str]:
        seen.extend(ids(read()))
        return seen

    def fill() -> None:
        received()
        while True:
            try:
                os.write(writing, b"\n" * 4096)
            except BlockingIOError:
                return

    return Bench(StdoutSink(writing), Clock(), received, fill, lambda: seen.extend(ids(read().strip(b"\n"))))


def file_bench(_: ExitStack, directory: Path) -> Bench:
    """A directory that stands where the file should be."""
    path, aside = directory / "events.jsonl", directory / "aside"
    path.touch()

    def fail() -> None:
        path.rename(aside)
        path.mkdir()

    def heal() -> None:
        path.rmdir()
        aside.rename(path)

    return Bench(FileSink(path), Clock(), lambda: ids(path.read_bytes()), fail, heal)


def hec_bench(stack: ExitStack, directory: Path, *, ack: bool) -> Bench:
    """A server that is busy."""
    server = stack.enter_context(ScriptedHec())
    token = directory / "token"
    token.write_text(TOKEN)
    clock = Clock()
    sink = HecSink(HecSettings(server.url, str(token), ack=ack), clock, lambda: 0.0)
    busy = Answer(503, {"text": "Server is busy", "code": 9})
    return Bench(
        sink, clock, lambda: server.ids, lambda: server.script.extend([busy] * 50), server.script.clear
    )


def otlp_bench(stack: ExitStack, _: Path) -> Bench:
    """A collector that cannot take more."""
    server = stack.enter_context(ScriptedOtlp())
    full = OtlpAnswer(grpc.StatusCode.UNAVAILABLE, "data refused due to high memory usage")
    return Bench(
        OtlpSink(OtlpSettings(server.url)),
        Clock(),
        lambda: server.ids,
        lambda: server.script.extend([full] * 50),
        server.script.clear,
    )


BENCHES: dict[str, Callable[[ExitStack, Path], Bench]] = {
    "stdout": stdout_bench,
    "file": file_bench,
    "hec": lambda stack, directory: hec_bench(stack, directory, ack=False),
    "hec-ack": lambda stack, directory: hec_bench(stack, directory, ack=True),
    "otlp": otlp_bench,
}


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        bench = BENCHES[request.param](stack, tmp_path)
        stack.callback(bench.sink.close)
        yield bench


def settled(bench: Bench, count: int) -> list[Outcome]:
    """Send the first events, and call again until all are settled (an acknowledgement takes two calls)."""
    outcomes: list[Outcome] = []
    for _ in range(5):
        if len(outcomes) < count:
            outcomes += bench.sink.send(Lane.RISK, queue(count)[len(outcomes) :]).outcomes
            bench.clock.now += 1.0
    return outcomes


def test_everything_arrives_once_and_in_order(bench: Bench) -> None:
    outbox = Outbox(*(event(number) for number in range(100)))
    deliverer = outbox.deliverer(bench.sink, bench.clock, PaceSettings(batch_limit=7))
    run(deliverer, bench.clock, lambda: not outbox.waiting)
    assert bench.received() == [f"risk-{number}" for number in range(100)] == outbox.done


def test_every_lane_keeps_its_own_order(bench: Bench) -> None:
    outbox = Outbox(*(event(number, lane) for number in range(40) for lane in Lane))
    deliverer = outbox.deliverer(bench.sink, bench.clock, PaceSettings(batch_limit=9))
    run(deliverer, bench.clock, lambda: not outbox.waiting)
    received = bench.received()
    assert len(received) == 120
    for lane in Lane:
        assert [each for each in received if each.startswith(lane)] == [
            f"{lane}-{number}" for number in range(40)
        ]


def test_what_is_done_is_named_by_its_sequence(bench: Bench) -> None:
    assert settled(bench, 3) == [Outcome(number, Settlement.DONE) for number in range(3)]


def test_nothing_is_done_that_was_not_accepted(bench: Bench) -> None:
    bench.fail()
    delivery = bench.sink.send(Lane.RISK, queue(3))
    assert delivery.outcomes == ()
    assert delivery.directive is Directive.RETRY
    assert delivery.result not in {"", "accepted"}
    assert bench.sink.in_flight(Lane.RISK) == 0
    bench.heal()
    assert bench.received() == []


def test_what_failed_can_be_sent_again_and_arrives_once(bench: Bench) -> None:
    bench.fail()
    bench.sink.send(Lane.RISK, queue(3))
    bench.heal()
    assert len(settled(bench, 3)) == 3
    assert bench.received() == ["risk-0", "risk-1", "risk-2"]


def test_sending_what_was_done_again_is_safe_and_keeps_its_id(bench: Bench) -> None:
    settled(bench, 2)
    settled(bench, 2)
    assert bench.received() == ["risk-0", "risk-1"] * 2


def test_a_failure_ends_by_itself_and_nothing_is_lost(bench: Bench) -> None:
    outbox = Outbox(*(event(number) for number in range(80)))
    deliverer = outbox.deliverer(bench.sink, bench.clock, PaceSettings(batch_limit=4))
    run(deliverer, bench.clock, lambda: len(outbox.done) >= 8)
    bench.fail()
    for _ in range(10):
        bench.clock.now += deliverer.turn(bench.clock.now)
    assert outbox.waiting
    bench.heal()
    run(deliverer, bench.clock, lambda: not outbox.waiting)
    assert bench.received() == [f"risk-{number}" for number in range(80)] == outbox.done


def test_closing_is_safe_to_repeat(bench: Bench) -> None:
    bench.sink.send(Lane.RISK, queue(1))
    bench.sink.close()
    bench.sink.close()


def test_the_size_of_a_batch_is_measured(bench: Bench) -> None:
    def batches() -> float:
        labels = {"sink": bench.sink.name}
        return REGISTRY.get_sample_value("otel_shell_detector_exporter_batch_bytes_count", labels) or 0.0

    before = batches()
    bench.sink.send(Lane.RISK, queue(1))
    assert batches() == before + 1
