"""Peers without manners: slow, endless, cut, garbled; and what lies between: TLS, proxies, names."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from detector.events import Lane
from exporter.bounded_http import REPLY_LIMIT_BYTES, HttpClient, Unreachable
from exporter.hec import HecSink
from exporter.settings import TlsSettings
from exporter.sink import Delivery, Directive
from tests.exporter.outbox import queue
from tests.exporter.scripted_hec import Answer, ScriptedHec
from tests.exporter.tiny_proxy import TinyProxy


def failed(label: str) -> Delivery:
    return Delivery((), Directive.RETRY, label, tried=2)


class Ticking:
    """A clock that moves at every look: as if each operation on the socket took a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n"
SUCCESS = b'{"text":"ok","code":0}  '


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"X-Drip: 1\r\n")), id="headers"
        ),
        pytest.param(itertools.chain([HEAD[:-28]], itertools.repeat(b"a")), id="one-header"),
        pytest.param(
            itertools.chain([b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"], itertools.repeat(b" ")),
            id="body",
        ),
        pytest.param(
            itertools.chain(
                [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"1\r\n \r\n")
            ),
            id="chunks",
        ),
        pytest.param(itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n"], itertools.repeat(b" ")), id="until-close"),
        pytest.param(itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), id="continue"),
    ],
)
def test_a_reply_that_drips_does_not_outlast_the_deadline(
    server: ScriptedHec, hec: Callable[..., HecSink], raw: Iterator[bytes]
) -> None:
    """Every piece comes at once, so no operation is late; the clock says that each took a second."""
    server.script.append(Answer(raw=raw))
    delivery = hec(request_timeout_s=12.0, clock=Ticking()).send(Lane.RISK, queue(2))
    assert delivery.outcomes == ()
    assert delivery.result in {
        "timeout",
        "connection_lost",
        "not_success",
    }  # the flood may fill a bound first


@pytest.mark.parametrize("raw", [[], [b"HTTP/1.1 "], [HEAD], [HEAD + SUCCESS[:-1]]])
def test_a_reply_that_does_not_come_is_waited_for_until_the_deadline(
    server: ScriptedHec, hec: Callable[..., HecSink], raw: list[bytes]
) -> None:
    server.script.append(Answer(raw=raw, hang=True))

    assert hec(request_timeout_s=0.3, clock=time.monotonic).send(Lane.RISK, queue(2)) == failed("timeout")


@pytest.mark.parametrize(
    "raw",
    [[], [b"HTTP/1.1 200 OK\r\n"], [HEAD], [HEAD + SUCCESS[:9]], [HEAD + SUCCESS[:-1]]],
    ids=["nothing", "headers", "no-body", "half-a-body", "all-but-a-blank"],
)
def test_a_reply_that_is_cut_is_none(
    server: ScriptedHec, hec: Callable[..., HecSink], raw: list[bytes]
) -> None:
    server.script.append(Answer(raw=raw))
    sink = hec()
    # the standard library takes headers that end early for whole ones, and no body for an empty one
    label = "not_success" if raw == [b"HTTP/1.1 200 OK\r\n"] else "connection_lost"
    assert sink.send(Lane.RISK, queue(2)) == failed(label)
    assert sink.send(Lane.RISK, queue(2)).result == "accepted"


@pytest.mark.parametrize(
    "raw",
    [
        [b"SSH-2.0-OpenSSH_9.2\r\n\r\n"],
        [b"\x15\x03\x01\x00\x02\x02\x16" * 3 + b"\r\n\r\n"],
        [b"HTTP/1.1 abc OK\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
        [b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"],
    ],
)
def test_garbage_is_no_answer(server: ScriptedHec, hec: Callable[..., HecSink], raw: list[bytes]) -> None:
    server.script.append(Answer(raw=raw))
    delivery = hec().send(Lane.RISK, queue(2))
    assert (delivery.outcomes, delivery.directive) == ((), Directive.RETRY)


def gibibyte() -> Iterator[bytes]:
    yield f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 30}\r\n\r\n".encode()
    block = b"x" * (1 << 16)
    for sent in range(1 << 14):
        assert sent < 1 << 10, "the client reads on and on"  # the kernels' buffers hold a few MiB
        yield block


def test_a_reply_of_a_gibibyte_is_not_read(
    server: ScriptedHec, hec: Callable[..., HecSink], logs: list[Any]
) -> None:
    server.script.append(Answer(raw=gibibyte()))
    sink = hec()
    assert sink.send(Lane.RISK, queue(2)) == failed("not_success")
    assert logs[-1]["detail"] == "the reply is too long"
    assert sink.send(Lane.RISK, queue(2)).result == "accepted"
    assert server.connections == 2


def endless(head: bytes) -> Iterator[bytes]:
    yield head
    for sent in range(1 << 14):
        assert sent < 1 << 10, "the client reads on and on"
        yield b" " * (1 << 16)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 ",
    ],
    ids=["one-chunk", "until-close", "one-header", "status-line"],
)
def test_nothing_else_of_a_reply_is_read_for_a_gibibyte(
    server: ScriptedHec, hec: Callable[..., HecSink], head: bytes
) -> None:
    server.script.append(Answer(raw=endless(head)))
    sink = hec()
    delivery = sink.send(Lane.RISK, queue(2))
    assert (delivery.outcomes, delivery.directive) == ((), Directive.RETRY)
    assert sink.send(Lane.RISK, queue(2)).result == "accepted"


