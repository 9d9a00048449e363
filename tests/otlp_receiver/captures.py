"""Requests of real collectors."""

from __future__ import annotations

from pathlib import Path

from detector.types import CommandLine
from otlp_receiver.selection import Match, Selection

CAPTURES = Path(__file__).parents[1] / "captures"
SHELLS = ("sh", "bash", "csh", "tcsh")


def clean(text: str) -> CommandLine:
    return CommandLine(text, len(text.encode()))


BY_NAME = Selection(SHELLS, clean)
BY_BOTH = Selection(SHELLS, clean, match=(Match.NAME, Match.PATH))


def bare(name: str) -> bytes:
    """A capture that is one request."""
    return (CAPTURES / name).read_bytes()


def requests(name: str) -> list[bytes]:
    """A capture that is requests, each behind its length in four bytes, big endian."""
    raw = (CAPTURES / name).read_bytes()
    bodies = []
    while raw:
        size = int.from_bytes(raw[:4], "big")
        bodies.append(raw[4 : 4 + size])
        raw = raw[4 + size :]
    return bodies


def real_requests() -> list[bytes]:
    return [
        *requests("worker-1.pb"),
        *requests("worker-4.pb"),
        bare("scrape-300.pb"),
        bare("scrape-300-quiet.pb"),
    ]
