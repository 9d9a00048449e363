"""Rules that somebody may want, from the shells that a capture has.

1. A group is what a unit, a workload or a pod runs below the same parent, as the same user, in the same way
   (``shell.origin``). A rule is proposed for a group of several shells; those with the most come first.
2. A shell that a person may sit at, or of which too little is known, is in no group: it is only counted. A
   rule says so too: its matchers do not hold for such a shell, though it belongs to the same unit.
3. A rule only annotates, and its ``reason`` and ``owner`` are ``TODO``, which the loader refuses. It insists
   on what the kernel or the cluster reports, so that it may become one that suppresses.
4. What a rule is said to cover is counted with the rules as written, in the order in which they stand.

What shells hold is a stranger's to write: in matchers it is escaped, in comments only characters are left
that can be seen.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.context import Mode, Origin, Placement
from detector.policy import ESCAPE_HINT, Action, Operator, Policy, Rule
from detector.template import normalize
from otel_shell_detector.kinds import one_line
from otel_shell_detector.policies.matchers import parse, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_TODO: Final = "TODO"
_NEVER_NS: Final = 1 << 62
_NOT_IN_ID: Final = re.compile(r"[^a-z0-9._-]+")
_SLUG_CHARACTERS: Final = 56
_POD: Final = "k8s.pod.uid"
AT_LEAST: Final = 3
"""Shells that make a group. A few of a kind are no noise, and may be an intruder's."""
AT_MOST: Final = 20
"""Rules: as many as somebody reads."""
_EXAMPLES: Final = 3
_EXAMPLE_CHARACTERS: Final = 90
_TEMPLATES: Final = 1000
"""Templates that are counted of shells that are alike; what comes after is not shown."""

_WORKLOADS: Final = (
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.container.name",
)
"""Names that last longer than a pod, with the namespace; the first that there is."""
_MATCHED: Final = (
    "shell.placement",
    "systemd.unit",
    "k8s.namespace.name",
    *_WORKLOADS,
    _POD,
    "process.parent.executable.name",
    "process.owner",
    "shell.origin",
    "shell.mode",
    ESCAPE_HINT,
)
"""All that a proposed rule looks at: shells that have these in common are one to it."""
_RUNS_SOMETHING: Final = f"{Mode.COMMAND}|{Mode.SCRIPT}"


@dataclass(slots=True)
class _Shells:
    """A number of shells, with their templates."""

    count: int = 0
    points: int = 0
    templates: Counter[str] = field(default_factory=Counter)

    def add(self, other: _Shells) -> None:
        """Take others in."""
        self.count += other.count
        self.points += other.points
        self.templates.update(other.templates)


class _Group(NamedTuple):
    """What shells have in common that one rule is for. ``scope``: fields that name where they belong."""

    scope: tuple[tuple[str, str], ...]
    placement: str
    origin: str
    parent: str
    owner: str

    @property
    def matchers(self) -> tuple[str, ...]:
        """All of them positive: a field that these shells lack, others must lack too."""
        equal = (
            *self.scope,
            ("shell.placement", self.placement),
            ("shell.origin", self.origin),
            ("process.parent.executable.name", self.parent),
            ("process.owner", self.owner),
            (ESCAPE_HINT, ""),
        )
        return (
            *(write(name, Operator.EQUAL, value) for name, value in equal),
            write("shell.mode", Operator.MATCHES, _RUNS_SOMETHING),
        )

    @property
    def is_passing(self) -> bool:
        """Whether it is one pod's, and over with that."""
        return self.scope[0][0] == _POD

    @property
    def slug(self) -> str:
        """What an id can begin with."""
        words = [value for _, value in self.scope]
        text = _NOT_IN_ID.sub("-", "-".join(["pod", *words] if self.is_passing else words).lower())
        return text[:_SLUG_CHARACTERS].lstrip("._-") or "rule"