def test_a_reply_at_the_limit_is_read(server: ScriptedHec, hec: Callable[..., HecSink]) -> None:
    body = b'{"code":0}'.ljust(REPLY_LIMIT_BYTES)
    server.script.extend([Answer(200, body), Answer(200, body + b" ")])
    sink = hec()
    assert sink.send(Lane.RISK, queue(2)).result == "accepted"
    assert sink.send(Lane.RISK, queue(2)) == failed("not_success")


def test_a_chunked_reply_is_read(server: ScriptedHec, hec: Callable[..., HecSink]) -> None:
    chunks = b'5\r\n{"cod\r\n5\r\ne":0}\r\n0\r\n\r\n'
    server.script.append(Answer(raw=[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks]))
    assert hec().send(Lane.RISK, queue(2)).result == "accepted"


def test_a_port_where_nobody_listens(hec: Callable[..., HecSink]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        sink = hec(url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert sink.send(Lane.RISK, queue(2)) == failed("connection_refused")


def test_a_name_that_nobody_knows(hec: Callable[..., HecSink], monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver of a build machine may take its time, or answer for every name; so its answer is given."""

    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert hec(url="http://splunk.invalid:8088").send(Lane.RISK, queue(2)) == failed("name_unresolved")


def test_the_next_address_of_a_name_is_tried(
    server: ScriptedHec, hec: Callable[..., HecSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ports = [unused.getsockname()[1], server.port]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert hec(url="http://two.invalid").send(Lane.RISK, queue(2)).result == "accepted"


def test_a_client_whose_deadline_has_passed_does_not_even_connect(server: ScriptedHec) -> None:
    client = HttpClient(proxy_url="", tls=TlsSettings(), timeout_s=0.5, clock=Ticking())
    with pytest.raises(Unreachable) as caught:
        client.post(server.url, b"", {})
    client.close()
    assert caught.value.label == "timeout"
    assert server.requests == []


def test_a_server_that_does_not_read_is_given_up(hec: Callable[..., HecSink]) -> None:
    """Its kernel takes what fits in the buffers; the rest is not sent for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        sink = hec(url=url, gzip=False, request_timeout_s=0.3, clock=time.monotonic, max_batch_bytes=1 << 27)
        assert sink.send(Lane.RISK, queue(2, padding=1 << 25)) == failed("timeout")


# --- proxies


@pytest.fixture
def proxy() -> Iterator[TinyProxy]:
    with TinyProxy() as proxy:
        yield proxy


def test_a_plain_url_goes_through_a_proxy(
    server: ScriptedHec, hec: Callable[..., HecSink], proxy: TinyProxy
) -> None:
    sink = hec(url=f"http://hec.invalid:{server.port}", proxy_url=proxy.url)
    assert sink.send(Lane.RISK, queue(2)).result == "accepted"
    assert proxy.asked == [f"POST http://hec.invalid:{server.port}/services/collector/event HTTP/1.1"]


def test_proxies_of_the_environment_are_not_used(
    server: ScriptedHec, hec: Callable[..., HecSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert hec().send(Lane.RISK, queue(2)).result == "accepted"


def test_a_proxy_that_refuses_is_trouble_of_the_proxy(hec: Callable[..., HecSink], proxy: TinyProxy) -> None:
    proxy.refuse = True
    sink = hec(url="https://hec.invalid:8088", proxy_url=proxy.url)
    assert sink.send(Lane.RISK, queue(2)) == failed("proxy_failed")


def test_a_proxy_that_is_not_there_is_trouble_of_the_proxy(hec: Callable[..., HecSink]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy_url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        sink = hec(url="https://hec.invalid:8088", proxy_url=proxy_url)
        assert sink.send(Lane.RISK, queue(2)) == failed("proxy_failed")


# --- TLS


def test_a_server_whose_authority_is_configured_is_believed(
    tls_server: ScriptedHec, hec: Callable[..., HecSink], authority: Path
) -> None:
    sink = hec(url=tls_server.url, tls=TlsSettings(str(authority / "ca.pem")))
    for _ in range(3):
        assert sink.send(Lane.RISK, queue(2)).result == "accepted"
    assert tls_server.connections == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_that_proves_nothing_is_told_nothing(
    tls_server: ScriptedHec, hec: Callable[..., HecSink], authority: Path, host: str
) -> None:
    """An authority that this machine does not know; a name that is not in the certificate."""
    tls = TlsSettings(str(authority / "ca.pem")) if host != "localhost" else TlsSettings()
    sink = hec(url=f"https://{host}:{tls_server.port}", tls=tls)
    assert sink.send(Lane.RISK, queue(2)) == failed("tls_failed")
    assert tls_server.requests == []


def test_verification_can_be_turned_off_and_says_so(
    tls_server: ScriptedHec, hec: Callable[..., HecSink], logs: list[Any]
) -> None:
    sink = hec(url=f"https://127.0.0.1:{tls_server.port}", tls=TlsSettings(insecure_skip_verify=True))
    assert sink.send(Lane.RISK, queue(2)).result == "accepted"
    assert (logs[0]["event"], logs[0]["log_level"]) == ("exporter.tls_unverified", "warning")


def test_tls_goes_through_a_proxy_end_to_end(
    tls_server: ScriptedHec, hec: Callable[..., HecSink], authority: Path, proxy: TinyProxy
) -> None:
    sink = hec(url=tls_server.url, tls=TlsSettings(str(authority / "ca.pem")), proxy_url=proxy.url)
    for _ in range(2):
        assert sink.send(Lane.RISK, queue(2)).result == "accepted"
    [line] = proxy.asked
    assert line.startswith(f"CONNECT localhost:{tls_server.port} HTTP/1.")


def test_a_tls_reply_that_drips_does_not_outlast_the_deadline(
    tls_server: ScriptedHec, hec: Callable[..., HecSink], authority: Path
) -> None:
    tls_server.script.append(Answer(raw=itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")))
    tls = TlsSettings(str(authority / "ca.pem"))
    sink = hec(url=tls_server.url, tls=tls, request_timeout_s=12.0, clock=Ticking())
    assert sink.send(Lane.RISK, queue(2)).outcomes == ()


def test_a_server_that_does_not_speak_tls(hec: Callable[..., HecSink]) -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with contextlib.suppress(OSError):  # the client has its answer, and may be gone
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        sink = hec(url=f"https://127.0.0.1:{listener.getsockname()[1]}")
        assert sink.send(Lane.RISK, queue(2)) == failed("tls_failed")
        thread.join()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_loaded_is_named(
    hec: Callable[..., HecSink], tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(
        ValueError, match=r"^exporter\.hec\.tls\.ca_file: .*; want certificates in PEM$"
    ) as refused:
        hec(tls=TlsSettings(str(path)))
    assert str(path) in str(refused.value)


def test_a_ca_file_that_changes_is_read_again_without_a_restart(
    tls_server: ScriptedHec, hec: Callable[..., HecSink], authority: Path, tmp_path: Path, logs: list[Any]
) -> None:
    """From a stranger's, over rubbish and nothing, to the right authority, and away again."""
    path = tmp_path / "ca.pem"
    path.write_text((authority / "stranger.pem").read_text())
    sink = hec(url=tls_server.url, tls=TlsSettings(str(path)))
    assert sink.send(Lane.RISK, queue(2)) == failed("tls_failed")
    path.write_text("half a certificate")
    assert sink.send(Lane.RISK, queue(2)) == failed("tls_failed")
    path.unlink()
    assert sink.send(Lane.RISK, queue(2)) == failed("tls_failed")
    path.write_text((authority / "ca.pem").read_text())
    for _ in range(3):
        assert sink.send(Lane.RISK, queue(2)).result == "accepted"
    connections = tls_server.connections
    path.write_text("rubbish")
    assert sink.send(Lane.RISK, queue(2)).result == "accepted"
    assert tls_server.connections == connections  # nothing changes for what works
    assert [log["event"] for log in logs if log["event"].startswith("exporter.ca")] == [
        "exporter.ca_kept",
        "exporter.ca_kept",
        "exporter.ca_loaded",
        "exporter.ca_kept",
    ]
