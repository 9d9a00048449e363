"""Mutations that keep a request readable, so that the fuzzer reaches what lies behind its lengths.

Changing bytes at random breaks a length in the first layer nearly always. Here one field, at any depth, is
changed, dropped, repeated or moved, and the lengths around it are written anew.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from fuzz.fields import LENGTH_DELIMITED, Field, fields_of
from tests.otlp_receiver.encode import varint
from tests.otlp_receiver.random_wire import (
    CLUSTER_KEYS,
    METRICS,
    NAMES,
    NODE_KEYS,
    NODE_VALUES,
    PATHS,
    STATES,
    RandomWire,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_WORDS: Final = [
    *NAMES,
    *PATHS,
    *NODE_KEYS,
    *NODE_VALUES,
    *CLUSTER_KEYS,
    *METRICS,
    *STATES,
    b"process.pid",
    b"process.executable.name",
    b"process.executable.path",
    b"process.command_line",
    b"state",
    b"cpu.mode",
]


def mutate(body: bytes, of_bytes: Callable[[bytes], bytes], seed: int) -> bytes:
    """A request near ``body``. ``of_bytes`` changes bytes that have no structure; equal seeds do the same."""
    randomness = random.Random(seed)  # noqa: S311  # the fuzzer's seed must lead here again
    match randomness.randrange(20):
        case 0:
            return RandomWire(seed).request()
        case 1 | 2 | 3 | 4:
            return of_bytes(body)
        case _:
            return _mutate_message(body, of_bytes, randomness)


def _mutate_message(message: bytes, of_bytes: Callable[[bytes], bytes], randomness: random.Random) -> bytes:
    fields = fields_of(message)
    if not fields:
        return randomness.choice(_WORDS) if randomness.randrange(2) else of_bytes(message)
    at = randomness.randrange(len(fields))
    field = fields[at]
    match randomness.randrange(12):
        case 0:
            del fields[at]
        case 1:
            fields.insert(randomness.randrange(len(fields) + 1), field)
        case 2:
            randomness.shuffle(fields)
        case 3:
            fields[at] = field._replace(number=randomness.choice([1, 2, 3, 4, 5, 7, 8, 15, 16, field.number]))
        case 4:
            return _with_long_length(fields, at)
        case _ if field.wire_type == LENGTH_DELIMITED:
            fields[at] = field._replace(content=_mutate_message(field.content, of_bytes, randomness))
        case _:
            fields[at] = field._replace(content=of_bytes(field.content))
    return b"".join(each.encoded() for each in fields)


def _with_long_length(fields: list[Field], at: int) -> bytes:
    """A tag in a byte more than it needs: no known encoder writes so, every parser reads it."""
    parts = [each.encoded() for each in fields]
    tag = varint(fields[at].number << 3 | fields[at].wire_type)
    longer = bytes([*tag[:-1], tag[-1] | 0x80, 0])
    parts[at] = longer + parts[at][len(tag) :]
    return b"".join(parts)
