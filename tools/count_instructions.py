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
HANDLER: Final = ROOT / "tools/handle_requests.py"
CAPTURES: Final = {"without shells": "scrape-300-quiet.pb", "with two shells": "scrape-300.pb"}
FIRST: Final = 10
"""Requests of the short run; by then every shell is known and windows close."""
_TIME: Final = re.compile(rb"\x19(.{8})", re.DOTALL)
_SCRAPE_NS: Final = 10_000_000_000
_COLLECTED: Final = re.compile(r"Collected : (\d+)")


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
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, str(HANDLER)]
    done = subprocess.run(
        [*command, str(folder), str(often)],
        env=os.environ | {"PYTHONPATH": str(checkout), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
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
    asked = parser.parse_args()
    for what, capture in CAPTURES.items():
        here = per_request(ROOT, capture, asked.requests)
        line = f"a request {what}: {here:,} instructions"
        if asked.compare:
            there = per_request(asked.compare, capture, asked.requests)
            line += f", {there:,} in {asked.compare.name} ({here / there - 1:+.1%})"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
