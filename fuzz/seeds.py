"""Where the fuzzer starts: small requests cut from the captures of real collectors, and some of our own.

python -m fuzz.seeds DIRECTORY
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Final

from fuzz.fields import fields_of
from tests.otlp_receiver.captures import real_requests
from tests.otlp_receiver.encode import varint
from tests.otlp_receiver.random_wire import RandomWire

LARGEST: Final = 6 * 1024
"""Bytes of a request. A frame of a real collector has about 2 KiB, and two or three must fit."""
_RANDOM_SEEDS: Final = 400


def seeds() -> list[bytes]:
    """Requests, each of at most :data:`LARGEST` bytes."""
    found = [b"", varint(100 << 3 | 3) + varint(100 << 3 | 4), b"\x08" + b"\xff" * 9 + b"\x01"]
    for body in real_requests():
        frames = [field.encoded() for field in fields_of(body) or ()]
        step = max(1, len(frames) // 12)
        found += [first + second for first, second in zip(frames[::step], frames[1::step], strict=False)]
    found += [RandomWire(seed).request() for seed in range(_RANDOM_SEEDS)]
    return [each for each in dict.fromkeys(found) if len(each) <= LARGEST]


def name_of(body: bytes) -> str:
    """The name of a file of the corpus: libFuzzer's, so that it knows what it has."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def main(directory: Path) -> None:
    """Write the seeds."""
    directory.mkdir(parents=True, exist_ok=True)
    for body in seeds():
        (directory / name_of(body)).write_bytes(body)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
