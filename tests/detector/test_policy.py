"""What a policy decides, apart from how it is written. Patterns are of Python's engine here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.policy import Action, Matcher, Miss, NearMiss, Operator, Policy, Rule, is_reported

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_000
LATER = 2_000


def matcher(name: str, operator: str, value: str) -> Matcher:
    kind = Operator(operator)
    if kind in {Operator.EQUAL, Operator.NOT_EQUAL}:
        return Matcher(name, kind, value)
    pattern = re.compile(value, re.DOTALL)
    return Matcher(name, kind, value, lambda text: pattern.fullmatch(text) is not None)


def rule(
    *matchers: tuple[str, str, str],
    name: str = "r",
    action: Action = Action.SUPPRESS,
    expires_ns: int = LATER,
    score: int | None = None,
) -> Rule:
    return Rule(name, "why", "who", tuple(matcher(*each) for each in matchers), action, expires_ns, score)


UNIT = ("systemd.unit", "=", "cron.service")
CRON = {"systemd.unit": "cron.service", "process.executable.name": "sh"}


@pytest.mark.parametrize(
    ("condition", "texts"),
    [
        (("systemd.unit", "=", "a"), {"a": True, "b": False, "": False, "aa": False}),
        (("systemd.unit", "!=", "a"), {"a": False, "b": True, "": True}),
        (("systemd.unit", "=", ""), {"": True, "a": False}),
        (("systemd.unit", "!=", ""), {"": False, "a": True}),
        (("systemd.unit", "=~", "a|b"), {"a": True, "b": True, "": False, "ab": False}),
        (("systemd.unit", "!~", "a|b"), {"a": False, "b": False, "": True, "ab": True}),
        (("systemd.unit", "=~", ".*"), {"": True, "a\nb": True}),
        (("systemd.unit", "!~", ".+"), {"": True, "a": False}),
    ],
)
def test_a_missing_field_is_the_empty_text(condition: tuple[str, str, str], texts: dict[str, bool]) -> None:
    found = matcher(*condition)
    assert {text: found.accepts(text) for text in texts} == texts
    assert found.insists is (condition[1] in {"=", "=~"} and not texts[""])
    told = rule(condition, action=Action.ANNOTATE)
    assert {text: told.applies({"systemd.unit": text}) for text in texts} == texts
    assert told.applies({}) is texts[""]


def test_a_matcher_is_written_as_it_is_read() -> None:
    assert str(matcher("shell.runs", "!~", 'a"\\.\n')) == r'shell.runs!~"a\"\\.\n"'


def test_no_missing_field_satisfies_a_negative_matcher_of_a_rule_that_suppresses() -> None:
    for negative in (("process.owner", "!=", "root"), ("process.owner", "!~", "root|daemon")):
        suppresses = rule(UNIT, negative)
        annotates = rule(UNIT, negative, action=Action.ANNOTATE)
        scores = rule(UNIT, negative, action=Action.SCORE, score=5)
        for fields in (CRON, CRON | {"process.owner": ""}):
            assert not suppresses.applies(fields)
            assert annotates.applies(fields)
            assert scores.applies(fields)
        assert suppresses.applies(CRON | {"process.owner": "www-data"})


def test_a_positive_matcher_of_a_missing_field_is_meant() -> None:
    assert rule(UNIT, ("container.id", "=", "")).applies(CRON)


def test_an_escape_hint_is_suppressed_by_name_alone() -> None:
    escaped = CRON | {"shell.escape_hint": "nsenter", "shell.placement": "host", "shell.origin": "cron"}
    by_place = rule(UNIT, ("shell.placement", "=", "host"), ("shell.origin", "=", "cron"))
    assert by_place.applies(CRON | {"shell.placement": "host", "shell.origin": "cron"})
    assert not by_place.applies(escaped)
    for vague in ("=", ""), ("!=", "chroot"), ("!~", "chroot"), ("=~", ".*"):
        assert not rule(UNIT, ("shell.escape_hint", *vague)).applies(escaped)
    for named in ("=", "nsenter"), ("=~", "nsenter|chroot"):
        assert rule(UNIT, ("shell.escape_hint", *named)).applies(escaped)
    annotates = rule(UNIT, ("shell.placement", "=", "host"), action=Action.ANNOTATE)
    assert annotates.applies(escaped)


@pytest.mark.parametrize(
    ("matchers", "anchored"),
    [
        ([UNIT], True),
        ([("k8s.namespace.name", "=~", "ci-.*")], True),
        ([("container.init", "=", "true")], True),
        ([("container.id", "=", "")], False),
        ([("process.owner", "=~", "root|")], False),
        ([("process.owner", "!=", "root")], False),
        ([("process.executable.path", "!~", "/tmp/.*")], False),
        ([("process.command_line", "=", "sh"), ("process.executable.name", "=", "sh")], False),
        ([("shell.placement", "=", "host"), ("systemd.slice", "=", "system.slice")], False),
        ([("process.command_line", "=~", ".*"), UNIT], True),
    ],
)
def test_an_anchor_is_a_positive_matcher_on_what_is_reported(
    matchers: list[tuple[str, str, str]], anchored: bool
) -> None:
    assert rule(*matchers).is_anchored is anchored


def test_what_the_kernel_or_the_cluster_reports_is_told_from_what_an_attacker_writes() -> None:
    names = ["systemd.unit", "k8s.pod.uid", "process.command_line", "process.executable.name", "k8s"]
    assert [is_reported(name) for name in names] == [True, True, False, False, False]


def test_the_first_rule_that_applies_decides() -> None:
    rules = [
        rule(("systemd.unit", "=", "other.service"), name="other"),
        rule(UNIT, name="past", expires_ns=NOW),
        rule(("process.executable.name", "=~", "sh|bash"), name="named", action=Action.ANNOTATE),
        rule(UNIT, name="late"),
    ]
    policy = Policy(rules)
    assert policy.judge(CRON, NOW) is rules[2]
    assert policy.checks == 2
    assert policy.judge(CRON, NOW - 1) is rules[1]
    assert policy.judge({"systemd.unit": "x"}, NOW) is None
    assert policy.checks == 1
    assert (Policy().judge(CRON, NOW), Policy().most_checks) == (None, 0)


def test_a_rule_is_in_force_until_its_end_and_not_longer() -> None:
    only = rule(UNIT, expires_ns=NOW)
    policy = Policy([only])
    assert [policy.judge(CRON, at) for at in (NOW - 1, NOW, NOW + 1)] == [only, None, None]
    assert [policy.expired(at) for at in (NOW - 1, NOW)] == [[], [only]]


def test_the_rules_that_are_close_say_what_keeps_them() -> None:
    fields = CRON | {"shell.escape_hint": "nsenter"}
    decides = rule(("systemd.unit", "=~", "cron.*"), name="decides", action=Action.ANNOTATE)
    one_off = rule(UNIT, ("process.owner", "=", "root"), name="one-off", action=Action.ANNOTATE)
    two_off = rule(("process.owner", "=", "root"), ("shell.mode", "=", "login"), name="two-off")
    past = rule(UNIT, name="past", action=Action.ANNOTATE, expires_ns=NOW)
    past_and_off = rule(("shell.mode", "=", "login"), action=Action.ANNOTATE, expires_ns=NOW)
    spares = rule(UNIT, name="spares")
    shadowed = rule(UNIT, name="shadowed", action=Action.ANNOTATE)
    policy = Policy([one_off, two_off, past, past_and_off, spares, decides, shadowed])
    expected = [
        NearMiss(one_off, Miss.MATCHER, matcher("process.owner", "=", "root")),
        NearMiss(past, Miss.EXPIRED),
        NearMiss(spares, Miss.ESCAPE_HINT),
        NearMiss(shadowed, Miss.SHADOWED),
    ]
    assert policy.explain(fields, NOW, 10) == expected
    assert policy.explain(fields, NOW, 2) == expected[:2]


def test_a_digest_is_of_what_a_rule_does() -> None:
    owner = ("process.owner", "=", "root")
    first = rule(UNIT, owner)
    same = Rule("r", "another reason", "another owner", first.matchers[::-1], Action.SUPPRESS, NOW)
    others = [
        rule(UNIT),
        rule(UNIT, owner, name="s"),
        rule(UNIT, owner, action=Action.ANNOTATE),
        rule(UNIT, owner, action=Action.SCORE, score=1),
        rule(UNIT, owner, action=Action.SCORE, score=2),
        Rule("r", "why", "who", first.matchers, Action.SUPPRESS, LATER, unsafe=True),
    ]
    assert same.digest == first.digest
    assert len({first.digest, *(each.digest for each in others)}) == 7


def test_a_thousand_rules_cost_the_few_that_might_apply() -> None:
    """950 rules for 95 units and ten programs each, and 50 that only a pattern can tell."""
    indexed = [
        rule(
            ("process.executable.name", "=", "sh"),
            ("systemd.unit", "=", f"unit-{number % 95}.service"),
            ("shell.runs", "=", f"program-{number // 95}"),
        )
        for number in range(950)
    ]
    loose = [rule(("process.owner", "=~", f"user-{number}")) for number in range(50)]
    policy = Policy([*indexed, *loose])
    shell = {"process.executable.name": "sh", "process.owner": "root"}
    assert policy.most_checks == 50 + 10
    for fields, checks in (
        (shell, 50),
        (shell | {"systemd.unit": "unit-7.service"}, 60),
        (shell | {"systemd.unit": "unit-7.service", "shell.runs": "program-3"}, 4),
        (shell | {"systemd.unit": "no-such.service", "shell.runs": "program-3"}, 50),
    ):
        policy.judge(fields, NOW)
        assert policy.checks == checks


NAMES = ("systemd.unit", "process.owner", "shell.escape_hint", "shell.runs")
CONDITIONS = st.tuples(
    st.sampled_from(NAMES), st.sampled_from(["=", "!=", "=~", "!~"]), st.sampled_from(["", "a", "b"])
)
RULES = st.lists(
    st.builds(
        lambda conditions, action, expires_ns: rule(*conditions, action=action, expires_ns=expires_ns),
        st.lists(CONDITIONS, min_size=1, max_size=3),
        st.sampled_from(Action),
        st.sampled_from([NOW, LATER]),
    ),
    max_size=12,
)
FIELDS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "a", "b"]))


def holds(condition: Matcher, fields: Mapping[str, str]) -> bool:
    """Of a pattern that is a plain word."""
    same = fields.get(condition.name, "") == condition.value
    return same == (condition.operator in {"=", "=~"})


def decides(each: Rule, fields: Mapping[str, str]) -> bool:
    """A rule read one sentence of the specification after the other."""
    if each.expires_ns <= NOW or not all(holds(condition, fields) for condition in each.matchers):
        return False
    if each.action != "suppress":
        return True
    negative = [condition for condition in each.matchers if condition.operator in {"!=", "!~"}]
    if any(fields.get(condition.name, "") == "" for condition in negative):
        return False
    named = [
        (condition.name, condition.operator in {"=", "=~"}) for condition in each.matchers if condition.value
    ]
    return fields.get("shell.escape_hint", "") == "" or ("shell.escape_hint", True) in named


@given(RULES, FIELDS)
def test_the_index_changes_no_decision(rules: list[Rule], fields: dict[str, str]) -> None:
    policy = Policy(rules)
    assert policy.judge(fields, NOW) is next((each for each in rules if decides(each, fields)), None)
    assert policy.checks <= policy.most_checks <= len(rules)
