"""Sessions whose opening was not told: nothing that follows is told either, until the session is released.

A session that a rule suppressed is released when the policy has changed and no rule suppresses it any more.
Which it is, the judge decides anew on the very finding: whoever changes the policy asks the detector for the
opening of each of :func:`suppressed` again, and has it judged while that note stands. That may be done at any
time and repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from detector.judging.notes import RETENTION_NS, Note, NoteKind, key_of
from detector.types import NodeId, ShellId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.judging.notes import View
    from detector.types import Finding

_REWRITE_NS: Final = RETENTION_NS // 2
"""A long session is told again every hour: its note need not be written as often."""


@dataclass(frozen=True, slots=True)
class Silenced:
    """A session and how it was silenced: by a rule, else by a burst. ``novel`` is what its opening was."""

    shell: ShellId
    incarnation: int
    session_id: str
    rule: str = ""
    novel: bool | None = None


def key_of_session(session_id: str) -> str:
    """The key of the note of a session."""
    return key_of(NoteKind.SILENCED, session_id)


def find(view: View, session_id: str) -> Silenced | None:
    """How a session is silenced, if it is."""
    note = view.live(key_of_session(session_id))
    return None if note is None else _load(note)


def silence(view: View, finding: Finding, *, rule: str = "", novel: bool | None = None) -> None:
    """Note that a session's opening is not told."""
    _write(view, Silenced(finding.shell, finding.incarnation, finding.session_id, rule, novel))


def keep(view: View, silenced: Silenced) -> None:
    """The session is alive: see to it that its note does not fall due."""
    note = view.live(key_of_session(silenced.session_id))
    if note is not None and note.due_ns - view.now_ns < _REWRITE_NS:
        _write(view, silenced)


def release(view: View, session_id: str) -> None:
    """The session is over, or is to be told."""
    view.remove(key_of_session(session_id))


def suppressed(notes: Iterable[Note]) -> tuple[Silenced, ...]:
    """Of notes of the kind ``silenced``, the sessions that a rule suppressed."""
    sessions = map(_load, notes)
    return tuple(session for session in sessions if session.rule)


def _write(view: View, silenced: Silenced) -> None:
    shell = silenced.shell
    value: dict[str, Any] = {
        "shell": [shell.node.cluster, shell.node.node, shell.host, shell.pid, shell.start_ns, shell.name],
        "incarnation": silenced.incarnation,
        "session_id": silenced.session_id,
        "rule": silenced.rule,
        "novel": silenced.novel,
    }
    key = key_of_session(silenced.session_id)
    view.write(Note(NoteKind.SILENCED, key, value, view.now_ns + RETENTION_NS))


def _load(note: Note) -> Silenced:
    value = note.value
    cluster, node, host, pid, start_ns, name = value["shell"]
    return Silenced(
        ShellId(NodeId(cluster, node), host, pid, start_ns, name),
        value["incarnation"],
        value["session_id"],
        value["rule"],
        value["novel"],
    )
