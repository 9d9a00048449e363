"""What rules suppressed: counted by rule and key for a minute, then told in the audit lane.

One note holds the rules of a key, for which rule it is is known only after the look-ups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector.events import Lane
from detector.judging.gathering import Gathering
from detector.judging.notes import Note, NoteKind, key_of
from detector.judging.objects import described, pairs
from detector.judging.outcomes import Report, ReportKind, report_id
from detector.types import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.judging.notes import View
    from detector.judging.objects import Likeness
    from detector.judging.rules import JudgeRules
    from detector.types import Finding

PERIOD_NS: Final = 60 * NANOSECONDS
SAMPLES: Final = 5
"""How many sessions of a rule and key a report names."""


def key_of_audit(like: Likeness) -> str:
    """The key of the note that counts what is suppressed of a key."""
    return key_of(NoteKind.AUDIT, *like.key)


def count(view: View, finding: Finding, like: Likeness, rule: str) -> None:
    """A rule suppressed an opening."""
    key = key_of_audit(like)
    note = view.find(key)
    before: dict[str, Any] = dict(note.value) if note else {}
    by_rule = dict(before.get("rules", {}))
    gathering = Gathering.load(by_rule[rule]) if rule in by_rule else Gathering()
    by_rule[rule] = gathering.with_one(finding, (finding.session_id,), SAMPLES).dump()
    value = {
        "since_ns": before.get("since_ns", view.now_ns),
        "cluster": like.cluster,
        "fields": before.get("fields") or [list(pair) for pair in described(like, finding)],
        "rules": by_rule,
    }
    view.write(Note(NoteKind.AUDIT, key, value, value["since_ns"] + PERIOD_NS))


def settle(note: Note, rules: JudgeRules) -> Iterator[Report]:
    """The reports on a minute: one for each rule."""
    value = note.value
    for rule, dumped in sorted(value["rules"].items()):
        gathering = Gathering.load(dumped)
        yield Report(
            kind=ReportKind.SUPPRESSED,
            event_id=report_id(rules.store_id, ReportKind.SUPPRESSED, note.key, value["since_ns"], rule),
            lane=Lane.AUDIT,
            cluster=value["cluster"],
            node=None,
            host=gathering.host,
            count=gathering.count,
            first_ns=gathering.first_ns,
            last_ns=gathering.last_ns,
            fields=(
                ("policy.rule", rule),
                *pairs(value["fields"]),
                ("session_ids", gathering.column(0)),
            ),
        )
