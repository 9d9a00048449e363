"""The OTLP sink: who it is, whom it believes, how long it waits, what it makes of an answer's details."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from detector.events import Lane, Outcome, Settlement
from exporter.otlp import OtlpSink
from exporter.otlp_answers import retry_after_s
from exporter.settings import OtlpSettings, OtlpTlsSettings
from exporter.sink import Delivery, Directive
from tests.e2e.processes import free_port
from tests.exporter.outbox import Clock, Outbox, event, queue, run
from tests.exporter.scripted_otlp import Answer, ScriptedOtlp, rejection, retry_info


class Wire:
    """Passes one connection on to a port, and remembers what the client sent."""

    def __init__(self, target: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._seen = b""
        self._thread = threading.Thread(target=self._serve, args=(target,))
        self._thread.start()

    def _serve(self, target: int) -> None:
        near, _ = self._listener.accept()
        with self._listener, near, socket.create_connection(("localhost", target)) as far:
            back = threading.Thread(target=self._pump, args=(far, near))
            back.start()
            self._seen = self._pump(near, far)
            back.join()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> bytes:
        seen = b""
        with contextlib.suppress(OSError):  # whoever goes first resets the other
            while content := source.recv(65536):
                seen += content
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)
        return seen

    def seen(self) -> bytes:
        """Everything, once the client has gone."""
        self._thread.join()
        return self._seen


BUSY = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def otlp(collector: ScriptedOtlp) -> Iterator[Callable[..., OtlpSink]]:
    """Make a sink for the collector; keywords are settings."""
    made = []

    def make(**settings: Any) -> OtlpSink:
        made.append(
            OtlpSink(OtlpSettings(**{"endpoint": collector.url, "request_timeout_s": 30.0, **settings}))
        )
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def test_a_batch_is_one_request_and_done_when_it_is_ok(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]
) -> None:
    sink = otlp()
    delivery = sink.send(Lane.RISK, queue(3))
    done = tuple(Outcome(number, Settlement.DONE) for number in range(3))
    assert delivery == Delivery(done, Directive.PROCEED, "accepted", tried=3)
    assert delivery.said == "OK"
    assert (len(collector.calls), collector.ids) == (1, ["risk-0", "risk-1", "risk-2"])
    assert sink.in_flight(Lane.RISK) == 0


def test_equal_events_are_equal_bytes(collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]) -> None:
    for sink in (otlp(), otlp(gzip=False)):
        sink.send(Lane.RISK, queue(5))
    first, second = collector.calls
    assert first.body == second.body


@pytest.mark.parametrize("gzip", [True, False])
def test_requests_are_compressed_unless_told_otherwise(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink], *, gzip: bool
) -> None:
    """GRPC hides the encoding from a server's handler; the bytes on the way tell it."""
    wire = Wire(collector.port)
    sink = otlp(endpoint=f"http://localhost:{wire.port}", gzip=gzip)
    assert sink.send(Lane.RISK, queue(1, padding=500)).result == "accepted"
    sink.close()
    assert (b"x" * 500 in wire.seen()) is not gzip


def test_a_batch_is_a_prefix_within_the_size(collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]) -> None:
    batch = queue(10, padding=1000)
    sink = otlp(max_batch_bytes=3500)
    assert sink.send(Lane.RISK, batch).tried == 3
    assert collector.ids == ["risk-0", "risk-1", "risk-2"]


def test_an_event_that_is_larger_than_a_batch_goes_alone(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]
) -> None:
    assert otlp(max_batch_bytes=100).send(Lane.RISK, queue(2, padding=1000)).tried == 1


# --- who we are


def test_without_a_token_file_no_token_is_sent(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]
) -> None:
    otlp().send(Lane.RISK, queue(1))
    assert "authorization" not in collector.calls[0].metadata


def test_the_token_is_looked_at_before_every_request(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink], tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    sink = otlp(token_file=str(token))
    sink.send(Lane.RISK, queue(1))
    token.write_text("another\n")
    sink.send(Lane.RISK, queue(1))
    assert [call.metadata["authorization"] for call in collector.calls] == ["Bearer first", "Bearer another"]


