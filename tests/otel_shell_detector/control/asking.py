"""A client of the control socket, and what the server has logged and counted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from otel_shell_detector import unix_socket
from telemetry import metrics

if TYPE_CHECKING:
    import io
    import socket

    from otel_shell_detector.control import ControlServer


COUNTS = {
    "waiting": {"risk": 1, "context": 0, "audit": 2},
    "dead": [
        {"origin": "context", "reason": "too_large", "letters": 1},
        {"origin": "journal", "reason": "ValueError", "letters": 1},
        {"origin": "risk", "reason": "event_invalid", "letters": 2},
    ],
}
"""What the store of these tests holds."""


def open_to(server: ControlServer) -> socket.socket:
    return unix_socket.connect(server.path, 60)


def rest(connection: socket.socket) -> bytes:
    """What comes until the server hangs up; by then it has counted, too."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def raw(server: ControlServer, request: bytes) -> bytes:
    with open_to(server) as connection:
        connection.sendall(request)
        return rest(connection)


def ask(server: ControlServer, **request: object) -> Any:
    return json.loads(raw(server, json.dumps(request).encode() + b"\n"))


def told(log: io.StringIO, name: str) -> list[dict[str, Any]]:
    """The log events of that name, without what depends on the moment."""
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [
        {key: value for key, value in line.items() if key not in {"timestamp", "event", "at"}}
        for line in lines
        if line["event"] == name
    ]


def results() -> dict[str, float]:
    return _samples("control_requests", "result")


def changes() -> dict[str, float]:
    return _samples("control_changes", "ask")


def _samples(name: str, label: str) -> dict[str, float]:
    return {
        sample.labels[label]: sample.value
        for family in metrics.REGISTRY.collect()
        for sample in family.samples
        if sample.name == f"otel_shell_detector_{name}_total"
    }


def moved(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
