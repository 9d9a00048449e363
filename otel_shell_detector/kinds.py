"""The kinds of values that a configuration key can have.

A kind stands in the annotation of a field (``Annotated[int, whole(1, 4096)]``) and is the one place that
knows how the value is read, how it is written in an environment variable and what is said when it is
something else. So a user meets the same words in an error message and in ``docs/configuration.md``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import core_schema

from otel_shell_detector.addresses import ENDPOINT, Endpoint, parse_base_url
from otel_shell_detector.quantities import DURATION_PATTERN, SIZE_PATTERN, Duration, Rate, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_core import CoreSchema

_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_SHOWN_CHARACTERS: Final = 80
_SHOWN_ITEMS: Final = 20


class UnwantedError(ValueError):
    """A value that a key cannot have. ``detail`` says why when the kind alone does not."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


def one_line(text: str) -> str:
    """Text without a character that a terminal acts on: line ends, escapes, what turns the direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(value: object) -> str:
    """A value as an error message shows it: on one line, short, in ASCII, whatever a file holds.

    A mapping, or a list of more than plain values, is only named: an anchor can make a few lines stand for
    more than memory holds.
    """
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        if len(value) > _SHOWN_ITEMS or any(isinstance(each, dict | list | tuple) for each in value):
            return "a list"
        return f"[{', '.join(show(each) for each in value)}]"
    text = value if isinstance(value, str) else str(value)
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]}..."
    if isinstance(value, str):
        return json.dumps(text)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return text


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key's value must be.

    ``want`` completes "want ..."; ``read`` makes the value from what YAML gives, accepts a value that is
    made already, and raises :class:`ValueError`; ``from_text`` makes of an environment variable what YAML
    would give.
    """

    want: str
    read: Callable[[object], object]
    from_text: Callable[[str], object] = str
    may_show: Callable[[str], bool] = bool
    """Whether a message may show a wrong value; one that stands here by mistake may be a secret."""
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"}, hash=False)
    """A JSON Schema that refuses nothing that ``read`` accepts, and what a schema can of the rest; Go, Python
    and ECMAScript read its patterns alike."""
    bounds: tuple[int, int] | None = None
    """The least and the most of a duration, in nanoseconds, or of a size, in bytes: no schema can tell."""

    def shown(self, value: object) -> str:
        """A value in an error message: :func:`show`, unless it may be a secret."""
        if isinstance(value, str) and value and not self.may_show(value):
            return "what is not shown here, for it may be a secret"
        return show(value)

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: Callable[[Any], CoreSchema]
    ) -> CoreSchema:
        """How an annotation tells pydantic to validate: by ``read`` alone, without pydantic's coercions."""
        return core_schema.no_info_plain_validator_function(self.read)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise UnwantedError


def _text_of(pattern: str) -> dict[str, object]:
    return {"type": "string", "pattern": pattern}


