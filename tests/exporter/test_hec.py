"""What the HEC sink sends, and how whole deliveries fare against servers that behave badly."""

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.events import Event, Lane, Queued
from exporter.hec import HecSink
from exporter.lanes import PaceSettings
from exporter.settings import HecSettings
from exporter.sink import Delivery, Directive
from tests.exporter.outbox import Clock, Outbox, event, queue, run
from tests.exporter.scripted_hec import TOKEN, Answer, ScriptedHec, refusal

RISK = [event(number) for number in range(100)]
RISK_IDS = [each.event_id for each in RISK]


def test_a_request_is_what_splunk_documents(server: ScriptedHec, hec: Callable[..., HecSink]) -> None:
    hec().send(Lane.RISK, queue(2))
    [request] = server.requests
    assert request.line == "POST /services/collector/event HTTP/1.1"
    assert request.headers["authorization"] == f"Splunk {TOKEN}"
    assert request.headers["content-encoding"] == "gzip"
    assert "x-splunk-request-channel" not in request.headers
    assert request.events == [json.loads(queued.event.body) for queued in queue(2)]


def test_compression_can_be_off_and_a_slash_behind_the_url_is_harmless(
    server: ScriptedHec, hec: Callable[..., HecSink]
) -> None:
    hec(gzip=False, url=f"{server.url}/").send(Lane.RISK, queue(1))
    [request] = server.posts
    assert "content-encoding" not in request.headers
    assert request.body == queue(1)[0].event.body


def test_one_connection_is_used_again(server: ScriptedHec, hec: Callable[..., HecSink]) -> None:
    sink = hec()
    server.script.extend([refusal(503, 9), Answer(302, b"x"), Answer(413, b"x" * 60_000)])
    for _ in range(6):
        sink.send(Lane.RISK, queue(2))
    assert [request.connection for request in server.requests] == [1] * 6


def test_a_connection_that_the_server_closed_while_idle_is_replaced(
    server: ScriptedHec, hec: Callable[..., HecSink]
) -> None:
    sink = hec()
    reply = b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"code":0}'
    server.script.append(Answer(raw=[reply]))
    assert sink.send(Lane.RISK, queue(1)).result == "accepted"
    while sink.send(Lane.RISK, queue(1)).result != "accepted":
        pass  # the close may be on its way still
    assert server.connections == 2


def test_a_batch_stays_within_its_size(server: ScriptedHec, hec: Callable[..., HecSink]) -> None:
    sink = hec(max_batch_bytes=1000)
    delivery = sink.send(Lane.RISK, queue(5, padding=300))
    assert (len(delivery.outcomes), delivery.tried) == (2, 2)
    assert sink.send(Lane.RISK, queue(1, padding=5000)).tried == 1
    assert len(server.posts[0].body) <= 1000


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "No such file or directory; want a file with a token"),
        (b"", "0 bytes; want one word of visible ASCII"),
        (b"two words", "9 bytes; want one word of visible ASCII"),
        (b"a\r\nX-Injected: yes", "18 bytes; want one word of visible ASCII"),
        (b"t\xc3\xb6ken", "6 bytes; want one word of visible ASCII"),
        (b"x" * 5000, "5000 bytes; want one word of visible ASCII"),
    ],
)
def test_without_a_usable_token_nothing_is_sent(
    server: ScriptedHec,
    hec: Callable[..., HecSink],
    token_file: Path,
    logs: list[Any],
    content: bytes | None,
    found: str,
) -> None:
    token_file.unlink()
    if content is not None:
        token_file.write_bytes(content)
    delivery = hec().send(Lane.RISK, queue(1))
    assert delivery == Delivery((), Directive.PAUSE_SINK, "token_unreadable", tried=1)
    assert server.requests == []
    assert [log["detail"] for log in logs] == [f"{token_file}: {found}"]


def test_a_token_file_that_becomes_unusable_leaves_the_last_token_in_use(
    server: ScriptedHec, hec: Callable[..., HecSink], token_file: Path
) -> None:
    sink = hec()
    sink.send(Lane.RISK, queue(1))
    token_file.write_bytes(b"")
    assert sink.send(Lane.RISK, queue(1)).result == "accepted"
    token_file.unlink()
    assert sink.send(Lane.RISK, queue(1)).result == "accepted"


def test_a_server_that_echoes_the_token_does_not_put_it_into_the_log(
    server: ScriptedHec, hec: Callable[..., HecSink], logs: list[Any]
) -> None:
    server.script.append(Answer(403, {"text": f"no: Splunk {TOKEN}" + "!" * 500, "code": 4}))
    hec().send(Lane.RISK, queue(1))
    assert TOKEN not in repr(logs)
    assert logs[-1]["detail"] == ("no: Splunk [redacted]" + "!" * 500)[:200]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 5), max_size=30), st.booleans())
def test_whatever_the_server_answers_nothing_is_lost_and_the_accepted_is_in_order(
    faults: list[int], ack: bool
) -> None:
    answers = [
        refusal(503, 9, takes=3),
        refusal(403, 4),
        refusal(400, 7),
        Answer(413, b""),
        Answer(200, b"<html>"),
        Answer(raw=[b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"], takes=1),
    ]
    with ScriptedHec() as server, tempfile.NamedTemporaryFile() as path:
        path.write(TOKEN.encode())
        path.flush()
        server.script.extend(answers[fault] for fault in faults)
        clock = Clock()
        sink = HecSink(HecSettings(server.url, path.name, ack=ack), clock, lambda: 0.0)
        outbox = Outbox(*RISK)
        run(outbox.deliverer(sink, clock, PaceSettings(batch_limit=32)), clock, lambda: not outbox.waiting)
        sink.close()
        dead = {event_id for event_id, _ in outbox.dead}
        assert {*outbox.done, *dead} == set(RISK_IDS)
        first = list(dict.fromkeys(server.ids))
        assert set(first) >= set(outbox.done)
        assert first == [each for each in RISK_IDS if each in set(first)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"url": ""},
            "exporter.hec.url: empty; want the base URL of the collector, such as https://splunk:8088",
        ),
        ({"url": "splunk:8088"}, "exporter.hec.url: 'splunk:8088'; want http:// or https:// and a host"),
        ({"proxy_url": "p:1"}, "exporter.hec.proxy_url: 'p:1'; want http:// or https:// and a host"),
        (
            {"ack": True, "ack_timeout_s": 5.0},
            "exporter.hec.ack_timeout: 5s; want 120s or more: indexing takes time",
        ),
    ],
)
def test_settings_say_what_they_want(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        HecSettings(**{"url": "http://h", "token_file": "t", **wrong})


def test_an_event_is_sent_as_it_was_encoded(server: ScriptedHec, hec: Callable[..., HecSink]) -> None:
    body = '{"event":{"event_id":"é 😀"}}'.encode()
    hec(gzip=False).send(Lane.RISK, [Queued(0, Event(Lane.RISK, "x", body))])
    assert server.posts[0].body == body
