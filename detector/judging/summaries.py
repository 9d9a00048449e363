"""Shells that were there before we looked: counted by node, told as one event a minute after the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.context import Mode
from detector.events import Lane
from detector.judging.gathering import Gathering
from detector.judging.notes import Note, NoteKind, clip, key_of
from detector.judging.objects import RiskObject, node_object
from detector.judging.outcomes import Report, ReportKind, report_id
from detector.judging.rules import Preexisting
from detector.types import NANOSECONDS, NodeId

if TYPE_CHECKING:
    from detector.context import Context
    from detector.judging.notes import View
    from detector.judging.objects import Likeness
    from detector.judging.rules import JudgeRules
    from detector.types import Finding

PERIOD_NS: Final = 60 * NANOSECONDS


def key_of_summary(node: NodeId) -> str:
    """The key of the note that counts the preexisting shells of a node."""
    return key_of(NoteKind.SUMMARY, node.cluster, node.node)


def is_summarised(context: Context, rules: JudgeRules) -> bool:
    """Whether a shell is one of those that are told as one."""
    return (
        rules.preexisting is Preexisting.SUMMARY
        and context.preexisting
        and context.invocation.mode not in {Mode.LOGIN, Mode.STDIN}
        and not context.escape_hint
    )


def count(view: View, finding: Finding, like: Likeness, rules: JudgeRules) -> None:
    """Count a preexisting shell."""
    shell = finding.shell
    key = key_of_summary(shell.node)
    note = view.find(key)
    since_ns: int = note.value["since_ns"] if note else view.now_ns
    gathering = Gathering.load(note.value["gathering"]) if note else Gathering()
    line = (shell.pid, clip(shell.name), clip(like.scope), finding.session_id)
    risk = node_object(shell, rules)
    value = {
        "since_ns": since_ns,
        "node": [shell.node.cluster, shell.node.node],
        "object": risk.dump(),
        "gathering": gathering.with_one(finding, line).dump(),
    }
    view.write(Note(NoteKind.SUMMARY, key, value, since_ns + PERIOD_NS))


def settle(note: Note, rules: JudgeRules) -> Report:
    """The event about a node."""
    value = note.value
    gathering = Gathering.load(value["gathering"])
    lists = ("process.pids", "process.executable.names", "workloads", "session_ids")
    node = NodeId(*value["node"])
    return Report(
        kind=ReportKind.PREEXISTING,
        event_id=report_id(rules.store_id, ReportKind.PREEXISTING, note.key, value["since_ns"]),
        lane=Lane.CONTEXT,
        cluster=node.cluster,
        node=node,
        host=gathering.host,
        count=gathering.count,
        first_ns=gathering.first_ns,
        last_ns=gathering.last_ns,
        fields=tuple((name, gathering.column(at)) for at, name in enumerate(lists)),
        object=RiskObject(*value["object"]),
        rules=(rules.name,),
    )
