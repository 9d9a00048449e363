"""The shape of a command line: what stays when the same thing is run again.

Numbers, hex, UUIDs, times and temporary paths vary from run to run and are replaced; all else stands as it
is. Two commands that differ in nothing else are one command to who folds them or proposes a policy for them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

HASH_LENGTH: Final = 16
"""Hex digits of a template's hash: 64 bits, far more than the templates that a cluster has."""

# A path ends where a word or a shell's operator does.
_PATH: Final = r"""[^\s"'`;|&<>(){}=,:]"""
_HEX: Final = "[0-9A-Fa-f]"
_START: Final = "(?<![0-9A-Za-z])"
_END: Final = "(?![0-9A-Za-z])"
_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK: Final = "[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]++)?"
_VARYING: Final = re.compile(
    rf"""
    (?=[/t0-9A-Fa-f])                      # what all of them begin with: a quick no for most characters
    (?: (?P<tmp>
            (?<![\w./-])                   # not inside of a path: /srv/tmp/ is no temporary directory
            (?: (?:/var)?/tmp/ | /dev/shm/ | (?:/var)?/run/user/[0-9] ) {_PATH}++
          | \btmp\.[A-Za-z0-9]{{6,}}+        # mktemp(1), in any directory
        )
      | (?P<uuid> {_START} {_HEX}{{8}} ([-_]) (?: {_HEX}{{4}}\3 ){{3}} {_HEX}{{12}} {_END} )
      | (?P<time>
            (?<![0-9])
            (?: {_DATE} (?: [T_ ] {_CLOCK} (?: Z | [+-][0-9]{{2}}:?[0-9]{{2}} )? )? | {_CLOCK} )
            (?![0-9])
        )
        # One mark for hex and numbers: of 43 ids in hex of eight digits, one has no letter.
      | (?P<n> {_START} {_HEX}{{8,}}+ {_END} | 0[xX]{_HEX}++ | [0-9]++ (?: \.[0-9]++ )*+ )
    )
    """,
    re.VERBOSE,
)
_NUMBER: Final = re.compile(r"[0-9]++(?:\.[0-9]++)*+")


def normalize(text: str) -> str:
    """The text with what varies replaced by ``<tmp>``, ``<uuid>``, ``<time>`` or ``<n>``.

    White space becomes single blanks. Linear in the length of the text. No digit (0-9) is left.
    """
    return _VARYING.sub(_mark, " ".join(text.split()))


def template_of(command_line: str) -> str:
    """The hash (hex) of a command line's normalized text; empty if there is none."""
    normal = normalize(command_line)
    if not normal:
        return ""
    return hashlib.sha256(normal.encode("utf-8", "backslashreplace")).hexdigest()[:HASH_LENGTH]


def _mark(found: re.Match[str]) -> str:
    kind = found.lastgroup
    if kind == "tmp" and "/.." in found[0]:  # it leads out of the directory, to where it matters
        return _NUMBER.sub("<n>", found[0])
    return f"<{kind}>"
