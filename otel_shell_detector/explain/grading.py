"""How a score came about, step by step, in words that are the same for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.judging.bursts import keys_of as burst_keys
from detector.judging.outcomes import Counted, ReportKind, Told, report_id
from detector.judging.rules import Preexisting
from detector.policy import Action, Miss
from otel_shell_detector.explain.document import when

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.judging.bursts import Standing
    from detector.judging.explanation import Explanation, RowTried
    from detector.judging.outcomes import Verdict
    from detector.judging.profiles import Lack
    from detector.judging.rules import JudgeRules
    from detector.policy import NearMiss, Rule
    from otel_shell_detector.explain.document import Json

_MISSES = {
    Miss.EXPIRED: "it is past its end",
    Miss.ESCAPE_HINT: "it suppresses, and does not name shell.escape_hint",
    Miss.SHADOWED: "an earlier rule decides",
}
_UNTOLD = (Counted.SUPPRESSED, Counted.STILL_SUPPRESSED, Counted.FOLDED, Counted.REPEATED)
_NS_PER_S = 1_000_000_000


def profile_of(explained: Explanation, rules: JudgeRules) -> Json:
    """The rows of the profile up to the one that matches, and what each earlier one lacked."""
    return {
        "profile": rules.profile,
        "row": explained.row.name,
        "score": rules.score if explained.row.score is None else explained.row.score,
        "tried": [_row(tried, rules) for tried in explained.rows],
    }


def _row(tried: RowTried, rules: JudgeRules) -> Json:
    return {
        "row": tried.row.name,
        "score": rules.score if tried.row.score is None else tried.row.score,
        "lacks": [_lack(lack) for lack in tried.lacks],
    }


def _lack(lack: Lack) -> Json:
    return {"field": lack.field, "found": lack.found, "wanted": " or ".join(lack.wanted) or "any text"}


def policy_of(explained: Explanation, rules_in_force: int) -> Json:
    """The rule that decides, and those that nearly do."""
    rule = explained.rule
    return {
        "rules": rules_in_force,
        "rule": None if rule is None else _rule(rule),
        "near": [_near(miss, explained.fields) for miss in explained.near],
    }


def _rule(rule: Rule) -> Json:
    action = f"score: {rule.score}" if rule.action is Action.SCORE else rule.action.value
    return {"rule": rule.id, "action": action, "owner": rule.owner, "reason": rule.reason}


def _near(miss: NearMiss, fields: Mapping[str, str]) -> Json:
    matcher = miss.matcher
    if matcher is None:
        return {**_rule(miss.rule), "because": miss.because.value, "says": _MISSES[miss.because]}
    return {
        **_rule(miss.rule),
        "because": miss.because.value,
        "field": matcher.name,
        "found": fields.get(matcher.name, ""),
        "wanted": str(matcher),
    }


def steps_of(explained: Explanation, rules: JudgeRules) -> list[Json]:
    """What was decided after profile and policy, in the judge's order."""
    told = explained.judgement.tellings
    verdict = told[0].verdict if told and isinstance(told[0], Told) else None
    steps = [("novel", _novel(explained, rules)), ("preexisting", _preexisting(explained, rules))]
    if explained.judgement.counts.get(Counted.SUPPRESSED) or explained.silenced is not None:
        return _as_json(steps)
    steps.append(("burst", _burst(explained, rules)))
    if verdict is None or verdict.preexisting_summary:
        return _as_json(steps)
    asked = verdict.asked
    if verdict.repeated:
        steps.append(("repeated", f"the same command scored here within the period: {asked} left"))
    if rules.profile == "seed":
        steps.append(("identity", "the profile seed scores each time that a shell is told"))
    else:
        left = max(0, asked - explained.identity_scored)
        steps.append(("identity", f"this shell scored {explained.identity_scored} before: {left} left"))
    steps.append(("object", _object(explained, rules, capped=verdict.capped_score)))
    return _as_json(steps)


def _as_json(steps: list[tuple[str, str]]) -> list[Json]:
    return [{"step": step, "says": says} for step, says in steps]


def _novel(explained: Explanation, rules: JudgeRules) -> str:
    if explained.novel:
        return "nothing like it was seen in the 30 days before"
    if explained.novel is None:
        return "cannot be told: neither a command line nor a parent is known"
    first_ns = explained.first_scrape_ns
    over_ns = first_ns + rules.baseline_ns
    if not first_ns or explained.finding.first_seen_ns < over_ns:
        since = when(first_ns) or "an unknown time"
        return f"no: the node is watched since {since}, and risk.baseline is not over"
    return "no: its like was seen in the 30 days before"


def _preexisting(explained: Explanation, rules: JudgeRules) -> str:
    if not explained.finding.context.preexisting:
        return "no: it started after the node's first known scrape"
    first = when(explained.first_scrape_ns)
    if explained.summarised:
        return f"started before the node's first scrape ({first}): counted in the summary, no score"
    if rules.preexisting is Preexisting.SUMMARY:
        return f"started before the node's first scrape ({first}), but reads commands or hints at an escape"
    return f"started before the node's first scrape ({first}); risk.preexisting: score grades it all the same"


