"""What is proposed covers what it says, whatever shells hold, and nobody's own shells."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.policy import Action
from otel_shell_detector.policies.file import PolicyError, load
from otel_shell_detector.policies.proposal import Proposal
from tests.otel_shell_detector.policies.policies import NOW_NS, claims, filled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from detector.policy import Policy

Shell = tuple[dict[str, str], int]

CRON: Final = {
    "shell.placement": "host",
    "systemd.unit": "cron.service",
    "process.parent.executable.name": "cron",
    "process.owner": "root",
    "shell.origin": "cron",
    "shell.mode": "command",
    "process.command_line": "sh -c run-parts 1",
}
PROBE: Final = {
    "shell.placement": "pod",
    "k8s.namespace.name": "shop",
    "k8s.deployment.name": "api",
    "k8s.container.name": "main",
    "k8s.pod.uid": "1e5a40fd",
    "process.parent.executable.name": "containerd-shim",
    "shell.origin": "container_exec",
    "shell.mode": "command",
    "process.command_line": "sh -c wget -q localhost",
}


def proposed(shells: Iterable[Shell], at_least: int = 1, at_most: int = 20) -> str:
    proposal = Proposal()
    for fields, points in shells:
        proposal.add(fields, points)
    return proposal.text(at_least, at_most)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proposals") / "policies.yaml"


def loaded(path: Path, text: str) -> Policy:
    path.write_text(text, encoding="utf-8")
    return load(path, NOW_NS, {}).policy


def hits(policy: Policy, shells: Iterable[Shell]) -> dict[str, tuple[int, int]]:
    """By rule: how many shells it decides on, and what they score."""
    count, points = Counter[str](), Counter[str]()
    for fields, score in shells:
        rule = policy.judge(fields, NOW_NS)
        if rule is not None:
            count[rule.id] += 1
            points[rule.id] += score
    return {each: (count[each], points[each]) for each in count}


def test_a_proposal_is_a_policy_with_what_a_person_must_write() -> None:
    assert proposed([(CRON, 5), (CRON, 0), (CRON | {"process.command_line": "sh -c run-parts x"}, 0)]) == (
        "# 3 shells, 5 points. Covered by rules: 3 shells, 5 points.\n"
        "#\n"
        "# A rule covers all that its unit, workload or pod runs in this way, seen here or not.\n"
        "# Before it lowers a score, let it say what is run (shell.runs). Then write reason and owner.\n"
        "rules:\n"
        "  # 3 shells, 5 points\n"
        "  #   2 x sh -c run-parts <n>\n"
        "  #   1 x sh -c run-parts x\n"
        "  - id: cron.service\n"
        "    reason: TODO\n"
        "    owner: TODO\n"
        "    action: annotate\n"
        "    matchers:\n"
        '      - systemd.unit="cron.service"\n'
        '      - shell.placement="host"\n'
        '      - shell.origin="cron"\n'
        '      - process.parent.executable.name="cron"\n'
        '      - process.owner="root"\n'
        '      - shell.escape_hint=""\n'
        '      - shell.mode=~"command|script"\n'
    )


def test_the_loader_refuses_it_until_both_texts_are_written(path: Path) -> None:
    text = proposed([(CRON, 5)])
    with pytest.raises(PolicyError) as refused:
        loaded(path, text)
    want = 'got "TODO"; want it written by somebody who knows'
    assert refused.value.mistakes == (f"{path}:9:13: reason: {want}", f"{path}:10:12: owner: {want}")
    with pytest.raises(PolicyError) as refused:
        loaded(path, text.replace("reason: TODO", "reason: known"))
    assert refused.value.mistakes == (f"{path}:10:12: owner: {want}",)
    assert [rule.id for rule in loaded(path, filled(text)).rules] == ["cron.service"]


@pytest.mark.parametrize(
    ("fields", "scope"),
    [
        (CRON, ['systemd.unit="cron.service"']),
        (PROBE, ['k8s.namespace.name="shop"', 'k8s.deployment.name="api"']),
        (PROBE | {"k8s.deployment.name": ""}, ['k8s.namespace.name="shop"', 'k8s.container.name="main"']),
        (PROBE | {"k8s.namespace.name": ""}, ['k8s.pod.uid="1e5a40fd"']),
        (
            PROBE | {"k8s.deployment.name": "", "k8s.container.name": "", "k8s.pod.name": "api-1"},
            ['k8s.pod.uid="1e5a40fd"'],
        ),
    ],
)
def test_a_rule_names_what_lasts_longest(path: Path, fields: dict[str, str], scope: list[str]) -> None:
    [rule] = loaded(path, filled(proposed([(fields, 0)]))).rules
    assert list(map(str, rule.matchers))[: len(scope)] == scope
    assert str(rule.matchers[len(scope)]).startswith("shell.placement=")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"shell.escape_hint": "nsenter"}, "with an escape hint"),
        ({"shell.mode": "login"}, "logins, or with commands from their input"),
        ({"shell.mode": "stdin"}, "logins, or with commands from their input"),
        ({"shell.origin": "login"}, "logins, or with commands from their input"),
        ({"shell.mode": "unknown"}, "of unknown placement, origin or mode"),
        ({"shell.origin": "unknown"}, "of unknown placement, origin or mode"),
        ({"shell.placement": "unknown"}, "of unknown placement, origin or mode"),
        ({"systemd.unit": ""}, "of no unit, workload or pod"),
        ({"shell.placement": "pod"}, "of no unit, workload or pod"),
    ],
)
def test_what_a_person_may_sit_at_or_little_is_known_of_is_only_counted(
    path: Path, change: dict[str, str], why: str
) -> None:
    alone = [(CRON | change, 40)] * 5
    text = proposed(alone)
    assert text.startswith(
        f"# 5 shells, 200 points. Covered by rules: 0 shells, 0 points.\n# Not covered: 5 {why}.\n"
    )
    assert text.endswith("\nrules: []\n")
    assert loaded(path, text).rules == ()
    # Nor does the rule for the others of its unit touch it.
    beside = loaded(path, filled(proposed([*alone, (CRON, 5)])))
    assert hits(beside, [*alone, (CRON, 5)]) == {"cron.service": (1, 5)}


def test_few_of_a_kind_are_no_noise_and_rules_are_bounded() -> None:
    shells = [
        (CRON | {"systemd.unit": f"u{number}.service"}, 1) for number in range(9) for _ in range(number)
    ]
    text = proposed(shells, at_least=3, at_most=4)
    assert claims(text) == {f"u{number}.service": (number, number) for number in (8, 7, 6, 5)}
    assert text.splitlines()[:3] == [
        "# 36 shells, 36 points. Covered by rules: 26 shells, 26 points.",
        "# Not covered: 7 in smaller groups.",
        "# Not covered: 3 in groups of fewer than 3.",
    ]


def test_a_shell_that_two_rules_cover_is_counted_with_the_first(path: Path) -> None:
    bare = PROBE | {"k8s.deployment.name": ""}
    shells = [*[(bare, 1)] * 4, *[(PROBE, 10)] * 3]
    text = proposed(shells)
    # That of the namespace and the container speaks of deployments too, and comes first.
    assert claims(text) == {"shop-main": (7, 34)}
    assert hits(loaded(path, filled(text)), shells) == claims(text)


def test_a_rule_for_a_pod_says_that_it_passes() -> None:
    text = proposed([(PROBE | {"k8s.namespace.name": ""}, 0)])
    assert "  # Of this pod alone: let the collector's k8sattributes processor name its workload.\n" in text


def test_ids_are_told_apart() -> None:
    units = ("A@x.service", "a-x.service", "a-x.service-2", "…")
    shells = [(CRON | {"systemd.unit": unit}, 9 - at) for at, unit in enumerate(units)]
    shells.append((CRON | {"systemd.unit": "a-x.service", "process.owner": "joe"}, 1))
    assert list(claims(proposed(shells))) == [
        "a-x.service",
        "a-x.service-2",
        "a-x.service-2-2",
        "rule",
        "a-x.service-3",
    ]


def test_what_strangers_wrote_stays_a_text_and_a_comment(path: Path) -> None:
    evil = "a: b #'\"\\{}\n  - id: x\u2028\x1b[2J\x00\u202e\x85\U0001f600\U000e0001"
    shells = [(CRON | {"process.parent.executable.name": evil, "process.command_line": f"sh -c {evil}"}, 0)]
    text = proposed(shells)
    assert [character for character in text if not character.isprintable() and character != "\n"] == []
    assert (
        r"""      - 'process.parent.executable.name="a: b #''\"\\{}\n  - id: x\u2028\u001b[2J\u0000\u202e"""
        "\\u0085\U0001f600\\U000e0001\"'\n"
    ) in text
    assert "  #   1 x sh -c a: b #'\"\\{} - id: x" in text
    [rule] = loaded(path, filled(text)).rules
    assert rule.applies(shells[0][0])


