"""The kinds of values that a configuration key can have.

A kind stands in the annotation of a field (``Annotated[int, Whole(1, 4096)]``) and is the one place that knows how the value is
read, how it is written in an environment variable and what is said when it is something else. So a user sees the same words
in an error message and in ``docs/configuration.md``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic_core import CoreSchema, core_schema

from otel_shell_detector.addresses import Endpoint, parse_base_url
from otel_shell_detector.quantities import Duration, Size

_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")


class Unwanted(ValueError):
    """A value that a key cannot have. ``detail`` says why when the kind alone does not."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key's value must be.

    ``want`` completes "want ..."; ``read`` makes the value from what YAML (or :meth:`from_text`) gives, accepts a value
    that is made already, and raises :class:`ValueError`.
    """

    want: str
    read: Callable[[object], object]
    from_text: Callable[[str], object] = str
    secret: bool = False
    """Whether a wrong value might be a secret, so that no message may show it."""

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: Callable[[Any], CoreSchema]
    ) -> CoreSchema:
        """The hook by which pydantic lets an annotation validate: ours does so alone, without pydantic's coercions."""
        return core_schema.no_info_plain_validator_function(self.read)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise Unwanted


def whole(lowest: int, highest: int) -> Kind:
    """A whole number within bounds, both included."""

    def read(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        raise Unwanted

    def from_text(text: str) -> object:
        return int(text) if _WHOLE.fullmatch(text) else text

    return Kind(f"a whole number from {lowest} to {highest}", read, from_text)


def flag() -> Kind:
    """True or false."""

    def read(value: object) -> object:
        if isinstance(value, bool):
            return value
        raise Unwanted

    return Kind("true or false", read, lambda text: {"true": True, "false": False}.get(text.lower(), text))


def duration(lowest: str, highest: str) -> Kind:
    """A duration within bounds, both included."""
    least, most = Duration.parse(lowest), Duration.parse(highest)

    def read(value: object) -> object:
        found = value if isinstance(value, Duration) else Duration.parse(_text(value))
        if least <= found <= most:
            return found
        raise Unwanted

    return Kind(f"a duration such as 250ms, 10s, 5m or 1h, from {least} to {most}", read)


def size(lowest: str, highest: str) -> Kind:
    """A size within bounds, both included."""
    least, most = Size.parse(lowest), Size.parse(highest)

    def read(value: object) -> object:
        found = value if isinstance(value, Size) else Size.parse(_text(value))
        if least <= found <= most:
            return found
        raise Unwanted

    return Kind(f"a size such as 512KiB, 64MiB or 1MB, from {least} to {most}", read)


def one_of(*choices: str) -> Kind:
    """One of a few words."""

    def read(value: object) -> object:
        if value in choices:
            return value
        raise Unwanted

    return Kind(f"{', '.join(choices[:-1])} or {choices[-1]}", read)


def line() -> Kind:
    """Text of one line: it ends up in events and in log lines."""

    def read(value: object) -> object:
        text = _text(value)
        if text.strip() and text.isprintable():
            return text
        raise Unwanted

    return Kind("text on one line, not empty", read)


def endpoint() -> Kind:
    """An address to listen on."""

    def read(value: object) -> object:
        return value if isinstance(value, Endpoint) else Endpoint.parse(_text(value))

    return Kind('"host:port", an IPv6 address in brackets ("[::1]:4317")', read)


def base_url() -> Kind:
    """The URL of a server."""

    def read(value: object) -> object:
        return parse_base_url(_text(value))

    # A URL with a password in it is what is refused here, so it must not be shown.
    want = "a base URL such as https://splunk:8088, with no path, user name or password"
    return Kind(want, read, secret=True)


def file() -> Kind:
    """The path of a file or directory, not looked at here."""

    def read(value: object) -> object:
        if isinstance(value, Path):
            return value
        text = _text(value)
        if text and "\0" not in text:
            return Path(text)
        raise Unwanted

    return Kind("a path", read)


def secret_file() -> Kind:
    """The path of a file with a secret: what stands here by mistake is often the secret."""
    return Kind("the path of a file that holds it", file().read, secret=True)


def regex() -> Kind:
    """A regular expression that finds something to hide."""

    def read(value: object) -> object:
        text = _text(value)
        try:
            matches_nothing = re.compile(text).search("")
        except re.error as error:
            raise Unwanted(str(error)) from None
        if matches_nothing:
            raise Unwanted("it matches the empty text, so it would match everywhere")
        return text

    return Kind("a regular expression", read)


def list_of(item: Kind, *, at_least: int = 0) -> Kind:
    """A list without repetitions."""

    def read(value: object) -> object:
        if not isinstance(value, list | tuple) or len(value) < at_least:
            raise Unwanted
        found = []
        for each in value:
            try:
                found.append(item.read(each))
            except ValueError as error:
                detail = error.detail if isinstance(error, Unwanted) else ""
                raise Unwanted(f"{json.dumps(each, default=str)} is not{detail and f': {detail}'}") from None
        if len(set(found)) < len(found):
            raise Unwanted("one stands there twice")
        return tuple(found)

    def from_text(text: str) -> object:
        if text.lstrip().startswith("["):
            try:
                return json.loads(text)
            except ValueError:
                return text
        return [each.strip() for each in text.split(",")] if text.strip() else []

    return Kind(f"a list{' (not empty)' if at_least else ''}, each {item.want}", read, from_text)


def optional(kind: Kind) -> Kind:
    """A kind or nothing."""

    def read(value: object) -> object:
        return None if value is None else kind.read(value)

    return Kind(kind.want, read, kind.from_text, kind.secret)
