"""Openings that are told together: how many, from when to when, and the first few by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from detector.types import Finding

LISTED: Final = 20
"""How many of a gathering a report names."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """A number of openings; ``first_ns`` and ``last_ns`` are their event times, 0 of none.

    ``listed`` has a line for each of the first ones, all of the same length. ``host`` is that of the last.
    """

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0
    host: str = ""
    listed: tuple[tuple[str | int, ...], ...] = ()

    def with_one(self, finding: Finding, line: tuple[str | int, ...], most: int = LISTED) -> Gathering:
        """The same with one opening more."""
        at_ns = finding.envelope_ns
        return Gathering(
            count=self.count + 1,
            first_ns=min(self.first_ns or at_ns, at_ns),
            last_ns=max(self.last_ns, at_ns),
            host=finding.shell.host or finding.shell.node.node,
            listed=(*self.listed, line) if len(self.listed) < most else self.listed,
        )

    def dump(self) -> list[object]:
        """As JSON has it."""
        return [self.count, self.first_ns, self.last_ns, self.host, [list(line) for line in self.listed]]

    @classmethod
    def load(cls, dumped: list[Any]) -> Self:
        """Take what :meth:`dump` gave."""
        count, first_ns, last_ns, host, listed = dumped
        return cls(count, first_ns, last_ns, host, tuple(tuple(line) for line in listed))

    def column(self, number: int) -> tuple[str, ...]:
        """A column of the list as text."""
        return tuple(str(line[number]) for line in self.listed)