def _scope(fields: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Fields that name where a shell belongs, empty if nothing does."""

    def named(*names: str) -> tuple[tuple[str, str], ...]:
        return tuple((name, fields[name]) for name in names)

    if fields["shell.placement"] == Placement.HOST:
        return named("systemd.unit") if fields["systemd.unit"] else ()
    workload = next((name for name in _WORKLOADS if fields[name]), None)
    if workload and fields["k8s.namespace.name"]:
        return named("k8s.namespace.name", workload)
    return named(_POD) if fields[_POD] else ()


_LEFT_OUT: Final[Sequence[tuple[str, Callable[[Mapping[str, str]], bool]]]] = (
    ("with an escape hint", lambda fields: bool(fields[ESCAPE_HINT])),
    (
        "logins, or with commands from their input",
        lambda fields: (
            fields["shell.mode"] in {Mode.LOGIN, Mode.STDIN} or fields["shell.origin"] == Origin.LOGIN
        ),
    ),
    (
        "of unknown placement, origin or mode",
        lambda fields: (
            fields["shell.placement"] not in {Placement.HOST, Placement.POD}
            or fields["shell.origin"] in {"", Origin.UNKNOWN}
            or fields["shell.mode"] not in {Mode.COMMAND, Mode.SCRIPT}
        ),
    ),
    ("of no unit, workload or pod", lambda fields: not _scope(fields)),
)
"""Shells that no rule is proposed for, and why not; the first that holds."""


class Proposal:
    """Takes shells, gives a policy."""

    def __init__(self) -> None:
        self._alike: dict[tuple[str, ...], _Shells] = {}

    def add(self, fields: Mapping[str, str], points: int) -> None:
        """Take a shell: its fields as a matcher sees them, and what it scores."""
        shells = self._alike.setdefault(tuple(fields.get(name, "") for name in _MATCHED), _Shells())
        shells.count += 1
        shells.points += points
        template = normalize(fields.get("process.command_line", ""))
        if template in shells.templates or len(shells.templates) < _TEMPLATES:
            shells.templates[template] += 1

    def text(self, at_least: int = AT_LEAST, at_most: int = AT_MOST) -> str:
        """A policy file with at most so many rules, each for a group of at least so many shells."""
        groups, left_out = self._groups()
        large = [group for group, shells in groups.items() if shells.count >= at_least]
        rules = _rules(large[:at_most])
        policy = Policy(rules)
        covered = {rule.id: _Shells() for rule in rules}
        for fields, shells in self._each():
            rule = policy.judge(fields, 0)
            if rule is not None:
                covered[rule.id].add(shells)
            elif (group := _group(fields)) is not None:
                few = groups[group].count < at_least
                left_out[f"in groups of fewer than {at_least}" if few else "in smaller groups"] += (
                    shells.count
                )
        parts = [
            _rule_text(rule, group, covered[rule.id])
            for rule, group in zip(rules, large, strict=False)
            if covered[rule.id].count
        ]
        head = self._head(list(covered.values()), left_out)
        return head + ("rules:\n" + "\n".join(parts) if parts else "rules: []\n")

    def _each(self) -> Iterator[tuple[Mapping[str, str], _Shells]]:
        for values, shells in self._alike.items():
            yield dict(zip(_MATCHED, values, strict=True)), shells

    def _groups(self) -> tuple[dict[_Group, _Shells], Counter[str]]:
        """The groups, those with the most shells first, and how many shells are in none, by why not."""
        groups: dict[_Group, _Shells] = {}
        left_out: Counter[str] = Counter()
        for fields, shells in self._each():
            group = _group(fields)
            if group is None:
                left_out[_reason(fields)] += shells.count
            else:
                groups.setdefault(group, _Shells()).add(shells)
        ordered = sorted(groups.items(), key=lambda item: (-item[1].count, -item[1].points, item[0]))
        return dict(ordered), left_out

    def _head(self, covered: Sequence[_Shells], left_out: Mapping[str, int]) -> str:
        every = list(self._alike.values())
        lines = [
            f"{_numbers(every)}. Covered by rules: {_numbers(covered)}.",
            *(
                f"Not covered: {number} {why}."
                for why, number in sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
            ),
            "",
            "A rule covers all that its unit, workload or pod runs in this way, seen here or not.",
            "Before it lowers a score, let it say what is run (shell.runs). Then write reason and owner.",
        ]
        return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _numbers(shells: Sequence[_Shells]) -> str:
    return f"{sum(each.count for each in shells)} shells, {sum(each.points for each in shells)} points"


def _reason(fields: Mapping[str, str]) -> str:
    """Why no rule is proposed for a shell; empty if one may be."""
    return next((why for why, holds in _LEFT_OUT if holds(fields)), "")


def _group(fields: Mapping[str, str]) -> _Group | None:
    if _reason(fields):
        return None
    return _Group(
        _scope(fields),
        fields["shell.placement"],
        fields["shell.origin"],
        fields["process.parent.executable.name"],
        fields["process.owner"],
    )


def _rules(groups: Sequence[_Group]) -> list[Rule]:
    """A rule for each group, with an id of its own."""
    rules: dict[str, Rule] = {}
    for group in groups:
        ids = chain([group.slug], (f"{group.slug}-{number}" for number in count(2)))
        rule_id = next(each for each in ids if each not in rules)
        matchers = tuple(matcher for text in group.matchers for matcher in parse(text))
        rules[rule_id] = Rule(rule_id, _TODO, _TODO, matchers, Action.ANNOTATE, _NEVER_NS)
    return list(rules.values())


def _rule_text(rule: Rule, group: _Group, shells: _Shells) -> str:
    told = [f"  # {_numbers([shells])}\n"]
    if group.is_passing:
        told.append("  # Of this pod alone: let the collector's k8sattributes processor name its workload.\n")
    common = sorted(shells.templates.items(), key=lambda item: (-item[1], item[0]))[:_EXAMPLES]
    for template, times in common:
        shown = one_line(template)
        cut = shown if len(shown) <= _EXAMPLE_CHARACTERS else f"{shown[:_EXAMPLE_CHARACTERS]}..."
        told.append(f"  #   {times} x {cut}\n")
    return "".join(
        (
            *told,
            f"  - id: {rule.id}\n",
            f"    reason: {_TODO}\n",
            f"    owner: {_TODO}\n",
            f"    action: {rule.action}\n",
            "    matchers:\n",
            *(f"      - {_scalar(text)}\n" for text in group.matchers),
        )
    )


def _scalar(text: str) -> str:
    """A text as YAML, plain if that is what it is read as. It has no character that cannot be seen."""
    if ": " in text or " #" in text:
        return "'" + text.replace("'", "''") + "'"
    return text
