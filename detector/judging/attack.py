"""Techniques of MITRE ATT&CK (v17) that a shell is a sign of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from detector.context import Origin, Placement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.context import Context


@dataclass(frozen=True, slots=True)
class Technique:
    """A technique by its names, with the tactic that it serves here."""

    id: str
    name: str
    tactic_id: str
    tactic: str


_UNIX_SHELL: Final = "T1059.004"
_USER_EXECUTION: Final = "T1204"
_CONTAINER_ADMINISTRATION: Final = "T1609"
_ESCAPE_TO_HOST: Final = "T1611"

TECHNIQUES: Final[Mapping[str, Technique]] = {
    technique.id: technique
    for technique in (
        Technique(_UNIX_SHELL, "Command and Scripting Interpreter: Unix Shell", "TA0002", "Execution"),
        Technique(_USER_EXECUTION, "User Execution", "TA0002", "Execution"),
        Technique(_CONTAINER_ADMINISTRATION, "Container Administration Command", "TA0002", "Execution"),
        Technique(_ESCAPE_TO_HOST, "Escape to Host", "TA0004", "Privilege Escalation"),
    )
}


def attack_of(context: Context) -> tuple[str, ...]:
    """The ids of the techniques, the most telling first."""
    escape = (_ESCAPE_TO_HOST,) if context.escape_hint else ()
    if context.origin is Origin.CONTAINER_EXEC:
        return (*escape, _CONTAINER_ADMINISTRATION, _UNIX_SHELL)
    if context.cgroup.placement is Placement.POD or context.origin is Origin.ENTRYPOINT:
        return (*escape, _UNIX_SHELL)
    return (*escape, _UNIX_SHELL, _USER_EXECUTION)
