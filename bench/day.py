"""A day of one node, as the collector's file exporter writes it (``format: proto, compression: zstd``).

It is the real scrape of 300 processes and two shells, again and again, 10 s apart; the shells live all day.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backports import zstd

from bench.workload import later

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRAPE: Final = Path(__file__).resolve().parent.parent / "tests/captures/scrape-300.pb"
DAY: Final = 8_640
"""Scrapes of a day."""
_AT_ONCE: Final = 40
"""Scrapes that are made at a time."""


def _message(body: bytes, scrapes: int) -> bytes:
    packed = zstd.compress(later(body, scrapes))
    return len(packed).to_bytes(4) + packed


def write_day(path: Path, scrapes: int) -> int:
    """Write so many scrapes; return their bytes before compression."""
    body = SCRAPE.read_bytes()
    with ProcessPoolExecutor(os.cpu_count()) as pool, path.open("wb") as file:
        for message in pool.map(partial(_message, body), range(scrapes), chunksize=_AT_ONCE):
            file.write(message)
    return scrapes * len(body)


def bodies(scrapes: int) -> Sequence[bytes]:
    """The first scrapes of the day, uncompressed, in memory."""
    body = SCRAPE.read_bytes()
    return [later(body, each) for each in range(scrapes)]
