"""Bursts: the first few openings of a key in a period are told, the rest are counted and told as one.

Two counts decide, each over a period that its first opening begins:

* a node has told ``burst_after`` of the key: what follows on that node is folded into the node's burst;
* all nodes together have told ``burst_after_all`` of it: what follows on a node that has told fewer is folded
  into the burst over all nodes.

So an opening is counted in one burst at most. In a period a key makes at most ``burst_after_all`` events of
its own, a burst for each node that made some of them, and one for all others, however many nodes and openings
there are.

In a period a key scores once on a node for a risk object, as much as the highest of its openings, folded or
told: it is the same command again. Of a shell that reads its commands from somebody the key does not say what
it does, so each that is told scores, and their burst does, once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.context import Mode
from detector.events import Lane
from detector.judging import caps
from detector.judging.gathering import Gathering
from detector.judging.notes import Note, NoteKind, key_of
from detector.judging.objects import RiskObject, described, pairs
from detector.judging.outcomes import Report, ReportKind, report_id
from detector.types import NodeId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.context import Context
    from detector.judging.notes import View
    from detector.judging.objects import Likeness
    from detector.judging.rules import JudgeRules
    from detector.types import Finding


_ONCE: Final = frozenset({Mode.COMMAND, Mode.SCRIPT})
"""Modes in which the key says what a shell does."""


class Stake(NamedTuple):
    """What an opening would be told with by itself."""

    score: int
    object: RiskObject
    attack: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Burst:
    """The count of a key on a node, or over all nodes.

    ``scored`` is what the key has scored for each risk object, if it scores once. ``stake`` and ``fields``
    are those of the highest opening that was folded.
    """

    since_ns: int
    cluster: str
    node: NodeId | None
    told: int = 0
    scored: Mapping[str, int] = field(default_factory=dict)
    folded: Gathering = field(default_factory=Gathering)
    stake: Stake | None = None
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How often a key was told since the first time in its period, and how often folded.

    ``sessions`` are the first ones that were folded. ``scored`` is what the key has scored for each object.
    """

    since_ns: int
    told: int
    folded: int
    sessions: tuple[str, ...]
    scored: Mapping[str, int]


def standing(view: View, key: str) -> Standing | None:
    """What is counted under the key of a burst; ``None`` if nothing is."""
    note = view.find(key)
    if note is None:
        return None
    burst = _load(note)
    return Standing(burst.since_ns, burst.told, burst.folded.count, burst.folded.column(2), burst.scored)


def may_fold(like: Likeness, context: Context) -> bool:
    """Whether enough is known of a shell to say that another is the same, and nothing hints at an escape."""
    return bool(like.template and (like.scope or like.parent)) and not context.escape_hint


def keys_of(like: Likeness, node: NodeId) -> tuple[str, str]:
    """The keys of the notes that count an opening: of its node, and over all nodes."""
    return key_of(NoteKind.BURST, "node", node.node, *like.key), key_of(NoteKind.BURST, "all", *like.key)


def fold(view: View, finding: Finding, like: Likeness, stake: Stake, rules: JudgeRules) -> int | None:
    """Count an opening: what it may score if it is told, ``None`` if it is folded."""
    node = finding.shell.node
    of_node, of_all = keys_of(like, node)
    here, everywhere = _find(view, of_node, node.cluster, node), _find(view, of_all, node.cluster, None)
    if here.told >= rules.burst_after:
        _write(view, of_node, _with_one(here, finding, like, stake), rules)
        return None
    if everywhere.told >= rules.burst_after_all:
        _write(view, of_all, _with_one(everywhere, finding, like, stake), rules)
        return None
    before = here.scored.get(stake.object.name, 0)
    scored = here.scored
    if finding.context.invocation.mode in _ONCE:
        scored = {**scored, stake.object.name: max(before, stake.score)}
    _write(view, of_node, replace(here, told=here.told + 1, scored=scored), rules)
    _write(view, of_all, replace(everywhere, told=everywhere.told + 1), rules)
    return max(0, stake.score - before)


def key_of_cap(note: Note) -> str | None:
    """The key of the note that :func:`settle` needs to see beside the burst's own."""
    stake = _load(note).stake
    return caps.key_of_object(stake.object) if stake else None


def settle(view: View, note: Note, rules: JudgeRules) -> Report | None:
    """The end of a period: the report on what was folded, if anything was."""
    burst = _load(note)
    stake = burst.stake
    if stake is None:
        return None
    score, fits = max(0, stake.score - burst.scored.get(stake.object.name, 0)), True
    if score:
        fits = caps.spend_object(view, stake.object, score, rules.max_per_object)
    lists = ("nodes", "process.pids", "session_ids")
    return Report(
        kind=ReportKind.BURST,
        event_id=report_id(rules.store_id, ReportKind.BURST, note.key, burst.since_ns),
        lane=Lane.RISK if score and fits else Lane.CONTEXT,
        cluster=burst.cluster,
        node=burst.node,
        host=burst.folded.host,
        count=burst.folded.count,
        first_ns=burst.folded.first_ns,
        last_ns=burst.folded.last_ns,
        fields=(*burst.fields, *((name, burst.folded.column(at)) for at, name in enumerate(lists))),
        score=score if fits else 0,
        capped_score=None if fits else score,
        object=stake.object,
        attack=stake.attack,
        rules=(rules.name,),
    )


def _with_one(burst: _Burst, finding: Finding, like: Likeness, stake: Stake) -> _Burst:
    line = (finding.shell.node.node, finding.shell.pid, finding.session_id)
    burst = replace(burst, folded=burst.folded.with_one(finding, line))
    if burst.stake is not None and burst.stake.score >= stake.score:
        return burst
    return replace(burst, stake=stake, fields=described(like, finding))


def _find(view: View, key: str, cluster: str, node: NodeId | None) -> _Burst:
    # Though it be due: it lasts until it is settled.
    note = view.find(key)
    return _Burst(view.now_ns, cluster, node) if note is None else _load(note)


def _write(view: View, key: str, burst: _Burst, rules: JudgeRules) -> None:
    value: dict[str, object] = {
        "since_ns": burst.since_ns,
        "cluster": burst.cluster,
        "node": burst.node.node if burst.node else None,
        "told": burst.told,
        "scored": dict(burst.scored),
    }
    if burst.stake is not None:
        value["folded"] = burst.folded.dump()
        value["score"] = burst.stake.score
        value["object"] = burst.stake.object.dump()
        value["attack"] = list(burst.stake.attack)
        value["fields"] = [list(pair) for pair in burst.fields]
    view.write(Note(NoteKind.BURST, key, value, burst.since_ns + rules.burst_period_ns))


def _load(note: Note) -> _Burst:
    value = note.value
    cluster, node = value["cluster"], value["node"]
    of_node = None if node is None else NodeId(cluster, node)
    burst = _Burst(value["since_ns"], cluster, of_node, value["told"], value["scored"])
    if "folded" not in value:
        return burst
    return replace(
        burst,
        folded=Gathering.load(value["folded"]),
        stake=Stake(value["score"], RiskObject(*value["object"]), tuple(value["attack"])),
        fields=pairs(value["fields"]),
    )