def whole(lowest: int, highest: int) -> Kind:
    """A whole number within bounds, both included."""

    def read(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        raise UnwantedError

    def from_text(text: str) -> object:
        return int(text) if _WHOLE.fullmatch(text) else text

    schema = {"type": "integer", "minimum": lowest, "maximum": highest}
    return Kind(f"a whole number from {lowest} to {highest}", read, from_text, schema=schema)


def flag() -> Kind:
    """True or false."""

    def read(value: object) -> object:
        if isinstance(value, bool):
            return value
        raise UnwantedError

    def from_text(text: str) -> object:
        return {"true": True, "false": False}.get(text.lower(), text)

    return Kind("true or false", read, from_text, schema={"type": "boolean"})


def duration(lowest: str, highest: str) -> Kind:
    """A duration within bounds, both included."""
    least, most = Duration.parse(lowest), Duration.parse(highest)

    def read(value: object) -> object:
        found = value if isinstance(value, Duration) else Duration.parse(_text(value))
        if least <= found <= most:
            return found
        raise UnwantedError

    want = f"a duration such as 250ms, 10s, 5m or 1h, from {least} to {most}"
    return Kind(
        want, read, schema=_text_of(f"^(0|{DURATION_PATTERN})$"), bounds=(least.nanoseconds, most.nanoseconds)
    )


def size(lowest: str, highest: str) -> Kind:
    """A size within bounds, both included."""
    least, most = Size.parse(lowest), Size.parse(highest)

    def read(value: object) -> object:
        found = value if isinstance(value, Size) else Size.parse(_text(value))
        if least <= found <= most:
            return found
        raise UnwantedError

    want = f"a size such as 512KiB, 64MiB or 1MB, from {least} to {most}"
    return Kind(want, read, schema=_text_of(f"^{SIZE_PATTERN}$"), bounds=(least.bytes, most.bytes))


def rate(lowest: int, highest: int) -> Kind:
    """So many in a period of at least a minute and at most 30 days."""
    shortest, longest = Duration.parse("1m"), Duration.parse("30d")

    def read(value: object) -> object:
        found = value if isinstance(value, Rate) else Rate.parse(_text(value))
        if lowest <= found.count <= highest and shortest <= found.period <= longest:
            return found
        raise UnwantedError

    want = f"a rate such as 75/h or 100/24h, from {lowest} to {highest} in a period of 1m to 30d"
    return Kind(want, read, schema=_text_of("^[0-9]{1,9}/[0-9]*[a-z].*$"))


def one_of(*choices: str) -> Kind:
    """One of a few words."""

    def read(value: object) -> object:
        if value in choices:
            return value
        raise UnwantedError

    return Kind(f"{', '.join(choices[:-1])} or {choices[-1]}", read, schema={"enum": list(choices)})


def line(longest: int) -> Kind:
    """Text of one line: it ends up in events, whose size is bounded, and in log lines."""

    def read(value: object) -> object:
        text = _text(value)
        if text.strip() and text.isprintable() and len(text) <= longest:
            return text
        raise UnwantedError

    schema = {**_text_of(r"^[^\x00-\x1f\x7f]+$"), "maxLength": longest}
    return Kind(f"text of 1 to {longest} characters on one line", read, schema=schema)


def endpoint() -> Kind:
    """An address to listen on."""

    def read(value: object) -> object:
        return value if isinstance(value, Endpoint) else Endpoint.parse(_text(value))

    want = '"host:port", an IPv6 address in brackets ("[::1]:4317")'
    return Kind(want, read, schema=_text_of(f"^{ENDPOINT}$"))


def base_url(example: str) -> Kind:
    """The URL of a server."""

    def read(value: object) -> object:
        return parse_base_url(_text(value))

    want = f"a base URL such as {example}, without a path, a user name or a password"
    schema = _text_of(r"^[hH][tT][tT][pP][sS]?://[^/?#@\s]+/?$")
    return Kind(want, read, may_show=lambda text: "@" not in text, schema=schema)


def file() -> Kind:
    """The path of a file or directory, not looked at here."""

    def read(value: object) -> object:
        if isinstance(value, Path):
            return value
        text = _text(value)
        if text and "\0" not in text:
            return Path(text)
        raise UnwantedError

    return Kind("a path", read, schema={"type": "string", "minLength": 1})


def secret_file() -> Kind:
    """The path of a file with a secret: what stands here by mistake is often the secret."""
    path = file()
    return Kind(
        path.want, path.read, may_show=lambda text: text.startswith(("/", "./", "../")), schema=path.schema
    )


def regex() -> Kind:
    """A regular expression that finds something to hide."""

    def read(value: object) -> object:
        text = _text(value)
        try:
            matches_nothing = re.compile(text).search("")
        except re.error as error:
            raise UnwantedError(str(error)) from None
        if matches_nothing:
            raise UnwantedError("it matches the empty text, so it would match everywhere")
        return text

    return Kind("a regular expression", read)


def list_of(item: Kind, *, at_least: int = 0) -> Kind:
    """A list without repetitions."""

    def read(value: object) -> object:
        if isinstance(value, str) and value.startswith("["):
            raise UnwantedError("what begins with [ is read as JSON")
        if not isinstance(value, list | tuple) or len(value) < at_least:
            raise UnwantedError
        found = []
        for each in value:
            try:
                found.append(item.read(each))
            except ValueError as error:
                detail = error.detail if isinstance(error, UnwantedError) else ""
                raise UnwantedError(f"{show(each)} is not{detail and f': {detail}'}") from None
        if len(set(found)) < len(found):
            raise UnwantedError("one stands there twice")
        return tuple(found)

    def from_text(text: str) -> object:
        if text.startswith("["):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return text
        return [each.strip() for each in text.split(",")] if text.strip() else []

    schema = {"type": "array", "items": item.schema, "minItems": at_least, "uniqueItems": True}
    return Kind(
        f"a list{' (not empty)' if at_least else ''}, each {item.want}", read, from_text, schema=schema
    )


def optional(kind: Kind) -> Kind:
    """A kind or nothing."""

    def read(value: object) -> object:
        return None if value is None else kind.read(value)

    schema = {"anyOf": [kind.schema, {"type": "null"}]}
    return Kind(kind.want, read, kind.from_text, kind.may_show, schema)
