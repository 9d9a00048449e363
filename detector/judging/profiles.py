"""Scoring tables: the first row that matches grades a shell that opens.

``balanced`` follows one thought: what reads its commands from somebody is an intruder until it is explained,
what the node or the cluster runs by itself is routine, and what cannot be told apart is graded as the search
that this service replaces would grade it. So a row that tells routine from intruder wants to know the mode:
a shell whose mode is unknown falls through to the last row, as one of unknown placement does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from detector.context import Mode, Origin, Placement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from detector.context import Context

_ANY_PLACEMENT: Final = frozenset(Placement)
_ANY_MODE: Final = frozenset(Mode)
_ANY_ORIGIN: Final = frozenset(Origin)
_HOST: Final = frozenset({Placement.HOST})
_POD: Final = frozenset({Placement.POD})
_READS_INPUT: Final = frozenset({Mode.LOGIN, Mode.STDIN})
_KNOWN_MODE: Final = _ANY_MODE - {Mode.UNKNOWN}
_ROUTINE: Final = frozenset({Origin.SERVICE, Origin.CRON})
_EXEC: Final = frozenset({Origin.CONTAINER_EXEC})
_ENTRYPOINT: Final = frozenset({Origin.ENTRYPOINT})

SEED_SCORE: Final = 25
"""What the search scores."""


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a shell is not of a row: what was found in a field, and what is wanted (nothing: any text)."""

    field: str
    found: str
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: it matches if all that it asks for is so. ``score`` ``None``: the configured one."""

    name: str
    score: int | None
    placements: frozenset[Placement] = _ANY_PLACEMENT
    modes: frozenset[Mode] = _ANY_MODE
    origins: frozenset[Origin] = _ANY_ORIGIN
    escapes: bool = False
    novel: bool = False

    def lacks(self, context: Context, *, novel: bool) -> Iterator[Lack]:
        """What a shell lacks to be of this row."""
        for name, found, wanted, every in (
            ("shell.placement", context.cgroup.placement, self.placements, Placement),
            ("shell.mode", context.invocation.mode, self.modes, Mode),
            ("shell.origin", context.origin, self.origins, Origin),
        ):
            if found not in wanted:
                yield Lack(name, found.value, tuple(each.value for each in every if each in wanted))
        if self.escapes and not context.escape_hint:
            yield Lack("shell.escape_hint", "", ())
        if self.novel and not novel:
            yield Lack("shell.novel", "false", ("true",))

    def matches(self, context: Context, *, novel: bool) -> bool:
        """Whether a shell is of this row."""
        return next(self.lacks(context, novel=novel), None) is None


@dataclass(frozen=True, slots=True)
class Profile:
    """A table whose last row matches everything.

    ``parity``: as the hourly search does, an identity scores each time that it is told, ``opened`` and
    ``ongoing``, on its node, and nothing is told as one of many.
    """

    rows: tuple[Row, ...]
    parity: bool = False

    def grade(self, context: Context, *, novel: bool) -> Row:
        """The row of a shell."""
        return next(row for row in self.rows if row.matches(context, novel=novel))


PROFILES: Final[Mapping[str, Profile]] = {
    "balanced": Profile(
        (
            Row("escape_hint", 60, escapes=True),
            Row(
                "host_interactive",
                40,
                frozenset({Placement.HOST, Placement.UNKNOWN}),
                _READS_INPUT,
            ),
            Row("host_routine_novel", 25, _HOST, _KNOWN_MODE, _ROUTINE, novel=True),
            Row("host_routine", 5, _HOST, _KNOWN_MODE, _ROUTINE),
            Row("pod_exec_interactive", 25, _POD, _READS_INPUT, _EXEC),
            # An exec probe looks the same.
            Row("pod_exec", 5, _POD, _KNOWN_MODE, _EXEC),
            Row("pod_entrypoint", 0, _POD, _KNOWN_MODE, _ENTRYPOINT),
            Row("other", SEED_SCORE),
        )
    ),
    "once": Profile((Row("opened", None),)),
    "seed": Profile((Row("told", None),), parity=True),
}
