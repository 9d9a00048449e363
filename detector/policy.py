"""Policies: what is decided, rule by rule, of a shell that opens.

1. A rule applies if all of its matchers accept and it is not past its end. The first that applies, in the
   order of the file, decides; none, and the shell is told as it would be without policies.
2. A matcher sees text. A field that a shell does not have is the empty text, as a label is for Alertmanager.
3. Name and command line are the attacker's to write, so a rule that suppresses is read more strictly: a
   missing field never satisfies a negative matcher of it, and a shell with ``shell.escape_hint`` it touches
   only by a matcher on that very field (:attr:`Rule.names_escape_hint`). That it must name something the
   kernel or the cluster reports (:attr:`Rule.is_anchored`) is for the loader to refuse.
4. Rules with a ``=`` are looked up by one of them, the rarest among all rules, so that a shell meets only
   those that might apply; :attr:`Policy.most_checks` bounds how many.

A compiled pattern is a predicate that is handed in: which engine runs it is not this room's business, only
that it takes linear time.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ESCAPE_HINT: Final = "shell.escape_hint"

FIELDS: Final = (
    "host.name",
    "k8s.cluster.name",
    "k8s.node.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.pod.uid",
    "k8s.container.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.job.name",
    "k8s.cronjob.name",
    "k8s.replicaset.name",
    "container.id",
    "container.image.name",
    "container.init",
    "systemd.unit",
    "systemd.slice",
    "process.pid",
    "process.parent_pid",
    "process.executable.name",
    "process.executable.path",
    "process.owner",
    "process.command_line",
    "process.command_line.length",
    "process.command_line.truncated",
    "process.command_line.sha256",
    "process.command_template",
    "process.parent.executable.name",
    "process.parent.command_line",
    "process.ancestors",
    "context_basis",
    "shell.placement",
    "shell.placement_basis",
    "shell.mode",
    "shell.runs",
    "shell.origin",
    ESCAPE_HINT,
    "shell.novel",
    "preexisting",
)
"""What a matcher can look at: what is known of a shell, not what an event makes of it (score, ids, times)."""

_REPORTED: Final = frozenset(
    {"systemd.unit", "container.id", "container.init", "process.owner", "process.executable.path"}
)


def is_reported(name: str) -> bool:
    """Whether the kernel or the cluster says what a field holds, and not the one who runs the shell."""
    return name in _REPORTED or name.startswith("k8s.")


class Operator(enum.StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on the field called ``name``.

    ``fullmatch``, of the operators that take a pattern, says whether the pattern matches the whole of a text;
    ``value`` is then the pattern.
    """

    name: str
    operator: Operator
    value: str
    fullmatch: Callable[[str], bool] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator}"{escaped}"'

    @property
    def is_positive(self) -> bool:
        """Whether it says what the field is, rather than what it is not."""
        return self.operator in {Operator.EQUAL, Operator.MATCHES}

    @property
    def insists(self) -> bool:
        """Whether it is positive and no shell without the field satisfies it."""
        return self.is_positive and not self.accepts("")

    def accepts(self, text: str) -> bool:
        """Whether the condition holds for a field's text, empty if the shell has no such field."""
        same = text == self.value if self.fullmatch is None else self.fullmatch(text)
        return same is self.is_positive


class Action(enum.StrEnum):
    """What a rule does with the shells that it applies to."""

    SUPPRESS = "suppress"
    """They are not told; they are followed and counted all the same."""
    SCORE = "score"
    """They score what the rule says."""
    ANNOTATE = "annotate"
    """They are told as they would be, with the rule's name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An exception, with who answers for it, why, and until when.

    ``score`` is of :attr:`Action.SCORE` alone. It is over at ``expires_ns``, wall time.
    """

    id: str
    reason: str
    owner: str
    matchers: tuple[Matcher, ...]
    action: Action
    expires_ns: int
    score: int | None = None
    unsafe: bool = False

    @property
    def digest(self) -> str:
        """What the rule does, hashed: another if it changes, the same if only its texts or its end do."""
        does = [self.id, self.action, self.score, self.unsafe, sorted(map(str, self.matchers))]
        return hashlib.sha256(json.dumps(does).encode()).hexdigest()

    @property
    def is_anchored(self) -> bool:
        """Whether it insists on something that the kernel or the cluster reports."""
        return any(matcher.insists and is_reported(matcher.name) for matcher in self.matchers)

    @property
    def names_escape_hint(self) -> bool:
        """Whether it insists on an escape hint, and so means to speak of shells that have one."""
        return any(matcher.insists and matcher.name == ESCAPE_HINT for matcher in self.matchers)

    def spares(self, fields: Mapping[str, str]) -> bool:
        """Whether it must not touch a shell, whatever its matchers say: rule 3 of this module."""
        return self.action is Action.SUPPRESS and bool(fields.get(ESCAPE_HINT)) and not self.names_escape_hint

    def refusals(self, fields: Mapping[str, str]) -> Iterator[Matcher]:
        """The matchers that do not accept a shell."""
        strict = self.action is Action.SUPPRESS
        for matcher in self.matchers:
            text = fields.get(matcher.name, "")
            if (strict and not text and not matcher.is_positive) or not matcher.accepts(text):
                yield matcher

    def applies(self, fields: Mapping[str, str]) -> bool:
        """Whether it speaks of a shell, its end aside."""
        return not self.spares(fields) and next(self.refusals(fields), None) is None