def test_a_token_that_is_echoed_is_neither_logged_nor_told(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink], tmp_path: Path, logs: list[Any]
) -> None:
    token = tmp_path / "token"
    token.write_text("5e4f-secret")
    collector.script.append(Answer(grpc.StatusCode.UNAUTHENTICATED, "who is 5e4f-secret?"))
    delivery = otlp(token_file=str(token)).send(Lane.RISK, queue(1))
    assert delivery == Delivery((), Directive.PAUSE_SINK, "unauthenticated", tried=1)
    assert delivery.said == "UNAUTHENTICATED: who is [redacted]?"
    assert [log["detail"] for log in logs if "detail" in log] == ["who is [redacted]?"]


def test_what_a_collector_says_is_cut(collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]) -> None:
    collector.script.append(Answer(BUSY, "x" * 1000))
    assert otlp().send(Lane.RISK, queue(1)).said == f"UNAVAILABLE: {'x' * 200}"


# --- whom we believe


@pytest.fixture
def tls_collector(authority: Path) -> Iterator[ScriptedOtlp]:
    """Wants a certificate of ours that the same authority signed."""
    pem = (authority / "server.pem").read_bytes()
    ca = (authority / "ca.pem").read_bytes()
    with ScriptedOtlp(grpc.ssl_server_credentials([(pem, pem)], ca, require_client_auth=True)) as collector:
        yield collector


def ours(authority: Path) -> OtlpTlsSettings:
    server = str(authority / "server.pem")
    return OtlpTlsSettings(str(authority / "ca.pem"), server, server)


def test_both_sides_show_a_certificate(
    tls_collector: ScriptedOtlp, otlp: Callable[..., OtlpSink], authority: Path
) -> None:
    sink = otlp(endpoint=tls_collector.url, tls=ours(authority))
    assert sink.send(Lane.RISK, queue(1)).result == "accepted"
    assert tls_collector.ids == ["risk-0"]


def test_a_collector_that_proves_nothing_is_sent_nothing_until_the_ca_file_is_right(
    tls_collector: ScriptedOtlp, otlp: Callable[..., OtlpSink], authority: Path, tmp_path: Path
) -> None:
    """No restart: the file is read at the next connection."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes((authority / "stranger.pem").read_bytes())
    tls = ours(authority)
    sink = otlp(endpoint=tls_collector.url, tls=OtlpTlsSettings(str(ca), tls.cert_file, tls.key_file))
    refused = sink.send(Lane.RISK, queue(1))
    assert refused == Delivery((), Directive.RETRY, "unavailable", tried=1)
    assert tls_collector.calls == []
    ca.write_bytes((authority / "ca.pem").read_bytes())
    assert sink.send(Lane.RISK, queue(1)).result == "accepted"


def test_plain_text_to_a_collector_with_tls_is_refused(
    tls_collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]
) -> None:
    sink = otlp(endpoint=f"http://localhost:{tls_collector.port}")
    assert sink.send(Lane.RISK, queue(1)) == Delivery((), Directive.RETRY, "unavailable", tried=1)


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
@pytest.mark.parametrize("content", ["garbage", ""])
def test_a_file_that_is_no_certificate_is_an_answer(
    tls_collector: ScriptedOtlp, otlp: Callable[..., OtlpSink], tmp_path: Path, key: str, content: str
) -> None:
    (tmp_path / "x.pem").write_text(content)
    files = {key: str(tmp_path / "x.pem")}
    if key == "cert_file":
        files["key_file"] = files[key]
    sink = otlp(endpoint=tls_collector.url, tls=OtlpTlsSettings(**files))
    assert sink.send(Lane.RISK, queue(1)) == Delivery((), Directive.RETRY, "unavailable", tried=1)
    assert tls_collector.calls == []


# --- how long we wait


def test_an_answer_that_does_not_come_is_waited_for_until_the_deadline(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]
) -> None:
    collector.script.append(Answer(hang=True))
    sink = otlp(request_timeout_s=0.3)
    began = time.monotonic()
    assert sink.send(Lane.RISK, queue(1)) == Delivery((), Directive.RETRY, "deadline_exceeded", tried=1)
    assert time.monotonic() - began >= 0.3


def test_a_collector_that_comes_back_is_found_at_the_next_attempt(otlp: Callable[..., OtlpSink]) -> None:
    """Not after gRPC's own distance between attempts, which grows to two minutes."""
    port = free_port()
    sink = otlp(endpoint=f"http://localhost:{port}")
    for _ in range(5):
        assert sink.send(Lane.RISK, queue(1)).result == "unavailable"
    with ScriptedOtlp(port=port) as collector:
        assert sink.send(Lane.RISK, queue(1)).result == "accepted"
        assert collector.ids == ["risk-0"]