@pytest.mark.parametrize(
    "value", ["x: y", "x #y", "x'y: z", "#x", "x:", "- x", "x ", " x", "&x", "x, y", "{x}", "\t"]
)
def test_what_yaml_reads_otherwise_is_quoted(path: Path, value: str) -> None:
    fields = CRON | {"systemd.unit": value, "process.owner": value}
    [rule] = loaded(path, filled(proposed([(fields, 0)]))).rules
    assert rule.applies(fields)


def test_long_commands_are_cut_and_many_are_not_all_kept() -> None:
    shells = [(CRON | {"process.command_line": f"sh -c {'x' * 200}"}, 0)] * 2
    names = ("".join(chr(ord("a") + int(digit)) for digit in str(number)) for number in range(1100))
    shells += [(CRON | {"process.command_line": f"sh -c {name}"}, 0) for name in names]
    shells += [(CRON | {"process.command_line": "sh -c late"}, 0)] * 5
    examples = re.findall(r"^  #   (.*)$", proposed(shells), re.MULTILINE)
    assert examples == [f"2 x sh -c {'x' * 84}...", "1 x sh -c a", "1 x sh -c b"]


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def shells_of_strangers(draw: st.DrawFn) -> list[Shell]:
    """Few values for each field, so that some shells are alike."""
    some = {
        name: ["", *draw(st.lists(_TEXT, min_size=1, max_size=2))]
        for name in (
            "systemd.unit",
            "k8s.namespace.name",
            "k8s.deployment.name",
            "k8s.cronjob.name",
            "k8s.container.name",
            "k8s.pod.uid",
            "process.parent.executable.name",
            "process.owner",
            "process.command_line",
        )
    } | {
        "shell.placement": ["host", "pod", "unknown"],
        "shell.origin": ["child", "service", "login", "unknown"],
        "shell.mode": ["command", "script", "stdin", "unknown"],
        "shell.escape_hint": ["", "nsenter"],
    }
    fields = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in some.items()})
    known = fields.map(lambda each: {name: value for name, value in each.items() if value})
    return draw(st.lists(st.tuples(known, st.integers(0, 60)), max_size=40))


