"""What may still be scored: by an identity over its incarnations, by a risk object in a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.judging.notes import RETENTION_NS, Note, NoteKind, key_of

if TYPE_CHECKING:
    from detector.judging.notes import View
    from detector.judging.objects import RiskObject
    from detector.judging.rules import PointsPer
    from detector.types import ShellId


def key_of_object(risk: RiskObject) -> str:
    """The key of the note of what an object has scored."""
    return key_of(NoteKind.CAP, risk.type, risk.name)


def key_of_identity(shell: ShellId) -> str:
    """The key of the note of what an identity has scored."""
    node = shell.node
    return key_of(NoteKind.SCORED, node.cluster, node.node, shell.host, shell.pid, shell.start_ns, shell.name)


def spent(view: View, key: str) -> int:
    """What has been scored by the note of that key."""
    note = view.live(key)
    points: int = note.value["points"] if note else 0
    return points


def left_of_identity(view: View, shell: ShellId, score: int) -> int:
    """What is left of a score after what the identity has scored before."""
    return max(0, score - spent(view, key_of_identity(shell)))


def spend_identity(view: View, shell: ShellId, score: int) -> None:
    """An identity scores."""
    key = key_of_identity(shell)
    points = score + spent(view, key)
    view.write(Note(NoteKind.SCORED, key, {"points": points}, view.now_ns + RETENTION_NS))


def spend_object(view: View, risk: RiskObject, score: int, most: PointsPer | None) -> bool:
    """Let an object score if that is not more than it may score in the period that its first score began."""
    if most is None:
        return True
    key = key_of_object(risk)
    note = view.live(key)
    points = score + spent(view, key)
    if points > most.points:
        return False
    due_ns = note.due_ns if note else view.now_ns + most.period_ns
    view.write(Note(NoteKind.CAP, key, {"points": points}, due_ns))
    return True
