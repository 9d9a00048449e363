"""Metrics and health over real sockets."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from exporter.exposition import exposition
from otel_shell_detector import http as served
from otel_shell_detector import logs
from otel_shell_detector.addresses import Endpoint
from otel_shell_detector.configuration import LogSettings
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = Endpoint("127.0.0.1", 0)


class Health:
    """What the service would say of itself; a test changes it."""

    def __init__(self) -> None:
        self.live: dict[str, str] = {}
        self.ready: dict[str, str] = {}

    def server(self, **options: Any) -> served.HttpServer:
        return served.HttpServer(
            LOOPBACK,
            exposition,
            live=lambda: self.live,
            ready=lambda: self.ready,
            coverage=lambda: b"{}\n",
            **options,
        )


@pytest.fixture
def log(logging_restored: None) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(LogSettings(), stream)
    return stream


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def server(health: Health, log: io.StringIO) -> Iterator[served.HttpServer]:
    running = health.server()
    running.start()
    yield running
    running.stop()


def ask(
    server: served.HttpServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def raw(server: served.HttpServer, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def count(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"otel_shell_detector_{name}", labels) or 0.0


def test_metrics_are_served_as_prometheus_reads_them(server: served.HttpServer) -> None:
    status, headers, body = ask(server, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE otel_shell_detector_build_info gauge\n" in body


def test_openmetrics_is_served_to_those_who_ask(server: served.HttpServer) -> None:
    status, headers, body = ask(server, "/metrics", Accept="application/openmetrics-text;version=1.0.0")
    assert status == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_health_is_ok_until_something_is_wrong(server: served.HttpServer, health: Health) -> None:
    def answers() -> list[tuple[int, Any]]:
        return [
            (status, json.loads(body)) for status, _, body in (ask(server, "/livez"), ask(server, "/readyz"))
        ]

    assert answers() == [(200, {"status": "ok"}), (200, {"status": "ok"})]
    health.ready = {"service": "stopping"}
    assert answers() == [
        (200, {"status": "ok"}),
        (503, {"status": "failing", "checks": {"service": "stopping"}}),
    ]
    health.live, health.ready = {"core": "the thread has ended"}, {}
    assert answers() == [
        (503, {"status": "failing", "checks": {"core": "the thread has ended"}}),
        (200, {"status": "ok"}),
    ]


def test_an_answer_tells_nothing_of_the_program(server: served.HttpServer) -> None:
    _, headers, _ = ask(server, "/livez?verbose")
    assert headers == {
        "Content-Type": "application/json",
        "Content-Length": "17",
        "Cache-Control": "no-store",
        "Connection": "close",
    }


def test_head_is_answered_without_a_body(server: served.HttpServer) -> None:
    status, headers, body = ask(server, "/livez", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "17", b"")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metrics/../livez", "/%6detrics", "*"])
def test_other_paths_are_not_found(server: served.HttpServer, path: str) -> None:
    status, headers, body = ask(server, path)
    assert (status, headers["Content-Type"], body) == (404, "text/plain; charset=utf-8", b"Not Found\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(server: served.HttpServer, method: str) -> None:
    status, headers, body = ask(server, "/metrics", method)
    assert (status, headers["Allow"], body) == (405, "GET, HEAD", b"Method Not Allowed\n")


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"\x16\x03\x01\x02\x00\r\n", b"HTTP/1.0 400 Bad Request\r\n"),
        (b"GET\r\n\r\n", b"HTTP/1.0 400 Bad Request\r\n"),
        (b"GET / HTTP/9.9\r\n\r\n", b"HTTP/1.0 505 HTTP Version Not Supported\r\n"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.0 414 "),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"HTTP/1.0 431 "),
        (b"GET /livez\r\n\r\n", b'{"status": "ok"}\n'),
        (b"GET /<script> HTTP/1.1\r\n\r\n", b"HTTP/1.0 404 Not Found\r\n"),
    ],
)
def test_what_is_no_request_is_answered_shortly(
    server: served.HttpServer, log: io.StringIO, request_: bytes, answer: bytes
) -> None:
    found = raw(server, request_)
    assert found.startswith(answer) or found.endswith(answer)
    assert b"script" not in found
    assert b"Python" not in found
    assert [json.loads(line)["event"] for line in log.getvalue().splitlines()] == ["process.http_started"]


def test_requests_are_counted_by_path_and_status(server: served.HttpServer) -> None:
    before = [
        count("http_requests_total", path="/livez", code="200"),
        count("http_requests_total", path="other", code="404"),
    ]
    ask(server, "/livez")
    ask(server, "/secret")
    after = [
        count("http_requests_total", path="/livez", code="200"),
        count("http_requests_total", path="other", code="404"),
    ]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1]


def test_a_page_that_fails_says_so_and_no_more(log: io.StringIO) -> None:
    def fail() -> dict[str, str]:
        raise ValueError("hunter2")

    running = served.HttpServer(LOOPBACK, exposition, live=fail, ready=dict, coverage=bytes)
    running.start()
    try:
        status, _, body = ask(running, "/livez")
    finally:
        running.stop()
    assert (status, body) == (500, b"Internal Server Error\n")
    event = json.loads(log.getvalue().splitlines()[-1])
    assert (event["event"], event["error"]) == ("process.http_failed", "ValueError")
    assert "hunter2" not in log.getvalue()


def opened(server: served.HttpServer, number: int) -> list[socket.socket]:
    """Connections that say nothing."""
    return [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(number)]


def test_idle_connections_do_not_keep_a_probe_out(health: Health, log: io.StringIO) -> None:
    before = count("http_connections_cut_total", reason="crowded")
    running = health.server(most_connections=4)
    running.start()
    idle = opened(running, 12)
    try:
        assert [ask(running, "/livez")[0] for _ in range(5)] == [200] * 5
        # The oldest were cut: their ends read the end of the stream.
        assert [connection.recv(1) for connection in idle[:8]] == [b""] * 8
    finally:
        running.stop()
        for connection in idle:
            connection.close()
    assert count("http_connections_cut_total", reason="crowded") - before >= 9


def test_a_connection_has_a_deadline_as_a_whole(health: Health, log: io.StringIO) -> None:
    before = count("http_connections_cut_total", reason="slow")
    running = health.server(deadline_seconds=0.0)
    running.start()
    (connection,) = opened(running, 1)
    try:
        assert connection.recv(1) == b""
    finally:
        running.stop()
        connection.close()
    assert count("http_connections_cut_total", reason="slow") - before == 1


def test_the_newest_is_refused_when_no_room_can_be_made(
    health: Health, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "_ROOM_SECONDS", 0.0)
    before = count("http_connections_cut_total", reason="refused")
    entered, leave = threading.Event(), threading.Event()

    def stuck() -> dict[str, str]:
        entered.set()
        leave.wait(20)
        return {}

    running = served.HttpServer(
        LOOPBACK, exposition, live=stuck, ready=dict, coverage=bytes, most_connections=1
    )
    running.start()
    asking = threading.Thread(target=lambda: raw(running, b"GET /livez HTTP/1.1\r\n\r\n"))
    try:
        asking.start()
        assert entered.wait(20)
        assert [raw_or_reset(running) for _ in range(2)] == [b"", b""]
    finally:
        leave.set()
        asking.join()
        running.stop()
    assert count("http_connections_cut_total", reason="refused") - before == 2


def raw_or_reset(server: served.HttpServer) -> bytes:
    try:
        return raw(server, b"GET /readyz HTTP/1.1\r\n\r\n")
    except OSError:
        return b""


def test_without_a_thread_to_be_had_the_place_is_given_back(
    health: Health, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = health.server(most_connections=1)
    running.start()
    start = threading.Thread.start
    refused: list[threading.Thread] = []

    def refuse_once(thread: threading.Thread) -> None:
        if not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_once)
    try:
        assert raw_or_reset(running) == b""
        assert ask(running, "/livez")[0] == 200
    finally:
        running.stop()
    assert "process.http_failed" in log.getvalue()


def test_a_client_that_goes_away_is_no_failure(health: Health, log: io.StringIO) -> None:
    def goes() -> dict[str, str]:
        raise BrokenPipeError

    running = health.server()
    running._server.handle_error(None, None)  # nothing is being handled
    running.start()
    try:
        try:
            goes()
        except BrokenPipeError:
            running._server.handle_error(None, None)
    finally:
        running.stop()
    assert "http_failed" not in log.getvalue()


def test_a_server_that_never_started_stops(health: Health) -> None:
    server = health.server()
    assert server.port > 0
    server.stop()


def test_stopping_cuts_what_is_open(server: served.HttpServer, health: Health, log: io.StringIO) -> None:
    running = health.server()
    running.start()
    idle = opened(running, 1)
    ask(running, "/livez")  # accepted after the idle one
    running.stop()
    assert idle[0].recv(1) == b""
    idle[0].close()


def test_an_address_in_use_is_told(server: served.HttpServer, health: Health, log: io.StringIO) -> None:
    with pytest.raises(OSError, match="in use"):
        served.HttpServer(
            Endpoint("127.0.0.1", server.port), exposition, live=dict, ready=dict, coverage=bytes
        )
    event = json.loads(log.getvalue().splitlines()[-1])
    assert (event["event"], event["endpoint"], event["errno"]) == (
        "process.http_not_bound",
        f"127.0.0.1:{server.port}",
        "EADDRINUSE",
    )


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_ipv6_is_listened_on(log: io.StringIO) -> None:
    try:
        running = served.HttpServer(Endpoint("::1", 0), exposition, live=dict, ready=dict, coverage=bytes)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    running.start()
    try:
        connection = http.client.HTTPConnection("::1", running.port, timeout=20)
        connection.request("GET", "/readyz")
        assert connection.getresponse().read() == b'{"status": "ok"}\n'
        connection.close()
    finally:
        running.stop()
    assert json.loads(log.getvalue())["endpoint"] == f"[::1]:{running.port}"
