"""What is new on a node: shells of a kind that was not seen for long, and shells older than our knowledge.

A kind of shell is novel if it was not seen in the last 30 days and its node was watched long enough for that
to mean something (the baseline, from the node's first known scrape, by event time).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.judging.notes import RETENTION_NS, Note, NoteKind, key_of

if TYPE_CHECKING:
    from detector.judging.notes import View
    from detector.judging.objects import Likeness
    from detector.types import Finding, NodeId

_NODE_RETENTION_NS: Final = 2 * RETENTION_NS
"""Written anew when half of it is over: so a node is remembered for 30 days at least."""


def key_of_node(node: NodeId) -> str:
    """The key of the note of a node's first scrape."""
    return key_of(NoteKind.NODE, node.cluster, node.node)


def key_of_kind(like: Likeness) -> str | None:
    """The key of the note of a kind of shell; ``None`` if too little is known to tell kinds apart."""
    if not like.template and not like.parent:
        return None
    scope = like.scope or like.placement
    return key_of(NoteKind.NOVEL, like.cluster, scope, like.parent, like.executable, like.template)


def first_scrape(view: View, finding: Finding) -> int:
    """The first known scrape of a finding's node, event time; 0 if none is known. Remembers it."""
    key = key_of_node(finding.shell.node)
    note = view.live(key)
    noted: int = note.value["first_ns"] if note else 0
    first_ns = min(filter(None, (noted, finding.node_first_ns)), default=0)
    due_ns = view.now_ns + _NODE_RETENTION_NS
    if first_ns and (note is None or first_ns < noted or due_ns - note.due_ns > RETENTION_NS):
        view.write(Note(NoteKind.NODE, key, {"first_ns": first_ns}, due_ns))
    return first_ns


def is_preexisting(finding: Finding, first_ns: int) -> bool:
    """Whether a shell started before the first known scrape of its node."""
    return 0 < finding.shell.start_ns < first_ns


def see(view: View, finding: Finding, like: Likeness, first_ns: int, baseline_ns: int) -> bool | None:
    """Whether an opening is novel; ``None`` if that cannot be told. Remembers that it was seen."""
    key = key_of_kind(like)
    if key is None:
        return None
    known = view.live(key) is not None
    value = {"last_ns": finding.first_seen_ns}
    view.write(Note(NoteKind.NOVEL, key, value, view.now_ns + RETENTION_NS))
    return not known and 0 < first_ns <= finding.first_seen_ns - baseline_ns