def _burst(explained: Explanation, rules: JudgeRules) -> str:
    if explained.judgement.counts.get(Counted.SUMMARISED):
        return "not asked: it is in the summary"
    if explained.bursts is None:
        return f"never: {_unfoldable(explained, rules)}"
    period = f"in {rules.burst_period_ns // _NS_PER_S} s"
    here, everywhere = _told(explained.bursts.here), _told(explained.bursts.everywhere)
    most, most_everywhere = rules.burst_after, rules.burst_after_all
    if here >= most:
        return f"folded: {here} like it were told on this node before, at most {most} {period} are"
    if everywhere >= most_everywhere:
        return f"folded: {everywhere} like it were told on all nodes, at most {most_everywhere} {period} are"
    return f"no: {here} like it were told on this node before, up to {most} {period} are"


def _unfoldable(explained: Explanation, rules: JudgeRules) -> str:
    if not rules.burst_after or rules.profile == "seed":
        return "folding is off"
    if explained.finding.context.escape_hint:
        return "it hints at an escape"
    return "too little is known of it to call another the same"


def _told(standing: Standing | None) -> int:
    return 0 if standing is None else standing.told


def _object(explained: Explanation, rules: JudgeRules, capped: int | None) -> str:
    most = rules.max_per_object
    if most is None or explained.object_scored is None:
        return "no cap: risk.max_per_object is not set"
    said = (
        f"{explained.object_scored} of at most {most.points} in {most.period_ns // _NS_PER_S} s scored before"
    )
    return said if capped is None else f"{said}: {capped} more would exceed it, so it does not score"


def result_of(explained: Explanation) -> Json:
    """What became of the opening."""
    counts = explained.judgement.counts
    outcome = next((str(what) for what in _UNTOLD if counts.get(what)), "told")
    result: Json = {"outcome": outcome, "object": explained.object.name, "score": 0}
    for telling in explained.judgement.tellings:
        if isinstance(telling, Told):
            verdict = telling.verdict
            result |= {"lane": verdict.lane.value, "score": verdict.score, "attack": list(verdict.attack)}
            if verdict.capped_score is not None:
                result["capped_score"] = verdict.capped_score
            if not verdict.score:
                result["because"] = _lost(explained, verdict)
    return result


def _lost(explained: Explanation, verdict: Verdict) -> str:
    """Why a shell that is told scores nothing."""
    if verdict.preexisting_summary:
        return "it was there before the node was watched (risk.preexisting: summary)"
    if verdict.capped_score is not None:
        return "its risk object may not score more for now (risk.max_per_object)"
    if verdict.repeated and not verdict.asked:
        return "the same command scored here within the period (risk.burst.period)"
    if verdict.asked:
        return "it has scored before, in an earlier session"
    ruled = explained.rule is not None and explained.rule.action is Action.SCORE
    return "a rule of the policy gives 0" if ruled else "its row of the profile gives 0"


# --- of a session that is open: what stands now


def standing_result(explained: Explanation, rules: JudgeRules) -> Json:
    """What became of a session, as far as the notes tell."""
    silenced = explained.silenced
    if silenced is not None:
        outcome = Counted.SUPPRESSED if silenced.rule else Counted.FOLDED
        by = {"rule": silenced.rule} if silenced.rule else {}
        return {"outcome": outcome.value, "object": explained.object.name, "score": 0, **by}
    if rules.profile == "seed":
        return {"outcome": "told", "object": explained.object.name, "score": None}
    score = explained.identity_scored
    lane = "risk" if score else "context"
    return {"outcome": "told", "object": explained.object.name, "score": score, "lane": lane}


def standing_burst(explained: Explanation, store_id: str) -> Json | None:
    """The burst that a silenced session is counted in, while it is counted."""
    silenced = explained.silenced
    if silenced is None or silenced.rule or explained.bursts is None:
        return None
    keys = burst_keys(explained.like, explained.finding.shell.node)
    standings = (explained.bursts.here, explained.bursts.everywhere)
    found = [
        (key, each) for key, each in zip(keys, standings, strict=True) if each is not None and each.folded
    ]
    listed = [(key, each) for key, each in found if silenced.session_id in each.sessions]
    for key, each in listed or found:
        told = report_id(store_id, ReportKind.BURST, key, each.since_ns)
        return {"event_id": told, "kind": "burst", "lane": None, "score": None, "count": each.folded}
    return None


def standing_steps(explained: Explanation, rules: JudgeRules, *, novel_is_known: bool) -> list[Json]:
    """What the notes tell now of what decided then."""
    novel = "not kept: the event of its opening says it (shell.novel); the rows are tried as if it was not"
    if novel_is_known:
        novel = "it was, when it opened" if explained.novel else "it was not, or could not be told"
    steps = [("novel", novel), ("preexisting", _preexisting(explained, rules))]
    if explained.bursts is None:
        steps.append(("burst", _burst(explained, rules)))
    else:
        here = explained.bursts.here
        counts = "0 like it told" if here is None else f"{here.told} like it told, {here.folded} folded"
        steps.append(("burst", f"{counts} on this node in the period that runs"))
    steps.append(("identity", f"this shell has scored {explained.identity_scored}"))
    most = rules.max_per_object
    if most is None:
        steps.append(("object", "no cap: risk.max_per_object is not set"))
    else:
        seconds = most.period_ns // _NS_PER_S
        steps.append(("object", f"{explained.object_scored} of at most {most.points} in {seconds} s scored"))
    return _as_json(steps)
