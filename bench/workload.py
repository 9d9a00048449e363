"""The requests of a run: real scrapes of 300 processes, each from as many nodes as are asked for.

Each request is one node's scrape, ten seconds after its last: its data points are dated so, and the node has
a name of its own. All else are the bytes that a collector sent. There are real scrapes without a shell and
with two. One with more is made of the second: the frames of its two shells are there again, with other pids.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Final

from otlp_receiver.descriptors import FRAMES, RESOURCE_METRICS

CAPTURES: Final = Path(__file__).resolve().parent.parent / "tests/captures"
QUIET: Final = "scrape-300-quiet.pb"
TWO_SHELLS: Final = "scrape-300.pb"

SCRAPE_NS: Final = 10_000_000_000

_NODE: Final = b"worker-300"  # and its host is worker-300.example.internal
_PIDS: Final = (304, 305)  # of the two shells
_FREE_PIDS: Final = 2000
"""From here on there are pids that no process of the scrape has."""
_PID: Final = b"\x12\x03\x18%b\x0a\x0bprocess.pid"
"""An attribute as the collector writes it: its value, then its name."""
_TIME: Final = re.compile(rb"\x19(.{8})", re.DOTALL)


def scrape(shells: int) -> bytes:
    """A scrape with so many shells. Raises :class:`ValueError` for an odd number: there are two to copy."""
    if not shells:
        return (CAPTURES / QUIET).read_bytes()
    if shells % len(_PIDS):
        raise ValueError(f"{shells} shells: want a multiple of {len(_PIDS)}")
    body = (CAPTURES / TWO_SHELLS).read_bytes()
    frames = [frame for frame in FRAMES.FromString(body).resource_metrics if _shell_of(frame)]
    copies = (
        frame.replace(_pid(_shell_of(frame)), _pid(_FREE_PIDS + number * len(_PIDS) + which))
        for number in range(shells // len(_PIDS) - 1)
        for which, frame in enumerate(frames)
    )
    return body + bytes(FRAMES(resource_metrics=copies).SerializeToString())


def _shell_of(frame: bytes) -> int:
    """The pid of the shell that a frame is of, else 0."""
    return next((pid for pid in _PIDS if _pid(pid) in frame), 0)


def _pid(pid: int) -> bytes:
    return _PID % bytes((pid & 0x7F | 0x80, pid >> 7))  # a varint of two bytes


def scrapes_until(body: bytes, now_ns: int) -> int:
    """How many scrapes after a real one it is now."""
    frame = RESOURCE_METRICS.FromString(FRAMES.FromString(body).resource_metrics[0])
    metric = frame.scope_metrics[0].metrics[0]
    [point, *_] = getattr(metric, metric.WhichOneof("data")).data_points
    return int((now_ns - point.time_unix_nano) // SCRAPE_NS)


def later(body: bytes, scrapes: int) -> bytes:
    """A scrape as it is so many scrapes later: the times of its data points move, all else stays."""
    times = [struct.unpack("<Q", found)[0] for found in _TIME.findall(body)]
    near = sorted(times)[len(times) // 2]

    def move(found: re.Match[bytes]) -> bytes:
        (time_ns,) = struct.unpack("<Q", found[1])
        if abs(time_ns - near) > SCRAPE_NS:
            return found[0]  # these bytes only look like a time
        return b"\x19" + struct.pack("<Q", time_ns + scrapes * SCRAPE_NS)

    return _TIME.sub(move, body)


def size_of(body: bytes) -> tuple[int, int]:
    """How many processes a request holds, and how many data points."""
    frames = [RESOURCE_METRICS.FromString(frame) for frame in FRAMES.FromString(body).resource_metrics]
    metrics = [metric for frame in frames for scope in frame.scope_metrics for metric in scope.metrics]
    return len(frames), sum(len(getattr(metric, metric.WhichOneof("data")).data_points) for metric in metrics)


def of_nodes(body: bytes, nodes: int, scrapes: int) -> list[bytes]:
    """The same scrape from so many nodes, so many scrapes later."""
    moved = later(body, scrapes)
    return [moved.replace(_NODE, b"w%09d" % node) for node in range(nodes)]
