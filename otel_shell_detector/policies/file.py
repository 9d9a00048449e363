"""Policies as YAML: a file, or a directory of files, to rules.

    rules:
      - id: cron-run-parts
        reason: the hourly, daily and weekly jobs of the distribution
        owner: platform@example.org
        action: annotate            # or suppress, or {score: 5}
        matchers:
          - systemd.unit="cron.service"
          - shell.runs=~"cd / && run-parts .*"
        expires: 2027-03-31         # default, and at most: 180 days

Every mistake is a line ``FILE:LINE:COLUMN: what was found; want what is wanted``, and all of them are told at
once. Time is an argument: what is too late an end, and what the default end is, depends on it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import yaml

from detector.policy import Policy, Rule
from otel_shell_detector.policies import rules
from otel_shell_detector.policies.rules import Lives, MistakeError
from otel_shell_detector.sources import LARGEST_FILE, ConfigurationError, read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MOST_CHECKS: Final = 256
"""Rules that a shell may have to be compared with."""
MOST_RULES: Final = 10_000
MOST_FILES: Final = 256


class Result(enum.StrEnum):
    """What came of reading policies; a label of ``policy_loads``."""

    LOADED = "loaded"
    INVALID = "invalid"
    EMPTY = "empty"
    MISSING = "missing"


class PolicyError(ConfigurationError):
    """Policies that cannot be used; ``mistakes`` holds one line for each reason, ``result`` sums them up."""

    def __init__(self, result: Result, *mistakes: str) -> None:
        super().__init__(*mistakes)
        self.result = result


@dataclass(frozen=True, slots=True)
class Loaded:
    """Policies that can be used.

    ``first_seen``: when each rule without ``expires`` was first loaded, by its digest, wall time. Who hands
    it in again keeps such a rule from living for ever by restarts.
    """

    policy: Policy
    first_seen: Mapping[str, int]


@dataclass(slots=True)
class _Draft:
    """Policies while they are read."""

    lives: Lives
    rules: list[Rule] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    """Where a rule stands, by its id."""
    mistakes: list[str] = field(default_factory=list)
    count: int = 0
    """Rules, wrong ones too. An alias makes many of few characters."""

    def wrong(self, name: str, wrong: MistakeError) -> None:
        """Keep what is wrong in a file."""
        self.mistakes.append(f"{_place(name, wrong.node)}: {wrong}")

    def add(self, name: str, node: yaml.Node) -> None:
        """Read a rule."""
        rule, wrongs = rules.read(node, self.lives)
        for each in wrongs:
            self.wrong(name, each)
        if rule is None:
            return
        if rule.id in self.places:
            self.wrong(
                name,
                MistakeError(node, f"id: got {rule.id} again; want another than at {self.places[rule.id]}"),
            )
            return
        self.places[rule.id] = _place(name, node)
        self.rules.append(rule)


def load(path: Path, now_ns: int, first_seen: Mapping[str, int]) -> Loaded:
    """The policies of a file, or of all ``*.yaml`` and ``*.yml`` of a directory in the order of their names.

    ``now_ns`` is wall time. Raises :class:`PolicyError`.
    """
    draft = _Draft(Lives(now_ns, first_seen))
    said = [_read(draft, str(each), _content(each)) for each in files(path)]
    policy = Policy(draft.rules)
    if not draft.mistakes and policy.most_checks > MOST_CHECKS:
        draft.mistakes.append(
            f"{path}: got rules of which a shell may have to be compared with {policy.most_checks}; want at "
            f"most {MOST_CHECKS}: give more of them a matcher with = and a value that few others have"
        )
    if draft.mistakes:
        raise PolicyError(Result.INVALID if any(said) else Result.EMPTY, *draft.mistakes)
    return Loaded(policy, draft.lives.seen)


def files(path: Path) -> Sequence[Path]:
    """The files that policies come from. Raises :class:`PolicyError` if there is none.

    What begins with a dot is left out: in a mounted ConfigMap, ``..data`` is the same files once more.
    """
    try:
        if not path.is_dir():
            return [path]
        found = sorted(each for each in path.iterdir() if _is_policy(each))
    except OSError as error:
        raise _unreadable(path, error) from None
    if not found:
        raise PolicyError(Result.EMPTY, f"{path}: got a directory without *.yaml or *.yml; want at least one")
    if len(found) > MOST_FILES:
        raise PolicyError(Result.INVALID, f"{path}: got {len(found)} files; want at most {MOST_FILES}")
    return found


def _is_policy(path: Path) -> bool:
    return path.suffix in {".yaml", ".yml"} and not path.name.startswith(".")


def _unreadable(path: Path, error: OSError) -> PolicyError:
    result = Result.MISSING if isinstance(error, FileNotFoundError) else Result.INVALID
    return PolicyError(
        result, f"{path}: {error.strerror}; want a file that can be read, or a directory of such"
    )


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(content) > LARGEST_FILE:
        raise PolicyError(Result.INVALID, f"{path}: got more than 1MiB; want at most that")
    return content


def _place(name: str, node: yaml.Node) -> str:
    return f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _read(draft: _Draft, name: str, content: bytes) -> bool:
    """Read a file into a draft; whether there is anything in it."""
    try:
        document = read_yaml(content, name, _compose)
    except ConfigurationError as error:
        draft.mistakes.extend(error.mistakes)
        return True
    if document is None:
        draft.mistakes.append(f"{name}:1:1: got an empty file; want rules, or `rules: []` for none")
        return False
    values, wrongs = rules.mapping(document, ("rules",), ("rules",))
    for each in wrongs:
        draft.wrong(name, each)
    listed = values.get("rules")
    if isinstance(listed, yaml.SequenceNode):
        draft.count += len(listed.value)
        if draft.count > MOST_RULES:
            draft.wrong(
                name, MistakeError(listed, f"got {draft.count} rules up to here; want at most {MOST_RULES}")
            )
            return True
        for node in listed.value:
            draft.add(name, node)
    elif listed is not None:
        draft.wrong(
            name, MistakeError(listed, f"rules: got {rules.shown(listed)}; want a list, `[]` for none")
        )
    return True


def _compose(text: str) -> yaml.Node | None:
    node: yaml.Node | None = yaml.compose(text, yaml.SafeLoader)
    return None if isinstance(node, yaml.ScalarNode) and not node.value else node
