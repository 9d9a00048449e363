"""What a field of an event is, and what it is made of. Nothing here knows a field by its name."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from detector.context import Context
from detector.events import Lane
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
    def node(self) -> str:
        """The node, by the name that it has as a risk object."""
        return self.verdict.object.dest or self.verdict.object.name

    @property
    def host(self) -> str:
        """host.name; the node's name if the collector sent none."""
        return self.finding.shell.host or self.finding.shell.node.node

    @property
    def message(self) -> str:
        """The risk message: ``$host$`` is the node."""
        return self.settings.message.replace("$host$", self.node)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the event.

    ``value`` gives its JSON text, or ``None`` to leave it out: what is unknown has no field. ``always``: it
    is never left out. ``scored``: only an event with a score has it. ``one_of``: all values there are.
    """

    name: str
    type: Type
    meaning: str
    value: Callable[[Source], str | None]
    kinds: frozenset[Kind] = ALL
    always: bool = False
    scored: bool = False
    one_of: tuple[str, ...] = ()

    def is_of(self, source: Source) -> bool:
        """Whether such an event may have it."""
        return source.finding.kind in self.kinds and (not self.scored or source.verdict.lane is Lane.RISK)


def always(field: Field) -> Field:
    """A field that is never left out."""
    return replace(field, always=True)


def scored(field: Field) -> Field:
    """A field of events with a score alone."""
    return replace(field, scored=True)


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


def name_of(name: str, meaning: str, value: Callable[[Source], str]) -> Field:
    """A name of ours, which is never cut: searches compare it as a whole."""
    return Field(name, Type.STRING, meaning, lambda source: text(value(source)) if value(source) else None)


def choice(
    name: str,
    meaning: str,
    value: Callable[[Source], enum.StrEnum | None],
    one_of: type[enum.StrEnum],
    kinds: frozenset[Kind] = ALL,
) -> Field:
    """One of a few names of ours, which are never cut."""

    def shown(source: Source) -> str | None:
        found = value(source)
        return None if found is None else text(found.value)

    return Field(name, Type.STRING, meaning, shown, kinds, one_of=tuple(each.value for each in one_of))


def strings(name: str, meaning: str, value: Callable[[Source], Iterable[str]], budget: int) -> Field:
    """A list of strings."""
    return Field(name, Type.STRINGS, meaning, lambda source: items(value(source), budget >> source.narrow))


def time(name: str, meaning: str, value: Callable[[Finding], int]) -> Field:
    """A time."""
    return always(Field(name, Type.TIME, meaning, lambda source: seconds(value(source.finding))))


def count(name: str, meaning: str, value: Callable[[Source], int]) -> Field:
    """An integer."""
    return always(Field(name, Type.INTEGER, meaning, lambda source: str(value(source))))


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
