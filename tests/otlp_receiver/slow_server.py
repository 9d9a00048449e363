"""A receiver in a process of its own, in front of a store that is slow: so that its memory is its own.

    python -m tests.otlp_receiver.slow_server COMMIT_SECONDS

Its store commits one request at a time. It prints its port, and stops when its input ends.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

import structlog

from otlp_receiver.server import NotAccepted, Server, ServerSettings
from tests.otlp_receiver.captures import BY_NAME

if TYPE_CHECKING:
    from detector.types import Record

ACCEPT_TIMEOUT_S = 4.0


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    commit_seconds = float(sys.argv[1])
    disk = threading.Lock()

    def accept(_: tuple[Record, ...]) -> None:
        if not disk.acquire(timeout=ACCEPT_TIMEOUT_S):
            raise NotAccepted
        try:
            time.sleep(commit_seconds)
        finally:
            disk.release()

    server = Server(ServerSettings(endpoint="127.0.0.1:0"), BY_NAME, accept)
    server.start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(10)


if __name__ == "__main__":
    main()
