"""One rule of a policy file, from the nodes of its YAML to :class:`detector.policy.Rule`.

Nodes, and not the values that YAML makes of them, for each node knows its line and column.
"""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import yaml

from detector.policy import Action, Rule
from otel_shell_detector import kinds
from otel_shell_detector.policies.matchers import MatcherError, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from detector.policy import Matcher

LONGEST_LIFE: Final = timedelta(days=180)
"""An exception that nobody looked at for half a year is the rule."""
MOST_MATCHERS: Final = 16
HIGHEST_SCORE: Final = 100
_LINE: Final = kinds.line(256)
"""What a reason or an owner is: they stand in events."""

_KEYS: Final = ("id", "reason", "owner", "action", "matchers", "expires", "unsafe")
_MANDATORY: Final = ("id", "reason", "owner", "action", "matchers")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SCORE: Final = re.compile(r"[0-9]{1,3}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_YAML: Final = "tag:yaml.org,2002:"
_REPORTED: Final = (
    "systemd.unit, container.id, k8s.*, process.owner, process.executable.path or container.init"
)

_Read = TypeVar("_Read")


class MistakeError(Exception):
    """What is wrong with a node: what was found, and what was wanted."""

    def __init__(self, node: yaml.Node, text: str) -> None:
        super().__init__(text)
        self.node = node


@dataclass(slots=True)
class Lives:
    """How long rules live, as seen at a time.

    ``before`` is when rules without ``expires`` were first seen, by their digests, as far as that is known;
    ``seen`` becomes the same of those that are read.
    """

    now_ns: int
    before: Mapping[str, int]
    seen: dict[str, int] = field(default_factory=dict)

    @property
    def latest(self) -> datetime:
        """The latest end that a rule can have now."""
        return _half_a_year_after(self.now_ns)

    def end_ns(self, rule: Rule) -> int:
        """When a rule ends that does not say it itself."""
        first_ns = self.seen[rule.digest] = min(self.before.get(rule.digest, self.now_ns), self.now_ns)
        return _nanoseconds(_half_a_year_after(first_ns))


def _half_a_year_after(wall_ns: int) -> datetime:
    """To the end of the day, so that a file is good all of the day that it was written on."""
    day = (_EPOCH + timedelta(microseconds=wall_ns // 1000)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    return day + LONGEST_LIFE + _DAY


def _nanoseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000


def read(node: yaml.Node, lives: Lives) -> tuple[Rule | None, list[MistakeError]]:
    """A rule, or nothing and all that is wrong with it."""
    parts, wrongs = mapping(node, _KEYS, _MANDATORY)

    def part(key: str, how: Callable[[yaml.Node], _Read], default: _Read) -> _Read:
        try:
            return how(parts[key]) if key in parts else default
        except MistakeError as wrong:
            wrongs.append(MistakeError(wrong.node, f"{key}: {wrong}"))
            return default

    nothing: tuple[Action, int | None] = (Action.ANNOTATE, None)
    action, score = part("action", _action, nothing)
    rule = Rule(
        id=part("id", _id, ""),
        reason=part("reason", _written, ""),
        owner=part("owner", _written, ""),
        matchers=part("matchers", _matchers, ()),
        action=action,
        score=score,
        unsafe=part("unsafe", _flag, default=False),
        expires_ns=part("expires", lambda each: _expires(each, lives.latest), 0),
    )
    if not wrongs:
        wrongs = _unsafe(rule, parts)
    if wrongs:
        return None, sorted(wrongs, key=lambda wrong: wrong.node.start_mark.index)
    return rule if "expires" in parts else replace(rule, expires_ns=lives.end_ns(rule)), []


def _unsafe(rule: Rule, parts: Mapping[str, yaml.Node]) -> list[MistakeError]:
    """Whether a rule suppresses more than is safe, without saying so."""
    if rule.action is not Action.SUPPRESS:
        if rule.unsafe:
            return [MistakeError(parts["unsafe"], "unsafe: got true; want it with `action: suppress` alone")]
    elif not rule.is_anchored and not rule.unsafe:
        return [
            MistakeError(
                parts["matchers"],
                "matchers: got none that a shell cannot bring about itself; want, to suppress, a = or =~ "
                f"that does not match the empty text on {_REPORTED}, or `unsafe: true`",
            )
        ]
    return []


def mapping(
    node: yaml.Node, keys: Sequence[str], mandatory: Sequence[str]
) -> tuple[dict[str, yaml.Node], list[MistakeError]]:
    """The values of a mapping by their keys, and what is wrong with these."""
    if not isinstance(node, yaml.MappingNode):
        return {}, [MistakeError(node, f"got {shown(node)}; want a mapping with {', '.join(mandatory)}")]
    values: dict[str, yaml.Node] = {}
    wrongs: list[MistakeError] = []
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value not in keys:
            wrongs.append(MistakeError(key, f"unknown key {shown(key)}; {_instead(key, keys)}"))
        elif key.value in values:
            wrongs.append(MistakeError(key, f"{key.value} stands there twice"))
        else:
            values[key.value] = value
    missing = [key for key in mandatory if key not in values]
    if missing and not wrongs:
        wrongs.append(
            MistakeError(node, f"got nothing for {', '.join(missing)}; want {', '.join(mandatory)}")
        )
    return values, wrongs


def _instead(key: yaml.Node, keys: Sequence[str]) -> str:
    near = (
        difflib.get_close_matches(str(key.value)[:80], keys, n=1) if isinstance(key, yaml.ScalarNode) else []
    )
    return f"did you mean {near[0]}?" if near else f"want {', '.join(keys)}"


def shown(node: yaml.Node) -> str:
    """A node in a message: what was written, on one line, short."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if not node.value and _is(node, "null"):
        return "nothing"
    return kinds.show(node.value) if _is(node, "str") else kinds.show(node.value)[1:-1]


def _is(node: yaml.Node, kind: str) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _YAML + kind


def _text(node: yaml.Node, want: str) -> str:
    if not _is(node, "str"):
        raise MistakeError(node, f"got {shown(node)}; want {want}")
    return str(node.value)


def _id(node: yaml.Node) -> str:
    want = "1 to 64 of a-z, 0-9, dot, underscore and hyphen, the first a letter or a digit"
    text = _text(node, want)
    if not _ID.fullmatch(text):
        raise MistakeError(node, f"got {shown(node)}; want {want}")
    return text


def _written(node: yaml.Node) -> str:
    text = _text(node, _LINE.want).strip()
    if text.casefold().startswith("todo"):
        raise MistakeError(node, f"got {shown(node)}; want it written by somebody who knows")
    try:
        _LINE.read(text)
    except kinds.UnwantedError:
        raise MistakeError(node, f"got {shown(node)}; want {_LINE.want}") from None
    return text


def _action(node: yaml.Node) -> tuple[Action, int | None]:
    want = f"suppress, annotate or {{score: N}} with N from 0 to {HIGHEST_SCORE}"
    if isinstance(node, yaml.MappingNode):
        values, wrongs = mapping(node, ("score",), ("score",))
        if wrongs:
            raise wrongs[0]
        score = values["score"]
        if not _is(score, "int") or not _SCORE.fullmatch(score.value) or int(score.value) > HIGHEST_SCORE:
            raise MistakeError(score, f"got {shown(score)}; want {want}")
        return Action.SCORE, int(score.value)
    if _text(node, want) not in {Action.SUPPRESS, Action.ANNOTATE}:
        raise MistakeError(node, f"got {shown(node)}; want {want}")
    return Action(node.value), None


def _matchers(node: yaml.Node) -> tuple[Matcher, ...]:
    """A text with matchers, or a list of such texts, as in Alertmanager's files."""
    want = "matchers such as 'systemd.unit=\"cron.service\"', or a list of such texts"
    each_of = node.value if isinstance(node, yaml.SequenceNode) else [node]
    found: list[Matcher] = []
    for each in each_of:
        try:
            found += parse(_text(each, want))
        except MatcherError as error:
            raise MistakeError(each, str(error)) from None
        if len(found) > MOST_MATCHERS:
            raise MistakeError(each, f"got more matchers; want at most {MOST_MATCHERS}")
    if not found:
        raise MistakeError(node, f"got an empty list; want {want}")
    return tuple(found)


def _flag(node: yaml.Node) -> bool:
    if not _is(node, "bool"):
        raise MistakeError(node, f"got {shown(node)}; want true or false")
    return yaml.SafeLoader.bool_values[node.value.lower()]


def _expires(node: yaml.Node, latest: datetime) -> int:
    want = f"a date until {(latest - _DAY).date()} ({LONGEST_LIFE.days} days), or a time with its zone"
    if not _is(node, "timestamp") and not _is(node, "str"):
        raise MistakeError(node, f"got {shown(node)}; want {want}")
    with suppress(ValueError, OverflowError, TypeError):  # no time; no day follows it; no zone
        time = datetime.fromisoformat(node.value)
        if _DATE.fullmatch(node.value):  # the rule is good all of that day
            time = time.replace(tzinfo=UTC) + _DAY
        if time <= latest:
            return _nanoseconds(time)
    raise MistakeError(node, f"got {shown(node)}; want {want}")
