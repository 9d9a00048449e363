"""Which processes are looked for, with everything that a scan needs computed once."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.types import CommandLine

DELETED: Final = b" (deleted)"
"""What the kernel appends to ``/proc/PID/exe`` when the file is gone (``d_path``)."""


class Match(enum.StrEnum):
    """By what a process is recognised."""

    NAME = "name"
    """``process.executable.name`` equals a watched name."""
    PATH = "path"
    """The base name of ``process.executable.path`` equals a watched name."""


def length_delimited(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field: tag, length, content. ``number`` is at most 15."""
    head = bytearray([number << 3 | 2])
    length = len(content)
    while length >= 0x80:  # noqa: PLR2004  # more than seven bits
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + content


def _text_value(text: bytes) -> bytes:
    return length_delimited(1, text)  # AnyValue.string_value


@dataclass(frozen=True, slots=True)
class Selection:
    """Which processes are looked for, and the bounds and rules of reading them.

    ``executables``: watched names. ``clean``: makes of a raw command line the redacted, cut one. ``match``:
    any of these is enough. ``cluster_name``: the cluster of resources that name none; empty: they are of
    ``unknown``. ``max_resources``: the most frames that a request may hold. The others follow from these:
    ``watched`` are the names as bytes, ``needles`` the byte strings one of which every frame of a watched
    process holds.
    """

    executables: tuple[str, ...]
    clean: Callable[[str], CommandLine]
    match: tuple[Match, ...] = (Match.NAME,)
    cluster_name: str = ""
    max_resources: int = 100_000
    watched: frozenset[bytes] = field(init=False, repr=False, compare=False)
    needles: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [name.encode() for name in dict.fromkeys(self.executables)]
        needles = [_text_value(name) for name in names]
        if Match.PATH in self.match:
            for name in names:
                needles += (b"/" + name, _text_value(name + DELETED))
        object.__setattr__(self, "watched", frozenset(names))
        object.__setattr__(self, "needles", tuple(needles))

    def matches(self, name: bytes, path: bytes) -> bool:
        """Whether a process of this name and executable path is watched."""
        if Match.NAME in self.match and name in self.watched:
            return True
        return Match.PATH in self.match and path.removesuffix(DELETED).rpartition(b"/")[2] in self.watched
