"""The judge: which finding is told, in which lane, with which score.

Every opening is accounted for once, in this order:

1. what is known of its node and kind is looked up: is it preexisting, is it novel;
2. the profile grades it;
3. the policy may suppress it: it is silenced and counted by rule (:mod:`detector.judging.audit`);
4. a preexisting one may be told in the context lane alone and counted in its node's summary;
5. it may be one of a burst: it is silenced and counted there;
6. all others are told, with what is left of the score after what their identity and their risk object have
   scored before. What scores nothing goes to the context lane, never nowhere.

A silenced session stays silent until it is released. The judge has no state: what it remembers is in notes,
which are handed in and come out, so a judgement that was not stored was never made. One thread uses it, and
stores each judgement before it asks for the next. Whoever does so

* looks up the notes of :meth:`Judge.keys` and hands them to :meth:`Judge.judge`;
* hands notes that are due, and those of :data:`detector.judging.notes.SETTLED` kinds that there is no room
  for, to :meth:`Judge.due`, with the notes of :meth:`Judge.keys_of_due`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from detector.events import Lane
from detector.judging import audit, bursts, caps, novelty, silence, summaries
from detector.judging.attack import attack_of
from detector.judging.bursts import Stake
from detector.judging.fields import fields_of
from detector.judging.notes import NoteKind, View
from detector.judging.objects import likeness_of, node_object, risk_object
from detector.judging.outcomes import Counted, Judgement, Told, Verdict
from detector.judging.profiles import PROFILES
from detector.policy import Action
from detector.types import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from detector.judging.notes import Note
    from detector.judging.objects import Likeness, RiskObject
    from detector.judging.outcomes import Policy, Report
    from detector.judging.profiles import Profile
    from detector.judging.rules import JudgeRules
    from detector.judging.silence import Silenced
    from detector.policy import Rule
    from detector.types import Finding


class Judge:
    """Judges findings by settings; see this module."""

    def __init__(self, rules: JudgeRules) -> None:
        self.rules = rules
        self.profile = PROFILES[rules.profile]

    @property
    def folds(self) -> bool:
        """Whether there are bursts."""
        return bool(self.rules.burst_after) and not self.profile.parity

    def object_of(self, finding: Finding) -> RiskObject:
        """What the risk of a shell is attributed to."""
        if self.profile.parity:
            return node_object(finding.shell, self.rules)
        return risk_object(finding.shell, finding.context, self.rules)

    def keys(self, findings: Iterable[Finding]) -> set[str]:
        """The keys of the notes that :meth:`judge` must be handed, as far as there are such notes."""
        return {key for finding in findings for key in self._keys(finding)}

    def judge(
        self,
        findings: Iterable[Finding],
        recalled: Mapping[str, Note],
        policy: Policy,
        now_ns: int,
        wall_ns: int,
    ) -> Judgement:
        """Judge findings in order of output, at a service time and a wall time."""
        sitting = _Sitting(self, View(recalled, now_ns), policy, wall_ns)
        told = [told for finding in findings if (told := sitting.hear(finding)) is not None]
        return Judgement(tuple(told), sitting.view.written(), dict(+sitting.counts))

    def keys_of_due(self, notes: Iterable[Note]) -> set[str]:
        """The keys of the notes that :meth:`due` must be handed beside those that are due."""
        if self.rules.max_per_object is None:
            return set()
        keys = (bursts.key_of_cap(note) for note in notes if note.kind is NoteKind.BURST)
        return {key for key in keys if key is not None}

    def due(self, notes: Iterable[Note], recalled: Mapping[str, Note], now_ns: int) -> Judgement:
        """End notes: tell what they have counted, and let them go."""
        view = View(recalled, now_ns)
        counts: Counter[str] = Counter()
        reports: list[Report] = []
        ending = sorted(notes, key=lambda note: (note.due_ns, note.key))
        # All at first: a report may begin anew what another of these notes ends.
        for note in ending:
            view.remove(note.key)
        for note in ending:
            for report in self._settle(view, note):
                counts[Counted.CAPPED] += report.capped_score is not None
                reports.append(report)
        return Judgement(tuple(reports), view.written(), dict(+counts))

    def _keys(self, finding: Finding) -> Iterator[str]:
        shell = finding.shell
        yield novelty.key_of_node(shell.node)
        yield silence.key_of_session(finding.session_id)
        if self.rules.max_per_object is not None:
            yield caps.key_of_object(self.object_of(finding))
        if finding.kind is not Kind.OPENED:
            return
        like = likeness_of(finding)
        if (of_kind := novelty.key_of_kind(like)) is not None:
            yield of_kind
        yield audit.key_of_audit(like)
        yield summaries.key_of_summary(shell.node)
        yield caps.key_of_identity(shell)
        if self.folds and bursts.may_fold(like, finding.context):
            yield from bursts.keys_of(like, shell.node)

    def _settle(self, view: View, note: Note) -> Iterator[Report]:
        if note.kind is NoteKind.BURST:
            report = bursts.settle(view, note, self.rules)
            if report is not None:
                yield report
        elif note.kind is NoteKind.AUDIT:
            yield from audit.settle(note, self.rules)
        elif note.kind is NoteKind.SUMMARY:
            yield summaries.settle(note, self.rules)


class _Sitting:
    """One judgement in the making."""

    def __init__(self, judge: Judge, view: View, policy: Policy, wall_ns: int) -> None:
        self.view = view
        self.counts: Counter[str] = Counter()
        self._judge = judge
        self._rules: JudgeRules = judge.rules
        self._profile: Profile = judge.profile
        self._policy = policy
        self._wall_ns = wall_ns

    def hear(self, finding: Finding) -> Told | None:
        """Judge one finding: how it is told, if it is."""
        first_ns = novelty.first_scrape(self.view, finding)
        preexisting = novelty.is_preexisting(finding, first_ns)
        finding = replace(finding, context=replace(finding.context, preexisting=preexisting))
        silenced = silence.find(self.view, finding.session_id)
        if finding.kind is Kind.OPENED:
            return self._opened(finding, silenced, first_ns)
        if silenced is None:
            return self._later(finding)
        self.counts[Counted.SILENT] += 1
        if finding.kind is Kind.CLOSED:
            silence.release(self.view, finding.session_id)
        else:
            silence.keep(self.view, silenced)
        return None

    def _opened(self, finding: Finding, silenced: Silenced | None, first_ns: int) -> Told | None:
        view = self.view
        if silenced is not None and not silenced.rule:
            self.counts[Counted.REPEATED] += 1
            return None
        like = likeness_of(finding)
        novel = (
            silenced.novel
            if silenced is not None
            else novelty.see(view, finding, like, first_ns, self._rules.baseline_ns)
        )
        rule = self._policy(fields_of(finding, novel=novel), self._wall_ns)
        if rule is not None and rule.action is Action.SUPPRESS:
            silence.silence(view, finding, rule=rule.id, novel=novel)
            self._suppress(finding, like, rule, again=silenced is not None)
            return None
        if silenced is not None:
            silence.release(view, finding.session_id)
            self.counts[Counted.RELEASED] += 1
        return self._graded(finding, like, rule, novel=novel)

    def _suppress(self, finding: Finding, like: Likeness, rule: Rule, *, again: bool) -> None:
        if again:
            self.counts[Counted.STILL_SUPPRESSED] += 1
        else:
            audit.count(self.view, finding, like, rule.id)
            self.counts[Counted.SUPPRESSED] += 1

    def _graded(
        self, finding: Finding, like: Likeness, rule: Rule | None, *, novel: bool | None
    ) -> Told | None:
        verdict = self._grade(finding, rule, novel=novel)
        ruled = rule is not None and rule.action is Action.SCORE
        as_one = not self._profile.parity and summaries.is_summarised(finding.context, self._rules)
        if as_one and not ruled:
            summaries.count(self.view, finding, like, self._rules)
            self.counts[Counted.SUMMARISED] += 1
            return self._tell(finding, replace(verdict, preexisting_summary=True))
        if self._judge.folds and bursts.may_fold(like, finding.context):
            stake = Stake(verdict.asked, verdict.object, verdict.attack)
            ask = bursts.fold(self.view, finding, like, stake, self._rules)
            if ask is None:
                silence.silence(self.view, finding)
                self.counts[Counted.FOLDED] += 1
                return None
            verdict = replace(verdict, asked=ask, repeated=ask < verdict.asked)
        return self._tell(finding, self._scored(finding, verdict))

    def _grade(self, finding: Finding, rule: Rule | None, *, novel: bool | None) -> Verdict:
        row = self._profile.grade(finding.context, novel=bool(novel))
        graded = self._rules.score if row.score is None else row.score
        verdict = replace(
            self._verdict(finding), graded=graded, graded_by=row.name, asked=graded, novel=novel
        )
        if rule is None:
            return verdict
        if rule.action is Action.ANNOTATE:
            told_with = (("policy.reason", rule.reason), ("policy.owner", rule.owner))
            return replace(verdict, rule=rule.id, annotations=told_with)
        return replace(verdict, rule=rule.id, asked=graded if rule.score is None else rule.score)

    def _later(self, finding: Finding) -> Told:
        verdict = self._verdict(finding)
        if self._profile.parity and finding.kind is Kind.ONGOING:
            verdict = self._scored(finding, replace(verdict, asked=self._rules.score))
        return Told(replace(finding, score=verdict.score), verdict)

    def _tell(self, finding: Finding, verdict: Verdict) -> Told:
        self.counts[Counted.TOLD] += 1
        return Told(replace(finding, score=verdict.score), verdict)

    def _verdict(self, finding: Finding) -> Verdict:
        """What every telling of a shell has, before anything scores."""
        names = [self._rules.name]
        if self._rules.cpu_rule and (finding.span.cpu or 0) > 0:
            names.append(self._rules.cpu_rule_name)
        return Verdict(
            lane=Lane.CONTEXT,
            score=0,
            object=self._judge.object_of(finding),
            attack=attack_of(finding.context),
            rules=tuple(names),
        )

    def _scored(self, finding: Finding, verdict: Verdict) -> Verdict:
        """The verdict with what is left of the score that is asked for."""
        left = verdict.asked
        if not self._profile.parity:
            left = caps.left_of_identity(self.view, finding.shell, left)
            self.counts[Counted.SPENT] += left < verdict.asked
        if not left:
            return verdict
        if not caps.spend_object(self.view, verdict.object, left, self._rules.max_per_object):
            self.counts[Counted.CAPPED] += 1
            return replace(verdict, capped_score=left)
        if not self._profile.parity:
            caps.spend_identity(self.view, finding.shell, left)
        return replace(verdict, lane=Lane.RISK, score=left)
