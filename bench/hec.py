"""A HEC server that takes everything and knows when it came; that of the tests does not write it down."""

from __future__ import annotations

import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

_ANSWER: Final = b'{"text":"Success","code":0}'


class Hec:
    """It listens from the beginning until :meth:`close`."""

    ack = False

    def __init__(self) -> None:
        self._batches: list[tuple[float, bytes]] = []
        batches = self._batches

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # the answer in one segment

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                batches.append((time.monotonic(), body))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(_ANSWER)))
                self.end_headers()
                self.wfile.write(_ANSWER)
                self.wfile.flush()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="hec")
        self._thread.start()
        self._read: list[tuple[float, dict[str, Any]]] = []
        self._batches_read = 0

    def arrived(self) -> list[tuple[float, dict[str, Any]]]:
        """Each envelope so far, with the monotonic time of its arrival."""
        batches = self._batches[self._batches_read :]
        self._batches_read += len(batches)
        for at_s, body in batches:
            self._read += [(at_s, envelope) for envelope in _envelopes(body)]
        return self._read

    def envelopes(self, source: str) -> list[dict[str, Any]]:
        """What arrived from one service."""
        return [envelope for _, envelope in self.arrived() if envelope["source"] == source]

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _envelopes(body: bytes) -> list[dict[str, Any]]:
    text = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    return [json.loads(line) for line in text.splitlines()]
