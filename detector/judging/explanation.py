"""Why an opening is judged as it is: what the judge saw, row by row and rule by rule.

The judge keeps no record of its reasons. They are found again from what it judges by: the finding, the
policy, and the notes as they were before it judged. What came of it is the judge's own word
(:attr:`Explanation.judgement`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from detector.judging import bursts, caps, novelty, silence, summaries
from detector.judging.fields import fields_of
from detector.judging.notes import Note, NoteKind, View
from detector.judging.objects import likeness_of
from detector.judging.outcomes import Counted, ReportKind, report_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.judging.bursts import Standing
    from detector.judging.judge import Judge
    from detector.judging.objects import Likeness, RiskObject
    from detector.judging.outcomes import Judgement
    from detector.judging.profiles import Lack, Row
    from detector.judging.silence import Silenced
    from detector.policy import NearMiss, Policy, Rule
    from detector.types import Finding

MOST_NEAR: Final = 10
"""Rules that nearly decided, as far as they are told."""
_REPORTED: Final = {
    NoteKind.BURST: ReportKind.BURST,
    NoteKind.AUDIT: ReportKind.SUPPRESSED,
    NoteKind.SUMMARY: ReportKind.PREEXISTING,
}
_COUNTED: Final = {
    NoteKind.BURST: Counted.FOLDED,
    NoteKind.AUDIT: Counted.SUPPRESSED,
    NoteKind.SUMMARY: Counted.SUMMARISED,
}
"""What is counted when an opening goes into a note of that kind."""


@dataclass(frozen=True, slots=True)
class RowTried:
    """A row of the profile and what the shell lacks to be of it; nothing if it matches."""

    row: Row
    lacks: tuple[Lack, ...]


@dataclass(frozen=True, slots=True)
class Bursts:
    """The counts before the opening, of its node and over all nodes; ``None`` of none yet."""

    here: Standing | None
    everywhere: Standing | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an opening is judged by.

    ``finding`` says whether it is preexisting. ``first_scrape_ns`` is the node's first known scrape, 0 if
    none is known. ``rows`` end with the one that matches. ``bursts`` is ``None`` if it cannot be folded.
    ``identity_scored`` and ``object_scored`` are what was scored before (the object's ``None`` if there is no
    cap). ``summarised``: it is of those that are told as one.
    """

    finding: Finding
    fields: Mapping[str, str]
    like: Likeness
    first_scrape_ns: int
    novel: bool | None
    rows: tuple[RowTried, ...]
    rule: Rule | None
    near: tuple[NearMiss, ...]
    object: RiskObject
    summarised: bool
    bursts: Bursts | None
    identity_scored: int
    object_scored: int | None
    silenced: Silenced | None
    judgement: Judgement

    @property
    def row(self) -> Row:
        """The row that grades it."""
        return self.rows[-1].row


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What an opening is judged in, beside the judge's rules.

    ``recalled`` are the notes under :meth:`Judge.keys`; ``now_ns`` is service time, ``wall_ns`` decides which
    rules of the policy are past their end. ``known_novel`` is whether it was novel when it opened, if that is
    known from elsewhere.
    """

    recalled: Mapping[str, Note]
    policy: Policy
    now_ns: int
    wall_ns: int
    known_novel: bool | None = None


def explain(judge: Judge, finding: Finding, given: Circumstances) -> Explanation:
    """Explain an opening as the judge would judge it.

    Nothing is changed, and what the judge would write stays in the explanation.
    """
    rules, view = judge.rules, View(given.recalled, given.now_ns)
    first_ns = novelty.first_scrape(view, finding)
    preexisting = novelty.is_preexisting(finding, first_ns)
    seen = replace(finding, context=replace(finding.context, preexisting=preexisting))
    silenced = silence.find(view, seen.session_id)
    like = likeness_of(seen)
    novel = silenced.novel if silenced is not None else given.known_novel
    if novel is None and silenced is None:
        novel = novelty.see(view, seen, like, first_ns, rules.baseline_ns)
    fields = fields_of(seen, novel=novel)
    risk = judge.object_of(seen)
    capped = rules.max_per_object is not None
    return Explanation(
        finding=seen,
        fields=fields,
        like=like,
        first_scrape_ns=first_ns,
        novel=novel,
        rows=tuple(_rows(judge, seen, novel=bool(novel))),
        rule=given.policy.judge(fields, given.wall_ns),
        near=tuple(given.policy.explain(fields, given.wall_ns, MOST_NEAR)),
        object=risk,
        summarised=not judge.profile.parity and summaries.is_summarised(seen.context, rules),
        bursts=_bursts(judge, view, seen, like),
        identity_scored=caps.spent(view, caps.key_of_identity(seen.shell)),
        object_scored=caps.spent(view, caps.key_of_object(risk)) if capped else None,
        silenced=silenced,
        judgement=judge.judge([finding], given.recalled, given.policy.judge, given.now_ns, given.wall_ns),
    )


def _rows(judge: Judge, finding: Finding, *, novel: bool) -> list[RowTried]:
    tried = [RowTried(row, tuple(row.lacks(finding.context, novel=novel))) for row in judge.profile.rows]
    matches = next(number for number, each in enumerate(tried) if not each.lacks)
    return tried[: matches + 1]


def _bursts(judge: Judge, view: View, finding: Finding, like: Likeness) -> Bursts | None:
    if not judge.folds or not bursts.may_fold(like, finding.context):
        return None
    here, everywhere = bursts.keys_of(like, finding.shell.node)
    return Bursts(bursts.standing(view, here), bursts.standing(view, everywhere))


def counted_in(explained: Explanation, store_id: str) -> str:
    """The id of the event that will count the opening beside others; empty if none does."""
    counts, rule = explained.judgement.counts, explained.rule
    for note in explained.judgement.notes:
        if isinstance(note, Note) and counts.get(_COUNTED.get(note.kind, "")):
            kind = _REPORTED[note.kind]
            of_rule = (rule.id,) if kind is ReportKind.SUPPRESSED and rule is not None else ()
            return report_id(store_id, kind, note.key, note.value["since_ns"], *of_rule)
    return ""
