"""The token is in one header of our requests and nowhere else, whatever the peer does with it."""

import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.events import Lane
from exporter.bounded_http import HttpClient, Unreachable
from exporter.hec import HecSink
from exporter.settings import HecSettings, TlsSettings
from exporter.sink import Directive
from exporter.token_file import TokenError, TokenFile
from tests.exporter.outbox import Clock, Outbox, event, queue
from tests.exporter.scripted_hec import Answer, ScriptedHec

SENTINEL = "5e4f3c1a-0000-4000-8000-0000005ec4e7"
BACKSLASHES = "a\\b\\\\c'd\"5ec4e7"


def echoes(token: str) -> dict[str, Answer]:
    """What a peer may do with a token that it was given."""
    raw = token.encode()
    head = b"HTTP/1.1 200 OK\r\n"
    return {
        "json": Answer(403, {"text": f"bad token {token}", "code": 4}),
        "json-long": Answer(403, {"text": "x" * 150 + token * 50, "code": 4}),
        "page": Answer(500, b"<html>Authorization: Splunk " + raw),
        "success": Answer(200, {"text": token, "code": 0}),
        "named": Answer(400, {"text": token, "code": 6, "invalid-event-number": 0}),
        "poll": Answer(200, {"text": token, "acks": {token: True}}),
        "header": Answer(503, b"", {"Retry-After": token, "Location": f"http://{token}/", "X-Splunk": token}),
        "reason": Answer(raw=[b"HTTP/1.1 403 " + raw + b"\r\nContent-Length: 0\r\n\r\n"]),
        "status-line": Answer(raw=[b"Splunk " + raw + b"\r\n\r\n"]),
        "status": Answer(raw=[b"HTTP/1.1 " + raw + b" OK\r\n\r\n"]),
        "version": Answer(raw=[raw + b" 200 OK\r\n\r\n"]),
        "no-header": Answer(raw=[head + raw + b"\r\nX: y\r\n\r\n"]),
        "header-name": Answer(raw=[head + raw + b" : y\r\n\r\n"]),
        "length": Answer(raw=[head + b"Content-Length: 1, " + raw + b"\r\n\r\n"]),
        "lengths": Answer(raw=[head + b"Content-Length: 1, 2\r\nX: " + raw + b"\r\n\r\n"]),
        "coding": Answer(raw=[head + b"Transfer-Encoding: " + raw + b"\r\n\r\n"]),
        "chunk": Answer(raw=[head + b"Transfer-Encoding: chunked\r\n\r\n" + raw + b"\r\n"]),
        "cut": Answer(raw=[head + b"Content-Length: 999\r\n\r\n" + raw]),
    }


@pytest.mark.parametrize("token", [SENTINEL, BACKSLASHES])
@pytest.mark.parametrize("name", echoes(""))
def test_a_peer_that_sends_the_token_back_does_not_get_it_into_any_log(
    server: ScriptedHec,
    hec: Callable[..., HecSink],
    clock: Clock,
    token_file: Path,
    logs: list[Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    name: str,
    token: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    token_file.write_text(token)
    server.tokens = {token}
    server.script.extend([echoes(token)[name]] * 3)
    outbox = Outbox(event(0), event(1))
    deliverer = outbox.deliverer(hec(ack=True), clock)
    for _ in range(8):
        clock.now += deliverer.turn(clock.now)
    assert len(server.script) < 3
    assert token in server.requests[0].headers["authorization"]
    output = capfd.readouterr()
    said = json.dumps(logs, default=repr) + repr(logs) + caplog.text + output.out + output.err
    assert "5ec4e7" not in said
    assert token not in repr(outbox.dead)
    assert any("result" in log for log in logs)


def test_the_token_is_in_no_exception_and_no_representation(
    server: ScriptedHec, hec: Callable[..., HecSink], token_file: Path
) -> None:
    token_file.write_text(SENTINEL)
    sink = hec(ack=True)
    sink.send(Lane.RISK, queue(1))
    client = HttpClient(proxy_url="", tls=TlsSettings(), timeout_s=5.0, clock=Clock())
    tokens = TokenFile(str(token_file))
    assert tokens.read() == SENTINEL
    shown = [
        repr(each) for each in (sink, sink._settings, sink._token, sink._client, sink._acks, client, tokens)
    ]
    for url in (f"http://localhost:{server.port}", "https://localhost:1", "http://localhost:1"):
        server.script.append(Answer(raw=[]))
        with pytest.raises(Unreachable) as caught:
            client.post(url, b"", {"Authorization": f"Splunk {SENTINEL}"})
        shown.append("".join(traceback.format_exception(caught.value)))
    client.close()
    broken = token_file.with_name("broken")
    broken.write_text(f"{SENTINEL} {SENTINEL}")
    with pytest.raises(TokenError) as refused:
        TokenFile(str(broken)).read()
    shown.append("".join(traceback.format_exception(refused.value)))
    assert SENTINEL not in "".join(shown)


@pytest.mark.parametrize("key", ["url", "proxy_url"])
@pytest.mark.parametrize(
    "url", ["http://user:5ec4e7@proxy:3128", "user:5ec4e7@proxy:3128", "http://5ec4e7@h"]
)
def test_a_password_in_a_url_is_refused_and_not_shown(key: str, url: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^exporter\.hec\.{key}: a user name or password; want "
    ) as refused:
        HecSettings(url if key == "url" else "http://h", "t", proxy_url=url if key == "proxy_url" else "")
    assert "5ec4e7" not in "".join(traceback.format_exception(refused.value)).split("ValueError:")[1]


HEADS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: ",
        b"HTTP/1.1 400 Bad\r\nContent-Length: 40\r\n\r\n",
        b"HTTP/1.0 200\r\n\r\n",
        b"",
    ]
)
TAILS = st.sampled_from(
    [b"", b"\r\n\r\n", b'{"code":0}', b"5\r\n", b"0\r\n\r\n", b'{"code":6,"invalid-event-number":']
)


def test_no_bytes_of_a_peer_make_the_sink_raise(server: ScriptedHec, hec: Callable[..., HecSink]) -> None:
    """Nor take an event out of a delivery, but by code 0 or a refusal of a named one."""
    sink = hec()

    @settings(max_examples=300, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.one_of(HEADS, TAILS, st.binary(max_size=30)), max_size=5).map(b"".join))
    def check(raw: bytes) -> None:
        server.script.clear()
        server.script.append(Answer(raw=[raw]))
        delivery = sink.send(Lane.RISK, queue(3))
        if b'"code"' not in raw:
            assert delivery.outcomes == ()
            assert delivery.directive is not Directive.PROCEED

    check()