class Miss(enum.StrEnum):
    """Why a rule that is close to a shell does not decide on it."""

    MATCHER = "matcher"
    """One of its matchers does not accept, all others do."""
    EXPIRED = "expired"
    ESCAPE_HINT = "escape_hint"
    """It suppresses, and the shell has an escape hint that it does not name."""
    SHADOWED = "shadowed"
    """It applies, but an earlier one does too."""


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule that would decide on a shell but for one thing; ``matcher`` is of :attr:`Miss.MATCHER` alone."""

    rule: Rule
    because: Miss
    matcher: Matcher | None = None


class Policy:
    """Rules in the order of their file. Immutable but for :attr:`checks`, which one thread may look at."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self.checks = 0
        """How many rules the last :meth:`judge` looked at."""
        self._always: list[int] = []
        self._index: dict[str, dict[str, list[int]]] = {}
        equals = [
            [(matcher.name, matcher.value) for matcher in rule.matchers if matcher.operator is Operator.EQUAL]
            for rule in self.rules
        ]
        held_by = Counter(pair for pairs in equals for pair in set(pairs))
        for position, pairs in enumerate(equals):
            if pairs:
                # Most shells have no value for most fields: `=""` tells apart the least.
                name, value = min(pairs, key=lambda pair: (not pair[1], held_by[pair]))
                self._index.setdefault(name, {}).setdefault(value, []).append(position)
            else:
                self._always.append(position)

    @property
    def most_checks(self) -> int:
        """How many rules a shell can meet at most: those without ``=``, and one value's of each field."""
        return len(self._always) + sum(max(map(len, values.values())) for values in self._index.values())

    def judge(self, fields: Mapping[str, str], wall_ns: int) -> Rule | None:
        """The rule that decides on a shell at a time, if any."""
        self.checks = 0
        candidates = self._always.copy()
        for name, values in self._index.items():
            candidates += values.get(fields.get(name, ""), ())
        candidates.sort()
        for position in candidates:
            self.checks += 1
            rule = self.rules[position]
            if wall_ns < rule.expires_ns and rule.applies(fields):
                return rule
        return None

    def explain(self, fields: Mapping[str, str], wall_ns: int, near: int) -> list[NearMiss]:
        """The first ``near`` rules that would decide on a shell but for one thing, in the file's order."""
        decides = self.judge(fields, wall_ns)
        found: list[NearMiss] = []
        decided = False
        for rule in self.rules:
            if len(found) >= near:
                break
            if rule is decides:
                decided = True
                continue
            reasons = list(_reasons(rule, fields, wall_ns, shadowed=decided))
            if len(reasons) == 1:
                found.append(reasons[0])
        return found

    def expired(self, wall_ns: int) -> list[Rule]:
        """The rules that do nothing any more at a time."""
        return [rule for rule in self.rules if rule.expires_ns <= wall_ns]


def _reasons(rule: Rule, fields: Mapping[str, str], wall_ns: int, *, shadowed: bool) -> Iterator[NearMiss]:
    for matcher in rule.refusals(fields):
        yield NearMiss(rule, Miss.MATCHER, matcher)
    if rule.expires_ns <= wall_ns:
        yield NearMiss(rule, Miss.EXPIRED)
    if rule.spares(fields):
        yield NearMiss(rule, Miss.ESCAPE_HINT)
    if shadowed:
        yield NearMiss(rule, Miss.SHADOWED)