@given(shells=shells_of_strangers(), at_least=st.integers(1, 3), at_most=st.integers(1, 6))
def test_a_rule_covers_exactly_what_it_says(
    path: Path, shells: list[Shell], at_least: int, at_most: int
) -> None:
    text = proposed(shells, at_least, at_most)
    assert proposed(shells, at_least, at_most) == text
    assert proposed(shells[::-1], at_least, at_most) == text
    policy = loaded(path, filled(text))
    assert hits(policy, shells) == claims(text)
    assert len(policy.rules) <= at_most
    for fields, _ in shells:
        if policy.judge(fields, NOW_NS) is not None:
            assert is_routine(fields)


def is_routine(fields: Mapping[str, str]) -> bool:
    return (
        "shell.escape_hint" not in fields
        and fields["shell.mode"] in {"command", "script"}
        and fields["shell.origin"] in {"child", "service"}
        and fields["shell.placement"] in {"host", "pod"}
    )


@given(shells=shells_of_strangers())
def test_a_proposed_rule_may_suppress_without_more(path: Path, shells: list[Shell]) -> None:
    annotating = loaded(path, filled(proposed(shells)))
    suppressing = loaded(path, filled(proposed(shells), action="suppress"))
    assert {rule.action for rule in annotating.rules} <= {Action.ANNOTATE}
    assert {rule.action for rule in suppressing.rules} <= {Action.SUPPRESS}
    assert hits(suppressing, shells) == hits(annotating, shells)