def test_a_collector_that_restarts_is_found_again(otlp: Callable[..., OtlpSink]) -> None:
    port = free_port()
    sink = otlp(endpoint=f"http://localhost:{port}")
    for _ in range(2):
        with ScriptedOtlp(port=port):
            assert sink.send(Lane.RISK, queue(1)).result == "accepted"
        assert sink.send(Lane.RISK, queue(1)).result == "unavailable"


def test_a_name_that_nobody_knows_is_an_answer(otlp: Callable[..., OtlpSink]) -> None:
    delivery = otlp(endpoint="http://collector.invalid").send(Lane.RISK, queue(1))
    assert delivery == Delivery((), Directive.RETRY, "unavailable", tried=1)
    assert "collector.invalid:4317" in delivery.said


def test_a_proxy_of_the_environment_is_not_used(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://localhost:{free_port()}")
    assert otlp().send(Lane.RISK, queue(1)).result == "accepted"


# --- what an answer's details say


@pytest.mark.parametrize(
    ("answer", "after_s"),
    [
        (Answer(BUSY, after_s=7.5), 7.5),
        (Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, after_s=90.0), 90.0),
        (Answer(BUSY, after_s=-3.0), 0.0),
        (Answer(BUSY), None),
        (Answer(BUSY, details=b""), None),
        (Answer(BUSY, details=b"\xff\xff"), None),
        (Answer(BUSY, details=retry_info(1.0)[:20]), None),
    ],
)
def test_the_distance_that_a_collector_asks_for_is_told(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink], answer: Answer, after_s: float | None
) -> None:
    collector.script.append(answer)
    assert otlp().send(Lane.RISK, queue(1)).after_s == after_s


def test_other_metadata_asks_for_no_distance() -> None:
    assert retry_after_s([("other", retry_info(1.0)), ("grpc-status-details-bin", "text")]) is None


def test_a_reply_without_end_is_not_read(collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]) -> None:
    collector.script.append(Answer(body=b"\0" * 100_000))
    assert otlp().send(Lane.RISK, queue(1)) == Delivery((), Directive.RETRY, "resource_exhausted", tried=1)


def test_a_warning_of_a_collector_that_took_everything_is_told(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]
) -> None:
    collector.script.append(rejection(0, "deprecated"))
    delivery = otlp().send(Lane.RISK, queue(2))
    assert (len(delivery.outcomes), delivery.directive) == (2, Directive.PROCEED)
    assert delivery.said == "OK: deprecated"


def test_a_message_that_is_too_large_shrinks_until_it_fits(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]
) -> None:
    """As grpc-go answers above its limit: without RetryInfo. Nothing is given up."""
    clock = Clock()
    too_large = Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, "received message larger than max")
    collector.script.extend([too_large] * 3)
    outbox = Outbox(*(event(number) for number in range(40)))
    run(outbox.deliverer(otlp(), clock), clock, lambda: not outbox.waiting)
    outbox.assert_delivered(collector.ids)
    assert [len(call.records) for call in collector.calls[:4]] == [40, 20, 10, 5]


def test_a_status_that_pauses_the_lane_does_not_hold_up_the_others(
    collector: ScriptedOtlp, otlp: Callable[..., OtlpSink]
) -> None:
    """A wrong index, as a collector without a queue passes it on."""
    clock = Clock()
    outbox = Outbox(*(event(number, lane) for number in range(3) for lane in (Lane.RISK, Lane.CONTEXT)))
    deliverer = outbox.deliverer(otlp(), clock)
    collector.script.append(Answer(grpc.StatusCode.INTERNAL, 'Permanent error: "HTTP 400"'))
    deliverer.turn(clock.now)
    deliverer.turn(clock.now)
    assert outbox.done == ["context-0", "context-1", "context-2"]
    run(deliverer, clock, lambda: not outbox.waiting)
    outbox.assert_delivered(collector.ids)
