r"""Matchers as Alertmanager writes them, in its UTF-8 form: ``process.owner="root",systemd.unit=~"cron.*"``.

A name or a value stands bare, without white space and none of ``{}!=~,\"'` ``, or in double quotes, in which
a backslash escapes as in Go. Braces around the whole are optional, and so is a comma at its end.
What differs from Alertmanager is listed in ``docs/policies.md``.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

import re2

from detector.policy import FIELDS, Matcher, Operator
from otel_shell_detector.kinds import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST_PATTERN: Final = 1024
"""Bytes."""
LARGEST_PROGRAM: Final = 2000
"""Instructions of a compiled pattern. RE2 takes at most this times the length of the text, as it does for
``[ab]*a[ab]{500}``: a few tens of milliseconds for a command line of 2 KiB. A counted repetition is written
out, so that few characters can make many instructions.
"""
_LONGEST_NAME: Final = 80
"""Characters of a name that is none: what it is like is looked for in square time."""
_PATTERN_MEMORY: Final = 1 << 20
"""Bytes that a pattern and what RE2 remembers of its states may take; when they are used up it forgets."""

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<mark>[{},])
      | (?P<operator>=~|!=|!~|=)
      | (?P<quoted>"(?:[^"\\\n]|\\.)*")
      | (?P<bare>[^\s{}!=~,\\"'`]+)
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(
    r"""\\(?:
        (?P<simple>[abfnrtv\\"])
      | (?P<octal>[0-3][0-7]{2})
      | x(?P<byte>[0-9a-fA-F]{2})
      | (?:u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))
    )""",
    re.VERBOSE,
)
_SIMPLE: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}


_LONG_ESCAPE: Final = 0x1_0000
_WRITTEN: Final = {character: f"\\{letter}" for letter, character in _SIMPLE.items()}


class MatcherError(ValueError):
    """A text that is no list of matchers; the message says what was found, and what was wanted."""


def parse(text: str) -> list[Matcher]:
    """The matchers of a text, at least one. Raises :class:`MatcherError`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MatcherError("got half a surrogate pair; want characters of Unicode") from None
    tokens = _tokens(text)
    kind, piece, at = next(tokens)
    braced = piece == "{"
    if braced:
        kind, piece, at = next(tokens)
    found: list[Matcher] = []
    while kind in {"bare", "quoted"}:
        name = _plain(kind, piece, at)
        operator = _expect(tokens, {"operator"}, "an operator: =, !=, =~ or !~")
        value = _expect(tokens, {"bare", "quoted"}, "a value, in double quotes if it is not a plain word")
        found.append(_matcher(name, Operator(operator), value))
        kind, piece, at = next(tokens)
        if piece != ",":
            break
        kind, piece, at = next(tokens)
    if braced:
        if piece != "}":
            raise _unexpected(
                kind, piece, at, "a comma and another matcher, or }" if found else "a matcher or }"
            )
        kind, piece, at = next(tokens)
    if kind != "end":
        raise _unexpected(kind, piece, at, "the end or a comma and another matcher" if found else "a matcher")
    if not found:
        raise MatcherError('got none; want at least one, such as systemd.unit="cron.service"')
    return found


def write(name: str, operator: Operator, value: str) -> str:
    """A matcher that :func:`parse` reads, of printable characters on one line, whatever the value holds."""
    return f'{name}{operator}"{"".join(map(_character, value))}"'


def _character(character: str) -> str:
    if character in _WRITTEN:
        return _WRITTEN[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < _LONG_ESCAPE else f"\\U{code:08x}"


_Token = tuple[str, str, int]


def _tokens(text: str) -> Iterator[_Token]:
    """Kind, text and place of each token; after the last comes the end, again and again."""
    place = 0
    while True:
        match = _TOKEN.match(text, place)
        if match is None:
            rest = text[place:].lstrip()
            at = len(text) - len(rest) + 1
            if rest.startswith('"'):
                raise MatcherError(f'got {show(rest)} at character {at}; want " at its end, on one line')
            raise MatcherError(
                f"got {show(rest[0])} at character {at}; want it in double quotes, with what it belongs to"
            )
        kind = match.lastgroup or ""
        yield kind, match[kind], match.start(kind) + 1
        place = match.end()


def _expect(tokens: Iterator[_Token], kinds: set[str], want: str) -> str:
    kind, piece, at = next(tokens)
    if kind not in kinds:
        raise _unexpected(kind, piece, at, want)
    return _plain(kind, piece, at)


def _unexpected(kind: str, piece: str, at: int, want: str) -> MatcherError:
    got = "the end" if kind == "end" else show(piece)
    return MatcherError(f"got {got} at character {at}; want {want}")


def _plain(kind: str, piece: str, at: int) -> str:
    if kind != "quoted":
        return piece
    inside, place, parts = piece[1:-1], 0, []
    while (escape := inside.find("\\", place)) >= 0:
        match = _ESCAPE.match(inside, escape)
        if match is None:
            raise MatcherError(
                f"got {show(inside[escape : escape + 2])} at character {at + 1 + escape}; want "
                r"one of \\ \" \a \b \f \n \r \t \v \ooo \xhh \uhhhh \Uhhhhhhhh"
            )
        parts += [inside[place:escape].encode(), _escaped(match, at + 1 + escape)]
        place = match.end()
    parts.append(inside[place:].encode())
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise MatcherError(f"got {show(piece)} at character {at}; want UTF-8") from None


def _escaped(match: re.Match[str], at: int) -> bytes:
    if simple := match["simple"]:
        return _SIMPLE[simple].encode()
    if octal := match["octal"]:
        return bytes([int(octal, 8)])
    if byte := match["byte"]:
        return bytes([int(byte, 16)])
    try:
        return chr(int(match["short"] or match["long"], 16)).encode()
    except (ValueError, OverflowError):  # UnicodeEncodeError, of half a surrogate pair, is a ValueError
        raise MatcherError(f"got {show(match[0])} at character {at}; want a character of Unicode") from None


def _matcher(name: str, operator: Operator, value: str) -> Matcher:
    if name not in FIELDS:
        (nearest,) = difflib.get_close_matches(name[:_LONGEST_NAME], FIELDS, n=1, cutoff=0.0)
        raise MatcherError(f"unknown field {show(name)}; did you mean {nearest}?")
    if operator in {Operator.EQUAL, Operator.NOT_EQUAL}:
        return Matcher(name, operator, value)
    return Matcher(name, operator, value, predicate(value))


def predicate(pattern: str) -> Callable[[str], bool]:
    """Whether a pattern, of RE2's syntax, matches the whole of a text. A dot matches a line end too.

    Raises :class:`MatcherError` for one that RE2 does not take, or that is larger than it needs to be.
    """
    length = len(pattern.encode())
    if length > LONGEST_PATTERN:
        raise MatcherError(f"got a pattern of {length} bytes; want at most {LONGEST_PATTERN}")
    options = re2.Options()
    options.dot_nl = True
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        (reason,) = error.args
        raise MatcherError(
            f"got {show(pattern)}; want a pattern of RE2 ({reason.decode(errors='replace')})"
        ) from None
    if compiled.programsize > LARGEST_PROGRAM:
        raise MatcherError(
            f"got {show(pattern)}, {compiled.programsize} instructions; want at most {LARGEST_PROGRAM}: "
            "repeat less often"
        )
    return lambda text: compiled.fullmatch(text.encode(errors="backslashreplace")) is not None
