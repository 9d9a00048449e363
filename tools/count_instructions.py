#!/usr/bin/env python3
"""How many instructions the hot path takes: what one request costs, counted by valgrind.

A request is read and its records are fed to the detector, which runs what is due, one scrape after the other:
that of 300 processes without a shell, and the one with two. Shells are new in the first requests alone.
Start-up falls out of the difference between two runs. Instructions, unlike seconds, are the same on a busy
machine. ``--compare`` counts another checkout too, with the same interpreter.
"""

from __future__ import annotations

import argparse
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CAPTURES: Final = {"without shells": "scrape-300-quiet.pb", "with two shells": "scrape-300.pb"}
FIRST: Final = 10
"""Requests of the short run; by then every shell is known and windows close."""
_TIME: Final = re.compile(rb"\x19(.{8})", re.DOTALL)
_SCRAPE_NS: Final = 10_000_000_000
_COLLECTED: Final = re.compile(r"Collected : (\d+)")


def handle(folder: Path, often: int) -> None:
    """Read and feed the requests of a folder: what is counted."""
    from detector.detector import Detector  # noqa: PLC0415  # of the checkout that is counted
    from detector.rules import Rules  # noqa: PLC0415
    from detector.types import Arrival  # noqa: PLC0415
    from exporter.redaction import Redactor  # noqa: PLC0415
    from otlp_receiver.reading import read_request  # noqa: PLC0415
    from otlp_receiver.selection import Selection  # noqa: PLC0415

    selection = Selection(("sh", "bash", "csh", "tcsh"), Redactor(()).clean)
    detector = Detector(Rules())
    for number in range(often):
        now_ns = number * _SCRAPE_NS
        for record in read_request((folder / str(number)).read_bytes(), selection, detector).records:
            detector.unknown(record)
            detector.is_vital(record)
            detector.feed(Arrival(record, now_ns, now_ns))
        detector.advance(now_ns)
        detector.take_step()


def later(body: bytes, scrapes: int) -> bytes:
    """A scrape as it is so many scrapes later: the times of its data points move, all else stays."""
    times = [struct.unpack("<Q", found)[0] for found in _TIME.findall(body)]
    near = sorted(times)[len(times) // 2]

    def move(found: re.Match[bytes]) -> bytes:
        (time_ns,) = struct.unpack("<Q", found[1])
        if abs(time_ns - near) > _SCRAPE_NS:
            return found[0]  # these bytes only look like a time
        return b"\x19" + struct.pack("<Q", time_ns + scrapes * _SCRAPE_NS)

    return _TIME.sub(move, body)


def count(checkout: Path, folder: Path, often: int) -> int:
    """Instructions of a process that handles so many requests."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, __file__]
    done = subprocess.run(
        [*command, "--handle", str(folder), str(often), "--checkout", str(checkout)],
        env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = _COLLECTED.search(done.stderr)
    if done.returncode or not found:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr}")
    return int(found[1])


def per_request(checkout: Path, capture: str, requests: int) -> int:
    """Instructions of one more request."""
    body = (ROOT / "tests/captures" / capture).read_bytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(FIRST + requests):
            (folder / str(number)).write_bytes(later(body, number))
        return (count(checkout, folder, FIRST + requests) - count(checkout, folder, FIRST)) // requests


def main() -> None:
    """Print a line for each kind of request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compare", type=Path, metavar="CHECKOUT", help="count that of another checkout too")
    parser.add_argument("--requests", type=int, default=20, help="requests between the two runs")
    parser.add_argument("--handle", nargs=2, metavar=("FOLDER", "OFTEN"), help=argparse.SUPPRESS)
    parser.add_argument("--checkout", type=Path, default=ROOT, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.handle:
        sys.path.insert(0, str(asked.checkout))
        return handle(Path(asked.handle[0]), int(asked.handle[1]))
    for what, capture in CAPTURES.items():
        here = per_request(ROOT, capture, asked.requests)
        line = f"a request {what}: {here:,} instructions"
        if asked.compare:
            there = per_request(asked.compare, capture, asked.requests)
            line += f", {there:,} in {asked.compare.name} ({here / there - 1:+.1%})"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return None


if __name__ == "__main__":
    main()
