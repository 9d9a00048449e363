"""What a field of an event is, and what it is made of. Nothing here knows a field by its name."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from detector.context import Context
from detector.judging.outcomes import Told, Verdict
from detector.types import CommandLine, Finding, Kind
from exporter.json_text import clip, flag, number, seconds, size, text
from exporter.settings import EventSettings

ALL: Final = frozenset(Kind)
OPENINGS: Final = frozenset({Kind.OPENED})
CLOSINGS: Final = frozenset({Kind.CLOSED})

SHORT: Final = 128
MEDIUM: Final = 256
LONG: Final = 512
"""Budgets of a text field, in bytes of JSON with its quotes."""


class Type(enum.StrEnum):
    """The JSON type of a field."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    TIME = "time"
    """A number: seconds since the epoch with three to nine decimals."""
    DURATION = "duration"
    """A number of seconds with three to nine decimals."""
    BOOLEAN = "boolean"
    STRINGS = "list of strings"


@dataclass(frozen=True, slots=True)
class Source:
    """What a field's value is drawn from.

    ``command_line`` is already cut to what is left of the event. ``narrow``: each budget is halved so often.
    """

    told: Told
    settings: EventSettings
    command_line: CommandLine | None = None
    narrow: int = 0

    @property
    def finding(self) -> Finding:
        """What is told."""
        return self.told.finding

    @property
    def verdict(self) -> Verdict:
        """How it is told."""
        return self.told.verdict

    @property
    def context(self) -> Context:
        """What is known of the shell."""
        return self.told.finding.context

    @property
    def host(self) -> str:
        """host.name; the node's name if the collector sent none."""
        return self.finding.shell.host or self.finding.shell.node.node

    @property
    def message(self) -> str:
        """The risk message: ``$host$`` is the node, by the name that it has as a risk object."""
        node = self.verdict.object.dest or self.verdict.object.name
        return self.settings.message.replace("$host$", node)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the event.

    ``value`` gives its JSON text, or ``None`` to leave it out: what is unknown has no field.
    """

    name: str
    type: Type
    meaning: str
    value: Callable[[Source], str | None]
    kinds: frozenset[Kind] = ALL


def known(value: str, budget: int) -> str | None:
    """The JSON text of a string, cut to a budget; ``None`` of an empty one."""
    return text(clip(value, budget)) if value else None


def items(values: Iterable[str], budget: int) -> str | None:
    """The JSON text of a list of strings: as many of the first as fit; ``None`` of an empty one."""
    shown: list[str] = []
    left = budget - 2
    for value in values:
        item = clip(value, SHORT)
        left -= size(item) + 1
        if left < 0:
            break
        shown.append(text(item))
    return f"[{','.join(shown)}]" if shown else None


def of_command_line(value: Callable[[CommandLine], str | None]) -> Callable[[Source], str | None]:
    """A value that an event without a command line has not."""
    return lambda source: None if source.command_line is None else value(source.command_line)


def string(
    name: str, meaning: str, value: Callable[[Source], str], budget: int, kinds: frozenset[Kind] = ALL
) -> Field:
    """A string field."""
    return Field(
        name, Type.STRING, meaning, lambda source: known(value(source), budget >> source.narrow), kinds
    )


def strings(name: str, meaning: str, value: Callable[[Source], Iterable[str]], budget: int) -> Field:
    """A list of strings."""
    return Field(name, Type.STRINGS, meaning, lambda source: items(value(source), budget >> source.narrow))


def time(name: str, meaning: str, value: Callable[[Finding], int]) -> Field:
    """A time."""
    return Field(name, Type.TIME, meaning, lambda source: seconds(value(source.finding)))


def count(name: str, meaning: str, value: Callable[[Source], int]) -> Field:
    """An integer."""
    return Field(name, Type.INTEGER, meaning, lambda source: str(value(source)))


def maybe_count(
    name: str, meaning: str, value: Callable[[Source], int | None], kinds: frozenset[Kind] = ALL
) -> Field:
    """An integer that may be unknown."""

    def shown(source: Source) -> str | None:
        found = value(source)
        return None if found is None else str(found)

    return Field(name, Type.INTEGER, meaning, shown, kinds)


def mean(name: str, meaning: str, value: Callable[[Finding], float | None]) -> Field:
    """A mean."""
    return Field(name, Type.NUMBER, meaning, lambda source: number(value(source.finding)))


def boolean(
    name: str, meaning: str, value: Callable[[Source], bool | None], kinds: frozenset[Kind] = ALL
) -> Field:
    """A boolean that may be unknown."""

    def shown(source: Source) -> str | None:
        found = value(source)
        return None if found is None else flag(value=found)

    return Field(name, Type.BOOLEAN, meaning, shown, kinds)
