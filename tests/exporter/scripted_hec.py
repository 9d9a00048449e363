"""A HEC server that answers as a test tells it to.

It is a fake, and has to be one: the real server that our end-to-end tests run (the collector's
``splunkhecreceiver``) checks no token, is never busy, and sends no slow, cut, endless or garbled reply. What
it does by default is what Splunk documents: check the token, take the events, answer code 0, with an
``ackId`` if the request has a channel. Attributes make it refuse events, lose them, forget its channels.
"""

import contextlib
import gzip
import itertools
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

TOKEN = "5e4f3c1a-0000-4000-8000-00000000beef"
ALL = 1 << 30


@dataclass(frozen=True)
class Request:
    """What a client sent; ``events`` are the objects of the body, ``connection`` counts connections."""

    line: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    @property
    def events(self) -> list[dict[str, Any]]:
        decoder, text, found = json.JSONDecoder(), self.body.decode(), []
        while text:
            envelope, end = decoder.raw_decode(text)
            found.append(envelope)
            text = text[end:].lstrip()
        return found


@dataclass(frozen=True)
class Answer:
    """An answer, after ``takes`` events were indexed. ``raw`` pieces are sent instead of a proper reply."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    takes: int = 0
    raw: Iterable[bytes] | None = None
    hang: bool = False

    def pieces(self) -> Iterable[bytes]:
        if self.raw is not None:
            return self.raw
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {"Content-Length": str(len(body)), "Content-Type": "application/json", **self.headers}
        lines = [f"HTTP/1.1 {self.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        return ["\r\n".join([*lines, "", ""]).encode() + body]


def refusal(status: int, code: int, number: int | None = None, **options: Any) -> Answer:
    """An answer with a HEC code, as Splunk words it."""
    body: dict[str, Any] = {"text": f"code {code}", "code": code}
    if number is not None:
        body["invalid-event-number"] = number
    return Answer(status, body, **options)


class ScriptedHec:
    """Listens on loopback. ``script`` is used up first, then ``always``; else it behaves."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.indexed: list[dict[str, Any]] = []
        self.script: deque[Answer] = deque()
        self.always: Answer | None = None
        self.tokens = {TOKEN}
        self.bad_token = (403, 4)
        self.valid_indexes: set[str | None] | None = None
        self.largest = 1 << 30
        # Events that it refuses, with the code; whether it says which of a request it is, and whether it
        # takes those before it (Splunk does)
        self.refused: dict[str, int] = {}
        self.numbered = True
        self.takes_before = True
        # Of acknowledgement: whether accepted events are indexed at all, whether a poll on a channel without
        # events since the start is refused (or all is false), and which channels there are
        self.indexes = True
        self.refuses_channels = False
        self.channels: set[str] = set()
        self.acked: dict[int, bool] = {}
        self.ack_at_once = True
        self.connections = 0
        self._tls = tls
        self._ack_ids = itertools.count()
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    @property
    def ids(self) -> list[str]:
        """Ids of the indexed events, in order, repetitions included."""
        return [envelope["event"]["event_id"] for envelope in self.indexed]

    @property
    def posts(self) -> list[Request]:
        """The requests that carried events."""
        return [request for request in self.requests if request.path == "/services/collector/event"]

    def restart(self) -> None:
        """Forget channels and acknowledgements; ids start at 0."""
        self.channels.clear()
        self.acked.clear()
        self._ack_ids = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with socket.socket() as knock:  # accept() is not woken by closing what it accepts on
            knock.connect(("127.0.0.1", self.port))
        for thread in self._threads[:1]:
            thread.join()
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):  # the client closed it already
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._over.is_set():
                connection.close()
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            with connection, connection.makefile("rb") as stream:
                while request := self._read(stream, number):
                    self.requests.append(request)
                    answer = self.script.popleft() if self.script else self.always or self._behave(request)
                    self._take(request, answer.takes)
                    for piece in answer.pieces():
                        connection.sendall(piece)
                    if answer.hang:
                        self._over.wait()
                    if answer.raw is not None:
                        return
        except OSError:
            connection.close()  # the client went away, or did not like our certificate

    @staticmethod
    def _read(stream: Any, number: int) -> Request | None:
        line = stream.readline().decode("latin-1").strip()
        if not line:
            return None
        headers = {}
        while header := stream.readline().decode().strip():
            name, _, value = header.partition(": ")
            headers[name.lower()] = value
        body = stream.read(length := int(headers["content-length"]))
        if len(body) < length:
            return None  # its sender is gone in the middle of it
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return Request(line, headers, body, number)

    def _take(self, request: Request, count: int) -> None:
        if count:
            self.indexed += request.events[:count]

    def _behave(self, request: Request) -> Answer:
        if request.headers.get("authorization", "").removeprefix("Splunk ") not in self.tokens:
            return refusal(*self.bad_token)
        if request.path.startswith("/services/collector/ack?channel="):
            return self._acknowledge(request)
        if request.path != "/services/collector/event":
            return Answer(404, b"not here")
        if len(request.body) > self.largest:
            return Answer(413, b"<html>too large</html>")
        if self.valid_indexes is not None and any(
            envelope.get("index") not in self.valid_indexes for envelope in request.events
        ):
            return refusal(400, 7)
        return self._index(request)

    def _acknowledge(self, request: Request) -> Answer:
        if self.refuses_channels and request.path.partition("=")[2] not in self.channels:
            return refusal(400, 11)
        asked = json.loads(request.body)["acks"]
        said = {ack: self.acked.get(ack, False) for ack in asked}
        # true is said once
        self.acked = {ack: known for ack, known in self.acked.items() if not said.get(ack)}
        return Answer(body={"acks": said})

    def _index(self, request: Request) -> Answer:
        for at, envelope in enumerate(request.events):
            event = envelope["event"]  # of a collector: a text
            if code := isinstance(event, dict) and self.refused.get(event["event_id"]):
                before = at if self.takes_before else 0
                return refusal(400, code, at if self.numbered else None, takes=before)
        body: dict[str, Any] = {"text": "Success", "code": 0}
        if channel := request.headers.get("x-splunk-request-channel"):
            self.channels.add(channel)
            body["ackId"] = next(self._ack_ids)
            self.acked[body["ackId"]] = self.ack_at_once
        return Answer(body=body, takes=ALL if self.indexes else 0)
